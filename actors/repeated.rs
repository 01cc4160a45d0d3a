//! Sentences for the log that would be said again and again.

use std::time::{Duration, Instant};

/// The same sentence is said again after this time.
const EVERY: Duration = Duration::from_secs(60);

/// What was said last.
#[derive(Debug, Default)]
pub struct Repeated(Option<(String, Instant)>);

impl Repeated {
    /// Whether a sentence is to be said now: it is another one than the last, or a minute has
    /// passed. It counts as said then.
    pub fn is_due(&mut self, sentence: &str) -> bool {
        let again = |(last, when): &(String, Instant)| last == sentence && when.elapsed() < EVERY;
        if self.0.as_ref().is_some_and(again) {
            return false;
        }
        self.0 = Some((sentence.to_owned(), Instant::now()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sentence_is_said_once_a_minute() {
        let mut said = Repeated::default();
        assert!(said.is_due("a") && !said.is_due("a") && said.is_due("b") && said.is_due("a"));
        let before = Instant::now().checked_sub(EVERY);
        said.0 = before.map(|before| ("a".to_owned(), before));
        assert!(said.is_due("a") && !said.is_due("a"));
    }
}
