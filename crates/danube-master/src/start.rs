//! A master's life, from the lock on its directory to the last report.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use danube_executor::{Limits, UID_COUNT_DEFAULT, UidPool};
use danube_joblog::JobLogs;
use danube_model::Trigger;
use danube_signals::{MasterReady, MasterStopping, Signals};
use danube_store::{OpenError, Options, Role, Store, StoreError};
use danube_telemetry::TraceContext;
use danube_worker::{NoIsolation, PlaceSettings, Where, Worker};
use sha2::{Digest, Sha256};

use crate::app::{App, Phases, Shared};
use crate::auth::{AdminKeyError, Caller, Keys, Sessions};
use crate::demo;
use crate::dispatch::LocalDispatch;
use crate::drain::{StopSignals, drain};
use crate::health::{Health, Looked, round, watch};
use crate::http::{self, Ask, accept};
use crate::lock::{DirectoryLock, LockError, write_whole};
use crate::meter::StoreMeter;
use crate::pipelines::Pipelines;
use crate::schedule::{Bell, Leases, Rescue, Scheduler, after_restart};
use crate::settings::Settings;

/// How long the store may take to finish what it was given.
const STORE_CLOSE_DEADLINE: Duration = Duration::from_secs(10);

/// How long a step's processes have between TERM and KILL, at most: ten seconds
/// after a job has ended none of its processes may live.
const KILL_AFTER_MAX: Duration = Duration::from_secs(8);

