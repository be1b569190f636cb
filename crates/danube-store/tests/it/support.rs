//! What the tests have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use danube_model::spec::{Limits, Pipeline, Queueing, Shell, Step as PipelineStep};
use danube_model::{Attempt, Cause, Ended, Job, JobId, Order, Step, StepStatus, Task, Trigger};
use danube_store::{
    Assignment, Claimed, Lane, Meter, NewJob, Operation, Options, Store, StoreError,
};
use tempfile::TempDir;

pub(crate) fn store() -> (Store, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (open(dir.path()), dir)
}

pub(crate) fn open(dir: &Path) -> Store {
    Store::open(dir, Options::default()).unwrap()
}

/// Makes the database look as one of schema 2 does: what came later is taken away.
pub(crate) fn back_to_schema_2(connection: &rusqlite::Connection) {
    let steps = "DROP INDEX jobs_pending; DROP INDEX jobs_subject; DROP TABLE credentials; DROP TABLE credential_uses; \
                 DROP TABLE playbook_runs; DROP TABLE playbook_events; DROP TABLE workers; \
                 DROP TABLE webhooks; DROP TABLE webhook_attempts; DROP TABLE webhook_secrets; \
                 DROP TABLE webhook_old_secrets; DROP TABLE webhook_origins; DROP TABLE forge_jobs; DROP TABLE forge_deliveries; DROP TABLE forge_inbox; DROP TABLE audit; DROP TABLE artifacts; DROP TABLE secrets; DROP TABLE blueprint; DROP TABLE cron_times; DROP TABLE images; DROP TABLE sessions; DROP TABLE job_users; \
                 ALTER TABLE api_keys DROP COLUMN expires_at; ALTER TABLE api_keys DROP COLUMN account; ALTER TABLE api_keys DROP COLUMN pipelines; ALTER TABLE api_keys DROP COLUMN user; \
                 ALTER TABLE jobs DROP COLUMN source; ALTER TABLE jobs DROP COLUMN source_type; ALTER TABLE jobs DROP COLUMN team; \
                 ALTER TABLE jobs DROP COLUMN concurrency; ALTER TABLE jobs DROP COLUMN lane; ALTER TABLE jobs DROP COLUMN subject; ALTER TABLE jobs DROP COLUMN superseded_by; \
                 DELETE FROM meta WHERE name = 'hash_key'; PRAGMA user_version = 2";
    connection.execute_batch(steps).unwrap();
}

/// Closes and opens again, as a restart does.
pub(crate) fn reopened(store: Store, dir: &Path) -> Store {
    assert!(store.close(Duration::from_secs(10)));
    drop(store);
    open(dir)
}

pub(crate) fn order(pipeline: &str) -> Order {
    Order {
        task: Task::Pipeline(Pipeline {
            name: pipeline.into(),
            repository: None,
            git_ref: None,
            max_duration_seconds: 60,
            parameters: None,
            env: BTreeMap::new(),
            shell: Shell::Sh,
            retry_on_lost: true,
            limits: Limits::default(),
            secrets: BTreeSet::new(),
            queueing: Queueing::default(),
            steps: vec![PipelineStep {
                name: "say".into(),
                run: "echo hi".into(),
                env: BTreeMap::new(),
                secrets: BTreeMap::new(),
                shell: None,
                timeout_seconds: None,
                continue_on_error: false,
                artifacts: Vec::new(),
                coordinates: false,
            }],
        }),
        git_ref: Some("main".into()),
        parameters: BTreeMap::new(),
        masks: Vec::new(),
        trace: danube_model::Trace::default(),
        forge: None,
    }
}

pub(crate) fn new_job(pipeline: &str) -> NewJob {
    NewJob {
        id: JobId::new(),
        order: order(pipeline),
        trigger: Trigger::Api,
        submitted_by: "admin".into(),
        owner: "1".into(),
        trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        retry_on_lost: true,
        queue: "default".into(),
        idempotency: None,
        callback: None,
        subject: None,
    }
}

