//! Why a job failed: the line of its log that says it, and what was different from the last success.

use std::collections::BTreeMap;

use danube_api::{JobView, Problem, StepView};
use danube_joblog::{Chunk, JobLogs, StreamKind};
use danube_model::{Job, JobId, State};
use danube_pages::diff::{LastSuccess, Run, differences};
use danube_pages::first_error::{ErrorLine, LogLine, first_error};
use danube_pages::job::{Failure, failed_step};
use danube_store::{Filter, Store, StoreError};

use crate::app::{Shared, blocking};
use crate::auth::Caller;
use crate::http::text::Derive;
use crate::trace::Traces;

/// Bytes of a step's output in which the line is looked for: its end. What failed a step is mostly
/// said there, and a page can't wait for a gigabyte.
const SEARCHED_BYTES: u64 = 512 * 1024;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Jobs before it among which the last success is looked for: a pipeline may have failed for years.
const JOBS_LOOKED_AT: usize = 500;

/// Why it failed; none of a job that didn't.
pub(super) async fn failure(
    app: &Shared,
    caller: &Caller,
    (job, view): (&Job, &JobView),
) -> Result<Option<Failure>, Problem> {
    if !matches!(job.state, State::Failure | State::Timeout) {
        return Ok(None);
    }
    let filter = Filter {
        pipeline: Some(job.pipeline.clone()),
        sight: caller.reach.sight(),
        ..Filter::default()
    };
    let (before, traces) = (job.clone(), app.traces.clone());
    let (success, parameters, jobs_looked_at) = app
        .read(move |store| {
            let found = store.earlier(&filter, before.id, JOBS_LOOKED_AT)?;
            let alike: Vec<&Job> = found.iter().filter(|it| is_alike(it, &before)).collect();
            let success = alike.iter().find(|it| it.state == State::Success);
            let Some(success) = success.map(|it| it.id) else {
                return Ok((None, None, alike.len()));
            };
            let names = |id| parameters(store, &traces, id);
            let parameters = match before.playbook {
                None => names(before.id)?.zip(names(success)?),
                Some(_) => None,
            };
            Ok((store.job(success)?, parameters, alike.len()))
        })
        .await?;
    let success = success.map(JobView::whole);
    let error = error_line(app, job, view).await?;
    let (now, then) = parameters.unzip();
    let differences = success.as_ref().map(|success| {
        let failed = Run {
            job: view,
            parameters: now.as_ref(),
        };
        let success = Run {
            job: success,
            parameters: then.as_ref(),
        };
        differences(failed, success)
    });
    Ok(Some(Failure {
        error,
        last_success: success.map(|it| LastSuccess {
            id: it.id,
            short_id: it.short_id,
            finished_at: it.finished_at,
        }),
        differences: differences.unwrap_or_default(),
        jobs_looked_at,
    }))
}

/// All playbooks are one pipeline: there what counts is where they come from.
fn is_alike(job: &Job, than: &Job) -> bool {
    let source = |it: &Job| it.playbook.as_ref().map(|it| it.source.clone());
    source(job) == source(than)
}

/// The parameters that a job had, secrets out of their names; none where its order can't be read.
fn parameters(
    store: &Store,
    traces: &Traces,
    job: JobId,
) -> Result<Option<BTreeMap<String, String>>, StoreError> {
    let Some(of) = store.job_trace(job)? else {
        return Ok(None);
    };
    let secrets = traces.secrets(&of);
    let names = of.parameters.into_iter();
    let names = names.map(|(name, value)| (secrets.redact(&name), value));
    Ok(Some(names.collect()))
}

/// The line of the failed step's output; of the whole log where no step failed.
async fn error_line(app: &Shared, job: &Job, view: &JobView) -> Result<Option<ErrorLine>, Problem> {
    if job.log_deleted_at.is_some() {
        return Ok(None);
    }
    let place = |step: &StepView| (step.log_start, step.log_end);
    let (from, to) = failed_step(view).map_or((None, None), place);
    let _turn = app.turns.log_reads.acquire().await;
    let (logs, id) = (app.logs.clone(), job.id.to_string());
    blocking(move || {
        let lines = lines(&logs, &id, (from.unwrap_or(0), to));
        let lines: Vec<LogLine<'_>> = lines.iter().map(OwnLine::as_line).collect();
        first_error(&lines)
    })
    .await
}

