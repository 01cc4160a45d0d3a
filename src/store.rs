//! The disk: the only place that touches files of a node.

pub mod checkpoint;
pub mod data_dir;
pub mod disk;
#[cfg(test)]
mod tests;
