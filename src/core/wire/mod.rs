//! MessagePack, the only place that knows it: the clients' protocol ([`client`]) and the nodes'
//! ([`peer`]).

mod append;
pub mod client;
pub mod pack;
pub mod peer;
pub mod scan;
#[cfg(test)]
mod tests;
