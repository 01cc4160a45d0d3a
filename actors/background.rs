//! Threads that give way: what they do is long, and no client waits for it.

/// For the thread of snapshots. A share of a processor is left to it where others want all of it.
pub(crate) const SNAPSHOTS: i32 = 10;
/// For the thread of checkpoints: the log grows until they are done.
pub(crate) const CHECKPOINTS: i32 = 10;

/// Lowers the priority of the calling thread. Elsewhere than on Linux it is the process that has
/// one, and nothing is done.
pub(crate) fn give_way(nice: i32) {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, nice) {
        log::debug!("node: a thread keeps its priority: {error}");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = nice;
}
