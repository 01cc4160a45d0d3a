//! Quorate: a fault-tolerant key-value store on Raft.
