//! Error messages, as a stranger and as a script see them.

use std::fs::OpenOptions;

use super::{Place, seen};
use crate::golden;

const WRONG_SETTINGS: &str = "[server]
lisen = \"127.0.0.1:1\"
grace_seconds = \"thirty\"
listen = \"0.0.0.0:80\"

[queu]
x = 1
";

const WRONG_RULES: &str = "[[redaction.rules]]
id = \"Acme\"
keyword = \"ac\"
pattern = 'ACME-[A-Z'

[[redaction.rules]]
id = \"jwt\"
keywrd = \"acme\"
pattern = '(?:[a-z]{1,99}[0-9]?){60}'

[[redaction.rules]]
id = \"any\"
keyword = \"acme\"
pattern = '.*'
";

const WRONG_PIPELINE: &str = "apiVersion: danube.dev/v1
kind: Pipelin
metadata: {name: p}
spec:
  steps:
    - {name: s, rum: x}
";

const GOOD_PIPELINE: &str = "apiVersion: danube.dev/v1
kind: Pipeline
metadata: {name: hello}
spec:
  steps:
    - {name: say, run: echo hi}
";

/// Runs a command that must fail and compares everything that it says.
#[track_caller]
fn check(place: &Place, name: &str, args: &[&str], variables: &[(&str, &str)]) {
    let output = place
        .danube(args)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let (code, out, err) = seen(&output);
    let text = format!("$ danube {}\n{out}{err}[exit {code}]\n", args.join(" "));
    let text = text.replace(&place.path().display().to_string(), "DIR");
    golden::check(&format!("tests/it/golden/cli/error-{name}.txt"), &text);
}

#[test]
fn a_wrong_command_line_is_explained() {
    let place = Place::new();
    check(&place, "unknown-command", &["jobz"], &[]);
    check(
        &place,
        "unknown-command-json",
        &["jobz", "--output", "json"],
        &[],
    );
    check(&place, "unknown-flag", &["logs", "x", "--folow"], &[]);
    check(&place, "nothing-to-submit", &["submit"], &[]);
    check(
        &place,
        "nothing-to-submit-json",
        &["submit", "-o", "json"],
        &[],
    );
    check(
        &place,
        "two-things-to-submit",
        &["submit", "p", "--file", "f"],
        &[],
    );
    check(
        &place,
        "bad-parameter",
        &["submit", "p", "--param", "a-b=1"],
        &[],
    );
    check(
        &place,
        "no-such-variable",
        &["submit", "p", "--mask-env", "NOPE"],
        &[],
    );
    check(&place, "trace-of-nothing", &["trace"], &[]);
    check(&place, "trace-of-two", &["trace", "x", "--slow", "p"], &[]);
    check(
        &place,
        "trace-runs-of-a-job",
        &["trace", "x", "--runs", "3"],
        &[],
    );
    check(
        &place,
        "trace-too-many-runs",
        &["trace", "--slow", "--runs", "501"],
        &[],
    );
    check(&place, "unknown-code", &["explain", "not_fond"], &[]);
    check(
        &place,
        "bad-server",
        &["jobs", "--server", "localhost:80"],
        &[],
    );
}

#[test]
fn a_key_on_the_command_line_is_not_possible() {
    let place = Place::new();
    let (code, _, err) = seen(
        &place
            .danube(&["jobs", "--key", "dnb_secret"])
            .output()
            .unwrap(),
    );
    assert_eq!(code, 2);
    assert!(err.contains("--key-file"), "{err}");
}

#[test]
fn every_mistake_in_every_redaction_rule_keeps_the_master_from_starting() {
    let place = Place::new();
    place.write("rules.toml", WRONG_RULES);
    let args = ["master", "--config", "rules.toml"];
    check(&place, "redaction-rules", &args, &[]);
}

#[test]
fn wrong_settings_are_told_all_at_once() {
    let place = Place::new();
    place.write("wrong.toml", WRONG_SETTINGS);
    let variables = [("DANUBE_LOG_LEVEL", "loud"), ("DANUBE_SERVER_LISTN", "x")];
    let args = ["master", "--config", "wrong.toml", "--log-total", "lots"];
    check(&place, "settings", &args, &variables);
    let args = [
        "config",
        "show",
        "--config",
        "wrong.toml",
        "--output",
        "json",
    ];
    check(&place, "settings-json", &args, &variables);
    check(
        &place,
        "settings-file-missing",
        &["master", "--config", "absent.toml"],
        &[],
    );
    check(
        &place,
        "public-address",
        &["master", "--listen", "0.0.0.0:8080"],
        &[],
    );
}

