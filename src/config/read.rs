//! From the file, the environment and the flags to values, each with its origin and place.

use std::collections::BTreeMap;
use std::ops::Range;

use quorate_core::types::NodeId;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{KEYS, Key, Kind, LATER, NODE_KEYS, find, nearest};
use super::report::{Problem, Source};

/// A key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Integer(u64),
    Bool(bool),
    Text(String),
    List(Vec<String>),
}

/// A value, and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) value: Value,
    pub(super) origin: String,
    /// Where in the file.
    pub(super) span: Option<Range<usize>>,
}

/// A `[[node]]` as it is written.
#[derive(Clone, Debug, Default)]
pub(super) struct RawNode {
    pub(super) span: Range<usize>,
    pub(super) fields: BTreeMap<String, (String, Range<usize>)>,
    pub(super) id: Option<(i64, Range<usize>)>,
    pub(super) dial: Vec<(String, String, Range<usize>)>,
    pub(super) insecure_listen: bool,
}

/// Everything read so far.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) values: BTreeMap<&'static str, Set>,
    pub(super) nodes: Vec<RawNode>,
    pub(super) problems: Vec<Problem>,
}

impl Read {
    /// Takes in the file.
    pub(super) fn file(&mut self, source: &Source<'_>) {
        let (table, errors) = DeTable::parse_recoverable(source.text);
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            let problem = source.shown(&span, "not TOML".to_owned(), error.message().to_owned());
            self.problems.push(problem);
        }
        for (name, value) in table.get_ref() {
            let section = name.get_ref().as_ref();
            match (section, value.get_ref()) {
                ("node", DeValue::Array(nodes)) => {
                    for node in nodes.iter() {
                        self.node(source, node);
                    }
                }
                ("node", _) => {
                    let what = "nodes are written [[node]], one after the other".to_owned();
                    self.problems.push(source.told(
                        &name.span(),
                        what,
                        "use two brackets".to_owned(),
                    ));
                }
                (_, DeValue::Table(keys)) if sections().any(|known| known == section) => {
                    self.section(source, section, keys);
                }
                _ => self.problems.push(unknown(source, &name.span(), section, sections())),
            }
        }
    }

    fn section(&mut self, source: &Source<'_>, section: &str, keys: &DeTable<'_>) {
        for (name, value) in keys {
            let full = format!("{section}.{}", name.get_ref());
            let Some(key) = find(&full) else {
                let names = KEYS.iter().map(|key| key.name);
                self.problems.push(unknown(source, &name.span(), &full, names));
                continue;
            };
            match parse(key, value.get_ref()) {
                Ok(value_) => {
                    let (line, _) = source.position(name.span().start);
                    let origin = format!("{} line {line}", source.name);
                    let span = Some(value.span());
                    self.values.insert(key.name, Set { value: value_, origin, span });
                }
                Err(why) => {
                    let what = format!("{full} {why}");
                    let remark = format!("it is {}", key.kind.describe());
                    self.problems.push(source.shown(&value.span(), what, remark));
                }
            }
        }
    }

    fn node(&mut self, source: &Source<'_>, node: &Spanned<DeValue<'_>>) {
        let DeValue::Table(keys) = node.get_ref() else {
            let what = "a node is a table".to_owned();
            self.problems.push(source.told(&node.span(), what, "write [[node]]".to_owned()));
            return;
        };
        let mut raw = RawNode { span: node.span(), ..RawNode::default() };
        for (name, value) in keys {
            let (key, span) = (name.get_ref().as_ref(), value.span());
            match (key, value.get_ref()) {
                ("id", DeValue::Integer(_)) => {
                    raw.id = integer(value.get_ref()).map(|id| (id, span));
                }
                ("insecure_listen", DeValue::Boolean(allowed)) => raw.insecure_listen = *allowed,
                ("dial", DeValue::Table(dials)) => {
                    for (to, address) in dials {
                        let text = address.get_ref().as_str().unwrap_or_default().to_owned();
                        raw.dial.push((to.get_ref().to_string(), text, address.span()));
                    }
                }
                (_, DeValue::String(text)) if is_node_text(key) => {
                    raw.fields.insert(key.to_owned(), (text.to_string(), span));
                }
                _ if NODE_KEYS.iter().any(|(known, _)| *known == key) => {
                    let what = format!("node.{key} has a value of the wrong type");
                    self.problems.push(source.shown(&span, what, node_type(key).to_owned()));
                }
                _ => {
                    let names = NODE_KEYS.iter().map(|(known, _)| *known);
                    let full = format!("node.{key}");
                    if LATER.contains(&full.as_str()) {
                        self.problems.push(later(source, &name.span(), &full));
                    } else {
                        self.problems.push(unknown(source, &name.span(), key, names));
                    }
                }
            }
        }
        self.nodes.push(raw);
    }

    /// Takes in `QUORATE__SECTION__KEY` of the environment.
    pub(super) fn environment(&mut self, env: &BTreeMap<String, String>) {
        for (name, text) in env {
            let Some(path) = name.strip_prefix("QUORATE__") else { continue };
            let full = path.replace("__", ".").to_ascii_lowercase();
            let place = format!("environment {name}=\"{text}\"");
            self.word(&full, text, &place, format!("environment {name}"));
        }
    }

    /// Takes in `QUORATE_NODE_CLIENT` and the like, for the node that runs; checked as if the
    /// file said it.
    pub(super) fn node_environment(
        &mut self,
        env: &BTreeMap<String, String>,
        node: Option<NodeId>,
    ) {
        let runs = |raw: &&mut RawNode| {
            let id = raw.id.as_ref().and_then(|(id, _)| u64::try_from(*id).ok());
            id.is_some() && id.map(NodeId) == node
        };
        let Some(raw) = self.nodes.iter_mut().find(runs) else { return };
        for field in NODE_TEXTS {
            if let Some(text) = env.get(&format!("QUORATE_NODE_{}", field.to_ascii_uppercase())) {
                raw.fields.insert(field.to_owned(), (text.clone(), raw.span.clone()));
            }
        }
    }

    /// Takes in `--set KEY=VALUE`.
    pub(super) fn flags(&mut self, flags: &[(String, String)]) {
        for (full, text) in flags {
            self.word(full, text, &format!("--set {full}={text}"), "--set".to_owned());
        }
    }

    fn word(&mut self, full: &str, text: &str, place: &str, origin: String) {
        let problem = |what: String| Problem {
            offset: usize::MAX,
            warning: false,
            place: place.to_owned(),
            what,
            excerpt: None,
            help: None,
        };
        let Some(key) = find(full) else {
            let near = nearest(full, KEYS.iter().map(|key| key.name));
            let near = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
            self.problems.push(problem(format!("names no key `{full}`{near}")));
            return;
        };
        match parse_word(key, text) {
            Ok(value) => {
                self.values.insert(key.name, Set { value, origin, span: None });
            }
            Err(why) => {
                let default = key.kind.default_text().map(|d| format!(", default {d}"));
                let what = format!(
                    "{why} ({full}: {}{})",
                    key.kind.describe(),
                    default.unwrap_or_default()
                );
                self.problems.push(problem(what));
            }
        }
    }
}

