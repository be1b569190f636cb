//! The facts. Each is a struct whose fields are those of its log line, in order, and
//! under `also` what only its metrics need.

mod blueprint;
mod forge;
mod job;
mod life;
mod queue;
mod server;
mod value;
mod webhook;

use crate::declared::EventDecl;
use crate::signals::Signals;

pub use blueprint::*;
pub use forge::*;
pub use job::*;
pub use life::*;
pub use queue::*;
pub use server::*;
pub use value::Millis;
pub use webhook::*;

/// Something that happened and is told.
pub trait Fact {
    /// Its declaration.
    const DECL: EventDecl;
    /// Moves its metrics and writes its line.
    fn emit(&self, signals: &Signals);
}

/// Declares a fact: struct, declaration and `emit` from one list of fields.
macro_rules! fact {
    (
        $(#[doc = $doc:literal])+
        $name:ident $(<$life:lifetime>)? = $event:literal, $level:ident, $logger:literal
        $(, of playbooks $playbook_logger:literal if $of_playbook:expr)?
        $(, error when $error_why:literal if $error:expr)?;
        { $($(#[$fmeta:meta])* $field:ident: $type:ty,)* }
        also { $($(#[$ameta:meta])* $also:ident: $also_type:ty,)* }
        metrics |$fact:pat_param, $signals:pat_param| $metrics:block
    ) => {
        $(#[doc = $doc])+
        #[doc = ""]
        #[doc = concat!("Event `", $event, "` of logger `", $logger, "`.")]
        #[derive(Debug, Clone, Copy)]
        pub struct $name $(<$life>)? {
            $(
                #[doc = concat!("Field `", stringify!($field), "` of the line.")]
                $(#[$fmeta])*
                pub $field: $type,
            )*
            $(#[doc = "For the metrics only."] $(#[$ameta])* pub $also: $also_type,)*
        }

        impl $(<$life>)? $crate::fact::Fact for $name $(<$life>)? {
            const DECL: $crate::declared::EventDecl = $crate::declared::EventDecl {
                name: $event,
                level: tracing::Level::$level,
                error_when: concat!($($error_why)?),
                logger: $logger,
                playbook_logger: concat!($($playbook_logger)?),
                fields: &[$(stringify!($field)),*],
                about: concat!($($doc),+),
                state: $crate::declared::State::Live,
            };

            fn emit(&self, signals: &$crate::signals::Signals) {
                use $crate::fact::value::FieldValue as _;
                {
                    let ($fact, $signals) = (self, signals);
                    $metrics
                }
                let of_playbook: &[fn(&Self) -> bool] = &[$($of_playbook)?];
                if of_playbook.iter().any(|it| it(self)) {
                    tracing::event!(
                        target: concat!($($playbook_logger)?), tracing::Level::$level,
                        event = $event, $($field = self.$field.value(),)*
                    );
                    return;
                }
                let error_when: &[fn(&Self) -> bool] = &[$($error)?];
                if error_when.iter().any(|it| it(self)) {
                    tracing::event!(
                        target: $logger, tracing::Level::ERROR,
                        event = $event, $($field = self.$field.value(),)*
                    );
                    return;
                }
                tracing::event!(
                    target: $logger, tracing::Level::$level,
                    event = $event, $($field = self.$field.value(),)*
                );
            }
        }
    };
}
use fact;

/// Declarations of all facts.
pub(crate) static LIVE: &[EventDecl] = &[
    MasterReady::DECL,
    MasterStopping::DECL,
    LogLevelChanged::DECL,
    SettingsRefused::DECL,
    ProfileStarted::DECL,
    ProfileTaken::DECL,
    ProfileFailed::DECL,
    JobSubmitted::DECL,
    PipelineTriggered::DECL,
    JobStarted::DECL,
    JobCompleted::DECL,
    JobFailed::DECL,
    JobRetried::DECL,
    JobCancelled::DECL,
    JobTimedOut::DECL,
    JobOrphanRescued::DECL,
    StepStarted::DECL,
    StepCompleted::DECL,
    CredentialAccessed::DECL,
    SecretAccessed::DECL,
    SecretAccessFailed::DECL,
    AnsibleChecked::DECL,
    LogWriteFailed::DECL,
    WorkspaceLeft::DECL,
    WorkerDrained::DECL,
    WorkerConnected::DECL,
    WorkerDisconnected::DECL,
    RpcCall::DECL,
    LoginSucceeded::DECL,
    LoginFailed::DECL,
    PermissionDenied::DECL,
    HealthCheckFailed::DECL,
    HealthCheckRecovered::DECL,
    HealthChecksCompleted::DECL,
    SelfHealAttempted::DECL,
    RegistryExited::DECL,
    DatabaseUnavailable::DECL,
    LoopStalled::DECL,
    LoopResumed::DECL,
    SqlQuery::DECL,
    ReaperCompleted::DECL,
    BackupCompleted::DECL,
    BackupFailed::DECL,
    BlueprintSyncCompleted::DECL,
    BlueprintSyncFailed::DECL,
    OtlpExportFailed::DECL,
    OtlpExportRecovered::DECL,
    AlertFired::DECL,
    AlertResolved::DECL,
    AlertsNotSent::DECL,
    QueueConnected::DECL,
    QueueDisconnected::DECL,
    QueueRefilled::DECL,
    WebhookSent::DECL,
    WebhookFailed::DECL,
    WebhookRejected::DECL,
    WebhookKept::DECL,
    WebhookDropped::DECL,
    CommitStatusFailed::DECL,
];
