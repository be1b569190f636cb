//! Golden files of what a stranger sees: the description, each problem, a job,
//! the metrics, and the server log of one job's life.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::golden;
use crate::master::{Answer, Master, id, one_step};
use crate::wire::{blank, laid_out, raw};

const DIR: &str = "tests/it/golden/api";

/// What differs from run to run in the JSON of a job.
const OF_A_JOB: &[(&str, &str)] = &[
    ("id", "\"ID\""),
    ("short_id", "\"SHORT\""),
    ("retry_of", "\"ID\""),
    ("created_at", "\"TIME\""),
    ("started_at", "\"TIME\""),
    ("finished_at", "\"TIME\""),
    ("at", "\"TIME\""),
    ("duration_seconds", "SECONDS"),
    ("cpu_seconds", "SECONDS"),
    ("max_rss_bytes", "BYTES"),
    ("worker_id", "\"WORKER\""),
    ("trace_id", "\"TRACE\""),
];

/// A job of two steps, one with a failure that counts.
fn order() -> Value {
    json!({"spec": {"name": "golden", "steps": [
        {"name": "say", "run": "echo hello"},
        {"name": "try", "run": "exit 3", "continue_on_error": true},
        {"name": "fail", "run": "exit 4"},
        {"name": "never", "run": "true"},
    ]}, "ref": "main"})
}

#[test]
fn the_api_describes_itself() {
    let master = Master::start();
    let answer = master.get("/api/v1/openapi.json");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    golden::check(&format!("{DIR}/openapi.json"), &(answer.text() + "\n"));
}

#[test]
fn a_job_looks_the_same_every_time() {
    let master = Master::start();
    let submitted = master.call("POST", "/api/v1/jobs", Some(&order()));
    golden::check(
        &format!("{DIR}/job-submitted.json"),
        &laid_out(&blank(&submitted.text(), OF_A_JOB)),
    );
    let job = id(&submitted.json());
    master.ended(&job);
    for (name, path) in [
        ("job-ended", format!("/api/v1/jobs/{job}")),
        ("job-history", format!("/api/v1/jobs/{job}/history")),
        ("job-list", "/api/v1/jobs".to_owned()),
    ] {
        let mut text = blank(&master.get(&path).text(), OF_A_JOB);
        // The worker's name stands in the history as well.
        text = text.replace(master.job(&job)["worker_id"].as_str().unwrap(), "WORKER");
        golden::check(&format!("{DIR}/{name}.json"), &laid_out(&text));
    }
}

#[test]
fn a_log_event_looks_the_same_every_time() {
    let master = Master::start();
    let job = master.run(r"printf 'hello\n\377'");
    master.ended(&job);
    let text = master
        .get(&format!("/api/v1/jobs/{job}/logs/stream"))
        .text();
    golden::check(
        &format!("{DIR}/stream.txt"),
        &blank(&text, &[("time", "\"TIME\"")]),
    );
}

#[test]
fn keys_look_the_same_every_time() {
    let master = Master::start();
    let varies = [
        ("id", "\"ID\""),
        ("key", "\"KEY\""),
        ("prefix", "\"PREFIX\""),
        ("created_at", "\"TIME\""),
        ("revoked_at", "\"TIME\""),
    ];
    let made = master.call(
        "POST",
        "/api/v1/api-keys",
        Some(&json!({"name": "new", "role": "viewer"})),
    );
    golden::check(
        &format!("{DIR}/key-made.json"),
        &laid_out(&blank(&made.text(), &varies)),
    );
    master.call("DELETE", "/api/v1/api-keys/new", None);
    let listed = master.get("/api/v1/api-keys").text();
    golden::check(
        &format!("{DIR}/key-list.json"),
        &laid_out(&blank(&listed, &varies)),
    );
}

