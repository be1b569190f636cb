//! The page of a log, and the window of it that a page or a script holds.

use askama::Template;
use danube_api::{Hit, JobView};
use danube_model::Timestamp;
use serde::Serialize;

use super::outline::{Item, LogFold, items};
use super::row::Row;
use super::times::{Clock, Times};
use crate::words::{self, Given};
use crate::{Page, Shell, Tab};

/// Lines that a page shows at once when nothing else is asked for.
pub const LINES_SHOWN: u64 = 300;

/// Lines that a window holds at most.
pub const LINES_MAX: u64 = 500;

/// Bytes that the rows of a window take at most ([`Row::weight_bytes`]). With all around them a
/// page stays below 256 KiB. One row fits always.
pub const WINDOW_BYTES_MAX: usize = 192 * 1024;

/// Some lines of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LogWindow {
    /// Lines of the log so far; one whose end hasn't come yet counts.
    pub lines: u64,
    /// The log's logical end.
    pub bytes: u64,
    /// Whether nothing more will come.
    pub has_ended: bool,
    /// When the log began (Unix time in microseconds), if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_us: Option<u64>,
    /// The number of the first line in it, from 1.
    pub first_line: u64,
    /// The number of the line after the last in it.
    pub next_line: u64,
    /// The lines, and what stands where some are missing.
    pub rows: Vec<Row>,
    /// What they can be folded by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub folds: Vec<LogFold>,
}

impl LogWindow {
    /// Whether lines stand before it.
    #[must_use]
    pub fn has_earlier(&self) -> bool {
        self.first_line > 1
    }

    /// Whether lines stand after it.
    #[must_use]
    pub fn has_later(&self) -> bool {
        self.next_line <= self.lines
    }

    /// What a page shows of it, nested; open around a line that was asked for.
    pub(crate) fn items(&self, times: Times, line: Option<u64>) -> Vec<Item<'_>> {
        let mut clock = Clock::new(times, self.start_us);
        let asked = self.rows.iter().find(|it| Some(it.line) == line);
        items((&self.rows, asked), &self.folds, &mut clock)
    }
}

/// The page of a job's log.
#[derive(Debug, Clone, Serialize)]
pub struct LogPage {
    /// The job.
    pub job: JobView,
    /// Its log.
    pub log: LogView,
}

/// A job's log as pages show it: a window of it, with what moves and searches it.
#[derive(Debug, Clone, Serialize)]
pub struct LogView {
    /// The id of the job.
    pub job: String,
    /// Its short id.
    pub short_id: String,
    /// When the log was deleted, if it was.
    pub deleted_at: Option<Timestamp>,
    /// The lines that are shown.
    pub window: LogWindow,
    /// The line that was asked for, if one was.
    pub line: Option<u64>,
    /// Which moments stand beside them.
    pub times: Times,
    /// What was searched for; none when nothing was.
    pub find: Option<Find>,
}

/// A search through a whole log, and what it found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Find {
    /// What for.
    pub q: String,
    /// It is a text, not a regular expression.
    pub is_literal: bool,
    /// Upper and lower case are the same.
    pub ignores_case: bool,
    /// Lines with a match that are listed.
    pub hits: Vec<Hit>,
    /// Lines with a match in all that was searched.
    pub found: u64,
    /// Whether all was searched from where it began.
    pub is_finished: bool,
    /// The logical offset at which it began.
    pub from: u64,
    /// Where to go on for those that aren't listed; none where all are.
    pub resume: Option<u64>,
    /// Why it can't be searched for.
    pub error: Option<String>,
}

impl Find {
    /// As it stands in the address, but for where it begins.
    fn query(&self) -> String {
        let mut query = format!("q={}", words::in_query(&self.q));
        for (name, is_on) in [
            ("literal", self.is_literal),
            ("ignore_case", self.ignores_case),
        ] {
            if is_on {
                query.push_str(&format!("&{name}=1"));
            }
        }
        query
    }

