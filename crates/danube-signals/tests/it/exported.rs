//! The committed files are what `danube signals export` writes, and nothing else lies there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use danube_signals::{ExportOptions, export};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every file below `dir`, from the repository's root.
fn files_below(dir: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(root().join(dir)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{dir}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_below(&path));
        } else {
            found.insert(path);
        }
    }
    found
}

#[test]
fn the_committed_files_are_what_is_exported() {
    let files = export(&ExportOptions::default());
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|it| it == "1") {
        for file in &files {
            let path = root().join(&file.path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &file.text).unwrap();
        }
    }
    let differ: Vec<String> = files
        .into_iter()
        .filter(|file| {
            let committed = std::fs::read_to_string(root().join(&file.path));
            committed.unwrap_or_default() != file.text
        })
        .map(|file| file.path)
        .collect();
    assert!(
        differ.is_empty(),
        "these differ from the declarations; `cargo xtask export` writes them anew: {differ:#?}"
    );
}

#[test]
fn nothing_else_lies_where_files_are_exported_to() {
    let exported = export(&ExportOptions::default()).into_iter();
    let exported: BTreeSet<String> = exported
        .map(|it| it.path)
        .filter(|it| it.starts_with("deploy/"))
        .collect();
    let mut found = files_below("deploy");
    // Written by hand: they follow from no signal. `peers/units.rs` holds them to account.
    found.retain(|it| !it.starts_with("deploy/systemd/"));
    assert_eq!(found, exported);
}

#[test]
fn every_file_says_who_writes_it() {
    for file in export(&ExportOptions::default()) {
        let head: String = file
            .text
            .split("\n\n")
            .next()
            .unwrap_or_default()
            .to_owned();
        let says = if file.path.ends_with(".md") || file.path.ends_with(".json") {
            &file.text
        } else {
            &head
        };
        assert!(says.contains("`danube signals export`"), "{}", file.path);
        assert!(file.text.ends_with('\n'), "{}", file.path);
        assert!(!file.text.contains("\t"), "{}", file.path);
        assert!(
            file.text.lines().all(|it| it.trim_end() == it),
            "{}",
            file.path
        );
    }
}

#[test]
fn what_the_operator_says_stands_in_the_files() {
    let options = ExportOptions {
        expected: danube_signals::Expected { workers: 7 },
        runbooks: Some("https://wiki.example.org/danube/".to_owned()),
    };
    let files = export(&options);
    let rules = files
        .iter()
        .find(|it| it.path == "deploy/prometheus/rules.yml")
        .unwrap();
    assert!(rules.text.contains("sum(danube_workers_active) < 7"));
    let page = "runbook_url: \"https://wiki.example.org/danube/master_down.md\"";
    assert!(rules.text.contains(page));
}

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
    let alerts = danube_signals::alerts(danube_signals::Expected::default());
    let wanted: BTreeSet<String> = alerts.iter().map(danube_signals::Alert::runbook).collect();
    assert_eq!(files_below("docs/runbooks"), wanted);
}

#[test]
fn a_page_says_not_yet_as_long_as_its_alert_cannot_fire() {
    for alert in danube_signals::alerts(danube_signals::Expected::default()) {
        let waits = alert.state() != danube_signals::State::Live;
        let says = alert.page().contains("Not yet:");
        assert_eq!(says, waits, "{}", alert.runbook());
    }
}

/// The exported files whose names end so.
fn ending(suffix: &str) -> Vec<danube_signals::ExportFile> {
    let all = export(&ExportOptions::default()).into_iter();
    let found: Vec<_> = all.filter(|it| it.path.ends_with(suffix)).collect();
    assert!(!found.is_empty(), "{suffix}");
    found
}

#[test]
fn every_yaml_file_can_be_read() {
    for file in ending(".yml") {
        for event in saphyr_parser::Parser::new_from_str(&file.text) {
            assert!(event.is_ok(), "{}: {event:?}", file.path);
        }
    }
}

#[test]
fn every_panel_is_drawn_once_with_all_its_questions() {
    let mut drawn = Vec::new();
    for file in ending(".json") {
        let json: serde_json::Value = serde_json::from_str(&file.text).unwrap();
        if !file.path.starts_with("deploy/grafana/") {
            continue;
        }
        for panel in json["panels"].as_array().unwrap() {
            let targets = panel["targets"].as_array().unwrap();
            let asked: Vec<String> = targets
                .iter()
                .map(|it| it["expr"].as_str().unwrap().to_owned())
                .collect();
            drawn.push((panel["title"].as_str().unwrap().to_owned(), asked));
        }
    }
    let mut declared: Vec<(String, Vec<String>)> = danube_signals::panels()
        .iter()
        .map(|it| {
            let asked = it.queries.iter().map(danube_signals::Query::grafana);
            (it.title.to_owned(), asked.collect())
        })
        .collect();
    drawn.sort();
    declared.sort();
    assert_eq!(drawn, declared);
}

#[test]
fn exemplars_are_asked_for_where_histograms_are() {
    for file in ending("performance.json") {
        let json: serde_json::Value = serde_json::from_str(&file.text).unwrap();
        for panel in json["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                let has_buckets = target["expr"].as_str().unwrap().contains("_bucket");
                assert_eq!(target["exemplar"], has_buckets, "{target}");
            }
        }
    }
}
