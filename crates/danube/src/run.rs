//! `danube run`: a job right here, without a server — the same worker, the same
//! redaction, the same log.

mod desk;
mod printer;

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use danube_executor::{Limits, Nursery, Stop};
use danube_joblog::JobLogs;
use danube_model::credential::Credential;
use danube_model::spec::{Pipeline, Repository};
use danube_model::{Attempt, JobId, Order, Task, Timestamp, Trace};
use danube_redact::{Refused, Rules, Secrets};
use danube_signals::Signals;
use danube_telemetry::TraceContext;
use danube_worker::{Dispatch, PlaceSettings, PlaybookSettings, Settings, Where, Work, Worker};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::commands::hosts;
use crate::commands::run::RunArgs;
use crate::config::{self, Sources};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Progress as Line, Screen};
use desk::Desk;
use printer::Printer;

/// How long a step's processes have between TERM and KILL.
const GRACE: Duration = Duration::from_secs(10);

/// How long the job may take to end once it was stopped the hard way.
const END_DEADLINE: Duration = Duration::from_secs(30);

/// Bytes that are read from the log at once.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// How long nothing may happen before it is looked whether something did; a line that says
/// how far the job is looks far more often.
const QUIET_MAX: Duration = Duration::from_secs(60);

/// `PATH` when the caller has none.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// Runs the job and exits with its own code.
pub(crate) fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    let (log_dir, screen) = (args.log_dir.clone(), args.screen.clone());
    let is_pipeline = args.pipeline.steps.len() > 1 || args.pipeline.repository.is_some();
    perform(Here {
        order: order(args)?,
        credentials: Vec::new(),
        log_dir,
        screen,
        is_pipeline,
    })
}

/// A job to run here.
pub(crate) struct Here {
    pub(crate) order: Order,
    /// Those that the order names.
    pub(crate) credentials: Vec<Credential>,
    /// Where the log is kept; nowhere when not said.
    pub(crate) log_dir: Option<PathBuf>,
    pub(crate) screen: Screen,
    /// Its reason is told also where a program's exit code says it.
    pub(crate) is_pipeline: bool,
}

/// Runs it and exits with its own code.
pub(crate) fn perform(here: Here) -> Result<ExitCode, Failure> {
    let Here {
        order,
        credentials,
        log_dir,
        screen,
        is_pipeline,
    } = here;
    // Listening begins before there is anything to stop or to remove.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(failed("start the runtime"))?;
    let mut stop = runtime.block_on(async { Interrupts::listen() })?;
    let home = Home::make(log_dir)?;
    let rules = config::redaction(&Sources::here())?;
    let logs = JobLogs::open(&home.logs, danube_joblog::Limits::default())
        .map_err(failed("open the log directory"))?;
    let desk = Arc::new(Desk::with(credentials));
    let settings = settings(&home, &order, rules)?;
    let worker = Worker::new(
        settings,
        Arc::clone(&desk) as Arc<dyn Dispatch>,
        logs.clone(),
        Signals::new(
            danube_signals::BuildInfo::default(),
            danube_signals::Limits::default(),
        ),
    )
    .map_err(|error| Failure::new(Exit::Failed, "isolation", error.to_string()))?;

    let attempt = Attempt {
        job: JobId::new(),
        fence: 1,
        number: 1,
    };
    let work = Work {
        attempt,
        order,
        traceparent: TraceContext::random().to_string(),
        queued_at: Timestamp::now(),
        log_base: 0,
        token: None,
    };
    worker.run(work).map_err(|_| {
        Failure::new(
            Exit::Failed,
            "thread",
            "start the job: the system gives no thread",
        )
    })?;
    let running = Running {
        worker: &worker,
        desk: &desk,
        logs: &logs,
        screen: &screen,
    };
    let interrupted = runtime.block_on(follow(&running, attempt, &mut stop))?;
    let log = home.log_of(attempt.job);
    worker.close();
    // The thread has reported; its last line is ours.
    let _ = worker.wait_idle(Instant::now() + END_DEADLINE);
    drop(worker);
    tell(&desk, &screen, attempt.job, log.as_ref(), is_pipeline)?;
    Ok(if interrupted {
        Exit::Interrupted.into()
    } else {
        desk.exit_code()
    })
}

