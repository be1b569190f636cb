//! A value that is registered late: masked from now on, blanked where it stands.
//!
//! The value is in the request's body alone. It goes to the redactor of the
//! running job, sealed into the job's order, and to the search for lines that
//! hold it; nothing that is told or logged names it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use danube_api::{Code, MaskValue, Masked, Problem};
use danube_joblog::{JobLogs, LogError, MaskError, Masked as Blanked};
use danube_model::limits::{MASK_BYTES_MAX, MASKS_BYTES_MAX, MASKS_MAX};
use danube_model::spec::{Fields, Node, Value};
use danube_model::{JobId, Mistake};
use danube_redact::{Rules, Secrets};
use danube_store::MaskOutcome;
use tokio::time::sleep;

use super::answer::{Answer, json};
use super::caller::Masker;
use super::incoming::{Id, Small};
use super::jobs::{find, unknown};
use crate::app::{Shared, blocking};
use crate::runners::KeptOut;
use crate::submit::{check_mask, short_warning};

/// Bytes of the body: each of the value's may be written as `\u0000`, and there
/// is some JSON around it.
pub(crate) const BODY_BYTES_MAX: usize = 6 * MASK_BYTES_MAX + 1024;

/// How often the worker is asked for a job that it has been given, but hasn't
/// begun.
const WORKER_ASKED_EVERY: Duration = Duration::from_millis(10);

/// How long a worker on another machine may take to keep a value out: it is told at
/// once while it is connected.
const HEARD_DEADLINE: Duration = Duration::from_secs(10);

/// How many times: a worker begins within milliseconds.
const WORKER_ASKED_MAX: u32 = 500;

