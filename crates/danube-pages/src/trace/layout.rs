//! Rows and bars.

use serde::Serialize;

use super::axis::{Axis, Tick};
use super::tree::{Node, mark_critical, order};
use super::{NAME_CHARS_MAX, Only, ROWS_MAX, Span, TraceAsk};

/// A clock that is further off is said to be: the server remembers some times to the millisecond.
const SKEW_NANOS_MIN: u64 = 1_000_000;

/// A shorter wait in the queue is none.
const QUEUE_NANOS_MIN: u64 = 1_000_000;

/// What a row shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowKind {
    /// A span.
    Span,
    /// The wait in the queue before the span of the next row.
    Queue,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What it shows.
    pub kind: RowKind,
    /// The span's id; for a wait that of the job that waited.
    pub id: String,
    /// What it is called, cut to [`NAME_CHARS_MAX`].
    pub name: String,
    /// How far below its root, from 0.
    pub depth: usize,
    /// When it began, nanoseconds since the axis begins; negative where its clock was wrong.
    pub start_nanos: i64,
    /// How long it took, in nanoseconds, as it says.
    pub took_nanos: u64,
    /// Where its bar begins, as a fraction of the axis.
    pub bar_start: f64,
    /// How wide its bar is, as a fraction of the axis. Start and width are never more than 1 together.
    pub bar_width: f64,
    /// The end waited for it.
    pub is_critical: bool,
    /// It failed.
    pub has_failed: bool,
    /// It goes on.
    pub is_open: bool,
    /// The program that sent it; empty of the server's own.
    pub service: String,
    /// Some of it is outside what the server knows the job to have taken: its clock is wrong, or
    /// it is a webhook. The bar ends at the edge.
    pub is_outside: bool,
    /// It names a parent that isn't there, or that stands below it.
    pub is_stray: bool,
    /// Whether rows stand below it.
    pub has_children: bool,
    /// Spans right below it that aren't shown.
    pub left_out: usize,
    /// Where its output begins in the log, in bytes; of steps.
    pub log_start: Option<u64>,
}

/// A trace, laid out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Waterfall {
    /// When the axis begins, nanoseconds since 1970.
    pub from_nanos: u64,
    /// How long the axis is.
    pub length_nanos: u64,
    /// Its ticks.
    pub ticks: Vec<Tick>,
    /// The rows, parents before their children.
    pub rows: Vec<Row>,
    /// Spans of the whole trace.
    pub spans: usize,
    /// Of them, those that failed.
    pub failed: usize,
    /// Of them, those that the job's own tools sent.
    pub foreign: usize,
    /// Spans of tools with times outside the job's: their clocks were wrong.
    pub skewed: usize,
    /// How long the job waited in the queue, all attempts together.
    pub queue_nanos: u64,
    /// Spans that were asked for and that there is no room for.
    pub left_out: usize,
}

impl Waterfall {
    /// Lays a trace out. Each span has a row at most, whatever its ids and times are.
    #[must_use]
    pub fn new(spans: &[Span], ask: &TraceAsk) -> Self {
        Self::bounded(spans, ask, ROWS_MAX)
    }