/// The job to run, its masks and parameters checked.
fn order(args: RunArgs) -> Result<Order, Failure> {
    let RunArgs {
        mut pipeline,
        env,
        masks,
        allow_short_masks,
        parameters,
        screen,
        ..
    } = args;
    check_masks(&masks, allow_short_masks, &screen)?;
    let parameters = pipeline.with_parameters(parameters).map_err(|wrong| {
        let wrong: Vec<String> = wrong.into_iter().map(|it| it.message).collect();
        Failure::usage(wrong.join("; "))
    })?;
    let mut masks = masks;
    let secret = secret_values(&pipeline, &parameters);
    check_masks(&secret, false, &screen)?;
    masks.extend(secret);
    pipeline.env.extend(env);
    if let Some(Ok(Repository::Local(path))) = pipeline.repository.as_deref().map(Repository::parse)
        && let Some(real) = path.canonicalize().ok().as_deref().and_then(Path::to_str)
    {
        // The worker takes no path in which links stand.
        pipeline.repository = Some(format!("file://{real}"));
    }
    Ok(Order {
        git_ref: pipeline.git_ref.clone(),
        task: Task::Pipeline(pipeline),
        parameters,
        masks,
        trace: Trace::default(),
        forge: None,
    })
}

/// The values of secret parameters.
fn secret_values(pipeline: &Pipeline, parameters: &BTreeMap<String, String>) -> Vec<String> {
    let declared = pipeline.parameters.iter().flatten();
    let secret = declared.filter(|(_, it)| it.secret);
    let values = secret.filter_map(|(name, _)| parameters.get(name));
    values.filter(|it| !it.is_empty()).cloned().collect()
}

fn check_masks(masks: &[String], allow_short: bool, screen: &Screen) -> Result<(), Failure> {
    let trial = Secrets::new(Rules::none());
    for mask in masks.iter().map(String::as_bytes) {
        match trial.register(mask) {
            Err(Refused::TooShort { .. }) if allow_short && trial.register_short(mask).is_ok() => {
                screen.note(
                    "warning: a value of --mask-env is shorter than 8 characters: it will hide other text, too",
                );
            }
            taken => taken.map_err(|refused| {
                Failure::usage(format!("a value of --mask-env can't be masked: {refused}"))
            })?,
        }
    }
    Ok(())
}

/// Where this run keeps its things; removed at the end, but for a log that was
/// asked for.
struct Home {
    dir: PathBuf,
    logs: PathBuf,
    keeps_log: bool,
}

