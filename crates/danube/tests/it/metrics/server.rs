//! The server itself: who comes in, requests, statements, disk, process.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::{Proof, Scenario, histograms_are_whole};
use crate::elsewhere::Elsewhere;
use crate::master::{DANUBE, Master, id, one_step};
use crate::processes::memory;
use crate::receiver::{Receiver, Reply};
use crate::webhooks::{ALLOWED, told_at};
use crate::wire::{connect, raw};

pub(super) const WHO: Scenario = &[
    "danube_auth_logins_total",
    "danube_auth_active_sessions",
    "danube_auth_permission_denied_total",
];

pub(super) const REQUESTS: Scenario = &[
    "danube_http_request_duration_seconds",
    "ansible_api_request_duration_seconds",
];

pub(super) const STATEMENTS: Scenario = &[
    "danube_db_queries_total",
    "danube_db_query_duration_seconds",
];

pub(super) const SECRETS: Scenario = &[
    "danube_secret_requests_total",
    "danube_secret_cache_hits_total",
    "danube_secret_cache_misses_total",
];

pub(super) const DISK: Scenario = &["danube_disk_usage_bytes", "danube_disk_free_ratio"];

pub(super) const WEBHOOKS: Scenario = &[
    "danube_webhook_deliveries_total",
    "danube_http_client_request_duration_seconds",
];

pub(super) const WORKERS: Scenario = &[
    "danube_rpc_requests_total",
    "danube_rpc_request_duration_seconds",
];

pub(super) const SCRAPES: Scenario = &[
    "danube_telemetry_scrape_duration_seconds",
    "danube_telemetry_scrape_bytes",
    "danube_telemetry_series",
];

pub(super) const PROCESS: Scenario = &[
    "danube_build_info",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
];

#[test]
fn secrets_are_counted_where_a_job_asks_and_asks_again() {
    let master = Master::start();
    let proof = Proof::of(&master);
    crate::secrets::set(&master, "deploy");
    crate::secrets::used_twice(&master);
    let series = r#"danube_secret_requests_total{pipeline="release",secret_key="deploy"}"#;
    proof.until_all(&[
        (series, 2.0),
        ("danube_secret_cache_hits_total", 1.0),
        ("danube_secret_cache_misses_total", 1.0),
    ]);
}

