//! Walks over MessagePack without building anything: where a value ends, and whether it is
//! nested too deeply. Lengths are checked against the bytes that are there, so a value that
//! announces gigabytes costs nothing.
