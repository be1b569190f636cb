//! What each task of a playbook did on each host.
//!
//! Made of the events of one attempt, in their order. A task has one result a host; of a loop's
//! and of one that is run again the worst counts, since that is what somebody looks for. Where a
//! `rescue` took over isn't said by any event but by Ansible's counts at the end: a host that
//! rescued as many tasks as failed there failed nowhere for good.

use std::collections::{BTreeMap, HashMap, HashSet};

use danube_model::playbook::{HostStatus, RunEvent, RunRecord};
use serde::Serialize;

/// Hosts of a grid: columns beyond can't be told apart. Those that went worst are shown.
pub const HOSTS_SHOWN_MAX: usize = 50;

/// Tasks of a grid. Those that didn't only go well are shown, and of the others the first.
pub const TASKS_SHOWN_MAX: usize = 200;

/// Failures of which a grid tells the message.
pub const MESSAGES_MAX: usize = 50;

/// How a task ended on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It wasn't run there.
    Skipped,
    /// Nothing had to change.
    Ok,
    /// Something was changed.
    Changed,
    /// It failed, which it may.
    Ignored,
    /// It failed, and a `rescue` took over.
    Rescued,
    /// It failed.
    Failed,
    /// The host couldn't be reached.
    Unreachable,
}

impl Outcome {
    /// What it is called.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Ok => "ok",
            Self::Changed => "changed",
            Self::Ignored => "ignored",
            Self::Rescued => "rescued",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
        }
    }

    /// A sign for a narrow cell; each is different, so that nobody needs the colours.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Skipped => "–",
            Self::Ok => "✓",
            Self::Changed => "±",
            Self::Ignored => "i",
            Self::Rescued => "↺",
            Self::Failed => "✕",
            Self::Unreachable => "?",
        }
    }

    /// Whether somebody should look.
    #[must_use]
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Unreachable)
    }
}

impl From<HostStatus> for Outcome {
    fn from(it: HostStatus) -> Self {
        match it {
            HostStatus::Ok => Self::Ok,
            HostStatus::Changed => Self::Changed,
            HostStatus::Failed => Self::Failed,
            HostStatus::Ignored => Self::Ignored,
            HostStatus::Unreachable => Self::Unreachable,
            HostStatus::Skipped => Self::Skipped,
        }
    }
}

/// Hosts and tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Grid {
    /// The columns: hosts, those that went worst first, then by name.
    pub hosts: Vec<String>,
    /// The rows: tasks in the order in which they began.
    pub tasks: Vec<Task>,
    /// What went wrong, in its order, at most [`MESSAGES_MAX`].
    pub failures: Vec<Failure>,
    /// Hosts that aren't shown.
    pub hosts_left_out: usize,
    /// Tasks that aren't shown.
    pub tasks_left_out: usize,
    /// Failures whose messages aren't shown.
    pub failures_left_out: usize,
    /// Not all of the playbook's events were looked at: some results are missing.
    pub is_cut: bool,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Task {
    /// Its number in the attempt, from 0.
    pub number: u64,
    /// The play that it belongs to, where that begins with it.
    pub play: Option<String>,
    /// What it is called.
    pub name: String,
    /// File and line.
    pub path: Option<String>,
    /// It is a handler.
    pub is_handler: bool,
    /// A cell a host, in the order of the columns; none where it has no result (yet).
    pub cells: Vec<Option<Outcome>>,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The task's number.
    pub task: u64,
    /// Its name.
    pub name: String,
    /// Where.
    pub host: String,
    /// How.
    pub outcome: Outcome,
    /// What it said.
    pub message: String,
}

impl Grid {
    /// The grid of an attempt's events, the first first; `is_cut` if there are more.
    #[must_use]
    pub fn new(events: &[RunRecord], is_cut: bool) -> Self {
        Self {
            is_cut,
            ..Self::bounded(events, (HOSTS_SHOWN_MAX, TASKS_SHOWN_MAX))
        }
    }

