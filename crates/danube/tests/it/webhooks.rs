//! The end of a job is told: a real master, a real receiver with faults.

use serde_json::{Value, json};

use crate::master::{DEADLINE, Master, id, one_step};
use crate::processes;
use crate::receiver::{Receiver, Reply};

/// Loopback may be called, and a second attempt comes within a second.
pub(crate) const ALLOWED: &[&str] = &[
    "--webhooks-allow-private",
    "127.0.0.1",
    "--webhooks-allow-http",
    "--webhooks-retry",
    "1",
];

const OK: Reply = Reply::Status(204, "");

fn with(arguments: &[&str]) -> Master {
    Master::with(&[ALLOWED, arguments].concat())
}

/// Submits a job that ends at once, and is told at `url`.
pub(crate) fn told_at(master: &Master, url: &str) -> String {
    let mut body = one_step("true");
    body["callback_url"] = json!(url);
    id(&master.submit(&body))
}

/// Waits until something holds.
#[track_caller]
fn until(holds: impl Fn() -> bool) {
    processes::until("the webhook is there", DEADLINE, || holds().then_some(()));
}

fn delivery(master: &Master, job: &str) -> Value {
    let answer = master.get(&format!("/api/v1/webhooks/deliveries/{job}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The job's webhook once it has this status.
#[track_caller]
fn settled(master: &Master, job: &str, status: &str) -> Value {
    master.ended(job);
    until(|| delivery(master, job)["status"] == status);
    delivery(master, job)
}

#[test]
fn a_finished_job_is_told_with_what_happened_and_where_to_read_on() {
    let receiver = Receiver::new(&[OK]);
    let master = with(&["--public-url", "https://ci.example.org"]);
    let mut body = one_step("exit 3");
    body["callback_url"] = json!(format!("{}/hooks?token=s3cret-s3cret", receiver.address));
    let job = id(&master.submit(&body));
    let taken = receiver.next();
    assert_eq!(taken.line, "POST /hooks?token=s3cret-s3cret HTTP/1.1");
    assert_eq!(taken.id(), format!("msg_{job}"));
    assert_eq!(taken.headers["content-type"], "application/json");
    assert!(taken.headers["user-agent"].starts_with("danube/"));
    assert!(taken.headers["webhook-signature"].starts_with("v1,"));
    assert!(taken.headers["webhook-timestamp"].parse::<u64>().is_ok());
    let ended = master.ended(&job);
    let trace = ended["trace_id"].as_str().unwrap();
    assert!(taken.headers["traceparent"].starts_with(&format!("00-{trace}-")));
    let told = taken.json();
    let expected = json!({
        "type": "job.completed",
        "timestamp": ended["finished_at"],
        "data": {
            "job_id": job,
            "short_id": ended["short_id"],
            "kind": "pipeline",
            "pipeline": ended["pipeline"],
            "status": "failure",
            "created_at": ended["created_at"],
            "started_at": ended["started_at"],
            "finished_at": ended["finished_at"],
            "duration_seconds": ended["duration_seconds"],
            "exit_code": 3,
            "reason": ended["reason"],
            "url": format!("https://ci.example.org/jobs/{job}"),
            "logs_url": format!("https://ci.example.org/api/v1/jobs/{job}/logs"),
            "trace_id": trace,
        },
    });
    assert_eq!(told, expected);
    let shown = settled(&master, &job, "delivered");
    assert_eq!(shown["callback_url"], format!("{}/hooks", receiver.address));
    assert_eq!(
        (&shown["attempts"], &shown["log"][0]["status_code"]),
        (&json!(1), &json!(204))
    );
    master.event(|it| it["event"] == "webhook_sent" && it["job_id"] == *job);
    // The token is with the receiver, and nowhere in what is shown.
    let list = master.get("/api/v1/webhooks/deliveries").text();
    let all = [
        shown.to_string(),
        list,
        ended.to_string(),
        master.log_lines().join("\n"),
        master.stderr(),
    ];
    assert!(all.iter().all(|it| !it.contains("s3cret")), "{all:?}");
}

#[test]
fn a_receiver_that_fails_is_asked_again_under_the_same_id_until_it_takes_it() {
    let receiver = Receiver::new(&[Reply::Status(500, ""), Reply::Reset, OK]);
    let master = with(&[]);
    let job = told_at(&master, &receiver.address);
    let all = [receiver.next(), receiver.next(), receiver.next()];
    assert!(
        all.iter()
            .all(|it| it.id() == all[0].id() && it.body == all[0].body)
    );
    let shown = settled(&master, &job, "delivered");
    let log = shown["log"].as_array().unwrap();
    assert_eq!(log.len(), 3, "{shown}");
    assert_eq!(log[0]["error"], "status 500");
    assert!(
        log[1]["error"]
            .as_str()
            .unwrap()
            .starts_with("the connection failed"),
        "{shown}"
    );
    assert_eq!(
        (&log[2]["error"], &log[2]["number"]),
        (&Value::Null, &json!(3))
    );
    assert_eq!(receiver.rest(), 0);
    let count = |success| {
        master.metric(&format!(
            "danube_webhook_deliveries_total{{success=\"{success}\"}}"
        ))
    };
    until(|| (count("true"), count("false")) == (1.0, 2.0));
}

/// Waits until so many attempts at the job's webhook stand in its trace; all its spans.
fn spans_with(master: &Master, job: &str, attempts: usize) -> Vec<Value> {
    let path = format!("/api/v1/jobs/{job}/trace");
    processes::until("the webhook is in the trace", DEADLINE, || {
        let trace = master.get(&path).json();
        let resources = trace["resourceSpans"].as_array().unwrap().clone();
        let scopes = resources
            .iter()
            .flat_map(|it| it["scopeSpans"].as_array().unwrap().clone());
        let spans: Vec<Value> = scopes
            .flat_map(|it| it["spans"].as_array().unwrap().clone())
            .collect();
        (told(&spans).len() == attempts).then_some(spans)
    })
}

fn told(spans: &[Value]) -> Vec<&Value> {
    let all = spans.iter();
    all.filter(|it| it["name"] == "send_webhook").collect()
}

/// The id of the span whose name begins so.
fn id_of<'a>(spans: &'a [Value], name: &str) -> &'a Value {
    let found = spans
        .iter()
        .find(|it| it["name"].as_str().unwrap().starts_with(name));
    &found.unwrap_or_else(|| panic!("no {name}: {spans:#?}"))["spanId"]
}

#[test]
fn each_attempt_is_a_span_of_the_job_s_trace_and_the_receiver_s_parent() {
    let receiver = Receiver::new(&[Reply::Status(500, ""), OK]);
    let master = with(&[]);
    let job = told_at(&master, &receiver.address);
    let sent = [receiver.next(), receiver.next()];
    settled(&master, &job, "delivered");
    let all = spans_with(&master, &job, 2);
    for (span, taken) in told(&all).into_iter().zip(&sent) {
        assert_eq!(&span["parentSpanId"], id_of(&all, "Job "), "{span}");
        let parent = taken.headers["traceparent"]
            .split('-')
            .nth(2)
            .unwrap()
            .to_owned();
        assert_eq!(span["spanId"], parent, "{span}");
    }
}

#[test]
fn the_webhook_of_a_job_that_never_ran_hangs_below_its_request() {
    let receiver = Receiver::new(&[OK]);
    let master = with(&["--jobs-at-once", "0"]);
    let job = told_at(&master, &receiver.address);
    let path = format!("/api/v1/jobs/{job}");
    assert_eq!(master.call("DELETE", &path, None).status, 202);
    receiver.next();
    settled(&master, &job, "delivered");
    let all = spans_with(&master, &job, 1);
    let request = id_of(&all, "POST /api/v1/jobs");
    assert_eq!(&told(&all)[0]["parentSpanId"], request);
}

#[test]
fn a_receiver_that_is_gone_hears_no_more_until_somebody_says_so() {
    let receiver = Receiver::new(&[Reply::Status(410, "")]);
    let master = with(&[]);
    let job = told_at(&master, &receiver.address);
    let first = receiver.next();
    let shown = settled(&master, &job, "failed");
    assert_eq!(shown["attempts"], 1, "{shown}");
    assert_eq!(shown["next_attempt_at"], Value::Null);
    receiver.now(OK);
    let out = master.danube(&["webhooks", "replay", &job]);
    assert!(out.status.success(), "{out:?}");
    assert_eq!(receiver.next().id(), first.id());
    let shown = settled(&master, &job, "delivered");
    assert_eq!(shown["log"].as_array().unwrap().len(), 2, "{shown}");
}

#[test]
fn a_replay_that_is_asked_for_during_an_attempt_is_sent_whatever_comes_of_that_attempt() {
    for status in [204, 410, 500] {
        let receiver = Receiver::new(&[Reply::Hang, OK]);
        // A second attempt by itself would come in an hour.
        let (allowed, _) = ALLOWED.split_at(ALLOWED.len() - 2);
        let master = Master::with(&[allowed, &["--webhooks-retry", "3600"]].concat());
        let job = told_at(&master, &receiver.address);
        let first = receiver.next();
        let path = format!("/api/v1/webhooks/deliveries/{job}/replay");
        assert_eq!(master.call("POST", &path, None).status, 200);
        receiver.answer(status);
        assert_eq!(receiver.next().id(), first.id(), "{status}");
        let shown = settled(&master, &job, "delivered");
        let log = shown["log"].as_array().unwrap();
        let codes: Vec<_> = log.iter().map(|it| it["status_code"].clone()).collect();
        assert_eq!(codes, [json!(status), json!(204)], "{shown}");
        assert_eq!(receiver.rest(), 0);
    }
}

#[test]
fn a_receiver_may_ask_for_a_pause() {
    let receiver = Receiver::new(&[Reply::Status(503, "Retry-After: 3600\r\n"), OK]);
    let master = with(&[]);
    let job = told_at(&master, &receiver.address);
    receiver.next();
    master.ended(&job);
    until(|| delivery(&master, &job)["attempts"] == 1);
    let shown = delivery(&master, &job);
    assert_eq!(shown["status"], "pending", "{shown}");
    let time = |it: &Value| danube_model::Timestamp::parse(it.as_str().unwrap()).unwrap();
    let pause = time(&shown["next_attempt_at"]).seconds_since(time(&shown["log"][0]["at"]));
    assert!(pause >= 3_600.0, "{shown}");
    let path = format!("/api/v1/webhooks/deliveries/{job}/replay");
    assert_eq!(master.call("POST", &path, None).status, 200);
    receiver.next();
    settled(&master, &job, "delivered");
}

#[test]
fn a_redirect_is_a_failure_and_leads_nowhere() {
    let inner = Receiver::new(&[OK]);
    let location = format!("Location: {}\r\n", inner.address);
    let receiver = Receiver::new(&[
        Reply::Status(307, Box::leak(location.into_boxed_str())),
        Reply::Status(302, "Location: http://169.254.169.254/latest/meta-data\r\n"),
        Reply::Status(410, ""),
    ]);
    let master = with(&[]);
    let job = told_at(&master, &receiver.address);
    let shown = settled(&master, &job, "failed");
    for (at, status) in [(0, 307), (1, 302)] {
        let error = format!("status {status}: redirects aren't followed");
        assert_eq!(shown["log"][at]["error"], error, "{shown}");
    }
    assert_eq!(inner.rest(), 0);
}

#[test]
fn a_dead_receiver_holds_up_no_other() {
    let dead = Receiver::new(&[Reply::Hang]);
    let live = Receiver::new(&[OK]);
    let master = with(&[]);
    let waiting: Vec<String> = (0..6).map(|_| told_at(&master, &dead.address)).collect();
    for _ in 0..4 {
        dead.next();
    }
    let job = told_at(&master, &live.address);
    live.next();
    settled(&master, &job, "delivered");
    for job in &waiting {
        assert_eq!(delivery(&master, job)["status"], "pending");
    }
}

#[test]
fn a_kill_between_the_end_and_the_delivery_loses_nothing() {
    let receiver = Receiver::new(&[Reply::Hang, OK]);
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    // Its links name another port after the restart, if nobody says where it is reached.
    let arguments = [ALLOWED, &["--public-url", "https://ci.example.org"]].concat();
    let mut master = Master::start_in(&dir, &arguments);
    let job = told_at(&master, &receiver.address);
    let first = receiver.next();
    master.ended(&job);
    master.kill();
    let master = Master::start_in(&dir, &arguments);
    let second = receiver.next();
    assert_eq!((second.id(), &second.body), (first.id(), &first.body));
    let shown = settled(&master, &job, "delivered");
    assert_eq!(
        shown["attempts"], 1,
        "the first one was never answered: {shown}"
    );
    assert_eq!(receiver.rest(), 0);
}

#[test]
fn a_job_that_never_ran_and_its_retry_are_told_too() {
    let receiver = Receiver::new(&[OK]);
    let master = with(&["--jobs-at-once", "0"]);
    let job = told_at(&master, &receiver.address);
    let cancel = |job: &str| {
        master
            .call("DELETE", &format!("/api/v1/jobs/{job}"), None)
            .status
    };
    assert_eq!(cancel(&job), 202);
    assert_eq!(receiver.next().json()["data"]["status"], "cancelled");
    let retried = master.call("POST", &format!("/api/v1/jobs/{job}/retry"), None);
    let retried = id(&retried.json());
    assert_eq!(cancel(&retried), 202);
    assert_eq!(receiver.next().json()["data"]["job_id"], retried);
}

#[test]
fn an_inner_address_is_refused_when_it_is_submitted() {
    let master = Master::start();
    for url in [
        "http://127.0.0.1/?s3cret",
        "https://127.0.0.1/?s3cret",
        "https://169.254.169.254/s3cret",
        "https://[::ffff:10.0.0.1]/s3cret",
        "https://0x7f.1/s3cret",
        "https://localhost/s3cret",
        "https://user:s3cret@hooks.example/",
        "ftp://hooks.example/s3cret",
    ] {
        let mut body = one_step("true");
        body["callback_url"] = json!(url);
        let answer = master.call("POST", "/api/v1/jobs", Some(&body));
        assert_eq!(answer.status, 422, "{url}: {}", answer.text());
        assert_eq!(answer.json()["errors"][0]["pointer"], "/callback_url");
        assert!(!answer.text().contains("s3cret"), "{}", answer.text());
    }
    let jobs = master.get("/api/v1/jobs").json();
    assert_eq!(jobs["jobs"], json!([]), "nothing was made");
}

#[test]
fn an_allowance_that_was_taken_back_counts_at_the_next_attempt() {
    let receiver = Receiver::new(&[Reply::Status(500, "Retry-After: 3600\r\n")]);
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, ALLOWED);
    let job = told_at(&master, &receiver.address);
    receiver.next();
    master.ended(&job);
    until(|| delivery(&master, &job)["attempts"] == 1);
    master.signal("TERM");
    assert!(master.wait().success());
    let master = Master::start_in(&dir, &["--webhooks-allow-http"]);
    let path = format!("/api/v1/webhooks/deliveries/{job}/replay");
    assert_eq!(master.call("POST", &path, None).status, 200);
    until(|| delivery(&master, &job)["attempts"] == 2);
    let error = delivery(&master, &job)["log"][1]["error"].clone();
    assert!(
        error.as_str().unwrap().contains("a loopback address"),
        "{error}"
    );
    assert_eq!(receiver.rest(), 0);
}

