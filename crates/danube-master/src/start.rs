//! A master's life, from the lock on its directory to the last report.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use danube_executor::Workspace;
use danube_model::{JobId, Trigger};
use danube_signals::{MasterReady, MasterStopping, Signals, WorkspaceLeft};
use danube_store::{OpenError, StoreError};
use danube_telemetry::tasks;
use danube_worker::NoWorker;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{App, Shared};
use crate::auth::{AdminKeyError, Caller};
use crate::blueprint::dir;
use crate::demo;
use crate::drain::{StopSignals, drain};
use crate::health::{self, HealthCheck, usage};
use crate::http::{self, Ask, accept};
use crate::lock::{DirectoryLock, LockError, write_whole};
use crate::log_level::LogControl;
use crate::parts::Parts;
use crate::reaper;
use crate::seal_key;
use crate::settings::Settings;
use crate::trace::Exports;
use crate::watchdog;

/// How long the store may take to finish what it was given.
const STORE_CLOSE_DEADLINE: Duration = Duration::from_secs(10);

/// How long traces may take that still wait to be written. Those that don't make it are
/// made again from the store.
const TRACES_DEADLINE: Duration = Duration::from_secs(3);

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
    /// Jobs can't run here.
    #[error(transparent)]
    Worker(#[from] NoWorker),
    /// The system refused a thread, a signal handler or a file.
    #[error("{doing}: {source}")]
    System {
        /// A verb phrase.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// What declares pipelines and users can't be read.
    #[error("read the blueprint: {0}")]
    Blueprint(String),
    /// Who signs in, and where, isn't known.
    #[error("prepare the sign-in: {0}")]
    SignIn(String),
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

/// Runs a master until it is told to stop and has drained. `log` is the server's own;
/// what goes elsewhere too goes by way of `exports`.
///
/// # Errors
/// [`StartError`] when it can't start.
pub fn run(
    settings: Settings,
    signals: &Signals,
    log: LogControl,
    exports: Exports,
) -> Result<(), StartError> {
    prepare_directory(&settings.data_dir)?;
    let lock = DirectoryLock::take(&settings.data_dir)?;
    raise_open_files();
    clear_workspaces(&settings.data_dir, signals)?;
    let parts = Parts::open(settings, signals, log, exports, &lock)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("http")
        .build()
        .map_err(system("start the runtime"))?;
    let ran = runtime.block_on(live(parts));
    // Threads that serve slow readers don't hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(lock);
    ran
}

/// Serves, until it has drained after a signal.
async fn live(parts: Parts) -> Result<(), StartError> {
    let Parts {
        app,
        loops,
        listener,
        checks,
        is_first_start,
    } = parts;
    let mut stop = StopSignals::listen().map_err(system("listen for signals"))?;
    let hangup = signal(SignalKind::hangup()).map_err(system("listen for signals"))?;
    let listener = prepared(listener).map_err(system("prepare the listener"))?;
    write_address(&app)?;
    app.relays.open(&app);
    // From here on nothing fails any more: the first job may begin.
    let scheduler = Arc::clone(&loops.scheduler.heartbeat);
    let loops = loops.start()?;
    let watchdog = watchdog::start(&app.liveness, app.store.clone(), scheduler)
        .map_err(system("start the watchdog"))?;
    start_tasks(&app, checks, hangup);
    let (closed, close) = tokio::sync::oneshot::channel::<()>();
    let served = http::Served {
        router: http::router(app.clone()),
        base: http::base_of(&app.settings).into(),
        signals: app.signals.clone(),
        liveness: Arc::clone(&app.liveness),
        client_silence: app.settings.client_silence,
    };
    let serve = http::serve(listener, served, async {
        // Both ends mean the same: stop.
        let _ = close.await;
    });
    let server = spawn("accept", serve);
    announce(&app, is_first_start);
    app.liveness.serves();
    if app.settings.demo {
        submit_demo(&app).await;
    }

    let reason = stop.next().await;
    app.signals.emit(MasterStopping { reason });
    app.liveness.stops(app.worker.running().len());
    watchdog.stopping();
    app.health.stop();
    app.phases.stopping.send_replace(true);
    app.remote.close();
    let profiler = Arc::clone(&app.profiler);
    let _ = tokio::task::spawn_blocking(move || profiler.keep_heap()).await;
    drain(
        &app.worker,
        &app.store,
        &app.signals,
        app.settings.grace,
        &mut stop,
    )
    .await;
    app.worker.clean_up();
    let own = app.clone();
    let _ = tokio::task::spawn_blocking(move || own.registry.stop()).await;
    drop(closed);
    let _ = server.await;
    loops.stop(STORE_CLOSE_DEADLINE).await;
    let _ = fs::remove_file(app.settings.data_dir.join("master.addr"));
    let traces = app.traces.clone();
    let written = tokio::task::spawn_blocking(move || traces.finish(TRACES_DEADLINE));
    let _ = written.await;
    app.store.close(STORE_CLOSE_DEADLINE);
    drop(watchdog);
    let profiler = Arc::clone(&app.profiler);
    let _ = tokio::task::spawn_blocking(move || profiler.finish()).await;
    Ok(())
}

/// The same for the runtime.
fn prepared(listener: std::net::TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// Starts what runs beside the requests for as long as the server lives.
fn start_tasks(app: &Shared, checks: Vec<HealthCheck>, hangup: Signal) {
    let (health, level) = (Arc::clone(&app.health), Arc::clone(&app.log_level));
    spawn("health", health::watch(health, checks));
    spawn("usage", usage::measure_logs(Arc::clone(app)));
    spawn("reaper", reaper::run(Arc::clone(app)));
    spawn("log-level", level.watch(hangup, Arc::clone(&app.liveness)));
    spawn("watch", crate::watch::run(Arc::clone(app)));
    app.adopt();
    if let Some(dir) = app.settings.blueprint_dir.clone() {
        spawn("blueprint-dir", dir::watch(Arc::clone(app), dir));
    }
    spawn("cron", crate::blueprint::start_in_time(Arc::clone(app)));
    spawn("blueprint", crate::blueprint::run(Arc::clone(app)));
    spawn("webhooks", crate::webhooks::run(Arc::clone(app)));
    spawn(
        "commit-status",
        crate::forges::tell_statuses(Arc::clone(app)),
    );
    spawn(
        "forge-inbox",
        crate::forges::start_what_waits(Arc::clone(app)),
    );
    tokio::spawn(seal_key::resume(Arc::clone(app)));
}

/// Spawns a loop, which `/debug/tasks` shows.
fn spawn(
    name: &'static str,
    task: impl Future<Output = ()> + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(tasks::watched(name, task))
}

/// Makes the directory, if need be, so that only its owner reads it. As root,
/// jobs run under other users and must be able to walk through it to their
/// workspace. A directory that was there keeps its mode.
pub(crate) fn prepare_directory(dir: &Path) -> Result<(), StartError> {
    let mode = if is_root() { 0o711 } else { 0o700 };
    if dir.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(dir)
        .map_err(directory(dir))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(mode)).map_err(directory(dir))
}

/// Makes the directory of the workspaces and removes those of jobs that died
/// with the master before. Only once the directory is ours.
pub(crate) fn clear_workspaces(dir: &Path, signals: &Signals) -> Result<(), StartError> {
    let work = dir.join("work");
    let mode = if is_root() { 0o711 } else { 0o700 };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(&work)
        .map_err(directory(&work))?;
    fs::set_permissions(&work, fs::Permissions::from_mode(mode)).map_err(directory(&work))?;
    spread(&work);
    for entry in fs::read_dir(&work).map_err(directory(&work))? {
        let name = entry.map_err(directory(&work))?.file_name();
        let Some(job) = name.to_str().filter(|it| it.parse::<JobId>().is_ok()) else {
            continue;
        };
        let removed = Workspace::adopt(&work, job).and_then(Workspace::remove);
        if let Err(error) = removed {
            signals.emit(WorkspaceLeft {
                job_id: job,
                error: &error.to_string(),
            });
        }
    }
    Ok(())
}

/// Asks ext4 to spread the directories below over the disk (`chattr +T`). It
/// doesn't reuse an inode within five seconds of its end and looks at each one
/// anew, so that hundreds of workspaces a second, all in one corner, would take
/// longer to make than their jobs to run. Other file systems know no such thing.
fn spread(dir: &Path) {
    let asked = File::open(dir).and_then(|dir| {
        let flags = ioctl_getflags(&dir)?;
        Ok(ioctl_setflags(&dir, flags | IFlags::TOPDIR)?)
    });
    // Refused, everything works as before.
    drop(asked);
}

/// Raises the limit of open files to what the system allows: each follower
/// holds a connection and two files.
pub(crate) fn raise_open_files() {
    let limits = getrlimit(Resource::Nofile);
    // Refused, the limit stays what it was.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limits.maximum,
            maximum: limits.maximum,
        },
    );
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn address(settings: &Settings) -> String {
    format!("http://{}", settings.listen)
}

/// Writes where it listens, in the form that `--listen` takes. The address is
/// bound, so whoever connects now is served in a moment.
fn write_address(app: &App) -> Result<(), StartError> {
    let text = format!("{}\n", app.settings.listen);
    match write_whole(&app.settings.data_dir.join("master.addr"), &text, 0o644) {
        // A full disk is no reason not to serve: jobs can be ended and read.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
        written => written.map_err(system("write master.addr")),
    }
}

/// Tells machines (an event) and people (stderr) that it serves.
fn announce(app: &App, is_first_start: bool) {
    let dir = &app.settings.data_dir;
    let listens = app.settings.listen.to_string();
    app.signals.emit(MasterReady {
        address: &listens,
        pid: process::id(),
        version: env!("CARGO_PKG_VERSION"),
    });
    let address = address(&app.settings);
    say(&format!("serving {address}, data in {}", dir.display()));
    // The link is a secret for a quarter of an hour; it goes to whoever started
    // the server by hand, not into the log of every restart.
    if is_first_start || app.settings.demo {
        let base = app.settings.public_url.as_deref().unwrap_or(&address);
        let token = app.sessions.new_link(Instant::now());
        say(&format!(
            "log in once, within 15 minutes, at {base}/login?token={token}"
        ));
        say(&format!(
            "the admin key stands in {}",
            dir.join("admin.key").display()
        ));
    }
}

async fn submit_demo(app: &Shared) {
    let caller = Caller::own("demo");
    let body = serde_json::json!({"pipeline": demo::PIPELINE_NAME});
    let ask = Ask {
        body,
        body_bytes: 0,
        idempotency: None,
        trigger: Trigger::Demo,
        subject: None,
        forge: None,
        asked: None,
    };
    match accept(app, &caller, ask).await {
        Ok((job, _)) => say(&format!(
            "the demo runs as job {}; follow it with: danube logs -f {}",
            job.id.short(),
            job.id.short()
        )),
        Err(problem) => say(&format!("the demo can't run: {problem}")),
    }
}

pub(crate) fn directory(dir: &Path) -> impl Fn(io::Error) -> StartError {
    let dir = dir.display().to_string();
    move |source| StartError::Directory {
        dir: dir.clone(),
        source,
    }
}

pub(crate) fn system(doing: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::System { doing, source }
}

/// Tells a person something, in one write: the server log may go to the same
/// place.
pub(crate) fn say(text: &str) {
    // Nobody may be there to read it.
    let _ = io::stderr().write_all(format!("danube: {text}\n").as_bytes());
}
