//! What is wrong in something that a person wrote: all of it, with places.

use std::fmt;

use miette::{Diagnostic, LabeledSpan, SourceCode};

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Bytes before it in the text.
    pub offset: usize,
    /// Bytes of the thing that stands there.
    pub length: usize,
}

/// One mistake: what, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", Place(*at, pointer))]
pub struct Mistake {
    /// Stable; machines branch on it.
    pub code: &'static str,
    /// JSON pointer (RFC 6901) of the wrong value; empty for the whole.
    pub pointer: String,
    /// Where it stands, when it was read from a text.
    pub at: Option<Position>,
    /// What is wrong.
    pub message: String,
    /// What is allowed, or what to do.
    pub help: Option<String>,
}

struct Place<'a>(Option<Position>, &'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Some(at), _) => write!(out, "line {}, column {}: ", at.line, at.column),
            (None, "") => Ok(()),
            (None, pointer) => write!(out, "{pointer}: "),
        }
    }
}

impl Mistake {
    /// The message and the help in one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        match &self.help {
            Some(help) => format!("{}; {help}", self.message),
            None => self.message.clone(),
        }
    }
}

impl Diagnostic for Mistake {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let at = self.at?;
        let span = LabeledSpan::new(None, at.offset, at.length);
        Some(Box::new(std::iter::once(span)))
    }
}

/// Every mistake of one text or request, in the order in which they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes {
    /// At least one.
    pub list: Vec<Mistake>,
    /// The text, when they were found in one.
    pub source: Option<Source>,
}

/// The text in which the mistakes stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file's name, as the person knows it.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.source.as_ref().map_or("the request", |it| &it.name);
        match self.list.len() {
            1 => write!(out, "{name} has a mistake"),
            count => write!(out, "{name} has {count} mistakes"),
        }
    }
}

impl std::error::Error for Mistakes {}

impl Diagnostic for Mistakes {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|it| &it.text as &dyn SourceCode)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.list.iter().map(|it| it as &dyn Diagnostic)))
    }
}
