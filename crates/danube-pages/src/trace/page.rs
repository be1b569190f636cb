//! The page of a trace.

use askama::Template;
use danube_api::JobView;
use serde::Serialize;

use super::layout::{Row, RowKind, Waterfall};
use super::{Details, Only, Span, TraceAsk, nanos};
use crate::{Page, Shell, Tab};

/// Rows that a browser lays out together. What isn't seen yet isn't laid out at all.
const ROWS_A_PIECE: usize = 50;

/// A deeper span stands no further right, so that its name can be read.
const DEPTH_SHOWN_MAX: usize = 16;

/// Least width of a bar, in percent of the axis: what took no time is seen too.
const BAR_PERCENT_MIN: f64 = 0.25;

/// From here on, in percent of the axis, a tick's label stands at its left.
const LABEL_LEFT_PERCENT_MIN: f64 = 85.0;

const NANOS_A_MILLI: u64 = 1_000_000;

/// The trace of a job.
#[derive(Debug, Clone, Serialize)]
pub struct TracePage {
    /// The job, without its steps.
    pub job: JobView,
    /// What the address asks for.
    pub ask: TraceAsk,
    /// The trace, laid out; none where it was deleted with the job's log.
    pub waterfall: Option<Waterfall>,
    /// The span whose details are shown.
    pub selected: Option<Selected>,
}

/// A span whose details are shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Selected {
    /// Its id.
    pub id: String,
    /// All of its name.
    pub name: String,
    /// Who sent it; empty of the server's own.
    pub service: String,
    /// When it began, nanoseconds since 1970.
    pub start_nanos: u64,
    /// How long it took, in nanoseconds.
    pub took_nanos: u64,
    /// It failed.
    pub has_failed: bool,
    /// It goes on.
    pub is_open: bool,
    /// The id and the name of the span that it stands below.
    pub parent: Option<(String, String)>,
    /// Where the log has what was written by it.
    pub log: Option<LogPlace>,
    /// What else is known of it.
    pub details: Details,
}

/// A place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogPlace {
    /// The first byte.
    pub offset: u64,
    /// The span that wrote from there, where it isn't the span itself but one that it stands below.
    pub of: Option<String>,
}

impl TracePage {
    /// The page; `details` tells more of the span that is asked for.
    #[must_use]
    pub fn new(
        job: JobView,
        ask: TraceAsk,
        spans: Option<&[Span]>,
        details: impl FnOnce(&Span) -> Details,
    ) -> Self {
        let found = spans.and_then(|all| Some((all, ask.find(all)?)));
        let selected = found.map(|(all, it)| Selected::new(all, it, details(it)));
        let waterfall = spans.map(|it| Waterfall::new(it, &ask));
        Self {
            job,
            ask,
            waterfall,
            selected,
        }
    }

    /// Whether the job has ended.
    fn has_ended(&self) -> bool {
        self.job
            .state()
            .is_some_and(danube_model::State::is_terminal)
    }

    /// Rows in pieces, with the place of each piece.
    fn pieces(waterfall: &Waterfall) -> std::slice::Chunks<'_, Row> {
        waterfall.rows.chunks(ROWS_A_PIECE)
    }

    /// What selects a span, as the page's own address with another query: so many of them
    /// stand in a page that each letter counts.
    fn select(&self, id: &str) -> String {
        match self.ask.only {
            Only::Critical | Only::Failed => {
                format!("?only={}&span={id}#span", self.ask.only.as_str())
            }
            Only::All | Only::Span | Only::Below => format!("?span={id}#span"),
        }
    }

    fn is_selected(&self, row: &Row) -> bool {
        row.kind == RowKind::Span && self.selected.as_ref().is_some_and(|it| it.id == row.id)
    }

    /// An address asks for a span that isn't there.
    fn is_missing(&self) -> bool {
        let asks = !self.ask.span.is_empty() || self.ask.log.is_some();
        asks && self.waterfall.is_some() && self.selected.is_none()
    }

    /// Only part of the trace is asked for.
    fn is_filtered(&self) -> bool {
        self.ask.only != Only::All
    }
}

