//! Label values and field values that are known beforehand, as types.

use danube_telemetry::{LabelEnum, label_enum};

label_enum! {
    /// Final state of a job.
    pub enum JobResult { Success = "success", Failure = "failure", Timeout = "timeout", Cancelled = "cancelled" }
}

label_enum! {
    /// What an SQL statement does. Transactions and settings aren't counted.
    pub enum DbOperation { Select = "select", Insert = "insert", Update = "update", Delete = "delete" }
}

label_enum! {
    /// What is asked of Redis.
    pub enum RedisCommand {
        /// A connection, with its login.
        Connect = "connect",
        /// The streams and their groups are made.
        Prepare = "prepare",
        /// A stream is listed.
        List = "list",
        /// Jobs are added.
        Add = "add",
        /// Jobs are removed.
        Remove = "remove",
        /// It is looked whether all is still there.
        Check = "check",
        /// A worker reads; how long it waits isn't timed.
        Read = "read",
        /// A worker takes over what a dead one left, or keeps its own.
        Claim = "claim",
    }
}

label_enum! {
    /// Whether something worked.
    pub enum Outcome { Success = "success", Error = "error" }
}

label_enum! {
    /// Whether someone got in.
    pub enum LoginResult { Success = "success", Failure = "failure" }
}

label_enum! {
    /// What someone was denied.
    pub enum DeniedResource { Pipeline = "pipeline", Secret = "secret", Artifact = "artifact" }
}

label_enum! {
    /// Why a follower of a job log was sent away.
    pub enum SseDropReason {
        /// It took no byte for too long.
        Slow = "slow",
        /// More followers than are allowed.
        Limit = "limit",
        /// The log couldn't be read on, or the network failed. One that leaves by
        /// itself isn't counted.
        Error = "error",
    }
}

label_enum! {
    /// Why the level of the server's log changed.
    pub enum LogLevelReason {
        /// Somebody asked for it.
        Api = "api",
        /// The settings were read again.
        Hangup = "hangup",
        /// The time of the level before was up.
        Expired = "expired",
        /// The blueprint says another, or none any more.
        Blueprint = "blueprint",
    }
}

label_enum! {
    /// What was profiled.
    pub enum ProfileKind {
        /// Who uses the processor.
        Cpu = "cpu",
        /// Who holds the memory.
        Heap = "heap",
    }
}

label_enum! {
    /// What fills the disk.
    pub enum DiskKind { Logs = "logs", Artifacts = "artifacts", Registry = "registry", Database = "database" }
}

label_enum! {
    /// A health check.
    pub enum Check {
        Database = "database",
        K8s = "k8s",
        Dex = "dex",
        Registry = "registry",
        BlueprintSync = "blueprint_sync",
        Queue = "queue",
        Disk = "disk",
        Workers = "workers",
        OtlpExport = "otlp_export",
        Webhooks = "webhooks",
        Forges = "forges",
        LogPipeline = "log_pipeline",
        Git = "git",
    }
}

label_enum! {
    /// How an attempt to heal a failed part ended.
    pub enum HealResult {
        Success = "success",
        Error = "error",
        /// Nothing was done: `health.heal` only wants to see what would be.
        DryRun = "dry_run",
    }
}

label_enum! {
    /// Why the reaper looked for what has expired.
    pub enum ReapReason {
        /// The server began.
        Start = "start",
        /// For what the limits of size and disk don't allow.
        Hourly = "hourly",
        /// At 03:00 UTC.
        Daily = "daily",
        /// The disk fills.
        Disk = "disk",
        /// Somebody asked.
        Asked = "asked",
    }
}

label_enum! {
    /// Result of a health check.
    pub enum HealthStatus {
        Ok = "ok",
        Degraded = "degraded",
        Stale = "stale",
        Failed = "failed",
        /// Not configured.
        Disabled = "disabled",
    }
}

label_enum! {
    /// A loop of this process that its watchdog looks at.
    pub enum LoopName {
        /// Hands out jobs.
        Scheduler = "scheduler",
        /// Writes the database.
        StoreWriter = "store_writer",
        /// Accepts connections.
        Http = "http",
        /// Speaks for a worker to its master.
        Link = "link",
        /// Looks at the others; who accepts connections looks at it.
        Watchdog = "watchdog",
    }
}