/// Keeps a problem: status, the headers that belong to it, and the body.
fn keep(name: &str, answer: &Answer, shown: &[(&str, &str)]) {
    let mut text = format!("{}\n", answer.status);
    for header in [
        "content-type",
        "www-authenticate",
        "allow",
        "content-range",
        "retry-after",
    ] {
        if let Some(value) = answer.header(header) {
            text.push_str(&format!("{header}: {value}\n"));
        }
    }
    text.push('\n');
    text.push_str(&laid_out(&answer.text()));
    for (from, to) in shown {
        text = text.replace(from, to);
    }
    golden::check(&format!("{DIR}/problem-{name}.txt"), &text);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list of problems")]
fn each_problem_reads_the_same_every_time() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &["--body-bytes-max", "4096"]);
    let ended = master.run("echo hello");
    master.ended(&ended);
    let twin = twin_of(&mut master, &ended);
    let master = Master::start_in(&dir, &["--body-bytes-max", "4096"]);
    let admin = master.key.clone();
    let with_key = [
        ("x-api-key", admin.as_str()),
        ("content-type", "application/json"),
    ];
    let submit = |body: &[u8]| master.request("POST", "/api/v1/jobs", &with_key, body);

    keep("malformed", &submit(b"{\"spec\": {]}"), &[]);
    keep(
        "unauthorized",
        &master.request("GET", "/api/v1/jobs", &[], b""),
        &[],
    );
    let viewer = master.call(
        "POST",
        "/api/v1/api-keys",
        Some(&json!({"name": "looks", "role": "viewer"})),
    );
    let viewer = viewer.json()["key"].as_str().unwrap().to_owned();
    let headers = [
        ("x-api-key", viewer.as_str()),
        ("content-type", "application/json"),
    ];
    keep(
        "forbidden",
        &master.request("POST", "/api/v1/jobs", &headers, b"{}"),
        &[],
    );
    keep("not_found", &master.get("/api/v1/jobs/zzzzzzzz"), &[]);
    keep(
        "method_not_allowed",
        &master.call("PUT", "/api/v1/jobs", None),
        &[],
    );
    keep(
        "wrong_state",
        &master.call("DELETE", &format!("/api/v1/jobs/{ended}"), None),
        &[],
    );
    let short = master.job(&ended)["short_id"].as_str().unwrap().to_owned();
    let ambiguous = master.get(&format!("/api/v1/jobs/{short}"));
    assert!(ambiguous.text().contains(&twin), "{}", ambiguous.text());
    keep("ambiguous", &ambiguous, &[(&ended, "ID"), (&twin, "ID")]);
    let keyed = [with_key[0], with_key[1], ("idempotency-key", "golden")];
    let first = master.request(
        "POST",
        "/api/v1/jobs",
        &keyed,
        one_step("true").to_string().as_bytes(),
    );
    assert_eq!(first.status, 202);
    let other = master.request(
        "POST",
        "/api/v1/jobs",
        &keyed,
        one_step("false").to_string().as_bytes(),
    );
    keep(
        "idempotency_conflict",
        &other,
        &[(&id(&first.json()), "ID")],
    );
    keep(
        "name_taken",
        &master.call(
            "POST",
            "/api/v1/api-keys",
            Some(&json!({"name": "looks", "role": "admin"})),
        ),
        &[],
    );
    let text = [
        ("x-api-key", admin.as_str()),
        ("content-type", "text/plain"),
    ];
    keep(
        "unsupported_media_type",
        &master.request("POST", "/api/v1/jobs", &text, b"hello"),
        &[],
    );
    let beyond = [("x-api-key", admin.as_str()), ("range", "bytes=6-")];
    keep(
        "range_not_satisfiable",
        &master.request("GET", &format!("/api/v1/jobs/{ended}/logs"), &beyond, b""),
        &[],
    );
    keep("invalid", &submit(br#"{"spec": {"name": "x", "steps": [{"name": "a"}], "colour": 1}, "mask": ["short"], "reff": "main"}"#), &[]);

    // Cut off in the middle by the server, so not through the client.
    let large = format!(
        "POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: {admin}\r\nContent-Length: 5000\r\n\r\n"
    );
    let answer = raw(&master, (large + &"x".repeat(5_000)).as_bytes());
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    golden::check(
        &format!("{DIR}/problem-too_large.txt"),
        &format!("413\n\n{}", laid_out(body)),
    );
}

/// Gives the job a twin with the same short id, as chance would, and stops the
/// master for it; the twin's id.
fn twin_of(master: &mut Master, job: &str) -> String {
    master.signal("TERM");
    assert!(master.wait().success());
    let twin = format!(
        "{}{}",
        if job.starts_with('0') { '1' } else { '0' },
        &job[1..]
    );
    let blob: Vec<u8> = (0..32)
        .step_by(2)
        .map(|at| u8::from_str_radix(&twin.replace('-', "")[at..at + 2], 16).unwrap())
        .collect();
    let database = Connection::open(master.dir.join("danube.db")).unwrap();
    let mut columns = database
        .prepare("SELECT name FROM pragma_table_info('jobs') WHERE name NOT IN ('seq', 'id')")
        .unwrap();
    let columns: Vec<String> = columns
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let columns = columns.join(", ");
    let sql = format!("INSERT INTO jobs (id, {columns}) SELECT ?1, {columns} FROM jobs");
    assert_eq!(database.execute(&sql, [&blob]).unwrap(), 1);
    twin
}

/// Families whose numbers depend on the machine or on time.
const NUMBERS_VARY: &[&str] = &[
    "danube_db_",
    "danube_disk_",
    "danube_health_check_",
    "danube_job_cpu_seconds",
    "danube_job_max_rss_bytes",
    "danube_log_ingest_blocked_seconds",
    "danube_loop_silent_seconds",
    "danube_telemetry_scrape_bytes",
    "danube_telemetry_series",
    "process_",
];

/// Replaces what differs from run to run; names, labels, texts and order stay.
fn metrics(text: &str, job: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        if line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        // An exemplar comes after the value.
        let line = line.split(" # ").next().unwrap();
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let varies = NUMBERS_VARY.iter().any(|it| name.starts_with(it))
            || name.ends_with("_sum")
            || name.ends_with("_bucket");
        let series = series
            .replace(job, "JOB")
            .replace(env!("CARGO_PKG_VERSION"), "VERSION");
        out.push_str(&format!("{series} {}\n", if varies { "N" } else { value }));
    }
    out
}

