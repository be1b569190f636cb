//! What the pages of a failed job and of a trace say.

use serde_json::{Value, json};

use crate::master::{Answer, Master, id};
use crate::pages::page;

fn run(master: &Master, steps: &Value) -> String {
    let job = master.submit(&json!({"spec": {"name": "build", "steps": steps}, "ref": "main"}));
    let id = id(&job);
    master.ended(&id);
    id
}

/// What a page shows, as a program gets it.
#[track_caller]
pub(crate) fn as_json(master: &Master, path: &str) -> Value {
    let key = format!("Bearer {}", master.key);
    let headers = [
        ("authorization", key.as_str()),
        ("accept", "application/json"),
    ];
    let answer: Answer = master.request("GET", path, &headers, b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn names(page: &Value) -> Vec<&str> {
    let rows = page["waterfall"]["rows"].as_array().unwrap();
    let spans = rows.iter().filter(|it| it["kind"] == "span");
    spans.map(|it| it["name"].as_str().unwrap()).collect()
}

#[test]
fn a_failed_job_s_page_says_why_and_what_was_different_from_the_last_success() {
    let master = Master::start();
    let first = run(
        &master,
        &json!([{"name": "compile", "run": "true"}, {"name": "old", "run": "true"}]),
    );
    let good = run(
        &master,
        &json!([{"name": "compile", "run": "true"}, {"name": "old", "run": "true"}]),
    );
    let bad = run(
        &master,
        &json!([
            {"name": "compile", "run": "echo fine; echo error: not this step"},
            {"name": "new & odd", "run": "echo begin; printf '\\033[31merror\\033[0m: <i>it broke</i>\\n' >&2; echo end; exit 3"},
        ]),
    );
    let shown = page(&master.get(&format!("/jobs/{bad}")));
    let why = shown.split("id=\"job-failure\"").nth(1).expect("a reason");
    let why = why.split("</section>").next().unwrap();
    for said in [
        "new &#38; odd",
        "with exit code 3",
        "error: &#60;i&#62;it broke&#60;/i&#62;</a>",
        "the first error",
        &format!("href=\"/jobs/{good}\">last success</a>"),
        "Step new &#38; odd is new.",
        "Step old is gone.",
    ] {
        assert!(why.contains(said), "{said} in {why}");
    }
    assert!(
        !why.contains("not this step") && !why.contains(&first),
        "{why}"
    );
    let value = as_json(&master, &format!("/jobs/{bad}"));
    let log = master.log(&bad);
    let offset = usize::try_from(value["failure"]["error"]["offset"].as_u64().unwrap()).unwrap();
    assert!(log[offset..].starts_with(b"\x1b[31merror"), "{log:?}");
    assert_eq!(value["failure"]["error"]["why"], "error");
    assert_eq!(value["grid"], Value::Null);
    let fine = page(&master.get(&format!("/jobs/{good}")));
    assert!(!fine.contains("job-failure"));
    // A success that came later was no last success.
    let again = as_json(&master, &format!("/jobs/{good}"));
    assert_eq!(again["failure"], Value::Null);
}

#[test]
fn a_pipeline_that_never_succeeded_says_so() {
    let master = Master::start();
    let steps = json!([{"name": "x", "run": "echo out; exit 1"}]);
    let first = page(&master.get(&format!("/jobs/{}", run(&master, &steps))));
    assert!(first.contains("It is the first job like it."), "{first}");
    run(&master, &steps);
    let third = page(&master.get(&format!("/jobs/{}", run(&master, &steps))));
    assert!(
        third.contains("None of the 2 jobs before it was a success."),
        "{third}"
    );
    assert!(third.contains("the last line; none looks like an error"));
}

#[test]
fn a_trace_s_page_shows_spans_and_leads_to_the_log_and_back() {
    let master = Master::start();
    let job = run(
        &master,
        &json!([
            {"name": "good", "run": "echo one"},
            {"name": "bad & odd", "run": "echo two; exit 1"},
        ]),
    );
    let path = format!("/jobs/{job}/trace");
    let text = page(&master.get(&path));
    assert!(text.contains("Execute step bad &#38; odd</a>"), "{text}");
    let value = as_json(&master, &path);
    let all = names(&value);
    for name in [
        "POST /api/v1/jobs",
        "Execute step good",
        "Execute step bad & odd",
    ] {
        assert!(all.contains(&name), "{all:?}");
    }
    let failed = as_json(&master, &format!("{path}?only=failed"));
    let failed = names(&failed);
    assert!(failed.contains(&"Execute step bad & odd"), "{failed:?}");
    assert!(!failed.contains(&"Execute step good"), "{failed:?}");
    let rows = value["waterfall"]["rows"].as_array().unwrap();
    let bad = rows
        .iter()
        .find(|it| it["name"] == "Execute step bad & odd");
    let bad = bad.unwrap();
    assert_eq!(bad["log_start"], 4);
    let span = bad["id"].as_str().unwrap();
    let details = page(&master.get(&format!("{path}?span={span}")));
    for said in [
        "cicd.pipeline.task.name",
        &format!("/jobs/{job}/log?offset=4\">Its log</a>"),
        &format!("/api/v1/jobs/{job}/logs?around={span}"),
    ] {
        assert!(details.contains(said), "{said} in {details}");
    }
    assert_eq!(
        master
            .get(&format!("/api/v1/jobs/{job}/logs?around={span}"))
            .text(),
        "two\n"
    );
    // From the log to its step.
    let from_log = as_json(&master, &format!("{path}?log=5"));
    assert_eq!(from_log["selected"]["id"], span);
    let below = as_json(&master, &format!("{path}?only=below&span={span}"));
    assert_eq!(names(&below), ["Execute step bad & odd", "Run process"]);
    assert_eq!(master.get(&format!("{path}?only=nonsense")).status, 400);
    assert_eq!(master.request("GET", &path, &[], b"").status, 303);
}

#[test]
fn a_trace_that_went_with_its_log_says_so() {
    let master = Master::start();
    let job = run(&master, &json!([{"name": "x", "run": "true"}]));
    let key = format!("Bearer {}", master.key);
    let headers = [("authorization", key.as_str())];
    let gone = master.request("DELETE", &format!("/api/v1/jobs/{job}/logs"), &headers, b"");
    assert_eq!(gone.status, 200, "{}", gone.text());
    let text = page(&master.get(&format!("/jobs/{job}/trace")));
    assert!(text.contains("The trace was deleted"), "{text}");
}
