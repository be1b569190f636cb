//! Uploads of a coordinator that break off in the middle: the master is killed, or the client.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::offline::{socket, token};
use super::{Scripted, log, submit};
use crate::elsewhere::{Elsewhere, Wire};
use crate::master::{DEADLINE, Master, id, one_step};
use crate::processes::{HELD, release, until};
use crate::secrets;

/// Bytes of the file: far more than waits in connections.
const BYTES: u64 = 32 * 1024 * 1024;

/// So many of them pass at first. Nothing else sends as many.
const PASS_BYTES: u64 = 2 * 1024 * 1024;

/// A master without a worker of its own, and one behind a wire, whose jobs have a network or
/// none.
struct Rig {
    scripted: Scripted,
    master: Master,
    wire: Wire,
    _worker: Elsewhere,
    own: TempDir,
}

impl Rig {
    fn new(program: &str, network: bool) -> Self {
        let scripted = Scripted::new("ci", program);
        let own = tempfile::tempdir().unwrap();
        let master = scripted.master_in(&own.path().join("data"), &["--jobs-at-once", "0"]);
        secrets::set(&master, "deploy");
        let wire = Wire::to(&master);
        let network = if network { "true" } else { "false" };
        let variables = [("DANUBE_STEPS_NETWORK", network)];
        let worker = Elsewhere::in_environment_by_way_of(&master, &wire.address, "far", &variables);
        wire.hold_beyond(PASS_BYTES);
        Self {
            scripted,
            master,
            wire,
            _worker: worker,
            own,
        }
    }

    /// Waits until some of the file is at the master, and no more comes.
    #[track_caller]
    fn until_half(&self) {
        until("some of the file is on the disk", DEADLINE, || {
            let found = files(&self.master.dir);
            let half = found.iter().filter_map(|it| fs::metadata(it).ok());
            half.map(|it| it.len()).find(|it| (1..BYTES).contains(it))
        });
    }

    fn artifacts(&self, job: &str) -> Vec<Value> {
        let path = format!("/api/v1/jobs/{job}/artifacts");
        let list = self.master.get(&path).json();
        list["artifacts"].as_array().unwrap().clone()
    }

    #[track_caller]
    fn until_files(&self, count: usize) {
        until("what was half is gone", DEADLINE, || {
            (files(&self.master.dir).len() == count).then_some(())
        });
    }
}

/// Every file below the directory of artifacts.
fn files(dir: &Path) -> Vec<PathBuf> {
    let jobs = fs::read_dir(dir.join("artifacts")).into_iter().flatten();
    let jobs = jobs.filter_map(|it| fs::read_dir(it.ok()?.path()).ok());
    jobs.flatten()
        .filter_map(|it| it.ok().map(|it| it.path()))
        .collect()
}

#[track_caller]
fn is_whole_after_a_kill_of_the_master(network: bool) {
    let program = format!(
        "#!/bin/sh\nset -eu\nhead -c {BYTES} /dev/zero | tr '\\0' x > big\n\
         danube artifact upload big\necho uploaded\n"
    );
    let mut rig = Rig::new(&program, network);
    let job = submit(&rig.master);
    rig.until_half();
    rig.master.kill();
    rig.wire.cut();
    let dir = rig.own.path().join("data");
    rig.master = rig.scripted.master_in(&dir, &["--jobs-at-once", "0"]);
    rig.wire.lead_to(&rig.master);
    let ended = rig.master.ended(&job);
    let log = log(&rig.master, &job);
    assert_eq!(ended["status"], "success", "{ended} {log}");
    assert_eq!(ended["attempt"], 1, "{ended}");
    let all = rig.artifacts(&job);
    assert_eq!(all.len(), 1, "{all:?}");
    let hash = Sha256::digest(vec![b'x'; usize::try_from(BYTES).unwrap()]);
    let hash: String = hash.iter().map(|it| format!("{it:02x}")).collect();
    assert_eq!(all[0]["bytes"], BYTES);
    assert_eq!(all[0]["sha256"], hash);
    rig.until_files(1);
    assert_eq!(log.matches("uploaded big").count(), 1, "{log}");
}

#[test]
fn a_master_that_is_killed_in_the_middle_of_an_upload_has_the_file_once_and_whole() {
    is_whole_after_a_kill_of_the_master(true);
}

#[test]
fn the_same_of_a_job_without_network() {
    is_whole_after_a_kill_of_the_master(false);
}

#[track_caller]
fn is_nowhere_after_a_kill_of_the_client(network: bool) {
    let program = format!(
        "#!/bin/sh\nset -eu\ntruncate -s {BYTES} big\ndanube artifact upload big & up=$!\n\
         trap 'kill -9 $up' USR1\nwait $up || true\ncode=0\nwait $up || code=$?\n\
         echo \"client ended with $code\"\necho small > small\ndanube artifact upload small\n"
    );
    let rig = Rig::new(&program, network);
    let job = submit(&rig.master);
    rig.until_half();
    release(&job);
    rig.master.until_log(&job, "client ended with 137\n");
    rig.wire.let_go();
    let ended = rig.master.ended(&job);
    assert_eq!(ended["status"], "success", "{ended}");
    let all = rig.artifacts(&job);
    let names: Vec<&str> = all.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["small"]);
    rig.until_files(1);
}

#[test]
fn a_client_that_is_killed_in_the_middle_of_an_upload_leaves_nothing() {
    is_nowhere_after_a_kill_of_the_client(true);
}

#[test]
fn the_same_of_a_client_without_network() {
    is_nowhere_after_a_kill_of_the_client(false);
}

#[test]
fn a_body_without_length_that_breaks_off_at_a_socket_leaves_nothing() {
    let master = Master::with(&["--step-network=false"]);
    let job = id(&master.submit(&one_step(HELD)));
    master.until_log(&job, "begin\n");
    let mut stream = UnixStream::connect(socket(&master, &job)).unwrap();
    let head = format!(
        "POST /rpc/upload-artifact?name=a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        token(&job)
    );
    stream.write_all(head.as_bytes()).unwrap();
    let count = |wanted: usize| {
        let found = || (files(&master.dir).len() == wanted).then_some(());
        until("so many files are there", DEADLINE, found);
    };
    count(1);
    drop(stream);
    count(0);
    release(&job);
    assert_eq!(master.ended(&job)["status"], "success");
    let list = master.get(&format!("/api/v1/jobs/{job}/artifacts")).json();
    assert_eq!(list["artifacts"], json!([]));
}
