//! Named queues: which job goes first, and how many of one kind run at once.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use crate::limits::{NAME_BYTES_MAX, QUEUES_MAX};

/// The queue of jobs that name none.
pub const QUEUE_DEFAULT: &str = "default";

/// Priorities go from minus this to this.
pub const QUEUE_PRIORITY_MAX: i32 = 1_000;

/// Jobs of one queue that may be allowed at once: more than any set of workers runs.
pub const QUEUE_JOBS_MAX: u32 = 1_000_000;

/// A queue, as an operator declares it: `deploy`, `deploy:priority=10`,
/// `deploy:jobs_at_once=2:priority=10`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Jobs of a higher one are handed out first; 0 when nothing is said.
    pub priority: i32,
    /// How many of its jobs run at once on all workers together; none for no limit.
    pub jobs_at_once: Option<u32>,
}

/// Why a text declares no queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadQueue {
    /// The name can't be one.
    #[error(
        "a queue's name has letters, digits, `-`, `_` and `.`, begins with a letter or digit, and has {NAME_BYTES_MAX} bytes at most"
    )]
    Name,
    /// What stands behind the name isn't known, or is there twice.
    #[error("behind a queue's name, `:priority=N` and `:jobs_at_once=N` may stand, each once")]
    Part,
    /// No such priority.
    #[error(
        "a queue's priority is a whole number from -{QUEUE_PRIORITY_MAX} to {QUEUE_PRIORITY_MAX}"
    )]
    Priority,
    /// No such number of jobs.
    #[error("a queue's jobs_at_once is a whole number from 1 to {QUEUE_JOBS_MAX}")]
    Jobs,
}

impl Queue {
    /// One of which nothing is said but its name.
    fn plain(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            priority: 0,
            jobs_at_once: None,
        }
    }
}

/// Whether a queue may be called so: a part of keys, labels and lists.
#[must_use]
pub fn is_queue_name(text: &str) -> bool {
    let allowed = |it: u8| it.is_ascii_alphanumeric() || b"-_.".contains(&it);
    text.len() <= NAME_BYTES_MAX
        && text.bytes().all(allowed)
        && text
            .as_bytes()
            .first()
            .is_some_and(u8::is_ascii_alphanumeric)
}

impl FromStr for Queue {
    type Err = BadQueue;

    fn from_str(text: &str) -> Result<Self, BadQueue> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        if !is_queue_name(name) {
            return Err(BadQueue::Name);
        }
        let (mut priority, mut jobs_at_once) = (None, None);
        for part in parts {
            match part.split_once('=') {
                Some(("priority", number)) if priority.is_none() => {
                    let number = number.parse().ok();
                    let range = -QUEUE_PRIORITY_MAX..=QUEUE_PRIORITY_MAX;
                    let number = number.filter(|it| range.contains(it));
                    priority = Some(number.ok_or(BadQueue::Priority)?);
                }
                Some(("jobs_at_once", number)) if jobs_at_once.is_none() => {
                    let number = number.parse().ok();
                    let number = number.filter(|it| (1..=QUEUE_JOBS_MAX).contains(it));
                    jobs_at_once = Some(number.ok_or(BadQueue::Jobs)?);
                }
                _ => return Err(BadQueue::Part),
            }
        }
        Ok(Self {
            name: name.to_owned(),
            priority: priority.unwrap_or(0),
            jobs_at_once,
        })
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.priority != 0 {
            write!(f, ":priority={}", self.priority)?;
        }
        match self.jobs_at_once {
            Some(jobs) => write!(f, ":jobs_at_once={jobs}"),
            None => Ok(()),
        }
    }
}

/// All queues of a server: those that are declared, and always [`QUEUE_DEFAULT`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queues {
    /// The highest priority first, by name where it is the same.
    all: Vec<Queue>,
    by_name: HashMap<String, usize>,
}

impl Default for Queues {
    fn default() -> Self {
        Self::new(Vec::new()).expect("no two of none have one name")
    }
}

