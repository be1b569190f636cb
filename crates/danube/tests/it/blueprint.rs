//! What a repository declares: checked by whoever writes it, followed by a server.

mod asked;
mod cron;
mod followed;
mod kept;
mod login;
mod notice;
mod served;
mod settings;

use std::path::Path;

use serde_json::Value;

use crate::cli::{Place, seen};
use crate::golden;
use crate::peers;
pub(crate) use served::{Served, file, in_force, pipeline, pipeline_of, provoked};

/// The example, beside this crate.
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/blueprint");

/// What is committed as a schema.
const SCHEMAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/schema");

fn golden(name: &str, text: &str) {
    golden::check(&format!("tests/it/golden/cli/blueprint-{name}.txt"), text);
}

#[test]
fn a_good_blueprint_is_counted() {
    let place = Place::new();
    let output = place.danube(&["blueprint", "check", EXAMPLE]).output();
    let (code, out, err) = seen(&output.unwrap());
    assert_eq!((code, err.as_str()), (0, ""));
    golden("good", &out);
}

#[test]
fn what_would_change_is_told_to_people_and_to_programs() {
    let place = Place::new();
    let file =
        "apiVersion: danube.dev/v1\nkind: Team\nmetadata: {name: old}\nspec: {members: []}\n";
    place.write("old/teams/old.yaml", file);
    let ask = ["blueprint", "check", EXAMPLE, "--against", "old"];
    let (code, out, err) = seen(&place.danube(&ask).output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""));
    golden("changes", &out);
    let ask = [&ask[..], &["-o", "json"]].concat();
    let (_, out, _) = seen(&place.danube(&ask).output().unwrap());
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        shown["pipelines"],
        serde_json::json!(["frontend", "nightly"])
    );
    let removed = serde_json::json!({"part": "team", "kind": "removed", "name": "old"});
    let changes = shown["changes"].as_array().unwrap();
    assert!(changes.contains(&removed), "{changes:?}");
}

#[test]
fn every_mistake_is_shown_where_it_stands() {
    let place = Place::new();
    place.write(
        "blue/pipelines/a.yaml",
        "apiVersion: danube.dev/v1\nkind: Pipeline\nmetadata: {name: a}\nspec:\n  triggers: {cron: [{schedule: 0 25 * * *}]}\n  permissions: {read: [wbe]}\n  steps: [{name: a, run: 'true'}]\n",
    );
    place.write(
        "blue/teams/web.yaml",
        "apiVersion: danube.dev/v1\nkind: Team\nmetadata: {name: web}\nspec: {members: [anna]}\n",
    );
    let ask = ["blueprint", "check", "blue"];
    let (code, out, err) = seen(&place.danube(&ask).output().unwrap());
    assert_eq!((code, out.as_str()), (1, ""));
    golden("wrong", &err);
    let (code, _, err) = seen(
        &place
            .danube(&["blueprint", "check", "none"])
            .output()
            .unwrap(),
    );
    assert_eq!(code, 2, "{err}");
}

#[test]
fn the_schemas_that_the_command_writes_are_those_of_the_documentation() {
    let place = Place::new();
    let ask = ["blueprint", "schema", "made/schema"];
    let (code, _, err) = seen(&place.danube(&ask).output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""));
    for name in ["config", "user", "team", "pipeline"] {
        let read = |dir: &Path| std::fs::read_to_string(dir.join(format!("{name}.json"))).unwrap();
        let made = place.path().join("made/schema");
        assert_eq!(read(&made), read(Path::new(SCHEMAS)), "{name}");
    }
}

#[test]
fn somebody_else_s_validator_reads_the_schemas_and_judges_as_we_do() {
    peers::judge_schemas(Path::new(SCHEMAS), Path::new(EXAMPLE));
}
