//! The list of jobs: what runs now and what ran.

use askama::Template;
use danube_api::JobView;
use serde::Serialize;

use crate::words;
use crate::{Page, Shell, Tab};

/// Jobs, newest first.
#[derive(Debug, Clone, Serialize)]
pub struct JobsPage {
    /// Which of them, as the address says.
    pub filter: JobsFilter,
    /// Those that failed, newest first, where they were asked for before all others.
    pub failed: Vec<JobView>,
    /// The others, newest first.
    pub jobs: Vec<JobView>,
    /// Where the next page begins; none on the last one.
    pub next_cursor: Option<String>,
    /// Whether this is the first page.
    pub is_first: bool,
    /// How many wait and run; none for who doesn't see all jobs.
    pub load: Option<Load>,
}

/// Which jobs a list shows. It lives in the address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JobsFilter {
    /// The status, or several with commas between them; empty for any.
    pub status: String,
    /// The pipeline; empty for any.
    pub pipeline: String,
    /// Whether those that failed come first.
    pub failed_first: bool,
}

/// How much there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Jobs that wait, in all queues.
    pub waiting: u64,
    /// Jobs that run or are about to.
    pub running: u64,
}

/// What the choice of a status offers: its value in the address, and its name.
const STATUSES: [(&str, &str); 7] = [
    ("", "any status"),
    ("pending,scheduling,running", "active"),
    ("pending", "waiting"),
    ("running", "running"),
    ("success", "success"),
    ("failure,timeout", "failed"),
    ("cancelled", "cancelled"),
];

impl JobsFilter {
    /// Whether it shows all jobs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As it stands in the address, without a page's cursor.
    #[must_use]
    pub fn query(&self) -> String {
        let mut query = String::new();
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                let before = if query.is_empty() { '?' } else { '&' };
                query.push(before);
                query.push_str(name);
                query.push('=');
                query.push_str(&words::in_query(value));
            }
        };
        add("status", &self.status);
        add("pipeline", &self.pipeline);
        add("failed_first", if self.failed_first { "1" } else { "" });
        query
    }

    fn statuses(&self) -> Vec<(&str, &str)> {
        let mut all = STATUSES.to_vec();
        if !STATUSES.iter().any(|(value, _)| *value == self.status) {
            all.push((&self.status, &self.status));
        }
        all
    }
}

impl JobsPage {
    fn next(&self) -> Option<String> {
        let cursor = self.next_cursor.as_deref()?;
        let query = self.filter.query();
        let before = if query.is_empty() { '?' } else { '&' };
        Some(format!(
            "/{query}{before}cursor={}",
            words::in_query(cursor)
        ))
    }

    fn is_empty(&self) -> bool {
        self.failed.is_empty() && self.jobs.is_empty()
    }
}

#[derive(Template)]
#[template(path = "jobs.html")]
struct Html<'a> {
    shell: &'a Shell,
    page: &'a JobsPage,
}

impl Page for JobsPage {
    fn title(&self) -> String {
        "Jobs".to_owned()
    }

    fn tab(&self) -> Option<Tab> {
        Some(Tab::Jobs)
    }

    fn html(&self, shell: &Shell) -> askama::Result<String> {
        Html { shell, page: self }.render()
    }

    fn live(&self) -> Option<String> {
        Some("/live".to_owned()).filter(|_| self.is_first)
    }
}
