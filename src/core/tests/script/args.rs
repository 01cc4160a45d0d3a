//! The words of a command.

use std::collections::{BTreeMap, VecDeque};

use quorate_core::types::NodeId;

use super::cluster::Cluster;
use super::notation::{parse_name, parse_number};

/// The words behind a command: names and the like, and `key=value`.
pub(crate) struct Args<'a> {
    pub(crate) words: VecDeque<&'a str>,
    pub(crate) options: BTreeMap<&'a str, &'a str>,
}

impl<'a> Args<'a> {
    pub(crate) fn of(rest: &'a str) -> Self {
        let (options, words): (Vec<_>, Vec<_>) =
            rest.split_whitespace().partition(|word| word.contains('='));
        let options = options.into_iter().filter_map(|word| word.split_once('='));
        Self { words: words.into(), options: options.collect() }
    }

    pub(crate) fn node(&mut self) -> Result<NodeId, String> {
        parse_name(self.words.pop_front().ok_or("which node?")?)
    }

    /// The nodes named, or all when none is.
    pub(crate) fn nodes(&mut self, cluster: &Cluster) -> Result<Vec<NodeId>, String> {
        let named: Result<Vec<_>, _> = self.words.drain(..).map(parse_name).collect();
        let named = named?;
        Ok(if named.is_empty() { cluster.ids() } else { named })
    }

    pub(crate) fn flag(&mut self, word: &str) -> bool {
        let before = self.words.len();
        self.words.retain(|w| *w != word);
        self.words.len() < before
    }

    pub(crate) fn number(&mut self, key: &str) -> Result<Option<u64>, String> {
        self.options.remove(key).map(parse_number).transpose()
    }

    pub(crate) fn count(&mut self, key: &str) -> Result<Option<usize>, String> {
        Ok(self.number(key)?.map(|n| usize::try_from(n).unwrap_or(usize::MAX)))
    }

    pub(crate) fn ms(&mut self) -> Result<u64, String> {
        self.number("ms")?.ok_or_else(|| "how many ms=?".to_owned())
    }

    /// Nothing may be left: a word that is not understood is a mistake.
    pub(crate) fn end(&self) -> Result<(), String> {
        match self.words.is_empty() && self.options.is_empty() {
            true => Ok(()),
            false => Err(format!("what is {:?} {:?}?", self.words, self.options)),
        }
    }
}
