//! The routes of workers on other machines, but for `claims`. What they mean is in `remote`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, State};
use axum::http::{HeaderMap, header, request::Parts};
use axum::response::Response;
use axum::{Json, http::HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use danube_api::rpc::{
    self, CredentialsAnswer, CredentialsWanted, Finalizing, Finish, GivenCredential, GivenSecret,
    HandBack, Heartbeat, HeartbeatAnswer, LogPiece, PieceAnswer, Played, SecretsAnswer, Spans,
    Started, StepChanged, Taken, Wish,
};
use danube_api::{Code, Problem};
use danube_joblog::{CopiedRun, Mark, Piece, StreamKind};
use danube_model::{Attempt, Step};
use danube_telemetry::trace::wire;
use danube_worker::Traced;
use serde::de::DeserializeOwned;

use super::answer::{Answer, Refusal};
use super::caller::key;
use super::claims::{dispatch, known_queues};
use super::incoming::Ours;
use crate::app::{App, Shared, blocking};
use crate::remote::{Peer, Remote, Said, Told, Unreported};

/// Bytes of a message: the end of a job with the most steps that there may be, and its
/// spans.
pub(crate) const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Characters of an instance.
const INSTANCE_CHARS_MAX: usize = 32;

/// Jobs that one worker runs at once, at most, as far as a heartbeat tells.
const RUNNING_MAX: usize = 4_096;

/// A worker with a good token that speaks our language.
pub(crate) struct Known(pub(super) Peer);

impl FromRequestParts<Shared> for Known {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        let token = key(&parts.headers).unwrap_or_default();
        let Some(worker) = app.workers.known(token) else {
            let detail = "send a worker's token as `Authorization: Bearer TOKEN`; `danube worker create` makes one";
            return Err(Problem::new(Code::Unauthorized, detail).into());
        };
        let text = |name: &str| parts.headers.get(name).and_then(|it| it.to_str().ok());
        let protocol = text(rpc::PROTOCOL_HEADER).and_then(|it| it.parse::<u32>().ok());
        if protocol != Some(rpc::PROTOCOL) {
            let found = protocol.map_or("none".to_owned(), |it| it.to_string());
            let detail = format!(
                "this server speaks the worker protocol {}, the worker {found}: bring both to the same version",
                rpc::PROTOCOL
            );
            return Err(Problem::new(Code::Malformed, detail).into());
        }
        let instance = text(rpc::INSTANCE_HEADER).unwrap_or_default();
        let is_hex = instance.bytes().all(|it| it.is_ascii_hexdigit());
        if instance.is_empty() || instance.len() > INSTANCE_CHARS_MAX || !is_hex {
            let detail = format!("`{}` must be hexadecimal", rpc::INSTANCE_HEADER);
            return Err(Problem::new(Code::Malformed, detail).into());
        }
        if app
            .workers
            .is_to_be_told(worker.id, std::time::Instant::now())
        {
            // Only for people's eyes: not waited for.
            drop(app.store.worker_seen(worker.id));
        }
        Ok(Self(Peer {
            worker: worker.name,
            instance: instance.to_owned(),
        }))
    }
}

