//! The slow way to apply users' rules, right by inspection: every rule at every
//! byte of the whole input, by another engine than the real one.

use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

use super::{KEYWORD_NEAR_BYTES, MATCH_BYTES_MAX, UserRule, compile};
use crate::MASK;
use crate::class::{self, Run};

/// One rule.
pub(crate) struct Slow {
    rule: UserRule,
    regex: PikeVM,
    /// What stands before the group at least.
    kept: usize,
}

impl Slow {
    pub(crate) fn new(rule: &UserRule) -> Self {
        let syntax = syntax::Config::new()
            .unicode(false)
            .utf8(false)
            .multi_line(true)
            .crlf(true);
        let regex = PikeVM::builder()
            .syntax(syntax)
            .thompson(regex_automata::nfa::thompson::Config::new().utf8(false))
            .build(&rule.pattern)
            .expect("a good pattern");
        Self {
            kept: compile::all(std::slice::from_ref(rule)).expect("a good rule")[0]
                .kept_bytes_min(),
            rule: rule.clone(),
            regex,
        }
    }

    /// All that this rule masks.
    pub(crate) fn ranges(&self, bytes: &[u8]) -> Vec<(usize, usize)> {
        let starts = (0..bytes.len()).filter(|at| self.keyword_is_near(bytes, *at));
        starts.filter_map(|at| self.masked_at(bytes, at)).collect()
    }

    fn keyword_is_near(&self, bytes: &[u8], at: usize) -> bool {
        let keyword = self.rule.keyword.as_bytes();
        (at.saturating_sub(KEYWORD_NEAR_BYTES)..=at).any(|from| {
            let stands = bytes.get(from..from + keyword.len()).is_some_and(|it| {
                it == keyword || (!self.rule.case_sensitive && it.eq_ignore_ascii_case(keyword))
            });
            stands && !bytes[from..at].iter().any(|it| matches!(it, b'\n' | b'\r'))
        })
    }

    fn masked_at(&self, bytes: &[u8], at: usize) -> Option<(usize, usize)> {
        let line = bytes[at..]
            .iter()
            .position(|it| matches!(it, b'\n' | b'\r'));
        let end = line.map_or(bytes.len(), |it| at + it);
        let input = Input::new(bytes)
            .span(at..end.min(at + MATCH_BYTES_MAX))
            .anchored(Anchored::Yes);
        let mut groups = self.regex.create_captures();
        self.regex
            .captures(&mut self.regex.create_cache(), input, &mut groups);
        let whole = groups.get_match()?;
        if whole.len() == MATCH_BYTES_MAX {
            let end = class::run_end(Run::Bare, bytes, whole.end(), true).end;
            return Some((at + self.kept, end));
        }
        let masked = groups.get_group_by_name("secret").unwrap_or(whole.span());
        let text = &bytes[masked.range()];
        (!text.is_empty() && text != MASK.as_bytes()).then_some((masked.start, masked.end))
    }
}

/// Rules of every kind.
pub(crate) fn rules() -> Vec<UserRule> {
    let rule = |id: &str, keyword: &str, pattern: &str| UserRule {
        id: id.to_owned(),
        keyword: keyword.to_owned(),
        pattern: pattern.to_owned(),
        case_sensitive: false,
    };
    let cased = |it: UserRule| UserRule {
        case_sensitive: true,
        ..it
    };
    vec![
        rule("t_whole", "acme-", "ACME-[A-Z0-9]{6,}"),
        rule("t_group", "pin", r"(?i)pin\s*[:=]\s*(?<secret>\w+)"),
        rule("t_edges", "card", r"\b[0-9]{4}-?[0-9]{4}\b"),
        cased(rule("t_cased", "Key", r"\w+=(?<secret>[^;]+);")),
        rule("t_lazy", "tok", "tok.*?end"),
        rule("t_line", "xxx", "x{2,30}y?$"),
        rule("t_begin", "row", r"^row=(?:(?<secret>\d+)|[a-f]+)"),
        rule("t_pairs", "abab", "(?:ab|ba)+="),
        rule("t_early", "why", r"(?:\w|(?<secret>\w))*!"),
        rule("t_late", "aaa", r"a*(?<secret>a+)(?:b|$)"),
        cased(rule("t_bytes", "hex", r"(?-u:[\x80-\xff]{2,})")),
    ]
}

/// What makes these rules strike, and what stands around it.
pub(crate) const PIECES: &[&str] = &[
    "ACME-",
    "acme-",
    "AC",
    "ME-",
    "ABC",
    "DEF1",
    "0123",
    "pin",
    "PIN = ",
    "pi",
    ":",
    "=",
    ": ",
    "card ",
    "ca",
    "rd",
    "1234",
    "-",
    "5678",
    "Key",
    "key",
    "Ke",
    "y",
    "=v;",
    "a=",
    ";",
    "tok",
    "to",
    "end",
    "en",
    "d",
    "xxx",
    "x",
    "xx",
    "xxxxxxxxxxxxxxxxxxxx",
    "row=",
    "\nrow=",
    "\rrow=",
    "12",
    "fa",
    "abab",
    "ba",
    "ab",
    "why",
    "!",
    "?",
    "hex",
    "é",
    "🔒",
    "aaa",
    "aaaaaaaaaaaaaaa",
    "b",
    "a",
    " ",
    " ",
    "  ",
    "\n",
    "\r",
    "\r\n",
    "[redacted]",
    "[red",
    "acted]",
    "\x1b[31m",
    "\x1b[0m",
    "\x1b",
    "[",
    "\x1b[31m\x1b[32m\x1b[33m\x1b[34m",
    "Key=[redacted];",
    "pin: [redacted]",
    "some words in between, quite a few ",
    "0123456789012345678901234567890123456789",
];
