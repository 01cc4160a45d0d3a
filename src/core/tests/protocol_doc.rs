//! docs/protocol.md is kept true: each of its frames is decoded, compared with the line above it,
//! and encoded again to the same bytes; and it names everything there is.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use quorate_core::types::NodeId;
use quorate_core::wire::client::{
    Append, CompareAndSwap, Consistency, Decoded, Delete, ErrorCode, Expect, Failure, Get, Hello,
    Increment, KeyValue, Leader, Limits, Op, Put, Replies, Request, Requests, Status, Success,
    Welcome, decode_success, encode_reply, encode_request, encode_result,
};

const PAGE: &str = include_str!("../../../docs/protocol.md");

/// The words of a line such as `put id=1 key=a value=1`. `message=` takes the rest of the line.
struct Line<'a> {
    words: Vec<&'a str>,
    fields: BTreeMap<&'a str, &'a str>,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Self {
        let (head, message) =
            line.split_once(" message=").map_or((line, None), |(head, rest)| (head, Some(rest)));
        let mut parsed = Self { words: Vec::new(), fields: BTreeMap::new() };
        for word in head.split_whitespace() {
            match word.split_once('=') {
                Some((name, value)) => drop(parsed.fields.insert(name, value)),
                None => parsed.words.push(word),
            }
        }
        parsed.fields.extend(message.map(|message| ("message", message)));
        parsed
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.fields.get(name).copied()
    }

    fn number(&self, name: &str) -> u64 {
        self.get(name).map_or(0, |text| text.parse().expect("a number"))
    }

    fn bytes(&self, name: &str) -> Bytes {
        Bytes::copy_from_slice(self.get(name).expect("a field").as_bytes())
    }

    fn text(&self, name: &str) -> String {
        self.get(name).expect("a field").to_owned()
    }

    fn flag(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    fn leader(&self) -> Option<Leader> {
        let (id, address) = self.get("leader")?.split_once('@').expect("leader=ID@ADDRESS");
        Some(Leader {
            id: NodeId(id.parse().expect("as the page has it")),
            address: address.to_owned(),
        })
    }

    /// `nil`, or `key:value:create_revision:mod_revision:version`.
    fn entry(&self, name: &str) -> Option<KeyValue> {
        let text = self.get(name).filter(|text| *text != "nil")?;
        let parts: Vec<&str> = text.split(':').collect();
        let [key, value, create, modified, version] = parts[..] else { panic!("{text}") };
        Some(KeyValue {
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Bytes::copy_from_slice(value.as_bytes()),
            create_revision: create.parse().expect("as the page has it"),
            mod_revision: modified.parse().expect("as the page has it"),
            version: version.parse().expect("as the page has it"),
            lease: 0,
        })
    }

    fn previous(&self) -> Option<Option<KeyValue>> {
        self.get("previous").map(|_| self.entry("previous"))
    }

    fn op(&self) -> Op {
        match self.words[..] {
            ["hello"] => Op::Hello(Hello {
                session: self.get("session").and_then(|text| text.parse().ok()),
                token: None,
                client: self.get("client").map(str::to_owned),
            }),
            ["ping"] => Op::Ping,
            ["members"] => Op::Members,
            ["put"] => Op::Put(Put {
                key: self.bytes("key"),
                value: self.bytes("value"),
                lease: 0,
                return_previous: self.flag("return_previous"),
            }),
            ["append"] => Op::Append(Append { key: self.bytes("key"), value: self.bytes("value") }),
            ["get"] => Op::Get(Get {
                key: self.bytes("key"),
                consistency: self.get("consistency").map_or(Consistency::default(), |word| {
                    Consistency::parse(word).expect("as the page has it")
                }),
                min_revision: self.number("min_revision"),
                ..Get::default()
            }),
            ["delete"] => Op::Delete(Delete {
                key: self.bytes("key"),
                return_previous: self.flag("return_previous"),
            }),
            ["compare_and_swap"] => Op::CompareAndSwap(CompareAndSwap {
                key: self.bytes("key"),
                expect: match (self.get("expect.value"), self.get("expect")) {
                    (Some(_), _) => Expect::Value(self.bytes("expect.value")),
                    (None, Some("absent")) => Expect::Absent,
                    _ => Expect::ModRevision(self.number("expect.mod_revision")),
                },
                value: self.get("value").filter(|text| *text != "nil").map(|_| self.bytes("value")),
            }),
            ["increment"] => Op::Increment(Increment {
                key: self.bytes("key"),
                by: self.get("by").map_or(1, |text| text.parse().expect("as the page has it")),
            }),
            ref other => panic!("{other:?}"),
        }
    }

    fn success(&self) -> Success {
        let (revision, index) = (self.number("revision"), self.number("index"));
        match self.words[..] {
            ["ok", "hello"] => Success::Hello(Welcome {
                session: self.number("session"),
                node: NodeId(self.number("node")),
                leader: self.leader(),
                cluster: self.text("cluster"),
                version: self.text("version"),
                limits: Limits::default(),
            }),
            ["ok", "ping"] => Success::Empty,
            ["ok", "put"] => Success::Put { revision, index, previous: self.previous() },
            ["ok", "get"] => Success::Get { revision, index, entry: self.entry("entry") },
            ["ok", "delete"] => {
                let (deleted, previous) = (self.number("deleted"), self.previous());
                Success::Delete { revision, index, deleted, previous }
            }
            ["ok", "compare_and_swap"] => {
                let (swapped, entry) = (self.flag("swapped"), self.entry("entry"));
                Success::CompareAndSwap { revision, index, swapped, entry }
            }
            ["ok", "increment"] => {
                let number = self.text("number").parse().expect("as the page has it");
                Success::Increment { revision, index, number }
            }
            ref other => panic!("{other:?}"),
        }
    }

    fn failure(&self) -> Failure {
        let code = ErrorCode::parse(&self.text("code")).expect("a code");
        Failure { leader: self.leader(), ..Failure::new(code, self.text("message")) }
    }
}

