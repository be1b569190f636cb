//! A line of a log as it is shown.

use serde::ser::{Serialize, SerializeTuple, Serializer};

/// A line, a piece of one, or what stands where lines are missing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Row {
    /// The line's number, from 1; of a gap, the line in which it begins.
    pub line: u64,
    /// It goes on with the line before, after a gap in it.
    #[serde(skip_serializing_if = "is_false")]
    pub continues: bool,
    /// Logical offset of its first byte that is there.
    pub offset: u64,
    /// When it was begun (Unix time in microseconds), if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_us: Option<u64>,
    /// Where it came from.
    #[serde(skip_serializing_if = "Stream::is_stdout")]
    pub stream: Stream,
    /// Its text, in pieces that look alike.
    pub runs: Vec<Run>,
    /// Bytes of it that aren't shown.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out_bytes: u64,
    /// Whether it begins or ends a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    /// What is missing, where no line is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
}

/// Text and the classes that it is shown with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Names of classes with spaces between them; empty of plain text.
    pub class: String,
    /// Without control characters.
    pub text: String,
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// Both, or not known.
    Mixed,
}

/// What a line says of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// `::group::` or `##[group]` and a title.
    Start,
    /// `::endgroup::` or `##[endgroup]`.
    End,
}

/// Bytes that once were, and are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Gap {
    /// First missing offset.
    pub from: u64,
    /// First offset after the gap.
    pub to: u64,
    /// Ends of line that are missing, as far as known.
    pub lines: u64,
    /// Why they are gone.
    pub reason: GapReason,
}

/// Why bytes are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GapReason {
    /// The log grew past its size limit.
    Truncated,
    /// A write error or a crash.
    Lost,
}

/// What begins the title of a group, and what ends one.
const GROUPS: [(&str, Group); 4] = [
    ("::group::", Group::Start),
    ("##[group]", Group::Start),
    ("::endgroup::", Group::End),
    ("##[endgroup]", Group::End),
];

/// What a row weighs beside its text in a page, in bytes.
const ROW_BYTES: usize = 160;

/// What a run does.
const RUN_BYTES: usize = 32;

impl Row {
    /// What stands where bytes are missing.
    #[must_use]
    pub fn gap(line: u64, gap: Gap) -> Self {
        Self {
            line,
            continues: false,
            offset: gap.from,
            time_us: None,
            stream: Stream::default(),
            runs: Vec::new(),
            left_out_bytes: 0,
            group: None,
            gap: Some(gap),
        }
    }

    /// Its text without its looks.
    #[must_use]
    pub fn text(&self) -> String {
        self.runs.iter().map(|it| it.text.as_str()).collect()
    }

    /// The title of the group that it begins.
    #[must_use]
    pub fn group_title(&self) -> Option<String> {
        let text = self.text();
        let of_start = GROUPS.iter().filter(|(_, group)| *group == Group::Start);
        let mut title = of_start.filter_map(|(word, _)| text.trim_start().strip_prefix(word));
        let title = title.next()?.trim();
        Some(if title.is_empty() { "Group" } else { title }.to_owned())
    }

    /// Bytes that it takes in a page or an answer, at most and roughly: what bounds a window.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let escaped = |text: &str| {
            let marks = text.bytes().filter(|it| b"<>&\"'\\".contains(it));
            text.len() + 4 * marks.count()
        };
        let runs = self.runs.iter();
        ROW_BYTES + runs.map(|it| RUN_BYTES + escaped(&it.text)).sum::<usize>()
    }
}

/// What a line's text says of a group.
pub(super) fn group(runs: &[Run]) -> Option<Group> {
    // Nobody puts more before it than a few colours.
    let text: String = runs.iter().take(4).map(|it| it.text.as_str()).collect();
    let text = text.trim_start();
    let mut found = GROUPS.iter().filter(|(word, _)| text.starts_with(word));
    found.next().map(|(_, group)| *group)
}

impl Gap {
    /// Bytes that are missing.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

impl Stream {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_stdout(&self) -> bool {
        *self == Self::Stdout
    }
}

/// A plain run is its text, any other a pair: most of a log is plain.
impl Serialize for Run {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.class.is_empty() {
            return to.serialize_str(&self.text);
        }
        let mut pair = to.serialize_tuple(2)?;
        pair.serialize_element(&self.class)?;
        pair.serialize_element(&self.text)?;
        pair.end()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(it: &bool) -> bool {
    !*it
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(it: &u64) -> bool {
    *it == 0
}
