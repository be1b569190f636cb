//! Files that jobs leave: who may leave and fetch them, how much, and what a kill, a full
//! disk and time do to them.

mod broken;
mod keeping;
mod patterns;
mod provenance;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rusqlite::Connection;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::elsewhere::Elsewhere;
use crate::faults::SmallDisk;
use crate::master::{Answer, DANUBE, DEADLINE, Master, id, one_step};
use crate::processes::{arrival, root_or_skip, until};
use crate::wire::connect;

/// A job whose step waits, and the token that it told.
pub(crate) struct Waiting {
    id: String,
    token: String,
    line: BufReader<TcpStream>,
    listener: TcpListener,
}

impl Waiting {
    pub(crate) fn start(master: &Master) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = format!(
            "exec 9<>/dev/tcp/127.0.0.1/{port}; echo \"$DANUBE_JOB_TOKEN\" >&9; read -r word <&9"
        );
        let mut order = one_step(&script);
        order["spec"]["shell"] = json!("bash");
        let id = id(&master.submit(&order));
        let (token, line) = Self::arrival(&listener);
        Self {
            id,
            token,
            line,
            listener,
        }
    }

    fn arrival(listener: &TcpListener) -> (String, BufReader<TcpStream>) {
        let mut line = BufReader::new(arrival(listener));
        let mut token = String::new();
        line.read_line(&mut token).unwrap();
        (token.trim().to_owned(), line)
    }

    /// The next attempt at the same job.
    fn again(&mut self) {
        (self.token, self.line) = Self::arrival(&self.listener);
    }

    pub(crate) fn put(&self, master: &Master, name: &str, bytes: &[u8]) -> Answer {
        put(master, &self.id, name, &self.token, bytes)
    }

    /// `danube artifact …` as the step would call it. A step doesn't see this program if it
    /// was built below `/tmp`.
    fn danube(&self, master: &Master, arguments: &[&str]) -> Output {
        Command::new(DANUBE)
            .arg("artifact")
            .args(arguments)
            .env_clear()
            .env("DANUBE_SERVER", &master.address)
            .env("DANUBE_JOB_ID", &self.id)
            .env("DANUBE_JOB_TOKEN", &self.token)
            .env("DANUBE_STEP", "only")
            .output()
            .unwrap()
    }

    pub(crate) fn end(mut self, master: &Master) -> String {
        self.line.get_mut().write_all(b"go\n").unwrap();
        assert_eq!(master.ended(&self.id)["status"], "success");
        self.id
    }
}

fn put(master: &Master, job: &str, name: &str, token: &str, bytes: &[u8]) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    master.request("PUT", &path(job, name), &headers, bytes)
}

fn path(job: &str, name: &str) -> String {
    format!("/api/v1/jobs/{job}/artifacts/{name}")
}

fn list(master: &Master, job: &str) -> Vec<Value> {
    let answer = master.get(&format!("/api/v1/jobs/{job}/artifacts"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["artifacts"].as_array().unwrap().clone()
}

fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|it| format!("{it:02x}")).collect()
}

/// Waits for what is bound to come true.
#[track_caller]
fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    until(what, DEADLINE, || is_so().then_some(()));
}

/// Every file below the directory of artifacts.
fn files(dir: &Path) -> Vec<PathBuf> {
    let jobs = fs::read_dir(dir.join("artifacts")).into_iter().flatten();
    jobs.flat_map(|it| fs::read_dir(it.unwrap().path()).unwrap())
        .map(|it| it.unwrap().path())
        .collect()
}

