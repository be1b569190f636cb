//! Draws a profile as a flame graph: one SVG without scripts and styles, which our own pages' rules
//! let through as it is. The root is below; a frame is as wide as what it stands for; its title says
//! it in full.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::symbols::Places;
use super::{Kind, Profile, fold};

/// Width of the picture.
const WIDTH: f64 = 1200.0;

/// Room at its left and right.
const MARGIN: f64 = 10.0;

/// Height of a frame.
const ROW: f64 = 17.0;

/// Height of the head, with its two lines.
const HEAD: f64 = 46.0;

/// A frame that is narrower isn't drawn, nor what stands on it: nobody could hit it.
const FRAME_WIDTH_MIN: f64 = 0.4;

/// Width of a character, so that texts end inside of their frames.
const CHARACTER: f64 = 6.6;

/// Frames that are drawn at most: some four megabytes.
const FRAMES_MAX: usize = 20_000;

#[derive(Default)]
struct Node<'a> {
    value: i64,
    above: BTreeMap<&'a str, Node<'a>>,
}

impl<'a> Node<'a> {
    fn add(&mut self, names: &[&'a str], value: i64) {
        self.value += value;
        if let Some((first, rest)) = names.split_first() {
            self.above.entry(first).or_default().add(rest, value);
        }
    }

    /// Rows that are drawn of it, itself included.
    fn height(&self, total: i64) -> usize {
        let above = self
            .above
            .values()
            .filter(|it| width(it.value, total) >= FRAME_WIDTH_MIN);
        1 + above.map(|it| it.height(total)).max().unwrap_or(0)
    }
}

struct Picture {
    kind: Kind,
    total: i64,
    /// Of the lowest row.
    base: f64,
    frames: usize,
    body: String,
}

pub(super) fn draw(profile: &Profile, places: &Places) -> String {
    let mut root = Node::default();
    for sample in &profile.samples {
        let names = fold::names(sample, places);
        root.add(&names, fold::value(profile.kind, sample));
    }
    let total = root.value.max(1);
    let rows = f64::from(u32::try_from(root.height(total)).unwrap_or(u32::MAX));
    let height = HEAD + rows * ROW + MARGIN;
    let mut picture = Picture {
        kind: profile.kind,
        total,
        base: height - MARGIN - ROW,
        frames: 0,
        body: String::new(),
    };
    picture.frame("all", &root, MARGIN, 0);
    let (title, subtitle) = head(profile, root.value);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"monospace\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fffdf7\"/>\n\
         <text x=\"{MARGIN}\" y=\"20\" font-size=\"15\">{}</text>\n\
         <text x=\"{MARGIN}\" y=\"37\" fill=\"#555555\">{}</text>\n{}</svg>\n",
        escape(&title),
        escape(&subtitle),
        picture.body
    )
}

fn head(profile: &Profile, total: i64) -> (String, String) {
    let took = profile.took.as_secs_f64();
    let lost = match profile.lost {
        0 => String::new(),
        lost => format!(", {lost} samples were lost"),
    };
    match profile.kind {
        Kind::Cpu => (
            format!("Processor time of danube over {took:.1} s"),
            format!(
                "{total} samples, one for each {:.1} ms of processor time{lost}; the width of a frame is its share",
                nanos_as_millis(profile.period)
            ),
        ),
        Kind::Heap => (
            format!("Memory that danube allocated over {took:.1} s and still holds"),
            format!(
                "{} by estimate, from one sample each {}; the width of a frame is its share",
                bytes(total),
                bytes(profile.period)
            ),
        ),
    }
}

