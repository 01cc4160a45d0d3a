//! What is wrong with a configuration: everything at once, each with its place and a way out.

use std::fmt;
use std::ops::Range;

/// Everything that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    pub(super) file: String,
    pub(super) problems: Vec<Problem>,
}

/// Something that does not stop a node and that someone should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub(super) Problem);

/// One thing that is wrong, or worth a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) warning: bool,
    /// Where in the file, for the order; what is not in the file comes last.
    pub(super) offset: usize,
    /// Where, as in `config.toml:14:1` or `environment X="y"`.
    pub(super) place: String,
    pub(super) what: String,
    /// The line with the part that is meant, and a remark behind the carets.
    pub(super) excerpt: Option<Excerpt>,
    /// What it means and what to do.
    pub(super) help: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    number: usize,
    line: String,
    column: usize,
    width: usize,
    remark: String,
}

/// The file's text, for places in it.
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// Line and column of an offset, from 1.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }

    pub(super) fn place(&self, span: &Range<usize>) -> String {
        let (line, column) = self.position(span.start);
        format!("{}:{line}:{column}", self.name)
    }

    /// A problem at a place, with its line shown.
    pub(super) fn shown(&self, span: &Range<usize>, what: String, remark: String) -> Problem {
        let (number, column) = self.position(span.start);
        let line = self.text.lines().nth(number - 1).unwrap_or("").to_owned();
        let length = self.text.get(span.clone()).unwrap_or("").lines().next().unwrap_or("");
        let width = length.chars().count().max(1);
        let excerpt = Some(Excerpt { number, line, column, width, remark });
        Problem {
            warning: false,
            offset: span.start,
            place: self.place(span),
            what,
            excerpt,
            help: None,
        }
    }

    /// A problem at a place, with its reason below.
    pub(super) fn told(&self, span: &Range<usize>, what: String, help: String) -> Problem {
        Problem {
            warning: false,
            offset: span.start,
            place: self.place(span),
            what,
            excerpt: None,
            help: Some(help),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.warning { "warning" } else { "error" };
        write!(f, "{kind}: {}  {}", self.place, self.what)?;
        if let Some(Excerpt { number, line, column, width, remark }) = &self.excerpt {
            let (pad, carets) = (" ".repeat(column - 1), "^".repeat(*width));
            write!(f, "\n{number:>5} | {line}\n      | {pad}{carets}  {remark}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n      {help}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { place, what, help, .. } = &self.0;
        write!(f, "{place}: {what}")?;
        help.as_ref().map_or(Ok(()), |help| write!(f, ": {help}"))
    }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warnings = self.problems.iter().filter(|problem| problem.warning).count();
        let errors = count(self.problems.len() - warnings, "error");
        write!(f, "{} is not usable: {errors}", self.file)?;
        if warnings > 0 {
            write!(f, ", {}", count(warnings, "warning"))?;
        }
        writeln!(f)?;
        for problem in &self.problems {
            write!(f, "\n{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
