//! Signals whose part doesn't exist yet: declared, so that their names are settled.
//! Families whose label values are all known are exported at 0, the others are absent.

use danube_telemetry::FamilyDecl;
use tracing::Level;

use crate::declared::{EventDecl, State};
use crate::families::CALL;
use crate::labels::{BlueprintChange, K8sOperation, Outcome, PlaybookResult, Truth};

const KUBERNETES: &str = "the Kubernetes executor";
const SECRETS: &str = "secrets";
const BLUEPRINT: &str = "the blueprint";
const REGISTRY: &str = "the registry";
const ACCOUNTS: &str = "accounts and sessions";
const PLAYBOOKS: &str = "playbooks";
const WEBHOOKS: &str = "webhooks";
const RPC: &str = "remote workers";
const HEALING: &str = "self-healing";
const EXPORTS: &str = "the OpenTelemetry export";

const SYNC: &[f64] = &[0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
const PLAYBOOK: &[f64] = &[10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];
const REQUEST: &[f64] = &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];
const RUN: &[f64] = &[
    1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0,
];

const fn counter(name: &'static str, help: &'static str) -> FamilyDecl {
    FamilyDecl::counter(name, help)
}

const fn gauge(name: &'static str, help: &'static str) -> FamilyDecl {
    FamilyDecl::gauge(name, help)
}

const fn histogram(name: &'static str, help: &'static str, buckets: &'static [f64]) -> FamilyDecl {
    FamilyDecl::histogram(name, help, buckets)
}

/// Families to come, with the part that will record each.
pub(crate) static FAMILIES: &[(FamilyDecl, &str)] = &[
    (
        counter("danube_k8s_api_calls_total", "Calls of the Kubernetes API.")
            .closed::<K8sOperation>("operation")
            .closed::<Outcome>("status"),
        KUBERNETES,
    ),
    (
        histogram(
            "danube_k8s_api_call_duration_seconds",
            "Time of a Kubernetes call.",
            CALL,
        )
        .closed::<K8sOperation>("operation"),
        KUBERNETES,
    ),
    (
        gauge("danube_k8s_pods_active", "Pods that belong to Danube.").bounded("namespace"),
        KUBERNETES,
    ),
    (
        counter(
            "danube_secret_requests_total",
            "Secrets that jobs asked for.",
        )
        .bounded("pipeline")
        .bounded("secret_key"),
        SECRETS,
    ),
    (
        counter(
            "danube_secret_cache_hits_total",
            "Secrets found in the cache.",
        ),
        SECRETS,
    ),
    (
        counter(
            "danube_secret_cache_misses_total",
            "Secrets not found in the cache.",
        ),
        SECRETS,
    ),
    (
        counter("danube_blueprint_sync_total", "Syncs of the blueprint.")
            .closed::<Outcome>("status"),
        BLUEPRINT,
    ),
    (
        gauge(
            "danube_blueprint_sync_last_success",
            "Last sync that worked, Unix time.",
        )
        .when_set(),
        BLUEPRINT,
    ),
    (
        histogram(
            "danube_blueprint_sync_duration_seconds",
            "Time of a blueprint sync.",
            SYNC,
        ),
        BLUEPRINT,
    ),
    (
        counter(
            "danube_blueprint_changes_applied_total",
            "Changes taken from the blueprint.",
        )
        .closed::<BlueprintChange>("type"),
        BLUEPRINT,
    ),
    (
        counter(
            "danube_registry_pulls_total",
            "Images pulled from the registry.",
        )
        .bounded("image"),
        REGISTRY,
    ),
    (
        counter(
            "danube_registry_pushes_total",
            "Images pushed to the registry.",
        )
        .bounded("image"),
        REGISTRY,
    ),
    (
        gauge(
            "danube_registry_storage_bytes",
            "Disk space of the registry.",
        )
        .unit("bytes"),
        REGISTRY,
    ),
    (
        gauge("danube_auth_active_sessions", "Sessions that are open now."),
        ACCOUNTS,
    ),
    (
        counter(
            "ansible_api_jobs_submitted_total",
            "Playbook jobs submitted.",
        )
        .bounded("source_type"),
        PLAYBOOKS,
    ),
    (
        counter(
            "ansible_api_jobs_completed_total",
            "Playbook jobs that ended.",
        )
        .closed::<PlaybookResult>("status"),
        PLAYBOOKS,
    ),
    (
        counter(
            "ansible_api_webhook_deliveries_total",
            "Attempts to deliver a webhook.",
        )
        .closed::<Truth>("success"),
        PLAYBOOKS,
    ),
    (
        histogram(
            "ansible_api_job_duration_seconds",
            "Time of a playbook job.",
            PLAYBOOK,
        )
        .bounded("source_type"),
        PLAYBOOKS,
    ),
    (
        histogram(
            "ansible_api_request_duration_seconds",
            "Time of an API request.",
            REQUEST,
        )
        .sparse("method")
        .bounded("endpoint")
        .sparse("status_code"),
        PLAYBOOKS,
    ),
    (
        gauge("ansible_api_queue_length", "Playbook jobs that wait.").bounded("queue_name"),
        PLAYBOOKS,
    ),
    (
        gauge(
            "ansible_api_active_workers",
            "Workers that take playbook jobs.",
        ),
        PLAYBOOKS,
    ),
    (
        gauge("ansible_api_active_jobs", "Playbook jobs that run now."),
        PLAYBOOKS,
    ),
    (
        counter(
            "danube_rpc_requests_total",
            "Calls between worker and master.",
        )
        .sparse("method")
        .sparse("status"),
        RPC,
    ),
    (
        histogram(
            "danube_rpc_request_duration_seconds",
            "Time of such a call.",
            CALL,
        )
        .sparse("method"),
        RPC,
    ),
    (
        counter("danube_self_heal_total", "Attempts to heal a failed part.")
            .sparse("check")
            .sparse("result"),
        HEALING,
    ),
    (
        counter(
            "danube_webhook_deliveries_total",
            "Attempts to deliver a webhook.",
        )
        .closed::<Truth>("success"),
        WEBHOOKS,
    ),
    (
        histogram(
            "cicd_pipeline_run_duration_seconds",
            "Time of a pipeline run.",
            RUN,
        )
        .bounded("cicd_pipeline_name")
        .sparse("cicd_pipeline_run_state")
        .sparse("cicd_pipeline_result")
        .sparse("error_type"),
        EXPORTS,
    ),
    (
        gauge(
            "cicd_pipeline_run_active",
            "Pipeline runs that are active now.",
        )
        .bounded("cicd_pipeline_name")
        .sparse("cicd_pipeline_run_state"),
        EXPORTS,
    ),
    (
        counter("cicd_pipeline_run_errors_total", "Errors in pipeline runs.")
            .bounded("cicd_pipeline_name")
            .sparse("error_type"),
        EXPORTS,
    ),
    (
        gauge("cicd_worker_count", "Workers by state.").sparse("cicd_worker_state"),
        EXPORTS,
    ),
    (
        counter("cicd_system_errors_total", "Errors of the system itself.")
            .sparse("cicd_system_component")
            .sparse("error_type"),
        EXPORTS,
    ),
];

