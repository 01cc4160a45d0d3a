//! Conditions with a deadline, and addresses that are free.

use std::net::TcpListener;
use std::time::{Duration, Instant};

/// Looks until there is an answer; panics after the deadline.
pub async fn wait_for<T>(
    what: &str,
    time: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + time;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} within {time:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Addresses that nobody listens on now. All are held until all are chosen.
#[must_use]
pub fn free_addresses(count: u64) -> Vec<String> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    held.iter().map(|one| one.local_addr().expect("an address").to_string()).collect()
}
