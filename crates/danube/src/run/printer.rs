//! Prints the log of a run as it grows.

use std::io::{self, Write};

use danube_joblog::{Chunk, JobLogs, LogReader, StreamKind};
use danube_model::JobId;

use super::{PIECE_BYTES_MAX, failed};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Sanitizer, Screen};

/// Writes the log to where the job's own output would have gone.
pub(super) struct Printer<'a> {
    logs: &'a JobLogs,
    name: String,
    reader: Option<LogReader>,
    pub(super) at: u64,
    json: bool,
    sanitizers: [Option<Sanitizer>; 2],
}

impl<'a> Printer<'a> {
    pub(super) fn new(screen: &Screen, logs: &'a JobLogs, job: JobId) -> Self {
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

    /// Whether there is something to print.
    pub(super) fn is_behind(&self) -> bool {
        let progress = self.logs.progress(&self.name);
        progress.is_some_and(|it| it.borrow().end > self.at)
    }

    pub(super) fn catch_up(&mut self) -> Result<(), Failure> {
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

    pub(super) fn end(&mut self) -> Result<(), Failure> {
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
