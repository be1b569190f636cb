//! A trace as a waterfall: each span on a line of its own, below its parent, with a bar
//! where it was in time.

use danube_telemetry::trace::files::NOT_KEPT;
use danube_telemetry::trace::proto::{Span, StatusCode};
use danube_telemetry::trace::tree::{Node, waterfall};
use danube_telemetry::trace::{attribute, hex, number_of};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{Colour, Screen, clean};

/// Columns where nobody says how many there are.
const COLUMNS_DEFAULT: usize = 80;

/// A bar is no use below so many columns.
const BAR_MIN: usize = 12;

/// It is no better above so many.
const BAR_MAX: usize = 60;

/// Columns of a time, and of the marks before it.
const TIME: usize = 9;

/// Hex digits of a span id.
const ID: usize = 16;

/// A deeper span stands no further right, so that its name can be read.
const DEPTH_SHOWN_MAX: usize = 16;

/// A trace of more spans is folded to so many, so that it can be read.
const SPANS_WHOLE_MAX: usize = 200;

/// Of the children of a span so many are shown then: those that counted most.
const SIBLINGS_MAX: usize = 12;

/// A shorter wait in the queue is none.
const WAIT_SECONDS_MIN: f64 = 0.001;

/// What is wanted of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wish {
    /// Every span, however many there are.
    pub(crate) all: bool,
    /// The id of each.
    pub(crate) ids: bool,
}

/// One line.
struct Row {
    /// Empty for a line that is no span's.
    id: String,
    depth: usize,
    name: String,
    from: u64,
    to: u64,
    bar: char,
    is_critical: bool,
    colour: Option<Colour>,
    mark: &'static str,
}

