//! The routes. Handlers check, ask the store and show; they decide nothing.

mod admin;
mod answer;
mod approvals;
mod around;
mod artifacts;
mod asked;
mod audit;
mod backup;
mod blueprint;
mod called;
mod caller;
mod claims;
mod coordinator;
mod credentials;
mod folds;
mod follow;
mod forges;
mod guard;
mod incoming;
mod jobs;
mod keeping;
mod keys;
mod layer;
mod lines;
mod logs;
mod mask;
mod meta;
pub(crate) mod metrics;
mod notice;
mod openapi;
mod pages;
mod panels;
mod pipelines;
mod profiles;
mod provenance;
mod range;
mod registry;
mod retries;
mod rights;
mod rpc;
mod run_events;
mod search;
mod secrets;
mod serve;
mod signin;
mod statuses;
mod stream;
mod submits;
mod terminal;
mod text;
mod timing;
pub(crate) mod traces;
pub(crate) mod tries;
mod wait;
mod webhooks;
mod workers;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{delete, get, post};

use crate::app::Shared;

pub(crate) use openapi::document;
pub(crate) use pages::base_of;
pub(crate) use serve::{Served, serve};
pub(crate) use signin::back_of;
pub(crate) use submits::{Ask, accept};

/// The table of rights, as it is shown.
pub(crate) fn rights() -> Vec<(&'static str, &'static str, String)> {
    let rows = rights::ROWS.iter();
    rows.map(|it| (it.method, it.path, it.right.name()))
        .collect()
}

/// What workers on other machines call.
fn rpc_routes() -> Router<Shared> {
    Router::new()
        .route("/claim", post(claims::claim))
        .route("/heartbeat", post(rpc::heartbeat))
        .route("/started", post(rpc::started))
        .route("/step", post(rpc::step))
        .route("/played", post(rpc::played))
        .route("/credentials", post(rpc::credentials))
        .route("/finalizing", post(rpc::finalizing))
        .route("/append-log", post(rpc::append_log))
        .route("/secrets", post(rpc::secrets))
        .route("/finish", post(rpc::finish))
        .route("/hand-back", post(rpc::hand_back))
        .route("/calls", post(called::calls))
        .route("/answer", post(called::answer))
        .layer(DefaultBodyLimit::max(rpc::BODY_BYTES_MAX))
}

/// Where a value is kept out of a job's log, below `/api/v1`.
fn mask_route() -> Router<Shared> {
    let mask = post(mask::mask).layer(DefaultBodyLimit::max(mask::BODY_BYTES_MAX));
    Router::new().route("/jobs/{id}/mask", mask)
}

/// What is asked of jobs, below `/api/v1`.
fn job_routes() -> Router<Shared> {
    Router::new()
        .route("/jobs", post(submits::submit).get(jobs::list))
        .route("/jobs/{id}", get(jobs::job).delete(jobs::cancel))
        .route("/jobs/{id}/retry", post(retries::retry))
        .route("/jobs/{id}/approve", post(approvals::approve))
        .route("/jobs/{id}/history", get(jobs::history))
        .route("/jobs/{id}/events", get(run_events::list))
        .route("/jobs/{id}/stream", get(run_events::live))
        .merge(mask_route())
        .route("/jobs/{id}/logs", get(logs::log).delete(logs::delete))
        .route("/jobs/{id}/logs/stream", get(stream::stream))
        .route("/jobs/{id}/logs/folds", get(folds::folds))
        .route("/jobs/{id}/logs/search", get(search::search))
        .route("/jobs/{id}/trace", get(traces::trace))
        .route(
            "/jobs/{id}/artifacts",
            get(artifacts::list).post(keeping::keep),
        )
        .route("/jobs/{id}/provenance", get(provenance::of_job))
        .route("/provenance/key", get(provenance::key))
        .route(
            "/jobs/{id}/artifacts/{name}",
            get(artifacts::download)
                .put(artifacts::upload)
                .delete(artifacts::delete),
        )
}

