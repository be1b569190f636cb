//! What forges call. A webhook is believed for its signature, which is looked at before
//! anything of it is read; how fast they come, and how large, is bounded before that.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use axum::{Json, Router};
use danube_api::{Code, Problem, WebhookTaken};
use danube_model::{ForgeKind, Timestamp};
use danube_signals::WebhookRejected;
use danube_store::Delivery;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::answer::{Answer, Refusal};
use super::incoming::Ours;
use super::serve::Peer;
use crate::app::{App, Shared};
use crate::forges::message::{Read, read};
use crate::forges::signed::{STALE_AFTER_SECONDS, Unsigned, check, delivery_id};
use crate::forges::{Forge, NotTaken, ignored, take, taken};
use crate::rates::Network;

/// Bytes of a webhook. A push has some kilobytes for each commit; GitHub sends no more than
/// 25 MB, of which strangers may not make us hold many.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of one that is taken without a turn.
const BODY_BYTES_SMALL: u64 = 64 * 1024;

/// How long a large one waits for its turn: forges give up after ten seconds.
const TURN_DEADLINE: Duration = Duration::from_secs(5);

/// What a webhook is told of that no forge here sent.
const UNKNOWN: &str = "unknown";

/// Where it is.
pub(super) fn routes() -> Router<Shared> {
    let taken = post(webhook).layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    Router::new().route("/forges/{forge}/{name}", taken)
}

/// Who the path says that it is; nothing of that is proven.
pub(crate) struct Claimed {
    kind: Option<ForgeKind>,
    name: String,
}

impl Claimed {
    fn kind(&self) -> &'static str {
        self.kind.map_or(UNKNOWN, ForgeKind::as_str)
    }

    /// Refuses the webhook, and tells why.
    fn refuse(&self, app: &App, reason: &str, problem: Problem) -> Refusal {
        app.signals.emit(WebhookRejected {
            forge: self.kind(),
            reason,
        });
        problem.into()
    }
}

impl FromRequestParts<Shared> for Claimed {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        let path = Path::<(String, String)>::from_request_parts(parts, app).await;
        let (kind, name) = path.map_or_else(|_| Default::default(), |Path(it)| it);
        let claimed = Self {
            kind: ForgeKind::parse(&kind),
            name,
        };
        let peer = parts.extensions.get::<Peer>().copied();
        let rates = &app.forges.rates;
        if peer.is_some_and(|Peer(it)| !rates.take((claimed.kind, Network::of(it)), Instant::now()))
        {
            let detail = "webhooks come faster than this server takes them from one address";
            let problem = Problem::new(Code::TooMany, detail);
            return Err(claimed.refuse(app, "rate", problem));
        }
        Ok(claimed)
    }
}

/// A whole body, in its turn where it is large.
pub(crate) struct Body(Bytes);

impl FromRequest<Shared> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, Refusal> {
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
        let _turn = match length {
            Some(..=BODY_BYTES_SMALL) => None,
            _ => {
                let turn = timeout(TURN_DEADLINE, app.forges.large.acquire()).await;
                let turn = turn.ok().and_then(Result::ok);
                let busy = || Problem::new(Code::TooMany, "too many large webhooks come at once");
                Some(turn.ok_or_else(busy)?)
            }
        };
        let Ours(body) = Ours::<BODY_BYTES_MAX>::from_request(request, app).await?;
        Ok(Self(body))
    }
}

