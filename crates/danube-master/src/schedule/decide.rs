//! Decides which waiting job goes to which worker, and whose lease is over.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use danube_model::{Attempt, JobId, Queues};
use danube_store::{Lane, Waiting};

/// Jobs that one look gives to idle workers at most: a bound on one transaction.
pub(crate) const ASSIGN_MAX: usize = 256;

/// Teams whose turns are kept: more than a blueprint declares.
const TURNS_MAX: usize = 10_000;

/// One consistent picture of the queues.
pub(crate) struct QueueView {
    /// Jobs that wait, the oldest first: of each lane the first ones.
    pub(crate) waiting: Vec<Waiting>,
    /// Workers with room.
    pub(crate) idle: Vec<Idle>,
    /// Workers that ask for one job.
    pub(crate) asked: Vec<Asked>,
    /// Leases that are held.
    pub(crate) leases: Vec<Lease>,
    /// Which teams had their turn.
    pub(crate) turns: Turns,
}

/// When each team was last given a place. Kept in memory alone: forgotten with a restart, all
/// teams begin anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Turns {
    count: u64,
    last: HashMap<String, u64>,
}

impl Turns {
    /// It is given one.
    pub(crate) fn take(&mut self, team: &str) {
        self.count += 1;
        if self.last.len() >= TURNS_MAX {
            // All begin anew.
            self.last.clear();
        }
        match self.last.get_mut(team) {
            Some(last) => *last = self.count,
            None => drop(self.last.insert(team.to_owned(), self.count)),
        }
    }

    /// The number of its last one; 0 for none.
    fn of(&self, team: &str) -> u64 {
        self.last.get(team).copied().unwrap_or(0)
    }
}

/// A worker that takes jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Idle {
    /// Which.
    pub(crate) worker: String,
    /// How many more.
    pub(crate) free: usize,
    /// From which queues; none for all.
    pub(crate) queues: Option<Vec<String>>,
}

impl Idle {
    /// Whether it takes jobs of the queue.
    pub(crate) fn takes(&self, queue: &str) -> bool {
        let queues = self.queues.as_ref();
        queues.is_none_or(|it| it.iter().any(|it| it == queue))
    }
}

/// A worker that heard of a job from Redis and asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The number of its wait.
    pub(crate) offer: u64,
    /// Which job.
    pub(crate) job: JobId,
    /// The job as it waits; none when it doesn't.
    pub(crate) waiting: Option<Waiting>,
}

/// A worker's right to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The job, with the fence.
    pub(crate) attempt: Attempt,
    /// Who holds it.
    pub(crate) worker: String,
    /// The queue that the job waited in.
    pub(crate) queue: String,
    /// Whose share of the workers it takes; empty for none.
    pub(crate) team: String,
    /// The job's pipeline.
    pub(crate) pipeline: String,
    /// When it was last heard of.
    pub(crate) renewed_at: Instant,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Take the job from a worker that fell silent.
    Rescue(Attempt),
    /// Give the job to the worker.
    Assign {
        /// Which job.
        job: JobId,
        /// To whom.
        to: To,
    },
    /// Tell the worker that it doesn't get the job that it asked for.
    Refuse {
        /// The number of its wait.
        offer: u64,
        /// Which job.
        job: JobId,
    },
}

/// Who gets a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum To {
    /// Any process of this worker that waits for one.
    Worker(String),
    /// Whoever asked for it.
    Offer(u64),
}

/// How many jobs of each queue, and of each pipeline, may still begin.
pub(crate) struct Rooms<'a> {
    queues: &'a Queues,
    running: HashMap<&'a str, usize>,
    of_pipeline: HashMap<&'a str, usize>,
}

impl<'a> Rooms<'a> {
    /// With these leases held.
    pub(crate) fn new(queues: &'a Queues, leases: &'a [Lease]) -> Self {
        let (mut running, mut of_pipeline) = (HashMap::new(), HashMap::new());
        for lease in leases {
            let queue = queues.of(&lease.queue);
            *running.entry(queue.name.as_str()).or_default() += 1;
            *of_pipeline.entry(lease.pipeline.as_str()).or_default() += 1;
        }
        Self {
            queues,
            running,
            of_pipeline,
        }
    }