/// Why the master didn't start. Nothing was changed but for the directory.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory can't be used.
    #[error("prepare the data directory {dir}: {source}")]
    Directory {
        /// Which.
        dir: String,
        /// What the system said.
        source: io::Error,
    },
    /// Another master has it.
    #[error("{0}")]
    InUse(String),
    /// The database can't be used.
    #[error("open the database: {0}")]
    Database(#[from] OpenError),
    /// The database refused.
    #[error("read the database: {0}")]
    Store(#[from] StoreError),
    /// The admin key can't be made.
    #[error("make the admin key: {0}")]
    AdminKey(String),
    /// The address can't be had.
    #[error("listen on {address}: {source}")]
    Listen {
        /// Which.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Jobs can't be isolated here.
    #[error(transparent)]
    Isolation(#[from] NoIsolation),
    /// The system refused a thread, a signal handler or a file.
    #[error("{doing}: {source}")]
    System {
        /// A verb phrase.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The demo can't be made.
    #[error("{0}")]
    Demo(String),
}

impl From<LockError> for StartError {
    fn from(error: LockError) -> Self {
        Self::InUse(error.to_string())
    }
}

impl From<AdminKeyError> for StartError {
    fn from(error: AdminKeyError) -> Self {
        Self::AdminKey(error.to_string())
    }
}

/// Runs a master until it is told to stop and has drained.
///
/// # Errors
/// [`StartError`] when it can't start.
pub fn run(settings: Settings, signals: &Signals) -> Result<(), StartError> {
    prepare_directory(&settings.data_dir)?;
    let lock = DirectoryLock::take(&settings.data_dir)?;
    let parts = Parts::open(settings, signals, &lock)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("http")
        .build()
        .map_err(system("start the runtime"))?;
    let ran = runtime.block_on(parts.live());
    // Threads that serve slow readers don't hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(lock);
    ran
}

/// Everything that is there before the first request is served.
struct Parts {
    app: Shared,
    scheduler: Scheduler,
    listener: TcpListener,
    looked: Arc<Looked>,
    is_first_start: bool,
}

impl Parts {
    fn open(
        mut settings: Settings,
        signals: &Signals,
        lock: &DirectoryLock,
    ) -> Result<Self, StartError> {
        let dir = settings.data_dir.clone();
        let store = Store::open(
            &dir,
            Options {
                meter: Arc::new(StoreMeter(signals.clone())),
                ..Options::default()
            },
        )?;
        after_restart(&store, signals)?;
        let keys = Keys::load(&store)?;
        let admin = keys.ensure_admin(&store, &dir.join("admin.key"))?;
        let limits = danube_joblog::Limits {
            head_bytes: settings.log_head_bytes,
            total_bytes: settings.log_total_bytes,
        };
        let logs =
            JobLogs::open(&dir.join("logs"), limits).map_err(directory(&dir.join("logs")))?;
        let listener = listen(&mut settings)?;
        let address = address(&settings);
        lock.describe(&address)
            .map_err(system("write the lock file"))?;
        if settings.demo {
            demo::prepare(&dir, &settings.pipelines_dir)
                .map_err(|error| StartError::Demo(error.to_string()))?;
        }

        let (bell, leases, phases) = (
            Arc::new(Bell::default()),
            Arc::new(Leases::default()),
            Arc::new(Phases::default()),
        );
        let dispatch = LocalDispatch {
            store: store.clone(),
            leases: Arc::clone(&leases),
            bell: Arc::clone(&bell),
            phases: Arc::clone(&phases),
            signals: signals.clone(),
        };
        let worker = Worker::new(
            worker_settings(&settings, &address)?,
            Arc::new(dispatch),
            logs.clone(),
            signals.clone(),
        )?;
        signals
            .workers_active
            .set(i64::from(settings.jobs_at_once > 0));
        let scheduler = Scheduler {
            store: store.clone(),
            worker: worker.clone(),
            bell: Arc::clone(&bell),
            rescue: Rescue {
                store: store.clone(),
                worker: worker.clone(),
                leases: Arc::clone(&leases),
                phases: Arc::clone(&phases),
                signals: signals.clone(),
            },
            leases,
            signals: signals.clone(),
            lease: settings.lease,
        };
        let looked = Looked {
            store: store.clone(),
            logs: logs.clone(),
            data_dir: dir,
            has_worker: settings.jobs_at_once > 0,
        };
        let app = App {
            store,
            keys: Arc::new(keys),
            sessions: Sessions::default(),
            logs,
            worker,
            bell,
            pipelines: Pipelines::new(settings.pipelines_dir.clone()),
            signals: signals.clone(),
            health: Arc::new(Health::new(signals.clone())),
            phases,
            followers: 0.into(),
            settings,
        };
        // The first probe must find results.
        round(&app.health, &looked);
        Ok(Self {
            app: Arc::new(app),
            scheduler,
            listener,
            looked: Arc::new(looked),
            is_first_start: admin.is_new,
        })
    }

    /// Serves, until it has drained after a signal.
    async fn live(self) -> Result<(), StartError> {
        let Self {
            app,
            scheduler,
            listener,
            looked,
            is_first_start,
        } = self;
        let mut stop = StopSignals::listen().map_err(system("listen for signals"))?;
        listener
            .set_nonblocking(true)
            .map_err(system("prepare the listener"))?;
        let listener =
            tokio::net::TcpListener::from_std(listener).map_err(system("prepare the listener"))?;
        tokio::spawn(watch(Arc::clone(&app.health), looked));
        let scheduler = scheduler.start().map_err(system("start the scheduler"))?;
        let (closed, close) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(http::serve(listener, http::router(app.clone()), async {
            // Both ends mean the same: stop.
            let _ = close.await;
        }));
        announce(&app, is_first_start)?;
        if app.settings.demo {
            submit_demo(&app).await;
        }

        let reason = stop.next().await;
        app.signals.emit(MasterStopping { reason });
        app.health.stop();
        drain(
            &app.worker,
            &app.store,
            &app.signals,
            app.settings.grace,
            &mut stop,
        )
        .await;
        drop(closed);
        let _ = server.await;
        app.bell.close();
        let _ = tokio::task::spawn_blocking(move || scheduler.join()).await;
        let _ = fs::remove_file(app.settings.data_dir.join("master.addr"));
        app.store.close(STORE_CLOSE_DEADLINE);
        Ok(())
    }
}

/// Makes the directory so that only its owner reads it. As root, jobs run under
/// other users and must be able to walk through it to their workspace.
fn prepare_directory(dir: &Path) -> Result<(), StartError> {
    let mode = if is_root() { 0o711 } else { 0o700 };
    let mut builder = fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(mode)
        .create(dir)
        .map_err(directory(dir))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(mode)).map_err(directory(dir))?;
    let work = dir.join("work");
    // Workspaces of jobs that died with the master before.
    match fs::remove_dir_all(&work) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(directory(&work)(error));
        }
        _ => {}
    }
    builder.create(&work).map_err(directory(&work))?;
    fs::set_permissions(&work, fs::Permissions::from_mode(mode)).map_err(directory(&work))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Binds the address; with port 0 the settings get the chosen one.
fn listen(settings: &mut Settings) -> Result<TcpListener, StartError> {
    let failed = |source| StartError::Listen {
        address: settings.listen.to_string(),
        source,
    };
    let listener = TcpListener::bind(settings.listen).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    settings.listen = bound;
    Ok(listener)
}

fn address(settings: &Settings) -> String {
    format!("http://{}", settings.listen)
}

fn worker_settings(
    settings: &Settings,
    address: &str,
) -> Result<danube_worker::Settings, StartError> {
    let dir = settings
        .data_dir
        .canonicalize()
        .map_err(directory(&settings.data_dir))?;
    let steps = &settings.steps;
    let name = Sha256::digest(dir.as_os_str().as_bytes());
    let place = PlaceSettings {
        cgroup: format!(
            "danube-{:02x}{:02x}{:02x}{:02x}",
            name[0], name[1], name[2], name[3]
        ),
        place: Where::Below(dir.join("work")),
        hide: vec![dir],
        limits: Limits {
            memory_bytes: steps.memory_bytes,
            processes: steps.processes,
            cpu_cores: steps.cpu_cores,
            open_files: steps.open_files,
        },
        network: steps.network,
        uids: is_root().then(|| UidPool::new(steps.uid_base, UID_COUNT_DEFAULT)),
    };
    Ok(danube_worker::Settings {
        id: format!("local-{}", process::id()),
        jobs_at_once: settings.jobs_at_once,
        place,
        path: steps.path.clone(),
        grace: settings.grace.min(KILL_AFTER_MAX),
        server: settings
            .public_url
            .clone()
            .unwrap_or_else(|| address.to_owned()),
        redact_email: settings.redact_email,
        allow_unisolated: steps.allow_unisolated,
    })
}

/// Tells machines (a file, an event) and people (stderr) that it serves.
fn announce(app: &App, is_first_start: bool) -> Result<(), StartError> {
    let dir = &app.settings.data_dir;
    let address = address(&app.settings);
    write_whole(&dir.join("master.addr"), &format!("{address}\n"), 0o644)
        .map_err(system("write master.addr"))?;
    app.signals.emit(MasterReady {
        address: &address,
        pid: process::id(),
        version: env!("CARGO_PKG_VERSION"),
    });
    eprintln!("danube: serving {address}, data in {}", dir.display());
    // The link is a secret for a quarter of an hour; it goes to whoever started
    // the server by hand, not into the log of every restart.
    if is_first_start || app.settings.demo {
        let base = app.settings.public_url.as_deref().unwrap_or(&address);
        let token = app.sessions.new_link(Instant::now());
        eprintln!("danube: log in once, within 15 minutes, at {base}/login?token={token}");
        eprintln!(
            "danube: the admin key stands in {}",
            dir.join("admin.key").display()
        );
    }
    Ok(())
}

async fn submit_demo(app: &Shared) {
    let caller = Caller {
        name: "demo".to_owned(),
        owner: "demo".to_owned(),
        role: Role::Admin,
        by_session: false,
    };
    let body = serde_json::json!({"pipeline": demo::PIPELINE_NAME});
    let ask = Ask {
        body,
        idempotency: None,
        trigger: Trigger::Demo,
        context: TraceContext::random(),
    };
    match accept(app, &caller, ask).await {
        Ok(job) => eprintln!(
            "danube: the demo runs as job {}; follow it with: danube logs -f {}",
            job.id.short(),
            job.id.short()
        ),
        Err(problem) => eprintln!("danube: the demo can't run: {problem}"),
    }
}

fn directory(dir: &Path) -> impl Fn(io::Error) -> StartError {
    let dir = dir.display().to_string();
    move |source| StartError::Directory {
        dir: dir.clone(),
        source,
    }
}

fn system(doing: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::System { doing, source }
}
