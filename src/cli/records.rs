//! The lines that `import` and `verify` read and `export` writes: JSON objects with `key` and
//! `value` (or `key_base64` and `value_base64`), or `KEY<tab>VALUE`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use super::output::{Failed, exit};

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
}

/// The records of a file, or of standard input.
pub struct Records {
    name: String,
    lines: Box<dyn BufRead + Send>,
    line: u64,
    /// Bytes read so far.
    pub read: u64,
    /// Bytes there are, where that is known.
    pub total: Option<u64>,
}

impl Records {
    /// Opens a file, or `-` for standard input.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(file: &str) -> Result<Self, Failed> {
        let (lines, total): (Box<dyn BufRead + Send>, _) = if file == "-" {
            (Box::new(BufReader::new(io::stdin())), None)
        } else {
            let opened = File::open(file).map_err(|error| Failed::file(file, &error))?;
            let total = opened.metadata().ok().map(|metadata| metadata.len());
            (Box::new(BufReader::with_capacity(1 << 20, opened)), total)
        };
        let name = if file == "-" { "standard input" } else { file };
        Ok(Self { name: name.to_owned(), lines, line: 0, read: 0, total })
    }

    fn wrong(&self, what: &str) -> Failed {
        let text = format!("{}:{}: {what}", self.name, self.line);
        Failed::new(exit::USAGE, "bad_record", text)
    }

    fn parse(&self, line: &[u8]) -> Result<Record, Failed> {
        if line.first() == Some(&b'{') {
            let value: Value =
                serde_json::from_slice(line).map_err(|error| self.wrong(&error.to_string()))?;
            let key = self.field(&value, "key")?;
            let value = self.field(&value, "value")?;
            return Ok(Record { key, value });
        }
        let Some(tab) = line.iter().position(|byte| *byte == b'\t') else {
            return Err(self.wrong("neither a JSON object nor KEY<tab>VALUE"));
        };
        let (key, value) = line.split_at(tab);
        let value = value.get(1..).unwrap_or_default();
        Ok(Record { key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(value) })
    }

    fn field(&self, record: &Value, name: &str) -> Result<Bytes, Failed> {
        if let Some(text) = record.get(name).and_then(Value::as_str) {
            return Ok(Bytes::copy_from_slice(text.as_bytes()));
        }
        let encoded = format!("{name}_base64");
        let Some(text) = record.get(&encoded).and_then(Value::as_str) else {
            return Err(self.wrong(&format!("`{name}` (or `{encoded}`) is to be a string")));
        };
        STANDARD.decode(text).map(Bytes::from).map_err(|error| self.wrong(&error.to_string()))
    }
}

impl Iterator for Records {
    type Item = Result<Record, Failed>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut line = Vec::new();
            match self.lines.read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(bytes) => self.read += bytes as u64,
                Err(error) => return Some(Err(Failed::file(&self.name, &error))),
            }
            self.line += 1;
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if !line.is_empty() {
                return Some(self.parse(&line));
            }
        }
    }
}
