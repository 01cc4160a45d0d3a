//! AppendEntries by hand: the one message whose encoding costs something.
//!
//! The bytes are those of the derived encoding, to the last one; reading takes what it writes and
//! leaves everything else (a membership among the entries, any other message, any damage) to the
//! derived decoder. It takes a quarter of that one's time, and the commands of a message share
//! one allocation: they enter the log together, and leave it together.

use bytes::{Bytes, BytesMut};

use super::pack;
use super::scan::{Reader, Token};
use crate::raft::Message;
use crate::types::{Entry, Index, Payload, Position, Term};

/// Writes the message, if it is one of these.
pub(super) fn write(out: &mut BytesMut, message: &Message) -> bool {
    let Message::AppendEntries { term, prev, commit, entries } = message else { return false };
    let plain = |entry: &Entry| !matches!(entry.payload, Payload::Membership(_));
    if !entries.iter().all(plain) {
        return false;
    }
    out.reserve(64 + entries.iter().map(Entry::weight).sum::<usize>());
    pack::map(out, 1);
    pack::text(out, "ae");
    pack::array(out, 4);
    pack::uint(out, term.0);
    pack::array(out, 2);
    pack::uint(out, prev.term.0);
    pack::uint(out, prev.index.0);
    pack::uint(out, commit.0);
    pack::array(out, entries.len());
    for Entry { term, index, payload } in entries {
        pack::array(out, 3);
        pack::uint(out, term.0);
        pack::uint(out, index.0);
        match payload {
            Payload::Command(command) => {
                pack::map(out, 1);
                pack::text(out, "c");
                pack::binary(out, command);
            }
            Payload::Noop | Payload::Membership(_) => pack::text(out, "n"),
        }
    }
    true
}

/// Reads what [`write()`] writes; `None` for anything else.
pub(super) fn read(body: &[u8]) -> Option<Message> {
    // Most messages are none of these: nothing is copied for them.
    if !body.starts_with(b"\x81\xa2ae\x94") {
        return None;
    }
    let shared = Bytes::copy_from_slice(body);
    let mut reader = Reader::new(&shared);
    let [Token::Map(1), Token::Str(b"ae"), Token::Array(4)] = tokens(&mut reader)? else {
        return None;
    };
    let [term, Token::Array(2), prev_term, prev_index, commit, Token::Array(count)] =
        tokens(&mut reader)?
    else {
        return None;
    };
    let prev = Position { term: Term(prev_term.uint()?), index: Index(prev_index.uint()?) };
    let (term, commit) = (Term(term.uint()?), Index(commit.uint()?));
    // Each takes four bytes at least: a count that lies reserves no more than the message.
    let mut entries = Vec::with_capacity(count.min(shared.len() / 4));
    for _ in 0..count {
        entries.push(entry(&shared, &mut reader)?);
    }
    let all = reader.rest().is_empty();
    all.then_some(Message::AppendEntries { term, prev, commit, entries })
}

fn entry(shared: &Bytes, reader: &mut Reader<'_>) -> Option<Entry> {
    let [Token::Array(3), term, index, payload] = tokens(reader)? else { return None };
    let payload = if payload == Token::Str(b"n") {
        Payload::Noop
    } else {
        let [Token::Str(b"c"), Token::Bin(command)] = tokens(reader)? else { return None };
        (payload == Token::Map(1)).then(|| Payload::Command(shared.slice_ref(command)))?
    };
    Some(Entry { term: Term(term.uint()?), index: Index(index.uint()?), payload })
}

fn tokens<'a, const N: usize>(reader: &mut Reader<'a>) -> Option<[Token<'a>; N]> {
    let mut tokens = [Token::Nil; N];
    for token in &mut tokens {
        *token = reader.token().ok()?;
    }
    Some(tokens)
}
