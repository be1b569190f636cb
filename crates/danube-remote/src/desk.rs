//! What the worker reports to: the master, by way of the shipments.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use danube_api::rpc::{
    CREDENTIALS_PATH, CredentialsAnswer, CredentialsWanted, FINISH_PATH, Finalizing, Finish,
    GivenCredential, HAND_BACK_PATH, HandBack, Played, SECRETS_PATH, SecretsAnswer, Spans, Started,
    StepChanged, StepReport, Taken,
};
use danube_model::credential::{Credential, SecretText};
use danube_model::playbook::{Progress, RunRecord};
use danube_model::{Attempt, Ended, JobId, Step};
use danube_telemetry::trace::wire;
use danube_worker::{Dispatch, Door, Leaving, Opened, ReportError, Traced, Unkept};
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::link::CallError;
use crate::relay;
use crate::shipment::{Carrier, Report, Shipment, Shipped};
use crate::upload::upload;

/// How long a report waits for the log before it, and for its own answer; the worker
/// tries again.
const REPORT_DEADLINE: Duration = Duration::from_secs(15);

/// How long a job waits for its credentials while the master is away.
const CREDENTIALS_DEADLINE: Duration = Duration::from_secs(60);

/// How often they are asked for meanwhile.
const CREDENTIALS_RETRY_EVERY: Duration = Duration::from_millis(500);

/// How long a job that is handed back waits for its log to be at the master.
const LAST_LOG_DEADLINE: Duration = Duration::from_secs(3);

/// Takes the worker's reports.
pub(crate) struct Desk {
    runtime: Handle,
    pub(crate) carrier: Carrier,
    shipments: Mutex<HashMap<JobId, Arc<Shipment>>>,
    /// Rings when a job has ended.
    pub(crate) freed: Notify,
}

impl Desk {
    pub(crate) fn new(runtime: Handle, carrier: Carrier) -> Self {
        Self {
            runtime,
            carrier,
            shipments: Mutex::default(),
            freed: Notify::new(),
        }
    }

    /// A job was given; its log begins at `base`.
    pub(crate) fn begin(&self, attempt: Attempt, base: u64) -> Arc<Shipment> {
        let shipment = Arc::new(Shipment::new(attempt, base));
        self.lock().insert(attempt.job, Arc::clone(&shipment));
        shipment
    }

    /// The attempt's shipment, while it is under way.
    pub(crate) fn shipment(&self, attempt: Attempt) -> Option<Arc<Shipment>> {
        let shipments = self.lock();
        let found = shipments.get(&attempt.job);
        found.filter(|it| it.attempt == attempt).cloned()
    }

    /// Forgets what isn't run any more and had nothing to tell.
    pub(crate) fn prune(&self, running: &[Attempt]) {
        let all: Vec<Attempt> = self.lock().values().map(|it| it.attempt).collect();
        for attempt in all.into_iter().filter(|it| !running.contains(it)) {
            self.forget(attempt);
        }
    }

    /// Nothing more is told of the attempt, and its log goes.
    pub(crate) fn forget(&self, attempt: Attempt) {
        let found = self.shipment(attempt);
        if let Some(shipment) = found {
            shipment.over();
            self.lock().remove(&attempt.job);
        }
        // What stays is cleared away with the next start.
        let _ = self.carrier.logs.delete(&attempt.job.to_string());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Shipment>>> {
        // Whole after every line that changes it.
        self.shipments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self, attempt: Attempt) -> Result<Arc<Shipment>, ReportError> {
        let shipment = self.shipment(attempt).filter(|it| !it.is_over());
        shipment.ok_or(ReportError::Fenced)
    }

    /// Waits until the master has the log up to `end`, and all reports; how far it is.
    fn shipped(&self, shipment: &Shipment, end: u64, time: Duration) -> (u64, Shipped) {
        let number = shipment.ask();
        let mut shipped = shipment.watch();
        self.runtime.block_on(async move {
            let whole = |it: &Shipped| it.is_over || (it.end >= end && it.idle_for >= number);
            let waited = tokio::time::timeout(time, shipped.wait_for(whole)).await;
            drop(waited);
            (number, *shipped.borrow())
        })
    }

    /// The end of the spool's log, as the job's log counts.
    fn log_end(&self, shipment: &Shipment) -> u64 {
        let reader = self.carrier.logs.reader(&shipment.attempt.job.to_string());
        shipment.base + reader.map_or(0, |it| it.end())
    }

    /// What a job needs, from a master that may be away for a moment.
    fn wanted<T: DeserializeOwned>(
        &self,
        path: &'static str,
        attempt: Attempt,
        names: Vec<String>,
    ) -> Result<T, ReportError> {
        let shipment = self.live(attempt)?;
        let lease = attempt.into();
        let wanted = CredentialsWanted { lease, names };
        let until = Instant::now() + CREDENTIALS_DEADLINE;
        loop {
            let call = self.carrier.link.call(path, &wanted, REPORT_DEADLINE);
            match self.runtime.block_on(call) {
                // A master that restarts is back in a moment.
                Err(CallError::Away(_)) if Instant::now() < until && !shipment.is_over() => {
                    std::thread::sleep(CREDENTIALS_RETRY_EVERY);
                }
                Err(CallError::Fenced) => return Err(ReportError::Fenced),
                Err(
                    CallError::Away(why) | CallError::Unauthorized(why) | CallError::Wrong(why),
                ) => {
                    return Err(ReportError::Unavailable(why));
                }
                Ok(answer) => return Ok(answer),
            }
        }
    }

    fn send(&self, path: &'static str, body: &impl serde::Serialize) -> Result<Taken, CallError> {
        self.runtime
            .block_on(self.carrier.link.call(path, body, REPORT_DEADLINE))
    }
}

impl Dispatch for Desk {
    // Progress isn't waited for: a master that is away holds no job up.

