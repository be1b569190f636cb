//! Where plays and tasks begin in Ansible's output.
//!
//! The callback plugin says so in the output itself, between what Ansible printed before
//! and what it prints next: so the place is exact, and nobody waits for anybody. It is an
//! escape sequence (an operating system command, ECMA-48) with the run's own key in it,
//! which [`Folds`] takes out again, so that the output stays what Ansible printed.

use std::io;

use memchr::memmem;

/// Plays and tasks of one run that are told of: more than anybody folds, and a bound on what
/// a run can put into the index of its log.
pub const FOLDS_MAX: usize = 10_000;

/// Bytes behind the key at most: a letter, ten digits, the end.
const SAYS_BYTES_MAX: usize = 12;

/// What ends a sequence.
const BELL: u8 = 0x07;

/// What begins in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// A play; they are counted from 0.
    Play(u32),
    /// A task; they are counted from 0 through all plays.
    Task(u32),
    /// What belongs to no play any more: the summary.
    End,
}

/// A part of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// What Ansible printed.
    Text(&'a [u8]),
    /// Something begins here.
    Begins(Begins),
}

/// Finds in a stream what the plugin put there.
#[derive(Debug)]
pub struct Folds {
    /// What a sequence begins with.
    prefix: Vec<u8>,
    /// What may be the beginning of one.
    held: Vec<u8>,
    /// What begins with the next text.
    pending: Vec<Begins>,
    /// The numbers from which on plays and tasks are new.
    plays: u64,
    tasks: u64,
    /// How many more are taken.
    left: usize,
}

/// What stands where a sequence may begin.
enum Found {
    Whole(Begins, usize),
    Partial,
    No,
}

