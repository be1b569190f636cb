//! What `danube signals export` writes, made from the declarations alone: the reference
//! page, and files for the programs that read what Danube tells.
//!
//! Every file is a pure function of the declarations and [`ExportOptions`], so that the
//! committed ones can be compared with what would be written.

mod alertmanager;
mod cloudwatch;
mod fluentd;
mod grafana;
mod kubernetes;
mod loki;
mod prometheus;
mod reference;
mod rules_test;
mod text;
mod witness;

use crate::alerts::{Alert, Expected, alerts};

/// A file that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportFile {
    /// From the directory that is written to, with `/`.
    pub path: String,
    /// All of it.
    pub text: String,
}

impl ExportFile {
    fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }
}

/// What only the operator knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExportOptions {
    /// What alerts compare with.
    pub expected: Expected,
    /// Address under which the pages of `docs/runbooks` are served, for `runbook_url`.
    /// Without one the annotation is the page's path in the repository.
    pub runbooks: Option<String>,
}

impl ExportOptions {
    fn alerts(&self) -> Vec<Alert> {
        alerts(self.expected)
    }

    /// Where an alert's page is.
    fn runbook_url(&self, alert: &Alert) -> String {
        match &self.runbooks {
            Some(address) => format!("{}/{}.md", address.trim_end_matches('/'), alert.name),
            None => alert.runbook(),
        }
    }
}

/// All files, in the order of their paths.
pub fn export(options: &ExportOptions) -> Vec<ExportFile> {
    let mut files = vec![
        ExportFile::new("docs/signals.md", reference::page(options)),
        alertmanager::file(),
        fluentd::file(),
        kubernetes::file(),
    ];
    files.extend(prometheus::files(options));
    files.extend(grafana::files(options));
    files.extend(loki::files());
    files.extend(cloudwatch::files());
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}
