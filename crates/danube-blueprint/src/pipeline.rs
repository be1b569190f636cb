//! A pipeline with what starts it and who may use it.

use std::collections::BTreeMap;

use danube_model::Mistake;
use danube_model::spec::{Fields, Limits, Node, Step, read_limits, take_pipeline};

use crate::model::{Declared, Permission, Permissions};
use crate::person::wrong_name;
use crate::texts::{self, Text};
use crate::triggers;

/// The variable that tells the step of a script which program to run: a path is never
/// part of a shell's text.
const SCRIPT_VARIABLE: &str = "DANUBE_SCRIPT";

/// Bytes of a script's path (Linux, `PATH_MAX`, is 4,096; a repository's are shorter).
const SCRIPT_PATH_BYTES_MAX: usize = 1_000;

/// Bytes of an image's name with registry, tag and digest.
const IMAGE_BYTES_MAX: usize = 500;

/// Reads one; `uses` are its teams.
pub(crate) fn read(
    node: Node,
    (name, file): (String, String),
    uses: &mut Vec<Text>,
    mistakes: &mut Vec<Mistake>,
) -> Option<Declared> {
    let mut fields = Fields::open(node, "/spec", mistakes)?;
    let both = fields.has("steps") && fields.has("script");
    let has_script = fields.has("script");
    let at = fields.place("script");
    if both {
        fields.refuse("script", at, "and `steps` can't both be given");
    }
    let script = fields.take_checked("script", wrong_script);
    if has_script && !fields.has("repository") {
        fields.refuse(
            "script",
            at,
            "is a file of the repository, but there is no `repository`",
        );
    }
    let instead = has_script.then(|| vec![step(script.as_deref().unwrap_or_default())]);
    if both {
        fields.take("steps");
    }
    let worker = worker(&mut fields);
    let triggers = triggers::read(&mut fields);
    let permissions = permissions(&mut fields, uses);
    let team = team(&mut fields, uses);
    let both_limits = fields.has("limits") && worker.limits.is_some();
    if both_limits {
        let at = fields.place("limits");
        fields.refuse("limits", at, "and `worker.resources` can't both be given");
    }
    let pipeline = take_pipeline(&mut fields, Some(name), instead);
    fields.end();
    let mut pipeline = pipeline?;
    if let Some(limits) = worker.limits {
        pipeline.limits = limits;
    }
    pipeline.queueing.team = team.or_else(|| owner(&permissions));
    triggers::check(&triggers, &pipeline, mistakes);
    Some(Declared {
        pipeline,
        script,
        image: worker.image,
        triggers: triggers.triggers,
        permissions,
        file,
    })
}

/// The one step of a pipeline that is a program of its repository.
fn step(script: &str) -> Step {
    Step {
        name: "script".to_owned(),
        run: format!("exec \"./${SCRIPT_VARIABLE}\""),
        env: BTreeMap::from([(SCRIPT_VARIABLE.to_owned(), script.to_owned())]),
        secrets: BTreeMap::new(),
        shell: None,
        timeout_seconds: None,
        continue_on_error: false,
        artifacts: Vec::new(),
        coordinates: true,
    }
}

fn wrong_script(text: &str) -> Option<&'static str> {
    let is_part = |it: &str| !it.is_empty() && it != "." && it != "..";
    let sane = text.len() <= SCRIPT_PATH_BYTES_MAX
        && !text.chars().any(char::is_control)
        && text.split('/').all(is_part);
    (!sane).then_some("must be the path of a program in the repository, without `.` and `..`")
}

#[derive(Default)]
struct Worker {
    image: Option<String>,
    limits: Option<Limits>,
}

fn worker(fields: &mut Fields<'_>) -> Worker {
    let pointer = fields.below("worker");
    let Some(node) = fields.take("worker") else {
        return Worker::default();
    };
    let Some(mut inner) = Fields::open(node, &pointer, fields.mistakes()) else {
        return Worker::default();
    };
    let image = inner.take_checked("image", wrong_image);
    let pointer = inner.below("resources");
    let resources = inner.take("resources");
    let limits = resources.and_then(|node| read_limits(node, &pointer, inner.mistakes()));
    inner.end();
    Worker { image, limits }
}

fn wrong_image(text: &str) -> Option<&'static str> {
    let allowed = |it: char| it.is_ascii_alphanumeric() || "._-/:@+".contains(it);
    let begins = text.starts_with(|it: char| it.is_ascii_alphanumeric());
    let sane = begins && text.len() <= IMAGE_BYTES_MAX && text.chars().all(allowed);
    (!sane).then_some("must be the name of an image, such as registry.example.org/build:1.2")
}

/// The team whose share of the workers its jobs take.
fn team(fields: &mut Fields<'_>, uses: &mut Vec<Text>) -> Option<String> {
    let (pointer, at) = (fields.below("team"), fields.place("team"));
    let text = fields.take_checked("team", wrong_name)?;
    uses.push(Text {
        text: text.clone(),
        pointer,
        at,
    });
    Some(text)
}

/// The same where nothing is said: whose pipeline it is by its permissions. Who may only read it
/// owns nothing of it.
fn owner(permissions: &Permissions) -> Option<String> {
    let of = |which| {
        let mut teams = permissions.teams.iter();
        let found = teams.find(|(_, permission)| **permission == which);
        found.map(|(team, _)| team.clone())
    };
    of(Permission::Admin).or_else(|| of(Permission::Write))
}

fn permissions(fields: &mut Fields<'_>, uses: &mut Vec<Text>) -> Permissions {
    let pointer = fields.below("permissions");
    let mut teams = BTreeMap::new();
    let Some(node) = fields.take("permissions") else {
        return Permissions::default();
    };
    let Some(mut inner) = Fields::open(node, &pointer, fields.mistakes()) else {
        return Permissions::default();
    };
    let all = [
        ("read", Permission::Read),
        ("write", Permission::Write),
        ("admin", Permission::Admin),
    ];
    for (name, permission) in all {
        for text in texts::take(&mut inner, name, wrong_name).unwrap_or_default() {
            if teams.insert(text.text.clone(), permission).is_some() {
                inner.mistakes().push(Mistake {
                    code: "permission.twice",
                    pointer: text.pointer.clone(),
                    at: text.at,
                    message: format!("`{}` has a permission here already", text.text),
                    help: Some("keep the highest: `admin` holds `write`, and that `read`".into()),
                });
            }
            uses.push(text);
        }
    }
    inner.end();
    Permissions { teams }
}