    pub(super) fn bounded(spans: &[Span], ask: &TraceAsk, rows_max: usize) -> Self {
        let whole = Axis::of(spans);
        let times: Vec<(u64, u64)> = spans.iter().map(|it| believed(it, whole)).collect();
        let mut nodes = order(spans);
        mark_critical(&mut nodes, spans, &times);
        let wanted = ask
            .find(spans)
            .and_then(|it| nodes.iter().position(|node| spans[node.span].id == it.id));
        let mut shown = asked(&nodes, spans, (ask.only, wanted));
        let asked_for = shown.iter().filter(|it| **it).count();
        bound(&mut shown, &nodes, spans, rows_max);
        let axis = match (ask.only, wanted) {
            (Only::Below, Some(top)) => below(&nodes, &times, top, whole),
            _ => whole,
        };
        let base = match (ask.only, wanted) {
            (Only::Below, Some(top)) => nodes[top].depth,
            _ => 0,
        };
        let is_skewed = |it: &&Span| !it.is_own() && is_outside(it, whole);
        Self {
            from_nanos: axis.from,
            length_nanos: axis.length(),
            ticks: axis.ticks(),
            rows: Rows {
                spans,
                nodes: &nodes,
                times: &times,
                shown: &shown,
                whole,
                axis,
                base,
            }
            .all(),
            spans: spans.len(),
            failed: spans.iter().filter(|it| it.has_failed).count(),
            foreign: spans.iter().filter(|it| !it.is_own()).count(),
            skewed: spans.iter().filter(is_skewed).count(),
            queue_nanos: spans
                .iter()
                .fold(0, |sum, it| sum.saturating_add(it.queue_nanos)),
            left_out: asked_for - shown.iter().filter(|it| **it).count(),
        }
    }
}

/// From when to when a span was, within what the server knows of the job.
fn believed(span: &Span, whole: Axis) -> (u64, u64) {
    let start = span.start_nanos.clamp(whole.from, whole.to);
    (start, span.end_nanos.clamp(start, whole.to))
}

fn is_outside(span: &Span, whole: Axis) -> bool {
    span.start_nanos.saturating_add(SKEW_NANOS_MIN) < whole.from
        || span.end_nanos.saturating_add(SKEW_NANOS_MIN) < span.start_nanos
        || span.start_nanos.max(span.end_nanos) > whole.to.saturating_add(SKEW_NANOS_MIN)
}

/// Which nodes are asked for.
fn asked(nodes: &[Node], spans: &[Span], (only, wanted): (Only, Option<usize>)) -> Vec<bool> {
    let mut shown = vec![false; nodes.len()];
    match (only, wanted) {
        (Only::All, _) | (Only::Span | Only::Below, None) => shown.fill(true),
        (Only::Critical, _) => {
            for (it, node) in shown.iter_mut().zip(nodes) {
                *it = node.is_critical;
            }
        }
        (Only::Failed, _) => {
            for (index, node) in nodes.iter().enumerate() {
                if spans[node.span].has_failed {
                    with_parents(nodes, index, &mut shown);
                }
            }
        }
        (Only::Span, Some(index)) => with_parents(nodes, index, &mut shown),
        (Only::Below, Some(top)) => shown[top..end_of(nodes, top)].fill(true),
    }
    shown
}

/// Shows a node and what it stands below, up to what is shown already.
fn with_parents(nodes: &[Node], index: usize, shown: &mut [bool]) {
    let mut next = Some(index);
    while let Some(at) = next.filter(|it| !shown[*it]) {
        shown[at] = true;
        next = nodes[at].parent;
    }
}

/// Where the nodes below one end.
fn end_of(nodes: &[Node], top: usize) -> usize {
    let mut rest = nodes.iter().skip(top + 1);
    let end = rest.position(|it| it.depth <= nodes[top].depth);
    end.map_or(nodes.len(), |it| top + 1 + it)
}

/// The axis of a node and all below it.
fn below(nodes: &[Node], times: &[(u64, u64)], top: usize, whole: Axis) -> Axis {
    let all = nodes[top..end_of(nodes, top)].iter();
    let all = all.map(|it| times[it.span]);
    all.fold(None, |range: Option<Axis>, (from, to)| {
        Some(range.map_or(Axis { from, to }, |it| Axis {
            from: it.from.min(from),
            to: it.to.max(to),
        }))
    })
    .unwrap_or(whole)
}