    /// How many more jobs may begin that wait in this queue.
    pub(crate) fn of(&self, queue: &str) -> usize {
        let queue = self.queues.of(queue);
        let running = self.running.get(queue.name.as_str()).copied();
        let most = queue.jobs_at_once.map_or(usize::MAX, |it| it as usize);
        most.saturating_sub(running.unwrap_or(0))
    }

    /// How many more jobs of this pipeline may begin, when so many may run at once.
    pub(crate) fn of_pipeline(&self, pipeline: &str, concurrency: Option<u32>) -> usize {
        let running = self.of_pipeline.get(pipeline).copied().unwrap_or(0);
        let most = concurrency.map_or(usize::MAX, |it| it as usize);
        most.saturating_sub(running)
    }

    /// Whether this one may begin.
    fn has(&self, waiting: &Waiting) -> bool {
        let lane = &waiting.lane;
        self.of(&lane.queue) > 0 && self.of_pipeline(&lane.pipeline, waiting.concurrency) > 0
    }

    /// Takes its place; `false` when there is none.
    fn take(&mut self, waiting: &'a Waiting) -> bool {
        let has_room = self.has(waiting);
        if has_room {
            let Lane {
                queue, pipeline, ..
            } = &waiting.lane;
            let queue = self.queues.of(queue);
            *self.running.entry(queue.name.as_str()).or_default() += 1;
            *self.of_pipeline.entry(pipeline).or_default() += 1;
        }
        has_room
    }
}

/// Who is next among the teams: the one with the fewest jobs that run, so that places are
/// shared; of those with as many the one whose last turn is the longest ago, so that none waits
/// behind all jobs of another where there is one place; then the one with the oldest job.
struct Shares<'a> {
    running: HashMap<&'a str, usize>,
    turns: Turns,
}

impl<'a> Shares<'a> {
    fn new(view: &'a QueueView) -> Self {
        let mut running = HashMap::new();
        for lease in &view.leases {
            *running.entry(lease.team.as_str()).or_default() += 1;
        }
        Self {
            running,
            turns: view.turns.clone(),
        }
    }

    fn take(&mut self, team: &'a str) {
        *self.running.entry(team).or_default() += 1;
        self.turns.take(team);
    }

    /// The team whose turn it is, of those that wait with these jobs.
    fn next(&self, waiting: &BTreeMap<&'a str, VecDeque<&'a Waiting>>) -> Option<&'a str> {
        let of = |(team, jobs): (&&'a str, &VecDeque<&Waiting>)| {
            let running = self.running.get(team).copied().unwrap_or(0);
            (running, self.turns.of(team), jobs.front().map(|it| it.seq))
        };
        let next = waiting.iter().min_by_key(|it| of(*it));
        next.map(|(team, _)| *team)
    }
}

/// Reads nothing but its arguments and changes nothing, so a test is a view, a
/// time and the actions expected.
pub(crate) fn decide(
    view: &QueueView,
    queues: &Queues,
    (now, lease): (Instant, Duration),
) -> Vec<Action> {
    let lapsed = view.leases.iter().filter(|it| it.renewed_at + lease < now);
    let mut actions: Vec<Action> = lapsed.map(|it| Action::Rescue(it.attempt)).collect();
    let mut rooms = Rooms::new(queues, &view.leases);
    let mut shares = Shares::new(view);

    let mut given: Vec<JobId> = Vec::new();
    for Asked {
        offer,
        job,
        waiting,
    } in &view.asked
    {
        let (offer, job) = (*offer, *job);
        let waits = waiting.as_ref().filter(|_| !given.contains(&job));
        if let Some(it) = waits.filter(|it| rooms.take(it)) {
            shares.take(&it.lane.team);
            given.push(job);
            let to = To::Offer(offer);
            actions.push(Action::Assign { job, to });
        } else {
            actions.push(Action::Refuse { offer, job });
        }
    }
    let mut waiting: BTreeMap<Reverse<i32>, BTreeMap<&str, VecDeque<&Waiting>>> = BTreeMap::new();
    for it in view.waiting.iter().filter(|it| !given.contains(&it.job)) {
        let of = waiting.entry(Reverse(queues.of(&it.lane.queue).priority));
        let of = of.or_default().entry(&it.lane.team);
        of.or_default().push_back(it);
    }
    let mut idle = view.idle.clone();
    let mut left = ASSIGN_MAX;
    for mut teams in waiting.into_values() {
        while left > 0
            && let Some(team) = shares.next(&teams)
        {
            let jobs = teams.get_mut(team).expect("it is one of them");
            let found = next_of(jobs, (&mut rooms, queues), &mut idle);
            if jobs.is_empty() {
                teams.remove(team);
            }
            if let Some(action) = found {
                shares.take(team);
                actions.push(action);
                left -= 1;
            }
        }
    }
    actions
}

