//! A worker in a network namespace of its own, behind a link that goes dead: packets vanish,
//! and nobody is told. Other than a cut connection, nothing ends by itself.

use std::process::{Command, id};

use serde_json::json;

use super::row::row;
use crate::elsewhere::{Elsewhere, Wire, token};
use crate::master::{DEADLINE, Master};
use crate::processes::{HELD, of_job, release, root_or_skip, until};

/// A namespace with one link to this machine. Goes when dropped.
struct Namespace {
    name: String,
    /// Our end of the link.
    link: String,
    /// The address of our end.
    here: String,
}

impl Namespace {
    /// The `number`th one of this process.
    fn new(number: u8) -> Self {
        let own = id();
        let (name, link) = (
            format!("danube-{own}-{number}"),
            format!("dn{own}a{number}"),
        );
        let there = format!("dn{own}b{number}");
        // 198.18.0.0/15 is for tests of networks (RFC 2544).
        let net = |host: u8| format!("198.18.{}.{}", own % 256, 4 * number + host);
        let space = Self {
            here: net(1),
            name,
            link,
        };
        let (name, link) = (&space.name, &space.link);
        ip(&["netns", "add", name]);
        ip(&[
            "link", "add", link, "type", "veth", "peer", "name", &there, "netns", name,
        ]);
        ip(&["addr", "add", &format!("{}/30", net(1)), "dev", link]);
        ip(&["link", "set", link, "up"]);
        ip(&[
            "-n",
            name,
            "addr",
            "add",
            &format!("{}/30", net(2)),
            "dev",
            &there,
        ]);
        ip(&["-n", name, "link", "set", &there, "up"]);
        ip(&["-n", name, "link", "set", "lo", "up"]);
        space
    }

    /// A worker in it, that reaches the master through this wire.
    fn worker(&self, master: &Master, wire: &Wire, name: &str) -> Elsewhere {
        let token = token(master, name);
        let space = format!("--net=/run/netns/{}", self.name);
        let words = ["nsenter", &space];
        // Its Redis is on the other side of nothing: it asks the master.
        Elsewhere::on_redis(
            (&wire.address, &token),
            "redis://127.0.0.1:1",
            &words,
            &["--insecure-http"],
        )
    }

    fn part(&self) {
        ip(&["link", "set", &self.link, "down"]);
    }

    fn heal(&self) {
        ip(&["link", "set", &self.link, "up"]);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The link goes with either end.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

#[track_caller]
fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {output:?}");
}

/// The shortest lease that the settings allow.
const SHORT: [&str; 4] = ["--jobs-at-once", "0", "--lease", "3"];

#[test]
fn a_worker_behind_a_dead_link_loses_its_job_and_ends_it_when_the_link_is_back() {
    let row = row!("worker killed, frozen or cut off");
    if !root_or_skip("a network namespace") {
        return row.left_out("needs root");
    }
    let space = Namespace::new(0);
    let master = Master::with(&SHORT);
    let wire = Wire::at(&space.here, &master);
    let _far = space.worker(&master, &wire, "far");
    let id = master.run(HELD);
    master.until_log(&id, "begin\n");
    let before = of_job(&id);
    space.part();
    let near = Elsewhere::start(&master, "near", &[]);
    master.until_log(&id, "begin\nbegin\n");
    space.heal();
    until("the old attempt's processes end", DEADLINE, || {
        let now = of_job(&id);
        before.iter().all(|it| !now.contains(it)).then_some(())
    });
    release(&id);
    let job = master.ended(&id);
    assert_eq!(
        (&job["status"], &job["attempt"], &job["worker_id"]),
        (&json!("success"), &json!(2), &json!("near")),
        "{job}"
    );
    assert_eq!(master.log(&id), b"begin\nbegin\nend\n");
    // It works on.
    drop(near);
    let next = master.ended(&master.run("echo more"));
    assert_eq!(next["worker_id"], "far", "{next}");
    row.held(1, "");
}

#[test]
fn a_link_that_is_dead_for_a_moment_costs_nothing() {
    let row = row!("worker killed, frozen or cut off");
    if !root_or_skip("a network namespace") {
        return row.left_out("needs root");
    }
    let space = Namespace::new(1);
    let master = Master::with(&["--jobs-at-once", "0"]);
    let wire = Wire::at(&space.here, &master);
    let _far = space.worker(&master, &wire, "far");
    let id = master.run(HELD);
    master.until_log(&id, "begin\n");
    for _ in 0..3 {
        space.part();
        let other = master.run("true");
        space.heal();
        let job = master.ended(&other);
        assert_eq!(
            (&job["status"], &job["attempt"]),
            (&json!("success"), &json!(1)),
            "{job}"
        );
    }
    release(&id);
    let job = master.ended(&id);
    assert_eq!(
        (&job["status"], &job["attempt"], &job["log_complete"]),
        (&json!("success"), &json!(1), &json!(true)),
        "{job}"
    );
    assert_eq!(master.log(&id), b"begin\nend\n");
    row.held(3, "");
}