#[test]
fn wrong_pipeline_files_are_told_all_at_once() {
    let place = Place::new();
    place.write("lines/a-good.yaml", GOOD_PIPELINE);
    place.write("lines/b-wrong.yaml", WRONG_PIPELINE);
    place.write("lines/c-again.yml", GOOD_PIPELINE);
    place.write("lines/d-broken.json", "{\"apiVersion\": ");
    place.write("lines/notes.txt", "not ours");
    check(&place, "pipelines", &["pipelines", "check", "lines"], &[]);
    check(
        &place,
        "pipelines-json",
        &["pipelines", "check", "lines", "-o", "json"],
        &[],
    );
    check(
        &place,
        "submit-file",
        &["submit", "--file", "lines/b-wrong.yaml"],
        &[],
    );
    check(
        &place,
        "no-such-file",
        &["submit", "--file", "absent.yaml"],
        &[],
    );
    place.write("empty/notes.txt", "");
    check(
        &place,
        "no-pipelines",
        &["pipelines", "check", "empty"],
        &[],
    );
}

#[test]
fn good_pipeline_files_are_named() {
    let place = Place::new();
    place.write("a.yaml", GOOD_PIPELINE);
    let output = place
        .danube(&["pipelines", "check", "a.yaml"])
        .output()
        .unwrap();
    assert_eq!(
        seen(&output),
        (0, "ok  a.yaml  hello, 1 step\n".into(), String::new())
    );
}

#[test]
fn what_stands_in_a_file_can_not_steer_the_terminal() {
    let place = Place::new();
    place.write(
        "p.yaml",
        "apiVersion: danube.dev/v1\nkind: \"\u{9b}2J\"\nx\u{1b}]0;owned\u{7}: 1\n",
    );
    let (_, out, err) = seen(
        &place
            .danube(&["pipelines", "check", "p.yaml"])
            .output()
            .unwrap(),
    );
    let all = format!("{out}{err}");
    assert!(!all.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{all:?}");
}

#[test]
fn a_server_that_is_not_there_is_exit_7_and_no_key_is_exit_4() {
    let place = Place::new();
    check(&place, "no-server", &["jobs"], &[]);
    check(
        &place,
        "no-key",
        &["jobs", "--server", "http://127.0.0.1:1"],
        &[],
    );
    check(
        &place,
        "key-file-missing",
        &[
            "jobs",
            "--server",
            "http://127.0.0.1:1",
            "--key-file",
            "absent",
        ],
        &[],
    );
    check(
        &place,
        "refused",
        &["jobs", "--server", "http://127.0.0.1:1"],
        &[("DANUBE_API_KEY", "dnb_x")],
    );
}

#[test]
fn the_defaults_are_shown_with_their_origin() {
    let place = Place::new();
    place.write("some.toml", "[queue]\njobs_at_once = 3\n");
    let args = [
        "config",
        "show",
        "--origin",
        "--config",
        "some.toml",
        "--listen",
        "127.0.0.1:0",
    ];
    let mut command = place.danube(&args);
    let (code, out, err) = seen(
        &command
            .env("DANUBE_SERVER_GRACE_SECONDS", "5")
            .output()
            .unwrap(),
    );
    assert_eq!((code, err.as_str()), (0, ""));
    let out = out.replace(&place.path().display().to_string(), "DIR");
    golden::check("tests/it/golden/cli/config-show.txt", &out);
    let (_, out, _) = seen(&place.danube(&["config", "default"]).output().unwrap());
    golden::check("tests/it/golden/cli/config-default.txt", &out);
}

#[test]
fn a_full_disk_is_told_and_a_reader_who_leaves_is_not() {
    let place = Place::new();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (code, _, err) = seen(
        &place
            .danube(&["config", "default"])
            .stdout(full)
            .output()
            .unwrap(),
    );
    assert_eq!(code, 1);
    assert!(
        err.starts_with("error: write to standard output: No space left"),
        "{err}"
    );

    // The reading end is closed before anything is written.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (code, _, err) = seen(
        &place
            .danube(&["config", "default"])
            .stdout(writer)
            .output()
            .unwrap(),
    );
    assert_eq!((code, err.as_str()), (0, ""));
}

#[test]
fn codes_are_explained() {
    let place = Place::new();
    let (code, out, _) = seen(&place.danube(&["explain"]).output().unwrap());
    assert_eq!(code, 0);
    golden::check("tests/it/golden/cli/explain.txt", &out);
    let (code, out, _) = seen(&place.danube(&["explain", "wrong_state"]).output().unwrap());
    assert_eq!(code, 0);
    assert!(out.contains("exit code 6"), "{out}");
    let (_, out, _) = seen(&place.danube(&["explain", "130"]).output().unwrap());
    assert!(out.starts_with("exit code 130\n"), "{out}");
}
