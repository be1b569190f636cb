//! One job, whole: state and cause, steps, log and trace.

use askama::Template;
use danube_api::{FailureView, HistoryView, JobView, StepView};
use serde::Serialize;

use crate::attempts::{Attempt, attempts};
use crate::diff::{Differences, LastSuccess};
use crate::first_error::ErrorLine;
use crate::grid::Grid;
use crate::log::LogView;
use crate::{Page, Shell, Tab};

/// One job.
#[derive(Debug, Clone, Serialize)]
pub struct JobPage {
    /// The job with its steps.
    pub job: JobView,
    /// What happened to it.
    pub history: HistoryView,
    /// Its log.
    pub log: LogView,
    /// What the viewer may do with it.
    pub may: JobMay,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// What each task of its playbook did on each host, if it is one.
    pub grid: Option<Grid>,
}

/// Why a job failed, as far as it can be told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The line of the failed step's output that most probably says it.
    pub error: Option<ErrorLine>,
    /// The last success of its pipeline before it, or of the same playbook.
    pub last_success: Option<LastSuccess>,
    /// What was different from then.
    pub differences: Differences,
    /// Jobs among which the last success was looked for.
    pub jobs_looked_at: usize,
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

/// The step of a job that failed first.
#[must_use]
pub fn failed_step(job: &JobView) -> Option<&StepView> {
    let mut steps = job.steps.iter().flatten();
    steps.find(|it| matches!(&*it.status, "failure" | "timeout"))
}

impl JobPage {
    /// The step that failed.
    #[must_use]
    pub fn failed_step(&self) -> Option<&StepView> {
        failed_step(&self.job)
    }

    /// What went wrong first in its playbook.
    fn first_failure(&self) -> Option<&FailureView> {
        self.job.progress.as_ref()?.first_failure.as_ref()
    }

    /// Its attempts, where there was more than one.
    fn attempts(&self) -> Option<Vec<Attempt>> {
        Some(attempts(&self.history)).filter(|it| it.len() > 1)
    }

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

#[cfg(test)]
mod tests {
    use danube_model::Timestamp;
    use danube_model::playbook::{HostStatus, RunEvent, RunRecord};
    use serde_json::{Value, json};

    use super::*;
    use crate::first_error::Why;

    fn page(change: &Value) -> JobPage {
        let mut job = json!({
            "id": "0190a1b2", "short_id": "vnftrga6", "kind": "pipeline", "pipeline": "build",
            "status": "failure", "trigger_type": "api", "trigger_ref": null,
            "submitted_by": "me", "queue": "default", "attempt": 1,
            "created_at": "2026-01-10T12:00:00Z", "started_at": null, "finished_at": null,
            "duration_seconds": 1.0, "exit_code": 3, "reason": null,
            "cancel_requested": false, "worker_id": "w1", "trace_id": "ab", "log_bytes": 0,
            "log_complete": true,
        });
        for (key, value) in change.as_object().unwrap() {
            job[key] = value.clone();
        }
        JobPage {
            job: serde_json::from_value(job).unwrap(),
            history: HistoryView {
                transitions: Vec::new(),
            },
            log: LogView {
                job: "0190a1b2".to_owned(),
                short_id: "abcd1234".to_owned(),
                deleted_at: None,
                window: crate::log::LogWindow::default(),
                line: None,
                times: crate::log::Times::Absolute,
                find: None,
            },
            may: JobMay::default(),
            failure: None,
            grid: None,
        }
    }

    fn html(page: &JobPage) -> String {
        let shell = Shell {
            firing: 0,
            base: "/ci".to_owned(),
            now: Timestamp::parse("2026-01-10T13:00:00Z").unwrap(),
            viewer: None,
            notice: None,
        };
        let text = page.html(&shell).unwrap();
        for never in ["<script>", "<i>", "style=", "onclick"] {
            assert!(!text.contains(never), "{never} in {text}");
        }
        text
    }

    fn says(page: &JobPage, all: &[&str]) {
        let text = html(page);
        for said in all {
            assert!(text.contains(said), "{said} in {text}");
        }
    }