#[test]
fn the_metrics_after_one_job_look_the_same_every_time() {
    let master = Master::start();
    let submit = json!({"spec": {"name": "golden", "steps": [{"name": "say", "run": "echo password=hunter22"}]}});
    let job = id(&master.submit(&submit));
    assert_eq!(master.ended(&job)["status"], "success");
    // What the end of a job moves is told after its followers hear of it.
    master.event(|it| it["event"] == "job_completed");
    let scrape = |accept: &str| {
        let answer = master.request("GET", "/metrics", &[("accept", accept)], b"");
        assert_eq!(answer.status, 200);
        (
            answer.header("content-type").unwrap().to_owned(),
            metrics(&answer.text(), &job),
        )
    };
    let (kind, text) = scrape("*/*");
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    golden::check("tests/it/golden/metrics.txt", &text);
    let (kind, text) = scrape("application/openmetrics-text; version=1.0.0");
    assert_eq!(
        kind,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(text.ends_with("# EOF\n"));
    golden::check("tests/it/golden/metrics-openmetrics.txt", &text);
}

#[test]
fn one_jobs_life_in_the_server_log_looks_the_same_every_time() {
    /// In a job's order; lines of different threads may come in another.
    const LIFE: &[&str] = &[
        "master_ready",
        "job_submitted",
        "pipeline_triggered",
        "job_started",
        "step_started",
        "step_completed",
        "job_failed",
        "job_completed",
        "master_stopping",
    ];
    let mut master = Master::start();
    let job = master.submit(&order());
    let job = master.ended(&id(&job));
    master.event(|it| it["event"] == "job_completed");
    master.signal("TERM");
    assert!(master.wait().success());
    let mut lines: Vec<(usize, String)> = Vec::new();
    for line in master.log_lines() {
        let event: Value = serde_json::from_str(&line).unwrap();
        let Some(place) = LIFE.iter().position(|it| event["event"] == *it) else {
            assert!(
                event["event"] == "(end)" || event["event"] == "worker_drained",
                "{line}"
            );
            continue;
        };
        if event.get("job_id").is_some() {
            assert_eq!(event["trace_id"], job["trace_id"], "{line}");
        }
        // The steps' lines go by step, each with its own start and end.
        let place = if event.get("step").is_some() {
            4
        } else {
            place
        };
        lines.push((place, line));
    }
    lines.sort_by_key(|(place, _)| *place);
    let text: String = lines.into_iter().map(|(_, line)| line + "\n").collect();
    let varies = [
        ("timestamp", "\"TIME\""),
        ("address", "\"ADDRESS\""),
        ("pid", "PID"),
        ("version", "\"VERSION\""),
        ("trace_id", "\"TRACE\""),
        ("span_id", "\"SPAN\""),
        ("request_id", "\"REQUEST\""),
        ("job_id", "\"ID\""),
        ("worker_id", "\"WORKER\""),
        ("duration_seconds", "SECONDS"),
    ];
    assert!(text.contains(&id(&job)));
    golden::check("tests/it/golden/server-log.jsonl", &blank(&text, &varies));
}
