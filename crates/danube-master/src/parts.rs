//! Opens the parts of a master and puts them together, in the order in which
//! each needs the one before.

use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use danube_joblog::JobLogs;
use danube_model::{Queues, Timestamp};
use danube_signals::Signals;
use danube_store::{Options, Store};
use danube_telemetry::service::Manager;
use danube_telemetry::tasks;
use danube_telemetry::watchdog::Heartbeat;
use danube_worker::Worker;
use rustix::process::{Resource, getrlimit};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::app::{App, Phases, Room, Shared};
use crate::artifacts::Artifacts;
use crate::auth::{Codes, Keys, Sessions, Workers};
use crate::bell::Bell;
use crate::blueprint::{Current, dir};
use crate::credentials;
use crate::demo;
use crate::dispatch::LocalDispatch;
use crate::feed::{Desk, Feeder};
use crate::forges::{Bells, Forges};
use crate::health::{self, Beat, Health, HealthCheck};
use crate::http::metrics::Scrapes;
use crate::http::{traces, tries};
use crate::lock::DirectoryLock;
use crate::log_level::{LogControl, LogLevel};
use crate::loops::Loops;
use crate::meter::StoreMeter;
use crate::observe;
use crate::oidc::Oidc;
use crate::pipelines::Pipelines;
use crate::playbook_gauges::PlaybookGauges;
use crate::profiling::Profiler;
use crate::provenance;
use crate::rates::Rates;
use crate::readers::Readers;
use crate::reaper::Reaper;
use crate::registry::Registry;
use crate::relays::Relays;
use crate::remote::Remote;
use crate::runs::Runs;
use crate::schedule::{Leases, Rescue, Scheduler, after_restart};
use crate::seal_key::SealKey;
use crate::secrets::{self, Vault};
use crate::settings::Settings;
use crate::start::{StartError, address, directory, system};
use crate::trace::{Exports, Traces};
use crate::turns::Turns;
use crate::watch::Watch;
use crate::watchdog::Liveness;
use crate::webhooks::Webhooks;
use crate::worker_settings::{own_address, worker_settings};

/// Everything that is there before the first request is served.
pub(crate) struct Parts {
    pub(crate) app: Shared,
    pub(crate) loops: Loops,
    pub(crate) listener: TcpListener,
    pub(crate) checks: Vec<HealthCheck>,
    pub(crate) is_first_start: bool,
}

/// What is kept on disk.
struct Kept {
    store: Store,
    traces: Traces,
    keys: Keys,
    sessions: Sessions,
    workers: Workers,
    logs: JobLogs,
    artifacts: Artifacts,
    blueprint: Current,
    is_first_start: bool,
}

/// What those who hand out jobs and those who run them share.
struct Links {
    bell: Arc<Bell>,
    leases: Arc<Leases>,
    phases: Arc<Phases>,
    beat: Arc<Beat>,
    heartbeat: Arc<Heartbeat>,
    runs: Arc<Runs>,
    vault: Arc<Vault>,
    webhooks: Arc<Notify>,
    forges: Bells,
    feed: Arc<Desk>,
    profiler: Arc<Profiler>,
    relays: Arc<Relays>,
}

impl Links {
    fn new(settings: &Settings, signals: &Signals) -> Self {
        Self {
            // First: it is to see the rest.
            profiler: Arc::new(Profiler::start(settings, signals)),
            bell: Arc::default(),
            leases: Arc::default(),
            phases: Arc::default(),
            beat: Arc::default(),
            heartbeat: Arc::default(),
            runs: Arc::new(Runs::new(signals.clone())),
            vault: Arc::new(Vault::new(signals.clone())),
            webhooks: Arc::default(),
            forges: Bells::default(),
            feed: Arc::default(),
            relays: Arc::default(),
        }
    }
}

