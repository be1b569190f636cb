//! Label values and field values that are known beforehand, as types.

use danube_telemetry::label_enum;

label_enum! {
    /// Final state of a job.
    pub enum JobResult { Success = "success", Failure = "failure", Timeout = "timeout", Cancelled = "cancelled" }
}

label_enum! {
    /// What an SQL statement does; anything else counts as what it comes closest to.
    pub enum DbOperation { Select = "select", Insert = "insert", Update = "update", Delete = "delete" }
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
        /// It stopped reading.
        Slow = "slow",
        /// More followers than are allowed.
        Limit = "limit",
        /// Its connection broke while something was being sent.
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
    /// A call of the Kubernetes API.
    pub enum K8sOperation { CreatePod = "create_pod", DeletePod = "delete_pod", Exec = "exec" }
}

label_enum! {
    /// What a blueprint change concerns.
    pub enum BlueprintChange { Pipeline = "pipeline", User = "user", Team = "team" }
}
