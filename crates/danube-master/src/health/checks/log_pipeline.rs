//! A line of a job's log comes through: written, without its secret, and read again. It goes
//! the way of every job's log, into a log of its own that is deleted again.

use std::time::Duration;

use danube_joblog::{Chunk, JobLogs, LogError, Stream};
use danube_redact::{Rules, Secrets};
use danube_signals::Check;

use super::super::check::{Answer, HealthCheck};
use crate::app::Shared;
use crate::auth::random;

/// The log's name; no job has one like it.
const NAME: &str = "health-probe";

/// How long it may take to write and read one line.
const DEADLINE: Duration = Duration::from_secs(5);

/// Bytes that are read back; the line is shorter.
const READ_BYTES_MAX: usize = 4096;

pub(super) fn check(app: &Shared, interval: Duration) -> HealthCheck {
    let app = app.clone();
    HealthCheck {
        name: Check::LogPipeline,
        period: interval,
        deadline: DEADLINE,
        gates: false,
        run: Box::new(move || look(&app.logs, &app.settings.rules)),
        heal: None,
    }
}

fn look(logs: &JobLogs, rules: &Rules) -> Answer {
    let id = u64::from_be_bytes(random::<8>());
    let (mark, secret) = (format!("mark-{id:016x}"), format!("canary-{id:016x}"));
    let read = probe(logs, rules, (&mark, &secret));
    let deleted = logs.delete(NAME);
    match read {
        Err(error) => Answer::failed(format!("write and read a line of a log: {error}")),
        Ok(text) if text.contains(&secret) => Answer::failed(
            "a registered value stands in a log: stop what runs and tell the makers of Danube",
        ),
        Ok(text) if !text.contains(&mark) => {
            Answer::failed("what was written to a log isn't what is read from it")
        }
        Ok(_) => match deleted {
            Ok(_) => Answer::ok(),
            Err(error) => Answer::degraded(format!("delete a log: {error}")),
        },
    }
}

/// What is read back of a line with a mark and a secret.
fn probe(logs: &JobLogs, rules: &Rules, (mark, secret): (&str, &str)) -> Result<String, LogError> {
    let secrets = Secrets::new(rules.clone());
    // Long enough not to be refused.
    let _ = secrets.register(secret.as_bytes());
    let mut writer = logs.writer(NAME, &secrets)?;
    writer.write(Stream::Stdout, format!("{mark} {secret}\n").as_bytes())?;
    let end = writer.mark(danube_joblog::Mark::Attempt(1))?;
    let mut reader = logs.reader(NAME)?;
    reader.refresh()?;
    let mut text = String::new();
    let mut at = 0;
    while at < end {
        match reader.read(at, READ_BYTES_MAX)? {
            Chunk::Data { offset, bytes, .. } => {
                at = offset + bytes.len() as u64;
                text.push_str(&String::from_utf8_lossy(&bytes));
            }
            Chunk::Gap { to, .. } => at = to,
            Chunk::End { .. } => break,
        }
    }
    Ok(text)
}
