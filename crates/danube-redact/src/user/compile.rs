//! Checks the rules that a user wrote, and compiles them: all mistakes at once,
//! each with what to do.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use regex_automata::dfa::{StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};

use regex_automata::{Anchored, Input, meta};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

use super::{KEYWORD_NEAR_BYTES, UserRule};
use crate::Rules;
use crate::words::{Word, Words};

/// Most rules that users add. Each is tried by itself wherever its keyword
/// stands, and each is a series of a metric.
pub(crate) const USER_RULES_MAX: usize = 100;

/// Longest id: it is a label in every answer of `/metrics`.
const ID_BYTES_MAX: usize = 64;

/// Shortest keyword: shorter ones stand on every line, and then each line is
/// tried.
const KEYWORD_BYTES_MIN: usize = 3;

/// Longest keyword: the starts near one that has only begun are all those that
/// are there.
const KEYWORD_BYTES_MAX: usize = KEYWORD_NEAR_BYTES;

/// Longest pattern; well-known collections of such rules stay below 1 KiB.
const PATTERN_BYTES_MAX: usize = 4 * 1024;

/// Groups within groups in a pattern, which the parser follows by recursion.
const PATTERN_DEPTH_MAX: u32 = 100;

/// Memory of a rule's automaton. The rules of well-known collections need a
/// tenth of it, but for what they have before the keyword; one twice as large
/// takes seconds to build.
const AUTOMATON_BYTES_MAX: usize = 1024 * 1024;

/// Memory while an automaton is built, and of the program from which it is.
const BUILD_BYTES_MAX: usize = 8 * AUTOMATON_BYTES_MAX;

/// The group that is masked when a pattern has it.
const SECRET: &str = "secret";

const _: () = assert!(KEYWORD_BYTES_MAX <= KEYWORD_NEAR_BYTES);

/// The part of a rule in which a mistake stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleField {
    /// Its name.
    Id,
    /// What must stand near.
    Keyword,
    /// What is looked for.
    Pattern,
}

impl fmt::Display for RuleField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Id => "id",
            Self::Keyword => "keyword",
            Self::Pattern => "pattern",
        })
    }
}

/// A mistake in a rule that a user wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {} (`{}`): the {field} {why}: {help}", index + 1, id.escape_debug())]
pub struct RuleError {
    /// Which rule, from 0.
    pub index: usize,
    /// Its id, as it was written.
    pub id: String,
    /// Where in the rule.
    pub field: RuleField,
    /// What is wrong; a phrase that goes on after the field's name.
    pub why: String,
    /// What to do.
    pub help: String,
}

/// A rule, ready to be tried.
pub(super) struct Compiled {
    pub(super) id: &'static str,
    pub(super) keyword: Box<[u8]>,
    pub(super) case_sensitive: bool,
    /// Anchored, leftmost-first, without quit bytes, not minimised.
    pub(super) dfa: dense::DFA<Vec<u32>>,
    secret: Option<Secret>,
}

/// How the group that is masked is found in a match.
struct Secret {
    regex: meta::Regex,
    group: usize,
    /// So many bytes at least stand before it in every match.
    before_min: usize,
}

impl Compiled {
    /// So many bytes at the beginning of a match are never masked.
    pub(super) fn kept_bytes_min(&self) -> usize {
        self.secret.as_ref().map_or(0, |it| it.before_min)
    }

    /// The part to be masked of the match at `range`. None: all of it.
    pub(super) fn secret_in(&self, bytes: &[u8], range: Range<usize>) -> Option<(usize, usize)> {
        let secret = self.secret.as_ref()?;
        let mut groups = secret.regex.create_captures();
        let input = Input::new(bytes).span(range).anchored(Anchored::Yes);
        secret.regex.search_captures(&input, &mut groups);
        let group = groups.get_group(secret.group)?;
        Some((group.start, group.end))
    }

    /// Where the longest beginning of the keyword stands with which `bytes` end,
    /// but not the whole.
    pub(super) fn unfinished(&self, bytes: &[u8]) -> Option<usize> {
        let longest = (self.keyword.len() - 1).min(bytes.len());
        let begins = |rest: &[u8]| {
            let keyword = &self.keyword[..rest.len()];
            rest == keyword || (!self.case_sensitive && rest.eq_ignore_ascii_case(keyword))
        };
        let first = bytes.len() - longest;
        (first..bytes.len()).find(|at| begins(&bytes[*at..]))
    }
}