/// Gives the first of these jobs that can begin to a worker, and drops those before it: what
/// can't begin now can't later in this look, for room only gets less.
fn next_of<'a>(
    jobs: &mut VecDeque<&'a Waiting>,
    (rooms, queues): (&mut Rooms<'a>, &Queues),
    idle: &mut [Idle],
) -> Option<Action> {
    while let Some(it) = jobs.pop_front() {
        let queue = &queues.of(&it.lane.queue).name;
        // The worker with most room, so that load spreads.
        let takers = idle.iter_mut().filter(|it| it.free > 0 && it.takes(queue));
        let Some(best) = takers.max_by_key(|it| it.free) else {
            continue;
        };
        if !rooms.take(it) {
            continue;
        }
        best.free -= 1;
        return Some(Action::Assign {
            job: it.job,
            to: To::Worker(best.worker.clone()),
        });
    }
    None
}

/// When to look next: when a lease lapses, and with each heartbeat before, to
/// renew those of the worker in this process. Never while nothing is leased.
pub(crate) fn next_look(
    leases: &[Lease],
    lease: Duration,
    heartbeat: Duration,
    now: Instant,
) -> Option<Instant> {
    let lapse = leases.iter().map(|it| it.renewed_at + lease).min()?;
    // A moment later, for a lease is over only after its last instant.
    Some((lapse + Duration::from_millis(1)).min(now + heartbeat))
}