fn sections() -> impl Iterator<Item = &'static str> {
    let mut names: Vec<&str> = KEYS
        .iter()
        .filter_map(|key| key.name.split_once('.'))
        .map(|(section, _)| section)
        .collect();
    names.dedup();
    names.push("node");
    names.into_iter()
}

/// The keys of a node that are strings.
const NODE_TEXTS: [&str; 5] = ["client", "peer", "data_dir", "client_advertise", "peer_advertise"];

fn is_node_text(key: &str) -> bool {
    NODE_TEXTS.contains(&key)
}

fn node_type(key: &str) -> &'static str {
    match key {
        "id" => "it is an integer, 1 to 65535",
        "dial" => "it is a table, such as { 2 = \"127.0.0.1:9102\" }",
        "insecure_listen" => "it is true or false",
        _ => "it is a string",
    }
}

fn later(source: &Source<'_>, span: &Range<usize>, name: &str) -> Problem {
    let what = format!("`{name}` is not in this version");
    source.shown(span, what, "leave it out".to_owned())
}

fn unknown<'a>(
    source: &Source<'_>,
    span: &Range<usize>,
    name: &str,
    names: impl Iterator<Item = &'a str>,
) -> Problem {
    if LATER.contains(&name) {
        return later(source, span, name);
    }
    let remark = match nearest(name, names) {
        Some(near) => {
            let short = near.rsplit('.').next().unwrap_or(near);
            let kind = find(near).map(|key| format!(" ({})", key.kind.describe()));
            format!("did you mean `{short}`?{}", kind.unwrap_or_default())
        }
        None => "no such key; `quorate config print` lists all".to_owned(),
    };
    source.shown(span, format!("unknown key `{name}`"), remark)
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn parse(key: &Key, value: &DeValue<'_>) -> Result<Value, String> {
    let wrong = || format!("is {}", article(value.type_str()));
    let parsed = match (&key.kind, value) {
        (Kind::Integer { .. }, DeValue::Integer(_)) => {
            let number = integer(value).ok_or_else(|| "is too large".to_owned())?;
            Value::Integer(u64::try_from(number).map_err(|_| format!("= {number} is negative"))?)
        }
        (Kind::Bool(_), DeValue::Boolean(flag)) => Value::Bool(*flag),
        (Kind::Choice(_) | Kind::Text { .. }, DeValue::String(text)) => {
            Value::Text(text.to_string())
        }
        (Kind::List, DeValue::Array(items)) => {
            let texts: Option<Vec<String>> =
                items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect();
            Value::List(texts.ok_or_else(|| "holds something else than strings".to_owned())?)
        }
        _ => return Err(wrong()),
    };
    in_range(key, parsed)
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}

fn parse_word(key: &Key, text: &str) -> Result<Value, String> {
    let parsed = match &key.kind {
        Kind::Integer { .. } => {
            let number = text.replace('_', "").parse();
            Value::Integer(number.map_err(|_| "is not an integer".to_owned())?)
        }
        Kind::Bool(_) => Value::Bool(text.parse().map_err(|_| "is not true or false".to_owned())?),
        Kind::Choice(_) | Kind::Text { .. } => Value::Text(text.to_owned()),
        Kind::List => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::List(items.map(str::to_owned).collect())
        }
    };
    in_range(key, parsed)
}

fn in_range(key: &Key, value: Value) -> Result<Value, String> {
    match (&key.kind, &value) {
        (Kind::Integer { min, max, .. }, Value::Integer(number))
            if number < min || number > max =>
        {
            Err(format!("= {number} is out of range"))
        }
        (Kind::Choice(words), Value::Text(text)) if !words.contains(&text.as_str()) => {
            Err(format!("= \"{text}\" is none of its words"))
        }
        _ => Ok(value),
    }
}
