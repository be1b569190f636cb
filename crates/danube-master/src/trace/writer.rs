//! Writes what nobody waits for: the spans of a submit, so that its path touches no file.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use danube_model::JobId;
use danube_telemetry::trace::files::{TraceFiles, Writer};
use danube_telemetry::trace::proto::ResourceSpans;

/// Submits whose spans wait: some tenths of a second of the busiest server. What finds no
/// room is made from the store when it is read.
const WAITING_MAX: usize = 4_096;

/// How long a reader waits for what was told before.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);

enum Work {
    Write(JobId, Vec<ResourceSpans>),
    /// Answered when all before it is written.
    Flush(SyncSender<()>),
}

/// The way to the thread, which ends with it.
pub(super) struct Later(SyncSender<Work>);

impl Later {
    pub(super) fn start(files: TraceFiles) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        thread::Builder::new()
            .name("trace-writer".to_owned())
            .spawn(move || run(&files, &receiver))?;
        Ok(Self(sender))
    }

    /// Never waits.
    pub(super) fn write(&self, job: JobId, spans: Vec<ResourceSpans>) {
        match self.0.try_send(Work::Write(job, spans)) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }

    /// Waits until what was told before is written, for a moment at most.
    pub(super) fn flush(&self) {
        let (done, heard) = sync_channel(1);
        if self.0.try_send(Work::Flush(done)).is_ok() {
            let _ = heard.recv_timeout(FLUSH_DEADLINE);
        }
    }
}

fn run(files: &TraceFiles, work: &Receiver<Work>) {
    while let Ok(work) = work.recv() {
        match work {
            Work::Write(job, spans) => {
                let _ = files.append(&job.to_string(), Writer::Server, spans);
            }
            Work::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}
