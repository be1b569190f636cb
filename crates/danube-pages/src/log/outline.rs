//! What of a log can be folded away: steps, plays, tasks and groups.

use serde::Serialize;

use super::row::{Group, Row};
use super::times::{Clock, Said};

/// What one step, play or task wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogFold {
    /// Its name among the folds of this log, for an address.
    pub id: String,
    /// What it is.
    pub kind: FoldKind,
    /// Its name.
    pub name: String,
    /// How it stands or ended, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The attempt it belongs to.
    pub attempt: u32,
    /// Logical offset of its first byte.
    pub start: u64,
    /// Logical offset after its last byte; none while it goes on.
    pub end: Option<u64>,
    /// The first line that begins in it.
    pub first_line: u64,
    /// The first line that begins after it; none while it goes on.
    pub end_line: Option<u64>,
    /// Whether it is shown open at first.
    pub is_open: bool,
}

/// What a fold is, from the outermost to the innermost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FoldKind {
    /// A step of a pipeline.
    Step,
    /// A play of a playbook.
    Play,
    /// A task of the play before it.
    Task,
}

impl FoldKind {
    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Step => "Step",
            Self::Play => "Play",
            Self::Task => "Task",
        }
    }
}

impl LogFold {
    fn holds(&self, offset: u64) -> bool {
        self.start <= offset && self.end.is_none_or(|end| offset < end)
    }
}

/// One after the other these make the rows of a page, nested as they are folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// A fold begins.
    Fold { fold: &'a LogFold, is_open: bool },
    /// A group begins, with the line that says so.
    Group {
        row: &'a Row,
        title: String,
        said: Option<Said>,
    },
    /// A line.
    Row { row: &'a Row, said: Option<Said> },
    /// The fold or group that began last ends.
    Close,
}

/// Rows in their folds. A fold that nothing of is among the rows isn't there; one in which the row
/// lies that was asked for is open.
pub(super) fn items<'a>(
    (rows, asked): (&'a [Row], Option<&Row>),
    folds: &'a [LogFold],
    clock: &mut Clock,
) -> Vec<Item<'a>> {
    let mut next = folds.iter().collect::<Vec<_>>();
    next.sort_by_key(|it| (it.start, it.kind));
    let mut next = next.into_iter().peekable();
    let mut nest = Nest::default();
    for row in rows {
        nest.end_before(row.offset);
        while let Some(fold) = next.next_if(|it| it.start <= row.offset) {
            if fold.holds(row.offset) {
                let is_open = fold.is_open || asked.is_some_and(|it| fold.holds(it.offset));
                nest.open(fold, is_open);
            }
        }
        nest.row(row, clock.say(row));
    }
    nest.end_before(u64::MAX);
    nest.items
}

#[derive(Default)]
struct Nest<'a> {
    items: Vec<Item<'a>>,
    /// Where the open folds end, the innermost last.
    ends: Vec<u64>,
    /// A group is open within them.
    in_group: bool,
}

impl<'a> Nest<'a> {
    /// Ends all that doesn't reach this offset.
    fn end_before(&mut self, offset: u64) {
        while self.ends.last().is_some_and(|end| *end <= offset) {
            self.end_group();
            self.ends.pop();
            self.items.push(Item::Close);
        }
        if offset == u64::MAX {
            self.end_group();
        }
    }

    fn end_group(&mut self) {
        if std::mem::take(&mut self.in_group) {
            self.items.push(Item::Close);
        }
    }

    fn open(&mut self, fold: &'a LogFold, is_open: bool) {
        self.end_group();
        let around = self.ends.last().copied().unwrap_or(u64::MAX);
        self.ends.push(fold.end.unwrap_or(u64::MAX).min(around));
        self.items.push(Item::Fold { fold, is_open });
    }

