//! Uploads that meet a full disk, too many others, or the end of their worker; and downloads
//! that go on where one broke off.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use serde_json::json;

use super::{Waiting, files, list, path, soon};
use crate::elsewhere::Elsewhere;
use crate::faults::SmallDisk;
use crate::master::{Master, id};
use crate::processes::root_or_skip;
use crate::wire::connect;

/// The 17th hears that there are too many.
const AT_ONCE: usize = 16;

/// Begins an upload of so many bytes, of which none is sent yet.
fn begun(master: &Master, job: &Waiting, name: &str, bytes: usize) -> TcpStream {
    let mut stream = connect(master);
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: {bytes}\r\n\r\n",
        path(&job.id, name),
        job.token
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn has_bytes(file: &PathBuf) -> bool {
    fs::metadata(file).is_ok_and(|it| it.len() > 0)
}

#[test]
fn a_disk_that_fills_in_the_middle_of_an_upload_keeps_nothing_of_it() {
    if !root_or_skip("mounting a small disk") {
        return;
    }
    let disk = SmallDisk::mount("160m");
    let dir = disk.dir.join("data");
    let master = Master::start_in(&dir, &[]);
    let job = Waiting::start(&master);
    assert_eq!(job.put(&master, "before", b"whole").status, 200);
    let mut stream = begun(&master, &job, "half", 10_000_000);
    stream.write_all(&vec![b'x'; 1_000_000]).unwrap();
    soon("some of it is on the disk", || {
        files(&dir).iter().filter(|it| has_bytes(it)).count() == 2
    });
    disk.fill();
    // The answer may come before all is sent.
    let _ = stream.write_all(&vec![b'x'; 9_000_000]);
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 507"), "{answer}");
    soon("what was half is gone", || files(&dir).len() == 1);
    disk.free();
    assert_eq!(job.put(&master, "half", b"now whole").status, 200);
    let id = job.end(&master);
    assert_eq!(list(&master, &id).len(), 2);
    assert_eq!(master.get(&path(&id, "before")).body, b"whole");
    assert_eq!(master.get(&path(&id, "half")).body, b"now whole");
}

#[test]
fn one_upload_too_many_is_told_to_come_again() {
    let master = Master::start();
    let job = Waiting::start(&master);
    let mut open: Vec<TcpStream> = (0..AT_ONCE)
        .map(|it| begun(&master, &job, &format!("open-{it}"), 3))
        .collect();
    soon("all of them have their turn", || {
        files(&master.dir).len() == AT_ONCE
    });
    let answer = job.put(&master, "one-more", b"abc");
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(answer.json()["code"], "too_many");
    let mut last = open.pop().unwrap();
    last.write_all(b"abc").unwrap();
    let mut line = String::new();
    BufReader::new(last).read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    soon("its turn is free", || {
        job.put(&master, "one-more", b"abc").status == 200
    });
    drop(open);
    soon("those that left leave nothing", || {
        files(&master.dir).len() == 2
    });
    let id = job.end(&master);
    assert_eq!(list(&master, &id).len(), 2);
}

#[test]
fn a_range_of_what_was_meanwhile_replaced_is_the_whole() {
    let master = Master::start();
    let job = Waiting::start(&master);
    assert_eq!(job.put(&master, "a", b"0123456789").status, 200);
    let id = job.end(&master);
    let tag = master
        .get(&path(&id, "a"))
        .header("etag")
        .unwrap()
        .to_owned();
    let key = format!("Bearer {}", master.key);
    let ask = |if_range: &str| {
        let headers = [
            ("authorization", key.as_str()),
            ("range", "bytes=3-5"),
            ("if-range", if_range),
        ];
        let answer = master.request("GET", &path(&id, "a"), &headers, b"");
        (answer.status, answer.body)
    };
    assert_eq!(ask(&tag), (206, b"345".to_vec()));
    // A weak tag says only that it is about the same; a date we don't know.
    for other in [
        "\"0\"",
        &format!("W/{tag}"),
        "Fri, 27 Nov 2026 00:00:00 GMT",
    ] {
        assert_eq!(ask(other), (200, b"0123456789".to_vec()), "{other}");
    }
}

#[test]
fn a_worker_that_is_killed_in_the_middle_of_an_upload_leaves_nothing_half() {
    let master = Master::with(&["--jobs-at-once", "0", "--lease", "3"]);
    let mut worker = Elsewhere::start(&master, "far", &[]);
    // Large enough that nobody has sent it before it is seen.
    let steps =
        json!([{"name": "s", "run": "echo a > a; truncate -s 900M b", "artifacts": ["a", "b"]}]);
    let order = json!({"spec": {"name": "p", "retry_on_lost": false, "steps": steps}});
    let id = id(&master.submit(&order));
    soon("the second file is under way", || {
        let all = files(&master.dir);
        all.len() == 2
            && all
                .iter()
                .any(|it| it.extension().is_some_and(|it| it == "part") && has_bytes(it))
    });
    worker.kill();
    let job = master.ended(&id);
    assert_eq!(job["status"], "failure", "{job}");
    soon("what was half is gone", || files(&master.dir).len() == 1);
    let all = list(&master, &id);
    assert_eq!((all.len(), &all[0]["name"]), (1, &json!("a")));
    assert_eq!(master.get(&path(&id, "b")).status, 404);
}