#[test]
fn a_job_leaves_a_file_and_whoever_reads_the_job_fetches_it() {
    let master = Master::start();
    let job = Waiting::start(&master);
    let own = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let app = own.path().join("app.bin");
    fs::write(&app, &bytes).unwrap();
    let app = app.to_str().unwrap();
    let said = job.danube(&master, &["upload", app, "--name", "dist/app ä.bin"]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    assert!(text.contains(&sha256(&bytes)), "{text}");
    assert!(job.danube(&master, &["upload", app]).status.success());
    let id = job.end(&master);

    let all = list(&master, &id);
    let names: Vec<&Value> = all.iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["app.bin", "dist/app ä.bin"]);
    for it in &all {
        assert_eq!(it["bytes"], bytes.len());
        assert_eq!(it["sha256"], sha256(&bytes));
        assert_eq!((&it["step"], &it["attempt"]), (&json!("only"), &json!(1)));
    }

    let encoded = path(&id, "dist%2Fapp%20%C3%A4.bin");
    let whole = master.get(&encoded);
    assert_eq!(whole.status, 200);
    assert!(whole.body == bytes, "byte for byte");
    let tag = format!("\"{}\"", sha256(&bytes));
    assert_eq!(whole.header("etag"), Some(tag.as_str()));
    assert_eq!(whole.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(
        whole.header("content-type"),
        Some("application/octet-stream")
    );
    assert_eq!(
        whole.header("content-disposition"),
        Some("attachment; filename=\"app _.bin\"; filename*=UTF-8''app%20%C3%A4.bin")
    );
    let key = format!("Bearer {}", master.key);
    let ask = |header: (&str, &str)| {
        master.request("GET", &encoded, &[("authorization", &key), header], b"")
    };
    let part = ask(("range", "bytes=5-1000000"));
    assert_eq!(part.status, 206);
    assert!(part.body == bytes[5..=1_000_000]);
    let range = format!("bytes 5-1000000/{}", bytes.len());
    assert_eq!(part.header("content-range"), Some(range.as_str()));
    assert_eq!(ask(("range", "bytes=-7")).body, bytes[bytes.len() - 7..]);
    assert_eq!(ask(("range", "bytes=99999999-")).status, 416);
    assert_eq!(ask(("if-none-match", &tag)).status, 304);
    assert_eq!(master.get(&path(&id, "nothing")).status, 404);

    fetched_by_the_command_line(&master, &id, own.path(), &bytes);
}

fn fetched_by_the_command_line(master: &Master, id: &str, own: &Path, bytes: &[u8]) {
    let into = own.join("here");
    let into = into.to_str().unwrap();
    let fetch = || master.danube(&["artifact", "download", id, "--dir", into]);
    let said = fetch();
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    for name in ["app.bin", "dist/app ä.bin"] {
        assert!(fs::read(Path::new(into).join(name)).unwrap() == bytes);
    }
    fs::remove_file(Path::new(into).join("dist/app ä.bin")).unwrap();
    fs::write(Path::new(into).join("app.bin"), "mine").unwrap();
    assert_eq!(fetch().status.code(), Some(6), "it writes over nothing");
    assert_eq!(fs::read(Path::new(into).join("app.bin")).unwrap(), b"mine");
    let left = fs::read_dir(into).unwrap().count();
    assert_eq!(left, 2, "and leaves no draft");
    let said = master.danube(&["artifact", "download", id, "none", "--dir", into]);
    assert_eq!(said.status.code(), Some(5));

    let said = master.danube(&["artifact", "delete", id, "app.bin"]);
    assert!(said.status.success());
    let said = master.danube(&["artifact", "list", id]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        text.contains("dist/app ä.bin") && !text.contains("app.bin "),
        "{text}"
    );
    assert_eq!(master.get(&path(id, "app.bin")).status, 404);
    assert_eq!(files(&master.dir).len(), 1);
}

#[test]
fn only_a_running_job_leaves_files_and_only_an_administrator_deletes_them() {
    let master = Master::start();
    let (one, other) = (Waiting::start(&master), Waiting::start(&master));
    let status = |answer: Answer| answer.status;
    assert_eq!(status(one.put(&master, "a", b"a")), 200);
    assert_eq!(status(put(&master, &one.id, "b", &other.token, b"b")), 401);
    assert_eq!(status(put(&master, &one.id, "b", "dnb_job_0", b"b")), 401);
    assert_eq!(status(put(&master, &one.id, "b", &master.key, b"b")), 403);
    let denied = r#"danube_auth_permission_denied_total{resource="artifact"}"#;
    assert!((master.metric(denied) - 1.0).abs() < f64::EPSILON);
    // Its token reads nothing: whoever has it learns nothing of other jobs.
    let bearer = format!("Bearer {}", one.token);
    let own = [("authorization", bearer.as_str())];
    for (method, name) in [("GET", "a"), ("DELETE", "a")] {
        let answer = master.request(method, &path(&one.id, name), &own, b"");
        assert_eq!(answer.status, 401, "{method}");
    }
    let member = json!({"name": "builder", "role": "member"});
    let member = master
        .call("POST", "/api/v1/api-keys", Some(&member))
        .json();
    let bearer = format!("Bearer {}", member["key"].as_str().unwrap());
    let headers = [("authorization", bearer.as_str())];
    let as_member = |method: &str| master.request(method, &path(&one.id, "a"), &headers, b"");
    assert_eq!(as_member("GET").body, b"a");
    assert_eq!(as_member("DELETE").status, 403);
    let token = one.token.clone();
    let ended = one.end(&master);
    assert_eq!(
        status(put(&master, &ended, "c", &token, b"c")),
        401,
        "it died"
    );
    assert_eq!(list(&master, &ended).len(), 1);
    assert!(!master.log_lines().join("\n").contains(&token));
}

#[test]
fn no_name_leads_out_of_the_job_s_directory() {
    let master = Master::start();
    let job = Waiting::start(&master);
    let long = "x".repeat(256);
    let names = [
        "..",
        "%2E%2E",
        "..%2F..%2Fadmin.key",
        "a%2F..%2F..%2Fb",
        "%2Fetc%2Fpasswd",
        "a%2F",
        "a%2F%2Fb",
        "a%00b",
        "a%0Ab",
        "a%5Cb",
        &long,
    ];
    for name in names {
        let answer = job.put(&master, name, b"evil");
        let is_refused = matches!(answer.status, 404 | 405 | 422);
        assert!(is_refused, "{name}: {} {}", answer.status, answer.text());
    }
    assert_eq!(job.put(&master, "%FF", b"evil").status, 401);
    let longest = "x".repeat(255);
    assert_eq!(job.put(&master, &longest, b"good").status, 200);
    let id = job.end(&master);
    assert_eq!(list(&master, &id).len(), 1);
    assert_eq!(files(&master.dir).len(), 1);
    for name in ["..%2F..%2Fadmin.key", "..%2Fadmin.key", "%2Fetc%2Fpasswd"] {
        assert_eq!(master.get(&path(&id, name)).status, 404, "{name}");
    }
}

#[test]
fn what_is_too_much_is_refused_and_leaves_nothing() {
    let limits = [
        "--artifact-max-bytes",
        "1000",
        "--artifacts-max-bytes",
        "1500",
    ];
    let master = Master::with(&limits);
    let job = Waiting::start(&master);
    let large = job.put(&master, "large", &[b'x'; 1001]);
    assert_eq!(large.status, 413);
    assert!(
        large.text().contains("artifacts.file_max_bytes"),
        "{}",
        large.text()
    );
    // One that doesn't announce how long it is.
    let mut stream = connect(&master);
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        path(&job.id, "chunked"),
        job.token
    );
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    stream.write_all(chunk.repeat(3).as_bytes()).unwrap();
    stream.write_all(b"0\r\n\r\n").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");

    assert_eq!(job.put(&master, "one", &[b'x'; 1000]).status, 200);
    assert_eq!(
        job.put(&master, "one", &[b'x'; 1000]).status,
        200,
        "twice is once"
    );
    let other = job.put(&master, "one", &[b'y'; 1000]);
    assert_eq!(other.status, 409, "{}", other.text());
    assert_eq!(other.json()["code"], "name_taken");
    let more = job.put(&master, "two", &[b'x'; 501]);
    assert_eq!(more.status, 413);
    assert!(
        more.text().contains("artifacts.job_max_bytes"),
        "{}",
        more.text()
    );
    assert_eq!(job.put(&master, "two", &[b'x'; 500]).status, 200);
    assert_eq!(job.put(&master, "empty", b"").status, 200);
    let id = job.end(&master);
    assert_eq!(list(&master, &id).len(), 3);
    assert_eq!(files(&master.dir).len(), 3);
    assert!(master.get(&path(&id, "empty")).body.is_empty());
}