impl Picture {
    fn frame(&mut self, name: &str, node: &Node<'_>, x: f64, row: u32) {
        let width = width(node.value, self.total);
        if self.frames >= FRAMES_MAX || (width < FRAME_WIDTH_MIN && row > 0) {
            return;
        }
        self.frames += 1;
        let y = self.base - f64::from(row) * ROW;
        let share = share(node.value, self.total) * 100.0;
        let amount = match self.kind {
            Kind::Cpu => format!("{} samples", node.value),
            Kind::Heap => bytes(node.value),
        };
        let _ = write!(
            self.body,
            "<g><title>{} ({amount}, {share:.1} %)</title>\
             <rect x=\"{x:.2}\" y=\"{y}\" width=\"{width:.2}\" height=\"{}\" rx=\"2\" fill=\"{}\"/>",
            escape(name),
            ROW - 1.0,
            colour(name, row),
        );
        let text = fitting(name, width);
        if !text.is_empty() {
            let _ = write!(
                self.body,
                "<text x=\"{:.2}\" y=\"{}\">{}</text>",
                x + 3.0,
                y + 12.0,
                escape(&text)
            );
        }
        self.body.push_str("</g>\n");
        let mut x = x;
        for (name, above) in &node.above {
            self.frame(name, above, x, row + 1);
            x += self::width(above.value, self.total);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn share(value: i64, total: i64) -> f64 {
    value as f64 / total as f64
}

fn width(value: i64, total: i64) -> f64 {
    share(value, total) * (WIDTH - 2.0 * MARGIN)
}

#[expect(clippy::cast_precision_loss, reason = "a time for people")]
fn nanos_as_millis(nanos: i64) -> f64 {
    nanos as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn bytes(bytes: i64) -> String {
    let size = bytes as f64;
    match bytes {
        ..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{:.1} KiB", size / 1024.0),
        _ => format!("{:.1} MiB", size / 1024.0 / 1024.0),
    }
}

/// What fits into a frame of a name: its last parts, which say most.
fn fitting(name: &str, width: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few hundred characters"
    )]
    let room = ((width - 6.0) / CHARACTER).max(0.0) as usize;
    if room < 3 {
        return String::new();
    }
    let short = shortened(name);
    let all = if name.chars().count() <= room {
        name
    } else {
        &short
    };
    if all.chars().count() <= room {
        return all.to_owned();
    }
    let cut: String = all.chars().take(room - 1).collect();
    format!("{cut}…")
}

/// A name without what stands in angle brackets, and its last two parts of the rest.
fn shortened(name: &str) -> String {
    let (mut plain, mut depth) = (String::new(), 0_u32);
    for character in name.chars() {
        match character {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            _ if depth == 0 => plain.push(character),
            _ => {}
        }
    }
    let parts: Vec<&str> = plain.split("::").filter(|it| !it.is_empty()).collect();
    if parts.is_empty() {
        return name.to_owned();
    }
    parts[parts.len().saturating_sub(2)..].join("::")
}

/// The root and the threads, ours, what is written in C (the database, mostly), what runs tasks, and the rest.
fn colour(name: &str, row: u32) -> &'static str {
    let is_c = !name.contains("::") && !name.starts_with('[');
    if row < 2 {
        "#d9d9d9"
    } else if name.contains("danube_") {
        "#8fd19e"
    } else if is_c || name.contains("rusqlite") {
        "#9ec5fe"
    } else if name.contains("tokio::") || name.contains("hyper::") || name.contains("axum::") {
        "#ffd58a"
    } else {
        "#f7b98b"
    }
}

/// A text as XML holds it; signs that XML can't hold are left out.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ if character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}') => {}
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::Sample;
    use super::super::symbols::Place;
    use super::*;

    fn drawn(names: &[&str], kind: Kind) -> String {
        let mut places = Places::default();
        for (at, name) in names.iter().enumerate() {
            let place = Place {
                function: (*name).to_owned(),
                image: None,
                address: 0,
            };
            places.at.insert(at, place);
        }
        let profile = Profile {
            kind,
            period: 10_000_000,
            began_at: SystemTime::UNIX_EPOCH,
            took: Duration::from_secs(2),
            taken: 0,
            lost: 0,
            samples: vec![Sample {
                thread: Some("http".to_owned()),
                frames: (0..names.len()).collect(),
                values: [3, 30_000_000],
            }],
        };
        draw(&profile, &places)
    }

    #[test]
    fn a_name_can_not_leave_its_place() {
        let svg = drawn(
            &[
                "</title><script>alert(1)</script>",
                "a\u{0}\"&b",
                "<T as Trait>::of",
            ],
            Kind::Cpu,
        );
        assert!(!svg.contains("<script"), "{svg}");
        assert!(svg.contains("a&quot;&amp;b"), "{svg}");
        assert!(
            svg.contains("&lt;T as Trait&gt;::of (3 samples, 100.0 %)"),
            "{svg}"
        );
        assert_eq!(
            svg.matches("<g>").count(),
            5,
            "the root, the thread and three: {svg}"
        );
    }

    #[test]
    fn nothing_is_a_picture_too() {
        let empty = Profile {
            kind: Kind::Heap,
            period: 524_288,
            began_at: SystemTime::UNIX_EPOCH,
            took: Duration::ZERO,
            taken: 0,
            lost: 0,
            samples: Vec::new(),
        };
        let svg = draw(&empty, &Places::default());
        assert!(
            svg.starts_with("<?xml") && svg.contains("0 B by estimate"),
            "{svg}"
        );
    }

    #[test]
    fn a_narrow_frame_shows_the_end_of_a_name() {
        assert_eq!(
            fitting("danube_store::writer::batch::run", 400.0),
            "danube_store::writer::batch::run"
        );
        assert_eq!(
            fitting("danube_store::writer::batch::run", 100.0),
            "batch::run"
        );
        assert_eq!(fitting("danube_store::writer::batch::run", 50.0), "batch…");
        assert_eq!(fitting("danube_store::writer::batch::run", 20.0), "");
        assert_eq!(
            shortened("<alloc::Box<F> as core::FnOnce<A>>::call_once"),
            "call_once"
        );
        assert_eq!(shortened("<a>"), "<a>");
        assert_eq!(bytes(3 * 1024 * 1024 / 2), "1.5 MiB");
    }
}
