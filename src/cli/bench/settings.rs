//! What a benchmark is asked to do, checked.

use std::time::Duration;

use quorate_client::{Consistency, Limits};
use serde_json::{Value, json};

use super::workload::APPENDED_BYTES;
use crate::cli::args::{Arrivals, BenchArgs, BenchConsistency, BenchWhat, Distribution, word};
use crate::cli::output::Failed;

/// What keys begin with, the first for which there is room: nobody's own keys are to be written over.
const PREFIXES: [&str; 4] = ["bench/", "b/", "b", ""];

/// What a benchmark does.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) what: BenchWhat,
    pub(super) clients: usize,
    pub(super) outstanding: usize,
    pub(super) keys: u64,
    pub(super) key_bytes: usize,
    pub(super) prefix: &'static str,
    pub(super) distribution: Distribution,
    pub(super) value_bytes: usize,
    pub(super) reads: u32,
    pub(super) consistency: Consistency,
    pub(super) time: Duration,
    pub(super) warm_up: Duration,
    pub(super) prefill: bool,
    pub(super) rate: Option<u64>,
    pub(super) arrivals: Arrivals,
}

impl Settings {
    /// # Errors
    /// What cannot be done, and what can.
    pub(super) fn of(args: &BenchArgs) -> Result<Self, Failed> {
        between("--clients", args.clients as u64, 1, 10_000)?;
        between("--outstanding", args.outstanding as u64, 1, 1_000_000)?;
        between("--keys", args.keys, 1, 1_000_000_000)?;
        between("--seconds", args.seconds, 1, 86_400)?;
        between("--warm-up", args.warm_up, 0, 86_400)?;
        between("--reads", args.reads.into(), 0, 100)?;
        between("--rate", args.rate.unwrap_or(1), 1, 100_000_000)?;
        if args.outstanding < args.clients {
            return Err(Failed::usage(format!(
                "--outstanding {} is less than --clients {}: each client needs a request of its own",
                args.outstanding, args.clients
            )));
        }
        if args.what == BenchWhat::Append && args.value_bytes as u64 > APPENDED_BYTES {
            return Err(Failed::usage(format!(
                "--value-bytes {} is over {APPENDED_BYTES}, to which append lets values grow",
                args.value_bytes
            )));
        }
        let digits = (args.keys - 1).to_string().len();
        let fits = |prefix: &&str| prefix.len() + digits <= args.key_bytes;
        let Some(prefix) = PREFIXES.into_iter().find(fits) else {
            return Err(Failed::usage(format!(
                "--key-bytes {} is too small: to number {} keys takes {digits}",
                args.key_bytes, args.keys
            )));
        };
        Ok(Self {
            what: args.what,
            clients: args.clients,
            outstanding: args.outstanding,
            keys: args.keys,
            key_bytes: args.key_bytes,
            prefix,
            distribution: args.distribution,
            value_bytes: args.value_bytes,
            reads: args.reads,
            consistency: match args.consistency {
                BenchConsistency::Linearizable => Consistency::Linearizable,
                BenchConsistency::Lease => Consistency::Lease,
                BenchConsistency::Stale => Consistency::Stale,
            },
            time: Duration::from_secs(args.seconds),
            warm_up: Duration::from_secs(args.warm_up),
            prefill: args.prefill,
            rate: args.rate,
            arrivals: args.arrivals,
        })
    }

    /// Whether the cluster takes such keys and values.
    ///
    /// # Errors
    /// What it does not take.
    pub(super) fn fit(&self, limits: &Limits) -> Result<(), Failed> {
        let key = ("--key-bytes", self.key_bytes as u64, limits.key_bytes, "key_bytes");
        let value = ("--value-bytes", self.value_bytes as u64, limits.value_bytes, "value_bytes");
        for (flag, asked, most, limit) in [key, value] {
            if asked > most {
                let text = format!("{flag} {asked} is over the cluster's limits.{limit} of {most}");
                return Err(Failed::usage(text));
            }
        }
        Ok(())
    }

    /// How many requests client `number` may have under way.
    pub(super) fn share(&self, number: usize) -> usize {
        self.outstanding / self.clients + usize::from(number < self.outstanding % self.clients)
    }

    /// Whether some of the requests are reads.
    pub(super) fn reads_at_all(&self) -> bool {
        self.what == BenchWhat::Get || self.what == BenchWhat::Mixed && self.reads > 0
    }

