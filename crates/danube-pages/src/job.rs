//! One job, whole: state and cause, steps, log and trace.

use askama::Template;
use danube_api::{HistoryView, JobView};
use serde::Serialize;

use crate::{Page, Shell, Tab};

/// One job.
#[derive(Debug, Clone, Serialize)]
pub struct JobPage {
    /// The job with its steps.
    pub job: JobView,
    /// What happened to it.
    pub history: HistoryView,
    /// The end of its log, without escape codes.
    pub log: String,
    /// Bytes of the log before that.
    pub skipped_bytes: u64,
    /// What the viewer may do with it.
    pub may: JobMay,
}

/// What a viewer may do with a job as it stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct JobMay {
    /// Stop it.
    pub cancel: bool,
    /// Run it again.
    pub retry: bool,
    /// Run it again with its pipeline's secrets.
    pub approve: bool,
}

#[derive(Template)]
#[template(path = "job.html")]
struct Html<'a> {
    shell: &'a Shell,
    page: &'a JobPage,
}

impl JobPage {
    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.job
            .state()
            .is_some_and(danube_model::State::is_terminal)
    }
}

impl Page for JobPage {
    fn title(&self) -> String {
        let JobView {
            pipeline,
            short_id,
            status,
            ..
        } = &self.job;
        format!("{pipeline} {short_id}: {status}")
    }

    fn tab(&self) -> Option<Tab> {
        Some(Tab::Jobs)
    }

    fn html(&self, shell: &Shell) -> askama::Result<String> {
        Html { shell, page: self }.render()
    }

    fn live(&self) -> Option<String> {
        (!self.has_ended()).then(|| format!("/live?job={}", self.job.id))
    }
}
