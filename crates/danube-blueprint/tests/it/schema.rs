//! The published schemas: the files in `docs/schema`, and that they name the fields that the
//! check knows.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use danube_blueprint::{read, schemas};
use serde_json::Value;

use super::{dir, file};

#[test]
fn the_files_in_docs_are_the_schemas() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema");
    for schema in schemas() {
        let path = docs.join(schema.file);
        let text = format!("{:#}\n", schema.schema);
        if std::env::var_os("UPDATE_GOLDEN").is_some_and(|it| it == "1") {
            fs::create_dir_all(&docs).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            kept,
            text,
            "`cargo xtask export` writes {} anew",
            path.display()
        );
    }
}

/// The fields that the check takes at a place: it lists them when it meets another.
fn taken(directory: &str, kind: &str, spec: &str) -> BTreeSet<String> {
    let name = format!("{directory}x.yaml").replace("config/x", "config");
    let dir = dir(&[(&name, &file(kind, "x", spec))]);
    let wrong = read(dir.path()).unwrap_err();
    let mut all = wrong.iter().flat_map(|it| &it.list);
    let unknown = all.find(|it| it.pointer.ends_with("/zzz")).unwrap();
    let help = unknown.help.clone().unwrap();
    help.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn described(schema: &Value) -> BTreeSet<String> {
    let properties = schema["properties"].as_object().unwrap();
    properties.keys().cloned().collect()
}

/// The schema of a field that may be left out.
fn below<'a>(schema: &'a Value, name: &str) -> &'a Value {
    let field = &schema["properties"][name];
    let field = field.get("anyOf").map_or(field, |it| &it[0]);
    field.get("items").unwrap_or(field)
}

#[test]
fn a_schema_names_the_fields_that_the_check_takes() {
    let all = schemas();
    let of =
        |file: &str| &all.iter().find(|it| it.file == file).unwrap().schema["properties"]["spec"];
    let (config, user, team, pipeline) = (
        of("config.json"),
        of("user.json"),
        of("team.json"),
        of("pipeline.json"),
    );
    let check = |directory: &str, kind: &str, schema: &Value, path: &[&str]| {
        let (mut spec, mut node) = ("{zzz: 1}".to_owned(), schema);
        for name in path {
            node = below(node, name);
        }
        for name in path.iter().rev() {
            spec = match *name {
                "cron" | "steps" | "keep" => format!("{{{name}: [{spec}]}}"),
                _ => format!("{{{name}: {spec}}}"),
            };
        }
        let expected = described(node);
        assert_eq!(
            taken(directory, kind, &format!("  {spec}")),
            expected,
            "{kind} {path:?}"
        );
    };
    for path in [
        &[][..],
        &["retention"],
        &["retention", "keep"],
        &["observability"],
        &["redaction"],
        &["limits"],
        &["limits", "step"],
    ] {
        check("config/", "Config", config, path);
    }
    check("users/", "User", user, &[]);
    check("teams/", "Team", team, &[]);
    for path in [
        &[][..],
        &["limits"],
        &["worker"],
        &["worker", "resources"],
        &["triggers"],
        &["triggers", "push"],
        &["triggers", "pull_request"],
        &["triggers", "cron"],
        &["permissions"],
        &["steps"],
    ] {
        check("pipelines/", "Pipeline", pipeline, path);
    }
}