impl Parts {
    /// Opens everything. What is on disk comes first: a master that can't have
    /// it must not take the address.
    pub(crate) fn open(
        mut settings: Settings,
        signals: &Signals,
        log: LogControl,
        exports: Exports,
        lock: &DirectoryLock,
    ) -> Result<Self, StartError> {
        let links = Links::new(&settings, signals);
        let kept = Kept::open(&settings, signals, &links, &exports)?;
        mask_all(&kept, &log)?;
        let listener = listen(&mut settings, lock)?;
        prepare_demo(&mut settings)?;
        let health = Arc::new(Health::new(signals.clone(), settings.health.clone()));
        let told = told((&settings, &kept), exports.job_logs)?;
        let worker = worker(told, &kept, &links, signals)?;
        let remote = remote(&settings, &kept, &links, signals);
        let (queues, runners) = (Arc::new(settings.queues.clone()), (&worker, &remote));
        let scheduler = scheduler((&settings, &queues), &kept, &links, runners, &health);
        let feeder = feeder((&settings, &queues), &kept, &links, (&remote, &health));
        let (registry, oidc) = (registry(&settings, &log, signals)?, oidc(&settings, &log)?);
        let room = Room::of(getrlimit(Resource::Nofile).current);
        let app = Arc::new(App {
            store: kept.store,
            keys: Arc::new(kept.keys),
            sessions: kept.sessions,
            logs: kept.logs,
            worker,
            workers: kept.workers,
            remote,
            queues,
            dispatch: feeder.as_ref().map(Feeder::told),
            feed: Arc::clone(&links.feed),
            traces: kept.traces,
            pipelines: Pipelines::new(settings.pipelines_dir.clone()),
            signals: signals.clone(),
            health,
            artifacts: kept.artifacts,
            provenance: provenance::Keys::new(&settings.data_dir),
            blueprint: Arc::new(kept.blueprint),
            oidc,
            codes: Codes::default(),
            registry,
            reaper: Reaper::default(),
            liveness: Arc::new(liveness(&settings, signals)),
            log_mask: Arc::clone(&log.mask),
            seal_key: SealKey::default(),
            vault: links.vault,
            log_level: Arc::new(LogLevel::new(log, signals.clone())),
            phases: links.phases,
            profiler: links.profiler,
            relays: links.relays,
            turns: Turns::default(),
            span_rates: Rates::new(traces::RATE),
            tries: Rates::new(tries::RATE),
            watch: Watch::new(&settings.watch, signals),
            webhooks: Webhooks::new(&settings.webhooks, links.webhooks, signals),
            forges: Forges::new(&settings.forges, links.forges, signals),
            followers: 0.into(),
            followers_max: room.followers,
            readers: Arc::new(Readers::new(room.readers)),
            scrapes: Scrapes::default(),
            settings,
        });
        observe::at_each_scrape(&app);
        let checks = health::begin(&app, links.beat, exports.lost);
        Ok(Self {
            app,
            loops: Loops {
                scheduler,
                feeder,
                bell: links.bell,
            },
            listener,
            checks,
            is_first_start: kept.is_first_start,
        })
    }
}

impl Kept {
    fn open(
        settings: &Settings,
        signals: &Signals,
        links: &Links,
        exports: &Exports,
    ) -> Result<Self, StartError> {
        let dir = &settings.data_dir;
        let options = Options {
            meter: Arc::new(StoreMeter {
                signals: signals.clone(),
                bell: Arc::clone(&links.bell),
                runs: Arc::clone(&links.runs),
                vault: Arc::clone(&links.vault),
                webhooks: Arc::clone(&links.webhooks),
                forges: links.forges.clone(),
                playbooks: PlaybookGauges::new(signals.clone(), &settings.queues),
                feed: Arc::clone(&links.feed),
                task: tasks::thread("store-writer"),
            }),
            pending_max: settings.pending_max,
            ..Options::default()
        };
        let store = Store::open(dir, options)?;
        let traces = Traces::open(settings, store.clone(), exports);
        let traces = traces.map_err(directory(&dir.join("traces")))?;
        after_restart(&store, &traces, signals, &settings.steps.nursery())?;
        let keys = Keys::load(&store)?;
        let sessions = Sessions::load(&store, Timestamp::now())?;
        let admin = keys.ensure_admin(&store, &dir.join("admin.key"))?;
        let workers = Workers::load(&store)?;
        let limits = danube_joblog::Limits {
            head_bytes: settings.log_head_bytes,
            total_bytes: settings.log_total_bytes,
        };
        let logs = dir.join("logs");
        let logs = JobLogs::open(&logs, limits).map_err(directory(&logs))?;
        let task = tasks::thread("joblog-sync");
        logs.hear_syncs(move |works| if works { task.beat() } else { task.rest() });
        Ok(Self {
            blueprint: blueprint(settings, &store, signals)?,
            store,
            traces,
            keys,
            sessions,
            workers,
            logs,
            artifacts: Artifacts::new(dir, settings.artifacts),
            is_first_start: admin.is_new,
        })
    }
}

