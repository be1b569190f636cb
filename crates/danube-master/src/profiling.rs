//! Who may profile this process now, and the profile of a whole run.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use danube_signals::{ProfileFailed, ProfileKind, ProfileStarted, ProfileTaken, Signals};
use danube_telemetry::profile::{Format, Profile, cpu, heap};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lock::write_whole;
use crate::settings::Settings;

/// Where the profile of a whole run is written, in the data directory. The one before is replaced, so
/// that a service that is restarted for ever fills no disk.
const CPU_FILE: &str = "profile-cpu.pb.gz";
const HEAP_FILE: &str = "profile-heap.pb.gz";

/// Profiles are the owner's: they tell what the server is busy with.
const FILE_MODE: u32 = 0o600;

/// Hands out the one turn at profiling, and holds the profile of the whole run where there is one.
pub(crate) struct Profiler {
    turn: Arc<Semaphore>,
    dir: PathBuf,
    signals: Signals,
    run: Mutex<Option<Run>>,
}

#[derive(Default)]
struct Run {
    cpu: Option<cpu::Sampling>,
    heap: Option<heap::Sampling>,
}

impl Profiler {
    /// Begins the profile of the whole run, where the settings ask for it. What of it can't begin is
    /// told; a server that can't be profiled still serves.
    pub(crate) fn start(settings: &Settings, signals: &Signals) -> Self {
        let profiler = Self {
            turn: Arc::new(Semaphore::new(1)),
            dir: settings.data_dir.clone(),
            signals: signals.clone(),
            run: Mutex::default(),
        };
        if settings.profile_run {
            let cpu = cpu::start(cpu::HZ_DEFAULT).map_err(io::Error::other);
            *profiler.run() = Some(Run {
                cpu: profiler.started(ProfileKind::Cpu, cpu),
                heap: profiler.started(ProfileKind::Heap, heap::start()),
            });
        }
        profiler
    }

    fn started<T>(&self, kind: ProfileKind, started: io::Result<T>) -> Option<T> {
        let path = self.dir.join(file(kind));
        let told = path.display().to_string();
        match started {
            Ok(sampling) => {
                self.signals.emit(ProfileStarted { kind, file: &told });
                Some(sampling)
            }
            Err(error) => {
                self.failed(kind, &error);
                None
            }
        }
    }

    /// The turn; none while another has it.
    pub(crate) fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turn).try_acquire_owned().ok()
    }

    /// Whether the processor is being profiled for the whole run.
    pub(crate) fn has_cpu_run(&self) -> bool {
        self.run().as_ref().is_some_and(|it| it.cpu.is_some())
    }

    /// What is in use of all that was allocated since the start, where the whole run is profiled.
    pub(crate) fn heap_of_run(&self) -> Option<io::Result<Profile>> {
        let run = self.run();
        run.as_ref()?.heap.as_ref().map(heap::Sampling::now)
    }

    /// Writes who holds memory now, as the server begins to stop: later there is little left to see.
    pub(crate) fn keep_heap(&self) {
        let heap = self.run().as_mut().and_then(|it| it.heap.take());
        if let Some(heap) = heap {
            self.keep(ProfileKind::Heap, heap.now());
        }
    }

    /// Writes what used the processor, at the end of the run.
    pub(crate) fn finish(&self) {
        let cpu = self.run().take().and_then(|it| it.cpu);
        if let Some(cpu) = cpu {
            self.keep(ProfileKind::Cpu, Ok(cpu.finish()));
        }
    }

    fn keep(&self, kind: ProfileKind, profile: io::Result<Profile>) {
        let path = self.dir.join(file(kind));
        let kept = profile.and_then(|it| {
            let (samples, took) = (it.samples(), it.took());
            write_whole(&path, &it.write(Format::Pprof)?, FILE_MODE)?;
            Ok((samples, took))
        });
        match kept {
            Ok((samples, took)) => self.signals.emit(ProfileTaken {
                kind,
                user: None,
                file: Some(&path.display().to_string()),
                duration_seconds: took,
                samples,
            }),
            Err(error) => self.failed(kind, &at(&path, &error)),
        }
    }

    /// It could not be taken or kept.
    pub(crate) fn failed(&self, kind: ProfileKind, error: &io::Error) {
        self.signals.emit(ProfileFailed {
            kind,
            error: &error.to_string(),
        });
    }

    fn run(&self) -> MutexGuard<'_, Option<Run>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file(kind: ProfileKind) -> &'static str {
    match kind {
        ProfileKind::Cpu => CPU_FILE,
        ProfileKind::Heap => HEAP_FILE,
    }
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("write {}: {error}", path.display()))
}