    fn bounded(events: &[RunRecord], (hosts_max, tasks_max): (usize, usize)) -> Self {
        let mut all = All::default();
        for record in events {
            all.add(&record.event);
        }
        all.rescue();
        all.shown(hosts_max, tasks_max)
    }

    /// Whether there is nothing to see.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() || self.hosts.is_empty()
    }
}

/// Everything, before some of it is left out.
#[derive(Default)]
struct All {
    play: Option<String>,
    tasks: Vec<Task>,
    /// By task and host.
    results: HashMap<(usize, usize), Outcome>,
    /// Numbers of hosts.
    hosts: HashMap<String, usize>,
    names: Vec<String>,
    failures: Vec<(usize, Failure)>,
    /// Hosts on which every failed task was rescued, as Ansible counts at the end.
    rescued: HashSet<usize>,
}

impl All {
    fn add(&mut self, event: &RunEvent) {
        match event {
            RunEvent::PlayStarted { play } => self.play = Some(play.clone()),
            RunEvent::TaskStarted {
                task,
                path,
                handler,
            } => self.tasks.push(Task {
                number: self.tasks.len() as u64,
                play: self.play.take(),
                name: task.clone(),
                path: path.clone(),
                is_handler: *handler,
                cells: Vec::new(),
            }),
            RunEvent::HostResult {
                task,
                host,
                status,
                name,
                message,
            } => {
                let texts = (name.as_deref(), message.as_deref());
                self.result(*task, host, Outcome::from(*status), texts);
            }
            RunEvent::Summary { hosts } => {
                let done = hosts
                    .iter()
                    .filter(|(_, it)| it.rescued > 0 && it.failed == 0);
                let done = done.filter_map(|(host, _)| self.hosts.get(host).copied());
                self.rescued = done.collect();
            }
        }
    }

    fn result(
        &mut self,
        task: u64,
        host: &str,
        outcome: Outcome,
        (name, message): (Option<&str>, Option<&str>),
    ) {
        let Some(row) = usize::try_from(task)
            .ok()
            .filter(|it| *it < self.tasks.len())
        else {
            return;
        };
        let next = self.names.len();
        let column = *self.hosts.entry(host.to_owned()).or_insert(next);
        if column == next {
            self.names.push(host.to_owned());
        }
        let cell = self.results.entry((row, column)).or_insert(outcome);
        *cell = outcome.max(*cell);
        if outcome.is_bad() || outcome == Outcome::Ignored {
            let failure = Failure {
                task,
                name: name.unwrap_or(&self.tasks[row].name).to_owned(),
                host: host.to_owned(),
                outcome,
                message: message.unwrap_or_default().to_owned(),
            };
            self.failures.push((column, failure));
        }
    }

    /// What failed on hosts that failed nowhere for good was rescued.
    fn rescue(&mut self) {
        let is_rescued = |column: usize, outcome: Outcome| {
            outcome == Outcome::Failed && self.rescued.contains(&column)
        };
        for ((_, column), outcome) in &mut self.results {
            if is_rescued(*column, *outcome) {
                *outcome = Outcome::Rescued;
            }
        }
        for (column, failure) in &mut self.failures {
            if is_rescued(*column, failure.outcome) {
                failure.outcome = Outcome::Rescued;
            }
        }
    }

