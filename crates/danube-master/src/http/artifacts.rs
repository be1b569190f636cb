//! Files that jobs leave: a running job sends them, readers fetch them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use danube_api::{ArtifactList, ArtifactView, Code, Problem};
use danube_model::limits::NAME_BYTES_MAX;
use danube_model::{Attempt, Job, JobId, Mistake, wrong_artifact_name};
use danube_signals::{DeniedResource, PermissionDenied};
use danube_store::{Artifact, ArtifactOutcome, NewArtifact};
use danube_telemetry::trace::hex;
use futures_util::StreamExt;
use futures_util::stream::unfold;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::answer::{Answer, Refusal};
use super::caller::{DoerOnRecord, Looker, caller, key};
use super::incoming::Id;
use super::jobs::find;
use super::range::{self, Range};
use crate::app::{App, Shared, blocking};
use crate::artifacts::{Artifacts, Draft, Unwritten, Written};
use crate::reaper::Kept;

/// How long an upload may bring nothing.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Pieces of an upload that wait for the disk: then its sender waits too.
const PIECES_MAX: usize = 16;

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 128 * 1024;

/// The running job itself, by its attempt's token. Nobody else leaves files in its name.
pub(crate) struct JobItself(Attempt);

impl FromRequestParts<Shared> for JobItself {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        let bearer = key(&parts.headers).and_then(|it| app.bearer(it));
        let path = Path::<(String, String)>::from_request_parts(parts, app).await;
        let job = path.ok().and_then(|Path((id, _))| id.parse::<JobId>().ok());
        if let Some(it) = &bearer
            && job == Some(it.attempt.job)
        {
            return Ok(Self(it.attempt));
        }
        let Ok(caller) = caller(app, &parts.headers) else {
            let detail = "send the token of the running job, DANUBE_JOB_TOKEN, and its whole id";
            return Err(Problem::new(Code::Unauthorized, detail).into());
        };
        app.signals.emit(PermissionDenied {
            user: &caller.name,
            resource: parts.uri.path(),
            action: "write",
            kind: Some(DeniedResource::Artifact),
        });
        let detail = "only a running job leaves artifacts, with its own token; a key can't";
        Err(Problem::new(Code::Forbidden, detail).into())
    }
}

/// The job and the name in a path.
pub(crate) struct Named(String, String);

impl FromRequestParts<Shared> for Named {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        let path = Path::<(String, String)>::from_request_parts(parts, app).await;
        path.map(|Path((id, name))| Self(id, name)).map_err(|_| {
            let detail = "the path names nothing: it isn't UTF-8 when decoded";
            Problem::new(Code::NotFound, detail).into()
        })
    }
}

/// What an upload may say of itself.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct UploadQuery {
    /// The step that sends it.
    step: Option<String>,
}

