//! Fills Redis with what waits, so that workers elsewhere hear of it there. One thread.
//!
//! The store is the truth and Redis may lose anything: each start, each new connection and
//! each loss that is noticed (every two seconds it is looked) begins with a comparison of
//! what lies in Redis with what waits. Requests never wait for any of it.

mod desk;

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use danube_api::rpc;
use danube_model::{JobId, Queues};
use danube_queue::{Address, Feed, Message, Place, QueueError, Wholeness};
use danube_signals::{
    Check, HealResult, QueueConnected, QueueDisconnected, QueueRefilled, SelfHealAttempted,
    Signals, Stretch,
};
use danube_store::{Lane, Store, StoreError, Waiting};
use danube_telemetry::tasks::{self, Task};
use danube_telemetry::trace::Clock;

use crate::health::Health;
use crate::remote::Remote;
use crate::schedule::{Lease, Leases, Rooms};
use crate::trace::Traces;
pub(crate) use desk::{Desk, Since, Status};
use desk::{ENTRIES_MAX, TEAM_ENTRIES_MAX, room};

/// How often it is looked whether Redis still has everything.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// How long to wait after Redis or the store refused.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Why it refills when Redis was there all the time and lost something.
const LOST: &str = "lost";

/// Lanes of which it is kept how far they were looked through.
const SEEN_MAX: usize = 10_000;

/// Entries that are added or removed with one call.
const BATCH: usize = 500;

/// What the thread works on.
pub(crate) struct Feeder {
    pub(crate) address: Address,
    pub(crate) prefix: String,
    pub(crate) queues: Arc<Queues>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) store: Store,
    pub(crate) leases: Arc<Leases>,
    pub(crate) traces: Traces,
    pub(crate) signals: Signals,
    pub(crate) health: Arc<Health>,
    /// Hears when Redis comes and goes: workers elsewhere are told.
    pub(crate) remote: Arc<Remote>,
}

/// Why a round didn't come to its end.
enum Broken {
    Redis(QueueError),
    Store(StoreError),
}

