//! What each route asks of its caller: the one table of routes and rights.
//!
//! Every request passes [`of`]: a route that has no row here answers nothing. The extractors in
//! `caller.rs` check what the row says, the API's description and `docs/rights.md` show it, and
//! the tests walk it with every kind of caller.

use axum::http::Method;
use danube_blueprint::Permission::{self, Admin, Read, Write};
use danube_signals::DeniedResource;

use super::signin;
use crate::auth::{Need, Wish, right_name};

/// What a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// Nothing.
    Open,
    /// A page: whoever isn't signed in is led to the sign-in.
    Page,
    /// A page of what belongs to no pipeline: whoever has this right to that.
    PageOf(Need),
    /// A form of a page: this right to the pipeline of the job, by a session that shows the
    /// form's token, or by a key.
    Form(Permission),
    /// A program of this machine, or to look at what belongs to no pipeline.
    Local,
    /// A good key. What is shown is what its holder may look at.
    Known,
    /// A good key that may do more than look, for what is its holder's own.
    Own,
    /// This right to the pipeline of the job, or to the one that is named.
    Pipeline(Permission),
    /// A good key that may have this right to some pipeline. What is shown is of those to which
    /// its holder has it.
    Listed(Permission),
    /// This right to what belongs to no pipeline, or to all of them.
    Server(Need),
    /// The token that this one was given.
    Token(&'static str),
    /// The token of the running job, or this right to its pipeline.
    JobOr(Permission),
}

impl Right {
    /// As the API's description has it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Open => "open".to_owned(),
            Self::Page => "page".to_owned(),
            Self::PageOf(Need::Read) => "page:read".to_owned(),
            Self::PageOf(Need::Work) => "page:write".to_owned(),
            Self::PageOf(Need::Manage) => "page:admin".to_owned(),
            Self::Form(it) => format!("form:{}", right_name(it)),
            Self::Local => "local".to_owned(),
            Self::Known => "known".to_owned(),
            Self::Own => "own".to_owned(),
            Self::Pipeline(it) => format!("pipeline:{}", right_name(it)),
            Self::Listed(it) => format!("listed:{}", right_name(it)),
            Self::Server(Need::Read) => "server:read".to_owned(),
            Self::Server(Need::Work) => "server:write".to_owned(),
            Self::Server(Need::Manage) => "server:admin".to_owned(),
            Self::Token(whose) => format!("token:{whose}"),
            Self::JobOr(it) => format!("token:job or pipeline:{}", right_name(it)),
        }
    }

    /// What the caller wishes to do with the pipeline that the request is about.
    pub(crate) fn wish(self, path: &str) -> Wish {
        let right = match self {
            Self::Pipeline(it) | Self::Listed(it) | Self::JobOr(it) | Self::Form(it) => it,
            _ => Read,
        };
        let kind = match path {
            _ if path.contains("/secrets") => DeniedResource::Secret,
            _ if path.contains("/artifacts") => DeniedResource::Artifact,
            _ => DeniedResource::Pipeline,
        };
        Wish { right, kind }
    }
}

/// A route and its right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) method: &'static str,
    /// As the router has it.
    pub(crate) path: &'static str,
    pub(crate) right: Right,
}

const fn get(path: &'static str, right: Right) -> Row {
    row("GET", path, right)
}

const fn post(path: &'static str, right: Right) -> Row {
    row("POST", path, right)
}

const fn put(path: &'static str, right: Right) -> Row {
    row("PUT", path, right)
}

const fn delete(path: &'static str, right: Right) -> Row {
    row("DELETE", path, right)
}

const fn row(method: &'static str, path: &'static str, right: Right) -> Row {
    Row {
        method,
        path,
        right,
    }
}

const JOB: Right = Right::Token("job");
const COORDINATOR: Right = Right::Token("coordinator");
const WORKER: Right = Right::Token("worker");
const LOOK: Right = Right::Server(Need::Read);
const LOOK_AT_PAGE: Right = Right::PageOf(Need::Read);
const WORK: Right = Right::Server(Need::Work);
const MANAGE: Right = Right::Server(Need::Manage);
const READ: Right = Right::Pipeline(Read);
const WRITE: Right = Right::Pipeline(Write);
const ADMIN: Right = Right::Pipeline(Admin);

