//! Whether the master can take work. Checks run beside the requests; probes
//! read their latest results and cost nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use danube_joblog::JobLogs;
use danube_signals::{
    Check, DatabaseUnavailable, DiskKind, HealthCheckFailed, HealthCheckRecovered,
    HealthChecksCompleted, HealthStatus, Signals,
};
use danube_store::{LOCK_WAIT_MAX, Store, StoreError};
use danube_telemetry::LabelEnum;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::feed::{Desk, Status};

/// How often the cheap checks run.
pub(crate) const CHECK_EVERY: Duration = Duration::from_secs(2);

/// How long the database may take for a read and a write that is rolled back.
const DATABASE_DEADLINE: Duration = Duration::from_secs(1);

/// How often the logs are measured: it walks their directory.
const USAGE_EVERY: Duration = Duration::from_secs(300);

/// Free bytes under which no job can be accepted any more.
const DISK_FREE_BYTES_MIN: u64 = 1024 * 1024;

/// Free share under which the disk is degraded, but still serves.
const DISK_FREE_RATIO_LOW: f64 = 0.10;

/// The checks that have their part now; the others are `disabled`.
const CHECKS: [Check; 4] = [Check::Database, Check::Queue, Check::Disk, Check::Workers];

/// The latest results.
pub(crate) struct Health {
    signals: Signals,
    results: Mutex<BTreeMap<usize, Found>>,
    /// What was asked and hasn't answered.
    asked: Mutex<Vec<Check>>,
    stopping: AtomicBool,
    /// When the checks last ended: results that are too old are none.
    looked_at: Mutex<Option<Instant>>,
}

/// How long a check may take before it has failed, although it goes on: a disk that answers
/// nothing doesn't even refuse. Longer than the store waits for a lock, which it says
/// itself.
const ROUND_DEADLINE: Duration = Duration::from_secs(6);

const _: () = assert!(ROUND_DEADLINE.as_secs() > LOCK_WAIT_MAX.as_secs());

/// How old results may be: a check that hangs must not look like a good one.
const RESULTS_AGE_MAX: Duration = Duration::from_secs(8);

/// Beats while a loop goes round.
#[derive(Default)]
pub(crate) struct Beat {
    gone: AtomicBool,
}

impl Beat {
    /// The loop is alive.
    pub(crate) fn beat(&self) {
        self.gone.store(false, Ordering::Relaxed);
    }

    /// The loop has ended, however.
    pub(crate) fn stop(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }
}

#[derive(Clone, Copy)]
struct Found {
    check: Check,
    status: HealthStatus,
    failures: u64,
}

/// What a probe is told.
pub(crate) struct Report {
    pub(crate) is_ready: bool,
    pub(crate) checks: BTreeMap<&'static str, &'static str>,
}

/// What the checks look at.
pub(crate) struct Looked {
    pub(crate) store: Store,
    pub(crate) logs: JobLogs,
    pub(crate) data_dir: PathBuf,
    pub(crate) has_worker: bool,
    /// Of the scheduler.
    pub(crate) beat: Arc<Beat>,
    /// What is known of Redis.
    pub(crate) feed: Arc<Desk>,
}

impl Health {
    pub(crate) fn new(signals: Signals) -> Self {
        Self {
            signals,
            results: Mutex::default(),
            asked: Mutex::default(),
            stopping: AtomicBool::new(false),
            looked_at: Mutex::default(),
        }
    }

    /// What everything is told to.
    pub(crate) fn signals(&self) -> &Signals {
        &self.signals
    }

    /// The latest results, for a probe.
    pub(crate) fn report(&self) -> Report {
        let results = self.lock();
        let mut checks = BTreeMap::new();
        let mut is_ready = !self.stopping.load(Ordering::Relaxed) && self.is_fresh();
        for found in results.values() {
            checks.insert(found.check.as_str(), found.status.as_str());
            is_ready &= found.status != HealthStatus::Failed;
        }
        Report { is_ready, checks }
    }

    fn is_fresh(&self) -> bool {
        let looked_at = self
            .looked_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        looked_at.is_some_and(|it| it.elapsed() < RESULTS_AGE_MAX)
    }

    /// The master takes no more work.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// An operation of the store failed: known at once, not at the next round.
    pub(crate) fn database_failed(&self, error: &StoreError) {
        self.note(Check::Database, HealthStatus::Failed, &error.to_string());
    }

    /// A round begins.
    fn ask_all(&self) {
        *self.asked() = CHECKS.to_vec();
    }