/// An operation of that name, enough to decode its success by.
fn asked(name: &str) -> Op {
    match name {
        "hello" => Op::Hello(Hello::default()),
        "ping" => Op::Ping,
        "put" => Op::Put(Put::default()),
        "get" => Op::Get(Get::default()),
        "delete" => Op::Delete(Delete::default()),
        "increment" => Op::Increment(Increment { key: Bytes::new(), by: 1 }),
        "compare_and_swap" => Op::CompareAndSwap(CompareAndSwap {
            key: Bytes::new(),
            expect: Expect::Absent,
            value: None,
        }),
        other => panic!("{other}"),
    }
}

struct Block<'a> {
    kind: &'a str,
    line: usize,
    says: Vec<Line<'a>>,
    frame: Bytes,
}

fn blocks() -> Vec<Block<'static>> {
    let mut blocks: Vec<Block<'static>> = Vec::new();
    let mut open = false;
    for (number, line) in PAGE.lines().enumerate() {
        if let Some(kind) = line.strip_prefix("```hex ") {
            open = true;
            blocks.push(Block { kind, line: number + 1, says: Vec::new(), frame: Bytes::new() });
        } else if line == "```" {
            open = false;
        } else if open {
            let block = blocks.last_mut().expect("a block is open");
            match line.strip_prefix("# = ") {
                Some(says) => block.says.push(Line::parse(says)),
                None => block.frame = [block.frame.as_ref(), &unhex(line)].concat().into(),
            }
        }
    }
    blocks
}

fn unhex(line: &str) -> Vec<u8> {
    line.split_whitespace().map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let space = if text.is_empty() { "" } else { " " };
        write!(text, "{space}{byte:02x}").expect("a string takes all");
        text
    })
}

