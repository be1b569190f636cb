//! What to search for: a pattern, checked and made so that it stays in one line.

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{
    Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look,
};

/// Longest pattern. People type less; it bounds what a request costs to check.
const PATTERN_BYTES_MAX: usize = 4096;

/// Deepest nesting of groups in a pattern. It bounds the stack that a check needs.
const PATTERN_DEPTH_MAX: u32 = 64;

/// Memory that a compiled pattern may take. `\w{100}` takes half of it; more than
/// that takes longer to compile than most logs to search.
const PROGRAM_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How a pattern is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchOptions {
    /// The pattern is the text itself, not a regular expression.
    pub literal: bool,
    /// Upper and lower case are the same.
    pub ignore_case: bool,
    /// Search what a terminal would show, without escape sequences.
    pub strip_ansi: bool,
}

/// A pattern ready to search with. Cheap to clone.
///
/// Regular expressions are those of the `regex` crate, so that any search takes
/// time linear in the text. A match stays in one line: nothing in the pattern
/// matches an end of line, `^` and `$` match at the ends of each line (and at a
/// carriage return, which `.` doesn't match either). Bytes that aren't UTF-8 are
/// matched by `(?-u:\xff)` and the like, not by `.` or `\w`.
#[derive(Clone, Debug)]
pub struct SearchQuery {
    pub(crate) regex: Regex,
    pub(crate) strip_ansi: bool,
}

/// Why a pattern can't be searched for. Fit for whoever typed it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Too many bytes.
    #[error("the pattern is too long: use at most {max} bytes")]
    TooLong {
        /// Most bytes of a pattern.
        max: usize,
    },
    /// Not a regular expression.
    #[error("the pattern is wrong at character {column}: {why}")]
    Syntax {
        /// Where, in characters from 1.
        column: usize,
        /// What is wrong there.
        why: String,
    },
    /// It asks for an end of line.
    #[error("the pattern asks for an end of line, and a search looks at each line by itself")]
    LineEnd,
    /// Legal but too costly.
    #[error("the pattern takes too much memory: repeat less, or fewer times")]
    TooBig {
        /// Most bytes of a compiled pattern.
        max_bytes: usize,
    },
}

impl SearchQuery {
    /// Checks and compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(pattern: &str, options: SearchOptions) -> Result<Self, QueryError> {
        let SearchOptions {
            literal,
            ignore_case,
            strip_ansi,
        } = options;
        if pattern.len() > PATTERN_BYTES_MAX {
            let max = PATTERN_BYTES_MAX;
            return Err(QueryError::TooLong { max });
        }
        let escaped = literal.then(|| regex_syntax::escape(pattern));
        let mut parser = ParserBuilder::new()
            .nest_limit(PATTERN_DEPTH_MAX)
            .utf8(false)
            .multi_line(true)
            .crlf(true)
            .case_insensitive(ignore_case)
            .build();
        let parsed = parser.parse(escaped.as_deref().unwrap_or(pattern));
        let hir = within_line(parsed.map_err(|it| syntax(&it))?)?;
        // What the parser made of the options stands in the pattern itself now.
        let regex = RegexBuilder::new(&hir.to_string())
            .size_limit(PROGRAM_BYTES_MAX)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(max_bytes) => QueryError::TooBig { max_bytes },
                other => QueryError::Syntax {
                    column: 1,
                    why: other.to_string(),
                },
            })?;
        Ok(Self { regex, strip_ansi })
    }
}

fn syntax(error: &regex_syntax::Error) -> QueryError {
    let (span, why) = match error {
        regex_syntax::Error::Parse(it) => (Some(it.span()), it.kind().to_string()),
        regex_syntax::Error::Translate(it) => (Some(it.span()), it.kind().to_string()),
        other => (None, other.to_string()),
    };
    let column = span.map_or(1, |it| it.start.column);
    QueryError::Syntax { column, why }
}

