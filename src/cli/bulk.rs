//! `import`, `verify` and `export`: many keys, pipelined, with a bar for whoever watches.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quorate_client::{Client, Pending};
use quorate_core::wire::client::{Get, Op, Put, Success};
use serde_json::{Value, json};

use super::args::{Common, ExportArgs, ImportArgs, VerifyArgs};
use super::connect::{builder, endpoints, key};
use super::output::{Failed, escape, exit, print_line};
use super::records::{Record, Records};

/// A bar on stderr, by bytes where the total is known; hidden where nobody watches.
fn bar(total: Option<u64>, quiet: bool) -> ProgressBar {
    let bar = match total {
        Some(total) => ProgressBar::new(total).with_style(style(
            "{msg:>12} {bar:30} {percent:>3} %  {pos_records} records, {rate}/s, {eta} left",
        )),
        None => ProgressBar::new_spinner()
            .with_style(style("{msg:>12} {spinner} {pos_records} records, {rate}/s")),
    };
    if quiet {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

fn style(template: &str) -> ProgressStyle {
    let template = template.replace("{pos_records} records, {rate}/s", "{prefix}");
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Where a pipelined pass over records stands.
struct Pass {
    bar: ProgressBar,
    started: Instant,
    done: u64,
    bytes: u64,
}

impl Pass {
    fn new(message: &'static str, total: Option<u64>, quiet: bool) -> Self {
        let bar = bar(total, quiet);
        bar.set_message(message);
        Self { bar, started: Instant::now(), done: 0, bytes: 0 }
    }

    fn finished(&mut self, record: &Record, read: u64) {
        self.done += 1;
        self.bytes += (record.key.len() + record.value.len()) as u64;
        if self.done.is_multiple_of(256) {
            self.bar.set_prefix(format!("{} records, {:.0}/s", self.done, self.rate()));
            self.bar.set_position(read);
        }
    }

    fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64().max(1e-9)
    }

    fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let done = self.done as f64;
        done / self.seconds()
    }
}

/// `import`: every record a put of its own in one session, so that each happens exactly once
/// however often the leader changes on the way.
///
/// # Errors
/// When a record is wrong, or a write fails or is unknown; what was written before stays.
pub async fn import(common: &Common, args: &ImportArgs) -> Result<(), Failed> {
    let mut records = Records::open(&args.file)?;
    let client = builder(common)?
        .deadline(Duration::from_millis(args.retry_for_ms))
        .window(args.outstanding.max(1) as u64)
        .connect()
        .await?;
    let mut pass = Pass::new("importing", records.total, common.quiet || common.json());
    let mut waiting: VecDeque<(Record, Pending)> = VecDeque::new();
    loop {
        let next = if waiting.len() < args.outstanding.max(1) { records.next() } else { None };
        match next {
            Some(record) => {
                let record = record?;
                let put =
                    Put { key: record.key.clone(), value: record.value.clone(), ..Put::default() };
                waiting.push_back((record, client.submit(Op::Put(put), None)));
            }
            None => match waiting.pop_front() {
                Some((record, pending)) => {
                    pending.await.map_err(|error| stopped(error.into(), &record, pass.done))?;
                    pass.finished(&record, records.read);
                }
                None => break,
            },
        }
    }
    pass.bar.finish_and_clear();
    let _ = client.close().await;
    summary(common, "imported", &pass, &json!({}))
}

/// A failure in the middle of an import says how far it came.
fn stopped(mut failed: Failed, record: &Record, done: u64) -> Failed {
    failed.message = format!(
        "stopped at key \"{}\" after {done} records: {}. Importing the same file again is safe: \
         it writes the same values",
        escape(&record.key),
        failed.message
    );
    failed
}

fn summary(common: &Common, verb: &str, pass: &Pass, more: &Value) -> Result<(), Failed> {
    let (seconds, rate) = (pass.seconds(), pass.rate());
    if common.json() {
        let mut value = json!({"records": pass.done, "bytes": pass.bytes, "seconds": seconds});
        if let (Some(map), Some(more)) = (value.as_object_mut(), more.as_object()) {
            map.extend(more.clone());
        }
        return print_line(value);
    }
    let mib = pass.bytes / (1 << 20);
    print_line(format_args!(
        "{verb} {} records ({mib} MiB of keys and values) in {seconds:.1} s, {rate:.0} records/s",
        pass.done
    ))
}

/// What `verify` found.
#[derive(Default)]
struct Findings {
    missing: u64,
    different: u64,
    /// Written more or less often than the file has the key.
    rewritten: u64,
}

impl Findings {
    fn tell(&mut self, kind: fn(&mut Self) -> &mut u64, key: &Bytes, what: &str) {
        let count = kind(self);
        *count += 1;
        if *count <= 10 {
            eprintln!("quorate: {}: {what}", escape(key));
        }
    }
}

/// `verify`: the last record of each key is what the store must hold.
///
/// # Errors
/// Exit code 1 where something is missing or different.
pub async fn verify(common: &Common, args: &VerifyArgs) -> Result<(), Failed> {
    let mut expected: BTreeMap<Bytes, (Bytes, u64)> = BTreeMap::new();
    let mut records = Records::open(&args.file)?;
    for record in records.by_ref() {
        let record = record?;
        let slot = expected.entry(record.key).or_default();
        *slot = (record.value, slot.1 + 1);
    }
    let client =
        builder(common)?.sessionless(true).window(args.outstanding.max(1) as u64).connect().await?;
    let total = expected.len() as u64;
    let mut pass = Pass::new("verifying", Some(total), common.quiet || common.json());
    let mut findings = Findings::default();
    let mut waiting: VecDeque<(Record, u64, Pending)> = VecDeque::new();
    let mut left = expected.into_iter();
    loop {
        let next = if waiting.len() < args.outstanding.max(1) { left.next() } else { None };
        match (next, waiting.is_empty()) {
            (Some((key, (value, times))), _) => {
                let pending = ask(&client, &key);
                waiting.push_back((Record { key, value }, times, pending));
            }
            (None, true) => break,
            (None, false) => {
                if let Some((record, times, pending)) = waiting.pop_front() {
                    let answer = pending.await?;
                    let times = args.exactly_once.then_some(times);
                    compare(&record, times, &answer, &mut findings);
                    let done = pass.done + 1;
                    pass.finished(&record, done);
                }
            }
        }
    }
    pass.bar.finish_and_clear();
    let _ = client.close().await;
    let Findings { missing, different, rewritten } = findings;
    let found = json!({"missing": missing, "different": different, "rewritten": rewritten});
    summary(common, "verified", &pass, &found)?;
    if missing + different + rewritten == 0 {
        return Ok(());
    }
    let text = format!(
        "{missing} missing, {different} different, {rewritten} not written as often as in the file"
    );
    Err(Failed::new(exit::NO, "different", text))
}

fn ask(client: &Client, key: &Bytes) -> Pending {
    client.submit(Op::Get(Get { key: key.clone(), ..Get::default() }), None)
}

fn compare(record: &Record, times: Option<u64>, answer: &Success, findings: &mut Findings) {
    let Success::Get { entry, .. } = answer else {
        return findings.tell(
            |f| &mut f.different,
            &record.key,
            "the node answered something else",
        );
    };
    let Some(entry) = entry else {
        return findings.tell(|f| &mut f.missing, &record.key, "missing");
    };
    if entry.value != record.value {
        findings.tell(|f| &mut f.different, &record.key, "has another value");
    }
    if times.is_some_and(|times| entry.version != times) {
        let what = format!("was written {} times", entry.version);
        findings.tell(|f| &mut f.rewritten, &record.key, &what);
    }
}

/// `export`: every key of a prefix as JSON lines, page by page. Each page is linearizable; a
/// store that is written meanwhile is not seen at one point in time, and that is said.
///
/// # Errors
/// When no node answers.
pub fn export(common: &Common, args: &ExportArgs) -> Result<(), Failed> {
    let prefix = key(&args.prefix, &args.escapes)?;
    let endpoints = endpoints(common)?;
    let mut after: Option<Vec<u8>> = None;
    let mut revisions: Option<(u64, u64)> = None;
    loop {
        let page = page(common, &endpoints, &prefix, after.as_deref())?;
        let revision = page.get("revision").and_then(Value::as_u64).unwrap_or(0);
        revisions = Some((revisions.map_or(revision, |(first, _)| first), revision));
        let entries = page.get("entries").and_then(Value::as_array).cloned().unwrap_or_default();
        for entry in &entries {
            print_line(export_line(entry))?;
        }
        let last = entries.last().and_then(|entry| bytes_of(entry, "key"));
        match (page.get("more").and_then(Value::as_bool), last) {
            (Some(true), Some(last)) => after = Some(last),
            _ => break,
        }
    }
    if let Some((first, last)) = revisions
        && first != last
        && !common.quiet
    {
        eprintln!(
            "quorate: the store was written meanwhile: the pages are of revisions {first} to {last}"
        );
    }
    Ok(())
}

fn bytes_of(entry: &Value, name: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    let text = entry.get(format!("{name}_base64"))?.as_str()?;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// Text where it is text, else base64: as `import` reads it.
fn export_line(entry: &Value) -> Value {
    let mut line = serde_json::Map::new();
    for name in ["key", "value"] {
        let encoded = format!("{name}_base64");
        let (name, field) = match entry.get(name) {
            Some(text) => (name.to_owned(), text.clone()),
            None => (encoded.clone(), entry.get(&encoded).cloned().unwrap_or_default()),
        };
        line.insert(name, field);
    }
    line.into()
}

/// One page, from whichever endpoint answers; a follower redirects to the leader.
fn page(
    common: &Common,
    endpoints: &[String],
    prefix: &[u8],
    after: Option<&[u8]>,
) -> Result<Value, Failed> {
    let deadline = Instant::now() + Duration::from_millis(common.timeout_ms);
    let after = after.map(|key| format!("&after={}", percent(key))).unwrap_or_default();
    let query = format!("/v1/kv?limit=1000&prefix={}{after}", percent(prefix));
    let mut last = String::from("no endpoint");
    loop {
        for endpoint in endpoints {
            let answer = ureq::get(format!("http://{endpoint}{query}"))
                .config()
                .timeout_global(Some(Duration::from_millis(common.timeout_ms)))
                .build()
                .call();
            match answer {
                Ok(mut response) => {
                    let body = response.body_mut().with_config().limit(1 << 30).read_to_vec();
                    let body = body.map_err(|error| {
                        Failed::new(exit::UNREACHABLE, "unreachable", error.to_string())
                    })?;
                    return serde_json::from_slice(&body).map_err(|error| {
                        Failed::new(exit::INTERNAL, "internal", error.to_string())
                    });
                }
                Err(error) => last = format!("{endpoint}: {error}"),
            }
        }
        if Instant::now() >= deadline {
            let text = format!("no node answers: {last}. Nothing more was read");
            return Err(Failed::new(exit::UNREACHABLE, "unreachable", text));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn percent(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}