#[test]
fn a_kill_in_the_middle_of_an_upload_leaves_nothing_half_and_the_next_attempt_leaves_its_own() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &[]);
    let mut job = Waiting::start(&master);
    assert_eq!(job.put(&master, "whole", b"first").status, 200);
    let mut stream = connect(&master);
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 9000000\r\n\r\n",
        path(&job.id, "half"),
        job.token
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&vec![b'x'; 1_000_000]).unwrap();
    let is_begun = |it: &PathBuf| {
        it.extension().is_some_and(|it| it == "part") && fs::metadata(it).unwrap().len() > 0
    };
    soon("some of it is on the disk", || {
        files(&dir).iter().any(is_begun)
    });
    // The reaper leaves alone what is just being sent.
    assert!(master.danube(&["reap"]).status.success());
    assert_eq!(files(&dir).len(), 2);
    master.kill();
    assert_eq!(files(&dir).len(), 2);

    let master = Master::start_in(&dir, &[]);
    job.again();
    soon("what was half is gone", || files(&dir).len() == 1);
    assert_eq!(list(&master, &job.id).len(), 1);
    assert_eq!(master.get(&path(&job.id, "half")).status, 404);
    // What an attempt before it left may be left anew.
    assert_eq!(job.put(&master, "whole", b"second").status, 200);
    let id = job.end(&master);
    let all = list(&master, &id);
    assert_eq!((all.len(), &all[0]["attempt"]), (1, &json!(2)));
    assert_eq!(master.get(&path(&id, "whole")).body, b"second");
    assert_eq!(files(&dir).len(), 1);
}

