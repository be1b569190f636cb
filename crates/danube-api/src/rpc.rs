//! What a worker on another machine and the master say to each other.
//!
//! Every call is a POST over HTTP/2 with the worker's token, [`PROTOCOL_HEADER`] and
//! [`INSTANCE_HEADER`]. Bodies are JSON, but for a log's bytes, which are the body
//! themselves with [`PIECE_HEADER`] beside them. Unknown fields are ignored, so that
//! a worker one minor version older or newer works; what can't work together has
//! another protocol number and is refused by it.
//!
//! The calls are those of the worker's trait `Dispatch`, and a long poll each for new
//! jobs and for what the master wants of running ones.

mod coordinator;
mod playbooks;

use danube_model::{Attempt, Cause, Ended, FailReason, JobId, Order, Step, StepStatus, Timestamp};
use serde::{Deserialize, Serialize};

pub use coordinator::{
    ANSWER_PATH, CALLS_PATH, CallAnswered, CallsAnswer, CallsWanted, GET_SECRET_PATH, LateProblem,
    Noted, REPORT_STATUS_PATH, RUN_STEP_PATH, SecretGiven, StepRun, UPLOAD_ARTIFACT_PATH,
    mask_path, upload_path,
};
pub use playbooks::{
    CredentialsAnswer, CredentialsWanted, GivenCredential, GivenSecret, Played, SecretsAnswer,
};

/// The language of this program's worker and master.
pub const PROTOCOL: u32 = 1;

/// The header that says which language the worker speaks.
pub const PROTOCOL_HEADER: &str = "danube-protocol";

/// The header that tells one process with a token from the next: hexadecimal, drawn
/// when the process starts.
pub const INSTANCE_HEADER: &str = "danube-instance";

/// The header with a [`LogPiece`], beside a log's bytes.
pub const PIECE_HEADER: &str = "danube-log-piece";

/// Where a worker waits for a job.
pub const CLAIM_PATH: &str = "/rpc/claim";

/// Where a worker says what it runs, and waits to be told to stop.
pub const HEARTBEAT_PATH: &str = "/rpc/heartbeat";

/// Where the first step's beginning is told.
pub const STARTED_PATH: &str = "/rpc/started";

/// Where a step is told.
pub const STEP_PATH: &str = "/rpc/step";

/// Where it is told that no step follows.
pub const FINALIZING_PATH: &str = "/rpc/finalizing";

/// Where it is told what a playbook did.
pub const PLAYED_PATH: &str = "/rpc/played";

/// Where a job's credentials are asked for.
pub const CREDENTIALS_PATH: &str = "/rpc/credentials";

/// Where the secrets of a step are asked for.
pub const SECRETS_PATH: &str = "/rpc/secrets";

/// Where the log goes.
pub const APPEND_LOG_PATH: &str = "/rpc/append-log";

/// Where the end is told.
pub const FINISH_PATH: &str = "/rpc/finish";

/// Where a job is handed back.
pub const HAND_BACK_PATH: &str = "/rpc/hand-back";

/// Bytes of a log that are sent at once.
pub const PIECE_BYTES_MAX: usize = 256 * 1024;

/// Origins that one piece tells apart, and marks in it: they travel in a header, whose
/// block may have 16 KiB.
pub const PIECE_RUNS_MAX: usize = 64;

/// A lease, on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// Which job.
    pub job: JobId,
    /// The fencing number.
    pub fence: u64,
    /// How many times the job has been started.
    pub number: u32,
}

impl From<Attempt> for Lease {
    fn from(it: Attempt) -> Self {
        Self {
            job: it.job,
            fence: it.fence,
            number: it.number,
        }
    }
}

impl From<Lease> for Attempt {
    fn from(it: Lease) -> Self {
        Self {
            job: it.job,
            fence: it.fence,
            number: it.number,
        }
    }
}

/// A worker has room for one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What it runs already: what it was given before and isn't here never reached it.
    pub running: Vec<Lease>,
    /// The queues whose jobs it takes; none for all.
    #[serde(default)]
    pub queues: Option<Vec<String>>,
    /// The one job that it wants, of which it heard from Redis; it is answered at once.
    #[serde(default)]
    pub job: Option<JobId>,
}

/// A job for the worker. Holds secrets: there is no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Given {
    /// The right to it.
    pub lease: Lease,
    /// What to do.
    pub order: Order,
    /// W3C trace context of the job.
    pub traceparent: String,
    /// Since when it waited.
    pub queued_at: Timestamp,
    /// Where the attempt's first byte stands in the job's log.
    pub log_base: u64,
    /// What the job's processes show to the master.
    pub token: String,
}

/// The answer to a claim.
#[derive(Clone, Serialize, Deserialize)]
pub struct ClaimAnswer {
    /// A job; none when the time was up.
    pub given: Option<Given>,
    /// The job that it wanted isn't to be had: somebody else has it, or its queue is full.
    #[serde(default)]
    pub refused: bool,
}

