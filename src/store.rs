//! The disk: the only place that touches files of a node.

pub mod checkpoint;
pub mod copy;
pub mod data_dir;
pub mod disk;
pub mod logs;
mod sled_db;
pub mod sled_log;
pub mod space;
pub mod sync_time;
#[cfg(test)]
mod tests;
mod watermark;
