//! The life of a worker process: asks for jobs, says what it runs, and leaves.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use danube_api::rpc::{HEARTBEAT_PATH, Heartbeat, HeartbeatAnswer, Running, Wish};
use danube_executor::Stop;
use danube_joblog::{JobLogs, MaskError, Rules, Secrets};
use danube_model::Attempt;
use danube_queue::Address;
use danube_signals::{Signals, WorkerConnected, WorkerDisconnected};
use danube_worker::{Dispatch, NoWorker, Settings, Worker};
use tokio::sync::watch;

use crate::desk::Desk;
use crate::hearing::Hearing;
use crate::leave::StopSignals;
use crate::link::{CallError, Link, Master};
use crate::pieces::hex;
use crate::shipment::Carrier;
use crate::watchdog::Life;

/// How long a claim may take: the master answers within 25 s.
pub(crate) const CLAIM_DEADLINE: Duration = Duration::from_secs(40);

/// What a heartbeat may take beyond the third of a lease that the master holds it.
pub(crate) const HEARTBEAT_SLACK: Duration = Duration::from_secs(5);

/// How long a worker that ends waits until the master has heard of it.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(1);

/// The lease until the master has said what it is.
const LEASE_AT_FIRST: Duration = Duration::from_secs(30);

/// How long to wait before a master that is away is asked again.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Threads of the runtime: calls wait for the network alone.
const RUNTIME_THREADS: usize = 2;

/// Where a worker lives on this machine.
pub struct Home {
    /// What the worker is told. Its id is the name that the master knows it by.
    pub settings: Settings,
    /// Logs until the master has them.
    pub logs: JobLogs,
    /// How long running jobs may go on after SIGTERM.
    pub grace: Duration,
    /// The queues whose jobs it takes; none for all.
    pub queues: Option<Vec<String>>,
    /// The Redis in which it hears of jobs; without it, it waits at the master.
    pub redis: Option<Address>,
}