/// The same expression without any way to match an end of line. Blocks of many
/// lines can then be searched at once, and no match crosses from one to the next.
fn within_line(hir: Hir) -> Result<Hir, QueryError> {
    let all = |parts: Vec<Hir>| -> Result<Vec<Hir>, QueryError> {
        parts.into_iter().map(within_line).collect()
    };
    Ok(match hir.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(it) if it.0.contains(&b'\n') => return Err(QueryError::LineEnd),
        HirKind::Literal(it) => Hir::literal(it.0),
        HirKind::Class(Class::Unicode(mut it)) => {
            it.difference(&ClassUnicode::new([ClassUnicodeRange::new('\n', '\n')]));
            Hir::class(Class::Unicode(it))
        }
        HirKind::Class(Class::Bytes(mut it)) => {
            it.difference(&ClassBytes::new([ClassBytesRange::new(b'\n', b'\n')]));
            Hir::class(Class::Bytes(it))
        }
        // The text's ends are a block's ends, which mean nothing.
        HirKind::Look(Look::Start | Look::StartLF) => Hir::look(Look::StartCRLF),
        HirKind::Look(Look::End | Look::EndLF) => Hir::look(Look::EndCRLF),
        HirKind::Look(it) => Hir::look(it),
        HirKind::Repetition(mut it) => {
            it.sub = Box::new(within_line(*it.sub)?);
            Hir::repetition(it)
        }
        // Nobody asks for groups, and a search is faster without.
        HirKind::Capture(it) => within_line(*it.sub)?,
        HirKind::Concat(parts) => Hir::concat(all(parts)?),
        HirKind::Alternation(parts) => Hir::alternation(all(parts)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pattern: &str) -> Result<SearchQuery, QueryError> {
        SearchQuery::new(pattern, SearchOptions::default())
    }

    fn found<'a>(pattern: &str, text: &'a str) -> Option<&'a str> {
        let found = query(pattern).unwrap().regex.find(text.as_bytes())?;
        Some(&text[found.range()])
    }

    #[test]
    fn no_pattern_matches_across_an_end_of_line() {
        let text = "one\ntwo\r\nthree";
        for (pattern, expected) in [
            ("e.*t", None),
            (r"(?s)e.*t", None),
            (r"e[^x]t", None),
            (r"e\s+t", None),
            (r"o\W*t", None),
            (r"(?s-u)e.t", None),
            (r"^two$", Some("two")),
            (r"\Atwo\z", Some("two")),
            (r"(?-m)^three$", Some("three")),
            (r"[^a-z]+", Some("\r")),
            (r"(on|tw)(e|o)", Some("one")),
        ] {
            assert_eq!(found(pattern, text), expected, "{pattern}");
        }
    }

    #[test]
    fn a_wrong_pattern_is_refused_and_says_where() {
        let refused = |pattern: &str| query(pattern).unwrap_err();
        assert_eq!(
            refused("größe[").to_string(),
            "the pattern is wrong at character 6: unclosed character class"
        );
        assert!(matches!(
            refused("ab(c"),
            QueryError::Syntax { column: 3, .. }
        ));
        assert!(matches!(
            refused(r"(a)\1"),
            QueryError::Syntax { column: 4, .. }
        ));
        assert_eq!(refused(r"a\nb"), QueryError::LineEnd);
        assert_eq!(refused("[\n]"), QueryError::LineEnd);
        assert!(matches!(
            refused(r"\w{500}{100}"),
            QueryError::TooBig { .. }
        ));
        assert!(matches!(
            refused(&"(".repeat(4000)),
            QueryError::Syntax { .. }
        ));
        assert!(matches!(
            refused(&"a".repeat(PATTERN_BYTES_MAX + 1)),
            QueryError::TooLong { .. }
        ));
    }

    #[test]
    fn case_and_special_characters_count_only_when_they_should() {
        let options = SearchOptions {
            literal: true,
            ignore_case: true,
            strip_ansi: false,
        };
        let literal = SearchQuery::new("A.B(Ö", options).unwrap();
        assert!(literal.regex.is_match("xa.b(öx".as_bytes()));
        assert!(!literal.regex.is_match("xaxb(öx".as_bytes()));
        assert_eq!(found("A", "a"), None);
        assert_eq!(found("(?i)A", "a"), Some("a"));
    }
}
