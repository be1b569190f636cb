//! What the operator decided, checked: it can't be wrong any more.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use danube_api::ConfigView;
use danube_executor::Nursery;
use danube_joblog::Retention;
use danube_model::Queues;
use danube_outgoing::Rule;
use danube_queue::Address;
use danube_redact::Rules;
use danube_signals::Check;
use danube_telemetry::trace::sampling::Sampling;
use danube_worker::Galaxy;

/// Everything that the master is told from outside. `danube`'s configuration
/// table makes it from flags, environment and file; the defaults stand there.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where everything is kept that must survive.
    pub data_dir: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// The operator knows that keys travel in clear on a public address.
    pub insecure_http: bool,
    /// The address under which others reach the server, for links.
    pub public_url: Option<String>,
    /// Where the pipeline files are.
    pub pipelines_dir: PathBuf,
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
    /// How long a client may take no byte, or its machine be silent, before its
    /// connection is closed.
    pub client_silence: Duration,
    /// How long a worker may be silent before its jobs are given to others.
    pub lease: Duration,
    /// The queues that jobs may wait in.
    pub queues: Queues,
    /// How many jobs may wait, all together.
    pub pending_max: u64,
    /// The Redis that carries what waits to workers elsewhere, if there is one.
    pub queue_url: Option<Address>,
    /// How long running jobs may go on after SIGTERM, and how long a job's
    /// processes have between TERM and KILL.
    pub grace: Duration,
    /// Jobs that run at once in this process; 0 for a master without a worker.
    pub jobs_at_once: usize,
    /// What the steps may use and who they are.
    pub steps: StepSettings,
    /// Bytes of a log's head, which is always kept.
    pub log_head_bytes: u64,
    /// Bytes of a log in all.
    pub log_total_bytes: u64,
    /// Which logs of ended jobs are kept.
    pub retention: Retention,
    /// What jobs may leave, and how long it is kept.
    pub artifacts: ArtifactSettings,
    /// The blueprint that is followed, if one is.
    pub blueprint: Option<BlueprintSettings>,
    /// The registry that images of jobs lie in.
    pub registry: RegistrySettings,
    /// The provider at which users sign in.
    pub oidc: Option<OidcSettings>,
    /// A directory that declares users and teams.
    pub blueprint_dir: Option<PathBuf>,
    /// Share of the disk in percent that is to stay free, for which logs go before their
    /// time; none for none.
    pub disk_free_percent: Option<u32>,
    /// Directories from which `file://` repositories may be cloned. On loopback
    /// the admin key may use any.
    pub allow_paths: Vec<PathBuf>,
    /// Networks and hosts that sources of playbooks may come from although they aren't
    /// public.
    pub sources_private: Vec<Rule>,
    /// Whether what a playbook's source requires is installed, and from where.
    pub galaxy: Option<Galaxy>,
    /// What is taken out of job logs beside the jobs' own values.
    pub rules: Rules,
    /// How the server looks after itself.
    pub health: HealthSettings,
    /// How the server watches its own metrics.
    pub watch: WatchSettings,
    /// How webhooks are sent.
    pub webhooks: WebhookSettings,
    /// How forges are told how jobs stand.
    pub forges: ForgeSettings,
    /// Make the demo's repository and run its pipeline.
    pub demo: bool,
    /// Show metrics at `/metrics`.
    pub metrics_enabled: bool,
    /// Whether administrators may profile the server.
    pub profiling: Profiling,
    /// Profile the whole run into files in the data directory.
    pub profile_run: bool,
    /// Which traces of jobs go to the collector, where there is one.
    pub sampling: Sampling,
    /// Keys that flags, environment or file say something of: the blueprint's settings don't
    /// change those.
    pub said: BTreeSet<&'static str>,
    /// All options as they were at the start, for readers, without secrets.
    pub shown: ConfigView,
}

/// What jobs may leave, and how long it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtifactSettings {
    /// Bytes of one artifact.
    pub file_bytes_max: u64,
    /// Bytes of all artifacts of a job.
    pub job_bytes_max: u64,
    /// Days that they are kept; none for ever.
    pub days: Option<u32>,
    /// Bytes of those of all jobs; none for any.
    pub total_bytes_max: Option<u64>,
}

