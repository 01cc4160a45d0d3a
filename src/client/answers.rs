//! What the typed calls give.

use quorate_core::wire::client::{KeyValue, Success};

/// What `put` gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The store's revision afterwards.
    pub revision: u64,
    /// The log index of the write.
    pub index: u64,
    /// The entry before, where it was asked for and there was one.
    pub previous: Option<KeyValue>,
}

/// What `append` gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The store's revision afterwards.
    pub revision: u64,
    /// The log index of the write.
    pub index: u64,
    /// The value's new length, in bytes.
    pub length: u64,
}

/// What `get` gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The store's revision at the read.
    pub revision: u64,
    /// The log index of the read point.
    pub index: u64,
    /// The entry, if there is one.
    pub entry: Option<KeyValue>,
}

/// What `delete` gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The store's revision afterwards.
    pub revision: u64,
    /// The log index of the write.
    pub index: u64,
    /// Whether there was an entry.
    pub deleted: bool,
    /// The entry before, where it was asked for and there was one.
    pub previous: Option<KeyValue>,
}

/// What `compare_and_swap` gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swapped {
    /// The store's revision afterwards.
    pub revision: u64,
    /// The log index of the write.
    pub index: u64,
    /// Whether the entry was as expected, and has been written.
    pub swapped: bool,
    /// The entry now, if there is one.
    pub entry: Option<KeyValue>,
}

/// What `increment` gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incremented {
    /// The store's revision afterwards.
    pub revision: u64,
    /// The log index of the write.
    pub index: u64,
    /// The sum.
    pub number: i64,
}

/// Reads a success as what the operation gives. The core decodes each success by the operation it
/// answers, so another one is a mistake of ours.
macro_rules! reading {
    ($($function:ident: $pattern:pat => $made:expr, $type:ty;)*) => {
        $(pub(crate) fn $function(success: Success) -> $type {
            if let $pattern = success { $made } else { unreachable!("decoded by its operation") }
        })*
    };
}

reading! {
    written: Success::Put { revision, index, previous } =>
        Written { revision, index, previous: previous.flatten() }, Written;
    appended: Success::Append { revision, index, length } =>
        Appended { revision, index, length }, Appended;
    read: Success::Get { revision, index, entry } => Read { revision, index, entry }, Read;
    deleted: Success::Delete { revision, index, deleted, previous } =>
        Deleted { revision, index, deleted: deleted != 0, previous: previous.flatten() }, Deleted;
    swapped: Success::CompareAndSwap { revision, index, swapped, entry } =>
        Swapped { revision, index, swapped, entry }, Swapped;
    incremented: Success::Increment { revision, index, number } =>
        Incremented { revision, index, number }, Incremented;
    status: Success::Status(status) => *status, quorate_core::wire::client::Status;
    members: Success::Members(members) => members, Vec<quorate_core::wire::client::MemberInfo>;
}
