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
    /// Where the log ended when its counts were told last.
    told_end: u64,
    job: String,
    /// The disk was full for longer than a job waits.
    gave_up: bool,
}

impl LogOutput {
    pub(crate) fn new(writer: LogWriter, control: Control, signals: &Signals, job: String) -> Self {
        let written = signals.log_bytes_written_total.open(&job);
        let (told, told_end) = (writer.counts(), writer.end());
        Self {
            writer,
            control,
            signals: signals.clone(),
            written,
            told,
            told_end,
            job,
            gave_up: false,
        }
    }

    /// Notes a point in the log; what came before is on its way to the disk.
    /// When the disk takes nothing, the point is where the log ends now.
    pub(crate) fn mark(&mut self, mark: Mark) -> u64 {
        let since = Instant::now();
        let offset = loop {
            match self.writer.mark(mark) {
                Ok(offset) => break offset,
                // A disk may take the text and yet refuse the mark, again and again.
                Err(error)
                    if since.elapsed() < DISK_WAIT_MAX && self.disk_is_well_again(&error) => {}
                Err(_) => break self.writer.end(),
            }
        };
        self.tell();
        offset
    }

    /// Notes where a play or a task begins, unless bytes before it may yet turn out to be
    /// part of a secret: then a viewer has one fold less.
    pub(crate) fn fold(&mut self, mark: Mark) {
        if let Err(error) = self.writer.mark_if_clear(mark) {
            // For its bytes, as after any write; the mark itself isn't worth a wait.
            self.disk_is_well_again(&error);
        }
        self.tell();
    }

    /// Ends the log.
    ///
    /// # Errors
    /// The bytes that are lost beside those that the log knows of, when it
    /// couldn't be closed.
    pub(crate) fn close(mut self) -> Result<Summary, u64> {
        if let Err(error) = self.writer.tick() {
            self.disk_is_well_again(&error);
        }
        self.tell();
        let unsaid = self.writer.counts().missing_bytes;
        self.writer.close().map_err(|_| unsaid)
    }

    /// Waits until the disk takes what waits; `false` when it was given up. The
    /// job is held back meanwhile: its pipe fills.
    fn disk_is_well_again(&mut self, first: &LogError) -> bool {
        if self.gave_up {
            // It has waited long enough before; its log has one gap more.
            self.writer.skip_pending();
            return false;
        }
        let since = Instant::now();
        let mut error = first.to_string();
        self.tell_failure(&error, false);
        while since.elapsed() < DISK_WAIT_MAX && self.control.stopped().is_none() {
            thread::sleep(DISK_RETRY_EVERY);
            match self.writer.tick() {
                Ok(()) => {
                    self.blocked(since.elapsed());
                    return true;
                }
                Err(again) => error = again.to_string(),
            }
        }
        self.blocked(since.elapsed());
        self.gave_up = true;
        self.writer.skip_pending();
        self.tell_failure(&format!("gave up its bytes: {error}"), true);
        false
    }

    fn tell_failure(&self, error: &str, is_again: bool) {
        self.signals.emit(LogWriteFailed {
            job_id: &self.job,
            error,
            is_again,
        });
    }

    fn blocked(&self, time: Duration) {
        self.signals
            .log_ingest_blocked_seconds_total
            .add_duration(time);
    }

    /// Turns the writer's totals into metrics.
    fn tell(&mut self) {
        self.told_end = self.writer.end();
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
            self.disk_is_well_again(&error);
        }
        // A lone line is appended at once, and no tick follows it: a job that says
        // little is counted while it runs too.
        if self.writer.end() != self.told_end {
            self.tell();
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.writer.tick_due()
    }

    fn tick(&mut self) -> io::Result<()> {
        match self.writer.tick() {
            Ok(()) => self.gave_up = false,
            Err(error) => {
                self.disk_is_well_again(&error);
            }
        }
        self.tell();
        Ok(())
    }
}