impl Home {
    fn make(log_dir: Option<PathBuf>) -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt;
        let dir = env::temp_dir().join(format!("danube-run-{}", JobId::new()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .map_err(failed("make a directory for the run"))?;
        let keeps_log = log_dir.is_some();
        Ok(Self {
            logs: log_dir.unwrap_or_else(|| dir.join("logs")),
            dir,
            keeps_log,
        })
    }

    fn log_of(&self, job: JobId) -> Option<PathBuf> {
        self.keeps_log.then(|| self.logs.join(format!("{job}.log")))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What can't be removed lies in the temporary directory anyway.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn settings(home: &Home, order: &Order, rules: Rules) -> Result<Settings, Failure> {
    let place = if order.task.repository().is_some() {
        let work = home.dir.join("work");
        std::fs::create_dir(&work).map_err(failed("make the workspace"))?;
        Where::Below(work)
    } else {
        Where::Here {
            source: env::current_dir().map_err(failed("find the current directory"))?,
            files: home.dir.clone(),
        }
    };
    Ok(Settings {
        id: "here".to_owned(),
        jobs_at_once: 1,
        place: PlaceSettings {
            nursery: Nursery::default(),
            place,
            hide: Vec::new(),
            hide_from_steps: Vec::new(),
            limits: Limits::default(),
            network: true,
            uids: None,
            cgroup: None,
        },
        playbooks: PlaybookSettings::default(),
        path: env::var("PATH").unwrap_or_else(|_| PATH_DEFAULT.to_owned()),
        grace: GRACE,
        server: String::new(),
        rules: rules.into(),
        // The caller runs their own command; a kernel without namespaces is no
        // reason not to.
        allow_unisolated: true,
        job_logs: None,
    })
}

/// The signals that ask a run to stop.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(failed("watch for interrupts"));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The parts of a run that follow each other.
struct Running<'a> {
    worker: &'a Worker,
    desk: &'a Desk,
    logs: &'a JobLogs,
    screen: &'a Screen,
}

/// Prints the log as it grows; `true` when somebody interrupted.
async fn follow(
    run: &Running<'_>,
    attempt: Attempt,
    stop: &mut Interrupts,
) -> Result<bool, Failure> {
    let Running {
        worker,
        desk,
        logs,
        screen,
    } = *run;
    let mut printer = Printer::new(screen, logs, attempt.job);
    let mut beside = screen.clone();
    // Where the output itself is seen, it says how far it is.
    beside.err_is_terminal &= !screen.out_is_terminal;
    let mut line = Line::new(&beside);
    let mut interrupts = 0;
    loop {
        let running = !worker.running().is_empty();
        if !running || printer.is_behind() {
            line.clear();
        }
        printer.catch_up()?;
        if !running {
            printer.end()?;
            return Ok(interrupts > 0);
        }
        let mut progress = logs.progress(&attempt.job.to_string());
        let grown = async {
            match &mut progress {
                Some(progress) if progress.borrow().end <= printer.at => {
                    drop(progress.changed().await);
                }
                Some(_) => {}
                None => std::future::pending().await,
            }
        };
        let doing = desk.doing();
        let pause = match doing {
            Some(_) => line.tick_every(QUIET_MAX),
            None => QUIET_MAX,
        };
        tokio::select! {
            () = grown => {}
            // The job's beginning and its end come without progress.
            () = desk.changed.notified() => {}
            () = stop.next() => interrupts += 1,
            () = tokio::time::sleep(pause) => {
                if let Some(doing) = &doing {
                    line.tick(doing);
                }
                continue;
            }
        }
        match interrupts {
            0 => {}
            1 => drop(worker.stop(attempt, Stop::Cancel)),
            _ => drop(worker.stop(attempt, Stop::Lost)),
        }
    }
}

/// What is left to say at the end.
fn tell(
    desk: &Desk,
    screen: &Screen,
    job: JobId,
    log: Option<&PathBuf>,
    is_pipeline: bool,
) -> Result<(), Failure> {
    let ended = desk.ended();
    let state = desk.state();
    if screen.is_json() {
        let mut told = json!({
            "id": job.to_string(),
            "status": state.as_str(),
            "exit_code": ended.as_ref().and_then(|it| it.exit_code),
            "reason": ended.as_ref().and_then(|it| it.reason.clone()),
            "steps": ended.as_ref().map(|it| it.steps.iter().cloned().map(danube_api::StepView::from).collect::<Vec<_>>()),
            "log": log,
            "log_complete": ended.as_ref().map(|it| it.log_complete),
        });
        if let Some(hosts) = desk.hosts() {
            told["hosts"] = json!(hosts);
        }
        return screen.json(&told);
    }
    if let Some(hosts) = desk.hosts_so_far() {
        // Ansible's own recap didn't come.
        let mut err = screen.clone();
        err.out_is_terminal = screen.err_is_terminal;
        screen.error(&format!("\n{}", hosts::table(&hosts).render(&err, true)));
    }
    if let Some(log) = log {
        screen.note(&format!("the log is in {}", log.display()));
    }
    // A single command speaks for itself, like under `env` or `nice`.
    let own_failure = ended.as_ref().is_some_and(|it| it.exit_code.is_some());
    if let Some(reason) = ended
        .and_then(|it| it.reason)
        .filter(|_| is_pipeline || !own_failure)
    {
        screen.error(&format!("{}: {reason}\n", state.as_str()));
    }
    Ok(())
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::new(Exit::Failed, "system", format!("{doing}: {error}"))
}
