//! The attempts at a job: who ran each, from when to when, and how it ended.

use danube_api::HistoryView;
use danube_model::Timestamp;
use serde::Serialize;

/// An attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Which, from 1.
    pub number: u32,
    /// The worker that took it.
    pub worker: String,
    /// When it was taken.
    pub began: Timestamp,
    /// When it ended; none while it goes on.
    pub ended: Option<Timestamp>,
    /// How it ended, in a word or two; empty while it goes on.
    pub outcome: String,
    /// More of that.
    pub detail: Option<String>,
}

/// What the job's moves say of its attempts, the first attempt first.
#[must_use]
pub fn attempts(history: &HistoryView) -> Vec<Attempt> {
    let mut all: Vec<Attempt> = Vec::new();
    for it in &history.transitions {
        if it.cause == "claimed" {
            all.push(Attempt {
                number: it.attempt,
                worker: it.by.clone(),
                began: it.at,
                ended: None,
                outcome: String::new(),
                detail: None,
            });
            continue;
        }
        let Some(last) = all.last_mut() else { continue };
        let goes_on = matches!(&*it.to, "scheduling" | "running");
        if goes_on || last.ended.is_some() || last.number != it.attempt {
            continue;
        }
        last.ended = Some(it.at);
        // What it became says how it ended, but for a job that waits again.
        last.outcome = match &*it.cause {
            "lease_lost" => "worker lost".to_owned(),
            "handed_back" => "handed back".to_owned(),
            _ => it.to.clone(),
        };
        last.detail = it.detail.clone();
    }
    all
}

#[cfg(test)]
mod tests {
    use danube_api::TransitionView;

    use super::*;

    fn moved(seconds: i64, cause: &str, to: &str, (attempt, by): (u32, &str)) -> TransitionView {
        TransitionView {
            at: Timestamp::from_millis(seconds * 1_000),
            from: None,
            to: to.to_owned(),
            cause: cause.to_owned(),
            attempt,
            by: by.to_owned(),
            detail: (cause == "failed").then(|| "step_failed".to_owned()),
        }
    }

    #[test]
    fn each_attempt_has_its_worker_and_its_end() {
        let history = HistoryView {
            transitions: vec![
                moved(0, "submitted", "pending", (0, "me")),
                moved(1, "claimed", "scheduling", (1, "w1")),
                moved(2, "started", "running", (1, "w1")),
                moved(5, "lease_lost", "pending", (1, "danube")),
                moved(7, "claimed", "scheduling", (2, "w2")),
                moved(8, "started", "running", (2, "w2")),
                moved(9, "failed", "failure", (2, "w2")),
            ],
        };
        let all = attempts(&history);
        let said: Vec<_> = all
            .iter()
            .map(|it| (it.number, &*it.worker, &*it.outcome, it.detail.as_deref()))
            .collect();
        assert_eq!(
            said,
            [
                (1, "w1", "worker lost", None),
                (2, "w2", "failure", Some("step_failed")),
            ]
        );
        assert_eq!(all[0].ended, Some(Timestamp::from_millis(5_000)));
        let open = HistoryView {
            transitions: history.transitions[..3].to_vec(),
        };
        assert_eq!(attempts(&open)[0].ended, None);
        let none = HistoryView {
            transitions: history.transitions[..1].to_vec(),
        };
        assert!(attempts(&none).is_empty());
    }
}
