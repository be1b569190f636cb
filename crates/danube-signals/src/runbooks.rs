//! The alerts' pages, built in: whoever is woken has the program, not always the repository.

/// Takes the pages of these alerts in.
macro_rules! pages {
    ($($name:literal)*) => {
        /// Each alert's page, by the alert's name.
        pub(crate) static PAGES: &[(&str, &str)] = &[$((
            $name,
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/runbooks/", $name, ".md")),
        ),)*];
    };
}

pages! {
    "api_slow"
    "blueprint_stale"
    "database_unavailable"
    "db_lock_contention"
    "dex_restart"
    "disk_nearly_full"
    "health_check_failing"
    "job_failures"
    "job_timeouts"
    "k8s_unreachable"
    "master_down"
    "playbook_failures"
    "playbook_queue_long"
    "playbook_slow"
    "registry_restart"
    "sse_clients_dropped"
    "webhooks_failing"
    "workers_missing"
}