    fn shown(mut self, hosts_max: usize, tasks_max: usize) -> Grid {
        let mut worst_of_host = vec![Outcome::Skipped; self.names.len()];
        let mut worst_of_task = vec![Outcome::Skipped; self.tasks.len()];
        for ((row, column), outcome) in &self.results {
            worst_of_host[*column] = worst_of_host[*column].max(*outcome);
            worst_of_task[*row] = worst_of_task[*row].max(*outcome);
        }
        let mut columns: Vec<usize> = (0..self.names.len()).collect();
        columns.sort_by_key(|it| (std::cmp::Reverse(worst_of_host[*it]), &self.names[*it]));
        columns.truncate(hosts_max);
        let mut rows: Vec<usize> = (0..self.tasks.len()).collect();
        rows.sort_by_key(|it| {
            let is_bad = worst_of_task[*it].is_bad();
            let counts = worst_of_task[*it] > Outcome::Changed;
            (!is_bad, !counts, *it)
        });
        rows.truncate(tasks_max);
        rows.sort_unstable();
        let tasks: Vec<Task> = self.rows(&rows, &columns);
        let failures = self.failures.len();
        // What was let pass comes after what wasn't.
        self.failures.sort_by_key(|(_, it)| !it.outcome.is_bad());
        Grid {
            hosts_left_out: self.names.len() - columns.len(),
            tasks_left_out: self.tasks.len() - tasks.len(),
            failures_left_out: failures.saturating_sub(MESSAGES_MAX),
            is_cut: false,
            hosts: columns.iter().map(|it| self.names[*it].clone()).collect(),
            tasks,
            failures: self
                .failures
                .into_iter()
                .take(MESSAGES_MAX)
                .map(|(_, it)| it)
                .collect(),
        }
    }

    /// The rows, the name of a play at the first of its tasks that is shown.
    fn rows(&self, rows: &[usize], columns: &[usize]) -> Vec<Task> {
        let mut play = None;
        let mut begun = 0;
        let mut shown = Vec::with_capacity(rows.len());
        for row in rows {
            for task in &self.tasks[begun..=*row] {
                play = task.play.clone().or(play);
            }
            begun = row + 1;
            let cell = |column: &usize| self.results.get(&(*row, *column)).copied();
            shown.push(Task {
                play: play.take(),
                cells: columns.iter().map(cell).collect(),
                ..self.tasks[*row].clone()
            });
        }
        shown
    }
}

