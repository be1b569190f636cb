//! Walks one rule's automaton byte by byte, to learn of a start whether a match
//! begins there, none does, or more bytes have to come.
//!
//! From many starts the walk soon comes into a state in which an earlier walk was
//! at the same place. From there on the two are one, so the rest is not walked
//! again: `token=token=token=…` stays linear.

use regex_automata::dfa::Automaton;
use regex_automata::util::primitives::StateID;
use regex_automata::{Anchored, Input};

use super::MATCH_BYTES_MAX;
use super::compile::Compiled;
use crate::matcher::Block;

/// What begins at a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No match, whatever comes next.
    No,
    /// Not known before more bytes come.
    Undecided,
    /// A match; these bytes of it are to be masked.
    Match { from: usize, to: usize },
    /// A match as long as any may be, taken for a longer one: these bytes are to
    /// be masked, and what follows.
    Long { from: usize, to: usize },
}

/// Why a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing more can match: a dead state, the line's end, the stream's end.
    Settled,
    /// The longest match was reached; one from a later start goes further.
    Limit,
    /// The block ended.
    Block,
    /// After this byte it was in the same state as the furthest walk.
    Met(usize),
}

/// The walk that went furthest.
struct Furthest {
    from: usize,
    /// The state after the byte at `from + i`.
    states: Vec<StateID>,
    end: End,
    /// End of the match.
    matched: Option<usize>,
    /// What of the match is masked.
    masked: Option<(usize, usize)>,
}

impl Furthest {
    /// One behind the last byte that was looked at.
    fn to(&self) -> usize {
        self.from + self.states.len()
    }

    fn state_after(&self, at: usize) -> Option<StateID> {
        let index = at.checked_sub(self.from)?;
        self.states.get(index).copied()
    }
}

/// One rule in one block.
pub(super) struct Walker<'a> {
    rule: &'a Compiled,
    block: Block<'a>,
    furthest: Furthest,
    /// The states of the walk under way.
    states: Vec<StateID>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(rule: &'a Compiled, block: Block<'a>) -> Self {
        Self {
            rule,
            block,
            furthest: Furthest {
                from: 0,
                states: Vec::new(),
                end: End::Settled,
                matched: None,
                masked: None,
            },
            states: Vec::new(),
        }
    }

    /// What begins at `start`, which is behind every start that was asked before.
    pub(super) fn find(&mut self, start: usize) -> Found {
        let input = Input::new(self.block.bytes)
            .span(start..self.block.bytes.len())
            .anchored(Anchored::Yes);
        let state = self.rule.dfa.start_state_forward(&input);
        let state = state.expect("an automaton without quit bytes has every anchored start");
        self.states.clear();
        let (end, matched) = self.walk(start, state, start);
        let known = match end {
            End::Met(at) => self.join(start, at, matched),
            _ if start + self.states.len() < self.furthest.to() => {
                return self.answer(start, (end, matched), None);
            }
            _ => {
                std::mem::swap(&mut self.states, &mut self.furthest.states);
                self.furthest.from = start;
                (self.furthest.end, self.furthest.matched) = (end, matched);
                None
            }
        };
        let found = self.answer(start, (self.furthest.end, self.furthest.matched), known);
        self.furthest.masked = match found {
            Found::Match { from, to } => Some((from, to)),
            _ => None,
        };
        found
    }

    /// Walks the way from `start` on, of which the bytes before `at` are done.
    /// Returns why it ended and the end of the match.
    fn walk(&mut self, start: usize, mut state: StateID, mut at: usize) -> (End, Option<usize>) {
        let dfa = &self.rule.dfa;
        let mut matched = None;
        loop {
            let Some(&byte) = self.block.bytes.get(at) else {
                if !self.block.eof {
                    let end = if self.is_last(state) {
                        End::Settled
                    } else {
                        End::Block
                    };
                    return (end, matched);
                }
                let at_end = dfa.is_match_state(dfa.next_eoi_state(state));
                return (End::Settled, if at_end { Some(at) } else { matched });
            };
            // A match is seen one byte later than it ends, so the byte behind
            // the last one that may match is looked at too.
            state = dfa.next_state(state, byte);
            self.states.push(state);
            if dfa.is_match_state(state) {
                matched = Some(at);
            }
            if matches!(byte, b'\n' | b'\r') || dfa.is_dead_state(state) {
                return (End::Settled, matched);
            }
            if self.furthest.state_after(at) == Some(state) {
                return (End::Met(at), matched);
            }
            if at == start + MATCH_BYTES_MAX {
                return (End::Limit, matched);
            }
            at += 1;
        }
    }

    /// Whether nothing can follow. The automaton knows that of itself one byte
    /// later only.
    fn is_last(&self, state: StateID) -> bool {
        let dfa = &self.rule.dfa;
        let dead = |next| dfa.is_dead_state(next);
        let mut bytes = dfa.byte_classes().representatives(0..=u8::MAX);
        dead(dfa.next_eoi_state(state))
            && bytes.all(|it| it.as_u8().is_none_or(|it| dead(dfa.next_state(state, it))))
    }

    /// Makes the walk from `start`, which met the furthest one after the byte at
    /// `at`, the furthest one. Returns what is masked, if that is known already.
    fn join(&mut self, start: usize, at: usize, matched: Option<usize>) -> Option<(usize, usize)> {
        let old = &mut self.furthest;
        let mut known = None;
        match old.matched {
            // The states are whole sets of the pattern's threads in their order
            // (nothing is minimised), so the thread that won then wins now. Where
            // its group began is the same if that was later than they met; a
            // group that begins with the very next byte may have begun in another
            // thread.
            Some(end) if end > at => known = old.masked.filter(|(from, _)| *from > at + 1),
            _ => old.matched = matched,
        }
        let offset = start - old.from;
        old.states[offset..offset + self.states.len()].copy_from_slice(&self.states);
        if old.end != End::Limit {
            return known;
        }
        // This walk may go as much further as it began later. Where it goes
        // nobody was before.
        let (next, last) = (old.to(), old.states.last().copied()?);
        self.states.clear();
        let (end, matched) = self.walk(start, last, next);
        let old = &mut self.furthest;
        old.states.extend_from_slice(&self.states);
        old.end = end;
        if matched.is_some() {
            old.matched = matched;
            known = None;
        }
        known
    }

    fn answer(
        &self,
        start: usize,
        (end, matched): (End, Option<usize>),
        known: Option<(usize, usize)>,
    ) -> Found {
        if end == End::Block {
            return Found::Undecided;
        }
        let Some(to) = matched else {
            return Found::No;
        };
        if to == start + MATCH_BYTES_MAX {
            let from = start + self.rule.kept_bytes_min();
            return Found::Long { from, to };
        }
        let masked = known.or_else(|| self.rule.secret_in(self.block.bytes, start..to));
        let (from, to) = masked.unwrap_or((start, to));
        Found::Match { from, to }
    }
}