/// Every route of the server.
pub(crate) static ROWS: &[Row] = &[
    // Jobs.
    post("/api/v1/jobs", WRITE),
    get("/api/v1/jobs", Right::Known),
    get("/api/v1/jobs/{id}", READ),
    delete("/api/v1/jobs/{id}", WRITE),
    post("/api/v1/jobs/{id}/retry", WRITE),
    post("/api/v1/jobs/{id}/approve", WRITE),
    get("/api/v1/jobs/{id}/history", READ),
    get("/api/v1/jobs/{id}/events", READ),
    get("/api/v1/jobs/{id}/stream", READ),
    post("/api/v1/jobs/{id}/mask", Right::JobOr(Write)),
    get("/api/v1/jobs/{id}/logs", READ),
    delete("/api/v1/jobs/{id}/logs", WRITE),
    get("/api/v1/jobs/{id}/logs/stream", READ),
    get("/api/v1/jobs/{id}/logs/folds", READ),
    get("/api/v1/jobs/{id}/logs/search", READ),
    get("/api/v1/jobs/{id}/trace", READ),
    post("/v1/traces", JOB),
    // What jobs left.
    get("/api/v1/jobs/{id}/artifacts", READ),
    post("/api/v1/jobs/{id}/artifacts", WRITE),
    get("/api/v1/jobs/{id}/artifacts/{name}", READ),
    put("/api/v1/jobs/{id}/artifacts/{name}", JOB),
    delete("/api/v1/jobs/{id}/artifacts/{name}", ADMIN),
    get("/api/v1/jobs/{id}/provenance", READ),
    get("/api/v1/provenance/key", Right::Known),
    // Pipelines.
    get("/api/v1/pipelines", Right::Known),
    get("/api/v1/pipelines/timing", Right::Known),
    get("/api/v1/pipelines/{name}/timing", READ),
    get("/api/v1/secrets", Right::Listed(Admin)),
    put("/api/v1/secrets/{name}", ADMIN),
    delete("/api/v1/secrets/{name}", ADMIN),
    // Webhooks of one's own jobs.
    get("/api/v1/webhooks/deliveries", Right::Known),
    get("/api/v1/webhooks/deliveries/{id}", READ),
    post("/api/v1/webhooks/deliveries/{id}/replay", WRITE),
    post("/api/v1/webhooks/secret", Right::Own),
    // What forges weren't told of jobs.
    get("/api/v1/forges/statuses", Right::Known),
    post("/api/v1/forges/statuses/{id}/replay", WRITE),
    // What belongs to no pipeline, or to all.
    get("/api/v1/credentials", WORK),
    post("/api/v1/credentials", MANAGE),
    get("/api/v1/credentials/{name}", WORK),
    put("/api/v1/credentials/{name}", MANAGE),
    delete("/api/v1/credentials/{name}", MANAGE),
    get("/api/v1/credentials/{name}/usage", WORK),
    get("/api/v1/panels", LOOK),
    get("/api/v1/panels/{name}", LOOK),
    get("/api/v1/alerts", LOOK),
    get("/api/v1/health", LOOK),
    get("/api/v1/registry/images", LOOK),
    get("/api/v1/openapi.json", Right::Local),
    get("/metrics", Right::Local),
    get("/api/v1/api-keys", MANAGE),
    post("/api/v1/api-keys", MANAGE),
    delete("/api/v1/api-keys/{id}", MANAGE),
    get("/api/v1/workers", MANAGE),
    post("/api/v1/workers", MANAGE),
    delete("/api/v1/workers/{name}", MANAGE),
    get("/api/v1/blueprint", MANAGE),
    post("/api/v1/blueprint/sync", MANAGE),
    get("/api/v1/admin/config", MANAGE),
    get("/api/v1/admin/log-level", MANAGE),
    put("/api/v1/admin/log-level", MANAGE),
    get("/api/v1/admin/seal-key", MANAGE),
    post("/api/v1/admin/seal-key/rotate", MANAGE),
    post("/api/v1/admin/reaper", MANAGE),
    get("/api/v1/admin/backup", MANAGE),
    get("/api/v1/audit", MANAGE),
    get("/debug/pprof/profile", MANAGE),
    get("/debug/pprof/heap", MANAGE),
    get("/debug/tasks", MANAGE),
    // Other programs.
    post("/rpc/claim", WORKER),
    post("/rpc/heartbeat", WORKER),
    post("/rpc/started", WORKER),
    post("/rpc/step", WORKER),
    post("/rpc/played", WORKER),
    post("/rpc/credentials", WORKER),
    post("/rpc/finalizing", WORKER),
    post("/rpc/append-log", WORKER),
    post("/rpc/secrets", WORKER),
    post("/rpc/finish", WORKER),
    post("/rpc/hand-back", WORKER),
    post("/rpc/calls", WORKER),
    post("/rpc/answer", WORKER),
    // The job itself.
    post("/rpc/run-step", COORDINATOR),
    post("/rpc/get-secret", COORDINATOR),
    post("/rpc/report-status", COORDINATOR),
    post("/rpc/upload-artifact", JOB),
    post("/api/v1/forges/{forge}/{name}", Right::Token("forge")),
    post("/registry/notifications", Right::Token("registry")),
    get("/health", Right::Open),
    get("/health/ready", Right::Open),
    get("/ready", Right::Open),
    // Browsers.
    get("/", Right::Page),
    get("/jobs/{id}", Right::Page),
    get("/jobs/{id}/trace", Right::Page),
    get("/jobs/{id}/log", Right::Page),
    get("/jobs/{id}/log/rows", Right::Page),
    post("/jobs/{id}/cancel", Right::Form(Write)),
    post("/jobs/{id}/retry", Right::Form(Write)),
    post("/jobs/{id}/approve", Right::Form(Write)),
    get("/live", Right::Page),
    get("/pipelines", Right::Page),
    get("/pipelines/{name}", Right::Page),
    get("/workers", Right::PageOf(Need::Manage)),
    get("/keys", Right::PageOf(Need::Manage)),
    get("/secrets", Right::Page),
    get("/webhooks", Right::Page),
    get("/webhooks/{id}", Right::Page),
    get("/dashboards", LOOK_AT_PAGE),
    get("/dashboards/{name}", LOOK_AT_PAGE),
    get("/alerts", LOOK_AT_PAGE),
    get("/alerts/{name}", LOOK_AT_PAGE),
    get("/checks", LOOK_AT_PAGE),
    get("/signals", Right::Page),
    get("/login", Right::Open),
    post("/login", Right::Open),
    get("/login/oidc", Right::Open),
    get(signin::BACK, Right::Open),
    get("/login/cli", Right::Page),
    post("/login/cli", Right::Page),
    post("/login/cli/key", Right::Token("code")),
    post("/login/cli/end", Right::Known),
    post("/logout", Right::Open),
    get("/assets/{version}/{name}", Right::Open),
];