impl From<QueueError> for Broken {
    fn from(error: QueueError) -> Self {
        Self::Redis(error)
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Feeder {
    /// What workers are told, so that they find the same streams.
    pub(crate) fn told(&self) -> rpc::Dispatch {
        rpc::Dispatch {
            prefix: self.prefix.clone(),
            queues: self.queues.all().iter().map(|it| it.name.clone()).collect(),
        }
    }

    /// Starts the thread; it ends when the desk's bell is closed.
    pub(crate) fn start(self) -> std::io::Result<JoinHandle<()>> {
        self.desk.turn_on();
        let feed = Feed::new(self.address.clone(), &self.prefix, self.signals.clone());
        let epoch = format!("{:016x}", u64::from_be_bytes(crate::auth::random::<8>()));
        let feeding = Feeding {
            task: tasks::thread("queue-feed"),
            feed,
            epoch,
            seen: HashMap::new(),
            of: self,
        };
        thread::Builder::new()
            .name("queue-feed".to_owned())
            .spawn(move || feeding.run())
    }
}

struct Feeding {
    of: Feeder,
    /// What it does, for whoever looks.
    task: Task,
    feed: Feed,
    epoch: String,
    /// Up to which job each lane has been looked through; forgotten with each comparison.
    seen: HashMap<Lane, i64>,
}

impl Feeding {
    fn run(mut self) {
        let mut reason = "start";
        loop {
            self.task.beat();
            let ended = match self.refill(reason) {
                Ok(()) => self.keep_up(),
                Err(broken) => Err(broken),
            };
            reason = match ended {
                Ok(End::Closed) => return,
                Ok(End::Lost) => LOST,
                Err(broken) => {
                    self.tell(broken);
                    self.task.rest();
                    // Nobody's ring ends this: Redis isn't asked more often.
                    if !self.of.desk.bell.rest(Instant::now() + RETRY_AFTER) {
                        return;
                    }
                    "reconnected"
                }
            };
        }
    }

    /// Compares what lies in Redis with what waits, and brings it in line.
    fn refill(&mut self, reason: &str) -> Result<(), Broken> {
        let queues = Arc::clone(&self.of.queues);
        let names: Vec<&str> = queues.all().iter().map(|it| it.name.as_str()).collect();
        let began = Instant::now();
        let listed = self.feed.take_over(&names, &self.epoch)?;
        let found = listed.len() as u64;
        let pending = self.of.store.pending_queues()?;
        let mut removed = self.of.desk.found(listed, &pending);
        self.seen.clear();
        self.leave_stale()?;
        removed.extend(self.of.desk.take_left());
        for some in removed.chunks(BATCH) {
            self.feed.remove(some)?;
        }
        let added = self.list_all()?;
        let server = self.of.address.to_string();
        if self.of.desk.status() != Status::Fine {
            self.of.desk.set_status(Status::Fine);
            self.of.health.wake(Check::Queue);
            self.of.remote.news().notify_waiters();
            self.of.signals.emit(QueueConnected { server: &server });
        }
        if reason == LOST {
            // Healed by the one that finds it, before a check could.
            self.of.signals.emit(SelfHealAttempted {
                check: Check::Queue,
                action: "refill",
                result: HealResult::Success,
                detail: "Redis had lost something; streams and groups are there again, and what waits is listed",
                duration_seconds: began.elapsed(),
            });
        }
        self.of.signals.emit(QueueRefilled {
            server: &server,
            found,
            removed: removed.len() as u64,
            added,
            reason,
        });
        Ok(())
    }

    /// Entries whose jobs wait no more, or in another queue, are to go.
    fn leave_stale(&self) -> Result<(), StoreError> {
        for some in self.of.desk.listed().chunks(BATCH) {
            let jobs: Vec<JobId> = some.iter().map(|it| it.0).collect();
            let pending = self.of.store.pending_of(&jobs)?;
            let mut pending: HashMap<JobId, Lane> =
                pending.into_iter().map(|it| (it.job, it.lane)).collect();
            for (job, queue) in some {
                match pending.remove(job) {
                    Some(lane) if self.of.queues.of(&lane.queue).name == *queue => {
                        self.of.desk.know(*job, lane);
                    }
                    _ => self.of.desk.leave(*job),
                }
            }
        }
        Ok(())
    }

    /// Follows what moves, until it is closed or something was lost.
    fn keep_up(&mut self) -> Result<End, Broken> {
        let mut check_at = Instant::now() + CHECK_EVERY;
        loop {
            self.task.rest();
            if !self.of.desk.bell.wait(Some(check_at)) {
                return Ok(End::Closed);
            }
            self.task.beat();
            for some in self.of.desk.take_left().chunks(BATCH) {
                self.feed.remove(some)?;
            }
            self.list_all()?;
            if Instant::now() >= check_at {
                if self.has_lost()? {
                    return Ok(End::Lost);
                }
                check_at = Instant::now() + CHECK_EVERY;
            }
        }
    }

    fn has_lost(&mut self) -> Result<bool, QueueError> {
        let queues = Arc::clone(&self.of.queues);
        let names: Vec<&str> = queues.all().iter().map(|it| it.name.as_str()).collect();
        // Counted before: an entry that a worker removes meanwhile isn't lost.
        let counts: Vec<usize> = names.iter().map(|it| self.of.desk.count(it)).collect();
        Ok(match self.feed.check(&names, &self.epoch)? {
            Wholeness::Lost => true,
            Wholeness::Whole(lengths) => {
                let counts_now = names.iter().map(|it| self.of.desk.count(it));
                let least = counts.into_iter().zip(counts_now).map(|(a, b)| a.min(b));
                lengths
                    .into_iter()
                    .zip(least)
                    .any(|(there, known)| there < known)
            }
        })
    }

    /// Gives every job an entry that waits without one and whose queue has room; how many.
    fn list_all(&mut self) -> Result<u64, Broken> {
        let mut added = 0;
        for (queue, since) in self.of.desk.take_unlisted() {
            match self.list(&queue, since) {
                Ok(count) => added += count,
                Err(broken) => {
                    self.of.desk.unlisted(&queue, Since::Ever);
                    return Err(broken);
                }
            }
        }
        Ok(added)
    }

    /// Lists what waits in a queue. Where several teams wait, each has few entries at a time, the
    /// team with the fewest jobs first.
    fn list(&mut self, queue: &str, since: Since) -> Result<u64, Broken> {
        let (desk, queues) = (Arc::clone(&self.of.desk), Arc::clone(&self.of.queues));
        let stream = &queues.of(queue).name;
        let leases = self.of.leases.all();
        let mut teams = desk.teams(stream);
        let mut lanes = self.of.store.lanes(queue)?;
        for (lane, _) in &lanes {
            teams.entry(lane.team.clone()).or_default();
        }
        let mut of_team = ENTRIES_MAX;
        if teams.len() > 1 {
            of_team = TEAM_ENTRIES_MAX;
            for some in desk.trim(stream, of_team).chunks(BATCH) {
                self.feed.remove(some)?;
            }
            add_running(&mut teams, &leases);
            lanes.sort_by_key(|(lane, _)| teams.get(&lane.team).copied());
        }
        let rooms = Rooms::new(&queues, &leases);
        let mut added = 0;
        for (lane, concurrency) in lanes {
            let may_begin = rooms.of_pipeline(&lane.pipeline, concurrency);
            let beside = desk.beside(stream, &lane);
            let room = room((rooms.of(queue), may_begin), beside, of_team);
            if room == 0 {
                // When one leaves, it is looked again: every move rings.
                desk.unlisted(queue, since);
                continue;
            }
            added += self.list_lane(stream, lane, (since, room, beside.lane))?;
        }
        Ok(added)
    }

    /// Gives `room` jobs of a lane an entry at most; `listed` have one.
    fn list_lane(
        &mut self,
        stream: &str,
        lane: Lane,
        (since, room, listed): (Since, usize, usize),
    ) -> Result<u64, Broken> {
        let desk = Arc::clone(&self.of.desk);
        let (after, known) = match (since, self.seen.get(&lane)) {
            (Since::Last, Some(seq)) => (*seq, 0),
            // Among old ones are some that have an entry.
            _ => (0, listed),
        };
        desk.watch();
        let limit = room + known;
        let waiting = self.of.store.waiting(&lane, after, limit)?;
        if waiting.len() == limit {
            desk.unlisted(&lane.queue, Since::Last);
        }
        if self.seen.len() >= SEEN_MAX {
            // Each is looked through from its beginning once more.
            self.seen.clear();
        }
        if let Some(last) = waiting.last() {
            self.seen.insert(lane, last.seq);
        }
        let new = desk.send(waiting, (&self.of.queues, room));
        for some in new.chunks(BATCH) {
            self.add(stream, some)?;
        }
        Ok(new.len() as u64)
    }

    fn add(&mut self, stream: &str, waiting: &[Waiting]) -> Result<(), QueueError> {
        let message = |it: &Waiting| Message {
            job: it.job,
            traceparent: it.traceparent.clone(),
        };
        let messages: Vec<(&str, Message)> =
            waiting.iter().map(|it| (stream, message(it))).collect();
        let clock = Clock::start();
        let began = clock.now();
        let places: Vec<Place> = self.feed.add(&messages)?;
        let time = Stretch {
            began,
            ended: clock.now(),
        };
        let jobs = waiting.iter().map(|it| it.job);
        self.of.desk.sent(jobs.zip(places));
        for it in waiting {
            self.of.traces.enqueued(it.job, time);
        }
        Ok(())
    }

    fn tell(&self, broken: Broken) {
        match broken {
            Broken::Redis(error) => {
                let error = error.to_string();
                let was_away = matches!(self.of.desk.status(), Status::Away(_));
                self.of.desk.set_status(Status::Away(error.clone()));
                self.of.health.wake(Check::Queue);
                if !was_away {
                    self.of.remote.news().notify_waiters();
                    let server = self.of.address.to_string();
                    self.of.signals.emit(QueueDisconnected {
                        server: &server,
                        error: &error,
                    });
                }
            }
            Broken::Store(error) => self.of.health.database_failed(&error),
        }
    }
}

/// Adds each team's jobs that run.
fn add_running(teams: &mut HashMap<String, usize>, leases: &[Lease]) {
    for lease in leases {
        if let Some(count) = teams.get_mut(&lease.team) {
            *count += 1;
        }
    }
}

/// Why the feed doesn't go on as it did.
enum End {
    /// The master stops.
    Closed,
    /// Redis lost something.
    Lost,
}