label_enum! {
    /// What was lost on the way out.
    pub enum DroppedSignal { Log = "log", Metric = "metric", Span = "span" }
}

label_enum! {
    /// Whether it did, as a label.
    pub enum Truth { True = "true", False = "false" }
}

label_enum! {
    /// Final state of a playbook job, in its own API's words.
    pub enum PlaybookResult { Success = "success", Failed = "failed", Cancelled = "cancelled" }
}

label_enum! {
    /// Type of a playbook's source.
    pub enum SourceType {
        /// A playbook in a git repository.
        Playbook = "playbook",
        /// A role in a git repository.
        Role = "role",
        /// An archive in a Nexus.
        Nexus = "nexus",
        /// An archive at any address.
        Archive = "archive",
        /// It came with the request.
        Inline = "inline",
        /// A directory of the worker's machine.
        Local = "local",
    }
}

impl SourceType {
    /// The type with this name; none for what isn't a playbook's.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [
            Self::Playbook,
            Self::Role,
            Self::Nexus,
            Self::Archive,
            Self::Inline,
            Self::Local,
        ];
        all.into_iter().find(|it| it.as_str() == name)
    }
}

label_enum! {
    /// A call of the Kubernetes API.
    pub enum K8sOperation { CreatePod = "create_pod", DeletePod = "delete_pod", Exec = "exec" }
}

label_enum! {
    /// What a blueprint change concerns.
    pub enum BlueprintChange { Pipeline = "pipeline", User = "user", Team = "team" }
}

label_enum! {
    /// Where a pipeline run is, in the words of the OpenTelemetry conventions.
    pub enum RunState {
        /// It waits, or its worker prepares its place.
        Pending = "pending",
        /// Its steps run.
        Executing = "executing",
        /// Its steps have ended; what they left is cleared away and reported.
        Finalizing = "finalizing",
    }
}

label_enum! {
    /// How a pipeline run ended, in the words of the OpenTelemetry conventions.
    pub enum RunResult {
        Success = "success",
        /// A step, or the source it needed, failed.
        Failure = "failure",
        Timeout = "timeout",
        Cancellation = "cancellation",
        /// The system's own fault, not the job's.
        Error = "error",
        Skip = "skip",
    }
}

label_enum! {
    /// What went wrong in a pipeline run: the reasons of failure, and the time limit.
    pub enum RunError {
        StepFailed = "step_failed",
        SourceFailed = "source_failed",
        SetupFailed = "setup_failed",
        LogFailed = "log_failed",
        WorkerLost = "worker_lost",
        Timeout = "timeout",
    }
}

label_enum! {
    /// What a worker does, in the words of the OpenTelemetry conventions.
    pub enum WorkerState {
        /// It runs nothing and could.
        Available = "available",
        /// It runs a job at least.
        Busy = "busy",
        /// It takes no work any more.
        Offline = "offline",
    }
}

/// An error of the system itself, with the part that had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemError {
    /// A request found the database unusable, or its disk full.
    Database,
    /// A request ended in a defect of ours.
    Internal,
    /// The scheduler found the database unusable.
    SchedulerDatabase,
    /// The worker couldn't take a job although it had room.
    WorkerRefused,
    /// The worker of a job was lost.
    WorkerLost,
    /// The workspace or the sandbox of a job couldn't be made.
    SetupFailed,
    /// A job's output couldn't be written.
    LogWriteFailed,
    /// A workspace couldn't be removed whole.
    WorkspaceLeft,
}

impl SystemError {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Database,
        Self::Internal,
        Self::SchedulerDatabase,
        Self::WorkerRefused,
        Self::WorkerLost,
        Self::SetupFailed,
        Self::LogWriteFailed,
        Self::WorkspaceLeft,
    ];

    /// `cicd.system.component` and `error.type`.
    pub const fn labels(self) -> [&'static str; 2] {
        match self {
            Self::Database => ["controller", "database"],
            Self::Internal => ["controller", "internal"],
            Self::SchedulerDatabase => ["scheduler", "database"],
            Self::WorkerRefused => ["scheduler", "worker_refused"],
            Self::WorkerLost => ["agent", "worker_lost"],
            Self::SetupFailed => ["agent", "setup_failed"],
            Self::LogWriteFailed => ["agent", "log_write_failed"],
            Self::WorkspaceLeft => ["agent", "workspace_left"],
        }
    }
}
