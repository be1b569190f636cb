//! The sections of the file.

/// A section of the file and what it is about.
pub(crate) const SECTIONS: &[(&str, &str)] = &[
    ("server", "Where the server listens and what it keeps"),
    ("pipelines", "Pipelines that can be submitted by name"),
    (
        "blueprint",
        "What declares pipelines, users, teams and settings: a git repository, or a directory",
    ),
    ("queue", "How jobs are handed out"),
    ("steps", "What every step gets, and what it may use"),
    ("log", "How much of a job's log is kept"),
    ("artifacts", "How much the files may be that jobs leave"),
    ("retention", "How long things are kept"),
    ("registry", "Where images of jobs lie"),
    ("health", "How the server looks after itself"),
    ("redaction", "What is taken out of job logs beside secrets"),
    ("sources", "Where jobs may get their sources from"),
    ("webhooks", "How the ends of jobs are told"),
    ("forges", "Where forges are told how jobs stand"),
    ("oidc", "Where users sign in"),
    (
        "observability",
        "The server's own log, its metrics and what watches them, and where all of it goes",
    ),
];
