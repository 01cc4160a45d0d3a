//! `put get append del cas incr`: one request, one result.

use std::io::IsTerminal;
use std::time::Instant;

use quorate_client::Client;
use quorate_core::wire::client::{
    Append, CompareAndSwap, Consistency, Delete, Expect, Get, Increment, KeyValue, Op, Put, Success,
};
use serde_json::{Value, json};

use super::args::{
    AppendArgs, CasArgs, Common, DelArgs, Format, Freshness, GetArgs, IncrArgs, PutArgs,
};
use super::connect::{self, builder};
use super::output::{Failed, entry_json, escape, exit, insert_bytes, print_bytes, print_line};

/// One client, for one command.
struct Session<'a> {
    common: &'a Common,
    client: Client,
    started: Instant,
}

impl<'a> Session<'a> {
    async fn open(common: &'a Common, reads: bool) -> Result<Self, Failed> {
        let started = Instant::now();
        let client = builder(common)?.sessionless(reads).connect().await?;
        Ok(Self { common, client, started })
    }

    async fn call(&self, op: Op) -> Result<Success, Failed> {
        Ok(self.client.call(op, None).await?)
    }

    /// Ends the session at once, so that the cluster need not wait for it to expire.
    async fn close(self) {
        let _ = self.client.close().await;
    }

    /// What a write prints: JSON where asked, a line for people on a terminal, else nothing.
    fn report(&self, line: &str, revision: u64, value: Value) -> Result<(), Failed> {
        if self.common.json() {
            return print_line(value);
        }
        if self.common.quiet || !std::io::stdout().is_terminal() {
            return Ok(());
        }
        let millis = self.started.elapsed().as_secs_f64() * 1e3;
        print_line(format_args!("{line}  revision {revision}, {millis:.1} ms"))
    }
}

fn surprised(success: &Success) -> Failed {
    Failed::new(
        exit::INTERNAL,
        "internal",
        format!("the node answered something else: {success:?}"),
    )
}

/// `put`
///
/// # Errors
/// As the request's.
pub async fn put(common: &Common, args: &PutArgs) -> Result<(), Failed> {
    let put = Put {
        key: connect::key(&args.key, &args.escapes)?,
        value: connect::value(args.value.as_deref(), &args.escapes)?,
        return_previous: args.previous,
        ..Put::default()
    };
    let session = Session::open(common, false).await?;
    match session.call(Op::Put(put)).await? {
        Success::Put { revision, index, previous } => {
            let mut value = json!({"revision": revision, "index": index});
            if let (Some(previous), Some(map)) = (&previous, value.as_object_mut()) {
                let previous = previous.as_ref().map(|entry| Value::from(entry_json(entry)));
                map.insert("previous".into(), previous.unwrap_or(Value::Null));
            }
            session.report("OK", revision, value)?;
            if let (Some(Some(previous)), false) = (&previous, common.json()) {
                print_bytes(&previous.value, false)?;
            }
        }
        other => return Err(surprised(&other)),
    }
    session.close().await;
    Ok(())
}

/// `get`
///
/// # Errors
/// As the request's; exit code 1 where there is no such key.
pub async fn get(common: &Common, args: &GetArgs) -> Result<(), Failed> {
    let key = connect::key(&args.key, &args.escapes)?;
    let consistency = match args.consistency {
        Freshness::Linearizable => Consistency::Linearizable,
        Freshness::Stale => Consistency::Stale,
    };
    let get = Get { key, consistency, max_age_ms: args.max_age_ms, ..Get::default() };
    if get.max_age_ms.is_some() && consistency != Consistency::Stale {
        return Err(Failed::usage("--max-age-ms goes with --consistency stale"));
    }
    let session = Session::open(common, true).await?;
    let answer = session.call(Op::Get(get.clone())).await?;
    session.close().await;
    let Success::Get { revision, entry, .. } = answer else { return Err(surprised(&answer)) };
    match entry {
        None if args.exists => Err(Failed::silent(exit::NO)),
        None => {
            let text = format!("no key \"{}\" (revision {revision})", escape(&get.key));
            Err(Failed::new(exit::NO, "not_found", text))
        }
        Some(_) if args.exists => Ok(()),
        Some(entry) => print_entry(common, &entry, revision, args.meta),
    }
}

