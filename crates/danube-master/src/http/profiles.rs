//! `GET /debug/…`: what uses the processor, who holds the memory, and what each loop does. For
//! administrators, one profile at a time.
//!
//! A profile takes seconds, so its head is answered at once and its body when it is done: whoever
//! leaves meanwhile ends it.

use std::io;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use danube_api::{Code, Problem, RuntimeView, TaskList, TaskView, ThreadView};
use danube_signals::{ProfileKind, ProfileTaken};
use danube_telemetry::profile::{Format, Profile, cpu, heap};
use danube_telemetry::tasks;
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::answer::Answer;
use super::caller::{Manager, is_private};
use crate::app::{App, Shared, blocking};
use crate::settings::Profiling;

/// How long a profile takes when nobody says otherwise: below the time after which clients and proxies
/// usually lose patience.
const SECONDS_DEFAULT: u64 = 10;

/// The longest: it costs as long as it takes.
const SECONDS_MAX: u64 = 60;

/// How to profile the processor.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct CpuQuery {
    /// How long, 1 to 60; 10 when absent.
    #[param(minimum = 1, maximum = 60)]
    seconds: Option<u64>,
    /// Samples a second of processor time, 1 to 999; 99 when absent.
    #[param(minimum = 1, maximum = 999)]
    hz: Option<u32>,
    /// `pprof` (when absent), `svg` or `folded`.
    #[param(pattern = "^(pprof|svg|folded)$")]
    format: Option<String>,
}

/// How to profile the memory.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeapQuery {
    /// How long to watch what is allocated, 1 to 60; 10 when absent. Where the whole run is
    /// profiled, all of it counts and the answer comes at once.
    #[param(minimum = 1, maximum = 60)]
    seconds: Option<u64>,
    /// `pprof` (when absent), `svg` or `folded`.
    #[param(pattern = "^(pprof|svg|folded)$")]
    format: Option<String>,
}

