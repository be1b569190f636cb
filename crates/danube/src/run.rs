//! `danube run`: a job right here, without a server — the same worker, the same
//! redaction, the same log.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use danube_executor::{Limits, Stop};
use danube_joblog::{Chunk, JobLogs, LogReader, StreamKind};
use danube_model::spec::Repository;
use danube_model::{Attempt, Cause, Ended, JobId, Order, State, Step, Task, Timestamp, Trace};
use danube_redact::{Refused, Rules, Secrets};
use danube_signals::Signals;
use danube_telemetry::TraceContext;
use danube_worker::{
    Dispatch, PlaceSettings, PlaybookSettings, ReportError, Settings, Where, Work, Worker,
};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::commands::run::RunArgs;
use crate::config::{self, Sources};
use crate::exit::{Exit, of_job};
use crate::failure::Failure;
use crate::terminal::{Sanitizer, Screen};

/// How long a step's processes have between TERM and KILL.
const GRACE: Duration = Duration::from_secs(10);

/// How long the job may take to end once it was stopped the hard way.
const END_DEADLINE: Duration = Duration::from_secs(30);

/// Bytes that are read from the log at once.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// `PATH` when the caller has none.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// Runs the job and exits with its own code.
pub(crate) fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    // Listening begins before there is anything to stop or to remove.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(failed("start the runtime"))?;
    let mut stop = runtime.block_on(async { Interrupts::listen() })?;
    let home = Home::make(args.log_dir.clone())?;
    let screen = args.screen.clone();
    let is_pipeline = args.pipeline.steps.len() > 1 || args.pipeline.repository.is_some();
    let order = order(args)?;
    let rules = config::redaction(&Sources::here())?;
    let logs = JobLogs::open(&home.logs, danube_joblog::Limits::default())
        .map_err(failed("open the log directory"))?;
    let desk = Arc::new(Desk::default());
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
    let parameters = pipeline.with_parameters(parameters).map_err(|unknown| {
        Failure::usage(format!(
            "the pipeline has no parameter `{}`",
            unknown.join("`, `")
        ))
    })?;
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
    })
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
        Where::Here(env::current_dir().map_err(failed("find the current directory"))?)
    };
    Ok(Settings {
        id: "here".to_owned(),
        jobs_at_once: 1,
        place: PlaceSettings {
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
        rules,
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
    let mut interrupts = 0;
    loop {
        let running = !worker.running().is_empty();
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
        tokio::select! {
            () = grown => {}
            // The job's beginning and its end come without progress.
            () = desk.changed.notified() => {}
            () = stop.next() => interrupts += 1,
        }
        match interrupts {
            0 => {}
            1 => drop(worker.stop(attempt, Stop::Cancel)),
            _ => drop(worker.stop(attempt, Stop::Lost)),
        }
    }
}

/// Writes the log to where the job's own output would have gone.
struct Printer<'a> {
    logs: &'a JobLogs,
    name: String,
    reader: Option<LogReader>,
    at: u64,
    json: bool,
    sanitizers: [Option<Sanitizer>; 2],
}

impl<'a> Printer<'a> {
    fn new(screen: &Screen, logs: &'a JobLogs, job: JobId) -> Self {
        let sanitizer = |is_terminal: bool| is_terminal.then(Sanitizer::default);
        Self {
            logs,
            name: job.to_string(),
            reader: None,
            at: 0,
            json: screen.is_json(),
            sanitizers: [
                sanitizer(screen.out_is_terminal),
                sanitizer(screen.err_is_terminal),
            ],
        }
    }

    fn catch_up(&mut self) -> Result<(), Failure> {
        if self.reader.is_none() {
            self.reader = self.logs.reader(&self.name).ok();
        }
        let Some(reader) = &mut self.reader else {
            return Ok(());
        };
        loop {
            let chunk = reader.read(self.at, PIECE_BYTES_MAX);
            match chunk.map_err(|error| {
                Failure::new(Exit::Failed, "log", format!("read the log: {error}"))
            })? {
                Chunk::Data {
                    offset,
                    bytes,
                    stream,
                    ..
                } => {
                    self.at = offset + bytes.len() as u64;
                    write(&mut self.sanitizers, self.json, stream, &bytes)
                        .map_err(failed("print the output"))?;
                }
                Chunk::Gap { from, to, .. } => {
                    self.at = to;
                    let line = format!("\n[danube: {} bytes are missing here]\n", to - from);
                    write(
                        &mut self.sanitizers,
                        self.json,
                        StreamKind::Stderr,
                        line.as_bytes(),
                    )
                    .map_err(failed("print the output"))?;
                }
                Chunk::End { .. } => return Ok(()),
            }
        }
    }

    fn end(&mut self) -> Result<(), Failure> {
        let mut rest = Vec::new();
        for sanitizer in self.sanitizers.iter_mut().flatten() {
            sanitizer.finish(&mut rest);
        }
        io::stderr()
            .write_all(&rest)
            .map_err(failed("print the output"))
    }
}

/// With JSON asked for, standard output holds the one result and nothing else.
fn write(
    sanitizers: &mut [Option<Sanitizer>; 2],
    json: bool,
    stream: StreamKind,
    bytes: &[u8],
) -> io::Result<()> {
    let to_err = json || stream == StreamKind::Stderr;
    let mut clean = Vec::new();
    let bytes = match &mut sanitizers[usize::from(to_err)] {
        None => bytes,
        Some(sanitizer) => {
            sanitizer.push(bytes, &mut clean);
            clean.as_slice()
        }
    };
    if to_err {
        return io::stderr().write_all(bytes);
    }
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
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
        return screen.json(&json!({
            "id": job.to_string(),
            "status": state.as_str(),
            "exit_code": ended.as_ref().and_then(|it| it.exit_code),
            "reason": ended.as_ref().and_then(|it| it.reason.clone()),
            "steps": ended.as_ref().map(|it| it.steps.iter().cloned().map(danube_api::StepView::from).collect::<Vec<_>>()),
            "log": log,
            "log_complete": ended.as_ref().map(|it| it.log_complete),
        }));
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

/// Takes the worker's reports, in place of a master.
#[derive(Default)]
struct Desk {
    ended: Mutex<Option<Ended>>,
    /// Rung when the job has begun and when its thread is done.
    changed: Notify,
}

impl Desk {
    fn ended(&self) -> Option<Ended> {
        self.ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn state(&self) -> State {
        match self.ended().map(|it| it.cause) {
            Some(Cause::Succeeded) => State::Success,
            Some(Cause::TimedOut) => State::Timeout,
            Some(Cause::Stopped) | None => State::Cancelled,
            Some(_) => State::Failure,
        }
    }

    fn exit_code(&self) -> ExitCode {
        of_job(
            self.state().as_str(),
            self.ended().and_then(|it| it.exit_code),
            true,
        )
    }
}

impl Dispatch for Desk {
    fn started(&self, _: Attempt, _: &[Step]) -> Result<(), ReportError> {
        self.changed.notify_one();
        Ok(())
    }

    fn step(&self, _: Attempt, _: usize, _: &Step) -> Result<(), ReportError> {
        Ok(())
    }

    fn finish(&self, _: Attempt, ended: &Ended) -> Result<(), ReportError> {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended.clone());
        Ok(())
    }

    fn hand_back(&self, _: Attempt, _: &str, _: bool) -> Result<(), ReportError> {
        Ok(())
    }

    fn freed(&self) {
        self.changed.notify_one();
    }
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::new(Exit::Failed, "system", format!("{doing}: {error}"))
}