/// What a worker says of a job that it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Which.
    pub lease: Lease,
    /// Hexadecimal SHA-256 of the token that its processes show to the master.
    pub token_sha256: String,
    /// Late values that its log keeps out by now, of those that the master told.
    #[serde(default)]
    pub masked: u32,
    /// It has been told to stop, and is on its way.
    #[serde(default)]
    pub stopping: bool,
    /// The same of the token of its called steps, where it has a coordinator.
    #[serde(default)]
    pub steps_token_sha256: Option<String>,
}

/// A worker is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// What it runs.
    pub running: Vec<Running>,
    /// Answer at once: it has just begun to run something or has news.
    #[serde(default)]
    pub at_once: bool,
    /// The master's epoch of the latest answer: values that another one told count anew.
    #[serde(default)]
    pub epoch: String,
    /// The queues whose jobs it takes; none for all.
    #[serde(default)]
    pub queues: Option<Vec<String>>,
    /// It ends now: nobody is to miss it.
    #[serde(default)]
    pub leaving: bool,
}

/// Where in Redis jobs are to be heard of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispatch {
    /// How the master's keys begin.
    pub prefix: String,
    /// The queues, the one with the highest priority first.
    pub queues: Vec<String>,
}

/// What to do with a running job. Holds secrets: there is no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Which.
    pub lease: Lease,
    /// It is to be cancelled.
    #[serde(default)]
    pub cancel: bool,
    /// Somebody else has it: end it, and say nothing of it.
    #[serde(default)]
    pub lost: bool,
    /// Values that its log is to keep out from now on, from the one with the number
    /// `masks_from` on.
    #[serde(default)]
    pub masks: Vec<String>,
    /// How many the worker was told before.
    #[serde(default)]
    pub masks_from: u32,
}

/// The answer to a heartbeat.
#[derive(Clone, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// What to do, of jobs for which there is something to do.
    #[serde(default)]
    pub wishes: Vec<Wish>,
    /// How long the worker may be silent before its jobs go to others.
    pub lease_seconds: u64,
    /// Tells this start of the master from others.
    #[serde(default)]
    pub epoch: String,
    /// What the master calls this worker.
    pub worker: String,
    /// Where Redis carries what waits: of the worker's queues.
    #[serde(default)]
    pub dispatch: Option<Dispatch>,
}

/// The first step is about to begin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// Of which attempt.
    pub lease: Lease,
    /// All steps.
    pub steps: Vec<StepReport>,
}

/// A step began or ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepChanged {
    /// Of which attempt.
    pub lease: Lease,
    /// Which step.
    pub index: usize,
    /// As it is now.
    pub step: StepReport,
}

/// No step follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finalizing {
    /// Of which attempt.
    pub lease: Lease,
}

/// A step, on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub status: StepStatus,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Offset in the job's log where its output begins.
    pub log_start: Option<u64>,
    /// Offset after its output.
    pub log_end: Option<u64>,
    /// CPU seconds of its processes.
    pub cpu_seconds: Option<f64>,
    /// Largest resident memory of one of them.
    pub max_rss_bytes: Option<u64>,
}

impl From<&Step> for StepReport {
    fn from(it: &Step) -> Self {
        Self {
            name: it.name.clone(),
            status: it.status,
            exit_code: it.exit_code,
            started_at: it.started_at,
            finished_at: it.finished_at,
            log_start: it.log_start,
            log_end: it.log_end,
            cpu_seconds: it.cpu_seconds,
            max_rss_bytes: it.max_rss_bytes,
        }
    }
}

impl From<StepReport> for Step {
    fn from(it: StepReport) -> Self {
        Self {
            name: it.name,
            status: it.status,
            exit_code: it.exit_code,
            started_at: it.started_at,
            finished_at: it.finished_at,
            log_start: it.log_start,
            log_end: it.log_end,
            cpu_seconds: it.cpu_seconds,
            max_rss_bytes: it.max_rss_bytes,
        }
    }
}

/// Where the bytes beside it belong. Offsets are those of the job's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPiece {
    /// Of which attempt.
    pub lease: Lease,
    /// Where the bytes begin.
    pub offset: u64,
    /// Where they came from, in order: `o`, `e` or `m` (both), how many, and when (Unix
    /// time in microseconds).
    #[serde(default)]
    pub runs: Vec<(char, u64, u64)>,
    /// Points in them that mean something.
    #[serde(default)]
    pub marks: Vec<LogMark>,
    /// Behind them the worker lost what came up to here.
    #[serde(default)]
    pub gap_to: Option<u64>,
}

/// A point in a log that means something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogMark {
    /// Where.
    pub at: u64,
    /// What.
    #[serde(flatten)]
    pub what: MarkKind,
}

/// What a mark means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// A step begins.
    Begin(u32),
    /// A step has ended.
    End(u32),
    /// The step that began last is this span: hexadecimal.
    Span(String),
    /// The play with this number begins, of the attempt's, counted from 0.
    Play(u32),
    /// The task with this number begins, counted through all plays.
    Task(u32),
    /// What follows belongs to no play.
    PlaysEnd(()),
}