#[test]
fn each_attempt_to_deliver_a_webhook_is_counted_by_how_it_went() {
    let receiver = Receiver::new(&[Reply::Status(500, ""), Reply::Status(200, "")]);
    let master = Master::with(ALLOWED);
    let proof = Proof::of(&master);
    told_at(&master, &receiver.address);
    proof.until_all(&[
        (r#"danube_webhook_deliveries_total{success="false"}"#, 1.0),
        (r#"danube_webhook_deliveries_total{success="true"}"#, 1.0),
    ]);
    let answered = "danube_http_client_request_duration_seconds_count{outcome=\"success\"}";
    proof.until(answered, 2.0);
    proof.complete(WEBHOOKS);
}

#[test]
fn each_call_of_a_worker_elsewhere_is_counted() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let proof = Proof::of(&master);
    let _worker = Elsewhere::start(&master, "far", &[]);
    master.ended(&master.run("echo hi"));
    for (call, status) in [("finish", "200"), ("append-log", "200"), ("claim", "200")] {
        let sample = format!("danube_rpc_requests_total{{method=\"{call}\",status=\"{status}\"}}");
        proof.until_holds(&sample, |it| it >= 1.0);
    }
    proof.until(
        "danube_rpc_request_duration_seconds_count{method=\"finish\"}",
        1.0,
    );
    histograms_are_whole(&proof.now());
    proof.complete(WORKERS);
}

#[test]
fn who_comes_in_and_who_is_denied_is_counted() {
    let master = Master::start();
    let proof = Proof::of(&master);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let login =
        |key: &str| master.request("POST", "/login", &form, format!("key={key}").as_bytes());
    assert_eq!(login("wrong").status, 401);
    let entered = [login(&master.key), login(&master.key)];
    let cookies = entered.map(|it| {
        let set = it.header("set-cookie").unwrap().to_owned();
        set.split_once(';').unwrap().0.to_owned()
    });
    proof.until_all(&[
        (r#"danube_auth_logins_total{status="success"}"#, 2.0),
        (r#"danube_auth_logins_total{status="failure"}"#, 1.0),
        ("danube_auth_active_sessions", 2.0),
    ]);
    let out = master.request("POST", "/logout", &[("cookie", &cookies[0])], b"");
    assert_eq!(out.status, 200);
    proof.until("danube_auth_active_sessions", 1.0);

    let made = master.call(
        "POST",
        "/api/v1/api-keys",
        Some(&json!({"name": "looks", "role": "viewer"})),
    );
    let viewer = format!("Bearer {}", made.json()["key"].as_str().unwrap());
    let headers = [
        ("authorization", viewer.as_str()),
        ("content-type", "application/json"),
    ];
    let body = one_step("true").to_string();
    for _ in 0..3 {
        let denied = master.request("POST", "/api/v1/jobs", &headers, body.as_bytes());
        assert_eq!(denied.status, 403);
    }
    // Keys are no pipeline, no secret and no artifact.
    assert_eq!(
        master
            .request("GET", "/api/v1/api-keys", &headers, b"")
            .status,
        403
    );
    proof.until_all(&[
        (
            r#"danube_auth_permission_denied_total{resource="pipeline"}"#,
            3.0,
        ),
        (
            r#"danube_auth_permission_denied_total{resource="secret"}"#,
            0.0,
        ),
        (
            r#"danube_auth_permission_denied_total{resource="artifact"}"#,
            0.0,
        ),
    ]);
    proof.complete(WHO);
}

#[test]
fn requests_are_counted_by_template_and_strangers_make_no_series() {
    let master = Master::start();
    let jobs: Vec<String> = (0..3)
        .map(|_| id(&master.submit(&one_step("true"))))
        .collect();
    let proof = Proof::of(&master);
    for job in &jobs {
        assert_eq!(master.get(&format!("/api/v1/jobs/{job}")).status, 200);
    }
    assert_eq!(master.get("/api/v1/jobs/nobody-knows").status, 404);
    let both = |labels: [&str; 3], count: f64| {
        let [method, route, status] = labels;
        let ours = format!(
            "danube_http_request_duration_seconds_count{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}"
        );
        let theirs = format!(
            "ansible_api_request_duration_seconds_count{{method=\"{method}\",endpoint=\"{route}\",status_code=\"{status}\"}}"
        );
        proof.until_all(&[(&ours, count), (&theirs, count)]);
    };
    both(["GET", "/api/v1/jobs/{id}", "200"], 3.0);
    both(["GET", "/api/v1/jobs/{id}", "404"], 1.0);

    let all = || {
        let now = proof.now();
        let name = "danube_http_request_duration_seconds";
        let series = now
            .family(name)
            .filter(|((it, _), _)| it.ends_with("_count"));
        series
            .map(|((_, labels), _)| labels.clone())
            .collect::<Vec<_>>()
    };
    let key = &master.key;
    let ask = |method: &str, path: &str| {
        raw(
            &master,
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n").as_bytes(),
        )
    };
    // One of each kind, then many more of the same kinds.
    let hostile = |round: usize| {
        ask("GET", &format!("/nothing/{round}"));
        ask(&format!("BREW{round}"), &format!("/{round}\"}}"));
        ask(&format!("M{round}"), &format!("/api/v1/jobs/{round}"));
        ask("GET", &format!("/api/v1/jobs/{round}%22%0Ax"));
        ask("GET", &format!("/api/v1/jobs/../{round}?a={round}"));
    };
    hostile(0);
    let series = all();
    for round in 1..30 {
        hostile(round);
    }
    assert_eq!(all(), series);
    for labels in &series {
        let route = &labels.iter().find(|it| it.0 == "route").unwrap().1;
        let known = route == "none" || route.starts_with('/');
        assert!(
            known && !route.contains("nothing") && !route.contains("BREW"),
            "{route}"
        );
    }
    assert!(
        proof.now().sum(
            "danube_http_request_duration_seconds_count",
            &[("method", "OTHER")]
        ) >= 60.0
    );
    histograms_are_whole(&proof.now());
    proof.complete(REQUESTS);
}

/// Jobs that are submitted.
const SUBMITS: u32 = 20;

#[test]
fn every_statement_is_counted_by_what_it_does() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let proof = Proof::of(&master);
    let queries = |operation: &str| format!("danube_db_queries_total{{operation=\"{operation}\"}}");
    let count = |operation: &str| proof.now().value(&queries(operation)).unwrap();
    let inserts = count("insert");
    let updates = count("update");
    let key = format!("Bearer {}", master.key);
    let mut jobs = Vec::new();
    for number in 0..SUBMITS {
        let number = number.to_string();
        let headers = [
            ("authorization", key.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", number.as_str()),
        ];
        let body = one_step("true").to_string();
        let accepted = master.request("POST", "/api/v1/jobs", &headers, body.as_bytes());
        assert_eq!(accepted.status, 202);
        jobs.push(id(&accepted.json()));
    }
    let submits = f64::from(SUBMITS);
    // Of each submit: the job, its order, its idempotency key. Health checks may add.
    proof.until_holds(&queries("insert"), |it| it >= inserts + 3.0 * submits);
    // Of each submit: what has expired of the keys.
    proof.until_holds(&queries("delete"), |it| it >= submits);
    for job in &jobs {
        assert_eq!(
            master
                .call("DELETE", &format!("/api/v1/jobs/{job}"), None)
                .status,
            202
        );
    }
    proof.until_holds(&queries("update"), |it| it >= updates + submits);
    let selects = count("select");
    for job in &jobs {
        master.get(&format!("/api/v1/jobs/{job}"));
    }
    // The job and its steps.
    proof.until_holds(&queries("select"), |it| it >= selects + 2.0 * submits);
    let now = proof.now();
    for operation in ["select", "insert", "update", "delete"] {
        let timed = format!("danube_db_query_duration_seconds_count{{operation=\"{operation}\"}}");
        assert_eq!(
            now.value(&timed),
            now.value(&queries(operation)),
            "{operation}"
        );
        proof.holds(&timed, |it| it > 0.0);
    }
    histograms_are_whole(&now);
    proof.complete(STATEMENTS);
}

#[test]
fn the_disk_s_use_is_that_of_the_files() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &[]);
    let kind = |kind: &str| format!("danube_disk_usage_bytes{{kind=\"{kind}\"}}");
    master.ended(&master.run("yes a line | head -c 300000"));
    master.kill();

    // Logs are measured at a start, and every few minutes.
    let master = Master::start_in(&dir, &["--jobs-at-once", "0"]);
    let proof = Proof::since_start(&master);
    let sizes = |path: &std::path::Path, wanted: &str| -> f64 {
        let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
        let found = entries.filter(|it| it.file_name().to_string_lossy().starts_with(wanted));
        let sum: u64 = found.map(|it| it.metadata().unwrap().size()).sum();
        f64::from(u32::try_from(sum).unwrap())
    };
    proof.until_holds(&kind("logs"), |it| {
        it >= 300_000.0 && it == sizes(&dir.join("logs"), "")
    });
    proof.until_holds(&kind("database"), |it| {
        it > 0.0 && it == sizes(&dir, "danube.db")
    });
    assert_eq!(proof.now().value(&kind("artifacts")), Some(0.0));
    assert_eq!(proof.now().value(&kind("registry")), Some(0.0));
    let stat = rustix::fs::statvfs(&dir).unwrap();
    let part = |blocks: u64| blocks as f64 / stat.f_blocks as f64;
    let free = part(stat.f_bavail);
    proof.holds("danube_disk_free_ratio", |it| (it - free).abs() < 0.05);
    proof.complete(DISK);
}

#[test]
fn a_scrape_tells_what_the_one_before_it_cost() {
    let master = Master::start();
    let proof = Proof::since_start(&master);
    let scrapes = "danube_telemetry_scrape_duration_seconds_count";
    let before = proof.now().value(scrapes).unwrap();
    let text = master.get("/metrics").text();
    let one = text.lines().filter(|it| !it.starts_with('#')).filter(|it| {
        let name = it.split(['{', ' ']).next().unwrap();
        // A histogram is one series.
        !name.ends_with("_bucket") && !name.ends_with("_sum")
    });
    let series = f64::from(u32::try_from(one.count()).unwrap());
    let bytes = f64::from(u32::try_from(text.len()).unwrap());
    let now = proof.now();
    assert_eq!(now.value("danube_telemetry_scrape_bytes"), Some(bytes));
    assert_eq!(now.value("danube_telemetry_series"), Some(series));
    // Those of the two that came before.
    assert_eq!(now.value(scrapes), Some(before + 2.0));
    for sample in [
        scrapes,
        "danube_telemetry_scrape_bytes",
        "danube_telemetry_series",
    ] {
        proof.holds(sample, |it| it > 0.0);
    }
    proof.complete(SCRAPES);
}

/// Connections that are opened.
const CONNECTIONS: u32 = 20;

#[test]
fn the_process_is_shown_as_the_kernel_sees_it() {
    let master = Master::start();
    let proof = Proof::since_start(&master);
    let pid = master.pid();
    let now = proof.now();
    let files = now.value("process_open_fds").unwrap();
    let open: Vec<_> = (0..CONNECTIONS).map(|_| connect(&master)).collect();
    proof.until_holds("process_open_fds", |it| {
        it >= files + f64::from(CONNECTIONS) - 2.0
    });
    drop(open);
    let cpu = now.value("process_cpu_seconds_total").unwrap();
    proof.until_holds("process_cpu_seconds_total", |it| it > cpu);
    let resident = memory(pid, "VmRSS") as f64;
    proof.holds("process_resident_memory_bytes", |it| {
        (it / resident - 1.0).abs() < 0.5
    });
    let size = memory(pid, "VmSize") as f64;
    proof.holds("process_virtual_memory_bytes", |it| {
        (it / size - 1.0).abs() < 0.5
    });
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let limit = limits
        .lines()
        .find_map(|it| it.strip_prefix("Max open files"));
    let limit: f64 = limit
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    proof.until("process_max_fds", limit);
    // The kernel's clock of boot is coarse.
    proof.holds("process_start_time_seconds", |it| {
        (since - it).abs() < 120.0
    });
    let said = std::process::Command::new(DANUBE)
        .arg("--version")
        .output()
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let version = said.split_whitespace().nth(1).unwrap().to_owned();
    let build = now.family("danube_build_info").next().unwrap().0.1.clone();
    let commit = &build.iter().find(|it| it.0 == "commit").unwrap().1;
    proof.until(
        &format!("danube_build_info{{version=\"{version}\",commit=\"{commit}\"}}"),
        1.0,
    );
    proof.complete(PROCESS);
}
