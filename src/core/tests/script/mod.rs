//! The parts of the runner: the file's format, the commands, the cluster, the notation.

pub(crate) mod args;
pub(crate) mod checks;
pub(crate) mod cluster;
pub(crate) mod dump;
pub(crate) mod file;
pub(crate) mod machine;
pub(crate) mod notation;
pub(crate) mod options;
pub(crate) mod runner;
pub(crate) mod snapshots;
