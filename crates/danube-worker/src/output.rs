//! From a step's output to the job log, and what happens when the disk says no.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use danube_executor::{Control, Output, Stream};
use danube_joblog::{LogCounts, LogError, LogWriter, Mark, Summary};
use danube_signals::{LogWriteFailed, Signals};
use danube_telemetry::{Counter, ExpiringHandle};

/// How long a job waits for a disk that takes no more bytes, before its log is
/// cut and it goes on: long enough to free some space by hand or by reaper.
const DISK_WAIT_MAX: Duration = Duration::from_secs(30);

/// How often the disk is tried again meanwhile.
const DISK_RETRY_EVERY: Duration = Duration::from_millis(100);

/// The log of one attempt. Bytes enter raw and reach the disk redacted: the
/// writer holds the redactors.
pub(crate) struct LogOutput {
    writer: LogWriter,
    control: Control,
    signals: Signals,
    /// Lives as long as the attempt; the series goes some minutes later.
    written: ExpiringHandle<Counter>,
    told: LogCounts,
    job: String,
    /// Bytes given up because the disk took none.
    pub(crate) lost_bytes: u64,
}

impl LogOutput {
    pub(crate) fn new(writer: LogWriter, control: Control, signals: &Signals, job: String) -> Self {
        let written = signals.log_bytes_written_total.open(&job);
        let told = writer.counts();
        Self {
            writer,
            control,
            signals: signals.clone(),
            written,
            told,
            job,
            lost_bytes: 0,
        }
    }

    /// Notes a point in the log; what came before is on its way to the disk.
    pub(crate) fn mark(&mut self, mark: Mark) -> u64 {
        let offset = loop {
            match self.writer.mark(mark) {
                Ok(offset) => break offset,
                Err(error) => self.wait_for_disk(&error),
            }
        };
        self.tell();
        offset
    }

    /// Ends the log. What can't be written any more is counted as missing.
    pub(crate) fn close(mut self) -> Result<Summary, LogError> {
        while let Err(error) = self.writer.tick() {
            self.wait_for_disk(&error);
        }
        self.tell();
        self.writer.close()
    }

    /// Tries until the disk takes what waits, or gives it up. The job is held
    /// back meanwhile: its pipe fills.
    fn wait_for_disk(&mut self, first: &LogError) {
        let since = Instant::now();
        let mut error = first.to_string();
        while since.elapsed() < DISK_WAIT_MAX && self.control.stopped().is_none() {
            thread::sleep(DISK_RETRY_EVERY);
            match self.writer.tick() {
                Ok(()) => return,
                Err(again) => error = again.to_string(),
            }
        }
        let lost = self.writer.skip_pending();
        self.lost_bytes += lost;
        self.signals.emit(LogWriteFailed {
            job_id: &self.job,
            error: &error,
        });
    }

    /// Turns the writer's totals into metrics.
    fn tell(&mut self) {
        let now = self.writer.counts();
        let written = now.written_bytes - self.told.written_bytes;
        self.written.add(written);
        let signals = &self.signals;
        signals.log_bytes_ingested_total.add(written);
        let blocked = Duration::from_nanos(now.blocked_nanos - self.told.blocked_nanos);
        signals
            .log_ingest_blocked_seconds_total
            .add_duration(blocked);
        for (rule, count) in &now.redactions {
            let before = self.told.redactions.get(rule).copied().unwrap_or(0);
            if *count > before {
                signals
                    .log_redactions_total
                    .with([rule])
                    .add(count - before);
            }
        }
        self.told = now;
    }
}

impl Output for LogOutput {
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let stream = match stream {
            Stream::Stdout => danube_joblog::Stream::Stdout,
            Stream::Stderr => danube_joblog::Stream::Stderr,
        };
        if let Err(error) = self.writer.write(stream, bytes) {
            self.wait_for_disk(&error);
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.writer.tick_due()
    }

    fn tick(&mut self) -> io::Result<()> {
        if let Err(error) = self.writer.tick() {
            self.wait_for_disk(&error);
        }
        self.tell();
        Ok(())
    }
}
