//! When the process is asked to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Ready at the first SIGTERM or SIGINT (Ctrl-C).
///
/// # Panics
/// When the operating system has no signals to give.
pub async fn stop() {
    let mut term = signal(SignalKind::terminate()).expect("SIGTERM can be listened to");
    let mut int = signal(SignalKind::interrupt()).expect("SIGINT can be listened to");
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
