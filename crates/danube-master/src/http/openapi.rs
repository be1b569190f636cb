//! The API's description, generated from the handlers and the wire types.

use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::{Modify, OpenApi};

use super::{
    admin, credentials, folds, jobs, keys, logs, mask, meta, metrics, panels, run_events, search,
    stream, submits, timing, traces, webhooks, workers,
};

/// The whole API.
#[derive(OpenApi)]
#[openapi(
    info(title = "Danube", description = "A self-hosted job server that you can see through.", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    paths(
        submits::submit, jobs::list, jobs::job, jobs::history, run_events::list, run_events::live, jobs::cancel, submits::retry,
        logs::log, logs::delete, stream::stream, folds::folds, search::search, mask::mask, keys::create, keys::list, keys::revoke,
        workers::create, workers::list, workers::revoke,
        credentials::create, credentials::list, credentials::one, credentials::put, credentials::delete, credentials::usage,
        admin::log_level, admin::set_log_level, admin::seal_key, admin::rotate_seal_key,
        panels::list, panels::data, panels::alerts,
        traces::trace, traces::receive, timing::pipelines, timing::pipeline,
        webhooks::list, webhooks::show, webhooks::replay, webhooks::secret,
        meta::health, meta::ready, metrics::metrics, meta::openapi,
    ),
    components(schemas(danube_api::EndEvent, danube_api::GapEvent, danube_api::FieldProblem, danube_api::Code)),
    modifiers(&Security),
    tags((name = "jobs"), (name = "logs"), (name = "keys"), (name = "credentials"), (name = "workers"), (name = "panels"), (name = "traces"), (name = "webhooks"), (name = "admin"), (name = "health")),
)]
struct Document;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer =
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        let header = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", bearer);
        components.add_security_scheme("x-api-key", header);
        let none: [&str; 0] = [];
        document.security = Some(vec![
            SecurityRequirement::new("bearer", none),
            SecurityRequirement::new("x-api-key", none),
        ]);
    }
}

/// The document as JSON.
pub(crate) fn document() -> String {
    Document::openapi()
        .to_pretty_json()
        .expect("the document holds nothing but texts")
}