/// What `danube login` and the browser beside it ask for.
fn terminal_routes() -> Router<Shared> {
    Router::new()
        .route("/login/cli", get(terminal::ask).post(terminal::allow))
        .route("/login/cli/key", post(terminal::key))
        .route("/login/cli/end", post(terminal::end))
        .layer(DefaultBodyLimit::max(terminal::BODY_BYTES_MAX))
}

/// What browsers ask for.
fn page_routes() -> Router<Shared> {
    Router::new()
        .route("/login/oidc", get(signin::begin))
        .route(signin::BACK, get(signin::back_again))
        .merge(terminal_routes())
        .merge(pages::routes())
}

/// The routes that a job without network reaches by its socket, and no other.
pub(crate) fn routes_for_jobs(app: Shared) -> Router {
    Router::new()
        .nest("/rpc", coordinator::routes())
        .nest("/api/v1", mask_route())
        .fallback(meta::not_found)
        .layer(DefaultBodyLimit::max(app.settings.body_bytes_max))
        .layer(middleware::from_fn_with_state(app.clone(), layer::around))
        .with_state(app)
}

/// Every route of the server.
pub(crate) fn router(app: Shared) -> Router {
    let api = webhooks::routes()
        .merge(job_routes())
        .merge(secrets::routes())
        .merge(blueprint::routes())
        .merge(forges::routes())
        .merge(statuses::routes())
        .route("/pipelines", get(pipelines::pipelines))
        .route("/pipelines/timing", get(timing::pipelines))
        .route("/pipelines/{name}/timing", get(timing::pipeline))
        .route("/api-keys", post(keys::create).get(keys::list))
        .route("/api-keys/{id}", delete(keys::revoke))
        .route("/workers", post(workers::create).get(workers::list))
        .route("/workers/{name}", delete(workers::revoke))
        .route(
            "/admin/log-level",
            get(admin::log_level)
                .put(admin::set_log_level)
                .layer(DefaultBodyLimit::max(admin::BODY_BYTES_MAX)),
        )
        .route("/admin/config", get(admin::config))
        .route("/audit", get(audit::list))
        .route("/registry/images", get(registry::images))
        .route("/admin/reaper", post(admin::reap))
        .route("/admin/backup", get(backup::backup))
        .route("/admin/seal-key", get(admin::seal_key))
        .route("/admin/seal-key/rotate", post(admin::rotate_seal_key))
        .route(
            "/credentials",
            post(credentials::create)
                .get(credentials::list)
                .layer(DefaultBodyLimit::max(credentials::BODY_BYTES_MAX)),
        )
        .route(
            "/credentials/{name}",
            get(credentials::one)
                .put(credentials::put)
                .delete(credentials::delete)
                .layer(DefaultBodyLimit::max(credentials::BODY_BYTES_MAX)),
        )
        .route("/credentials/{name}/usage", get(credentials::usage))
        .route("/panels", get(panels::list))
        .route("/panels/{name}", get(panels::data))
        .route("/alerts", get(panels::alerts))
        .route("/health", get(meta::report))
        .route("/openapi.json", get(meta::openapi));
    Router::new()
        .nest("/api/v1", api)
        .nest("/rpc", rpc_routes().merge(coordinator::routes()))
        .merge(registry::routes())
        .route("/health", get(meta::health))
        .route("/health/ready", get(meta::ready))
        .route("/ready", get(meta::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/debug/pprof/profile", get(profiles::cpu))
        .route("/debug/pprof/heap", get(profiles::heap))
        .route("/debug/tasks", get(profiles::all_tasks))
        .route(
            "/v1/traces",
            post(traces::receive).layer(DefaultBodyLimit::max(traces::BODY_BYTES_MAX)),
        )
        .merge(page_routes())
        .fallback(meta::not_found)
        .layer(DefaultBodyLimit::max(app.settings.body_bytes_max))
        .layer(middleware::from_fn_with_state(app.clone(), layer::around))
        .with_state(app)
}
