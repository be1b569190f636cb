//! Makes up the log of a CI server: sections of several tools, the same bytes
//! for the same size on every machine.

use std::io::Write as _;

use memchr::{memchr, memchr_iter, memmem};

use crate::shapes::{self, Pattern, SHAPES, Shape};
use crate::values::{self, PLANTED, Shown};
use danube_bench::rng::Rng;

/// Which log is made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One line in a thousand holds a secret.
    Sparse,
    /// Five in a hundred do.
    Dense,
    /// As dense, and registered values have escape codes inside.
    EscapeInside,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sparse => "sparse",
            Self::Dense => "dense",
            Self::EscapeInside => "ESC inside values",
        }
    }

    /// Lines with a secret, of ten thousand.
    fn secrets(self) -> usize {
        match self {
            Self::Sparse => 10,
            Self::Dense | Self::EscapeInside => 500,
        }
    }

    fn seed(self) -> u64 {
        match self {
            Self::Sparse => 1,
            Self::Dense => 2,
            Self::EscapeInside => 3,
        }
    }
}

/// What kind of secret was planted, and so who can be expected to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A registered value as it is.
    Raw,
    /// A form of a registered value.
    Encoded,
    /// What only a rule finds.
    Pattern,
}

/// One planted secret.
pub(crate) struct Planted {
    pub(crate) class: Class,
    pub(crate) needle: Vec<u8>,
}

/// A log, and what is hidden in its first part.
pub(crate) struct Corpus {
    pub(crate) kind: Kind,
    pub(crate) bytes: Vec<u8>,
    /// In the first [`CHECKED_BYTES`].
    pub(crate) planted: Vec<Planted>,
    /// Where the checked part ends: at the end of a line.
    pub(crate) checked: usize,
    stats: Stats,
}

/// As much of each contender's output is searched for planted secrets.
const CHECKED_BYTES: usize = 1 << 20;

/// What the lines of a log are like.
#[derive(Default)]
struct Stats {
    lines: usize,
    stamped: usize,
    escapes: usize,
    progress: usize,
    at: usize,
    bait: usize,
    secret: usize,
}

/// Of ten thousand lines.
const PROGRESS: usize = 300;
const AT: usize = 900;
const BAIT: usize = 150;

/// Of ten thousand sections.
const STAMPED: usize = 6_000;
/// Of those by tools that know colours, so that 40 % of all lines have some.
const COLOURED: usize = 7_000;

/// Makes a log of so many bytes, to the end of a line.
pub(crate) fn make(kind: Kind, bytes: usize) -> Corpus {
    let mut it = Maker {
        rng: Rng::new(kind.seed()),
        kind,
        values: values::values(),
        out: Vec::with_capacity(bytes + 4096),
        planted: Vec::new(),
        checked: 0,
        stats: Stats::default(),
        coloured: false,
        clock_us: 0,
    };
    while it.out.len() < bytes {
        it.section(bytes);
    }
    Corpus {
        kind,
        bytes: it.out,
        planted: it.planted,
        checked: it.checked,
        stats: it.stats,
    }
}

struct Maker {
    rng: Rng,
    kind: Kind,
    values: Vec<Vec<u8>>,
    out: Vec<u8>,
    planted: Vec<Planted>,
    checked: usize,
    stats: Stats,
    /// The section has colours.
    coloured: bool,
    clock_us: u64,
}

impl Maker {
    fn section(&mut self, end: usize) {
        let shape = &SHAPES[self.rng.below(SHAPES.len())];
        let stamped = self.rng.chance(STAMPED);
        self.coloured = shape.colours && self.rng.chance(COLOURED);
        for _ in 0..self.rng.between(20, 300) {
            if self.out.len() >= end {
                return;
            }
            let start = self.out.len();
            if stamped {
                self.stamp();
                self.stats.stamped += 1;
            }
            self.line(shape);
            self.out.push(b'\n');
            self.stats.lines += 1;
            self.stats.escapes += usize::from(memchr(0x1b, &self.out[start..]).is_some());
            self.stats.at += usize::from(memchr(b'@', &self.out[start..]).is_some());
            if self.out.len() <= CHECKED_BYTES {
                self.checked = self.out.len();
            }
        }
    }

    /// `2026-03-14T10:22:33.123456Z `, some milliseconds after the last one.
    fn stamp(&mut self) {
        self.clock_us += self.rng.next() % 20_000;
        let seconds = self.clock_us / 1_000_000;
        write!(
            self.out,
            "2026-03-{:02}T{:02}:{:02}:{:02}.{:06}Z ",
            1 + seconds / 86_400 % 28,
            seconds / 3_600 % 24,
            seconds / 60 % 60,
            seconds % 60,
            self.clock_us % 1_000_000,
        )
        .expect("memory takes all");
    }

