//! The server: accepts, decides, remembers, shows.
//!
//! [`run`] tells the whole life of a master. From there: `http` for what comes
//! in, `submit` for what is accepted, `schedule` for who runs it (`decide` is
//! the one place of decisions), `feed` for who hears of it by way of Redis, `dispatch` for what comes back, `health` for
//! how it is, `watch` for what its metrics say over time, `trace` for what its jobs did
//! when.

mod app;
mod artifacts;
mod auth;
mod backup;
mod bell;
mod blueprint;
mod coordinator;
mod credentials;
mod demo;
mod dispatch;
mod drain;
mod feed;
mod forges;
mod health;
mod http;
mod lock;
mod log_level;
mod loops;
mod meter;
mod observe;
mod oidc;
mod parts;
mod pipelines;
mod playbook_gauges;
mod profiling;
pub mod provenance;
mod rates;
mod readers;
mod reaper;
mod registry;
mod relays;
mod remote;
mod runners;
mod runs;
mod schedule;
mod seal_key;
mod secrets;
mod settings;
mod start;
mod stopped;
mod submit;
mod tell;
mod timing;
mod trace;
mod turns;
mod watch;
mod watchdog;
mod webhooks;
mod worker_home;
mod worker_settings;

pub use danube_source::tether_main_if_asked;
pub use log_level::{LogControl, MaskInLog, ReadLevel};
pub use oidc::{Examined, ask_provider, examine as examine_provider};
pub use registry::ask_registry;
pub use settings::{
    ArtifactSettings, BlueprintSettings, ForgeSettings, HealMode, HealthSettings, OidcSettings,
    Profiling, RegistryAddress, RegistrySettings, Settings, StartedRegistry, StepSettings,
    WatchSettings, WebhookSettings,
};
pub use start::{StartError, run};
pub use stopped::StoppedDirectory;
pub use trace::Exports;
pub use worker_home::WorkerHome;

/// The API's description (OpenAPI 3.1, JSON), for the docs and for tests.
#[must_use]
pub fn openapi() -> String {
    http::document()
}

/// Where browsers come back to from an OpenID provider, with these settings.
#[must_use]
pub fn redirect_uri(settings: &Settings) -> String {
    http::back_of(settings)
}

/// Every route of the server with its method and the right that it asks for, for the docs
/// and for tests.
#[must_use]
pub fn rights() -> Vec<(&'static str, &'static str, String)> {
    http::rights()
}
