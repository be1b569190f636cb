//! What the registry tells: which images were pushed and pulled. And what is known of it.

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::post;
use axum::{Json, Router};
use danube_api::{Code, ImageView, Problem, RegistryView};
use danube_model::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use super::answer::{Answer, Refusal};
use super::caller::{Reader, key};
use super::incoming::Ours;
use crate::app::Shared;
use crate::registry::{Envelope, Image};

/// Bytes of a notification: a registry sends one event, of a kilobyte, or a few.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// What the registry calls.
pub(super) fn routes() -> Router<Shared> {
    let notified = post(notified).layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    Router::new().route("/registry/notifications", notified)
}

/// The registry itself, by its token.
struct RegistryItself;

impl FromRequestParts<Shared> for RegistryItself {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refusal> {
        if key(&parts.headers).is_some_and(|it| app.registry.knows(it)) {
            return Ok(Self);
        }
        let detail = "send the token in `registry.token` of the data directory as `Authorization: Bearer TOKEN`";
        Err(Problem::new(Code::Unauthorized, detail).into())
    }
}

/// Takes notifications. Whatever kind of event is in them, the answer is that they came:
/// a registry repeats what is refused for ever.
async fn notified(
    State(app): State<Shared>,
    _: RegistryItself,
    Ours(body): Ours<BODY_BYTES_MAX>,
) -> Answer<StatusCode> {
    let envelope: Envelope = serde_json::from_slice(&body)
        .map_err(|error| Problem::new(Code::Malformed, format!("no notification: {error}")))?;
    let used = app.registry.told(&envelope, &app.signals);
    if !used.is_empty() {
        // Lost in a crash, the image only counts as used a little earlier.
        drop(app.store.images_used(used));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Images of an answer, when nobody says how many.
const LISTED: u32 = 1_000;

/// Images of an answer.
const LISTED_MAX: u32 = 10_000;

/// The query, as it came.
type Asked = Result<Query<ImagesQuery>, QueryRejection>;

/// Which images.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImagesQuery {
    /// Those of this repository alone, such as `team/app`.
    repository: Option<String>,
    /// So many at most; 1,000 when absent.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<u32>,
}

/// What lay in the registry when it was looked at last: at the start, every hour, and when
/// the reaper runs.
#[utoipa::path(get, path = "/api/v1/registry/images", tag = "registry", params(ImagesQuery),
    responses((status = 200, description = "Its images; none where no registry is configured or none was seen yet", body = RegistryView),
        (status = "4XX", description = "A wrong key or query", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn images(
    State(app): State<Shared>,
    _: Reader,
    query: Asked,
) -> Answer<Json<RegistryView>> {
    let query = query.map_err(|error| Problem::new(Code::Malformed, error.body_text()))?;
    let limit = query.limit.unwrap_or(LISTED);
    if !(1..=LISTED_MAX).contains(&limit) {
        let detail = format!("`limit` must be 1 to {LISTED_MAX}");
        return Err(Problem::new(Code::Malformed, detail).into());
    }
    let last = app.registry.last();
    let days = app.registry.days();
    let all = last.look.as_ref().map_or(&[][..], |it| &it.images);
    let is_asked = |it: &&Image| {
        let own = query.repository.as_ref();
        own.is_none_or(|own| it.name.repository == *own)
    };
    let shown = all.iter().filter(is_asked);
    Ok(Json(RegistryView {
        url: app.registry.url().map(str::to_owned),
        looked_at: last.look.as_ref().map(|it| it.at),
        bytes: last.look.as_ref().map(|it| it.bytes),
        count: shown.clone().count() as u64,
        error: last.error,
        images_days: days,
        images: shown
            .take(limit as usize)
            .map(|it| view(it, days))
            .collect(),
    }))
}

fn view(image: &Image, days: Option<u32>) -> ImageView {
    let kept = |days: u32| i64::from(days) * 24 * 3_600_000;
    let used = image.last_used_at;
    ImageView {
        repository: image.name.repository.clone(),
        digest: image.name.digest.clone(),
        tags: image.tags.clone(),
        bytes: image.bytes,
        last_used_at: used,
        expires_at: days
            .map(|it| Timestamp::from_millis(used.as_millis().saturating_add(kept(it)))),
    }
}