/// Leaves a file: a running job sends it with its own token. The same bytes again are
/// fine; other bytes under a name of the same attempt are refused; those of an earlier attempt are
/// replaced. What is in a file isn't redacted.
#[utoipa::path(put, path = "/api/v1/jobs/{id}/artifacts/{name}", tag = "artifacts",
    params(("id" = String, Path, description = "The job's whole id"),
        ("name" = String, Path, description = "1 to 255 bytes; a `/` in it as `%2F`"), UploadQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "Its bytes"),
    responses((status = 200, description = "Stored", body = ArtifactView),
        (status = 413, description = "More bytes or files than there may be", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "The disk is full", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "A wrong name, token or body; nothing was stored", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn upload(
    State(app): State<Shared>,
    JobItself(attempt): JobItself,
    Named(_, name): Named,
    query: Result<Query<UploadQuery>, QueryRejection>,
    request: Request,
) -> Answer<Json<ArtifactView>> {
    let Query(query) = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    Ok(Json(
        keep(&app, attempt, (name, query.step), request).await?,
    ))
}

/// Takes a file from the job itself.
pub(super) async fn keep(
    app: &Shared,
    attempt: Attempt,
    (name, step): (String, Option<String>),
    request: Request,
) -> Result<ArtifactView, Problem> {
    if let Some(why) = wrong_artifact_name(&name) {
        return Err(wrong("name", why));
    }
    let is_wrong = |it: &String| it.len() > NAME_BYTES_MAX || it.chars().any(char::is_control);
    if step.as_ref().is_some_and(is_wrong) {
        return Err(wrong("step", "is no step's name"));
    }
    let _turn = app.turns.uploads.try_acquire().map_err(|_| {
        let detail = "too many artifacts are being sent; try again in a second";
        Problem::new(Code::TooMany, detail)
    })?;
    let stored = app.read(move |store| store.artifacts(attempt.job)).await?;
    // Whether they are too many is said for good when all of it is there.
    let bytes_max = app.artifacts.room(&stored, &name);
    let length = request.headers().get(header::CONTENT_LENGTH);
    let announced = length.and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|it| it > bytes_max) {
        return Err(too_large(app, bytes_max));
    }
    let (draft, written) = receive(app, attempt.job, bytes_max, request.into_body()).await?;
    let new = NewArtifact {
        name,
        file: written.file,
        bytes: written.bytes,
        sha256: written.sha256,
        step,
    };
    remember(app, attempt, new, draft).await
}

/// Has the store know the file, or nobody.
async fn remember(
    app: &Shared,
    attempt: Attempt,
    new: NewArtifact,
    draft: Draft,
) -> Result<ArtifactView, Problem> {
    let limits = app.artifacts.of_job();
    let outcome = app.store.add_artifact(attempt, new, limits).await;
    let (artifacts, job) = (app.artifacts.clone(), attempt.job);
    let settled = move || {
        artifacts.settle(job, draft, &outcome);
        outcome
    };
    match blocking(settled)
        .await?
        .map_err(|error| app.problem(&error))?
    {
        ArtifactOutcome::Kept { artifact, .. } | ArtifactOutcome::Same(artifact) => {
            Ok(view(artifact))
        }
        ArtifactOutcome::Masked => Err(wrong("name", "holds a value that is to be masked")),
        other => {
            let code = match other {
                ArtifactOutcome::Taken => Code::NameTaken,
                _ => Code::TooLarge,
            };
            Err(Problem::new(code, app.artifacts.refusal(&other)))
        }
    }
}

fn wrong(field: &str, why: &str) -> Problem {
    Problem::invalid(&[Mistake {
        code: "artifact.refused",
        pointer: format!("/{field}"),
        at: None,
        message: why.to_owned(),
        help: None,
    }])
}

fn too_large(app: &App, left: u64) -> Problem {
    Problem::new(Code::TooLarge, app.artifacts.too_large(left))
}

/// Writes a body to the disk, on a thread that may block.
async fn receive(
    app: &Shared,
    job: JobId,
    bytes_max: u64,
    body: Body,
) -> Result<(Draft, Written), Problem> {
    let (pieces, incoming) = mpsc::channel(PIECES_MAX);
    let artifacts = app.artifacts.clone();
    let writing = blocking(move || write(&artifacts, (job, bytes_max), incoming));
    let (fed, written) = tokio::join!(feed(body, pieces), writing);
    let unwritten = match written? {
        Ok(Some(done)) => return Ok(done),
        Ok(None) => return Err(fed.err().unwrap_or_else(broken_off)),
        Err(unwritten) => unwritten,
    };
    Err(match unwritten {
        Unwritten::TooLarge(left) => too_large(app, left),
        Unwritten::NoSpace => Problem::new(
            Code::NoSpace,
            "the disk of the data directory is full; nothing was stored",
        ),
        Unwritten::Io => Problem::new(
            Code::Unavailable,
            "the disk of the data directory refuses; nothing was stored",
        ),
    })
}

/// A piece of a body; none for its end, so that one that breaks off isn't taken for whole.
type Piece = Option<Bytes>;

/// Hands a body on, as fast as it is written.
async fn feed(body: Body, pieces: mpsc::Sender<Piece>) -> Result<(), Problem> {
    let mut body = body.into_data_stream();
    loop {
        let next = timeout(SILENCE_MAX, body.next()).await;
        let piece = match next {
            Ok(piece) => piece.transpose().map_err(|_| broken_off())?,
            Err(_) => {
                let seconds = SILENCE_MAX.as_secs();
                let detail = format!("nothing came for {seconds} s; nothing was stored");
                return Err(Problem::new(Code::Malformed, detail));
            }
        };
        let is_last = piece.is_none();
        // Whoever takes no more says why.
        if pieces.send(piece).await.is_err() || is_last {
            return Ok(());
        }
    }
}

fn broken_off() -> Problem {
    let detail = "the body couldn't be read to its end; nothing was stored";
    Problem::new(Code::Malformed, detail)
}

/// Writes what comes; none when it doesn't come to its end.
fn write(
    artifacts: &Artifacts,
    (job, bytes_max): (JobId, u64),
    mut incoming: mpsc::Receiver<Piece>,
) -> Result<Option<(Draft, Written)>, Unwritten> {
    let mut draft = artifacts.draft(job, bytes_max)?;
    while let Some(piece) = incoming.blocking_recv() {
        match piece {
            Some(piece) => draft.write(&piece)?,
            None => {
                let written = draft.finish()?;
                return Ok(Some((draft, written)));
            }
        }
    }
    Ok(None)
}

/// Lists what a job left.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/artifacts", tag = "artifacts", params(("id" = String, Path, description = "Id or short id")),
    responses((status = 200, description = "All of it, by name", body = ArtifactList),
        (status = "4XX", description = "Unknown, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<Shared>,
    Looker(caller): Looker,
    Id(id): Id,
) -> Answer<Json<ArtifactList>> {
    let job = find(&app, &caller, &id).await?;
    listed(&app, &job).await.map(Json).map_err(Into::into)
}

/// All that a job left.
pub(super) async fn listed(app: &Shared, job: &Job) -> Result<ArtifactList, Problem> {
    let id = job.id;
    let stored = app.read(move |store| store.artifacts(id)).await?;
    let (kept, of) = (Kept::of(app), (&*job.pipeline, job.trigger_ref.as_deref()));
    let views = stored.into_iter().map(|it| ArtifactView {
        kept_by_blueprint: kept.has_since(of, it.created_at),
        ..view(it)
    });
    Ok(ArtifactList {
        artifacts: views.collect(),
    })
}

/// Fetches one file.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/artifacts/{name}", tag = "artifacts",
    params(("id" = String, Path, description = "Id or short id"),
        ("name" = String, Path, description = "A `/` in it as `%2F`"),
        ("Range" = Option<String>, Header, description = "`bytes=…`, one range")),
    responses((status = 200, description = "Its bytes; `ETag` is their SHA-256", content_type = "application/octet-stream"),
        (status = 206, description = "The range", content_type = "application/octet-stream"),
        (status = 304, description = "It is what `If-None-Match` names"),
        (status = "4XX", description = "Unknown, or a wrong range or key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn download(
    State(app): State<Shared>,
    Looker(caller): Looker,
    Named(id, name): Named,
    headers: HeaderMap,
) -> Answer<Response> {
    let job = find(&app, &caller, &id).await?.id;
    let artifact = one(&app, job, &name).await?;
    let tag = format!("\"{}\"", hex(&artifact.sha256));
    let asked = |name: header::HeaderName| headers.get(name).and_then(|it| it.to_str().ok());
    if asked(header::IF_NONE_MATCH).is_some_and(|it| it == "*" || it.contains(&tag)) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        describe(response.headers_mut(), &tag, None);
        return Ok(response);
    }
    let is_other = asked(header::IF_RANGE).is_some_and(|it| it != tag);
    let range = asked(header::RANGE).filter(|_| !is_other);
    let (status, from, until) = match range::parse(range, artifact.bytes) {
        Range::Whole => (StatusCode::OK, 0, artifact.bytes),
        Range::Part(from, until) => (StatusCode::PARTIAL_CONTENT, from, until),
        Range::Outside => return Ok(outside(artifact.bytes)),
    };
    let artifacts = app.artifacts.clone();
    let opened = blocking(move || {
        let mut file = artifacts.open(job, &artifact.file)?;
        file.seek(SeekFrom::Start(from))?;
        Ok::<File, std::io::Error>(file)
    });
    let file = opened.await?.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Problem::new(
            Code::NotFound,
            "the file of this artifact isn't there any more; a backup holds no artifacts",
        ),
        _ => Problem::new(Code::Internal, "the file of this artifact can't be read"),
    })?;
    let mut response = Response::new(body(file, until - from));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    describe(headers, &tag, Some(&name));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(until - from));
    if status == StatusCode::PARTIAL_CONTENT {
        let text = format!("bytes {from}-{}/{}", until - 1, artifact.bytes);
        headers.insert(header::CONTENT_RANGE, digits(&text));
    }
    Ok(response)
}