    /// Those that decide what is measured, as JSON; those that do not apply are null.
    pub(super) fn json(&self) -> Value {
        let mixed = self.what == BenchWhat::Mixed;
        json!({
            "keys": self.keys, "key_bytes": self.key_bytes,
            "distribution": word(self.distribution),
            "reads_percent": mixed.then_some(self.reads),
            "consistency": self.reads_at_all().then(|| self.consistency.as_str()),
            "rate": self.rate, "arrivals": self.rate.map(|_| word(self.arrivals)),
            "seconds": self.time.as_secs(), "warm_up_seconds": self.warm_up.as_secs(),
            "prefill": self.prefill,
        })
    }

    /// What is done, for people.
    pub(super) fn words(&self) -> String {
        let plural = |count, one| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let (clients, keys) = (plural(self.clients as u64, "client"), plural(self.keys, "key"));
        let mut words =
            format!("{clients}, {} outstanding, {} B values", self.outstanding, self.value_bytes);
        words.push_str(&format!(", {keys} {}", word(self.distribution)));
        if self.what == BenchWhat::Mixed {
            words.push_str(&format!(", {} % reads", self.reads));
        }
        if self.reads_at_all() {
            words.push_str(&format!(", {}", self.consistency.as_str()));
        }
        match self.rate {
            None => words.push_str(", closed loop"),
            Some(rate) => {
                words.push_str(&format!(", open loop, {rate}/s {}", word(self.arrivals)));
            }
        }
        words
    }
}

fn between(flag: &str, value: u64, least: u64, most: u64) -> Result<(), Failed> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Failed::usage(format!("{flag} {value} is not between {least} and {most}")))
}

/// The settings of these words, for the tests beside this file.
#[cfg(test)]
pub(super) fn parsed(words: &str) -> Result<Settings, Failed> {
    use crate::cli::args::{Cli, Command};
    use clap::Parser;
    let words = ["quorate", "bench"].into_iter().chain(words.split_whitespace());
    match Cli::try_parse_from(words).expect("the words are known").command {
        Command::Bench(args) => Settings::of(&args),
        other => panic!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let most = u64::MAX;
        for (words, said) in [
            ("put --clients 0", "--clients 0 is not between 1 and 10000"),
            ("put --outstanding 3", "--outstanding 3 is less than --clients 4"),
            ("mixed --reads 101", "--reads 101 is not between 0 and 100"),
            ("put --rate 0", "--rate 0 is not between 1"),
            ("put --keys 0", "--keys 0 is not"),
            ("put --seconds 0", "--seconds 0 is not"),
            (&format!("put --seconds {most}"), "is not between 1 and 86400"),
            (&format!("put --keys {most}"), "--keys"),
            (&format!("put --rate {most}"), "--rate"),
            (&format!("put --outstanding {most}"), "--outstanding"),
            (&format!("put --clients {most}"), "--clients"),
            ("append --value-bytes 65537", "--value-bytes 65537 is over 65536"),
            ("put --key-bytes 3", "--key-bytes 3 is too small: to number 10000 keys takes 4"),
        ] {
            let failed = parsed(words).expect_err(words);
            assert_eq!(failed.exit, crate::cli::output::exit::USAGE, "{words}");
            assert!(failed.message.contains(said), "{words}: {}", failed.message);
        }
    }

    #[test]
    fn what_the_cluster_does_not_take_is_refused_before_it_is_sent() {
        let limits = Limits::default();
        parsed("put").unwrap().fit(&limits).unwrap();
        let failed = parsed("put --value-bytes 1048577").unwrap().fit(&limits).unwrap_err();
        assert_eq!(
            failed.message,
            "--value-bytes 1048577 is over the cluster's limits.value_bytes of 1048576"
        );
    }

    #[test]
    fn what_may_be_under_way_is_shared_out_to_the_last_request() {
        for (outstanding, clients) in [(1, 1), (7, 3), (256, 32), (1_000, 100)] {
            let words = format!("put --clients {clients} --outstanding {outstanding}");
            let settings = parsed(&words).unwrap();
            let sum: usize = (0..clients).map(|number| settings.share(number)).sum();
            assert_eq!(sum, outstanding);
        }
    }
}