/// A line of a log.
#[derive(Debug, PartialEq, Eq)]
struct OwnLine {
    offset: u64,
    text: String,
    is_stderr: bool,
}

impl OwnLine {
    fn as_line(&self) -> LogLine<'_> {
        LogLine {
            offset: self.offset,
            text: &self.text,
            is_stderr: self.is_stderr,
        }
    }
}

/// The last lines between two places of a log. What can't be read isn't there.
fn lines(logs: &JobLogs, job: &str, (start, end): (u64, Option<u64>)) -> Vec<OwnLine> {
    let Ok(mut reader) = logs.reader(job) else {
        return Vec::new();
    };
    let end = end.map_or(reader.end(), |it| it.min(reader.end()));
    let from = start.max(end.saturating_sub(SEARCHED_BYTES));
    let mut found = Lines::new(from > start);
    let mut at = from;
    while at < end {
        let max = PIECE_BYTES.min(usize::try_from(end - at).unwrap_or(PIECE_BYTES));
        match reader.read(at, max) {
            Ok(Chunk::Data {
                offset,
                bytes,
                stream,
                ..
            }) => {
                at = offset + bytes.len() as u64;
                found.push(offset, &bytes, stream == StreamKind::Stderr);
            }
            Ok(Chunk::Gap { to, .. }) => {
                found.end();
                at = to;
            }
            Ok(Chunk::End { .. }) | Err(_) => break,
        }
    }
    found.end();
    found.all
}

/// Lines as they are put together.
struct Lines {
    all: Vec<OwnLine>,
    derive: Derive,
    /// The line that hasn't ended: where it begins, and whether on standard error.
    open: Option<(u64, bool)>,
    bytes: Vec<u8>,
    /// The first one isn't whole.
    is_cut: bool,
}

impl Lines {
    fn new(is_cut: bool) -> Self {
        Self {
            all: Vec::new(),
            derive: Derive::new(true, false),
            open: None,
            bytes: Vec::new(),
            is_cut,
        }
    }

    fn push(&mut self, offset: u64, bytes: &[u8], is_stderr: bool) {
        let mut at = offset;
        for part in bytes.split_inclusive(|it| *it == b'\n') {
            self.open.get_or_insert((at, is_stderr));
            self.bytes.extend_from_slice(part);
            at += part.len() as u64;
            if part.ends_with(b"\n") {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        let Some((offset, is_stderr)) = self.open.take() else {
            return;
        };
        let bytes = self.derive.push(std::mem::take(&mut self.bytes), None);
        if std::mem::take(&mut self.is_cut) {
            return;
        }
        let text = String::from_utf8_lossy(&bytes);
        // Of a line that was written over and over the last is what one saw.
        let text = text.trim_end_matches(['\n', '\r']);
        let text = text.rsplit('\r').next().unwrap_or_default().to_owned();
        self.all.push(OwnLine {
            offset,
            text,
            is_stderr,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_place_of_their_first_byte_whatever_pieces_they_come_in() {
        let text = b"cut off\nplain\n\x1b[31mred\x1b[0m 10%\r100%\r\nno end";
        let expected = [
            (108, "plain", false),
            (114, "100%", false),
            (137, "no end", false),
        ];
        for size in 1..text.len() {
            let mut lines = Lines::new(true);
            let mut at = 100;
            for part in text.chunks(size) {
                lines.push(at, part, false);
                at += part.len() as u64;
            }
            lines.end();
            let found: Vec<_> = lines
                .all
                .iter()
                .map(|it| (it.offset, &*it.text, it.is_stderr))
                .collect();
            assert_eq!(found, expected, "{size}");
        }
    }

    #[test]
    fn a_line_is_of_the_stream_that_began_it() {
        let mut lines = Lines::new(false);
        lines.push(0, b"a", true);
        lines.push(1, b"b\nc\n", false);
        let found: Vec<_> = lines
            .all
            .iter()
            .map(|it| (&*it.text, it.is_stderr))
            .collect();
        assert_eq!(found, [("ab", true), ("c", false)]);
    }
}
