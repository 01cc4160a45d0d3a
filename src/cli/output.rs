//! What is printed, and how a command ends.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quorate_core::wire::client::{ErrorCode, KeyValue, Leader};
use serde_json::{Map, Value, json};

/// The exit codes of every command.
pub mod exit {
    /// Ended as asked.
    pub const OK: i32 = 0;
    /// Not found, or the condition is false.
    pub const NO: i32 = 1;
    /// Wrong usage.
    pub const USAGE: i32 = 2;
    /// The outcome is unknown.
    pub const UNKNOWN: i32 = 64;
    /// The data directory is another's.
    pub const WRONG_DATA_DIRECTORY: i32 = 65;
    /// The node was removed from its cluster.
    pub const REMOVED: i32 = 66;
    /// No leader, or nobody reachable.
    pub const UNREACHABLE: i32 = 69;
    /// A rule was broken inside the program.
    pub const INTERNAL: i32 = 70;
    /// The data directory is in use.
    pub const IN_USE: i32 = 73;
    /// The disk failed, or a file cannot be read or written.
    pub const DISK: i32 = 74;
    /// Overloaded.
    pub const OVERLOADED: i32 = 75;
    /// The data are damaged.
    pub const DAMAGED: i32 = 76;
    /// Not permitted.
    pub const NOT_PERMITTED: i32 = 77;
    /// The configuration is unusable.
    pub const CONFIG: i32 = 78;
}

/// Why a command does not end with 0: one sentence, and the exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failed {
    /// The exit code.
    pub exit: i32,
    /// The code of the protocol, or another short word.
    pub code: &'static str,
    /// What happened, what it means for the data, what to do.
    pub message: String,
    /// The leader, where one was named.
    pub leader: Option<Leader>,
    /// Nothing is to be printed: the exit code says it all, or it was printed already.
    pub silent: bool,
}

impl Failed {
    /// A failure with an exit code, a word and a sentence.
    pub fn new(exit: i32, code: &'static str, message: impl Into<String>) -> Self {
        Self { exit, code, message: message.into(), leader: None, silent: false }
    }

    /// Wrong usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(exit::USAGE, "usage", message)
    }

    /// A file of the user's that cannot be read or written.
    pub fn file(path: &str, error: &io::Error) -> Self {
        Self::new(exit::DISK, "file", format!("cannot read or write {path}: {error}"))
    }

    /// Only an exit code.
    #[must_use]
    pub fn silent(exit: i32) -> Self {
        Self { silent: true, ..Self::new(exit, "", "") }
    }

    /// Prints it on stderr, as JSON where asked.
    pub fn print(&self, json: bool) {
        if self.silent {
            return;
        }
        if json {
            let error = json!({"code": self.code, "message": self.message, "leader": self.leader});
            eprintln!("{}", json!({ "error": error }));
        } else {
            eprintln!("quorate: {}", self.message);
        }
    }
}

impl From<quorate_client::Error> for Failed {
    fn from(error: quorate_client::Error) -> Self {
        use quorate_client::Error;
        match error {
            Error::NotExecuted { code, message, leader } => {
                let exit = match code {
                    ErrorCode::NotLeader | ErrorCode::NoLeader | ErrorCode::Timeout => {
                        exit::UNREACHABLE
                    }
                    ErrorCode::Overloaded => exit::OVERLOADED,
                    ErrorCode::Unauthenticated | ErrorCode::PermissionDenied => exit::NOT_PERMITTED,
                    ErrorCode::NotFound => exit::NO,
                    ErrorCode::UnknownOutcome | ErrorCode::SessionExpired => exit::UNKNOWN,
                    ErrorCode::BadRequest | ErrorCode::TooLarge | ErrorCode::Unsupported => {
                        exit::USAGE
                    }
                    ErrorCode::StaleRequest | ErrorCode::Compacted | ErrorCode::Internal => {
                        exit::INTERNAL
                    }
                };
                let leader = leader.clone();
                Self { leader, ..Self::new(exit, code.as_str(), message) }
            }
            Error::Unreachable { reason } => {
                let message = format!("no node answers: {reason}. Nothing was done");
                Self::new(exit::UNREACHABLE, "unreachable", message)
            }
            Error::Unknown { session, id, reason } => {
                let message = format!(
                    "outcome unknown: {reason}. The write may or may not have happened \
                     (session {session}, request {id}): read the key before you write again"
                );
                Self::new(exit::UNKNOWN, "unknown_outcome", message)
            }
        }
    }
}