    fn line(&mut self, shape: &Shape) {
        if self.rng.chance(self.kind.secrets()) {
            self.stats.secret += 1;
            return self.secret();
        }
        let template = match self.rng.below(10_000) {
            it if it < PROGRESS => {
                self.stats.progress += 1;
                self.rng.pick(shapes::PROGRESS)
            }
            it if it < PROGRESS + AT => self.rng.pick(shapes::AT),
            it if it < PROGRESS + AT + BAIT => {
                self.stats.bait += 1;
                self.rng.pick(shapes::BAIT)
            }
            _ => self.rng.pick(shape.lines),
        };
        self.fill(template, b"");
    }

    fn secret(&mut self) {
        let (class, template, shown) = if self.rng.chance(5_000) {
            let value = &self.values[self.rng.below(PLANTED)];
            let shown = match self.kind {
                Kind::EscapeInside => values::coloured(value, &mut self.rng),
                Kind::Sparse | Kind::Dense => values::shown(value, &mut self.rng),
            };
            let class = if shown.encoded {
                Class::Encoded
            } else {
                Class::Raw
            };
            (class, self.rng.pick(shapes::VALUE), shown)
        } else {
            let (template, pattern) = shapes::PATTERN[self.rng.below(shapes::PATTERN.len())];
            (Class::Pattern, template, self.pattern(pattern))
        };
        self.fill(template, &shown.text);
        // Only what lies wholly in the checked part is looked for.
        if self.out.len() < CHECKED_BYTES {
            let needle = shown.needle;
            self.planted.push(Planted { class, needle });
        }
    }

    fn pattern(&mut self, pattern: Pattern) -> Shown {
        let rng = &mut self.rng;
        let upper = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let (prefix, alphabet, len) = match pattern {
            Pattern::Word => ("", values::word(), rng.between(8, 24)),
            Pattern::Opaque => ("", values::word(), rng.between(24, 48)),
            Pattern::Jwt => ("", values::word(), 0),
            Pattern::Github => ("ghp_", values::word(), 36),
            Pattern::Aws => ("AKIA", &upper[..], 16),
            Pattern::Gitlab => ("glpat-", values::word(), 20),
            Pattern::Npm => ("npm_", values::word(), 36),
            Pattern::Stripe => ("sk_live_", values::word(), 24),
        };
        let text = if matches!(pattern, Pattern::Jwt) {
            let (payload, sign) = (rng.text(alphabet, 60), rng.text(alphabet, 43));
            [&b"eyJhbGciOiJIUzI1NiJ9.eyJ"[..], &payload, b".", &sign].concat()
        } else {
            [prefix.as_bytes(), &rng.text(alphabet, len)].concat()
        };
        Shown {
            needle: text.clone(),
            text,
            encoded: false,
        }
    }

    /// Fills a template's places.
    fn fill(&mut self, template: &str, secret: &[u8]) {
        let bytes = template.as_bytes();
        let mut at = 0;
        while let Some(plain) = memchr(b'%', &bytes[at..]) {
            self.out.extend_from_slice(&bytes[at..at + plain]);
            let place = bytes[at + plain + 1];
            at += plain + 2;
            match place {
                b'S' => self.out.extend_from_slice(secret),
                b'g' | b'r' | b'y' | b'c' | b'b' | b'0' => self.colour(place),
                _ => self.place(place),
            }
        }
        self.out.extend_from_slice(&bytes[at..]);
    }

    fn colour(&mut self, place: u8) {
        if !self.coloured {
            return;
        }
        let code: &[u8] = match place {
            b'g' => b"\x1b[32m",
            b'r' => b"\x1b[1;31m",
            b'y' => b"\x1b[33m",
            b'c' => b"\x1b[36m",
            b'b' => b"\x1b[1m",
            _ => b"\x1b[0m",
        };
        self.out.extend_from_slice(code);
    }

