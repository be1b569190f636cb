//! The environment of a step: made here, never inherited.

use std::collections::BTreeMap;

use danube_model::spec::Step;

use crate::dispatch::Work;

/// What is the same for every step of a job.
pub(crate) struct Surroundings<'a> {
    /// The job.
    pub(crate) work: &'a Work,
    /// `PATH`.
    pub(crate) path: &'a str,
    /// `HOME`, inside the workspace.
    pub(crate) home: &'a str,
    /// Where the source is and the steps begin.
    pub(crate) workspace: &'a str,
    /// The server's address for the job's own calls; empty for none.
    pub(crate) server: &'a str,
    /// The commit that was cloned.
    pub(crate) commit: Option<&'a str>,
}

/// Variables that belong to Danube; a step's own `env` may still replace them,
/// as it may replace any.
pub(crate) fn environment(around: &Surroundings<'_>, step: Option<&Step>) -> Vec<(String, String)> {
    let Surroundings {
        work,
        path,
        home,
        workspace,
        server,
        commit,
    } = *around;
    let order = &work.order;
    let job = work.attempt.job.to_string();
    let mut all: BTreeMap<&str, &str> = BTreeMap::from([
        ("PATH", path),
        ("HOME", home),
        ("LANG", "C.UTF-8"),
        ("CI", "true"),
        ("DANUBE", "1"),
        ("DANUBE_JOB_ID", &job),
        ("DANUBE_PIPELINE", &order.pipeline.name),
        ("DANUBE_WORKSPACE", workspace),
        ("TRACEPARENT", &work.traceparent),
    ]);
    if let Some(git_ref) = &order.git_ref {
        all.insert("DANUBE_REF", git_ref);
    }
    if let Some(commit) = commit {
        all.insert("DANUBE_COMMIT", commit);
    }
    if !server.is_empty() {
        all.insert("DANUBE_SERVER", server);
    }
    let parameters: Vec<(String, &String)> = order
        .parameters
        .iter()
        .map(|(name, value)| (format!("DANUBE_PARAM_{name}"), value))
        .collect();
    for (name, value) in &parameters {
        all.insert(name, value);
    }
    for (name, value) in &order.pipeline.env {
        all.insert(name, value);
    }
    if let Some(step) = step {
        all.insert("DANUBE_STEP", &step.name);
        for (name, value) in &step.env {
            all.insert(name, value);
        }
    }
    all.into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