/// Bytes for a terminal: printable text as it is, the rest as `\xNN`.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                control if control.is_control() => {
                    let mut buffer = [0; 4];
                    for byte in control.encode_utf8(&mut buffer).bytes() {
                        let _ = write!(out, "\\x{byte:02x}");
                    }
                }
                plain => out.push(plain),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// The bytes that an escaped text stands for.
///
/// # Errors
/// What is wrong with it.
pub fn unescape(text: &str) -> Result<Vec<u8>, Failed> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once('\\') {
        out.extend_from_slice(plain.as_bytes());
        let wrong =
            || Failed::usage(format!("\"\\{after}\" is no escape: \\xNN, \\n, \\t and \\\\ are"));
        let mut characters = after.chars();
        rest = match characters.next() {
            Some('n') => {
                out.push(b'\n');
                characters.as_str()
            }
            Some('t') => {
                out.push(b'\t');
                characters.as_str()
            }
            Some('\\') => {
                out.push(b'\\');
                characters.as_str()
            }
            Some('x') => {
                let digits = after.get(1..3).ok_or_else(wrong)?;
                out.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
                after.get(3..).unwrap_or_default()
            }
            _ => return Err(wrong()),
        };
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

/// Writes a value to stdout: unchanged into a pipe, escaped and with a newline on a terminal.
///
/// # Errors
/// When stdout cannot be written.
pub fn print_bytes(bytes: &[u8], raw: bool) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    let written = if out.is_terminal() && !raw {
        writeln!(out, "{}", escape(bytes))
    } else {
        out.write_all(bytes)
    };
    written.and_then(|()| out.flush()).or_else(broken_pipe_is_fine)
}

/// Writes a line to stdout.
///
/// # Errors
/// When stdout cannot be written.
pub fn print_line(line: impl std::fmt::Display) -> Result<(), Failed> {
    writeln!(io::stdout().lock(), "{line}").or_else(broken_pipe_is_fine)
}

/// `| head` ends a command silently and well.
#[expect(clippy::needless_pass_by_value, reason = "for or_else")]
fn broken_pipe_is_fine(error: io::Error) -> Result<(), Failed> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Err(Failed::silent(exit::OK));
    }
    Err(Failed::file("standard output", &error))
}

/// `NAME` where the bytes are UTF-8, else `NAME_base64`.
pub fn insert_bytes(map: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => map.insert(name.to_owned(), text.into()),
        Err(_) => map.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
}

/// An entry as JSON.
#[must_use]
pub fn entry_json(entry: &KeyValue) -> Map<String, Value> {
    let mut map = Map::new();
    insert_bytes(&mut map, "key", &entry.key);
    insert_bytes(&mut map, "value", &entry.value);
    map.insert("create_revision".into(), entry.create_revision.into());
    map.insert("mod_revision".into(), entry.mod_revision.into());
    map.insert("version".into(), entry.version.into());
    let lease = if entry.lease == 0 { Value::Null } else { entry.lease.into() };
    map.insert("lease".into(), lease);
    map
}

#[cfg(test)]
mod tests {
    use super::{escape, unescape};

    #[test]
    fn escaped_bytes_come_back() {
        let all: Vec<u8> = (0..=255).collect();
        for bytes in [&all[..], "grüße\n\\x41\t\u{7f}\u{85}".as_bytes(), b""] {
            assert_eq!(unescape(&escape(bytes)).unwrap(), bytes);
        }
    }

    #[test]
    fn a_wrong_escape_is_named() {
        for text in ["\\q", "\\x4", "\\xzz", "end\\"] {
            assert!(unescape(text).is_err(), "{text}");
        }
    }
}
