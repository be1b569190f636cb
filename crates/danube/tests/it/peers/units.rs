//! The units of `deploy/systemd`, as systemd reads them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::find;
use crate::master::DANUBE;

/// What each service may expose at most, in the words of `systemd-analyze security`.
const EXPOSURE_MAX: [(&str, f64); 3] = [
    ("danube-master.service", 1.5),
    ("danube.service", 2.5),
    ("danube-worker.service", 2.5),
];

fn units() -> Vec<PathBuf> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/systemd");
    let all = fs::read_dir(dir).unwrap().map(|it| it.unwrap().path());
    let is_unit = |it: &PathBuf| {
        let kind = it.extension().unwrap().to_str().unwrap();
        ["service", "socket"].contains(&kind)
    };
    let units: Vec<PathBuf> = all.filter(is_unit).collect();
    assert_eq!(units.len(), 5);
    units
}

fn analyze() -> Command {
    let mut analyze = Command::new(find(&["systemd-analyze"]));
    analyze.env("SYSTEMD_COLORS", "0").env("LC_ALL", "C.UTF-8");
    analyze
}

#[test]
fn services_expose_no_more_than_was_promised() {
    for (unit, most) in EXPOSURE_MAX {
        let path = units().into_iter().find(|it| it.ends_with(unit)).unwrap();
        let output = analyze()
            .args(["security", "--offline=true", "--no-pager"])
            .arg(path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let level = format!("Overall exposure level for {unit}: ");
        let (_, rest) = said.split_once(&level).expect(&said);
        let exposure: f64 = rest.split(' ').next().unwrap().parse().unwrap();
        eprintln!("{level}{exposure}");
        assert!(exposure <= most, "{said}");
    }
}

#[test]
fn systemd_has_nothing_to_say_against_them() {
    let dir = tempfile::tempdir().unwrap();
    let copies: Vec<PathBuf> = units()
        .iter()
        .map(|unit| {
            let copy = dir.path().join(unit.file_name().unwrap());
            // Where the program is installed is where it is looked for.
            let text = fs::read_to_string(unit).unwrap();
            let text = text.replace("ExecStart=danube ", &format!("ExecStart={DANUBE} "));
            fs::write(&copy, text).unwrap();
            copy
        })
        .collect();
    let output = analyze()
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args(copies)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    // It may have words about units of the machine.
    let ours = said.lines().filter(|it| it.contains("danube"));
    assert_eq!(ours.collect::<Vec<_>>(), [""; 0]);
}