#[test]
fn a_sender_that_leaves_leaves_nothing() {
    let master = Master::start();
    let job = Waiting::start(&master);
    let mut stream = connect(&master);
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 9000000\r\n\r\nabc",
        path(&job.id, "half"),
        job.token
    );
    stream.write_all(head.as_bytes()).unwrap();
    soon("it is begun", || files(&master.dir).len() == 1);
    drop(stream);
    soon("it is gone", || files(&master.dir).is_empty());
    let id = job.end(&master);
    assert!(list(&master, &id).is_empty());
}

#[test]
fn a_disk_without_room_takes_no_artifact_and_the_job_goes_on() {
    if !root_or_skip("mounting a small disk") {
        return;
    }
    let disk = SmallDisk::mount("48m");
    let dir = disk.dir.join("data");
    let master = Master::start_in(&dir, &[]);
    let job = Waiting::start(&master);
    let answer = job.put(&master, "a", b"some bytes");
    assert_eq!(answer.status, 507, "{}", answer.text());
    assert_eq!(answer.json()["code"], "no_space");
    assert!(files(&dir).is_empty());
    job.end(&master);
}

#[test]
fn a_job_elsewhere_leaves_its_files_with_the_master() {
    let master = Master::with(&["--jobs-at-once", "0"]);
    let _worker = Elsewhere::start(&master, "far", &[]);
    let job = Waiting::start(&master);
    assert_eq!(job.put(&master, "far.txt", b"from afar").status, 200);
    let token = job.token.clone();
    let id = job.end(&master);
    assert_eq!(master.get(&path(&id, "far.txt")).body, b"from afar");
    assert_eq!(put(&master, &id, "late", &token, b"x").status, 401);
}

#[test]
fn artifacts_go_in_their_time_and_what_is_nobody_s_is_found() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let mut master = Master::start_in(&dir, &[]);
    let job = Waiting::start(&master);
    for name in ["old", "lost", "young"] {
        assert_eq!(job.put(&master, name, name.as_bytes()).status, 200);
    }
    let id = job.end(&master);
    master.signal("TERM");
    assert!(master.wait().success());
    let lost = files(&dir)
        .into_iter()
        .find(|it| fs::read(it).unwrap() == b"lost");
    fs::remove_file(lost.unwrap()).unwrap();
    let nobodys = dir.join("artifacts").join(&id).join("0".repeat(32));
    fs::write(&nobodys, "whose?").unwrap();
    let connection = Connection::open(dir.join("danube.db")).unwrap();
    connection
        .execute_batch(
            "UPDATE artifacts SET created_at = created_at - 31 * 86400000 WHERE name = 'old'",
        )
        .unwrap();
    drop(connection);

    let master = Master::start_in(&dir, &[]);
    let told = master.event(|it| it["event"] == "reaper_completed");
    assert_eq!(told["artifacts_deleted"], 2, "{told}");
    assert_eq!(told["bytes_freed"], "old".len() + "whose?".len(), "{told}");
    let all = list(&master, &id);
    assert_eq!((all.len(), &all[0]["name"]), (1, &json!("young")));
    assert_eq!(files(&dir).len(), 1);
    assert!(!nobodys.exists());
    drop(master);
    let master = Master::start_in(&dir, &["--artifacts-days", "0"]);
    let used = r#"danube_disk_usage_bytes{kind="artifacts"}"#;
    soon("it is measured", || {
        (master.metric(used) - 5.0).abs() < f64::EPSILON
    });
}

#[test]
fn a_name_that_holds_a_masked_value_is_refused() {
    let master = Master::start();
    let job = Waiting::start(&master);
    let body = json!({"value": "geheimnis-4711"});
    let masked = master.call(
        "POST",
        &format!("/api/v1/jobs/{}/mask", job.id),
        Some(&body),
    );
    assert_eq!(masked.status, 200);
    let answer = job.put(&master, "x-geheimnis-4711.txt", b"x");
    assert_eq!(answer.status, 422);
    assert!(!answer.text().contains("geheimnis"), "{}", answer.text());
    let id = job.end(&master);
    assert!(list(&master, &id).is_empty() && files(&master.dir).is_empty());
}
