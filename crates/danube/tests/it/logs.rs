//! The job log over HTTP: ranges, derived texts, live, and what is never in it.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is tests; clippy sees only the functions marked so"
)]

mod follow;
mod gone;
mod late;
mod lines;
mod ranges;
mod rules;
pub(crate) mod secrets;

use crate::master::{Answer, Master};

/// GET of the log with a `Range`.
fn range(master: &Master, job: &str, range: &str) -> Answer {
    request(master, "GET", job, Some(range))
}

fn request(master: &Master, method: &str, job: &str, range: Option<&str>) -> Answer {
    let key = format!("Bearer {}", master.key);
    let mut headers = vec![("authorization", key.as_str())];
    headers.extend(range.map(|it| ("range", it)));
    master.request(method, &format!("/api/v1/jobs/{job}/logs"), &headers, b"")
}

/// The log as text, by this query.
#[track_caller]
fn text(master: &Master, job: &str, query: &str) -> String {
    let answer = master.get(&format!("/api/v1/jobs/{job}/logs?{query}"));
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    answer.text()
}