/// What the table says of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Row(&'static Row),
    /// The route has rows, but none for this method; these it has.
    NoMethod(String),
    /// The route has none: nobody said who may call it.
    NoRow,
}

/// What the table says of a request to this route.
pub(crate) fn of(method: &Method, path: &str) -> Found {
    let wanted = match *method {
        Method::HEAD => "GET",
        _ => method.as_str(),
    };
    let mut allowed: Vec<&str> = Vec::new();
    for row in ROWS.iter().filter(|it| it.path == path) {
        if row.method == wanted {
            return Found::Row(row);
        }
        allowed.push(row.method);
        allowed.extend((row.method == "GET").then_some("HEAD"));
    }
    match allowed.is_empty() {
        true => Found::NoRow,
        false => Found::NoMethod(allowed.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_one_row_a_method() {
        for (at, row) in ROWS.iter().enumerate() {
            let same = |it: &&Row| (it.method, it.path) == (row.method, row.path);
            assert!(!ROWS[..at].iter().any(|it| same(&it)), "{row:?}");
        }
    }

    #[test]
    fn what_has_no_row_is_told_from_what_takes_another_method() {
        let jobs = of(&Method::HEAD, "/api/v1/jobs");
        assert!(
            matches!(jobs, Found::Row(row) if row.method == "GET"),
            "{jobs:?}"
        );
        let none = Found::NoMethod("POST,GET,HEAD".to_owned());
        assert_eq!(of(&Method::DELETE, "/api/v1/jobs"), none);
        assert_eq!(of(&Method::GET, "/api/v1/new"), Found::NoRow);
    }
}