/// The registry, with the token that it tells us things by.
fn registry(
    settings: &Settings,
    log: &LogControl,
    signals: &Signals,
) -> Result<Registry, StartError> {
    let told = own_address(settings.listen);
    let by = (told.as_str(), &*log.mask as &dyn Fn(&[u8]));
    Registry::open(&settings.registry, &settings.data_dir, by, signals)
        .map_err(system("prepare the registry"))
}

/// Where users sign in.
fn oidc(settings: &Settings, log: &LogControl) -> Result<Oidc, StartError> {
    Oidc::new(settings.oidc.as_ref(), &*log.mask).map_err(StartError::SignIn)
}

/// What is declared from the start on: by the commit that was taken last, or by a directory.
fn blueprint(settings: &Settings, store: &Store, signals: &Signals) -> Result<Current, StartError> {
    let current = Current::open(settings, store, signals);
    let current = current.map_err(directory(&settings.data_dir.join("blueprint")))?;
    if let Some(dir) = &settings.blueprint_dir {
        if settings.blueprint.is_some() {
            let both = "blueprint.url and blueprint.dir are both set; take one of them out";
            return Err(StartError::Blueprint(both.to_owned()));
        }
        current.set(dir::from(dir).map_err(StartError::Blueprint)?);
    }
    Ok(current)
}

/// What is kept sealed stands in no line of the server's log.
fn mask_all(kept: &Kept, log: &LogControl) -> Result<(), StartError> {
    credentials::mask_all(&kept.store, &log.mask)?;
    secrets::mask_all(&kept.store, &log.mask)?;
    Ok(())
}

fn liveness(settings: &Settings, signals: &Signals) -> Liveness {
    let manager = Manager::from_environment();
    Liveness::new(signals.clone(), manager, &address(settings))
}

/// Binds the address; with port 0 the settings get the chosen one.
/// Whoever comes for the same directory is told of it.
fn listen(settings: &mut Settings, lock: &DirectoryLock) -> Result<TcpListener, StartError> {
    let failed = |source| StartError::Listen {
        address: settings.listen.to_string(),
        source,
    };
    let listener = TcpListener::bind(settings.listen).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    settings.listen = bound;
    let described = lock.describe(&address(settings));
    described.map_err(system("write the lock file"))?;
    Ok(listener)
}

fn worker(
    settings: danube_worker::Settings,
    kept: &Kept,
    links: &Links,
    signals: &Signals,
) -> Result<Worker, StartError> {
    let dispatch = dispatch(kept, links, signals);
    let worker = Worker::new(
        settings,
        Arc::new(dispatch),
        kept.logs.clone(),
        signals.clone(),
    )?;
    Ok(worker)
}

fn remote(settings: &Settings, kept: &Kept, links: &Links, signals: &Signals) -> Arc<Remote> {
    Arc::new(Remote::new(
        dispatch(kept, links, signals),
        kept.logs.clone(),
        (kept.blueprint.rules(), settings.lease),
    ))
}

