//! The pages of what administrators keep.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use danube_api::{Code, Problem};
use danube_blueprint::Permission;
use danube_pages::admin::{
    DeliveriesPage, DeliveryPage, KeysPage, OwnWorker, SecretsPage, WorkersPage,
};
use serde::Deserialize;

use super::frame::Visit;
use crate::app::Shared;
use crate::auth::{Caller, Need};
use crate::http::incoming::Id;
use crate::http::webhooks::{self, ListQuery};
use crate::http::{credentials, keys, secrets as of_pipelines, workers as elsewhere};

/// Workers on other machines.
pub(super) async fn workers(State(app): State<Shared>, visit: Visit) -> Response {
    let own = OwnWorker {
        jobs_at_once: app.settings.jobs_at_once,
    };
    let page = elsewhere::all(&app).await.map(|it| WorkersPage {
        workers: it.workers,
        own,
    });
    visit.show(&app, page)
}

/// API keys.
pub(super) async fn keys(State(app): State<Shared>, visit: Visit) -> Response {
    let page = keys::all(&app).await.map(|it| KeysPage { keys: it.keys });
    visit.show(&app, page)
}

/// Secrets and credentials, by name.
pub(super) async fn secrets(State(app): State<Shared>, visit: Visit) -> Response {
    let page = names(&app, &visit.caller).await;
    visit.show(&app, page)
}

/// What the API shows each: secrets of the pipelines that somebody administers, credentials to
/// those who work with the server.
async fn names(app: &Shared, caller: &Caller) -> Result<SecretsPage, Problem> {
    let secrets = of_pipelines::known(app, caller, Permission::Admin).await?;
    let credentials = match caller.may_see(Need::Work) {
        true => Some(credentials::all(app).await?.credentials),
        false => None,
    };
    Ok(SecretsPage {
        credentials,
        secrets: secrets.secrets,
    })
}

/// Which webhooks, as a form or a link says it: what is empty says nothing.
#[derive(Debug, Deserialize)]
pub(super) struct DeliveriesQuery {
    #[serde(default)]
    status: String,
    cursor: Option<String>,
}

/// Webhooks on their way, and those that came.
pub(super) async fn deliveries(
    State(app): State<Shared>,
    visit: Visit,
    query: Result<Query<DeliveriesQuery>, QueryRejection>,
) -> Response {
    let page = match query {
        Ok(Query(query)) => listed(&app, visit.caller.clone(), query).await,
        Err(error) => Err(Problem::new(Code::Malformed, error.body_text())),
    };
    visit.show(&app, page)
}

async fn listed(
    app: &Shared,
    caller: Caller,
    DeliveriesQuery { status, cursor }: DeliveriesQuery,
) -> Result<DeliveriesPage, Problem> {
    let query = ListQuery {
        status: Some(status.clone()).filter(|it| !it.is_empty()),
        limit: None,
        cursor,
    };
    let found = webhooks::listed(app, caller, query).await?;
    Ok(DeliveriesPage {
        status,
        deliveries: found.deliveries,
        next_cursor: found.next_cursor,
    })
}

/// One webhook with its attempts.
pub(super) async fn delivery(State(app): State<Shared>, visit: Visit, Id(id): Id) -> Response {
    let found = webhooks::one(&app, &visit.caller, &id).await;
    let page = found.map(|delivery| DeliveryPage { delivery });
    visit.show(&app, page)
}
