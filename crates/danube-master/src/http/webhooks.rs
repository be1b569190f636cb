//! Webhooks: list, look at, send again; and the secret that signs them.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use danube_api::{Code, DeliveryAttempt, DeliveryList, DeliveryView, Problem, SigningSecret};
use danube_model::JobId;
use danube_store::{
    OLD_SECRETS_MAX, ReplayOutcome, Role, SECRET_BYTES, ShowOutcome, Webhook, WebhookAttempt,
    WebhookState,
};
use serde::Deserialize;

use super::answer::Answer;
use super::caller::{Doer, DoerOnRecord, Looker};
use super::incoming::{Id, page_limit};
use super::jobs::find_id;
use crate::app::Shared;
use crate::auth::{Caller, random};
use crate::webhooks;

/// The routes, below the API's own path.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/webhooks/deliveries", get(list))
        .route("/webhooks/deliveries/{id}", get(show))
        .route("/webhooks/deliveries/{id}/replay", post(replay))
        .route("/webhooks/secret", post(secret))
}

/// What a list may be asked for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// `pending`, `delivered` or `failed`.
    #[param(pattern = "^(pending|delivered|failed)$")]
    pub(super) status: Option<String>,
    /// Webhooks a page, 1 to 1000; 50 when absent.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
}

/// Lists webhooks of ended jobs, that of the newest job first: an admin key sees all, others
/// those of jobs that they submitted.
#[utoipa::path(get, path = "/api/v1/webhooks/deliveries", tag = "webhooks", params(ListQuery),
    responses((status = 200, description = "One page", body = DeliveryList),
        (status = "4XX", description = "A wrong filter or key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<Shared>,
    Looker(caller): Looker,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Answer<Json<DeliveryList>> {
    let malformed = |detail: String| Problem::new(Code::Malformed, detail);
    let Query(query) = query.map_err(|error| malformed(error.body_text()))?;
    Ok(Json(listed(&app, caller, query).await?))
}

/// The webhooks of the jobs that the caller may see the webhooks of.
pub(super) async fn listed(
    app: &Shared,
    caller: Caller,
    query: ListQuery,
) -> Result<DeliveryList, Problem> {
    let malformed = |detail: String| Problem::new(Code::Malformed, detail);
    let state = match query.status.as_deref() {
        None => None,
        Some(word) => Some(WebhookState::parse(word).ok_or_else(|| {
            malformed("`status` must be `pending`, `delivered` or `failed`".to_owned())
        })?),
    };
    let limit = page_limit(query.limit)?;
    let sight = caller.reach.sight();
    let owner = (caller.role != Role::Admin).then_some(caller.owner);
    let page = app
        .read(move |store| {
            let which = (owner.as_deref(), &sight, state);
            store.webhooks(which, query.cursor.as_deref(), limit)
        })
        .await?;
    Ok(DeliveryList {
        deliveries: page.items.into_iter().map(|it| view(it, None)).collect(),
        next_cursor: page.next_cursor,
    })
}

/// Shows the webhook of an ended job with its attempts.
#[utoipa::path(get, path = "/api/v1/webhooks/deliveries/{id}", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id, or the job's id or short id")),
    responses((status = 200, description = "The webhook", body = DeliveryView),
        (status = "4XX", description = "Unknown, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn show(
    State(app): State<Shared>,
    Looker(caller): Looker,
    Id(id): Id,
) -> Answer<Json<DeliveryView>> {
    Ok(Json(one(&app, &caller, &id).await?))
}

/// A webhook with its attempts.
pub(super) async fn one(app: &Shared, caller: &Caller, id: &str) -> Result<DeliveryView, Problem> {
    let (webhook, attempts) = find(app, caller, id).await?;
    Ok(view(webhook, Some(attempts)))
}

/// Sends a webhook again, or a pending one at once, under the same `webhook-id`.
#[utoipa::path(post, path = "/api/v1/webhooks/deliveries/{id}/replay", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id, or the job's id or short id")),
    responses((status = 200, description = "It is due now", body = DeliveryView),
        (status = "4XX", description = "Unknown, or a wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn replay(
    State(app): State<Shared>,
    Doer(caller): Doer,
    Id(id): Id,
) -> Answer<Json<DeliveryView>> {
    let (known, _) = find(&app, &caller, &id).await?;
    let outcome = app.store.replay_webhook(known.job).await;
    match outcome.map_err(|error| app.problem(&error))? {
        ReplayOutcome::Due(webhook) => Ok(Json(view(webhook, None))),
        ReplayOutcome::NotEnded | ReplayOutcome::NotFound => Err(unknown().into()),
    }
}

/// Shows the secret that signs the webhooks of this key's jobs: the first time the one there
/// is, later a new one. Each that is replaced signs for 24 hours more, four of them at most.
#[utoipa::path(post, path = "/api/v1/webhooks/secret", tag = "webhooks",
    responses((status = 200, description = "The secret, shown this once", body = SigningSecret),
        (status = 409, description = "Too many secrets sign already; nothing was changed", body = Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "A wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn secret(
    State(app): State<Shared>,
    DoerOnRecord(caller): DoerOnRecord,
) -> Answer<Json<SigningSecret>> {
    let fresh = random::<SECRET_BYTES>();
    let shown = app.store.show_webhook_secret(&caller.owner, fresh).await;
    let shown = match shown.map_err(|error| app.problem(&error))? {
        ShowOutcome::Shown(shown) => shown,
        ShowOutcome::TooMany(until) => {
            let signing = 1 + OLD_SECRETS_MAX;
            let detail = format!(
                "{signing} secrets sign already, and each one that was replaced was promised its \
                 24 hours; nothing was changed, ask again after {until}"
            );
            return Err(Problem::new(Code::TooManySecrets, detail).into());
        }
    };
    Ok(Json(SigningSecret {
        secret: webhooks::shown_secret(&shown.secret),
        previous_valid_until: shown.previous_until,
    }))
}

/// The webhook that this caller may see.
async fn find(
    app: &Shared,
    caller: &Caller,
    id: &str,
) -> Result<(Webhook, Vec<WebhookAttempt>), Problem> {
    let job: JobId = match webhooks::job_of(id) {
        // It is looked up as any other, so that it is one that they reach.
        Some(job) => find_id(app, caller, &job.to_string()).await?,
        None => find_id(app, caller, id).await?,
    };
    let found = app.read(move |store| store.webhook(job)).await?;
    // To others it isn't there: an id alone tells nobody what stands behind it.
    found
        .filter(|(it, _)| caller.role == Role::Admin || it.owner == caller.owner)
        .ok_or_else(unknown)
}

fn unknown() -> Problem {
    let detail = "this job has no webhook, or hasn't ended, or its webhook was forgotten";
    Problem::new(Code::NotFound, detail)
}

fn view(webhook: Webhook, attempts: Option<Vec<WebhookAttempt>>) -> DeliveryView {
    let log = attempts.map(|all| all.into_iter().map(attempt).collect());
    DeliveryView {
        id: webhooks::id(webhook.job),
        job_id: webhook.job.to_string(),
        callback_url: webhook.shown,
        status: webhook.state.as_str().to_owned(),
        attempts: webhook.attempts,
        created_at: webhook.ended_at,
        next_attempt_at: webhook.due_at,
        settled_at: webhook.settled_at,
        log,
    }
}

fn attempt(it: WebhookAttempt) -> DeliveryAttempt {
    DeliveryAttempt {
        number: it.number,
        at: it.at,
        duration_ms: u64::try_from(it.took.as_millis()).unwrap_or(u64::MAX),
        status_code: it.status,
        error: it.error,
    }
}
