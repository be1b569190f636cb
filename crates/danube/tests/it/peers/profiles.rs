//! Profiles as others read them: Go's `pprof`, and an XML parser.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::program::{find, finish};
use super::python::read_svg;
use crate::master::{DEADLINE, Master};
use crate::processes::until;
use crate::profile::{begin, hold_memory, rest_of, under_load};

/// What `go tool pprof` says of a file.
#[track_caller]
fn pprof(arguments: &[&str], file: &Path) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(find(&["go"]));
    command
        .args(["tool", "pprof", "-symbolize=none"])
        .args(arguments)
        .arg(file)
        .env("HOME", dir.path())
        .env("PPROF_TMPDIR", dir.path());
    let ended = finish(command, b"");
    assert!(ended.status.success(), "{}", ended.stderr);
    ended.stdout
}

#[test]
fn gos_pprof_reads_who_used_the_processor() {
    let master = Master::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cpu.pb.gz");
    let profile = under_load(&master, "/debug/pprof/profile?seconds=4&hz=500");
    fs::write(&file, profile).unwrap();
    let top = pprof(
        &["-top", "-cum", "-nodecount=2000", "-nodefraction=0"],
        &file,
    );
    assert!(top.contains("Type: cpu"), "{top}");
    assert!(top.contains("Duration: 4"), "{top}");
    for name in [
        "danube_store::writer::",
        "danube_master::",
        "danube_worker::",
        "sqlite3",
    ] {
        assert!(top.contains(name), "no {name} in {top}");
    }
    // By thread, whose names are labels, and as the numbers that were asked for.
    let tags = pprof(&["-tags"], &file);
    assert!(
        tags.contains("danube-store") && tags.contains("http"),
        "{tags}"
    );
    let raw = pprof(&["-raw"], &file);
    assert!(raw.contains("samples/count cpu/nanoseconds"), "{raw}");
    assert!(raw.contains("Period: 2000000"), "{raw}");
    // Where it lies on the disk and in memory is nobody's business.
    assert!(
        !raw.contains(env!("CARGO_MANIFEST_DIR")) && !raw.contains("0x7f"),
        "{raw}"
    );
}

#[test]
fn gos_pprof_reads_the_files_of_a_whole_run() {
    let mut master = Master::in_environment(&[("DANUBE_PROFILE", "1")], &[]);
    for _ in 0..20 {
        master.ended(&master.run("echo hello"));
    }
    // Held when the server is told to stop; the processor has something to do until then.
    let _half = hold_memory(&master);
    until("what is held", DEADLINE, || {
        let answer = master.get("/debug/pprof/heap?format=folded");
        answer
            .text()
            .contains("danube_master::http::")
            .then_some(())
    });
    master.signal("TERM");
    assert!(master.wait().success());
    let cpu = pprof(
        &["-top", "-cum", "-nodecount=2000", "-nodefraction=0"],
        &master.dir.join("profile-cpu.pb.gz"),
    );
    assert!(cpu.contains("Type: cpu") && cpu.contains("danube"), "{cpu}");
    let heap = pprof(
        &["-top", "-cum", "-nodecount=2000", "-nodefraction=0"],
        &master.dir.join("profile-heap.pb.gz"),
    );
    assert!(
        heap.contains("Type: inuse_space") && heap.contains("danube_"),
        "{heap}"
    );
}

#[test]
fn a_flame_graph_is_xml_without_scripts_and_names_our_functions() {
    let master = Master::start();
    let answer = begin(&master, "/debug/pprof/profile?seconds=1&format=svg");
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "image/svg+xml");
    assert!(header("content-security-policy").starts_with("default-src 'none'"));
    drop(answer);
    let profile = under_load_when_free(&master);
    let svg = read_svg(&profile);
    assert_eq!(
        svg["elements"],
        json!(["g", "rect", "svg", "text", "title"])
    );
    let attributes: Vec<&str> = strings(&svg["attributes"]);
    for wrong in ["style", "href", "class"] {
        assert!(!attributes.contains(&wrong), "{attributes:?}");
    }
    assert!(
        attributes.iter().all(|it| !it.starts_with("on")),
        "{attributes:?}"
    );
    let titles = strings(&svg["titles"]);
    assert!(
        titles[0].starts_with("all (") && titles[0].ends_with("100.0 %)"),
        "{}",
        titles[0]
    );
    for name in ["danube_store::", "danube_master::"] {
        assert!(
            titles.iter().any(|it| it.contains(name)),
            "no {name} in {titles:?}"
        );
    }
    let memory = rest_of(begin(&master, "/debug/pprof/heap?seconds=1&format=svg"));
    assert!(!strings(&read_svg(&memory)["titles"]).is_empty());
}

/// The one before was left by its client, and ends in a moment.
#[track_caller]
fn under_load_when_free(master: &Master) -> Vec<u8> {
    let path = "/debug/pprof/profile?seconds=4&format=svg&hz=500";
    until("the next profile", DEADLINE, || {
        (master.get("/debug/pprof/heap?seconds=1").status == 200).then_some(())
    });
    under_load(master, path)
}

fn strings(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap().iter();
    list.map(|it| it.as_str().unwrap()).collect()
}
