//! Hears what a playbook does: values go to the redactor at once, all else to whoever hands
//! out the jobs, several at a time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use danube_ansible::{Hear, Heard};
use danube_model::playbook::{EVENTS_MAX, Progress, RunEvent, RunRecord};
use danube_model::{Attempt, Timestamp};
use danube_redact::Secrets;
use danube_signals::PlayTrace;

use crate::dispatch::Dispatch;
use crate::plays::Plays;

/// How long an event may wait for others: a person who watches sees no difference.
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// Events of one report.
const REPORT_EVENTS_MAX: usize = 1_000;

/// Hears one attempt.
pub(crate) struct Hears {
    dispatch: Arc<dyn Dispatch>,
    attempt: Attempt,
    secrets: Secrets,
    /// Paths are told from here on.
    source: PathBuf,
    progress: Progress,
    plays: Plays,
    /// The number of the next event.
    next: u64,
    waiting: Vec<RunRecord>,
    /// When what waits is told.
    due: Option<Instant>,
}

impl Hears {
    pub(crate) fn new(
        dispatch: Arc<dyn Dispatch>,
        attempt: Attempt,
        (secrets, source): (Secrets, &Path),
    ) -> Self {
        Self {
            dispatch,
            attempt,
            secrets,
            source: source.to_owned(),
            progress: Progress::default(),
            plays: Plays::default(),
            next: 0,
            waiting: Vec::new(),
            due: None,
        }
    }

    /// The same of a playbook from this commit.
    pub(crate) fn of_commit(mut self, commit: Option<String>) -> Self {
        self.progress.commit = commit;
        self
    }

    /// Tells what is left. What it all added up to.
    pub(crate) fn end(mut self) -> (Progress, Vec<PlayTrace>) {
        self.tell();
        (self.progress, self.plays.end())
    }

    fn event(&mut self, at: Timestamp, mut event: RunEvent) {
        self.clean(&mut event);
        self.progress.add(&event);
        let n = self.next;
        self.next += 1;
        let record = RunRecord { n, at, event };
        self.plays.add(&record);
        if n < EVENTS_MAX {
            self.waiting.push(record);
        } else {
            self.progress.events_left_out += 1;
        }
        self.due
            .get_or_insert_with(|| Instant::now() + REPORT_EVERY);
        if self.waiting.len() >= REPORT_EVENTS_MAX {
            self.tell();
        }
    }

    /// Takes secrets out of all texts, and the workspace out of paths.
    fn clean(&self, event: &mut RunEvent) {
        let clean = |text: &mut String| *text = self.secrets.redact(text);
        match event {
            RunEvent::PlayStarted { play } => clean(play),
            RunEvent::TaskStarted { task, path, .. } => {
                clean(task);
                if let Some(path) = path {
                    let short = Path::new(&*path).strip_prefix(&self.source);
                    if let Ok(short) = short.map(|it| it.to_string_lossy().into_owned()) {
                        *path = short;
                    }
                    clean(path);
                }
            }
            RunEvent::HostResult {
                host,
                name,
                message,
                ..
            } => {
                clean(host);
                name.iter_mut().chain(message).for_each(clean);
            }
            RunEvent::Summary { hosts } => {
                let all = std::mem::take(hosts).into_iter();
                *hosts = all
                    .map(|(host, counts)| (self.secrets.redact(&host), counts))
                    .collect();
            }
        }
    }

    fn tell(&mut self) {
        if self.due.take().is_some() {
            let records = std::mem::take(&mut self.waiting);
            self.dispatch.played(self.attempt, records, &self.progress);
        }
    }
}

impl Hear for Hears {
    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Event { at, event } => self.event(at, event),
            Heard::Secrets(values) => {
                for value in values {
                    // Words that stand everywhere are refused, and rightly so.
                    let _ = self.secrets.register_short(&value);
                }
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.due
    }

    fn tick(&mut self) {
        self.tell();
    }
}
