//! The nodes' protocol: a handshake, then Raft's messages, one direction per connection.