#[test]
fn others_see_only_the_webhooks_of_their_own_jobs() {
    let receiver = Receiver::new(&[OK]);
    let master = with(&[]);
    let new = json!({"name": "mine", "role": "member"});
    let key = master.call("POST", "/api/v1/api-keys", Some(&new)).json()["key"].clone();
    let bearer = format!("Bearer {}", key.as_str().unwrap());
    let headers = [
        ("authorization", &*bearer),
        ("content-type", "application/json"),
    ];
    let as_member = |method: &str, path: &str, body: &str| {
        master.request(method, path, &headers, body.as_bytes())
    };
    let theirs = told_at(&master, &receiver.address);
    let mut body = one_step("true");
    body["callback_url"] = json!(receiver.address);
    let mine = id(&as_member("POST", "/api/v1/jobs", &body.to_string()).json());
    for job in [&theirs, &mine] {
        settled(&master, job, "delivered");
    }
    let jobs = |list: &Value| -> Vec<String> {
        let all = list["deliveries"].as_array().unwrap();
        all.iter()
            .map(|it| it["job_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let list = "/api/v1/webhooks/deliveries";
    assert_eq!(
        jobs(&as_member("GET", list, "").json()),
        std::slice::from_ref(&mine)
    );
    assert_eq!(jobs(&master.get(list).json()), [mine, theirs.clone()]);
    for (method, rest) in [("GET", ""), ("POST", "/replay")] {
        let answer = as_member(method, &format!("{list}/{theirs}{rest}"), "");
        assert_eq!(answer.status, 404, "{}", answer.text());
    }
    assert_eq!(master.get(&format!("{list}?status=lost")).status, 400);
}

#[test]
fn the_command_line_lists_shows_and_hands_out_secrets() {
    let receiver = Receiver::new(&[OK]);
    let master = with(&[]);
    let job = told_at(&master, &receiver.address);
    settled(&master, &job, "delivered");
    let said = |words: &[&str]| {
        let out = master.danube(words);
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    let list = said(&["webhooks", "list", "--status", "delivered"]);
    assert!(
        list.contains(&job) && list.contains(&receiver.address),
        "{list}"
    );
    let show = said(&["webhooks", "show", &format!("msg_{job}")]);
    assert!(
        show.contains("status  delivered") && show.contains("204"),
        "{show}"
    );
    let [first, second] = [(); 2].map(|()| said(&["webhooks", "secret"]));
    assert!(
        first.starts_with("whsec_") && first.ends_with('\n'),
        "{first}"
    );
    assert_ne!(first, second);
    let third: Value = serde_json::from_str(&said(&["webhooks", "secret", "-o", "json"])).unwrap();
    assert!(third["previous_valid_until"].is_string());
    told_at(&master, &receiver.address);
    receiver.next();
    let signed = receiver.next().headers["webhook-signature"].clone();
    // Each of the three has its 24 hours.
    assert_eq!(signed.split(' ').count(), 3, "{signed}");
    for _ in 0..2 {
        said(&["webhooks", "secret"]);
    }
    let refused = master.danube(&["webhooks", "secret"]);
    assert_eq!(refused.status.code(), Some(6), "{refused:?}");
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("5 secrets sign already"), "{why}");
    told_at(&master, &receiver.address);
    let signed = receiver.next().headers["webhook-signature"].clone();
    assert_eq!(signed.split(' ').count(), 5, "{signed}");
}