    fn place(&mut self, place: u8) {
        let rng = &mut self.rng;
        let out = &mut self.out;
        let number = rng.next();
        let put = match place {
            b'w' => out.write_all(rng.pick(shapes::NAMES).as_bytes()),
            b'W' => {
                for n in 0..rng.between(2, 5) {
                    out.extend_from_slice(if n > 0 { b" " } else { b"" });
                    out.extend_from_slice(rng.pick(shapes::WORDS).as_bytes());
                }
                Ok(())
            }
            b'p' => {
                for _ in 0..rng.between(2, 4) {
                    out.extend_from_slice(rng.pick(shapes::FOLDERS).as_bytes());
                    out.push(b'/');
                }
                out.write_all(rng.pick(shapes::NAMES).as_bytes())
            }
            b'u' => {
                let (host, path) = (rng.pick(shapes::NAMES), rng.pick(shapes::NAMES));
                write!(out, "{host}.example/{path}/-/{path}")
            }
            b'v' => write!(
                out,
                "{}.{}.{}",
                number % 7,
                number / 7 % 30,
                number / 210 % 20
            ),
            b'n' => write!(
                out,
                "{}",
                number % 10_u64.pow(1 + (number >> 60) as u32 % 4)
            ),
            b't' => write!(out, "{}.{:02}s", number % 60, number / 60 % 100),
            b'i' => write!(
                out,
                "10.{}.{}.{}",
                number & 7,
                number >> 8 & 255,
                number >> 16 & 255
            ),
            b'x' => write!(out, "{:012x}", number >> 16),
            b'h' => write!(
                out,
                "{number:016x}{:016x}{:08x}",
                rng.next(),
                rng.next() >> 32
            ),
            b'H' => {
                let more = [rng.next(), rng.next(), rng.next()];
                write!(
                    out,
                    "{number:016x}{:016x}{:016x}{:016x}",
                    more[0], more[1], more[2]
                )
            }
            _ => out.write_all(b"%"),
        };
        put.expect("memory takes all");
    }
}

impl Corpus {
    /// Says what it is like.
    pub(crate) fn describe(&self) {
        let it = &self.stats;
        let escapes: usize = escape_bytes(&self.bytes);
        let blocks = |size: usize| {
            let with = self
                .bytes
                .chunks(size)
                .filter(|it| memchr(0x1b, it).is_some());
            share(with.count(), self.bytes.len().div_ceil(size))
        };
        println!(
            "\n{}: {} MiB, {} lines of {:.0} bytes; of the lines {} have a time, {} escape codes, {} a \\r inside, {} an @, {} bait, {} a secret, {} ://",
            self.kind.name(),
            self.bytes.len() >> 20,
            it.lines,
            float(self.bytes.len()) / float(it.lines),
            share(it.stamped, it.lines),
            share(it.escapes, it.lines),
            share(it.progress, it.lines),
            share(it.at, it.lines),
            share(it.bait, it.lines),
            share(it.secret, it.lines),
            share(memmem::find_iter(&self.bytes, "://").count(), it.lines),
        );
        println!(
            "  escape codes are {} of the bytes; {} of the 64 KiB, {} of the 4 KiB and {} of the 200 B blocks hold one; {} line ends",
            share(escapes, self.bytes.len()),
            blocks(64 << 10),
            blocks(4 << 10),
            blocks(200),
            memchr_iter(b'\n', &self.bytes).count(),
        );
    }
}

/// Bytes of all escape codes. Those of the made-up logs end with a letter.
fn escape_bytes(bytes: &[u8]) -> usize {
    let len = |at: usize| {
        let code = bytes[at..]
            .iter()
            .take_while(|it| !it.is_ascii_alphabetic());
        code.count() + 1
    };
    memchr_iter(0x1b, bytes).map(len).sum()
}

#[expect(clippy::cast_precision_loss, reason = "shares need no more")]
pub(crate) fn float(it: usize) -> f64 {
    it as f64
}

fn share(part: usize, whole: usize) -> String {
    format!("{:.1} %", 100.0 * float(part) / float(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FNV-1a.
    fn sum(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, b| {
            (sum ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    #[test]
    fn the_logs_have_the_same_bytes_on_every_machine() {
        let sums = [Kind::Sparse, Kind::Dense, Kind::EscapeInside]
            .map(|kind| sum(&make(kind, 1 << 20).bytes));
        let expected = [
            18_172_664_606_253_813_256,
            9_499_592_627_603_134_002,
            6_205_850_739_407_339_408,
        ];
        // Changed on purpose? Then figures from before compare no more.
        assert_eq!(sums, expected);
    }

    #[test]
    fn the_logs_are_as_their_description_says() {
        let it = make(Kind::Dense, 8 << 20).stats;
        let percent = |part: usize| part * 100 / it.lines;
        assert!((50..70).contains(&percent(it.stamped)));
        assert!((35..45).contains(&percent(it.escapes)));
        assert!((2..4).contains(&percent(it.progress)));
        assert!((8..12).contains(&percent(it.at)));
        assert!((4..6).contains(&percent(it.secret)));
        assert!((80..120).contains(&((8 << 20) / it.lines)));
    }
}