    fn row(&mut self, row: &'a Row, said: Option<Said>) {
        if let Some(title) = row.group_title() {
            self.end_group();
            self.in_group = true;
            self.items.push(Item::Group { row, title, said });
            return;
        }
        self.items.push(Item::Row { row, said });
        if row.group == Some(Group::End) {
            self.end_group();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Gap, GapReason, LineAt, Terminal, Times};
    use super::*;

    fn fold(kind: FoldKind, id: &str, (start, end): (u64, Option<u64>)) -> LogFold {
        LogFold {
            id: id.to_owned(),
            kind,
            name: id.to_owned(),
            status: None,
            attempt: 1,
            start,
            end,
            first_line: start + 1,
            end_line: end.map(|it| it + 1),
            is_open: false,
        }
    }

    /// Rows of one byte each, so that offsets are line numbers less one.
    fn rows(from: u64, texts: &[&str]) -> Vec<Row> {
        let mut terminal = Terminal::new();
        let mut row = |(offset, text): (u64, &&str)| {
            if *text == "gap" {
                let reason = GapReason::Lost;
                let (from, to, lines) = (offset, offset + 1, 0);
                return Row::gap(
                    offset + 1,
                    Gap {
                        from,
                        to,
                        lines,
                        reason,
                    },
                );
            }
            terminal.push(text.as_bytes());
            let at = LineAt {
                line: offset + 1,
                continues: false,
                offset,
                time_us: None,
                stream: super::super::Stream::Stdout,
            };
            terminal.end_line(at, 0)
        };
        (from..).zip(texts).map(&mut row).collect()
    }

    /// `(` and `[` begin open and closed folds, `{` groups.
    fn drawn(rows: &[Row], folds: &[LogFold], asked: Option<usize>) -> String {
        let mut clock = Clock::new(Times::Absolute, None);
        let mut ends = Vec::new();
        let mut drawn = String::new();
        for item in items((rows, asked.map(|it| &rows[it])), folds, &mut clock) {
            match item {
                Item::Fold { fold, is_open } => {
                    let (begin, end) = if is_open { ('(', ')') } else { ('[', ']') };
                    drawn.push_str(&format!("{begin}{} ", fold.id));
                    ends.push(end);
                }
                Item::Group { title, .. } => {
                    drawn.push_str(&format!("{{{title} "));
                    ends.push('}');
                }
                Item::Row { row, .. } if row.gap.is_some() => drawn.push('~'),
                Item::Row { row, .. } => drawn.push_str(&row.text()),
                Item::Close => drawn.push(ends.pop().unwrap()),
            }
        }
        assert!(ends.is_empty(), "all that begins ends");
        drawn
    }

    #[test]
    fn rows_are_nested_in_what_wrote_them() {
        let texts = ["a", "b", "c", "gap", "d", "e", "f"];
        let folds = [
            fold(FoldKind::Step, "s0", (1, Some(2))),
            fold(FoldKind::Step, "none", (2, Some(2))),
            fold(FoldKind::Step, "s1", (2, Some(6))),
            fold(FoldKind::Play, "p", (2, Some(9))),
            fold(FoldKind::Task, "t0", (2, Some(3))),
            fold(FoldKind::Task, "t1", (3, Some(5))),
            fold(FoldKind::Step, "later", (20, None)),
        ];
        let drawn_all = drawn(&rows(0, &texts), &folds, None);
        assert_eq!(drawn_all, "a[s0 b][s1 [p [t0 c][t1 ~d]e]]f");
        // What was asked for lies open.
        assert_eq!(
            drawn(&rows(4, &texts[4..]), &folds, Some(0)),
            "(s1 (p (t1 d)e))f"
        );
        assert_eq!(drawn(&[], &folds, None), "");
        assert_eq!(drawn(&rows(30, &["x"]), &folds, None), "[later x]");
    }

    #[test]
    fn a_group_ends_with_its_mark_with_the_next_or_with_its_step() {
        let texts = [
            "::group::g",
            "a",
            "::endgroup::",
            "b",
            "::group::h",
            "c",
            "::group::i",
            "d",
        ];
        let drawn_alone = drawn(&rows(0, &texts), &[], None);
        assert_eq!(drawn_alone, "{g a::endgroup::}b{h c}{i d}");
        let folds = [
            fold(FoldKind::Step, "s0", (0, Some(2))),
            fold(FoldKind::Step, "s1", (3, None)),
        ];
        let in_steps = drawn(&rows(0, &texts), &folds, Some(0));
        assert_eq!(in_steps, "(s0 {g a})::endgroup::[s1 b{h c}{i d}]");
    }
}