/// Why a list of queues is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadQueues {
    /// A name stands there twice.
    #[error("the queue `{0}` is declared twice")]
    Twice(String),
    /// There are too many.
    #[error("at most {QUEUES_MAX} queues can be declared")]
    TooMany,
}

impl Queues {
    /// The queues that are declared.
    ///
    /// # Errors
    /// [`BadQueues`]
    pub fn new(mut declared: Vec<Queue>) -> Result<Self, BadQueues> {
        if declared.len() > QUEUES_MAX {
            return Err(BadQueues::TooMany);
        }
        if !declared.iter().any(|it| it.name == QUEUE_DEFAULT) {
            declared.push(Queue::plain(QUEUE_DEFAULT));
        }
        declared.sort_by(|a, b| b.priority.cmp(&a.priority).then(a.name.cmp(&b.name)));
        let mut by_name = HashMap::new();
        for (place, queue) in declared.iter().enumerate() {
            if by_name.insert(queue.name.clone(), place).is_some() {
                return Err(BadQueues::Twice(queue.name.clone()));
            }
        }
        Ok(Self {
            all: declared,
            by_name,
        })
    }

    /// All of them, the highest priority first.
    #[must_use]
    pub fn all(&self) -> &[Queue] {
        &self.all
    }

    /// Whether there is one of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The queue of a job that waits in `name`. One that isn't declared any more is the
    /// default one: a job that was accepted is run.
    #[must_use]
    pub fn of(&self, name: &str) -> &Queue {
        let place = self.by_name.get(name);
        let place = place.or_else(|| self.by_name.get(QUEUE_DEFAULT));
        &self.all[*place.expect("the default queue is always there")]
    }

    /// Their names for people.
    #[must_use]
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.all.iter().map(|it| it.name.as_str()).collect();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(texts: &[&str]) -> Result<Queues, BadQueues> {
        Queues::new(texts.iter().map(|it| it.parse().unwrap()).collect())
    }

    #[test]
    fn a_declaration_is_read_and_written_the_same() {
        for text in [
            "deploy",
            "deploy:priority=10",
            "night-1.b_c:priority=-5:jobs_at_once=2",
        ] {
            assert_eq!(text.parse::<Queue>().unwrap().to_string(), text);
        }
        let turned: Queue = "a:jobs_at_once=1:priority=2".parse().unwrap();
        assert_eq!(turned.to_string(), "a:priority=2:jobs_at_once=1");
    }

    #[test]
    fn what_declares_no_queue_says_why() {
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        for (text, why) in [
            ("", BadQueue::Name),
            ("-a", BadQueue::Name),
            ("a b", BadQueue::Name),
            ("ä", BadQueue::Name),
            (long.as_str(), BadQueue::Name),
            ("a:", BadQueue::Part),
            ("a:weight=1", BadQueue::Part),
            ("a:priority=1:priority=2", BadQueue::Part),
            ("a:priority=x", BadQueue::Priority),
            ("a:priority=1001", BadQueue::Priority),
            ("a:jobs_at_once=0", BadQueue::Jobs),
        ] {
            assert_eq!(text.parse::<Queue>(), Err(why), "{text}");
        }
    }

    #[test]
    fn the_highest_priority_comes_first_and_the_default_is_always_there() {
        let queues = queues(&["night:priority=-1", "b:priority=5", "a:priority=5"]).unwrap();
        assert_eq!(queues.names(), "a, b, default, night");
        assert!(queues.has("night") && !queues.has("gone"));
        assert_eq!(queues.of("gone").name, QUEUE_DEFAULT);
        assert_eq!(Queues::default().names(), QUEUE_DEFAULT);
    }

    #[test]
    fn a_name_stands_there_once() {
        assert_eq!(
            queues(&["a", "default", "a:priority=1"]),
            Err(BadQueues::Twice("a".to_owned()))
        );
        let many: Vec<String> = (0..=QUEUES_MAX).map(|it| format!("q{it}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(queues(&many), Err(BadQueues::TooMany));
    }
}
