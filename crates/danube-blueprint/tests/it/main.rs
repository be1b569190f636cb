//! Directories as people commit them: what is read of them, and what is said of those that are
//! wrong.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod bounds;
mod schema;

use std::fs;
use std::path::Path;

use danube_blueprint::{Blueprint, Permission, changes, read};
use danube_model::Mistakes;
use tempfile::TempDir;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/blueprint");

/// A directory with these files.
pub(crate) fn dir(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(dir.path(), name, text);
    }
    dir
}

pub(crate) fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A file of this kind; its `spec` begins in line 5.
pub(crate) fn file(kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: danube.dev/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n{spec}\n")
}

pub(crate) fn pipeline(name: &str, more: &str) -> String {
    let spec = format!("  steps: [{{name: a, run: 'true'}}]\n{more}");
    file("Pipeline", name, &spec)
}

/// Each mistake as `file:line:column code`.
pub(crate) fn told(wrong: &[Mistakes]) -> Vec<String> {
    let lines = wrong.iter().flat_map(|file| {
        let name = file.source.as_ref().map_or("", |it| &it.name);
        file.list.iter().map(move |it| match it.at {
            Some(at) => format!("{name}:{}:{} {}", at.line, at.column, it.code),
            None => format!("{name} {}", it.code),
        })
    });
    lines.collect()
}

#[track_caller]
fn check(files: &[(&str, &str)], expected: &[&str]) {
    let dir = dir(files);
    let found = read(dir.path()).err().unwrap_or_default();
    assert_eq!(told(&found), expected);
}

fn example() -> Blueprint {
    read(Path::new(EXAMPLE)).unwrap()
}

#[test]
fn the_example_is_read_whole() {
    let blueprint = example();
    assert_eq!(blueprint.config.retention.logs_days, Some(90));
    let frontend = &blueprint.pipelines["frontend"];
    assert_eq!(frontend.file, "pipelines/frontend.yaml");
    assert_eq!(frontend.pipeline.limits.cpu_cores, Some(2.0));
    assert!(frontend.triggers.manual);
    let nightly = &blueprint.pipelines["nightly"];
    assert_eq!(nightly.script.as_deref(), Some("ci/nightly.sh"));
    assert_eq!(nightly.triggers.cron[0].timezone, "Europe/Vienna");
    assert_eq!(
        nightly.pipeline.steps[0].env["DANUBE_SCRIPT"],
        "ci/nightly.sh"
    );
    let stored = serde_json::to_string(&blueprint).unwrap();
    assert_eq!(
        serde_json::from_str::<Blueprint>(&stored).unwrap(),
        blueprint
    );
}

#[test]
fn a_permission_comes_with_the_team_and_everything_with_being_an_administrator() {
    let blueprint = example();
    assert_eq!(
        blueprint.permission("anna", "nightly"),
        Some(Permission::Admin)
    );
    assert_eq!(
        blueprint.permission("ben", "nightly"),
        Some(Permission::Read)
    );
    assert_eq!(
        blueprint.permission("ben", "frontend"),
        Some(Permission::Write)
    );
    assert_eq!(blueprint.permission("carl", "frontend"), None);
    assert_eq!(blueprint.permission("anna", "other"), None);
    assert_eq!(blueprint.user_by_email("Ben@Example.org").unwrap().0, "ben");
}

#[test]
fn every_mistake_of_every_file_is_told_where_it_stands() {
    let deploy = file(
        "Pipeline",
        "deploy",
        "  script: ../deploy.sh\n  worker: {image: 'a b', cores: 1}\n  triggers:\n    push: {branches: ['']}\n    cron:\n    - {schedule: '0 25 * * *', timezone: Mars/Base}\n    - {parameters: {A: 1}}\n  permissions: {read: [web], write: [web, ops], admn: []}",
    );
    check(
        &[
            (
                "config.yaml",
                &file(
                    "Config",
                    "c",
                    "  retention: {logs_days: -1, artifacts_days: 5000}\n  limits: {step: {memory: 1}}\n  log: {}",
                ),
            ),
            (
                "users/a.yaml",
                &file("User", "anna", "  email: nobody\n  admin: perhaps"),
            ),
            (
                "users/b.yaml",
                &file("Team", "ben", "  email: ben@example.org"),
            ),
            (
                "users/c.yaml",
                &file("User", "carl", "  email: BEN@example.org"),
            ),
            (
                "teams/web.yaml",
                &file("Team", "web", "  members: [ana, ben, ben]"),
            ),
            ("pipelines/deploy.yaml", &deploy),
        ],
        &[
            "config.yaml:5:26 field.value",
            "config.yaml:5:46 field.value",
            "config.yaml:6:19 field.unknown",
            "config.yaml:7:3 field.unknown",
            "pipelines/deploy.yaml:5:11 field.value",
            "pipelines/deploy.yaml:5:11 field.value",
            "pipelines/deploy.yaml:6:19 field.value",
            "pipelines/deploy.yaml:6:26 field.unknown",
            "pipelines/deploy.yaml:8:11 trigger.misfit",
            "pipelines/deploy.yaml:8:23 field.value",
            "pipelines/deploy.yaml:10:18 field.value",
            "pipelines/deploy.yaml:10:42 field.value",
            "pipelines/deploy.yaml:11:7 field.missing",
            "pipelines/deploy.yaml:12:38 permission.twice",
            "pipelines/deploy.yaml:12:43 reference.unknown",
            "pipelines/deploy.yaml:12:49 field.unknown",
            "teams/web.yaml:5:13 reference.unknown",
            "teams/web.yaml:5:23 field.value",
            "users/a.yaml:5:10 field.value",
            "users/a.yaml:6:10 field.type",
            "users/b.yaml:2:7 field.value",
            "users/c.yaml:3:18 email.twice",
        ],
    );
}