/// Takes a webhook of a forge, which starts the pipelines that have its repository. `forge` is
/// `github`, `gitlab` or `gitea` (also for Forgejo), `name` that of its credential.
#[utoipa::path(post, path = "/api/v1/forges/{forge}/{name}", tag = "forges", security(()),
    params(("forge" = String, Path, description = "`github`, `gitlab` or `gitea`"), ("name" = String, Path, description = "The name of the forge's credential")),
    request_body(content = serde_json::Value, description = "As the forge documents it, with its headers"),
    responses((status = 200, description = "What came of it", body = WebhookTaken),
        (status = 202, description = "Not all could be started: the rest waits, durably, until there is room", body = WebhookTaken),
        (status = 503, description = "As much waits as may", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "Not signed by this forge, too old, too large, too many, or used before", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn webhook(
    State(app): State<Shared>,
    claimed: Claimed,
    headers: HeaderMap,
    body: Result<Body, Refusal>,
) -> Answer<(StatusCode, Json<WebhookTaken>)> {
    let done = |taken| Ok((StatusCode::OK, Json(taken)));
    let Body(body) = body.map_err(|Refusal(problem)| match problem.code {
        Code::TooLarge => claimed.refuse(&app, "too_large", problem),
        Code::TooMany => claimed.refuse(&app, "rate", problem),
        _ => problem.into(),
    })?;
    let forge = proven(&app, &claimed, (&headers, &body)).await?;
    let delivery = Delivery {
        name: forge.name.clone(),
        id: delivery_id(forge.kind, &headers),
        body: Sha256::digest(&body).into(),
    };
    let message = match understood(&app, &claimed, (forge.kind, &headers, &body))? {
        Read::Ping => return done(taken("ping", &[])),
        Read::Other => {
            let why = "this kind of event starts nothing".to_owned();
            return done(ignored(vec![why]));
        }
        Read::Message(message) => message,
    };
    match take(&app, &forge, message, delivery).await? {
        Ok(taken) if taken.waiting.is_empty() => done(taken),
        Ok(taken) => Ok((StatusCode::ACCEPTED, Json(taken))),
        Err(NotTaken::Full) => {
            app.forges.overflow.count();
            let detail = "as many jobs wait as may, and as many starts of this forge as may: \
                          send it again from the forge's list when some have begun";
            let problem = Problem::new(Code::Unavailable, detail);
            Err(claimed.refuse(&app, "inbox_full", problem))
        }
        Err(NotTaken::Replayed) => {
            let detail = "another webhook came with this id; nothing was started";
            let problem = Problem::new(Code::IdempotencyConflict, detail);
            Err(claimed.refuse(&app, "replay", problem))
        }
    }
}

/// The forge that sent it.
async fn proven(
    app: &Shared,
    claimed: &Claimed,
    (headers, body): (&HeaderMap, &[u8]),
) -> Result<Forge, Refusal> {
    let forge = match claimed.kind {
        Some(kind) => {
            let name = claimed.name.clone();
            app.read(move |store| Forge::known(store, kind, &name))
                .await?
        }
        None => None,
    };
    let now = Timestamp::now().as_millis().div_euclid(1_000);
    let checked = match &forge {
        Some(it) => check(it.kind, headers, (body, it.webhook_secret.reveal()), now),
        None => Err(Unsigned::Signature),
    };
    // The same answer for a forge that isn't known, so that nobody learns which are.
    let (reason, detail) = match (forge, checked) {
        (Some(forge), Ok(())) => return Ok(forge),
        (_, Err(Unsigned::Stale)) => (
            "stale",
            format!(
                "it was signed more than {STALE_AFTER_SECONDS} seconds from now; are both clocks right?"
            ),
        ),
        _ => (
            "signature",
            "no forge of this kind and name has signed this: compare the secret of the webhook \
             with the credential, and its kind and name with the address"
                .to_owned(),
        ),
    };
    let problem = Problem::new(Code::Unauthorized, detail);
    Err(claimed.refuse(app, reason, problem))
}

fn understood(
    app: &App,
    claimed: &Claimed,
    (kind, headers, body): (ForgeKind, &HeaderMap, &[u8]),
) -> Result<Read, Refusal> {
    let content = headers.get(header::CONTENT_TYPE);
    let content = content.and_then(|it| it.to_str().ok()).unwrap_or_default();
    if !content.trim_start().starts_with("application/json") {
        let detail = "choose `application/json` as the content type of the webhook";
        let problem = Problem::new(Code::UnsupportedMediaType, detail);
        return Err(claimed.refuse(app, "media_type", problem));
    }
    read(kind, headers, body)
        .map_err(|why| claimed.refuse(app, "malformed", Problem::new(Code::Malformed, why)))
}
