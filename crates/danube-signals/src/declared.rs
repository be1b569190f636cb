//! The lists: every event and every family, with its state.

use danube_telemetry::FamilyDecl;
use danube_telemetry::log::level_name;
use tracing::Level;

use crate::{fact, families as live, not_yet};

/// Whether a signal can be seen already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A part of Danube tells it.
    Live,
    /// Declared; this part will tell it.
    NotYet(&'static str),
}

/// Declaration of an event.
#[derive(Debug, Clone, Copy)]
pub struct EventDecl {
    /// Machine name, the field `event`.
    pub name: &'static str,
    /// Level it is written at.
    pub level: Level,
    /// When the level is `error` instead; empty where it never is.
    pub error_when: &'static str,
    /// Dotted logger.
    pub logger: &'static str,
    /// The logger where a playbook job is meant; empty where it is the same.
    pub playbook_logger: &'static str,
    /// Its own fields, in the order in which they are written. Those that don't
    /// apply are left out of a line.
    pub fields: &'static [&'static str],
    /// What it says.
    pub about: &'static str,
    /// Whether it is told.
    pub state: State,
}

impl EventDecl {
    /// The level as it is written.
    pub fn level_name(&self) -> &'static str {
        level_name(self.level)
    }
}

/// Declaration of a family with its state.
#[derive(Debug, Clone, Copy)]
pub struct FamilyState {
    /// The declaration.
    pub decl: &'static FamilyDecl,
    /// Where it is recorded.
    pub recorded: &'static str,
    /// Whether it is recorded.
    pub state: State,
}

/// All events: the live ones, then those to come.
pub fn events() -> impl Iterator<Item = &'static EventDecl> {
    fact::LIVE.iter().chain(not_yet::EVENTS)
}

/// All families in the order of the exposition: the live ones, the process's own, then
/// those to come.
pub fn families() -> impl Iterator<Item = FamilyState> {
    let of = |state, recorded, decl| FamilyState {
        decl,
        recorded,
        state,
    };
    let live = live::LIVE
        .iter()
        .map(move |(decl, recorded)| of(State::Live, *recorded, decl));
    let (decl, recorded) = &live::OVERFLOW;
    let overflow = std::iter::once(of(State::Live, *recorded, decl));
    let process = danube_telemetry::metric::process::FAMILIES
        .iter()
        .map(move |decl| of(State::Live, "read from the kernel at each scrape", decl));
    let not_yet = not_yet::FAMILIES
        .iter()
        .map(move |(decl, part)| of(State::NotYet(part), "", decl));
    live.chain(overflow).chain(process).chain(not_yet)
}

/// State of what is made of these families: live when all of them are. What Prometheus
/// itself writes is always there.
pub(crate) fn state_of(uses: impl IntoIterator<Item = &'static FamilyDecl>) -> State {
    uses.into_iter()
        .filter_map(|decl| families().find(|it| it.decl.name() == decl.name()))
        .map(|it| it.state)
        .find(|it| *it != State::Live)
        .unwrap_or(State::Live)
}