/// What uses the processor, for some seconds.
#[utoipa::path(get, path = "/debug/pprof/profile", tag = "profiles", params(CpuQuery),
    responses((status = 200, description = "The profile, when it is done: pprof's protobuf (gzip), a flame graph, or folded stacks", content_type = "application/octet-stream"),
        (status = 409, description = "Another profile is being taken", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "A wrong key, or profiling is off", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn cpu(
    State(app): State<Shared>,
    Manager(caller): Manager,
    query: Result<Query<CpuQuery>, QueryRejection>,
) -> Answer<Response> {
    let Query(query) = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    let format = format(query.format.as_deref())?;
    let time = time(query.seconds)?;
    let hz = query.hz.unwrap_or(cpu::HZ_DEFAULT);
    if !(1..=cpu::HZ_MAX).contains(&hz) {
        let why = format!("`hz` must be 1 to {}", cpu::HZ_MAX);
        return Err(Problem::new(Code::Malformed, why).into());
    }
    let turn = turn(&app)?;
    if app.profiler.has_cpu_run() {
        let why = "the processor is being profiled for the whole run of the server, which writes it when it stops";
        return Err(Problem::new(Code::ProfileBusy, why).into());
    }
    let started = blocking(move || cpu::start(hz)).await?;
    let sampling = started.map_err(|error| match error {
        cpu::StartError::Busy => Problem::new(Code::ProfileBusy, error.to_string()),
        cpu::StartError::System(_) => Problem::new(Code::Unavailable, error.to_string()),
    })?;
    let taking = Taking {
        app,
        user: caller.name,
        kind: ProfileKind::Cpu,
        format,
    };
    let held = Held(Some((sampling, turn)));
    let done = taking.after(time, move || Ok(held.take().0.finish()));
    Ok(answer(ProfileKind::Cpu, format, done))
}

/// Who holds the memory that is allocated within some seconds.
#[utoipa::path(get, path = "/debug/pprof/heap", tag = "profiles", params(HeapQuery),
    responses((status = 200, description = "The profile, when it is done: pprof's protobuf (gzip), a flame graph, or folded stacks", content_type = "application/octet-stream"),
        (status = 404, description = "This build's allocator can't tell", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another profile is being taken", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "A wrong key, or profiling is off", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn heap(
    State(app): State<Shared>,
    Manager(caller): Manager,
    query: Result<Query<HeapQuery>, QueryRejection>,
) -> Answer<Response> {
    let Query(query) = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    let format = format(query.format.as_deref())?;
    let time = time(query.seconds)?;
    let turn = turn(&app)?;
    if !heap::is_known() {
        let why =
            "this build's allocator can't tell who holds memory; builds for Linux with glibc can";
        return Err(Problem::new(Code::NotFound, why).into());
    }
    let taking = Taking {
        app: app.clone(),
        user: caller.name,
        kind: ProfileKind::Heap,
        format,
    };
    let asked = app.clone();
    if let Some(profile) = blocking(move || asked.profiler.heap_of_run()).await? {
        let held = Held(Some(((), turn)));
        let done = taking.after(Duration::ZERO, move || held.take_with(|()| profile));
        return Ok(answer(ProfileKind::Heap, format, done));
    }
    let started = blocking(heap::start).await?;
    let sampling = started.map_err(|error| match error.kind() {
        io::ErrorKind::ResourceBusy => {
            Problem::new(Code::ProfileBusy, "the memory is being profiled already")
        }
        _ => Problem::new(Code::Unavailable, format!("start sampling: {error}")),
    })?;
    let held = Held(Some((sampling, turn)));
    let done = taking.after(time, move || held.take_with(heap::Sampling::now));
    Ok(answer(ProfileKind::Heap, format, done))
}

/// What each long-lived task and thread of the server does.
#[utoipa::path(get, path = "/debug/tasks", tag = "profiles",
    responses((status = 200, description = "The tasks, the threads by name, and the runtime", body = TaskList),
        (status = "4XX", description = "A wrong key, or profiling is off", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn all_tasks(State(app): State<Shared>, _: Manager) -> Answer<Json<TaskList>> {
    must_be_on(&app)?;
    let threads = blocking(tasks::threads).await?;
    let metrics = tokio::runtime::Handle::current().metrics();
    Ok(Json(TaskList {
        tasks: tasks::all().iter().map(view).collect(),
        threads: threads
            .into_iter()
            .map(|(name, it)| ThreadView {
                name,
                count: it.count,
                running: it.running,
                cpu_seconds: it.cpu.as_secs_f64(),
            })
            .collect(),
        runtime: RuntimeView {
            workers: metrics.num_workers() as u64,
            alive_tasks: metrics.num_alive_tasks() as u64,
            queued_tasks: metrics.global_queue_depth() as u64,
        },
    }))
}

fn view(it: &tasks::View) -> TaskView {
    TaskView {
        name: it.name.to_owned(),
        kind: it.kind.as_str().to_owned(),
        state: it.state.as_str().to_owned(),
        for_seconds: it.since.as_secs_f64(),
        age_seconds: it.age.as_secs_f64(),
        rounds: it.rounds,
        last_round_seconds: it.last_round.map(|it| it.as_secs_f64()),
        longest_round_seconds: it.longest_round.map(|it| it.as_secs_f64()),
    }
}

fn must_be_on(app: &App) -> Result<(), Problem> {
    let is_on = match app.settings.profiling {
        Profiling::On => true,
        Profiling::Off => false,
        Profiling::Auto => is_private(app),
    };
    let why = match app.settings.profiling {
        Profiling::Off => {
            "profiling is switched off; observability.profiling = \"auto\" allows it on this machine"
        }
        _ => {
            "profiling is off where others can reach the server; observability.profiling = \"on\" allows it to administrators"
        }
    };
    is_on
        .then_some(())
        .ok_or_else(|| Problem::new(Code::ProfilingOff, why))
}

/// The turn at profiling, where it is allowed at all.
fn turn(app: &App) -> Result<OwnedSemaphorePermit, Problem> {
    must_be_on(app)?;
    app.profiler.turn().ok_or_else(|| {
        let why = "another profile is being taken; it ends within a minute";
        Problem::new(Code::ProfileBusy, why)
    })
}

fn format(name: Option<&str>) -> Result<Format, Problem> {
    let why = "`format` must be `pprof`, `svg` or `folded`";
    Format::named(name.unwrap_or("pprof")).ok_or_else(|| Problem::new(Code::Malformed, why))
}

fn time(seconds: Option<u64>) -> Result<Duration, Problem> {
    let seconds = seconds.unwrap_or(SECONDS_DEFAULT);
    if !(1..=SECONDS_MAX).contains(&seconds) {
        let why = format!("`seconds` must be 1 to {SECONDS_MAX}");
        return Err(Problem::new(Code::Malformed, why));
    }
    Ok(Duration::from_secs(seconds))
}

/// Sampling under way, and the turn at it. Its end may wait for a thread, so it isn't left to whoever
/// drops it, which is a thread that serves requests.
struct Held<T: Send + 'static>(Option<(T, OwnedSemaphorePermit)>);

impl<T: Send + 'static> Held<T> {
    fn take(mut self) -> (T, OwnedSemaphorePermit) {
        self.0.take().expect("it is taken once")
    }

    /// The turn ends after what is done with it, and after it is dropped.
    fn take_with<R>(self, with: impl FnOnce(&T) -> R) -> R {
        let (held, turn) = self.take();
        let done = with(&held);
        drop(held);
        drop(turn);
        done
    }
}

impl<T: Send + 'static> Drop for Held<T> {
    fn drop(&mut self) {
        if let Some(held) = self.0.take() {
            // Nobody waits for it.
            drop(spawn_blocking(move || drop(held)));
        }
    }
}

/// A profile on its way.
struct Taking {
    app: Shared,
    user: String,
    kind: ProfileKind,
    format: Format,
}

impl Taking {
    /// Waits, or until the server stops; then ends it and writes it on a thread that may block.
    async fn after(
        self,
        time: Duration,
        end: impl FnOnce() -> io::Result<Profile> + Send + 'static,
    ) -> io::Result<Bytes> {
        let mut stopping = self.app.phases.stopping.subscribe();
        tokio::select! {
            () = sleep(time) => {}
            _ = stopping.wait_for(|it| *it) => {}
        }
        let format = self.format;
        let written = spawn_blocking(move || {
            let profile = end()?;
            let (samples, took) = (profile.samples(), profile.took());
            Ok((profile.write(format)?, samples, took))
        });
        match written.await.map_err(io::Error::other).flatten() {
            Ok((bytes, samples, took)) => {
                self.app.signals.emit(ProfileTaken {
                    kind: self.kind,
                    user: Some(&self.user),
                    file: None,
                    duration_seconds: took,
                    samples,
                });
                Ok(bytes.into())
            }
            Err(error) => {
                // The head is gone, so the caller sees an answer that breaks off.
                self.app.profiler.failed(self.kind, &error);
                Err(error)
            }
        }
    }
}

fn answer(
    kind: ProfileKind,
    format: Format,
    done: impl Future<Output = io::Result<Bytes>> + Send + 'static,
) -> Response {
    let mut response = Response::new(Body::from_stream(stream::once(done)));
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static(format.content_type());
    headers.insert(header::CONTENT_TYPE, content_type);
    if format == Format::Pprof {
        let name = match kind {
            ProfileKind::Cpu => "attachment; filename=\"danube-cpu.pb.gz\"",
            ProfileKind::Heap => "attachment; filename=\"danube-heap.pb.gz\"",
        };
        let name = HeaderValue::from_static(name);
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    response
}