/// Hears what a worker runs, and answers when there is something to tell it, or in time
/// for its next heartbeat.
pub(crate) async fn heartbeat(
    State(app): State<Shared>,
    Known(peer): Known,
    Ours(body): Ours<BODY_BYTES_MAX>,
) -> Answer<Response> {
    let beat: Heartbeat = read(&body)?;
    known_queues(&app, beat.queues.as_deref())?;
    if beat.running.len() > RUNNING_MAX {
        let detail = format!("a worker runs {RUNNING_MAX} jobs at most");
        return Err(Problem::new(Code::Malformed, detail).into());
    }
    let remote = Arc::clone(&app.remote);
    let knows_us = beat.epoch == remote.epoch();
    let said: Vec<Said> = beat
        .running
        .iter()
        .map(|it| Said {
            attempt: it.lease.into(),
            token: unhex(&it.token_sha256),
            steps_token: it.steps_token_sha256.as_deref().and_then(unhex),
            // Counted by an earlier master: it begins anew.
            masked: if knows_us { it.masked as usize } else { 0 },
            stopping: it.stopping,
        })
        .collect();
    let wait = if beat.at_once {
        Duration::ZERO
    } else {
        remote.lease() / 3
    };
    let told = wishes(&remote, &peer, said.clone()).await?;
    if beat.leaving {
        remote.left(&peer);
    }
    Ok(later(async move {
        let told = if told.is_empty() {
            news(&app, &peer, said, wait).await
        } else {
            told
        };
        let dispatch = dispatch(&app, beat.queues.as_deref());
        HeartbeatAnswer {
            wishes: told.into_iter().map(wish).collect(),
            lease_seconds: remote.lease().as_secs(),
            epoch: remote.epoch().to_owned(),
            worker: peer.worker,
            dispatch,
        }
    }))
}

/// Waits until there is something to tell, for so long.
async fn news(app: &App, peer: &Peer, said: Vec<Said>, wait: Duration) -> Vec<Told> {
    let (remote, had_redis) = (&app.remote, app.feed.is_fine());
    let until = tokio::time::Instant::now() + wait;
    loop {
        let rung = remote.news().notified();
        tokio::pin!(rung);
        rung.as_mut().enable();
        // Leases aren't renewed here: that the worker waits still isn't known.
        let told = remote.wishes(peer, &said);
        if !told.is_empty() || remote.is_closed() || app.feed.is_fine() != had_redis {
            return told;
        }
        if tokio::time::timeout_at(until, rung).await.is_err() {
            return Vec::new();
        }
    }
}

async fn wishes(remote: &Arc<Remote>, peer: &Peer, said: Vec<Said>) -> Result<Vec<Told>, Problem> {
    let (remote, peer) = (Arc::clone(remote), peer.clone());
    let told = blocking(move || remote.heard(&peer, &said)).await?;
    told.map_err(|_| Problem::new(Code::Unavailable, "the database can't be read now"))
}

fn wish(told: Told) -> Wish {
    Wish {
        lease: told.attempt.into(),
        cancel: told.cancel,
        lost: told.lost,
        masks: told.masks,
        masks_from: u32::try_from(told.masks_from).unwrap_or(u32::MAX),
    }
}

/// Takes a piece of a log.
pub(crate) async fn append_log(
    State(app): State<Shared>,
    Known(peer): Known,
    headers: HeaderMap,
    Ours(body): Ours<BODY_BYTES_MAX>,
) -> Answer<Json<PieceAnswer>> {
    let about = headers.get(rpc::PIECE_HEADER);
    let about: LogPiece = read(about.map_or(&[][..], HeaderValue::as_bytes))?;
    if body.len() > rpc::PIECE_BYTES_MAX || about.runs.len() > rpc::PIECE_RUNS_MAX {
        return Err(Problem::new(Code::TooLarge, "the piece is too large").into());
    }
    let marks: Option<Vec<(u64, Mark)>> = about.marks.iter().map(mark).collect();
    let marks = marks.ok_or_else(|| Problem::new(Code::Malformed, "a span's id is malformed"))?;
    let taken = on_thread(&app, move |remote| {
        let runs: Vec<CopiedRun> = about.runs.iter().map(run).collect();
        let piece = Piece {
            offset: about.offset,
            bytes: &body,
            runs: &runs,
            marks: &marks,
            gap_to: about.gap_to,
        };
        remote.append(&peer, about.lease.into(), &piece)
    });
    Ok(Json(PieceAnswer { end: taken.await? }))
}

fn run((from, bytes, time_us): &(char, u64, u64)) -> CopiedRun {
    CopiedRun {
        stream: match from {
            'o' => StreamKind::Stdout,
            'e' => StreamKind::Stderr,
            _ => StreamKind::Mixed,
        },
        bytes: *bytes,
        time_us: *time_us,
    }
}