/// Checks and compiles all rules.
pub(super) fn all(written: &[UserRule]) -> Result<Vec<Compiled>, Vec<RuleError>> {
    let mut errors = Vec::new();
    let mut compiled = Vec::new();
    let mut ids: BTreeSet<&str> = Rules::builtin().with_email().ids().into_iter().collect();
    for (index, rule) in written.iter().enumerate() {
        let mut refuse = |field, (why, help): (String, String)| {
            let id = rule.id.clone();
            errors.push(RuleError {
                index,
                id,
                field,
                why,
                help,
            });
        };
        if index >= USER_RULES_MAX {
            let why = format!("is that of one rule too many, after {USER_RULES_MAX}");
            refuse(RuleField::Id, (why, "join rules with `|`".to_owned()));
            break;
        }
        let id = check_id(&rule.id, &ids).map_err(|it| refuse(RuleField::Id, it));
        ids.insert(&rule.id);
        let keyword = check_keyword(&rule.keyword).map_err(|it| refuse(RuleField::Keyword, it));
        let pattern = compile(&rule.pattern).map_err(|it| refuse(RuleField::Pattern, it));
        if let (Ok(()), Ok(()), Ok((dfa, secret))) = (id, keyword, pattern) {
            compiled.push(Compiled {
                id: intern(&rule.id),
                keyword: rule.keyword.as_bytes().into(),
                case_sensitive: rule.case_sensitive,
                dfa,
                secret,
            });
        }
    }
    if errors.is_empty() {
        Ok(compiled)
    } else {
        Err(errors)
    }
}

/// Finds the keywords, by the rule's place.
pub(super) fn keywords(compiled: &[Compiled]) -> Words {
    let word = |it: &Compiled| Word::new(&it.keyword, it.case_sensitive);
    Words::new(compiled.iter().map(word).collect())
}

/// What is wrong, and what to do.
type Wrong = (String, String);

fn wrong<T>(why: impl Into<String>, help: impl Into<String>) -> Result<T, Wrong> {
    Err((why.into(), help.into()))
}

fn check_id(id: &str, taken: &BTreeSet<&str>) -> Result<(), Wrong> {
    let letter = |it: u8| it.is_ascii_lowercase();
    let good = id.bytes().next().is_some_and(letter)
        && id.len() <= ID_BYTES_MAX
        && id
            .bytes()
            .all(|it| letter(it) || it.is_ascii_digit() || it == b'_');
    if !good {
        return wrong(
            "is no name",
            format!(
                "use 1 to {ID_BYTES_MAX} lower-case letters, digits and `_`, a letter first, as in `acme_key`"
            ),
        );
    }
    if taken.contains(id) {
        return wrong(
            "is taken, by another rule or a built-in one",
            "give each rule a name of its own",
        );
    }
    Ok(())
}

fn check_keyword(keyword: &str) -> Result<(), Wrong> {
    let what = "use a few letters that stand in the secret or shortly before it on the same line";
    if keyword.len() < KEYWORD_BYTES_MIN {
        return wrong(format!("is shorter than {KEYWORD_BYTES_MIN} bytes"), what);
    }
    if keyword.len() > KEYWORD_BYTES_MAX {
        return wrong(format!("is longer than {KEYWORD_BYTES_MAX} bytes"), what);
    }
    if keyword.contains(['\n', '\r']) {
        return wrong("holds an end of line, over which no match goes", what);
    }
    if keyword.trim().is_empty() {
        return wrong("is nothing but white space", what);
    }
    Ok(())
}

fn compile(pattern: &str) -> Result<(dense::DFA<Vec<u32>>, Option<Secret>), Wrong> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return wrong(
            format!("is longer than {PATTERN_BYTES_MAX} bytes"),
            "make several rules of it",
        );
    }
    let mut parser = ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .multi_line(true)
        .crlf(true)
        .nest_limit(PATTERN_DEPTH_MAX)
        .build();
    let hir = parser.parse(pattern).or_else(|error| syntax(&error))?;
    check_pattern(&hir)?;
    let dfa = automaton(&hir)?;
    let secret = secret(&hir)?;
    Ok((dfa, secret))
}

/// What the parser says, in one line.
fn syntax<T>(error: &regex_syntax::Error) -> Result<T, Wrong> {
    let (what, at) = match error {
        regex_syntax::Error::Parse(it) => (it.kind().to_string(), it.span().start.offset),
        regex_syntax::Error::Translate(it) => (it.kind().to_string(), it.span().start.offset),
        other => (other.to_string(), 0),
    };
    wrong(
        format!("is no regular expression: {what}, at byte {}", at + 1),
        "write it as for the Rust library `regex`, in bytes and ASCII classes",
    )
}

