//! What is heeded in Ansible's output beside its way into the log.

use std::io;
use std::time::Instant;

use danube_ansible::{Begins, Folds, LAST_WORDS_BYTES, Part};
use danube_executor::{Output, Stream};
use danube_joblog::Mark;

use crate::output::LogOutput;

/// Random bytes of a key: nobody guesses it within a run.
const KEY_BYTES: usize = 16;

/// What the output of one run said.
pub(super) struct Said {
    /// The end of stderr.
    last_words: Vec<u8>,
    folds: Folds,
}

impl Said {
    /// Of a run that was prepared with this key.
    pub(super) fn new(key: &str) -> Self {
        Self {
            last_words: Vec::new(),
            folds: Folds::new(key),
        }
    }

    /// The end of what was written to stderr.
    pub(super) fn last_words(self) -> Vec<u8> {
        self.last_words
    }
}

/// A new key for [`Folds`].
pub(super) fn fold_key() -> String {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).expect("Linux gives random bytes to every process since 3.17");
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

/// Ansible's output on its way to the log.
pub(super) struct Heeds<'a> {
    pub(super) output: &'a mut LogOutput,
    pub(super) said: &'a mut Said,
}

impl Heeds<'_> {
    /// Nothing more comes.
    pub(super) fn end(self) {
        let output = self.output;
        // What the log doesn't take shows elsewhere.
        let _ = self.said.folds.end(&mut |part| take(output, part));
    }
}

impl Output for Heeds<'_> {
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        match stream {
            Stream::Stdout => {
                let output = &mut *self.output;
                let mut pass = |part: Part<'_>| take(output, part);
                self.said.folds.feed(bytes, &mut pass)
            }
            Stream::Stderr => {
                let words = &mut self.said.last_words;
                let from = bytes.len().saturating_sub(LAST_WORDS_BYTES);
                words.extend_from_slice(&bytes[from..]);
                let more = words.len().saturating_sub(LAST_WORDS_BYTES);
                words.drain(..more);
                self.output.write(stream, bytes)
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.output.deadline()
    }

    fn tick(&mut self) -> io::Result<()> {
        self.output.tick()
    }
}

fn take(output: &mut LogOutput, part: Part<'_>) -> io::Result<()> {
    match part {
        Part::Text(text) => output.write(Stream::Stdout, text),
        Part::Begins(it) => {
            output.fold(match it {
                Begins::Play(number) => Mark::Play(number),
                Begins::Task(number) => Mark::Task(number),
                Begins::End => Mark::PlaysEnd,
            });
            Ok(())
        }
    }
}