#[test]
fn a_pipeline_has_steps_or_a_script_of_its_repository() {
    let script = "  repository: https://git.example.org/a.git\n  script: ci.sh\n";
    check(&[("pipelines/a.yaml", &file("Pipeline", "a", script))], &[]);
    let both = pipeline("a", script);
    check(
        &[("pipelines/a.yaml", &both)],
        &["pipelines/a.yaml:7:11 field.value"],
    );
    let alone = file("Pipeline", "a", "  script: ci.sh");
    check(
        &[("pipelines/a.yaml", &alone)],
        &["pipelines/a.yaml:5:11 field.value"],
    );
    let neither = file("Pipeline", "a", "  env: {}");
    check(
        &[("pipelines/a.yaml", &neither)],
        &["pipelines/a.yaml:5:3 field.missing"],
    );
    let limits = "  limits: {processes: 1}\n  worker: {resources: {processes: 1}}";
    check(
        &[("pipelines/a.yaml", &pipeline("a", limits))],
        &["pipelines/a.yaml:6:11 field.value"],
    );
}

#[test]
fn a_schedule_sets_only_parameters_that_there_are() {
    let more = "  parameters: {A: '1'}\n  triggers: {cron: [{schedule: '0 1 * * *', parameters: {B: '2'}}]}";
    check(
        &[("pipelines/a.yaml", &pipeline("a", more))],
        &["pipelines/a.yaml:7:21 trigger.misfit"],
    );
}

#[test]
fn a_name_stands_once_among_its_kind() {
    check(
        &[
            ("config.json", &file("Config", "c", "  {}")),
            ("config.yaml", &file("Config", "c", "  {}")),
            ("pipelines/a.yaml", &pipeline("same", "")),
            ("pipelines/b/c.json", &pipeline("same", "")),
            ("teams/a.yaml", &file("Team", "same", "  members: []")),
        ],
        &[
            "config.yaml config.twice",
            "pipelines/b/c.json:3:18 name.twice",
        ],
    );
}

#[test]
fn a_broken_file_hides_no_mistake_of_the_others() {
    check(
        &[
            ("pipelines/a.yaml", "spec: [\n"),
            ("teams/t.yaml", &file("Team", "t", "  members: [nobody]")),
        ],
        &[
            "pipelines/a.yaml:2:1 file.syntax",
            "teams/t.yaml:5:13 reference.unknown",
        ],
    );
}

#[test]
fn an_entry_of_what_is_kept_names_something_and_days_that_there_are() {
    let spec = "  retention:\n    artifacts_max_bytes: -1\n    keep:\n    - {days: 3}\n    - {pipelines: []}\n    \
                - {pipelines: ['']}\n    - {refs: [v*], day: 3}\n    - {pipelines: [a], days: 3651}";
    check(
        &[("config.yaml", &file("Config", "c", spec))],
        &[
            "config.yaml:6:26 field.value",
            "config.yaml:8:7 field.value",
            "config.yaml:9:7 field.value",
            "config.yaml:10:20 field.value",
            "config.yaml:11:20 field.unknown",
            "config.yaml:12:30 field.value",
        ],
    );
    let spec = "  retention: {keep: [{refs: [v*], days: 0}, {pipelines: ['!try']}]}";
    let dir = dir(&[("config.yaml", &file("Config", "c", spec))]);
    let keep = read(dir.path()).unwrap().config.retention.keep;
    assert_eq!((keep[0].days, keep.len()), (None, 2));
}

#[test]
fn what_changes_is_told_by_name() {
    let old = dir(&[
        ("pipelines/a.yaml", &pipeline("a", "")),
        ("pipelines/b.yaml", &pipeline("b", "")),
        ("users/u.yaml", &file("User", "u", "  email: u@example.org")),
    ]);
    let new = dir(&[
        (
            "config.yaml",
            &file("Config", "c", "  retention: {logs_days: 1}"),
        ),
        ("pipelines/b.yaml", &pipeline("b", "  ref: main\n")),
        ("pipelines/c.yaml", &pipeline("c", "")),
        ("users/u.yaml", &file("User", "u", "  email: u@example.org")),
        ("teams/t.yaml", &file("Team", "t", "  members: [u]")),
    ]);
    let (old, new) = (read(old.path()).unwrap(), read(new.path()).unwrap());
    let told: Vec<String> = changes(&old, &new)
        .iter()
        .map(|it| format!("{} {} {}", it.kind.as_str(), it.part.as_str(), it.name))
        .collect();
    assert_eq!(
        told,
        [
            "changed config ",
            "added team t",
            "removed pipeline a",
            "changed pipeline b",
            "added pipeline c"
        ]
    );
    assert!(changes(&new, &new).is_empty());
}
