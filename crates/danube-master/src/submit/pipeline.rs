//! A submit that names a pipeline of this server, or brings one.

use std::collections::BTreeMap;
use std::path::Path;

use danube_model::limits::NAME_BYTES_MAX;
use danube_model::spec::{Fields, Node, Pipeline, Repository, Value, read_request};
use danube_model::{Mistake, Task};

use super::{Work, World, check_mask};
use crate::pipelines::NoPipeline;

/// Reads the fields that such a submit has for itself.
pub(super) fn read(fields: &mut Fields<'_>, world: &dyn World) -> Option<Work> {
    let name = fields.take("pipeline");
    let spec = fields.take("spec");
    let source_type = if spec.is_some() { "spec" } else { "pipeline" };
    let git_ref = fields.take_ref("ref");
    let parameters = fields.take_variables("parameters").unwrap_or_default();
    let pipeline = match (name, spec) {
        (Some(_), Some(_)) => {
            fields.refuse("spec", None, "and `pipeline` can't both be given");
            None
        }
        (Some(name), None) => named(fields, &name, world),
        (None, Some(spec)) => read_request(spec, "/spec", fields.mistakes()),
        (None, None) => {
            let why = "or `spec` must be given, or `source` and `inventory` for a playbook";
            fields.refuse("pipeline", None, why);
            None
        }
    };
    let mut pipeline = pipeline?;
    let parameters = with_defaults(fields, &pipeline, parameters);
    let secret_values = secret_values(fields, &pipeline, &parameters);
    // Nobody asks again: what a run gets is decided here.
    pipeline.parameters = None;
    check_repository(fields, &mut pipeline, source_type, world);
    Some(Work {
        source_type,
        git_ref: git_ref.or_else(|| pipeline.git_ref.clone()),
        parameters,
        secret_values,
        retry_on_lost: pipeline.retry_on_lost,
        task: Task::Pipeline(pipeline),
    })
}

fn named(fields: &mut Fields<'_>, name: &Node, world: &dyn World) -> Option<Pipeline> {
    let Value::Text(text) = &name.value else {
        fields.refuse(
            "pipeline",
            name.at,
            &format!("must be text, found {}", name.kind()),
        );
        return None;
    };
    let why = match world.pipeline(text) {
        Ok(pipeline) => return Some(pipeline),
        Err(NoPipeline::Unknown { known, wrong }) => unknown(text, &known, &wrong),
        Err(NoPipeline::Twice(files)) => {
            format!("is declared by more than one file: {}", files.join(", "))
        }
        Err(NoPipeline::NotByHand(file)) => {
            format!("isn't started by hand: {file} says `triggers.manual: false`")
        }
        Err(NoPipeline::Unreadable(why)) => format!("can't be looked up: {why}"),
    };
    fields.refuse("pipeline", name.at, &why);
    None
}

fn unknown(name: &str, known: &[String], wrong: &[String]) -> String {
    /// Names that an error lists before it says "and more".
    const LISTED_MAX: usize = 20;
    let mut text = format!(
        "names no pipeline of this server: `{}`",
        name.chars()
            .take(NAME_BYTES_MAX)
            .collect::<String>()
            .escape_debug()
    );
    if !known.is_empty() {
        let listed: Vec<String> = known
            .iter()
            .take(LISTED_MAX)
            .map(|it| format!("`{it}`"))
            .collect();
        text.push_str(&format!("; there are {}", listed.join(", ")));
    }
    for file in wrong.iter().take(LISTED_MAX) {
        text.push_str(&format!("; a file that can't be used: {file}"));
    }
    text
}

/// Declared parameters get their defaults; what is wrong with those that were given is noted.
fn with_defaults(
    fields: &mut Fields<'_>,
    pipeline: &Pipeline,
    given: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let wrong = match pipeline.with_parameters(given) {
        Ok(all) => return all,
        Err(wrong) => wrong,
    };
    let declared = pipeline.parameters.iter().flat_map(BTreeMap::keys);
    let allowed: Vec<String> = declared.map(|it| format!("`{it}`")).collect();
    for it in wrong {
        let is_unknown = it.code == "parameter.unknown";
        let help = is_unknown.then(|| format!("allowed are {}", allowed.join(", ")));
        note(fields, &it.name, (it.code, it.message), help);
    }
    BTreeMap::new()
}

/// The values of secret parameters, which are kept out of everything that is told.
fn secret_values(
    fields: &mut Fields<'_>,
    pipeline: &Pipeline,
    parameters: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut values = Vec::new();
    let declared = pipeline.parameters.iter().flatten();
    for (name, _) in declared.filter(|(_, it)| it.secret) {
        let Some(value) = parameters.get(name).filter(|it| !it.is_empty()) else {
            continue;
        };
        match check_mask(value, false) {
            Ok(()) => values.push(value.clone()),
            Err(why) => {
                let message = format!("the secret parameter `{name}` can't be kept secret: {why}");
                note(fields, name, ("parameter.value", message), None);
            }
        }
    }
    values
}

fn note(
    fields: &mut Fields<'_>,
    name: &str,
    (code, message): (&'static str, String),
    help: Option<String>,
) {
    let pointer = format!("{}/{name}", fields.below("parameters"));
    fields.mistakes().push(Mistake {
        code,
        pointer,
        at: None,
        message,
        help,
    });
}

/// `file://` and paths only from where the operator, or the caller's key, allows.
/// The order gets the path with all links followed: what they lead to later is
/// another repository.
fn check_repository(
    fields: &mut Fields<'_>,
    pipeline: &mut Pipeline,
    source_type: &str,
    world: &dyn World,
) {
    let parsed = pipeline.repository.as_deref().map(Repository::parse);
    let Some(Ok(Repository::Local(path))) = parsed else {
        return;
    };
    let real = world.clonable(&path);
    if let Some(real) = real.as_deref().and_then(Path::to_str) {
        pipeline.repository = Some(format!("file://{real}"));
        return;
    }
    let pointer = if source_type == "spec" {
        "/spec/repository"
    } else {
        "/pipeline"
    };
    fields.mistakes().push(Mistake {
        code: "repository.not_allowed",
        pointer: pointer.to_owned(),
        at: None,
        message: "the repository isn't in a directory that jobs may clone from".to_owned(),
        help: Some("the operator lists such directories in `sources.allow_paths`".to_owned()),
    });
}