fn dispatch(kept: &Kept, links: &Links, signals: &Signals) -> LocalDispatch {
    LocalDispatch {
        store: kept.store.clone(),
        traces: kept.traces.clone(),
        leases: Arc::clone(&links.leases),
        bell: Arc::clone(&links.bell),
        phases: Arc::clone(&links.phases),
        runs: Arc::clone(&links.runs),
        feed: Arc::clone(&links.feed),
        vault: Arc::clone(&links.vault),
        artifacts: kept.artifacts.clone(),
        relays: Arc::clone(&links.relays),
        signals: signals.clone(),
    }
}

/// What the worker in this process is told.
fn told(
    (settings, kept): (&Settings, &Kept),
    job_logs: Option<danube_telemetry::otlp::Records>,
) -> Result<danube_worker::Settings, StartError> {
    Ok(danube_worker::Settings {
        job_logs,
        rules: kept.blueprint.rules(),
        ..worker_settings(settings)?
    })
}

/// Writes the demo's files, where there is to be one, and allows its own repository, and no
/// other, to whoever submits.
fn prepare_demo(settings: &mut Settings) -> Result<(), StartError> {
    if !settings.demo {
        return Ok(());
    }
    let own = settings.data_dir.join("examples");
    settings.allow_paths.push(own);
    demo::prepare(&settings.data_dir, &settings.pipelines_dir)
        .map_err(|error| StartError::Demo(error.to_string()))
}

/// What fills Redis, if there is one.
fn feeder(
    (settings, queues): (&Settings, &Arc<Queues>),
    kept: &Kept,
    links: &Links,
    (remote, health): (&Arc<Remote>, &Arc<Health>),
) -> Option<Feeder> {
    let address = settings.queue_url.clone()?;
    Some(Feeder {
        address,
        prefix: queue_prefix(&settings.data_dir),
        queues: Arc::clone(queues),
        desk: Arc::clone(&links.feed),
        store: kept.store.clone(),
        leases: Arc::clone(&links.leases),
        traces: kept.traces.clone(),
        signals: health.signals().clone(),
        health: Arc::clone(health),
        remote: Arc::clone(remote),
    })
}

/// How the keys of this master begin in Redis: the same after each start, and another's for
/// another machine or data directory.
fn queue_prefix(dir: &Path) -> String {
    let host = rustix::system::uname();
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let mut hash = Sha256::new();
    hash.update(host.nodename().to_bytes());
    hash.update([0]);
    hash.update(dir.as_os_str().as_bytes());
    let hash = hash.finalize();
    format!(
        "danube:{:02x}{:02x}{:02x}{:02x}{:02x}{:02x}",
        hash[0], hash[1], hash[2], hash[3], hash[4], hash[5]
    )
}

fn scheduler(
    (settings, queues): (&Settings, &Arc<Queues>),
    kept: &Kept,
    links: &Links,
    (worker, remote): (&Worker, &Arc<Remote>),
    health: &Arc<Health>,
) -> Scheduler {
    let rescue = Rescue {
        store: kept.store.clone(),
        traces: kept.traces.clone(),
        worker: worker.clone(),
        remote: Arc::clone(remote),
        leases: Arc::clone(&links.leases),
        phases: Arc::clone(&links.phases),
        signals: health.signals().clone(),
        heartbeat: Arc::clone(&links.heartbeat),
    };
    Scheduler {
        store: kept.store.clone(),
        worker: worker.clone(),
        remote: Arc::clone(remote),
        leases: Arc::clone(&links.leases),
        bell: Arc::clone(&links.bell),
        rescue,
        runs: Arc::clone(&links.runs),
        signals: health.signals().clone(),
        health: Arc::clone(health),
        beat: Arc::clone(&links.beat),
        heartbeat: Arc::clone(&links.heartbeat),
        lease: settings.lease,
        queues: Arc::clone(queues),
        feed: Arc::clone(&links.feed),
        turns: Mutex::default(),
        is_in_doubt: true.into(),
    }
}
