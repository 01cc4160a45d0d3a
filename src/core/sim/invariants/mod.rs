//! What must hold after every fact. One claim a file.

use crate::facts::Fact;
use crate::known::Known;

/// A claim that is checked with every fact.
pub trait Invariant {
    /// Its short name, such as `I1`.
    fn id(&self) -> &'static str;

    /// What it claims, in a sentence.
    fn claim(&self) -> &'static str;

    /// Looks at a fact; `known` has taken it in already.
    ///
    /// # Errors
    /// What contradicts the claim, for a person to read.
    fn check(&mut self, known: &Known, fact: &Fact<'_>) -> Result<(), String>;
}

/// A claim that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's short name.
    pub invariant: String,
    /// What contradicts it.
    pub what: String,
}

/// stub
#[derive(Default)]
pub struct Invariants { known: Known }
impl Invariants {
    /// stub
    #[must_use]
    pub fn new() -> Self { Self::default() }
    /// stub
    /// # Errors
    /// stub
    pub fn observe(&mut self, fact: &Fact<'_>) -> Result<(), Violation> { self.known.absorb(fact); Ok(()) }
    /// stub
    #[must_use]
    pub fn known(&self) -> &Known { &self.known }
}
