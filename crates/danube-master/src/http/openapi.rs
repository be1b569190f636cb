//! The API's description, generated from the handlers and the wire types.

use axum::http::Method;
use danube_api::PROBLEM_TYPE;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::rights::{self, Found};
use super::{
    admin, approvals, artifacts, audit, backup, blueprint, credentials, folds, forges, jobs,
    keeping, keys, logs, mask, meta, metrics, panels, pipelines, profiles, provenance, registry,
    retries, run_events, search, secrets, statuses, stream, submits, timing, traces, webhooks,
    workers,
};

/// The whole API.
#[derive(OpenApi)]
#[openapi(
    info(title = "Danube", description = "A self-hosted job server that you can see through.", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    paths(
        submits::submit, jobs::list, jobs::job, jobs::history, run_events::list, run_events::live, jobs::cancel, retries::retry, approvals::approve, pipelines::pipelines,
        logs::log, logs::delete, stream::stream, folds::folds, search::search, mask::mask, keys::create, keys::list, keys::revoke,
        workers::create, workers::list, workers::revoke,
        credentials::create, credentials::list, credentials::one, credentials::put, credentials::delete, credentials::usage,
        secrets::put, secrets::list, secrets::delete,
        admin::config, admin::log_level, admin::set_log_level, admin::seal_key, admin::rotate_seal_key, admin::reap, backup::backup, audit::list,
        blueprint::blueprint, blueprint::sync_now,
        forges::webhook, statuses::list, statuses::replay,
        panels::list, panels::data, panels::alerts,
        registry::images,
        artifacts::upload, artifacts::list, artifacts::download, artifacts::delete, keeping::keep, provenance::of_job, provenance::key,
        traces::trace, traces::receive, timing::pipelines, timing::pipeline,
        webhooks::list, webhooks::show, webhooks::replay, webhooks::secret,
        profiles::cpu, profiles::heap, profiles::all_tasks,
        meta::health, meta::ready, meta::report, metrics::metrics, meta::openapi,
    ),
    components(schemas(danube_api::LogEvent, danube_api::EndEvent, danube_api::GapEvent, danube_api::FieldProblem, danube_api::Code)),
    modifiers(&Security, &Names, &Problems, &Rights),
    tags((name = "jobs"), (name = "logs"), (name = "keys"), (name = "credentials"), (name = "secrets"), (name = "workers"), (name = "blueprint"), (name = "forges"), (name = "panels"), (name = "traces"), (name = "artifacts"), (name = "registry"), (name = "webhooks"), (name = "admin"), (name = "profiles"), (name = "health")),
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

/// Operations are named after their handlers, of which several are called `list`. A name
/// must be the only one of its kind, so the tag stands before it.
struct Names;

impl Modify for Names {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for operation in operations(document) {
            let tag = operation.tags.iter().flatten().next();
            let name = tag.zip(operation.operation_id.as_ref());
            operation.operation_id = name.map(|(tag, name)| format!("{tag}_{name}"));
        }
    }
}

/// What every operation may answer, whatever it does: a request can be refused, and the
/// server can be full, slow or about to stop. What an operation says itself stays.
struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        operations(document).for_each(say_what_goes_wrong);
    }
}

/// Which right each operation asks for, as `docs/rights.md` explains them.
struct Rights;

impl Modify for Rights {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut document.paths.paths {
            let methods = [
                (Method::GET, &mut item.get),
                (Method::PUT, &mut item.put),
                (Method::POST, &mut item.post),
                (Method::DELETE, &mut item.delete),
            ];
            for (method, operation) in methods {
                let Some(operation) = operation else {
                    continue;
                };
                if let Found::Row(row) = rights::of(&method, path) {
                    let right = Extensions::builder().add("x-danube-right", row.right.name());
                    operation
                        .extensions
                        .get_or_insert_default()
                        .merge(right.build());
                }
            }
        }
    }
}

fn operations(document: &mut utoipa::openapi::OpenApi) -> impl Iterator<Item = &mut Operation> {
    let items = document.paths.paths.values_mut();
    items.flat_map(|it| {
        let methods = [&mut it.get, &mut it.put, &mut it.post, &mut it.delete];
        methods.into_iter().flatten()
    })
}

fn say_what_goes_wrong(operation: &mut Operation) {
    for (range, description) in [
        ("4XX", "The request is refused, and nothing was changed"),
        ("5XX", "The server can't do it now; `code` says why"),
    ] {
        let known = &mut operation.responses.responses;
        known
            .entry(range.to_owned())
            .or_insert_with(|| RefOr::T(problem(description)));
    }
}

fn problem(description: &str) -> Response {
    let schema = Ref::from_schema_name("Problem");
    ResponseBuilder::new()
        .description(description)
        .content(
            PROBLEM_TYPE,
            ContentBuilder::new().schema(Some(schema)).build(),
        )
        .build()
}

/// The document as JSON.
pub(crate) fn document() -> String {
    Document::openapi()
        .to_pretty_json()
        .expect("the document holds nothing but texts")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_operation_says_its_right() {
        let mut document = Document::openapi();
        for it in operations(&mut document) {
            let extensions = it.extensions.as_deref();
            let right = extensions.and_then(|it| it.get("x-danube-right"));
            assert!(right.is_some(), "{:?}", it.operation_id);
        }
    }

    /// Generated clients have a function for each.
    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let mut document = Document::openapi();
        let names: Vec<Option<String>> = operations(&mut document)
            .map(|it| it.operation_id.clone())
            .collect();
        let distinct: BTreeSet<&String> = names.iter().flatten().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
    }
}