fn mark(mark: &rpc::LogMark) -> Option<(u64, Mark)> {
    let what = match &mark.what {
        rpc::MarkKind::Begin(step) => Mark::StepStart(*step),
        rpc::MarkKind::End(step) => Mark::StepEnd(*step),
        rpc::MarkKind::Span(id) => Mark::StepSpan(unhex(id)?),
        rpc::MarkKind::Play(number) => Mark::Play(*number),
        rpc::MarkKind::Task(number) => Mark::Task(*number),
        rpc::MarkKind::PlaysEnd(()) => Mark::PlaysEnd,
    };
    Some((mark.at, what))
}

/// The first step begins.
pub(crate) async fn started(
    State(app): State<Shared>,
    Known(peer): Known,
    Ours(body): Ours<BODY_BYTES_MAX>,
) -> Answer<Json<Taken>> {
    let Started { lease, steps } = read(&body)?;
    let steps: Vec<Step> = steps.into_iter().map(Step::from).collect();
    taken(
        on_thread(&app, move |remote| {
            remote.started(&peer, lease.into(), &steps)
        })
        .await,
    )
}

/// A step began or ended.
pub(crate) async fn step(
    State(app): State<Shared>,
    Known(peer): Known,
    Ours(body): Ours<BODY_BYTES_MAX>,
) -> Answer<Json<Taken>> {
    let StepChanged { lease, index, step } = read(&body)?;
    let step = Step::from(step);
    taken(
        on_thread(&app, move |remote| {
            remote.step(&peer, lease.into(), (index, &step))
        })
        .await,
    )
}

/// A playbook did something.
pub(crate) async fn played(
    State(app): State<Shared>,
    Known(peer): Known,
    Ours(body): Ours<BODY_BYTES_MAX>,
) -> Answer<Json<Taken>> {
    let Played {
        lease,
        records,
        progress,
    } = read(&body)?;
    taken(
        on_thread(&app, move |remote| {
            remote.played(&peer, lease.into(), (records, progress))
        })
        .await,
    )
}

/// A job needs its credentials.
pub(crate) async fn credentials(
    State(app): State<Shared>,
    Known(peer): Known,
    Ours(body): Ours<BODY_BYTES_MAX>,
) -> Answer<Json<CredentialsAnswer>> {
    let CredentialsWanted { lease, names } = read(&body)?;
    let given = on_thread(&app, move |remote| {
        remote.credentials(&peer, lease.into(), names)
    });
    Ok(Json(match given.await? {
        Ok(given) => CredentialsAnswer {
            credentials: given.into_iter().map(GivenCredential::from).collect(),
            refused: None,
        },
        Err(why) => CredentialsAnswer {
            credentials: Vec::new(),
            refused: Some(why),
        },
    }))
}