    /// A check's own answer, whenever it comes.
    fn answered(&self, check: Check, status: HealthStatus, error: &str) {
        // Held until it is noted: a check has either answered or is overdue.
        let mut asked = self.asked();
        asked.retain(|it| *it != check);
        self.note(check, status, error);
    }

    /// So long there was no answer of those that were asked.
    fn overdue(&self, waited: Duration) {
        let error = format!("no answer within {} s", waited.as_secs());
        for check in self.asked().iter() {
            self.note(*check, HealthStatus::Failed, &error);
        }
    }

    fn completed(&self, results: &[(Check, HealthStatus)], took: Duration) {
        let of = |check: Check| {
            let found = results.iter().find(|(it, _)| *it == check);
            found.map(|(_, status)| *status)
        };
        self.signals.emit(HealthChecksCompleted {
            database: of(Check::Database),
            k8s: of(Check::K8s),
            dex: of(Check::Dex),
            registry: of(Check::Registry),
            blueprint_sync: of(Check::BlueprintSync),
            queue: of(Check::Queue),
            disk: of(Check::Disk),
            workers: of(Check::Workers),
            duration_seconds: took,
        });
        *self
            .looked_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn asked(&self) -> MutexGuard<'_, Vec<Check>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, check: Check, status: HealthStatus, error: &str) {
        // Held until it is told: two that note at once are told in the order in which
        // they count.
        let mut results = self.lock();
        let before = results.get(&check.index()).copied();
        let was_bad = before.is_some_and(|it| it.failures > 0);
        let failures = match status {
            HealthStatus::Failed | HealthStatus::Degraded => before.map_or(1, |it| it.failures + 1),
            _ => 0,
        };
        results.insert(
            check.index(),
            Found {
                check,
                status,
                failures,
            },
        );
        let is_news = before.is_none_or(|it| it.status != status);
        if failures == 0 && was_bad {
            let consecutive_failures = before.map_or(0, |it| it.failures);
            self.signals.emit(HealthCheckRecovered {
                check,
                status,
                consecutive_failures,
            });
        } else if failures > 0 && (is_news || failures == 3) {
            self.signals.emit(HealthCheckFailed {
                check,
                status,
                error,
                consecutive_failures: failures,
            });
            let is_gone = check == Check::Database && status == HealthStatus::Failed;
            if is_gone && is_news {
                self.signals.emit(DatabaseUnavailable { error });
            }
        } else {
            self.signals.health(check, status, failures);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, Found>> {
        // Whole after every line that changes it.
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One round of all checks, on a thread that may block.
pub(crate) fn round(health: &Health, looked: &Looked) {
    let began = Instant::now();
    health.ask_all();
    let results = CHECKS.map(|check| (check, ask(health, looked, check)));
    health.completed(&results, began.elapsed());
}

/// The same, each check on a thread of its own: one that hangs holds up no other.
async fn round_beside(health: Arc<Health>, looked: Arc<Looked>) {
    let began = Instant::now();
    health.ask_all();
    let asked = CHECKS.map(|check| {
        let (health, looked) = (Arc::clone(&health), Arc::clone(&looked));
        spawn_blocking(move || ask(&health, &looked, check))
    });
    let mut results = Vec::new();
    for (check, asked) in CHECKS.into_iter().zip(asked) {
        results.extend(asked.await.ok().map(|it| (check, it)));
    }
    // A round that broke leaves its results to grow old.
    if results.len() == CHECKS.len() {
        health.completed(&results, began.elapsed());
    }
}

/// Waits for a round. What hasn't answered fails at the deadline, and as long as it takes
/// at each further one.
async fn wait_for(health: &Health, deadline: Duration, round: impl Future<Output = ()>) {
    let mut round = pin!(round);
    while timeout(deadline, round.as_mut()).await.is_err() {
        health.overdue(deadline);
    }
}

/// Asks one check and notes its answer.
fn ask(health: &Health, looked: &Looked, check: Check) -> HealthStatus {
    let (status, error) = match check {
        Check::Database => database(&looked.store),
        Check::Disk => disk(health, looked),
        Check::Queue => queue(&looked.feed),
        _ if looked.beat.is_gone() => (HealthStatus::Failed, "the scheduler has ended".to_owned()),
        _ if looked.has_worker => (HealthStatus::Ok, String::new()),
        _ => (HealthStatus::Disabled, String::new()),
    };
    health.answered(check, status, &error);
    status
}

fn database(store: &Store) -> (HealthStatus, String) {
    let started = Instant::now();
    let answered = store.ping().and_then(|()| store.write_probe().wait());
    match answered {
        // The probe itself needs no room and would go on saying ok.
        Ok(()) if store.is_out_of_space() => {
            (HealthStatus::Failed, StoreError::NoSpace.to_string())
        }
        Ok(()) if started.elapsed() <= DATABASE_DEADLINE => (HealthStatus::Ok, String::new()),
        Ok(()) => (
            HealthStatus::Degraded,
            format!("took {} ms", started.elapsed().as_millis()),
        ),
        Err(error) => (HealthStatus::Failed, error.to_string()),
    }
}

/// Without Redis, workers elsewhere ask the master itself: it is never more than degraded.
fn queue(feed: &Desk) -> (HealthStatus, String) {
    match feed.status() {
        Status::Unknown => (HealthStatus::Disabled, String::new()),
        Status::Fine => (HealthStatus::Ok, String::new()),
        Status::Away(error) => (HealthStatus::Degraded, error),
    }
}

fn disk(health: &Health, looked: &Looked) -> (HealthStatus, String) {
    let stat = match rustix::fs::statvfs(&looked.data_dir) {
        Ok(stat) => stat,
        Err(error) => {
            // What was there before says nothing of now.
            health.signals.disk_free_ratio.clear();
            return (HealthStatus::Failed, error.to_string());
        }
    };
    let free_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    let ratio = if stat.f_blocks == 0 {
        1.0
    } else {
        stat.f_bavail as f64 / stat.f_blocks as f64
    };
    health.signals.disk_free_ratio.set(ratio);
    database_usage(&health.signals, looked);
    let text = format!("{free_bytes} bytes are free, {:.1} %", ratio * 100.0);
    if free_bytes < DISK_FREE_BYTES_MIN {
        (HealthStatus::Failed, text)
    } else if ratio < DISK_FREE_RATIO_LOW {
        (HealthStatus::Degraded, text)
    } else {
        (HealthStatus::Ok, String::new())
    }
}

/// Runs the checks until the task is dropped, one round at a time.
pub(crate) async fn watch(health: Arc<Health>, looked: Arc<Looked>) {
    let mut measured: Option<(Instant, JoinHandle<()>)> = None;
    loop {
        let is_due = |(at, task): &(Instant, JoinHandle<()>)| {
            at.elapsed() >= USAGE_EVERY && task.is_finished()
        };
        if measured.as_ref().is_none_or(is_due) {
            // Beside the round: it may take longer than results may be old.
            let (health, looked) = (Arc::clone(&health), Arc::clone(&looked));
            let task = spawn_blocking(move || usage(&health.signals, &looked));
            measured = Some((Instant::now(), task));
        }
        let round = round_beside(Arc::clone(&health), Arc::clone(&looked));
        wait_for(&health, ROUND_DEADLINE, round).await;
        sleep(CHECK_EVERY).await;
    }
}

fn usage(signals: &Signals, looked: &Looked) {
    if let Ok(bytes) = looked.logs.usage_bytes() {
        signals.disk_usage_bytes.at(DiskKind::Logs).set_u64(bytes);
    }
}

fn database_usage(signals: &Signals, looked: &Looked) {
    let files = ["danube.db", "danube.db-wal", "danube.db-shm"];
    let bytes = files
        .iter()
        .filter_map(|it| std::fs::metadata(looked.data_dir.join(it)).ok())
        .map(|it| it.len())
        .sum();
    signals
        .disk_usage_bytes
        .at(DiskKind::Database)
        .set_u64(bytes);
}

#[cfg(test)]
mod tests {
    use danube_signals::{BuildInfo, Limits};
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn a_check_that_does_not_answer_fails_at_each_deadline_until_it_does() {
        let signals = Signals::new(BuildInfo::default(), Limits::default());
        let health = Health::new(signals.clone());
        let value = |family: &str, check: &str| {
            let sample = format!("danube_health_check_{family}{{check=\"{check}\"}}");
            signals.registry().value(&sample)
        };
        health.ask_all();
        health.answered(Check::Disk, HealthStatus::Ok, "");
        health.answered(Check::Workers, HealthStatus::Disabled, "");
        let round = async {
            while value("consecutive_failures", "database") != Some(3.0) {
                yield_now().await;
            }
        };
        wait_for(&health, Duration::from_millis(1), round).await;
        assert_eq!(value("status", "database"), Some(0.0));
        assert_eq!(value("status", "disk"), Some(1.0));
        assert_eq!(value("status", "workers"), None);
        assert!(!health.report().is_ready);
        // Its answer counts when it comes, and nothing is overdue then.
        health.answered(Check::Database, HealthStatus::Ok, "");
        health.overdue(ROUND_DEADLINE);
        assert_eq!(value("status", "database"), Some(1.0));
        assert_eq!(value("consecutive_failures", "database"), Some(0.0));
    }
}
