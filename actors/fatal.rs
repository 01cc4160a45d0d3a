//! The end of a process that must not go on (rule 12).
//!
//! Any error on the durability path, and any panic, ends the process at once: a node that
//! heartbeats but cannot persist is worse than one that is gone. actix would let a panicking
//! actor die silently and keep the rest; hence the hook, armed before any actor starts.

use std::fmt::Display;

/// The exit codes that operators and scripts meet.
pub mod exit {
    /// The data directory is not this node's.
    pub const WRONG_DATA_DIRECTORY: i32 = 65;
    /// This node was removed from its cluster.
    pub const REMOVED: i32 = 66;
    /// A rule was broken inside the node.
    pub const INTERNAL: i32 = 70;
    /// The disk failed.
    pub const DISK: i32 = 74;
}

/// Logs why, as the last line, and ends the process.
pub fn fatal(code: i32, why: impl Display) -> ! {
    log::error!("{why}");
    log::logger().flush();
    std::process::exit(code)
}

/// From here on a panic of any thread is logged and ends the process with `SIGABRT`.
pub fn abort_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        log::error!("this node stops: a rule was broken inside it: {panic}\n{backtrace}");
        log::logger().flush();
        std::process::abort();
    }));
}