/// Fields are those of the line, in order.
const fn event(
    name: &'static str,
    level: Level,
    logger: &'static str,
    fields: &'static [&'static str],
    (about, part): (&'static str, &'static str),
) -> EventDecl {
    EventDecl {
        name,
        level,
        error_when: "",
        logger,
        fields,
        about,
        state: State::NotYet(part),
    }
}

/// Events to come.
pub(crate) static EVENTS: &[EventDecl] = &[
    event(
        "credential_accessed",
        Level::INFO,
        "ansible_api.worker",
        &["credential_name", "job_id"],
        ("A job was given a credential.", PLAYBOOKS),
    ),
    event(
        "secret_accessed",
        Level::INFO,
        "danube.orchestrator",
        &["secret_key", "pipeline", "job_id"],
        ("A job was given a secret.", SECRETS),
    ),
    event(
        "secret_access_failed",
        Level::WARN,
        "danube.orchestrator",
        &["secret_key", "pipeline", "job_id", "reason"],
        ("A job asked for a secret and didn't get it.", SECRETS),
    ),
    event(
        "webhook_sent",
        Level::INFO,
        "danube.api",
        &["job_id", "callback_url", "status_code", "attempt"],
        ("A webhook was delivered.", WEBHOOKS),
    ),
    event(
        "webhook_failed",
        Level::WARN,
        "danube.api",
        &["job_id", "callback_url", "error", "attempt"],
        ("An attempt to deliver a webhook failed.", WEBHOOKS),
    ),
    event(
        "webhook_rejected",
        Level::WARN,
        "danube.api",
        &["forge", "reason"],
        (
            "A forge's webhook was not accepted: bad signature, stale or too large.",
            WEBHOOKS,
        ),
    ),
    event(
        "blueprint_sync_completed",
        Level::INFO,
        "danube.blueprint",
        &["commit", "pipelines", "users", "teams", "duration_seconds"],
        ("The blueprint was taken over.", BLUEPRINT),
    ),
    event(
        "blueprint_sync_failed",
        Level::ERROR,
        "danube.blueprint",
        &["error"],
        ("The blueprint could not be taken over.", BLUEPRINT),
    ),
    event(
        "self_heal_attempted",
        Level::WARN,
        "danube.health",
        &["check", "action", "result"],
        ("A failed part was healed, or not.", HEALING),
    ),
    event(
        "k8s_unreachable",
        Level::ERROR,
        "danube.orchestrator",
        &["error"],
        ("The Kubernetes API doesn't answer.", KUBERNETES),
    ),
    event(
        "rpc_call",
        Level::DEBUG,
        "danube.worker",
        &["method", "duration_ms"],
        ("A worker called the master.", RPC),
    ),
];
