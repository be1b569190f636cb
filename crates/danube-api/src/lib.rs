//! Wire types, error codes and the Rust client of Danube's HTTP API.
//!
//! What the server writes and what a client reads are the same types, and the
//! OpenAPI document is generated from them.

mod artifact;
mod audit;
mod blueprint;
mod code;
mod config;
mod credential;
mod forge;
mod health;
mod job;
mod key;
mod log;
mod log_level;
mod login;
mod mask;
mod pipelines;
mod playbook;
mod problem;
mod profile;
mod provenance;
mod registry;
pub mod rpc;
mod search;
mod secret;
mod timing;
mod watch;
mod webhook;
mod worker;

#[cfg(feature = "client")]
pub mod client;

pub use artifact::{ArtifactList, ArtifactView, KeepArtifacts, artifact_path, escape};
pub use audit::{AUDIT_PAGE_DEFAULT, AUDIT_PAGE_MAX, AuditEntry, AuditFact, AuditList, AuditRow};
pub use blueprint::{
    BlueprintChangeView, BlueprintError, BlueprintMistake, BlueprintSetting, BlueprintSynced,
    BlueprintView,
};
pub use code::Code;
pub use config::{ConfigView, SettingOrigin, SettingView};
pub use credential::{
    CredentialList, CredentialUsage, CredentialUseView, CredentialView, NewCredential, SealKeyView,
};
pub use forge::{ForgeStatus, ForgeStatusList, ForgeView, WebhookTaken};
pub use health::{CheckView, HealView, HealthReport, HealthView, ReadyView, ReapView};
pub use job::{HistoryView, JobList, JobView, StepView, Submit, TransitionView};
pub use key::{KeyList, KeyView, NewKey, NewKeyView};
pub use log::{
    EndEvent, FoldKind, FoldView, GapEvent, LogDeleted, LogEvent, LogFolds, StreamEvent,
};
pub use log_level::{LogLevelView, NewLogLevel};
pub use login::{LoginEnded, LoginKey, LoginProof};
pub use mask::{MaskValue, Masked};
pub use pipelines::{ParameterView, PipelineList, PipelineView};
pub use playbook::{FailureView, HostTotals, HostView, ProgressView, RunEventList};
pub use problem::{FieldProblem, PROBLEM_TYPE, Problem};
pub use profile::{RuntimeView, TaskList, TaskView, ThreadView};
pub use provenance::{Envelope, EnvelopeSignature};
pub use registry::{ImageView, RegistryView};
pub use search::{Hit, SearchEnd, SearchLine};
pub use secret::{NewSecret, SecretList, SecretView};
pub use timing::{PartTiming, PipelineTiming, TimingList};
pub use watch::{
    AlertList, AlertView, HistoryHeld, PanelData, PanelLine, PanelList, PanelQuery, PanelView,
};
pub use webhook::{DeliveryAttempt, DeliveryList, DeliveryView, SigningSecret};
pub use worker::{NewWorker, NewWorkerView, WorkerList, WorkerView};

/// Where the public keys are that provenance is signed with.
pub const PROVENANCE_KEY_PATH: &str = "/api/v1/provenance/key";

/// Where the webhooks are.
pub const WEBHOOKS_PATH: &str = "/api/v1/webhooks";

/// Where forges are.
pub const FORGES_PATH: &str = "/api/v1/forges";

/// Where the blueprint is.
pub const BLUEPRINT_PATH: &str = "/api/v1/blueprint";

/// Where the jobs are, below the server's address.
pub const JOBS_PATH: &str = "/api/v1/jobs";

/// The header that says at which logical offset a log's text begins.
pub const LOG_OFFSET_HEADER: &str = "danube-log-offset";

/// The header that says with which line a text begins that was asked for by line
/// or by time.
pub const FIRST_LINE_HEADER: &str = "danube-first-line";

/// Where the level of the server's log is.
pub const LOG_LEVEL_PATH: &str = "/api/v1/admin/log-level";

/// Where the settings are that the server runs with.
pub const CONFIG_PATH: &str = "/api/v1/admin/config";

/// Where a profile of the processor is taken.
pub const CPU_PROFILE_PATH: &str = "/debug/pprof/profile";

/// Where a profile of the memory is taken.
pub const HEAP_PROFILE_PATH: &str = "/debug/pprof/heap";

/// Where the loops of the server are listed.
pub const TASKS_PATH: &str = "/debug/tasks";

/// Where the audit log is.
pub const AUDIT_PATH: &str = "/api/v1/audit";

/// Where the API keys are.
pub const KEYS_PATH: &str = "/api/v1/api-keys";

/// Where the credentials are.
pub const CREDENTIALS_PATH: &str = "/api/v1/credentials";

/// Where what lies in the registry is.
pub const REGISTRY_IMAGES_PATH: &str = "/api/v1/registry/images";

/// Where the secrets of pipelines are.
pub const SECRETS_PATH: &str = "/api/v1/secrets";

/// Where the reaper is asked to look.
pub const REAPER_PATH: &str = "/api/v1/admin/reaper";

/// What is known of the server's health.
pub const HEALTH_PATH: &str = "/api/v1/health";
/// Where a backup of the server is had.
pub const BACKUP_PATH: &str = "/api/v1/admin/backup";

/// Where the key is that seals what is stored.
pub const SEAL_KEY_PATH: &str = "/api/v1/admin/seal-key";

/// Where the workers on other machines are.
pub const WORKERS_PATH: &str = "/api/v1/workers";

/// Where the panels are; the data of one below its name.
pub const PANELS_PATH: &str = "/api/v1/panels";

/// Where the pipelines are.
pub const PIPELINES_PATH: &str = "/api/v1/pipelines";

/// Where the alerts are that fire.
pub const ALERTS_PATH: &str = "/api/v1/alerts";