/// The waterfall of a trace; folded, if it is long, unless all of it is wanted.
pub(crate) fn render(spans: &[Span], wish: Wish, screen: &Screen) -> String {
    let nodes = waterfall(spans);
    let shown = Shown::of(&nodes, spans, wish.all);
    let rows = rows(&nodes, spans, &shown);
    let (from, to) = range(spans);
    let columns = screen.out_columns().unwrap_or(COLUMNS_DEFAULT);
    let widest = rows.iter().map(|it| indent(it) + it.name.width()).max();
    // Two marks and a space before the name, two spaces around the time.
    let ids = if wish.ids { ID + 1 } else { 0 };
    let room = columns.saturating_sub(3 + TIME + 2 + ids);
    let name = widest.unwrap_or(0).min(room.saturating_sub(BAR_MIN)).max(8);
    let bar = room.saturating_sub(name).clamp(1, BAR_MAX);
    let mut text = String::new();
    for row in &rows {
        let time = format!("{:>TIME$}", brief(row.to.saturating_sub(row.from)));
        let label = padded(&format!("{}{}", " ".repeat(indent(row)), row.name), name);
        let label = match row.colour {
            Some(colour) => screen.paint(colour, &label),
            None => label,
        };
        let critical = if row.is_critical { '*' } else { ' ' };
        let drawn = place(row, (from, to), bar);
        let drawn = match (row.colour, row.is_critical) {
            (Some(colour), _) => screen.paint(colour, &drawn),
            (None, true) => drawn,
            (None, false) => screen.paint(Colour::Dim, &drawn),
        };
        let mark = if row.mark.is_empty() { " " } else { row.mark };
        let id = if wish.ids {
            screen.paint(Colour::Dim, &format!("{:ID$} ", row.id))
        } else {
            String::new()
        };
        let line = format!("{critical}{mark} {id}{label} {time} {drawn}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push_str("* what the end waited for");
    if rows.iter().any(|it| it.mark == "!") {
        text.push_str("   ! failed");
    }
    if rows.iter().any(|it| it.mark == "~") {
        text.push_str("   ~ goes on");
    }
    text.push('\n');
    text
}

/// Columns before its name.
fn indent(row: &Row) -> usize {
    2 * row.depth.min(DEPTH_SHOWN_MAX)
}

/// From when to when it was: what the server says of the job. A tool's clock may be wrong.
fn range(spans: &[Span]) -> (u64, u64) {
    let own = |it: &&Span| attribute(&it.attributes, "job.id").is_some();
    let own: Vec<&Span> = spans.iter().filter(own).collect();
    let all: Vec<&Span> = if own.is_empty() {
        spans.iter().collect()
    } else {
        own
    };
    let from = all.iter().map(|it| it.start_time_unix_nano).min();
    let to = all.iter().map(|it| it.end_time_unix_nano).max();
    (from.unwrap_or(0), to.unwrap_or(0))
}

/// Which nodes are shown, and what is folded below each.
struct Shown {
    is_shown: Vec<bool>,
    /// By node, those without a parent last: how many children are folded, and their time.
    folded: Vec<(usize, u64)>,
}

impl Shown {
    fn of(nodes: &[Node], spans: &[Span], all: bool) -> Self {
        if all || nodes.len() <= SPANS_WHOLE_MAX {
            return Self {
                is_shown: vec![true; nodes.len()],
                folded: vec![(0, 0); nodes.len() + 1],
            };
        }
        let parents = parents(nodes);
        let mut is_shown = vec![false; nodes.len()];
        let mut children = vec![0; nodes.len() + 1];
        let mut left = SPANS_WHOLE_MAX;
        let mut ranked: Vec<usize> = (0..nodes.len()).collect();
        // What says how many aren't there, what the end waited for, what failed, what took
        // long; of equals the first.
        ranked.sort_by_key(|at| {
            let span = &spans[nodes[*at].span];
            let is_note = attribute(&span.attributes, NOT_KEPT).is_some();
            let weight = (
                is_note,
                nodes[*at].is_critical,
                has_failed(span),
                took(span),
            );
            std::cmp::Reverse(weight)
        });
        for at in ranked {
            // With all that it stands below, or not at all.
            let mut needed = Vec::new();
            let mut next = at;
            while next < nodes.len() && !is_shown[next] && needed.len() <= left {
                needed.push(next);
                next = parents[next];
            }
            let is_full = |it: &usize| children[parents[*it]] >= SIBLINGS_MAX;
            if needed.len() > left || needed.iter().any(is_full) {
                continue;
            }
            left -= needed.len();
            for it in needed {
                is_shown[it] = true;
                children[parents[it]] += 1;
            }
        }
        let mut folded = vec![(0, 0); nodes.len() + 1];
        for (at, parent) in parents.iter().enumerate() {
            if !is_shown[at] {
                folded[*parent].0 += 1;
                folded[*parent].1 += took(&spans[nodes[at].span]);
            }
        }
        Self { is_shown, folded }
    }
}

/// The parent of each; of those without one the number of all.
fn parents(nodes: &[Node]) -> Vec<usize> {
    let mut above: Vec<usize> = Vec::new();
    let parent = |(index, node): (usize, &Node)| {
        above.truncate(node.depth);
        let parent = above.last().copied().unwrap_or(nodes.len());
        above.push(index);
        parent
    };
    nodes.iter().enumerate().map(parent).collect()
}

fn rows(nodes: &[Node], spans: &[Span], shown: &Shown) -> Vec<Row> {
    let mut rows = Vec::with_capacity(nodes.len());
    // Parents whose folded children are still to be told of, with their depths.
    let mut open: Vec<usize> = Vec::new();
    let mut hidden_below: Option<usize> = None;
    for (index, node) in nodes.iter().enumerate() {
        while open.last().is_some_and(|it| nodes[*it].depth >= node.depth) {
            let parent = open.pop().expect("it was just looked at");
            rows.extend(folded(nodes, shown, parent));
        }
        if hidden_below.is_some_and(|depth| node.depth > depth) {
            continue;
        }
        hidden_below = None;
        if !shown.is_shown[index] {
            hidden_below = Some(node.depth);
            continue;
        }
        let span = &spans[node.span];
        rows.extend(waited(span, node.depth));
        rows.push(row(span, node));
        open.push(index);
    }
    while let Some(parent) = open.pop() {
        rows.extend(folded(nodes, shown, parent));
    }
    rows.extend(folded(nodes, shown, nodes.len()));
    rows
}

fn row(span: &Span, node: &Node) -> Row {
    let mut name = clean(&span.name);
    if node.is_orphan && node.depth == 0 && attribute(&span.attributes, "job.id").is_none() {
        name.push_str(" (parent not here)");
    }
    let is_open = attribute(&span.attributes, "danube.span.unfinished").is_some();
    let failed = has_failed(span);
    Row {
        id: hex(&span.span_id),
        depth: node.depth,
        name,
        from: span.start_time_unix_nano,
        to: span.end_time_unix_nano,
        bar: if node.is_critical { '█' } else { '▒' },
        is_critical: node.is_critical,
        colour: match (failed, is_open) {
            (true, _) => Some(Colour::Red),
            (false, true) => Some(Colour::Blue),
            (false, false) => None,
        },
        mark: match (failed, is_open) {
            (true, _) => "!",
            (false, true) => "~",
            (false, false) => "",
        },
    }
}

/// The line before a job that had to wait.
fn waited(span: &Span, depth: usize) -> Option<Row> {
    let seconds = number_of(&span.attributes, "danube.job.queue_wait_seconds")?;
    if seconds < WAIT_SECONDS_MIN {
        return None;
    }
    let waited = std::time::Duration::try_from_secs_f64(seconds).ok()?;
    let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
    Some(Row {
        id: String::new(),
        depth,
        name: "(waited in the queue)".to_owned(),
        from: span.start_time_unix_nano.saturating_sub(nanos),
        to: span.start_time_unix_nano,
        bar: '·',
        is_critical: true,
        colour: Some(Colour::Yellow),
        mark: "",
    })
}

fn folded(nodes: &[Node], shown: &Shown, parent: usize) -> Option<Row> {
    let (count, time) = shown.folded[parent];
    (count > 0).then(|| Row {
        id: String::new(),
        depth: nodes.get(parent).map_or(0, |it| it.depth + 1),
        name: format!("… {count} more (--all)"),
        from: 0,
        to: time,
        bar: ' ',
        is_critical: false,
        colour: Some(Colour::Dim),
        mark: "",
    })
}

fn has_failed(span: &Span) -> bool {
    span.status
        .as_ref()
        .is_some_and(|it| it.code() == StatusCode::Error)
}

fn took(span: &Span) -> u64 {
    span.end_time_unix_nano
        .saturating_sub(span.start_time_unix_nano)
}

/// A bar of so many columns with the row's stretch drawn; at least one column of it.
fn place(row: &Row, (from, to): (u64, u64), columns: usize) -> String {
    if row.bar == ' ' {
        return String::new();
    }
    let whole = u128::from(to.saturating_sub(from).max(1));
    let column = |at: u64| {
        let since = u128::from(at.clamp(from, to) - from);
        let column = since * columns as u128 / whole;
        usize::try_from(column).unwrap_or(0).min(columns)
    };
    let begin = column(row.from).min(columns - 1);
    let end = column(row.to).max(begin + 1);
    let bar: String = std::iter::repeat_n(row.bar, end - begin).collect();
    format!("{}{bar}", " ".repeat(begin))
}

/// A time in few letters.
pub(crate) fn brief(nanos: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "to be read")]
    let seconds = nanos as f64 / 1e9;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.0} µs", seconds * 1e6),
        1_000_000..10_000_000 => format!("{:.1} ms", seconds * 1e3),
        10_000_000..1_000_000_000 => format!("{:.0} ms", seconds * 1e3),
        1_000_000_000..60_000_000_000 => format!("{seconds:.2} s"),
        _ => {
            let whole = nanos / 1_000_000_000;
            let (hours, minutes) = (whole / 3_600, whole / 60 % 60);
            if hours >= 100 {
                format!("{} d {:02} h", hours / 24, hours % 24)
            } else if hours > 0 {
                format!("{hours} h {minutes:02} m")
            } else {
                format!("{minutes} m {:02} s", whole % 60)
            }
        }
    }
}