/// How many hosts ended a task how, for a line of text: `3 ok, 1 failed`.
#[must_use]
pub fn summed(cells: &[Option<Outcome>]) -> String {
    let mut counts = BTreeMap::new();
    for outcome in cells.iter().flatten() {
        *counts.entry(std::cmp::Reverse(*outcome)).or_insert(0_u64) += 1;
    }
    let parts = counts
        .iter()
        .map(|(outcome, count)| format!("{} {}", crate::words::count(count), outcome.0.as_str()));
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use danube_model::Timestamp;
    use danube_model::playbook::Counts;

    use super::*;

    fn records(events: Vec<RunEvent>) -> Vec<RunRecord> {
        let at = Timestamp::from_millis(0);
        let numbered = (0..).zip(events);
        numbered
            .map(|(n, event)| RunRecord { n, at, event })
            .collect()
    }

    fn play(name: &str) -> RunEvent {
        RunEvent::PlayStarted {
            play: name.to_owned(),
        }
    }

    fn task(name: &str) -> RunEvent {
        RunEvent::TaskStarted {
            task: name.to_owned(),
            path: None,
            handler: false,
        }
    }

    fn result(task: u64, host: &str, status: HostStatus) -> RunEvent {
        RunEvent::HostResult {
            task,
            host: host.to_owned(),
            status,
            name: None,
            message: Some(format!("{host} said no")),
        }
    }

    /// A line a task: its play and name, and a sign for each host.
    fn drawn(grid: &Grid) -> String {
        let row = |it: &Task| {
            let cells = it.cells.iter();
            let cells: String = cells
                .map(|it| it.map_or("·", Outcome::sign))
                .collect::<Vec<_>>()
                .concat();
            let play = it.play.as_ref().map(|it| format!("[{it}] "));
            format!("{}{} {cells}", play.unwrap_or_default(), it.name)
        };
        let head = grid.hosts.join(" ");
        let rows = grid.tasks.iter().map(row);
        std::iter::once(head)
            .chain(rows)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn each_task_has_a_row_and_each_host_a_column_the_worst_first() {
        let events = records(vec![
            play("web"),
            task("facts"),
            result(0, "b", HostStatus::Ok),
            result(0, "a", HostStatus::Ok),
            result(0, "c", HostStatus::Unreachable),
            task("install"),
            result(1, "a", HostStatus::Changed),
            result(1, "b", HostStatus::Failed),
            play("db"),
            task("start"),
            result(2, "a", HostStatus::Skipped),
            result(2, "d", HostStatus::Ignored),
            task("never"),
        ]);
        let grid = Grid::new(&events, false);
        let expected = "c b d a\n[web] facts ?✓·✓\ninstall ·✕·±\n[db] start ··i–\nnever ····";
        assert_eq!(drawn(&grid), expected);
        let failures: Vec<_> = grid
            .failures
            .iter()
            .map(|it| (&*it.host, &*it.name, &*it.message, it.outcome))
            .collect();
        assert_eq!(
            failures,
            [
                ("c", "facts", "c said no", Outcome::Unreachable),
                ("b", "install", "b said no", Outcome::Failed),
                ("d", "start", "d said no", Outcome::Ignored),
            ]
        );
        assert_eq!(summed(&grid.tasks[0].cells), "1 unreachable, 2 ok");
        assert!(!grid.is_empty() && Grid::new(&[], false).is_empty());
    }

    #[test]
    fn what_was_rescued_is_known_at_the_end() {
        let mut events = vec![
            task("try"),
            result(0, "a", HostStatus::Failed),
            result(0, "b", HostStatus::Failed),
            task("rescue"),
            result(1, "a", HostStatus::Ok),
        ];
        assert_eq!(
            drawn(&Grid::new(&records(events.clone()), false)),
            "a b\ntry ✕✕\nrescue ✓·"
        );
        let counts = |rescued, failed| Counts {
            rescued,
            failed,
            ..Counts::default()
        };
        events.push(RunEvent::Summary {
            hosts: BTreeMap::from([
                ("a".to_owned(), counts(1, 0)),
                ("b".to_owned(), counts(0, 1)),
            ]),
        });
        let grid = Grid::new(&records(events), false);
        assert_eq!(drawn(&grid), "b a\ntry ✕↺\nrescue ·✓");
        let outcomes: Vec<_> = grid.failures.iter().map(|it| it.outcome).collect();
        assert_eq!(outcomes, [Outcome::Failed, Outcome::Rescued]);
    }

    #[test]
    fn of_a_loop_s_results_the_worst_counts() {
        let events = records(vec![
            task("each"),
            result(0, "a", HostStatus::Failed),
            result(0, "a", HostStatus::Ok),
            // No task has this number: what was begun before the events that are kept.
            result(7, "a", HostStatus::Failed),
        ]);
        let grid = Grid::new(&events, false);
        assert_eq!(drawn(&grid), "a\neach ✕");
        assert_eq!(grid.failures.len(), 1);
    }

    #[test]
    fn there_are_only_so_many_rows_and_columns_and_those_that_failed_are_among_them() {
        let mut events = vec![play("p")];
        for number in 0..20 {
            events.push(task(&format!("t{number}")));
            for host in 0..9 {
                let is_bad = number == 17 && host == 8;
                let status = if is_bad {
                    HostStatus::Failed
                } else {
                    HostStatus::Ok
                };
                events.push(result(number, &format!("h{host}"), status));
            }
        }
        let grid = Grid::bounded(&records(events), (3, 4));
        let expected = "h8 h0 h1\n[p] t0 ✓✓✓\nt1 ✓✓✓\nt2 ✓✓✓\nt17 ✕✓✓";
        assert_eq!(drawn(&grid), expected);
        assert_eq!((grid.hosts_left_out, grid.tasks_left_out), (6, 16));
    }

    #[test]
    fn messages_are_bounded() {
        let mut events = vec![task("t")];
        for host in 0..80 {
            events.push(result(0, &format!("h{host:02}"), HostStatus::Unreachable));
        }
        let grid = Grid::new(&records(events), false);
        assert_eq!(grid.failures.len(), MESSAGES_MAX);
        assert_eq!((grid.failures_left_out, grid.hosts_left_out), (30, 30));
    }
}
