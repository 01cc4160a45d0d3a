//! Faults of links: which ways they touch, and all that go on at once as one set of rules.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_sim::plan::{Shape, Target};

use super::{Nemesis, Step};
use crate::proxy::{Place, Rules, Way};

impl Nemesis<'_> {
    /// Puts rules on ways for a time.
    pub(super) fn rule(&mut self, ways: Vec<Way>, rules: &Rules, ms: u64) {
        self.next += 1;
        let number = self.next;
        self.links.insert(number, ways.into_iter().map(|way| (way, rules.clone())).collect());
        self.apply_links();
        self.after(Duration::from_millis(ms), Step::EndLinks(number));
    }

    pub(super) fn apply_links(&mut self) {
        let mut all: BTreeMap<Way, Rules> = BTreeMap::new();
        for (way, rules) in self.links.values().flatten() {
            all.entry(*way).or_default().add(rules);
        }
        self.cluster.net().set_all(all);
    }

    /// Every way between nodes.
    pub(super) fn all_ways(&self) -> Vec<Way> {
        let ids = self.cluster.ids();
        let pairs = ids.iter().flat_map(|a| ids.iter().map(move |b| (*a, *b)));
        pairs.filter(|(a, b)| a != b).map(|(a, b)| Way::nodes(a, b)).collect()
    }

    /// Every way between clients and nodes.
    pub(super) fn client_ways(&self) -> Vec<Way> {
        let there = |id| Way::new(Place::Clients, Place::Node(id));
        self.cluster.ids().into_iter().flat_map(|id| [there(id), there(id).back()]).collect()
    }

    /// The ways that a partition cuts.
    pub(super) fn cut_by(&self, shape: Shape) -> Vec<Way> {
        let count = self.cluster.ids().len() as u64;
        let hears: Box<dyn Fn(u64, u64) -> bool> = match shape {
            Shape::Isolated(target) => {
                let alone = self.resolve(target);
                Box::new(move |a, b| a != alone && b != alone)
            }
            Shape::Halves(bits) => Box::new(move |a, b| bits >> (a - 1) & 1 == bits >> (b - 1) & 1),
            Shape::Bridge(target) => {
                let bridge = self.resolve(target);
                // The others in the order of their numbers, the first half here, the rest there.
                let half = move |id: u64| (id - u64::from(id > bridge)) * 2 > count;
                Box::new(move |a, b| a == bridge || b == bridge || half(a) == half(b))
            }
            Shape::Chain => Box::new(|a, b| a.abs_diff(b) == 1),
            Shape::Ring => Box::new(move |a, b| a.abs_diff(b) == 1 || a.abs_diff(b) == count - 1),
        };
        let between = |way: &Way| match (way.from, way.to) {
            (Place::Node(a), Place::Node(b)) => !hears(a, b),
            (Place::Clients, _) | (_, Place::Clients) => false,
        };
        self.all_ways().into_iter().filter(between).collect()
    }

    /// The way between two targets; `None` if they are one.
    pub(super) fn way(&self, from: Target, to: Target) -> Option<Way> {
        let (from, to) = (self.resolve(from), self.resolve(to));
        (from != to).then(|| Way::nodes(from, to))
    }
}