fn print_entry(common: &Common, entry: &KeyValue, revision: u64, meta: bool) -> Result<(), Failed> {
    if common.json() {
        let mut map = entry_json(entry);
        map.insert("revision".into(), revision.into());
        return print_line(Value::from(map));
    }
    if meta {
        let KeyValue { create_revision, mod_revision, version, .. } = entry;
        print_line(format_args!(
            "key {}  version {version}  create_revision {create_revision}  \
             mod_revision {mod_revision}  revision {revision}  {} bytes",
            escape(&entry.key),
            entry.value.len()
        ))?;
    }
    print_bytes(&entry.value, common.output == Format::Raw)
}

/// `append`
///
/// # Errors
/// As the request's.
pub async fn append(common: &Common, args: &AppendArgs) -> Result<(), Failed> {
    let key = connect::key(&args.key, &args.escapes)?;
    let value = connect::value(args.value.as_deref(), &args.escapes)?;
    let session = Session::open(common, false).await?;
    match session.call(Op::Append(Append { key, value })).await? {
        Success::Append { revision, index, length } if common.json() => {
            print_line(json!({"revision": revision, "index": index, "length": length}))?;
        }
        Success::Append { length, .. } => print_line(length)?,
        other => return Err(surprised(&other)),
    }
    session.close().await;
    Ok(())
}

/// `del`
///
/// # Errors
/// As the requests'; exit code 1 where none of the keys was there.
pub async fn del(common: &Common, args: &DelArgs) -> Result<(), Failed> {
    let keys = args.keys.iter().map(|key| connect::key(key, &args.escapes));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    let session = Session::open(common, false).await?;
    let (mut total, mut last) = (0, 0);
    for key in keys {
        match session.call(Op::Delete(Delete { key, return_previous: false })).await? {
            Success::Delete { deleted, revision, .. } => {
                total += deleted;
                last = revision;
            }
            other => return Err(surprised(&other)),
        }
    }
    if common.json() {
        print_line(json!({"deleted": total, "revision": last}))?;
    } else {
        print_line(total)?;
    }
    session.close().await;
    if total == 0 { Err(Failed::silent(exit::NO)) } else { Ok(()) }
}

/// `cas`
///
/// # Errors
/// As the request's; exit code 1 where it was not as expected.
pub async fn cas(common: &Common, args: &CasArgs) -> Result<(), Failed> {
    let key = connect::key(&args.key, &args.escapes)?;
    let expect = match (&args.expect, args.expect_revision) {
        (Some(value), _) => Expect::Value(connect::value(Some(value), &args.escapes)?),
        (None, Some(revision)) => Expect::ModRevision(revision),
        (None, None) => Expect::Absent,
    };
    let value = match (&args.value, args.delete) {
        (Some(value), false) => Some(connect::value(Some(value), &args.escapes)?),
        _ => None,
    };
    let session = Session::open(common, false).await?;
    let op = CompareAndSwap { key: key.clone(), expect, value };
    let answer = session.call(Op::CompareAndSwap(op)).await?;
    let Success::CompareAndSwap { swapped, entry, revision, index } = answer else {
        return Err(surprised(&answer));
    };
    if common.json() || swapped {
        let entry = entry.as_ref().map_or(Value::Null, |entry| entry_json(entry).into());
        let value =
            json!({"swapped": swapped, "revision": revision, "index": index, "entry": entry});
        session.report("OK", revision, value)?;
    }
    session.close().await;
    if swapped {
        return Ok(());
    }
    if common.json() {
        return Err(Failed::silent(exit::NO));
    }
    let (name, found) = (escape(&key), entry);
    let text = match found {
        Some(entry) => format!(
            "not swapped: {name} is \"{}\" (mod_revision {})",
            escape(&entry.value),
            entry.mod_revision
        ),
        None => format!("not swapped: there is no key \"{name}\" (revision {revision})"),
    };
    Err(Failed::new(exit::NO, "condition_false", text))
}

/// `incr`
///
/// # Errors
/// As the request's.
pub async fn incr(common: &Common, args: &IncrArgs) -> Result<(), Failed> {
    let key = connect::key(&args.key, &args.escapes)?;
    let session = Session::open(common, false).await?;
    match session.call(Op::Increment(Increment { key: key.clone(), by: args.by })).await? {
        Success::Increment { revision, index, number } if common.json() => {
            let mut map = serde_json::Map::new();
            insert_bytes(&mut map, "key", &key);
            map.insert("number".into(), number.into());
            map.insert("revision".into(), revision.into());
            map.insert("index".into(), index.into());
            print_line(Value::from(map))?;
        }
        Success::Increment { number, .. } => print_line(number)?,
        other => return Err(surprised(&other)),
    }
    session.close().await;
    Ok(())
}