impl Folds {
    /// For a run that was prepared with this key: one that nobody can guess, in letters and
    /// digits.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self {
            prefix: format!("\u{1b}]danube-fold;{key};").into_bytes(),
            held: Vec::new(),
            pending: Vec::new(),
            plays: 0,
            tasks: 0,
            left: FOLDS_MAX,
        }
    }

    /// Takes the next bytes of the output and passes on its parts.
    ///
    /// # Errors
    /// What `pass` says; the rest is lost then.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        pass: &mut dyn FnMut(Part<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let joined;
        let mut rest = bytes;
        if !self.held.is_empty() {
            self.held.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.held);
            rest = &joined;
        }
        // From here on no sequence was found yet.
        let mut from = 0;
        while let Some(at) = memmem::find(&rest[from..], &self.prefix) {
            let at = from + at;
            match self.read(&rest[at + self.prefix.len()..]) {
                Found::Whole(begins, len) => {
                    self.text(&rest[..at], pass)?;
                    self.begins(begins);
                    rest = &rest[at + self.prefix.len() + len..];
                    from = 0;
                }
                Found::Partial => {
                    self.text(&rest[..at], pass)?;
                    self.held.extend_from_slice(&rest[at..]);
                    return Ok(());
                }
                Found::No => from = at + 1,
            }
        }
        let held = beginning(rest, &self.prefix);
        let (text, may_begin) = rest.split_at(rest.len() - held);
        self.text(text, pass)?;
        self.held.extend_from_slice(may_begin);
        Ok(())
    }

    /// The output has ended.
    ///
    /// # Errors
    /// What `pass` says.
    pub fn end(&mut self, pass: &mut dyn FnMut(Part<'_>) -> io::Result<()>) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        self.text(&held, pass)?;
        self.pending
            .drain(..)
            .try_for_each(|it| pass(Part::Begins(it)))
    }

    /// Text; what begins with it begins behind the empty line that Ansible puts before its
    /// titles.
    fn text(
        &mut self,
        mut text: &[u8],
        pass: &mut dyn FnMut(Part<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        if !self.pending.is_empty() {
            if let Some(behind) = text.strip_prefix(b"\n") {
                pass(Part::Text(b"\n"))?;
                text = behind;
            }
            let mut pending = self.pending.drain(..);
            pending.try_for_each(|it| pass(Part::Begins(it)))?;
        }
        if text.is_empty() {
            return Ok(());
        }
        pass(Part::Text(text))
    }

    /// Notes what begins; what was told before, or comes too often, isn't the plugin's.
    fn begins(&mut self, it: Begins) {
        let (number, next) = match it {
            Begins::Play(number) => (u64::from(number), &mut self.plays),
            Begins::Task(number) => (u64::from(number), &mut self.tasks),
            Begins::End => (0, &mut 0),
        };
        if self.left > 0 && number >= *next {
            *next = number + 1;
            self.left -= 1;
            self.pending.push(it);
        }
    }

    /// What follows the key.
    fn read(&self, says: &[u8]) -> Found {
        let head = &says[..says.len().min(SAYS_BYTES_MAX)];
        let Some(end) = head.iter().position(|it| *it == BELL) else {
            let may_go_on = head.len() < SAYS_BYTES_MAX
                && head
                    .iter()
                    .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
            return if may_go_on { Found::Partial } else { Found::No };
        };
        let text = std::str::from_utf8(&head[..end]).unwrap_or_default();
        let number = |text: &str| text.parse::<u32>().ok();
        let begins = match text.split_at_checked(1) {
            Some(("p", it)) => number(it).map(Begins::Play),
            Some(("t", it)) => number(it).map(Begins::Task),
            Some(("e", "")) => Some(Begins::End),
            _ => None,
        };
        begins.map_or(Found::No, |it| Found::Whole(it, end + 1))
    }
}

/// How many of the last bytes may be the beginning of a sequence.
fn beginning(text: &[u8], prefix: &[u8]) -> usize {
    let longest = text.len().min(prefix.len() - 1);
    let last = &text[text.len() - longest..];
    let starts = memchr::memchr_iter(prefix[0], last);
    let found = starts.map(|at| &last[at..]);
    found
        .filter(|it| prefix.starts_with(it))
        .map(<[u8]>::len)
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "k1";

    fn sequence(says: &str) -> String {
        format!("\u{1b}]danube-fold;{KEY};{says}\u{7}")
    }

    /// The text, and what begins where in it.
    fn fed(pieces: &[&[u8]]) -> (String, Vec<(usize, Begins)>) {
        let mut folds = Folds::new(KEY);
        let (mut text, mut begins) = (Vec::new(), Vec::new());
        let mut pass = |part: Part<'_>| {
            match part {
                Part::Text(it) => text.extend_from_slice(it),
                Part::Begins(it) => begins.push((text.len(), it)),
            }
            Ok(())
        };
        for piece in pieces {
            folds.feed(piece, &mut pass).unwrap();
        }
        folds.end(&mut pass).unwrap();
        (String::from_utf8(text).unwrap(), begins)
    }

    #[test]
    fn what_begins_is_found_wherever_the_output_is_cut_and_stands_before_its_title() {
        let output = [
            &sequence("p0"),
            "\nPLAY [a]\n",
            &sequence("t0"),
            "\nTASK [\u{1b}[1mb\u{1b}[0m]\nok\n",
            // Nothing was printed of this one.
            &sequence("t1"),
            &sequence("t2"),
            "\n\u{1b}[0mTASK [c]\n",
            &sequence("e"),
            "PLAY RECAP",
            &sequence("t3"),
        ];
        let output = output.concat();
        let text = "\nPLAY [a]\n\nTASK [\u{1b}[1mb\u{1b}[0m]\nok\n\n\u{1b}[0mTASK [c]\nPLAY RECAP";
        let at = |it: &str| text.find(it).unwrap();
        let third = at("\u{1b}[0mTASK [c]");
        let expected = vec![
            (at("PLAY [a]"), Begins::Play(0)),
            (at("TASK [\u{1b}"), Begins::Task(0)),
            (third, Begins::Task(1)),
            (third, Begins::Task(2)),
            (at("PLAY RECAP"), Begins::End),
            (text.len(), Begins::Task(3)),
        ];
        let bytes = output.as_bytes();
        for first in 0..bytes.len() {
            for second in [first, first + 1, first + 9] {
                let second = second.min(bytes.len());
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(fed(&pieces), (text.to_owned(), expected.clone()), "{first}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_it_stays_in_the_output() {
        for text in [
            "\u{1b}]danube-fold;other;t1\u{7}",
            "\u{1b}]danube-fold;k1;x1\u{7}",
            "\u{1b}]danube-fold;k1;t\u{7}",
            "\u{1b}]danube-fold;k1;t99999999999\u{7}",
            "\u{1b}]danube-fold;k1;t4294967296\u{7}",
            "\u{1b}]danube-fold;k1;t1",
            "\u{1b}]danube-fold;k1;e1\u{7}",
            "\u{1b}]danube-fold",
            "\u{1b}",
        ] {
            assert_eq!(fed(&[text.as_bytes()]), (text.to_owned(), vec![]));
        }
    }

    #[test]
    fn numbers_only_rise_and_there_is_an_end_to_them() {
        let told = [
            sequence("t5"),
            sequence("t5"),
            sequence("t4"),
            sequence("t6"),
        ]
        .concat();
        let (text, begins) = fed(&[told.as_bytes()]);
        assert_eq!(begins, [(0, Begins::Task(5)), (0, Begins::Task(6))]);
        assert_eq!(text, "");
        let many: String = (0..FOLDS_MAX + 3)
            .map(|it| sequence(&format!("t{it}")))
            .collect();
        assert_eq!(fed(&[many.as_bytes()]).1.len(), FOLDS_MAX);
    }
}