fn check_pattern(hir: &Hir) -> Result<(), Wrong> {
    let properties = hir.properties();
    match properties.minimum_len() {
        Some(0) => {
            return wrong(
                "matches the empty string",
                "let it begin with something that must be there",
            );
        }
        None => return wrong("can never match", "see what of it excludes the rest"),
        Some(_) => {}
    }
    // The parser has a type of its own for these.
    let looks = properties.look_set();
    if looks.contains_anchor_haystack() {
        return wrong(
            "asks where the text begins or ends, but a log is a stream",
            "use `^` and `$`, which stand for the ends of a line, without `\\A`, `\\z` or `(?-m)`",
        );
    }
    if looks.contains_word_unicode() {
        return wrong(
            "asks for a word boundary in Unicode",
            "use `\\b` without `(?u)`: letters, digits and `_` of ASCII",
        );
    }
    if spans_lines(hir) {
        return wrong(
            "holds an end of line, over which no match goes",
            "look for what stands on one line",
        );
    }
    Ok(())
}

/// Whether some part matches nothing but an end of line.
fn spans_lines(hir: &Hir) -> bool {
    let ends_line = |it: u8| matches!(it, b'\n' | b'\r');
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Literal(it) => it.0.iter().copied().any(ends_line),
        HirKind::Class(Class::Bytes(it)) => {
            let mut ranges = it.ranges().iter();
            ranges.all(|it| ends_line(it.start()) && ends_line(it.end()) && it.len() <= 1)
        }
        HirKind::Class(Class::Unicode(_)) => false,
        HirKind::Repetition(it) => it.min > 0 && spans_lines(&it.sub),
        HirKind::Capture(it) => spans_lines(&it.sub),
        HirKind::Concat(all) => all.iter().any(spans_lines),
        HirKind::Alternation(all) => all.iter().all(spans_lines),
    }
}

fn automaton(hir: &Hir) -> Result<dense::DFA<Vec<u32>>, Wrong> {
    let nfa = thompson::Compiler::new()
        .configure(
            thompson::Config::new()
                .utf8(false)
                .which_captures(WhichCaptures::None)
                .nfa_size_limit(Some(BUILD_BYTES_MAX)),
        )
        .build_from_hir(hir)
        .or_else(|_| too_large())?;
    dense::Builder::new()
        .configure(
            dense::Config::new()
                .start_kind(StartKind::Anchored)
                .minimize(false)
                .accelerate(false)
                .dfa_size_limit(Some(AUTOMATON_BYTES_MAX))
                .determinize_size_limit(Some(BUILD_BYTES_MAX)),
        )
        .build_from_nfa(&nfa)
        .or_else(|_| too_large())
}

/// The checks before leave no other reason.
fn too_large<T>() -> Result<T, Wrong> {
    wrong(
        format!(
            "is too large: its automaton takes more than {} KiB",
            AUTOMATON_BYTES_MAX / 1024
        ),
        "leave out what stands before the keyword, use shorter repetitions, or several rules",
    )
}

fn secret(hir: &Hir) -> Result<Option<Secret>, Wrong> {
    let regex = meta::Builder::new()
        .configure(
            meta::Config::new()
                .utf8_empty(false)
                .nfa_size_limit(Some(BUILD_BYTES_MAX))
                .onepass_size_limit(Some(AUTOMATON_BYTES_MAX)),
        )
        .build_from_hir(hir)
        .or_else(|_| too_large())?;
    let names = regex
        .group_info()
        .pattern_names(regex_automata::PatternID::ZERO);
    let group = names.into_iter().position(|it| it == Some(SECRET));
    Ok(group.map(|group| Secret {
        regex: regex.clone(),
        group,
        before_min: before_secret(hir),
    }))
}

/// How many bytes at least stand before the group, where that is easy to say.
fn before_secret(hir: &Hir) -> usize {
    let HirKind::Concat(all) = hir.kind() else {
        return 0;
    };
    let is_secret = |it: &Hir| match it.kind() {
        HirKind::Capture(group) => group.name.as_deref() == Some(SECRET),
        _ => false,
    };
    let Some(at) = all.iter().position(is_secret) else {
        return 0;
    };
    let least = all[..at].iter().map(|it| it.properties().minimum_len());
    least.map(|it| it.unwrap_or(0)).sum()
}

/// The id for as long as the process lives: counts and metrics refer to it. Ids
/// come from settings, which are read once, at most [`USER_RULES_MAX`] at a time;
/// the same one is kept once.
fn intern(id: &str) -> &'static str {
    static IDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut ids = IDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = ids.get(id) {
        return known;
    }
    let kept: &'static str = Box::leak(id.into());
    ids.insert(kept);
    kept
}
