//! `danube signals`: the list, the explanations and the export, as a stranger sees them.

use std::fs;

use serde_json::Value;

use super::{Place, seen};
use crate::golden;

/// Runs it and compares all that it says.
#[track_caller]
fn check(name: &str, args: &[&str]) {
    let (code, out, err) = seen(&Place::new().danube(args).output().unwrap());
    let text = format!("$ danube {}\n{out}{err}[exit {code}]\n", args.join(" "));
    golden::check(&format!("tests/it/golden/cli/signals-{name}.txt"), &text);
}

/// The signals in its answer.
#[track_caller]
fn listed(args: &[&str]) -> Vec<Value> {
    let args = [args, &["--output", "json"]].concat();
    let (code, out, err) = seen(&Place::new().danube(&args).output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
    let answer: Value = serde_json::from_str(&out).unwrap();
    answer["signals"].as_array().unwrap().clone()
}

#[test]
fn one_of_each_kind_is_explained() {
    check("event", &["signals", "explain", "health_check_failed"]);
    check("metric", &["signals", "explain", "danube.jobs"]);
    check(
        "histogram",
        &[
            "signals",
            "explain",
            "danube_db_query_duration_seconds_bucket",
        ],
    );
    check("panel", &["signals", "explain", "memory"]);
    check("alert", &["signals", "explain", "DanubeMasterDown"]);
    check("not-yet", &["signals", "explain", "danube_k8s_pods_active"]);
}

#[test]
fn an_unknown_name_leads_to_those_that_it_may_have_been() {
    check("unknown-slip", &["signals", "explain", "job_faild"]);
    check("unknown-part", &["signals", "explain", "jobs_total"]);
    check("unknown", &["signals", "explain", "zzzzzzzz"]);
    check(
        "unknown-json",
        &["signals", "explain", "master_donw", "--output", "json"],
    );
}

#[test]
fn a_name_of_two_signals_explains_both() {
    let both = listed(&["signals", "explain", "database_unavailable"]);
    let kinds: Vec<&Value> = both.iter().map(|it| &it["kind"]).collect();
    assert_eq!(kinds, ["event", "alert"]);
    assert!(both[1]["page"].as_str().unwrap().starts_with("# "));
    assert_eq!(both[1]["for_seconds"], 60);
}

#[test]
fn a_program_learns_the_values_of_each_label() {
    let jobs = &listed(&["signals", "explain", "danube_jobs_total"])[0];
    assert_eq!(
        jobs["labels"],
        serde_json::json!([
            {
                "name": "status", "otel_key": "status", "kind": "closed",
                "values": ["success", "failure", "timeout", "cancelled"],
            },
            { "name": "pipeline", "otel_key": "pipeline", "kind": "bounded", "values": [] },
        ])
    );
    assert_eq!(jobs["series_max"], 4000);
    let panels = serde_json::json!(["jobs_per_hour", "job_success_rate", "failed_jobs"]);
    assert_eq!(jobs["panels"], panels);
}

#[test]
fn the_list_is_chosen_by_kind_and_state() {
    let all = listed(&["signals", "list"]);
    assert_eq!(all.len(), danube_signals::catalogue().count());
    let mut parts = 0;
    for kind in danube_signals::Signal::KINDS {
        for state in ["live", "not-yet"] {
            let some = listed(&["signals", "list", "--kind", kind, "--state", state]);
            assert!(!some.is_empty(), "{kind} {state}");
            for one in &some {
                assert_eq!((&one["kind"], &one["state"]), (&kind.into(), &state.into()));
                assert_eq!(one["comes_with"].is_string(), state == "not-yet", "{one}");
            }
            parts += some.len();
        }
    }
    assert_eq!(parts, all.len());
}

#[test]
fn the_list_for_people_has_a_line_for_each() {
    let place = Place::new();
    let command = ["signals", "list", "--kind", "panel"];
    let (code, out, _) = seen(&place.danube(&command).output().unwrap());
    assert_eq!(code, 0);
    assert_eq!(out.lines().count(), 1 + danube_signals::panels().len());
    let first = out.lines().nth(1).unwrap();
    assert!(first.starts_with("panel  jobs_per_hour "), "{first}");
}

#[test]
fn what_is_exported_is_checked_and_repaired() {
    let place = Place::new();
    let run = |args: &[&str]| {
        seen(
            &place
                .danube(&[&["signals", "export"], args].concat())
                .output()
                .unwrap(),
        )
    };
    let count = danube_signals::export(&danube_signals::ExportOptions::default()).len();
    let (code, out, err) = run(&["out"]);
    assert_eq!((code, err.as_str(), out.lines().count()), (0, "", count));
    let (code, out, _) = run(&["out", "--check"]);
    assert_eq!(code, 0);
    assert_eq!(out, format!("{count} files are as they should be\n"));

    let rules = place.path().join("out/deploy/prometheus/rules.yml");
    let written = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, "groups: []\n").unwrap();
    fs::remove_file(place.path().join("out/docs/signals.md")).unwrap();
    let (code, out, err) = run(&["out", "--check"]);
    assert_eq!((code, out.as_str()), (1, ""));
    let first = err.lines().next().unwrap();
    assert_eq!(
        first,
        "error: these files differ: deploy/prometheus/rules.yml, docs/signals.md"
    );
    // A check writes nothing.
    assert_eq!(fs::read_to_string(&rules).unwrap(), "groups: []\n");

    let (code, out, _) = run(&["out"]);
    assert_eq!((code, out.lines().count()), (0, 3), "{out}");
    assert_eq!(fs::read_to_string(&rules).unwrap(), written);
}

#[test]
fn how_many_workers_there_should_be_is_said_by_the_settings_and_a_mistake_in_them_is_told() {
    let place = Place::new();
    let run = |args: &[&str]| {
        let args = [&["signals", "export", "out"], args].concat();
        seen(&place.danube(&args).output().unwrap())
    };
    place.write("danube.toml", "[observability]\nworkers_expected = 4711\n");
    let (code, _, err) = run(&[]);
    assert_eq!((code, err.as_str()), (0, ""));
    let rules = place.path().join("out/deploy/prometheus/rules.yml");
    let written = fs::read_to_string(rules).unwrap();
    assert!(written.contains("< 4711"), "{written}");

    place.write(
        "danube.toml",
        "[observability]\nworkers_expected = \"many\"\n",
    );
    let (code, out, err) = run(&["--check"]);
    assert_eq!(out, "");
    assert_ne!(code, 0);
    assert!(err.contains("`workers_expected` must be"), "{err}");
    // Who says it doesn't need them.
    let (code, _, err) = run(&["--check", "--workers-expected", "4711"]);
    assert_eq!((code, err.as_str()), (0, ""));
}

#[test]
fn what_cannot_be_written_is_said_with_its_path() {
    let place = Place::new();
    place.write("out/deploy", "a file");
    let (code, _, err) = seen(
        &place
            .danube(&["signals", "export", "out"])
            .output()
            .unwrap(),
    );
    assert_eq!(code, 1);
    assert!(err.contains("out/deploy/alertmanager"), "{err}");
}