/// Why a worker didn't start, or couldn't go on.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The address can't be used.
    #[error("{0}")]
    Address(String),
    /// The master doesn't know the token, or no more.
    #[error("{0}")]
    Unauthorized(String),
    /// The master doesn't speak our language.
    #[error("{0}")]
    Wrong(String),
    /// Jobs can't run here.
    #[error(transparent)]
    Worker(#[from] NoWorker),
    /// The system refused a thread or a signal handler.
    #[error("{doing}: {source}")]
    System {
        /// A verb phrase.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Works until it is told to stop and has drained, or its token is revoked.
///
/// # Errors
/// [`RemoteError`]
pub fn run(master: &Master, home: Home, signals: &Signals) -> Result<(), RemoteError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .thread_name("link")
        .enable_all()
        .build()
        .map_err(system("start the runtime"))?;
    let link = {
        let _in_runtime = runtime.enter();
        Link::new(master, signals).map_err(RemoteError::Address)?
    };
    let ran = runtime.block_on(live(link, home, (&master.url, signals)));
    // A call that hangs doesn't hold up the end.
    runtime.shutdown_background();
    ran
}

async fn live(link: Link, home: Home, (url, signals): (&str, &Signals)) -> Result<(), RemoteError> {
    let mut stop = StopSignals::listen().map_err(system("listen for signals"))?;
    let Home {
        mut settings,
        logs,
        grace,
        queues,
        redis,
    } = home;
    let life = Life::new(url);
    let asked = hello(&link, (signals, url, &life), queues.as_ref(), &mut stop);
    let Some(hello) = asked.await? else {
        return Ok(());
    };
    settings.id.clone_from(&hello.worker);
    let jobs_at_once = settings.jobs_at_once;
    let carrier = Carrier {
        link,
        logs: logs.clone(),
    };
    let desk = Arc::new(Desk::new(tokio::runtime::Handle::current(), carrier));
    let worker = Worker::new(
        settings,
        Arc::clone(&desk) as Arc<dyn Dispatch>,
        logs,
        signals.clone(),
    )?;
    let hearing = Hearing::new(redis, signals);
    let agent = Arc::new(Agent {
        queues,
        hearing,
        desk,
        worker,
        signals: signals.clone(),
        url: url.to_owned(),
        jobs_at_once,
        told: Mutex::default(),
        lost: watch::Sender::new(None),
    });
    agent.connected();
    agent.hearing.told(&hello);
    let claims = tokio::spawn(Arc::clone(&agent).claim());
    let beats = tokio::spawn(Arc::clone(&agent).beat(hello));
    let tasks = vec![claims.abort_handle(), beats.abort_handle()];
    let mut watched = life
        .works(agent.worker.id(), signals, tasks)
        .map_err(system("start the watchdog"))?;
    let ended = agent.until_it_ends(&mut stop).await;
    watched.stops(agent.worker.running().len());
    claims.abort();
    let _ = claims.await;
    agent.hearing.leave().await;
    let ran = match ended {
        Some(why) => {
            agent.give_up().await;
            Err(why.into())
        }
        None => {
            agent.drain(grace, &mut stop).await;
            Ok(())
        }
    };
    beats.abort();
    let _ = beats.await;
    if ran.is_ok() {
        agent.say_goodbye().await;
    }
    agent.worker.clean_up();
    ran
}

/// Makes itself known; none when it is told to stop before the master answers.
async fn hello(
    link: &Link,
    (signals, url, life): (&Signals, &str, &Life),
    queues: Option<&Vec<String>>,
    stop: &mut StopSignals,
) -> Result<Option<HeartbeatAnswer>, RemoteError> {
    let body = Heartbeat {
        running: Vec::new(),
        at_once: true,
        epoch: String::new(),
        queues: queues.cloned(),
        leaving: false,
    };
    let mut is_told = false;
    loop {
        life.waits();
        let answer = tokio::select! {
            answer = link.call(HEARTBEAT_PATH, &body, HEARTBEAT_SLACK) => answer,
            _ = stop.next() => return Ok(None),
        };
        match answer {
            Ok(answer) => return Ok(Some(answer)),
            Err(CallError::Unauthorized(why)) => return Err(RemoteError::Unauthorized(why)),
            Err(CallError::Wrong(why)) => return Err(RemoteError::Wrong(why)),
            Err(CallError::Away(why)) if !is_told => {
                is_told = true;
                signals.emit(WorkerDisconnected {
                    worker_id: None,
                    server: url,
                    error: &why,
                });
            }
            Err(_) => {}
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

/// Why the worker can't go on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Lost {
    Unauthorized(String),
    Wrong(String),
}

impl From<Lost> for RemoteError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Unauthorized(why) => Self::Unauthorized(why),
            Lost::Wrong(why) => Self::Wrong(why),
        }
    }
}

pub(crate) struct Agent {
    pub(crate) desk: Arc<Desk>,
    pub(crate) worker: Worker,
    pub(crate) signals: Signals,
    pub(crate) queues: Option<Vec<String>>,
    pub(crate) hearing: Hearing,
    url: String,
    jobs_at_once: usize,
    /// What the master told of running jobs, and was done.
    told: Mutex<Told>,
    lost: watch::Sender<Option<Lost>>,
}

#[derive(Default)]
struct Told {
    stopping: HashSet<Attempt>,
    masked: HashMap<Attempt, u32>,
}

impl Agent {
    /// Waits until it is told to stop, or can't go on: then why.
    async fn until_it_ends(&self, stop: &mut StopSignals) -> Option<Lost> {
        let mut lost = self.lost.subscribe();
        tokio::select! {
            _ = stop.next() => None,
            why = lost.wait_for(Option::is_some) => why.ok().and_then(|it| it.clone()),
        }
    }

    fn connected(&self) {
        self.signals.emit(WorkerConnected {
            worker_id: self.worker.id(),
            server: &self.url,
            jobs_at_once: self.jobs_at_once as u64,
        });
    }