    fn started(&self, attempt: Attempt, steps: &[Step]) -> Result<(), ReportError> {
        let started = Started {
            lease: attempt.into(),
            steps: steps.iter().map(StepReport::from).collect(),
        };
        self.live(attempt)?.report(Report::Started(started));
        Ok(())
    }

    fn step(&self, attempt: Attempt, index: usize, step: &Step) -> Result<(), ReportError> {
        let changed = StepChanged {
            lease: attempt.into(),
            index,
            step: step.into(),
        };
        self.live(attempt)?.report(Report::Step(changed));
        Ok(())
    }

    fn finalizing(&self, attempt: Attempt) {
        if let Ok(shipment) = self.live(attempt) {
            let lease = attempt.into();
            shipment.report(Report::Finalizing(Finalizing { lease }));
        }
    }

    fn played(&self, attempt: Attempt, records: Vec<RunRecord>, progress: &Progress) {
        if let Ok(shipment) = self.live(attempt) {
            shipment.played(Played {
                lease: attempt.into(),
                records,
                progress: progress.clone(),
            });
        }
    }

    fn credentials(
        &self,
        attempt: Attempt,
        names: Vec<String>,
    ) -> Result<Vec<Credential>, ReportError> {
        let answer: CredentialsAnswer = self.wanted(CREDENTIALS_PATH, attempt, names)?;
        if let Some(why) = answer.refused {
            return Err(ReportError::Broken(why));
        }
        let given = answer.credentials.into_iter();
        let given: Option<Vec<Credential>> = given.map(GivenCredential::credential).collect();
        let why = "the master gives a kind of credential that this worker doesn't know";
        given.ok_or_else(|| ReportError::Broken(why.to_owned()))
    }

    fn secrets(
        &self,
        attempt: Attempt,
        names: Vec<String>,
    ) -> Result<Vec<(String, SecretText)>, ReportError> {
        let answer: SecretsAnswer = self.wanted(SECRETS_PATH, attempt, names)?;
        if let Some(why) = answer.refused {
            return Err(ReportError::Broken(why));
        }
        let given = answer.secrets.into_iter();
        Ok(given
            .map(|it| (it.name, SecretText::new(it.value)))
            .collect())
    }

    fn keep(&self, attempt: Attempt, leaving: &Leaving<'_>) -> Result<[u8; 32], Unkept> {
        if self.live(attempt).is_err() {
            return Err(Unkept::Fenced);
        }
        upload((&self.runtime, &self.carrier.link), attempt, leaving)
    }

    fn relay(&self, door: Door) -> io::Result<Opened> {
        let channel = {
            let _in_runtime = self.runtime.enter();
            self.carrier.link.another()
        };
        let on = move |request| relay::forward(channel.clone(), request);
        Ok(Box::new(relay::serve(&self.runtime, door, on)?))
    }

    fn finish(&self, attempt: Attempt, ended: &Ended) -> Result<(), ReportError> {
        let shipment = self.live(attempt)?;
        let mut finish = Finish::of(attempt, ended);
        // Also of a log that couldn't be closed.
        finish.log_end = self.log_end(&shipment);
        let (number, shipped) = self.shipped(&shipment, finish.log_end, REPORT_DEADLINE);
        if shipped.is_over {
            return Err(ReportError::Fenced);
        }
        if shipped.end < finish.log_end || shipped.idle_for < number {
            let why = "the master hasn't the whole log yet".to_owned();
            return Err(ReportError::Unavailable(why));
        }
        finish.spans = spans(&shipment);
        answered(&shipment, self.send(FINISH_PATH, &finish))
    }

    fn hand_back(
        &self,
        attempt: Attempt,
        reason: &str,
        may_have_run: bool,
    ) -> Result<(), ReportError> {
        let shipment = self.live(attempt)?;
        let log_end = self.log_end(&shipment);
        let (_, shipped) = self.shipped(&shipment, log_end, LAST_LOG_DEADLINE);
        if shipped.is_over {
            return Err(ReportError::Fenced);
        }
        let back = HandBack {
            lease: attempt.into(),
            reason: reason.to_owned(),
            may_have_run,
            log_end,
            spans: spans(&shipment),
        };
        answered(&shipment, self.send(HAND_BACK_PATH, &back))
    }

    fn ends(&self, traced: &Traced) {
        let Some(shipment) = self.shipment(traced.attempt) else {
            return;
        };
        let spans = Spans {
            data: STANDARD.encode(wire::encode(traced.spans.clone())),
            has_failed: traced.has_failed,
            took_seconds: traced.took.as_secs_f64(),
        };
        let mut kept = shipment
            .spans
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *kept = Some(spans);
    }

    fn ended(&self, traced: Traced, _is_taken: bool) {
        self.forget(traced.attempt);
    }

    fn freed(&self) {
        self.freed.notify_one();
    }
}

fn spans(shipment: &Shipment) -> Option<Spans> {
    let kept = shipment
        .spans
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    kept.clone()
}

fn answered(shipment: &Shipment, sent: Result<Taken, CallError>) -> Result<(), ReportError> {
    match sent {
        Ok(Taken {}) => Ok(()),
        Err(CallError::Fenced) => Err(ReportError::Fenced),
        Err(CallError::Away(why)) => {
            // It may be that it lost the end of the log.
            shipment.recount();
            Err(ReportError::Unavailable(why))
        }
        Err(CallError::Unauthorized(why) | CallError::Wrong(why)) => Err(ReportError::Broken(why)),
    }
}