/// A step asks for secrets.
pub(crate) async fn secrets(
    State(app): State<Shared>,
    Known(peer): Known,
    Ours(body): Ours<BODY_BYTES_MAX>,
) -> Answer<Json<SecretsAnswer>> {
    let CredentialsWanted { lease, names } = read(&body)?;
    let given = on_thread(&app, move |remote| {
        remote.secrets(&peer, lease.into(), names)
    });
    let (given, refused) = match given.await? {
        Ok(given) => (given, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let secrets = given.into_iter().map(|(name, value)| GivenSecret {
        name,
        value: value.reveal().to_owned(),
    });
    Ok(Json(SecretsAnswer {
        secrets: secrets.collect(),
        refused,
    }))
}

/// No step follows.
pub(crate) async fn finalizing(
    State(app): State<Shared>,
    Known(peer): Known,
    Ours(body): Ours<BODY_BYTES_MAX>,
) -> Answer<Json<Taken>> {
    let Finalizing { lease } = read(&body)?;
    taken(on_thread(&app, move |remote| remote.finalizing(&peer, lease.into())).await)
}

/// The attempt has ended.
pub(crate) async fn finish(
    State(app): State<Shared>,
    Known(peer): Known,
    Ours(body): Ours<BODY_BYTES_MAX>,
) -> Answer<Json<Taken>> {
    let finish: Finish = read(&body)?;
    let attempt = Attempt::from(finish.lease);
    let ended = finish
        .ended()
        .ok_or_else(|| Problem::new(Code::Malformed, "the cause is no end of an attempt"))?;
    let traced = traced(attempt, finish.spans.as_ref())?;
    taken(
        on_thread(&app, move |remote| {
            remote.finish(&peer, attempt, (ended, traced))
        })
        .await,
    )
}

/// The worker leaves.
pub(crate) async fn hand_back(
    State(app): State<Shared>,
    Known(peer): Known,
    Ours(body): Ours<BODY_BYTES_MAX>,
) -> Answer<Json<Taken>> {
    let back: HandBack = read(&body)?;
    let attempt = Attempt::from(back.lease);
    let traced = traced(attempt, back.spans.as_ref())?;
    taken(
        on_thread(&app, move |remote| {
            let why = (back.reason.as_str(), back.may_have_run);
            remote.hand_back(&peer, attempt, why, (back.log_end, traced))
        })
        .await,
    )
}

/// The attempt's spans, as they came.
fn traced(attempt: Attempt, spans: Option<&Spans>) -> Result<Option<Traced>, Problem> {
    let Some(sent) = spans else {
        return Ok(None);
    };
    let wrong = || Problem::new(Code::Malformed, "the spans can't be read");
    let data = STANDARD.decode(&sent.data).map_err(|_| wrong())?;
    let spans = wire::decode(&data).ok_or_else(wrong)?;
    let trace_id = spans
        .first()
        .and_then(|it| it.trace_id.as_slice().try_into().ok());
    Ok(trace_id.map(|trace_id| Traced {
        attempt,
        trace_id,
        spans,
        has_failed: sent.has_failed,
        took: Duration::try_from_secs_f64(sent.took_seconds).unwrap_or_default(),
    }))
}

pub(super) async fn on_thread<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Remote) -> Result<T, Unreported> + Send + 'static,
) -> Result<T, Problem> {
    let remote = Arc::clone(&app.remote);
    let done = blocking(move || work(&remote)).await?;
    done.map_err(|why| match why {
        Unreported::Fenced => Problem::new(
            Code::WrongState,
            "this worker doesn't hold the job any more, or never did",
        ),
        Unreported::LogIsShort(end) => Problem::new(
            Code::Unavailable,
            format!("the job's log ends at {end} here: send the rest first"),
        ),
        Unreported::NoSpace => Problem::new(Code::NoSpace, "the disk of the logs is full"),
        Unreported::Unavailable => Problem::new(Code::Unavailable, "the report can't be taken now"),
        Unreported::Broken => Problem::new(Code::Internal, "the report can't be taken"),
    })
}

fn taken(done: Result<(), Problem>) -> Answer<Json<Taken>> {
    done?;
    Ok(Json(Taken {}))
}

/// The body as what it should be. The parser's message would name fields and places,
/// never values of a body with secrets; even so only the place is told.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let detail = format!(
            "the message can't be read at line {}, column {}",
            error.line(),
            error.column()
        );
        Problem::new(Code::Malformed, detail)
    })
}

/// An answer whose body is there when `value` is. A client that leaves ends the wait.
pub(super) fn later<T: serde::Serialize + 'static>(
    value: impl Future<Output = T> + Send + 'static,
) -> Response {
    let body = futures_util::stream::once(async move {
        let bytes = serde_json::to_vec(&value.await).expect("wire types are plain data");
        Ok::<Bytes, Infallible>(bytes.into())
    });
    let mut response = Response::new(Body::from_stream(body));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes = text.as_bytes();
    if bytes.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(bytes.chunks(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(out)
}
