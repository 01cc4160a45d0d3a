//! An async client of Quorate.
//!
//! ```no_run
//! use quorate_client::{Client, Error};
//!
//! # async fn example() -> Result<(), Error> {
//! let client = Client::builder()
//!     .endpoints(["127.0.0.1:7101", "127.0.0.1:7102", "127.0.0.1:7103"])
//!     .connect()
//!     .await?;
//! client.put("greeting", "hello").await?;
//! let read = client.get("greeting").await?;
//! assert_eq!(read.entry.expect("it was just written").value, "hello");
//!
//! match client.increment("visits", 1).await {
//!     Ok(sum) => println!("visit {}", sum.number),
//!     Err(Error::Unknown { .. }) => println!("counted or not: nobody can tell"),
//!     Err(certain) => println!("not counted, and never will be: {certain}"),
//! }
//! client.close().await
//! # }
//! ```
//!
//! A [`Client`] is a handle, cheap to clone, to one task that owns the connection and the session.
//! Calls may overlap, from one task or from many: what is ready travels together. Within its
//! deadline a call survives the loss of connections and of leaders, and a write is executed at most
//! once whatever is retried, because it keeps its id in its session.
//!
//! Programs that keep very many calls under way take their outcomes from a queue, [`Outcomes`],
//! instead of one future for each.
//!
//! # Three ways to end
//! `Ok`: it was executed, once. [`Error::NotExecuted`] and [`Error::Unreachable`]: it was not and
//! never will be. [`Error::Unknown`]: a write was sent and no answer came before the deadline, or
//! its session expired, or the connection has no session; it may have been executed, or may yet be.
//!
//! # What it leaves out
//! TLS, and operations that this version of the protocol does not have. All rules of ids, retries
//! and failover are [`quorate_core::client`]'s; this crate adds the socket, the clock and types.

mod answers;
mod builder;
mod driver;
mod error;
mod handle;
mod outcomes;
mod socket;
#[cfg(test)]
mod tests;

pub use answers::{Appended, Deleted, Incremented, Read, Swapped, Written};
pub use builder::Builder;
pub use driver::Connection;
pub use error::Error;
pub use handle::{Client, Pending};
pub use outcomes::{Outcomes, Tagged};
pub use quorate_core::client::Resume;
pub use quorate_core::wire::client::{
    Append, CompareAndSwap, Consistency, Delete, ErrorCode, Expect, Get, Increment, KeyValue,
    Leader, Limits, MemberInfo, Op, Put, Status, Success,
};