    /// A hit's text before the match, the match, and after it: what can't be seen in it is named.
    #[expect(clippy::unused_self, reason = "templates call methods")]
    pub(crate) fn parts(&self, hit: &Hit) -> [String; 3] {
        let shown = |from, to| super::plain(hit.text.get(from..to).unwrap_or_default().as_bytes());
        let Hit { start, end, .. } = *hit;
        [
            shown(0, start),
            shown(start, end),
            shown(end, hit.text.len()),
        ]
    }

    /// What was found, in words.
    pub(crate) fn said(&self) -> String {
        let lines = words::counted(self.found, "line matches", "lines match");
        let behind = if self.from > 0 { " from here on" } else { "" };
        if self.is_finished {
            format!("{lines}{behind}")
        } else {
            format!("{lines}{behind} so far; there is more to search")
        }
    }
}

#[derive(Template)]
#[template(path = "log.html")]
struct Html<'a> {
    shell: &'a Shell,
    page: &'a LogPage,
}

impl LogPage {
    fn has_ended(&self) -> bool {
        let state = self.job.state();
        state.is_some_and(danube_model::State::is_terminal)
    }
}

impl LogView {
    /// The address of the page itself, with this in its query.
    pub(crate) fn at(&self, shell: &Shell, query: &str) -> String {
        let times = match self.times {
            Times::Absolute => String::new(),
            times => format!("times={}", times.value()),
        };
        let parts = [query, &times].into_iter().filter(|it| !it.is_empty());
        let query = parts.collect::<Vec<_>>().join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        shell.to(&format!("/jobs/{}/log{mark}{query}", self.job))
    }

    pub(crate) fn at_line(&self, shell: &Shell, line: impl Given<u64>) -> String {
        self.at(shell, &format!("from_line={}", line.given()))
    }

    /// A few lines before it, for a reader who wants to see how it came to that.
    pub(crate) fn around(&self, shell: &Shell, line: impl Given<u64>) -> String {
        /// Lines above the one that was asked for.
        const BEFORE: u64 = 20;
        let line = line.given();
        let from = line.saturating_sub(BEFORE).max(1);
        format!("{}#L{line}", self.at_line(shell, from))
    }

    pub(crate) fn earlier(&self, shell: &Shell) -> String {
        let LogWindow {
            first_line,
            next_line,
            ..
        } = self.window;
        let back = next_line.saturating_sub(first_line).clamp(1, LINES_SHOWN);
        self.at_line(shell, first_line.saturating_sub(back).max(1))
    }

    pub(crate) fn more_hits(&self, shell: &Shell) -> Option<String> {
        let find = self.find.as_ref()?;
        let resume = find.resume?;
        let query = format!("{}&from={resume}", find.query());
        Some(self.at(shell, &query))
    }

    pub(crate) fn first_hits(&self, shell: &Shell) -> Option<String> {
        let find = self.find.as_ref().filter(|it| it.from > 0)?;
        Some(self.at(shell, &find.query()))
    }

    /// The span that wrote the line that was asked for, or the first that is shown.
    pub(crate) fn trace(&self, shell: &Shell) -> String {
        let rows = &self.window.rows;
        let asked = rows.iter().find(|it| Some(it.line) == self.line);
        let at = asked.or(rows.first()).map(|it| it.offset);
        let query = at.map_or_else(String::new, |it| format!("?log={it}"));
        shell.to(&format!("/jobs/{}/trace{query}", self.job))
    }

    pub(crate) fn raw(&self, shell: &Shell) -> String {
        shell.to(&format!("/api/v1/jobs/{}/logs", self.job))
    }
}

impl Page for LogPage {
    fn title(&self) -> String {
        let JobView {
            pipeline,
            short_id,
            status,
            ..
        } = &self.job;
        format!("Log of {pipeline} {short_id}: {status}")
    }

    fn tab(&self) -> Option<Tab> {
        Some(Tab::Jobs)
    }

    fn html(&self, shell: &Shell) -> askama::Result<String> {
        Html { shell, page: self }.render()
    }

    fn live(&self) -> Option<String> {
        // A list of matches doesn't change under its reader.
        let is_live = !self.has_ended() && self.log.find.is_none();
        is_live.then(|| format!("/live?job={}", self.job.id))
    }
}