/// Leaves as many shown as there is room for: what the end waited for, what failed, what took
/// long; of equals the first. Each with all that it stands below, or not at all.
fn bound(shown: &mut [bool], nodes: &[Node], spans: &[Span], rows_max: usize) {
    let mut ranked: Vec<usize> = (0..nodes.len()).filter(|it| shown[*it]).collect();
    if ranked.len() <= rows_max {
        return;
    }
    let asked_for = shown.to_vec();
    shown.fill(false);
    ranked.sort_by_key(|at| {
        let span = &spans[nodes[*at].span];
        let took = span.end_nanos.saturating_sub(span.start_nanos);
        std::cmp::Reverse((nodes[*at].is_critical, span.has_failed, took))
    });
    let mut left = rows_max;
    for at in ranked {
        let mut needed = Vec::new();
        let mut next = Some(at);
        while let Some(it) = next.filter(|it| !shown[*it] && asked_for[*it]) {
            needed.push(it);
            next = nodes[it].parent;
            if needed.len() > left {
                break;
            }
        }
        if needed.len() <= left {
            left -= needed.len();
            needed.into_iter().for_each(|it| shown[it] = true);
        }
    }
}

/// What rows are made from.
struct Rows<'a> {
    spans: &'a [Span],
    nodes: &'a [Node],
    times: &'a [(u64, u64)],
    shown: &'a [bool],
    whole: Axis,
    axis: Axis,
    /// The depth of what stands at the left.
    base: usize,
}

impl Rows<'_> {
    fn all(&self) -> Vec<Row> {
        let mut children = vec![(0_usize, 0_usize); self.nodes.len()];
        for (node, shown) in self.nodes.iter().zip(self.shown) {
            if let Some(parent) = node.parent {
                children[parent].0 += usize::from(*shown);
                children[parent].1 += usize::from(!*shown);
            }
        }
        let mut rows = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            if self.shown[index] {
                let span = &self.spans[node.span];
                if span.queue_nanos >= QUEUE_NANOS_MIN {
                    rows.push(self.queue(node));
                }
                rows.push(self.span(node, children[index]));
            }
        }
        rows
    }

    fn span(&self, node: &Node, (children, left_out): (usize, usize)) -> Row {
        let span = &self.spans[node.span];
        let (bar_start, bar_width) = self.bar(self.times[node.span]);
        Row {
            kind: RowKind::Span,
            id: span.id.clone(),
            name: short(&span.name),
            depth: node.depth.saturating_sub(self.base),
            start_nanos: since(self.axis.from, span.start_nanos),
            took_nanos: span.end_nanos.saturating_sub(span.start_nanos),
            bar_start,
            bar_width,
            is_critical: node.is_critical,
            has_failed: span.has_failed,
            is_open: span.is_open,
            service: short(&span.service),
            is_outside: is_outside(span, self.whole),
            is_stray: node.is_stray,
            has_children: children > 0,
            left_out,
            log_start: span.log.map(|(from, _)| from),
        }
    }

    /// The wait before a job's attempt, which stands beside it: the end waited for both or none.
    fn queue(&self, node: &Node) -> Row {
        let span = &self.spans[node.span];
        let from = span.start_nanos.saturating_sub(span.queue_nanos);
        let (bar_start, bar_width) = self.bar((from, span.start_nanos));
        Row {
            kind: RowKind::Queue,
            id: span.id.clone(),
            name: "Waited in the queue".to_owned(),
            depth: node.depth.saturating_sub(self.base),
            start_nanos: since(self.axis.from, from),
            took_nanos: span.queue_nanos,
            bar_start,
            bar_width,
            is_critical: node.is_critical,
            has_failed: false,
            is_open: false,
            service: String::new(),
            is_outside: false,
            is_stray: false,
            has_children: false,
            left_out: 0,
            log_start: None,
        }
    }

    fn bar(&self, (from, to): (u64, u64)) -> (f64, f64) {
        let start = self.axis.fraction(from);
        (start, (self.axis.fraction(to) - start).max(0.0))
    }
}

fn since(from: u64, at: u64) -> i64 {
    let since = i128::from(at) - i128::from(from);
    i64::try_from(since).unwrap_or(if since < 0 { i64::MIN } else { i64::MAX })
}

fn short(name: &str) -> String {
    match name.char_indices().nth(NAME_CHARS_MAX) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}…", &name[..end]),
    }
}