/// The repository that declares pipelines, users, teams and settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlueprintSettings {
    /// Where it is; holds no password.
    pub url: String,
    /// The branch that is followed.
    pub branch: String,
    /// How often it is looked at.
    pub interval: Duration,
    /// The name of the credential that it is fetched with.
    pub credential: Option<String>,
}

/// The registry that images of jobs lie in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Where somebody else's is.
    pub url: Option<RegistryAddress>,
    /// How to start one, which is then at `url`.
    pub start: Option<StartedRegistry>,
    /// Days that an image is kept which nobody pushes or pulls; none for ever.
    pub images_days: Option<u32>,
}

/// A registry that the server starts itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartedRegistry {
    /// The program: Debian's `docker-registry`, or `registry` elsewhere.
    pub program: String,
    /// Where it listens, on loopback: it asks nobody for a login.
    pub listen: SocketAddr,
}

/// Where a registry is, and who we are there.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryAddress {
    /// Without a login and without `/` at its end.
    pub url: String,
    /// Value of the header `Authorization`; never shown.
    pub authorization: Option<String>,
}

impl fmt::Debug for RegistryAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// The OpenID provider at which users sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcSettings {
    /// Its address, to the letter as it calls itself.
    pub issuer: String,
    /// What it calls this server.
    pub client_id: String,
    /// The file with what this server shows it.
    pub client_secret_file: Option<PathBuf>,
    /// What it is asked for.
    pub scopes: String,
    /// How far the clocks may be apart.
    pub leeway: Duration,
    /// Networks and hosts that it may be in although they aren't public.
    pub allow_private: Vec<Rule>,
}

/// Whether administrators may profile the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profiling {
    /// Where nobody outside this machine reaches it.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// What every step gets.
#[derive(Debug, Clone, PartialEq)]
pub struct StepSettings {
    /// The socket of whoever starts the steps, where this process doesn't do it itself.
    pub nursery_socket: Option<PathBuf>,
    /// `PATH` of every step.
    pub path: String,
    /// First of the uids that jobs run under, one for each job at once, when
    /// the master is root.
    pub uid_base: u32,
    /// Whether steps reach the network.
    pub network: bool,
    /// Run jobs even where the kernel allows no isolation at all.
    pub allow_unisolated: bool,
    /// Memory of all processes of a step together.
    pub memory_bytes: Option<u64>,
    /// Cores of a step.
    pub cpu_cores: Option<f64>,
    /// Processes and threads of a step.
    pub processes: Option<u64>,
    /// Open files of one process.
    pub open_files: Option<u64>,
}

/// How the server looks after itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSettings {
    /// How often all checks run; the cheap ones run every two seconds beside that.
    pub interval: Duration,
    /// What is done about trouble.
    pub heal: HealMode,
    /// Parts that nobody but the operator touches.
    pub hands_off: Vec<Check>,
    /// Parts whose failure doesn't make the master unready.
    pub not_gating: Vec<Check>,
    /// Free share of the disk under which its check is degraded.
    pub disk_free_percent: u32,
}

/// What is done about trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealMode {
    /// It is healed.
    Auto,
    /// It is told what would be tried.
    DryRun,
    /// Nothing.
    Off,
}

impl HealMode {
    /// As the setting says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::DryRun => "dry_run",
            Self::Off => "off",
        }
    }
}

impl StepSettings {
    /// Who starts the steps.
    #[must_use]
    pub fn nursery(&self) -> Nursery {
        let socket = self.nursery_socket.clone();
        socket.map_or_else(Nursery::default, Nursery::Behind)
    }
}

/// How the server watches its own metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchSettings {
    /// How often metrics are sampled and alerts are looked at.
    pub interval: Duration,
    /// Workers that there should be.
    pub workers_expected: u32,
    /// Address of the Alertmanager that is told of alerts.
    pub alertmanager_url: Option<String>,
}

/// How forges are called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForgeSettings {
    /// Networks and hosts that a forge may be in although they aren't public.
    pub allow_private: Vec<Rule>,
    /// Also over plain HTTP.
    pub allow_http: bool,
}

/// How webhooks are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Networks and hosts that may be called although they aren't public.
    pub allow_private: Vec<Rule>,
    /// Also over plain HTTP.
    pub allow_http: bool,
    /// Longest pause before the second attempt; later ones grow from it.
    pub retry: Duration,
    /// Days that a settled one is kept with its attempts.
    pub days: u32,
}
