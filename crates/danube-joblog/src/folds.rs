//! What the marks in an index say of the plays and tasks of a playbook.

use std::io;

use crate::format::Record;
use crate::reader::LogReader;
use crate::types::{Fold, FoldKind, LogError, Mark};

/// A mark and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkAt {
    /// Its logical offset.
    pub at: u64,
    /// What it says.
    pub mark: Mark,
    /// Give it to [`LogReader::marks`] to go on behind this mark.
    pub next: u64,
}

/// Some of a log's marks, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The marks.
    pub marks: Vec<MarkAt>,
    /// Give it to [`LogReader::marks`] to go on behind all that was looked at.
    pub next: u64,
}

impl LogReader {
    /// At most `max` marks, from the place in the index on that an earlier call gave; 0 is
    /// its beginning.
    ///
    /// # Errors
    /// What the system says.
    pub fn marks(&mut self, from: u64, max: usize) -> Result<Marks, LogError> {
        let mut found = Marks {
            marks: Vec::new(),
            next: from,
        };
        while found.marks.len() < max && found.next < self.index.len() {
            let record = self.index.record(found.next);
            let record = record.map_err(LogError::io("read job log index"))?;
            found.next += 1;
            if let Some(Record::Mark { mark, at, .. }) = record {
                found.marks.push(MarkAt {
                    at,
                    mark,
                    next: found.next,
                });
            }
        }
        Ok(found)
    }

    /// What each play and task wrote, in the order in which they began; at most `max` of
    /// them. Looks at the whole index.
    ///
    /// # Errors
    /// What the system says.
    pub fn folds(&mut self, max: usize) -> Result<Vec<Fold>, LogError> {
        self.refresh()?;
        let mut folding = Folding::default();
        for number in 0..self.index.len() {
            let record: io::Result<_> = self.index.record(number);
            let record = record.map_err(LogError::io("read job log index"))?;
            if let Some(Record::Mark { mark, at, .. }) = record {
                folding.mark(mark, at, max);
            }
        }
        Ok(folding.folds)
    }
}

/// Folds as far as the marks before tell.
#[derive(Default)]
struct Folding {
    folds: Vec<Fold>,
    attempt: u32,
    /// Where in `folds` those are that go on.
    play: Option<usize>,
    task: Option<usize>,
}

impl Folding {
    fn mark(&mut self, mark: Mark, at: u64, max: usize) {
        match mark {
            Mark::Attempt(attempt) => {
                self.end_all(at);
                self.attempt = attempt;
            }
            Mark::Play(number) => {
                self.end_all(at);
                self.play = self.begin(FoldKind::Play, (number, at), max);
            }
            Mark::Task(number) => {
                let task = self.task.take();
                self.end(task, at);
                self.task = self.begin(FoldKind::Task, (number, at), max);
            }
            Mark::PlaysEnd | Mark::StepEnd(_) => self.end_all(at),
            Mark::StepStart(_) | Mark::StepSpan(_) => {}
        }
    }

    fn begin(&mut self, kind: FoldKind, (number, start): (u32, u64), max: usize) -> Option<usize> {
        if self.folds.len() >= max {
            return None;
        }
        self.folds.push(Fold {
            kind,
            number,
            attempt: self.attempt,
            start,
            end: None,
        });
        Some(self.folds.len() - 1)
    }

    fn end_all(&mut self, at: u64) {
        let (play, task) = (self.play.take(), self.task.take());
        self.end(task, at);
        self.end(play, at);
    }

    fn end(&mut self, fold: Option<usize>, at: u64) {
        if let Some(fold) = fold {
            self.folds[fold].end = Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_ends_with_the_next_and_a_play_with_all_its_tasks() {
        let mut folding = Folding::default();
        for (mark, at) in [
            (Mark::Attempt(1), 0),
            (Mark::Play(0), 1),
            (Mark::Task(0), 2),
            (Mark::Task(1), 3),
            // The worker was lost.
            (Mark::Attempt(2), 4),
            (Mark::Play(0), 5),
            (Mark::Task(0), 6),
            (Mark::Play(1), 7),
            (Mark::Task(1), 8),
            (Mark::PlaysEnd, 9),
            (Mark::StepEnd(2), 10),
        ] {
            folding.mark(mark, at, 7);
        }
        let seen = |it: &Fold| (it.kind, it.number, it.attempt, it.start, it.end);
        let (play, task) = (FoldKind::Play, FoldKind::Task);
        let expected = [
            (play, 0, 1, 1, Some(4)),
            (task, 0, 1, 2, Some(3)),
            (task, 1, 1, 3, Some(4)),
            (play, 0, 2, 5, Some(7)),
            (task, 0, 2, 6, Some(7)),
            (play, 1, 2, 7, Some(9)),
            (task, 1, 2, 8, Some(9)),
        ];
        let folds: Vec<_> = folding.folds.iter().map(seen).collect();
        assert_eq!(folds, expected);
    }
}
