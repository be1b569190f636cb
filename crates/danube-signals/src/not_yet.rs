//! Signals whose part doesn't exist yet: declared, so that their names are settled.
//! Families whose label values are all known are exported at 0, the others are absent.

use danube_telemetry::FamilyDecl;
use tracing::Level;

use crate::declared::{EventDecl, State};
use crate::families::CALL;
use crate::labels::{BlueprintChange, K8sOperation, Outcome};

pub(crate) const KUBERNETES: &str = "the Kubernetes executor";
const SECRETS: &str = "secrets";
const BLUEPRINT: &str = "the blueprint";
pub(crate) const REGISTRY: &str = "the registry";
/// Its check is what heals it; no family waits for it.
pub(crate) const DEX: &str = "sign-in by Dex";
const FORGES: &str = "triggers by forges";

const SYNC: &[f64] = &[0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

/// Declares families that nothing records yet, by the part that will.
macro_rules! families {
    ($($field:ident: $kind:ident($name:literal, $help:literal $(, $buckets:ident)?) { $($more:tt)* } by $part:ident;)*) => {
        /// Declarations of the families to come.
        #[expect(non_upper_case_globals, reason = "named as the metrics are")]
        pub(crate) mod declared {
            use super::*;
            $(#[doc = $help] pub static $field: FamilyDecl =
                FamilyDecl::$kind($name, $help $(, $buckets)?) $($more)*;)*
        }

        /// Families to come, with the part that will record each.
        pub(crate) static FAMILIES: &[(&FamilyDecl, &str)] = &[$((&declared::$field, $part),)*];
    };
}

families! {
    k8s_api_calls_total: counter("danube.k8s.api.calls", "Calls of the Kubernetes API.")
        { .unit("{call}").closed::<K8sOperation>("operation").closed::<Outcome>("status") } by KUBERNETES;
    k8s_api_call_duration_seconds: histogram("danube.k8s.api.call.duration", "Time of a Kubernetes call.", CALL)
        { .closed::<K8sOperation>("operation") } by KUBERNETES;
    k8s_pods_active: gauge("danube.k8s.pods_active", "Pods that belong to Danube.")
        { .unit("{pod}").bounded("namespace") } by KUBERNETES;
    secret_requests_total: counter("danube.secret.requests", "Secrets that jobs asked for.")
        { .unit("{request}").bounded("pipeline").bounded("secret_key") } by SECRETS;
    secret_cache_hits_total: counter("danube.secret.cache_hits", "Secrets found in the cache.")
        { .unit("{hit}") } by SECRETS;
    secret_cache_misses_total: counter("danube.secret.cache_misses", "Secrets not found in the cache.")
        { .unit("{miss}") } by SECRETS;
    blueprint_sync_total: counter("danube.blueprint.sync", "Syncs of the blueprint.")
        { .unit("{sync}").closed::<Outcome>("status") } by BLUEPRINT;
    blueprint_sync_last_success: gauge("danube.blueprint.sync.last_success", "Last sync that worked, Unix time.")
        { .unit("s").named("danube_blueprint_sync_last_success").when_set() } by BLUEPRINT;
    blueprint_sync_duration_seconds: histogram("danube.blueprint.sync.duration", "Time of a blueprint sync.", SYNC)
        {} by BLUEPRINT;
    blueprint_changes_applied_total: counter("danube.blueprint.changes_applied", "Changes taken from the blueprint.")
        { .unit("{change}").closed::<BlueprintChange>("type") } by BLUEPRINT;
    registry_pulls_total: counter("danube.registry.pulls", "Images pulled from the registry.")
        { .unit("{pull}").bounded("image") } by REGISTRY;
    registry_pushes_total: counter("danube.registry.pushes", "Images pushed to the registry.")
        { .unit("{push}").bounded("image") } by REGISTRY;
    registry_storage_bytes: gauge("danube.registry.storage", "Disk space of the registry.")
        { .unit("By") } by REGISTRY;
}

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
        playbook_logger: "",
        fields,
        about,
        state: State::NotYet(part),
    }
}

/// Events to come.
pub(crate) static EVENTS: &[EventDecl] = &[
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
        "webhook_rejected",
        Level::WARN,
        "danube.api",
        &["forge", "reason"],
        (
            "A forge's webhook was not accepted: bad signature, stale or too large.",
            FORGES,
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
        "k8s_unreachable",
        Level::ERROR,
        "danube.orchestrator",
        &["error"],
        ("The Kubernetes API doesn't answer.", KUBERNETES),
    ),
];