    /// Says what runs, again and again, and does what the answers say.
    async fn beat(self: Arc<Self>, hello: HeartbeatAnswer) {
        let (mut epoch, mut lease) = (hello.epoch, LEASE_AT_FIRST);
        let mut is_away = false;
        loop {
            let beat = self.heartbeat(&epoch);
            let deadline = lease / 3 + HEARTBEAT_SLACK;
            let link = &self.desk.carrier.link;
            match link
                .call::<HeartbeatAnswer>(HEARTBEAT_PATH, &beat, deadline)
                .await
            {
                Ok(answer) => {
                    if std::mem::take(&mut is_away) {
                        self.connected();
                    }
                    lease = Duration::from_secs(answer.lease_seconds);
                    self.hearing.told(&answer);
                    if answer.epoch != epoch {
                        self.told().masked.clear();
                        epoch = answer.epoch;
                    }
                    for wish in answer.wishes {
                        self.heed(wish).await;
                    }
                }
                Err(error) => {
                    self.note(&error);
                    if !std::mem::replace(&mut is_away, true) {
                        self.signals.emit(WorkerDisconnected {
                            worker_id: Some(self.worker.id()),
                            server: &self.url,
                            error: &error.to_string(),
                        });
                    }
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    fn heartbeat(&self, epoch: &str) -> Heartbeat {
        let held = self.worker.held();
        let mut told = self.told();
        let is_held = |attempt: &Attempt| held.iter().any(|it| it.attempt == *attempt);
        told.stopping.retain(is_held);
        told.masked.retain(|attempt, _| is_held(attempt));
        let running = held.iter().map(|it| Running {
            lease: it.attempt.into(),
            token_sha256: hex(&it.token),
            masked: told.masked.get(&it.attempt).copied().unwrap_or(0),
            stopping: told.stopping.contains(&it.attempt),
            steps_token_sha256: it.steps_token.as_ref().map(|it| hex(it)),
        });
        Heartbeat {
            running: running.collect(),
            at_once: false,
            epoch: epoch.to_owned(),
            queues: self.queues.clone(),
            leaving: false,
        }
    }

    /// Says that this process ends, so that nobody misses it. Unheard, it is missed for a while.
    async fn say_goodbye(&self) {
        let goodbye = Heartbeat {
            at_once: true,
            leaving: true,
            ..self.heartbeat("")
        };
        let link = &self.desk.carrier.link;
        let _ = link
            .call::<HeartbeatAnswer>(HEARTBEAT_PATH, &goodbye, GOODBYE_DEADLINE)
            .await;
    }

    /// Does what the master wants of a running job.
    async fn heed(&self, wish: Wish) {
        let attempt = Attempt::from(wish.lease);
        if wish.cancel || wish.lost {
            let how = if wish.lost { Stop::Lost } else { Stop::Cancel };
            let _ = self.worker.stop(attempt, how);
            self.told().stopping.insert(attempt);
        }
        if let Some(shipment) = self.desk.shipment(attempt).filter(|_| wish.lost) {
            shipment.over();
        }
        let count = u32::try_from(wish.masks.len()).unwrap_or(u32::MAX);
        if count > 0 && self.mask(attempt, wish.masks).await {
            let all = wish.masks_from.saturating_add(count);
            self.told().masked.insert(attempt, all);
        }
    }

    /// Keeps values out of what the job's log will have, and of what of it waits here.
    async fn mask(&self, attempt: Attempt, values: Vec<String>) -> bool {
        let (logs, job) = (self.desk.carrier.logs.clone(), attempt.job.to_string());
        let secrets = self.worker.secrets(attempt.job);
        let masked = tokio::task::spawn_blocking(move || {
            values.iter().all(|value| {
                if let Some(secrets) = &secrets {
                    // Refused values never come so far.
                    let _ = secrets.register_short(value.as_bytes());
                }
                match logs.mask(&job, value.as_bytes(), true) {
                    Ok(_) => true,
                    Err(MaskError::NotLive) => {
                        // It has ended, and may wait to be shipped.
                        let only = Secrets::new(Rules::none());
                        let _ = only.register_short(value.as_bytes());
                        !matches!(
                            logs.blank(&job, &only),
                            Err(danube_joblog::LogError::InUse | danube_joblog::LogError::Io { .. })
                        )
                    }
                    Err(MaskError::Refused(_)) => true,
                    Err(MaskError::Log(_)) => false,
                }
            })
        });
        masked.await.unwrap_or(false)
    }

    /// Whether a call failed for good.
    pub(crate) fn note(&self, error: &CallError) {
        let lost = match error {
            CallError::Unauthorized(why) => Lost::Unauthorized(why.clone()),
            CallError::Wrong(why) => Lost::Wrong(why.clone()),
            CallError::Away(_) | CallError::Fenced => return,
        };
        self.lost.send_replace(Some(lost));
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        // Whole after every line that changes it.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn system(doing: &'static str) -> impl Fn(io::Error) -> RemoteError {
    move |source| RemoteError::System { doing, source }
}