    #[test]
    fn a_failed_job_says_why_on_its_first_screen() {
        let step = json!({"name": "<i>test", "status": "failure", "exit_code": 3,
            "started_at": null, "finished_at": null, "log_start": 40, "log_end": 90,
            "cpu_seconds": null, "max_rss_bytes": null});
        let mut page = page(&json!({ "steps": [step] }));
        page.failure = Some(Failure {
            error: Some(ErrorLine {
                offset: 77,
                text: "error: <script>".to_owned(),
                why: Why::Error,
            }),
            last_success: Some(LastSuccess {
                id: "0190aaaa".to_owned(),
                short_id: "a".to_owned(),
                finished_at: Timestamp::parse("2026-01-10T10:00:00Z"),
            }),
            differences: Differences {
                said: vec!["Commit <i>a instead of b.".to_owned()],
                left_out: 2,
            },
            jobs_looked_at: 9,
        });
        says(
            &page,
            &[
                "Step <strong class=\"name\">&#60;i&#62;test</strong> failed with exit code 3",
                "href=\"/ci/jobs/0190a1b2/log?offset=40\">its log</a>",
                "href=\"/ci/jobs/0190a1b2/log?offset=77\">error: &#60;script&#62;</a>",
                "href=\"/ci/jobs/0190aaaa\">last success</a>",
                ">3 h ago</time>",
                "Commit &#60;i&#62;a instead of b.",
                "2 more differences",
                "href=\"/ci/jobs/0190a1b2/trace\">trace</a>",
            ],
        );
        let text = html(&page);
        assert!(text.find("job-failure").unwrap() < text.find("job-facts").unwrap());
        assert!(!text.contains("job-attempts") && !text.contains("job-grid"));
    }

    #[test]
    fn where_nothing_differs_or_nothing_succeeded_that_is_said() {
        let mut page = page(&json!({}));
        page.failure = Some(Failure::default());
        says(&page, &["It is the first job like it."]);
        let jobs_looked_at = 1;
        page.failure = Some(Failure {
            jobs_looked_at,
            ..Failure::default()
        });
        says(&page, &["The job before it wasn't a success either."]);
        page.failure = Some(Failure {
            last_success: Some(LastSuccess {
                id: "a".to_owned(),
                short_id: "a".to_owned(),
                finished_at: None,
            }),
            ..Failure::default()
        });
        says(&page, &["Nothing that the server knows of."]);
    }

    #[test]
    fn a_playbook_shows_its_first_failure_and_a_cell_for_each_task_and_host() {
        let progress = json!({"current_play": null, "current_task": null, "plays": 1, "tasks": 1,
            "hosts": {"ok": 0, "changed": 0, "failed": 0, "unreachable": 1, "skipped": 0},
            "first_failure": {"host": "web<i>", "task": "ping", "status": "unreachable",
                "message": "no <i>route"}});
        let mut page = page(&json!({"kind": "playbook", "progress": progress}));
        page.failure = Some(Failure::default());
        let result = |host: &str, status| RunEvent::HostResult {
            task: 0,
            host: host.to_owned(),
            status,
            name: None,
            message: (status == HostStatus::Unreachable).then(|| "no <i>route".to_owned()),
        };
        let events = [
            RunEvent::PlayStarted {
                play: "all<i>".to_owned(),
            },
            RunEvent::TaskStarted {
                task: "ping".to_owned(),
                path: Some("site.yml:3".to_owned()),
                handler: false,
            },
            result("web<i>", HostStatus::Unreachable),
            result("db", HostStatus::Ok),
        ];
        let at = Timestamp::from_millis(0);
        let records: Vec<RunRecord> = (0..)
            .zip(events)
            .map(|(n, event)| RunRecord { n, at, event })
            .collect();
        page.grid = Some(Grid::new(&records, true));
        says(
            &page,
            &[
                "couldn't reach <strong class=\"name\">web&#60;i&#62;</strong>",
                "<th scope=\"row\" title=\"site.yml:3\">",
                "<th scope=\"col\"><span class=\"name\">web&#60;i&#62;</span></th>",
                "<td class=\"unreachable\" title=\"unreachable\">",
                "<span class=\"unseen\">ok</span>",
                "<span class=\"message\">no &#60;i&#62;route</span>",
                "Play <span class=\"name\">all&#60;i&#62;</span>",
                "results are missing",
            ],
        );
    }

    #[test]
    fn attempts_are_listed_where_there_was_more_than_one() {
        let mut page = page(&json!({"attempt": 2}));
        let moved = |seconds: i64, cause: &str, to: &str, attempt| danube_api::TransitionView {
            at: Timestamp::from_millis(seconds * 1_000),
            from: None,
            to: to.to_owned(),
            cause: cause.to_owned(),
            attempt,
            by: format!("worker-{attempt}"),
            detail: None,
        };
        page.history.transitions = vec![
            moved(0, "claimed", "scheduling", 1),
            moved(60, "lease_lost", "pending", 1),
            moved(90, "claimed", "scheduling", 2),
            moved(95, "failed", "failure", 2),
        ];
        says(
            &page,
            &["worker lost", "worker-1", "worker-2", "1 min", "5.0 s"],
        );
    }
}