/// Text of exactly so many columns, cut with an ellipsis where it is longer.
fn padded(text: &str, columns: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    let fits = text.width() <= columns;
    for it in text.chars() {
        let width = it.width().unwrap_or(0);
        if !fits && used + width >= columns {
            out.push('…');
            used += 1;
            break;
        }
        out.push(it);
        used += width;
    }
    out.extend(std::iter::repeat_n(' ', columns.saturating_sub(used)));
    out
}

#[cfg(test)]
mod tests {
    use danube_telemetry::trace::pair;
    use danube_telemetry::trace::proto::Status;

    use super::*;

    const MILLI: u64 = 1_000_000;

    /// Id, parent, name, from and to in milliseconds.
    fn span((id, parent, name, from, to): (u16, u16, &str, u64, u64)) -> Span {
        let id_of = |it: u16| {
            if it == 0 {
                Vec::new()
            } else {
                [[0; 6].as_slice(), &it.to_be_bytes()].concat()
            }
        };
        Span {
            span_id: id_of(id),
            parent_span_id: id_of(parent),
            name: name.to_owned(),
            start_time_unix_nano: from * MILLI,
            end_time_unix_nano: to * MILLI,
            attributes: vec![pair("job.id", "j")],
            ..Span::default()
        }
    }

    #[test]
    fn a_job_is_drawn_with_its_wait_its_failure_and_its_critical_path() {
        let mut spans = vec![
            span((1, 0, "POST /api/v1/jobs", 0, 20)),
            span((2, 1, "Job abc", 100, 200)),
            span((3, 2, "Execute step good", 100, 140)),
            span((4, 2, "Execute step bad\u{1b}[2J", 140, 200)),
        ];
        spans[1]
            .attributes
            .push(pair("danube.job.queue_wait_seconds", 0.08));
        spans[3].status = Some(Status {
            code: StatusCode::Error.into(),
            ..Status::default()
        });
        let text = render(&spans, Wish::default(), &Screen::plain());
        let expected = "\
*  POST /api/v1/jobs            20 ms ████
*    (waited in the queue)      80 ms     ·················
*    Job abc                   100 ms                      █████████████████████
*      Execute step good        40 ms                      ████████
*!     Execute step bad\u{fffd}[2J     60 ms                              █████████████
* what the end waited for   ! failed
";
        assert_eq!(text, expected, "{text}");
    }

    #[test]
    fn a_long_trace_is_folded_to_what_counts() {
        let mut spans = vec![span((1, 0, "Job", 0, 1_000))];
        let tests = (0..500_u16).map(|it| {
            let from = u64::from(it) * 2;
            span((10 + it, 1, &format!("test_{it}"), from, from + 1))
        });
        spans.extend(tests);
        spans[100].status = Some(Status {
            code: StatusCode::Error.into(),
            ..Status::default()
        });
        for it in &mut spans[1..] {
            // At once, so that few are critical.
            it.start_time_unix_nano = 0;
        }
        spans[250].attributes.push(pair(NOT_KEPT, 12_i64));
        let text = render(&spans, Wish::default(), &Screen::plain());
        assert_eq!(text.lines().count(), 1 + SIBLINGS_MAX + 2, "{text}");
        assert!(
            text.contains("test_249 "),
            "what says what isn't there: {text}"
        );
        assert!(text.contains("… 488 more (--all)"), "{text}");
        assert!(
            text.contains("test_99 ") && text.contains("test_499"),
            "{text}"
        );
        let wish = Wish {
            all: true,
            ids: true,
        };
        let text = render(&spans, wish, &Screen::plain());
        assert_eq!(text.lines().count(), 502);
        assert!(text.contains(" 000000000000000a   test_0 "), "{text}");
    }

    #[test]
    fn a_wide_and_deep_trace_fits_the_screen_and_a_reader() {
        // 40 suites of 40 tests, and a chain below one of them.
        let suites = (0..40_u16).map(|it| span((it + 2, 1, "suite", 0, 900)));
        let tests = (0..1_600_u16).map(|it| {
            let name = format!("a test with quite a long name {it}");
            span((100 + it, 2 + it % 40, &name, 10, 20))
        });
        let chain = (0..50_u16).map(|it| span((5_000 + it, 4_999 + it, "deeper", 10, 900)));
        let mut spans = vec![span((1, 0, "Job", 0, 1_000))];
        spans.extend(suites.chain(tests).chain(chain));
        spans[1_641].parent_span_id = spans[1].span_id.clone();
        let text = render(&spans, Wish::default(), &Screen::plain());
        let lines = text.lines().count();
        // What is folded below each has a line too.
        assert!(lines <= 2 * SPANS_WHOLE_MAX, "{lines} lines");
        let widest = text.lines().map(UnicodeWidthStr::width).max();
        assert!(widest <= Some(COLUMNS_DEFAULT), "{widest:?}: {text}");
        assert!(text.contains("… 28 more (--all)"), "{text}");
        assert!(text.lines().any(|it| it.contains("  deeper  ")), "{text}");
    }

    #[test]
    fn times_are_brief() {
        for (nanos, expected) in [
            (7, "7 ns"),
            (52_400, "52 µs"),
            (4_176_424, "4.2 ms"),
            (338_715_379, "339 ms"),
            (1_240_000_000, "1.24 s"),
            (123_000_000_000, "2 m 03 s"),
            (7_380_000_000_000, "2 h 03 m"),
            (370_000_000_000_000, "4 d 06 h"),
        ] {
            assert_eq!(brief(nanos), expected);
        }
    }
}
