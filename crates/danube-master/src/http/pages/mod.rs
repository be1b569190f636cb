//! The pages: what browsers get, from the same binary.
//!
//! A handler makes a page's value from what the server knows; `danube-pages` renders it, and the
//! same value is the answer to a program that asks for `application/json`. Nothing of a page
//! changes anything but its forms (`forms.rs`), which show a token of the session that they were
//! made for.

mod acts;
mod admin;
mod alerts;
mod checks;
mod dashboards;
mod failure;
mod files;
mod forms;
mod frame;
mod job;
mod jobs;
mod live;
mod log;
mod login;
mod pipelines;
mod signals;
mod trace;
mod window;
#[cfg(test)]
mod window_tests;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::app::Shared;

pub(crate) use frame::base_of;
pub(super) use frame::{bare, is_foreign, leading, secure};
pub(super) use login::{entered, is_ours, login_page, refused};

/// What browsers ask for, but for the sign-in at a provider and of the command line.
pub(super) fn routes() -> Router<Shared> {
    let forms = Router::new()
        .route("/jobs/{id}/cancel", post(acts::cancel))
        .route("/jobs/{id}/retry", post(acts::retry))
        .route("/jobs/{id}/approve", post(acts::approve))
        .route("/login", get(login::login).post(login::login_with_key))
        .route("/logout", post(login::logout))
        .layer(DefaultBodyLimit::max(forms::FORM_BYTES_MAX));
    Router::new()
        .route("/", get(jobs::jobs))
        .route("/jobs/{id}", get(job::job))
        .route("/jobs/{id}/trace", get(trace::trace))
        .route("/jobs/{id}/log", get(log::log))
        .route("/jobs/{id}/log/rows", get(log::rows))
        .route("/live", get(live::live))
        .route("/pipelines", get(pipelines::list))
        .route("/pipelines/{name}", get(pipelines::one))
        .route("/workers", get(admin::workers))
        .route("/secrets", get(admin::secrets))
        .route("/keys", get(admin::keys))
        .route("/webhooks", get(admin::deliveries))
        .route("/webhooks/{id}", get(admin::delivery))
        .route("/dashboards", get(dashboards::first))
        .route("/dashboards/{name}", get(dashboards::one))
        .route("/alerts", get(alerts::alerts))
        .route("/alerts/{name}", get(alerts::runbook))
        .route("/checks", get(checks::checks))
        .route("/signals", get(signals::signals))
        .route("/assets/{version}/{name}", get(files::file))
        .merge(forms)
}