/// The default queue's lane of no team and no bounded pipeline.
pub(crate) fn plain_lane() -> Lane {
    Lane {
        queue: "default".into(),
        ..Lane::default()
    }
}

pub(crate) fn submit(store: &Store) -> Job {
    submit_of(store, "build")
}

pub(crate) fn submit_of(store: &Store, pipeline: &str) -> Job {
    store.submit(new_job(pipeline)).wait().unwrap().job
}

pub(crate) fn assignment(job: JobId) -> Assignment {
    Assignment {
        job,
        worker: "w1".into(),
    }
}

pub(crate) fn claim(store: &Store, job: JobId) -> Claimed {
    let mut claimed = store.claim(vec![assignment(job)]).wait().unwrap().claimed;
    assert_eq!(claimed.len(), 1, "{job} is pending");
    claimed.remove(0)
}

/// A job whose step runs.
pub(crate) fn running(store: &Store) -> Attempt {
    let claimed = claim(store, submit(store).id);
    let steps = vec![Step::pending("say")];
    store.started(claimed.attempt, steps).wait().unwrap();
    claimed.attempt
}

pub(crate) fn ended(cause: Cause) -> Ended {
    Ended {
        timeout_seconds: None,
        cause,
        exit_code: Some(0),
        reason: None,
        steps: vec![Step {
            status: StepStatus::Success,
            ..Step::pending("say")
        }],
        log_bytes: 3,
        log_complete: true,
        log_missing_bytes: 0,
    }
}

pub(crate) fn is_fenced<T: std::fmt::Debug>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Fenced { .. }))
}

/// Remembers what it was told.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) operations: Mutex<BTreeMap<&'static str, u64>>,
    pub(crate) waited_micros: AtomicU64,
    pub(crate) connections: AtomicI64,
    pub(crate) connections_max: AtomicI64,
    pub(crate) counts: Mutex<(u64, u64)>,
}

impl Meter for Recorder {
    fn query(&self, operation: Operation, _: Duration) {
        let name = operation.as_str().unwrap_or("other");
        *self.operations.lock().unwrap().entry(name).or_default() += 1;
    }

    fn lock_waited(&self, waited: Duration) {
        let micros = u64::try_from(waited.as_micros()).unwrap();
        self.waited_micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn connections(&self, in_use: i64) {
        self.connections.store(in_use, Ordering::Relaxed);
        self.connections_max.fetch_max(in_use, Ordering::Relaxed);
    }

    fn counts(&self, pending: u64, active: u64) {
        *self.counts.lock().unwrap() = (pending, active);
    }
}

pub(crate) fn recorded(dir: &Path) -> (Store, Arc<Recorder>) {
    recorded_waiting(dir, Duration::from_millis(200))
}

/// With so much patience for a lock that another process holds.
pub(crate) fn recorded_waiting(dir: &Path, lock_wait_max: Duration) -> (Store, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let options = Options {
        meter: Arc::clone(&recorder) as Arc<dyn Meter>,
        lock_wait_max,
        ..Options::default()
    };
    (Store::open(dir, options).unwrap(), recorder)
}

/// The variable by which a test knows that it is the child of another one.
const CHILD_DIR: &str = "DANUBE_STORE_TEST_CHILD_DIR";

/// This test binary again, running only the test `name`, as a process that can
/// be killed.
pub(crate) fn child(name: &str, dir: &Path) -> Child {
    child_after("true", name, dir)
}

/// The same, after a shell ran `script` in that process.
pub(crate) fn child_after(script: &str, name: &str, dir: &Path) -> Child {
    Command::new("sh")
        .args(["-c", &format!("{script}; exec \"$@\""), "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The directory of the parent; none when the test was started by a person.
pub(crate) fn child_dir() -> Option<std::path::PathBuf> {
    std::env::var_os(CHILD_DIR).map(Into::into)
}