/// Masks a value from now on, and blanks the stored lines that hold it.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/mask", tag = "logs", request_body = MaskValue,
    params(("id" = String, Path, description = "Id or short id; with a job's own token its whole id")),
    responses((status = 200, description = "Masked; stored lines that held it are blank", body = Masked),
        (status = "4XX", description = "A value that can't be masked, an unknown job, or a wrong key; nothing was changed", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Masked as far as `detail` says", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn mask(
    State(app): State<Shared>,
    Masker(caller): Masker,
    Id(id): Id,
    headers: HeaderMap,
    Small(body): Small<BODY_BYTES_MAX>,
) -> Answer<Json<Masked>> {
    let MaskValue { value, allow_short } = asked(&headers, &body)?;
    let job = find(&app, &caller, &id).await?.id;
    let kept = keep(&app, job, &value).await;
    if let Err(Unkept::Refused(problem)) = kept {
        return Err(problem.into());
    }
    let turn = app.turns.blankings.acquire().await;
    let _turn = turn.map_err(|_| Problem::new(Code::Unavailable, "the server is stopping"))?;
    let done = blank(&app, job, &value).await;
    blank_trace(&app, job, &value).await?;
    let done = done?;
    if let Err(Unkept::NotNow(mut problem)) = kept {
        problem
            .detail
            .push_str("; the value is masked now, but wouldn't be in a later attempt");
        return Err(problem.into());
    }
    let is_short = allow_short && check_mask(&value, false).is_err();
    Ok(Json(Masked {
        lines_blanked: done.lines,
        bytes_blanked: done.bytes,
        warnings: is_short
            .then(|| short_warning("value"))
            .into_iter()
            .collect(),
    }))
}

/// The body, checked. A mistake names its field, never what it holds.
fn asked(headers: &HeaderMap, body: &[u8]) -> Result<MaskValue, Problem> {
    let mut mistakes = Vec::new();
    let asked = read(&json(headers, body)?, &mut mistakes);
    match asked {
        Some(asked) if mistakes.is_empty() => Ok(asked),
        _ => Err(Problem::invalid(&mistakes)),
    }
}

fn read(body: &serde_json::Value, mistakes: &mut Vec<Mistake>) -> Option<MaskValue> {
    let node = Node::from_json(body)
        .map_err(|mistake| mistakes.push(mistake))
        .ok()?;
    let mut fields = Fields::open(node, "", mistakes)?;
    let value = fields.require("value");
    let allow_short = fields.take_bool("allow_short").unwrap_or(false);
    let value = match value.map(|it| (it.kind(), it.value)) {
        Some((_, Value::Text(text))) => check_mask(&text, allow_short)
            .map(|()| text)
            .map_err(|why| fields.refuse("value", None, &why))
            .ok(),
        Some((kind, _)) => {
            fields.refuse("value", None, &format!("must be text, found {kind}"));
            None
        }
        None => None,
    };
    fields.end();
    Some(MaskValue {
        value: value?,
        allow_short,
    })
}

/// Why a value isn't kept with the job's order.
enum Unkept {
    /// For good.
    Refused(Problem),
    /// The store can't take it now.
    NotNow(Problem),
}

/// Keeps the value for later attempts, and for retries.
async fn keep(app: &Shared, job: JobId, value: &str) -> Result<(), Unkept> {
    match app.store.add_mask(job, value.to_owned()).await {
        Ok(MaskOutcome::Kept) => Ok(()),
        Ok(MaskOutcome::Full) => {
            let detail = format!(
                "the job has {MASKS_MAX} values to mask, or {MASKS_BYTES_MAX} bytes of them; it can have no more"
            );
            Err(Unkept::Refused(Problem::new(Code::Invalid, detail)))
        }
        Ok(MaskOutcome::NotFound) => Err(Unkept::Refused(unknown(&job.to_string()))),
        Err(error) => Err(Unkept::NotNow(app.problem(&error))),
    }
}

/// Masks the value in what runs, and blanks it in what is stored.
///
/// The job may begin, end, or begin anew meanwhile: each look finds it written
/// by somebody or by nobody, and is taken again when that has changed.
async fn blank(app: &Shared, job: JobId, value: &str) -> Result<Blanked, Problem> {
    let name = job.to_string();
    for _ in 0..WORKER_ASKED_MAX {
        let kept = app.keep_out(job, value);
        if kept == KeptOut::Nowhere && is_leased(app, job).await? {
            // It is on its way to the worker, with an order from before.
            sleep(WORKER_ASKED_EVERY).await;
            continue;
        }
        let is_heard = is_heard(app, kept).await;
        let (logs, name, value) = (app.logs.clone(), name.clone(), value.to_owned());
        let done = blocking(move || blank_log(&logs, &name, value.as_bytes())).await?;
        match done? {
            Some(done) if is_heard => return Ok(done),
            Some(_) => return Err(unheard()),
            None => {}
        }
    }
    let detail = "the job's log couldn't be blanked: it begins and ends all the time; try again";
    Err(Problem::new(Code::Unavailable, detail))
}

/// Waits until a worker on another machine keeps the value out: what it sends after
/// that is free of it, and what came before is blanked here.
pub(super) async fn is_heard(app: &Shared, kept: KeptOut) -> bool {
    let KeptOut::Elsewhere { attempt, values } = kept else {
        return true;
    };
    let until = tokio::time::Instant::now() + HEARD_DEADLINE;
    loop {
        let rung = app.remote.news().notified();
        tokio::pin!(rung);
        rung.as_mut().enable();
        if app.remote.is_masked(attempt, values) {
            return true;
        }
        if tokio::time::timeout_at(until, rung).await.is_err() {
            return false;
        }
    }
}

fn unheard() -> Problem {
    let detail = "what is stored is blank, but the job's worker hasn't heard of the value yet; it will be told when it is heard from; try again to be sure";
    Problem::new(Code::Unavailable, detail)
}

/// Masks the value in the spans that are stored.
async fn blank_trace(app: &Shared, job: JobId, value: &str) -> Result<(), Problem> {
    let only = Secrets::new(Rules::none());
    // Checked before; what is refused masks nothing.
    let _ = only.register_short(value.as_bytes());
    let traces = app.traces.clone();
    let done = blocking(move || traces.mask(job, &only)).await?;
    done.map_err(|_| {
        let detail = "the job's log is masked, its trace couldn't be written anew; try again";
        Problem::new(Code::Unavailable, detail)
    })
}

async fn is_leased(app: &Shared, job: JobId) -> Result<bool, Problem> {
    let found = app.read(move |store| store.job(job)).await?;
    Ok(found.is_some_and(|it| it.state.is_leased()) && !app.is_run(job))
}

/// None when the log was opened or closed on the way.
fn blank_log(logs: &JobLogs, job: &str, value: &[u8]) -> Result<Option<Blanked>, Problem> {
    match logs.mask(job, value, true) {
        Ok(done) => return Ok(Some(done)),
        Err(MaskError::NotLive) => {}
        Err(MaskError::Refused(_) | MaskError::Log(_)) => return Err(unblanked()),
    }
    let only = Secrets::new(Rules::none());
    // Checked before; what is refused blanks nothing.
    let _ = only.register_short(value);
    match logs.blank(job, &only) {
        Ok(done) => Ok(Some(done)),
        Err(LogError::InUse) => Ok(None),
        Err(LogError::NotFound) => Ok(Some(Blanked::default())),
        Err(_) => Err(unblanked()),
    }
}

fn unblanked() -> Problem {
    let detail = "what is stored of the job's log can't be read or blanked now; new output is masked; try again";
    Problem::new(Code::Unavailable, detail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_names_the_field_and_never_the_value() {
        for (body, pointers) in [
            (json!({"value": "hunter2"}), &["/value"][..]),
            (json!({"value": "hunt2", "allow_short": true}), &["/value"]),
            (json!({"value": ["hunter2"]}), &["/value"]),
            (json!({"valeu": "hunter2"}), &["/value", "/valeu"]),
            (
                json!({"value": "hunter2", "allow_short": 2}),
                &["/allow_short", "/value"],
            ),
            (
                json!({"value": "x".repeat(MASK_BYTES_MAX + 1)}),
                &["/value"],
            ),
            (json!("hunter2"), &[""]),
        ] {
            let bytes = body.to_string();
            let problem = asked(&HeaderMap::new(), bytes.as_bytes()).unwrap_err();
            let found: Vec<&str> = problem
                .errors
                .iter()
                .map(|it| it.pointer.as_str())
                .collect();
            assert_eq!(found, pointers, "{body}");
            assert!(!format!("{problem:?}").contains("hunt"), "{problem:?}");
        }
        let body = json!({"value": "hunter2", "allow_short": true}).to_string();
        assert!(asked(&HeaderMap::new(), body.as_bytes()).is_ok());
    }
}
