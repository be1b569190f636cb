//! Signals whose part doesn't exist yet: declared, so that their names are settled.
//! Families whose label values are all known are exported at 0, the others are absent.

use danube_telemetry::FamilyDecl;
use tracing::Level;

use crate::declared::{EventDecl, State};
use crate::families::CALL;
use crate::labels::{K8sOperation, Outcome};

pub(crate) const KUBERNETES: &str = "the Kubernetes executor";

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
pub(crate) static EVENTS: &[EventDecl] = &[event(
    "k8s_unreachable",
    Level::ERROR,
    "danube.orchestrator",
    &["error"],
    ("The Kubernetes API doesn't answer.", KUBERNETES),
)];