impl Selected {
    fn new(all: &[Span], span: &Span, details: Details) -> Self {
        let above = |it: &Span| {
            let parent = all.iter().find(|other| other.id == it.parent)?;
            (!it.parent.is_empty()).then_some(parent)
        };
        let parent = above(span);
        let mut log = None;
        // Among so many spans no way up is longer, unless it goes in circles.
        let mut at = Some(span);
        for _ in 0..all.len() {
            let Some(it) = at else { break };
            if let Some((offset, _)) = it.log {
                let of = (it.id != span.id).then(|| it.name.clone());
                log = Some(LogPlace { offset, of });
                break;
            }
            at = above(it);
        }
        Self {
            id: span.id.clone(),
            name: span.name.clone(),
            service: span.service.clone(),
            start_nanos: span.start_nanos,
            took_nanos: span.end_nanos.saturating_sub(span.start_nanos),
            has_failed: span.has_failed,
            is_open: span.is_open,
            parent: parent.map(|it| (it.id.clone(), it.name.clone())),
            log,
            details,
        }
    }

    /// The moment, to the microsecond.
    fn began(&self) -> String {
        let millis = i64::try_from(self.start_nanos / NANOS_A_MILLI).unwrap_or(i64::MAX);
        let micros = self.start_nanos % NANOS_A_MILLI / 1_000;
        let text = danube_model::Timestamp::from_millis(millis).to_string();
        let text = text.trim_end_matches('Z').replacen('T', " ", 1);
        format!("{text}{micros:03} UTC")
    }

    /// How long after its beginning something was.
    fn since(&self, at_nanos: &u64) -> String {
        match at_nanos.checked_sub(self.start_nanos) {
            Some(after) => format!("+{}", nanos(after)),
            None => format!("−{}", nanos(self.start_nanos - at_nanos)),
        }
    }
}

impl Row {
    /// How far right its name stands.
    fn indent(&self) -> usize {
        self.depth.min(DEPTH_SHOWN_MAX)
    }

    /// What a style and a script know of it.
    fn classes(&self) -> String {
        let mut classes = String::from(match self.kind {
            RowKind::Span => "",
            RowKind::Queue => " queue",
        });
        for (is, class) in [
            (self.is_critical, " crit"),
            (self.has_failed, " bad"),
            (self.is_open, " open"),
            (!self.service.is_empty(), " tool"),
        ] {
            if is {
                classes.push_str(class);
            }
        }
        classes
    }

    fn is_queue(&self) -> bool {
        self.kind == RowKind::Queue
    }

    /// Where its bar is drawn, in percent: where it begins, and its width.
    fn drawn(&self) -> (String, String) {
        let width = (self.bar_width * 100.0).max(BAR_PERCENT_MIN);
        let start = (self.bar_start * 100.0).min(100.0 - width).max(0.0);
        (percent(start), percent(width))
    }

    /// When it began, since the axis began.
    fn began(&self) -> String {
        let since = nanos(self.start_nanos.unsigned_abs());
        match self.start_nanos {
            0 => "0".to_owned(),
            1.. => since,
            _ => format!("−{since}"),
        }
    }

    fn took(&self) -> String {
        nanos(self.took_nanos)
    }
}

impl super::Tick {
    fn place(&self) -> String {
        percent(self.at * 100.0)
    }

    /// On which side of it its label stands.
    fn anchor(&self) -> &'static str {
        if self.at * 100.0 > LABEL_LEFT_PERCENT_MIN {
            "end"
        } else {
            "start"
        }
    }
}

/// With two decimals at most: a pixel is about a thousandth of the axis.
fn percent(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}%")
}

#[derive(Template)]
#[template(path = "trace.html")]
struct Html<'a> {
    shell: &'a Shell,
    page: &'a TracePage,
}

impl Page for TracePage {
    fn title(&self) -> String {
        format!("Trace of {} {}", self.job.pipeline, self.job.short_id)
    }

    fn tab(&self) -> Option<Tab> {
        Some(Tab::Jobs)
    }

    fn html(&self, shell: &Shell) -> askama::Result<String> {
        Html { shell, page: self }.render()
    }

    fn live(&self) -> Option<String> {
        (!self.has_ended()).then(|| format!("/live?job={}", self.job.id))
    }
}