/// Deletes one file, before its time.
#[utoipa::path(delete, path = "/api/v1/jobs/{id}/artifacts/{name}", tag = "artifacts",
    params(("id" = String, Path, description = "Id or short id"),
        ("name" = String, Path, description = "A `/` in it as `%2F`")),
    responses((status = 200, description = "Gone; this is what it was", body = ArtifactView),
        (status = "4XX", description = "Unknown, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn delete(
    State(app): State<Shared>,
    DoerOnRecord(caller): DoerOnRecord,
    Named(id, name): Named,
) -> Answer<Json<ArtifactView>> {
    let job = find(&app, &caller, &id).await?.id;
    let artifact = one(&app, job, &name).await?;
    if artifact.is_kept {
        let detail = "somebody said that it is kept; release it first";
        return Err(Problem::new(Code::WrongState, detail).into());
    }
    let file = artifact.file.clone();
    let forgotten = app.store.forget_artifacts(job, vec![file.clone()]).await;
    forgotten.map_err(|error| app.problem(&error))?;
    let artifacts = app.artifacts.clone();
    // What can't be deleted now is found by the reaper.
    let _ = blocking(move || artifacts.delete(job, &file)).await?;
    Ok(Json(view(artifact)))
}

pub(super) async fn one(app: &Shared, job: JobId, name: &str) -> Result<Artifact, Problem> {
    let wanted = name.to_owned();
    let found = app.read(move |store| store.artifact(job, &wanted)).await?;
    found.ok_or_else(|| {
        let detail = "the job left nothing of this name, or it isn't kept any more";
        Problem::new(Code::NotFound, detail)
    })
}

/// The rest of a file, as many bytes as were announced; one that is shorter breaks off.
fn body(file: File, bytes: u64) -> Body {
    Body::from_stream(unfold(Some((file, bytes)), |state| async move {
        let (mut file, left) = state.filter(|(_, left)| *left > 0)?;
        let length = usize::try_from(left).map_or(PIECE_BYTES, |it| it.min(PIECE_BYTES));
        let read = blocking(move || {
            let mut piece = vec![0; length];
            file.read_exact(&mut piece).map(|()| (file, piece))
        });
        let broken = || Problem::new(Code::Internal, "the file of this artifact can't be read");
        match read.await {
            Ok(Ok((file, piece))) => {
                let left = left - piece.len() as u64;
                Some((Ok(Bytes::from(piece)), Some((file, left))))
            }
            Ok(Err(_)) => Some((Err(broken()), None)),
            Err(problem) => Some((Err(problem), None)),
        }
    }))
}

fn describe(headers: &mut HeaderMap, tag: &str, name: Option<&str>) {
    headers.insert(header::ETAG, digits(tag));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let Some(name) = name else { return };
    headers.insert(
        header::CONTENT_TYPE,
        // Whatever it is: a browser mustn't show what a job made as a page of ours.
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(header::CONTENT_DISPOSITION, digits(&disposition(name)));
}

/// As RFC 6266 has it: the last part of the name, for old clients without what they
/// couldn't read.
fn disposition(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "-._ ".contains(it);
    let plain: String = last
        .chars()
        .map(|it| if is_plain(it) { it } else { '_' })
        .collect();
    let mut exact = String::new();
    for byte in last.bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' => {
                exact.push(char::from(byte));
            }
            _ => exact.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}")
}

fn digits(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("it is made of printable ASCII")
}

fn outside(size: u64) -> Response {
    let detail = format!("the artifact has {size} bytes");
    let problem = Problem::new(Code::RangeNotSatisfiable, detail);
    let mut response = Refusal(problem).into_response();
    let range = digits(&format!("bytes */{size}"));
    response.headers_mut().insert(header::CONTENT_RANGE, range);
    response
}

pub(super) fn view(it: Artifact) -> ArtifactView {
    ArtifactView {
        name: it.name,
        bytes: it.bytes,
        sha256: hex(&it.sha256),
        step: it.step,
        attempt: it.attempt,
        created_at: it.created_at,
        is_kept: it.is_kept,
        kept_by_blueprint: false,
    }
}