fn encoded(block: &Block<'_>) -> BytesMut {
    let mut out = BytesMut::new();
    for line in &block.says {
        let id = line.number("id");
        match (block.kind, line.words[0]) {
            ("request", _) => encode_request(&mut out, id, &line.op(), line.number("acked")),
            (_, "error") => encode_reply(&mut out, id, &encode_result(&Err(line.failure()))),
            _ => encode_reply(&mut out, id, &encode_result(&Ok(line.success()))),
        }
    }
    out
}

#[test]
fn each_frame_is_the_encoding_of_its_line() {
    let blocks = blocks();
    assert!(blocks.len() > 20);
    let mut wrong = String::new();
    for block in &blocks {
        let expected = encoded(block);
        if expected != block.frame {
            writeln!(wrong, "line {}: {}", block.line, hex(&expected)).expect("as the page has it");
        }
    }
    assert!(wrong.is_empty(), "these blocks should be\n{wrong}");
}

#[test]
fn each_frame_is_decoded_as_its_line_says() {
    for block in blocks() {
        let lines = block.says.iter();
        if block.kind == "request" {
            let got: Vec<_> = Requests::new(&block.frame, &Limits::default()).collect();
            let expected: Vec<_> = lines
                .map(|line| {
                    let (id, acked) = (line.number("id"), line.number("acked"));
                    Ok(Decoded::Request(Request { id, op: line.op(), acked }))
                })
                .collect();
            assert_eq!(got, expected, "line {}", block.line);
            continue;
        }
        let got: Vec<_> = Replies::new(&block.frame).map(|reply| reply.expect("a reply")).collect();
        assert_eq!(got.len(), block.says.len(), "line {}", block.line);
        for (reply, line) in got.into_iter().zip(lines) {
            assert_eq!(reply.id, line.number("id"));
            match reply.result {
                Err(failure) => assert_eq!(failure, line.failure()),
                Ok(ok) => {
                    assert_eq!(decode_success(&asked(line.words[1]), &ok), Ok(line.success()));
                }
            }
        }
    }
}

#[test]
fn everything_there_is_has_a_row() {
    for name in Op::NAMES.iter().filter(|name| **name != "hello") {
        assert!(PAGE.contains(&format!("\n| `{name}` | ")), "{name}");
    }
    for code in ErrorCode::ALL {
        assert!(PAGE.contains(&format!("\n| `{code}` | ")), "{code}");
    }
    let limits = Limits::default();
    for (name, default) in [
        ("key_bytes", limits.key_bytes),
        ("value_bytes", limits.value_bytes),
        ("request_bytes", limits.request_bytes),
        ("window", limits.window),
        ("session_ttl_ms", limits.session_ttl_ms),
    ] {
        let rows: Vec<&str> =
            PAGE.lines().filter(|row| row.starts_with(&format!("| `{name}` | "))).collect();
        let [row] = rows[..] else { panic!("{name}: {rows:?}") };
        let told = row.split('|').nth(2).expect("as the page has it").trim().replace(',', "");
        assert_eq!(told, default.to_string(), "{name}");
    }
}

#[test]
fn every_field_of_the_status_is_told() {
    let status = Status { peers: vec![Default::default()], ..Status::default() };
    let section =
        PAGE.split("## 9. ").nth(1).expect("as the page has it").split("## 10. ").next().unwrap();
    // The names are the only strings in it, because the values are empty or numbers.
    let named = encode_result(&Ok(Success::Status(Box::new(status))));
    let names: Vec<String> = named
        .split(|byte| !(byte.is_ascii_lowercase() || *byte == b'_'))
        .map(|name| String::from_utf8(name.to_vec()).expect("as the page has it"))
        .filter(|name| name.len() > 1 && name != "ok")
        .collect();
    assert!(names.len() > 25, "{names:?}");
    for name in names {
        let told = section.split(|letter: char| !(letter.is_ascii_lowercase() || letter == '_'));
        assert!(told.into_iter().any(|word| word == name), "{name}");
    }
}