/// The answer to a piece of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceAnswer {
    /// Where the master's log ends now: the next piece begins there.
    pub end: u64,
}

/// The attempt has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finish {
    /// Which.
    pub lease: Lease,
    /// `succeeded`, `failed`, `timed_out` or `stopped`.
    pub cause: String,
    /// Why it failed, where it did: the kind for machines.
    pub failed: Option<String>,
    /// The exit code that decided.
    pub exit_code: Option<i32>,
    /// Why, for people; without secrets.
    pub reason: Option<String>,
    /// The limit that was passed.
    pub timeout_seconds: Option<u64>,
    /// Every step in its final state.
    pub steps: Vec<StepReport>,
    /// Where the attempt's log ends.
    pub log_end: u64,
    /// The worker couldn't write all of it down.
    pub log_is_cut: bool,
    /// Its spans: OTLP's `TracesData`, in base64.
    pub spans: Option<Spans>,
}

/// The spans of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spans {
    /// OTLP's `TracesData` as protobuf, in base64.
    pub data: String,
    /// The attempt ended badly.
    pub has_failed: bool,
    /// How long it took.
    pub took_seconds: f64,
}

impl Finish {
    /// What is reported, without spans.
    #[must_use]
    pub fn of(attempt: Attempt, ended: &Ended) -> Self {
        let failed = match ended.cause {
            Cause::Failed(reason) => Some(reason.as_str().to_owned()),
            _ => None,
        };
        Self {
            lease: attempt.into(),
            cause: ended.cause.as_str().to_owned(),
            failed,
            exit_code: ended.exit_code,
            reason: ended.reason.clone(),
            timeout_seconds: ended.timeout_seconds,
            steps: ended.steps.iter().map(StepReport::from).collect(),
            log_end: ended.log_bytes,
            log_is_cut: !ended.log_complete && ended.log_missing_bytes == 0,
            spans: None,
        }
    }

    /// The report; none when its cause is no end.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        let cause = match self.cause.as_str() {
            "succeeded" => Cause::Succeeded,
            "timed_out" => Cause::TimedOut,
            "stopped" => Cause::Stopped,
            "failed" => Cause::Failed(fail_reason(self.failed.as_deref()?)?),
            _ => return None,
        };
        Some(Ended {
            cause,
            exit_code: self.exit_code,
            reason: self.reason.clone(),
            timeout_seconds: self.timeout_seconds,
            steps: self.steps.iter().cloned().map(Step::from).collect(),
            log_bytes: self.log_end,
            log_complete: !self.log_is_cut,
            log_missing_bytes: 0,
        })
    }
}

fn fail_reason(text: &str) -> Option<FailReason> {
    FailReason::ALL.into_iter().find(|it| it.as_str() == text)
}

/// The worker leaves, and the job goes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HandBack {
    /// Which attempt.
    pub lease: Lease,
    /// Why, for people.
    pub reason: String,
    /// A step has begun.
    pub may_have_run: bool,
    /// Where the attempt's log ends.
    pub log_end: u64,
    /// Its spans.
    pub spans: Option<Spans>,
}

/// The answer to a report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_the_wire_and_fields_of_a_newer_worker_are_ignored() {
        let attempt = Attempt {
            job: JobId::new(),
            fence: 3,
            number: 2,
        };
        for cause in [
            Cause::Succeeded,
            Cause::TimedOut,
            Cause::Stopped,
            Cause::Failed(FailReason::StepFailed),
            Cause::Failed(FailReason::LogFailed),
        ] {
            let ended = Ended {
                cause,
                exit_code: Some(1),
                reason: Some("why".to_owned()),
                timeout_seconds: None,
                steps: vec![Step::pending("a")],
                log_bytes: 7,
                log_complete: true,
                log_missing_bytes: 0,
            };
            let mut wire = serde_json::to_value(Finish::of(attempt, &ended)).unwrap();
            wire["mood"] = "good".into();
            let back: Finish = serde_json::from_value(wire).unwrap();
            assert_eq!(back.ended(), Some(ended));
            assert_eq!(Attempt::from(back.lease), attempt);
        }
    }

    #[test]
    fn what_is_no_end_is_no_report() {
        let report = |cause: &str, failed: Option<&str>| Finish {
            lease: Lease {
                job: JobId::new(),
                fence: 1,
                number: 1,
            },
            cause: cause.to_owned(),
            failed: failed.map(str::to_owned),
            exit_code: None,
            reason: None,
            timeout_seconds: None,
            steps: Vec::new(),
            log_end: 0,
            log_is_cut: false,
            spans: None,
        };
        for (cause, failed) in [("claimed", None), ("failed", None), ("failed", Some("x"))] {
            assert_eq!(report(cause, failed).ended(), None, "{cause} {failed:?}");
        }
    }
}
