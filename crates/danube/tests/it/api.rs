//! The HTTP API as a stranger finds it.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is tests; clippy sees only the functions marked so"
)]

mod accept;
mod answers;
mod jobs;
mod problems;
mod scrapes;
mod sync;

use serde_json::Value;

use crate::master::{Answer, Master};

/// Everything the master knows of its jobs, as text: equal before and after
/// means that nothing was changed.
#[track_caller]
fn all_jobs(master: &Master) -> String {
    let answer = master.get("/api/v1/jobs?limit=1000");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

/// The ids of a page, in its order.
#[track_caller]
fn ids(page: &Value) -> Vec<String> {
    let jobs = page["jobs"]
        .as_array()
        .unwrap_or_else(|| panic!("a page: {page}"));
    jobs.iter().map(crate::master::id).collect()
}

/// Checks that the answer is a problem as RFC 9457 has it, with this status and
/// code; returns it.
#[track_caller]
fn problem(answer: &Answer, status: u16, code: &str) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json"),
        "{}",
        answer.text()
    );
    let problem = answer.json();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["code"], code);
    assert_eq!(problem["type"], format!("urn:danube:error:{code}"));
    for text in ["title", "detail"] {
        assert!(
            problem[text].as_str().is_some_and(|it| !it.is_empty()),
            "{problem}"
        );
    }
    problem
}

/// The pointers of a problem's mistakes.
fn pointers(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().expect("mistakes");
    errors
        .iter()
        .map(|it| it["pointer"].as_str().expect("a pointer"))
        .collect()
}

/// The causes of a job's history.
#[track_caller]
fn causes(master: &Master, job: &str) -> Vec<String> {
    let answer = master.get(&format!("/api/v1/jobs/{job}/history"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let history = answer.json();
    let list = history["transitions"].as_array().expect("transitions");
    list.iter()
        .map(|it| it["cause"].as_str().expect("a cause").to_owned())
        .collect()
}