#[cfg(test)]
mod fairness;

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn idle(worker: &str, free: usize) -> Idle {
        Idle {
            worker: worker.to_owned(),
            free,
            queues: None,
        }
    }

    fn lease(job: JobId, renewed_at: Instant) -> Lease {
        Lease {
            attempt: Attempt {
                job,
                fence: 1,
                number: 1,
            },
            worker: "w".to_owned(),
            queue: "default".to_owned(),
            team: String::new(),
            pipeline: "p".to_owned(),
            renewed_at,
        }
    }

    fn waiters(queue: &str, jobs: &[JobId]) -> Vec<Waiting> {
        let waiter = |(job, seq): (&JobId, i64)| Waiting {
            seq,
            job: *job,
            lane: Lane {
                queue: queue.to_owned(),
                ..Lane::default()
            },
            concurrency: None,
            traceparent: String::new(),
        };
        jobs.iter().zip(1..).map(waiter).collect()
    }

    fn empty() -> QueueView {
        QueueView {
            waiting: vec![],
            idle: vec![],
            asked: vec![],
            leases: vec![],
            turns: Turns::default(),
        }
    }

    fn jobs(count: usize) -> Vec<JobId> {
        (0..count).map(|_| JobId::new()).collect()
    }

    fn assign(job: JobId, worker: &str) -> Action {
        Action::Assign {
            job,
            to: To::Worker(worker.to_owned()),
        }
    }

    fn queues(texts: &[&str]) -> Queues {
        Queues::new(texts.iter().map(|it| it.parse().unwrap()).collect()).unwrap()
    }

    fn now(view: &QueueView, queues: &Queues) -> Vec<Action> {
        decide(view, queues, (Instant::now(), LEASE))
    }

    #[test]
    fn the_first_jobs_go_out_first_and_none_twice() {
        let jobs = jobs(3);
        let view = QueueView {
            waiting: waiters("default", &jobs),
            idle: vec![idle("a", 2)],
            ..empty()
        };
        assert_eq!(
            now(&view, &Queues::default()),
            [assign(jobs[0], "a"), assign(jobs[1], "a")]
        );
    }

    #[test]
    fn load_spreads_over_the_workers() {
        let view = QueueView {
            waiting: waiters("default", &jobs(4)),
            idle: vec![idle("a", 3), idle("b", 3)],
            ..empty()
        };
        let to_a = now(&view, &Queues::default());
        let to_a = to_a
            .iter()
            .filter(|it| matches!(it, Action::Assign { to: To::Worker(to), .. } if to == "a"))
            .count();
        assert_eq!(to_a, 2);
    }

    #[test]
    fn a_queue_runs_no_more_than_it_may_and_holds_up_no_other() {
        let (deploys, builds) = (jobs(3), jobs(2));
        let mut waiting = waiters("deploy", &deploys);
        waiting.extend(waiters("default", &builds));
        let running = Lease {
            queue: "deploy".to_owned(),
            ..lease(JobId::new(), Instant::now())
        };
        let view = QueueView {
            waiting,
            idle: vec![idle("a", 9)],
            leases: vec![running],
            ..empty()
        };
        let queues = queues(&["deploy:priority=1:jobs_at_once=2"]);
        assert_eq!(
            now(&view, &queues),
            [
                assign(deploys[0], "a"),
                assign(builds[0], "a"),
                assign(builds[1], "a")
            ]
        );
    }

    #[test]
    fn a_worker_gets_jobs_of_its_queues_alone() {
        let (night, day) = (jobs(1), jobs(1));
        let mut waiting = waiters("night", &night);
        waiting.extend(waiters("default", &day));
        let of_the_night = Idle {
            queues: Some(vec!["night".to_owned()]),
            ..idle("a", 2)
        };
        let mut view = QueueView {
            waiting,
            idle: vec![of_the_night],
            ..empty()
        };
        let declared = queues(&["night"]);
        assert_eq!(now(&view, &declared), [assign(night[0], "a")]);
        // Not declared any more, its jobs are those of the default queue.
        assert_eq!(now(&view, &Queues::default()), []);
        view.idle[0].queues = Some(vec!["default".to_owned()]);
        assert_eq!(
            now(&view, &Queues::default()),
            [assign(night[0], "a"), assign(day[0], "a")]
        );
    }

    #[test]
    fn who_asks_for_a_job_gets_it_once_and_only_where_its_queue_has_room() {
        let jobs = jobs(2);
        let asked = |offer, job, queue: Option<&str>| Asked {
            offer,
            job,
            waiting: queue.map(|it| waiters(it, &[job]).remove(0)),
        };
        let view = QueueView {
            waiting: waiters("deploy", &jobs),
            idle: vec![idle("a", 9)],
            asked: vec![
                asked(1, JobId::new(), None),
                asked(2, jobs[1], Some("deploy")),
                asked(3, jobs[1], Some("deploy")),
                asked(4, jobs[0], Some("deploy")),
            ],
            ..empty()
        };
        let refuse = |offer, job| Action::Refuse { offer, job };
        let given = Action::Assign {
            job: jobs[1],
            to: To::Offer(2),
        };
        assert_eq!(
            now(&view, &queues(&["deploy:jobs_at_once=1"])),
            [
                refuse(1, view.asked[0].job),
                given.clone(),
                refuse(3, jobs[1]),
                refuse(4, jobs[0])
            ]
        );
        let one_more = Action::Assign {
            job: jobs[0],
            to: To::Offer(4),
        };
        assert_eq!(
            now(&view, &queues(&["deploy"])),
            [
                refuse(1, view.asked[0].job),
                given,
                refuse(3, jobs[1]),
                one_more
            ]
        );
    }

    #[test]
    fn a_silent_worker_loses_its_job_and_a_punctual_one_does_not() {
        let start = Instant::now();
        let (silent, punctual) = (JobId::new(), JobId::new());
        let view = QueueView {
            leases: vec![
                lease(silent, start),
                lease(punctual, start + Duration::from_secs(20)),
            ],
            ..empty()
        };
        let at = |now| decide(&view, &Queues::default(), (now, LEASE));
        assert_eq!(at(start + LEASE), []);
        assert_eq!(
            at(start + LEASE + Duration::from_millis(1)),
            [Action::Rescue(Attempt {
                job: silent,
                fence: 1,
                number: 1
            })]
        );
    }

    #[test]
    fn an_orphan_is_looked_at_again_until_its_lease_is_over() {
        let (start, heartbeat) = (Instant::now(), LEASE / 3);
        let leases = [lease(JobId::new(), start)];
        let view = QueueView {
            leases: leases.to_vec(),
            ..empty()
        };
        let (mut now, mut looks) = (start, 0);
        while decide(&view, &Queues::default(), (now, LEASE)).is_empty() {
            let next = next_look(&leases, LEASE, heartbeat, now).unwrap();
            assert!(next > now, "the loop must not spin");
            (now, looks) = (next, looks + 1);
        }
        assert_eq!(looks, 4);
        assert_eq!(next_look(&[], LEASE, heartbeat, now), None);
    }
}
