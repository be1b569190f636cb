//! From the body of a submit to a checked order. Reads nothing but its
//! arguments, changes nothing, and finds every mistake in one pass.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use danube_model::limits::{MASK_BYTES_MAX, MASKS_BYTES_MAX, MASKS_MAX, NAME_BYTES_MAX};
use danube_model::spec::{Fields, Node, Pipeline, Repository, Value, is_name, read_request};
use danube_model::{Mistake, Order, Trace};
use danube_outgoing::{Refused, Target};
use danube_redact::{Rules, Secrets};
use danube_store::Callback;

use crate::pipelines::NoPipeline;

/// The queue of jobs that name none.
const QUEUE_DEFAULT: &str = "default";

/// A checked submit.
#[derive(Debug)]
pub(crate) struct Checked {
    /// What to do.
    pub(crate) order: Order,
    /// `pipeline` or `spec`: how it was asked for.
    pub(crate) source_type: &'static str,
    /// The queue to wait in.
    pub(crate) queue: String,
    /// Run again when the worker is lost.
    pub(crate) retry_on_lost: bool,
    /// Where its end is told.
    pub(crate) callback: Option<Callback>,
    /// What the caller should know.
    pub(crate) warnings: Vec<String>,
}

/// What a submit may refer to.
pub(crate) trait World {
    /// The pipeline with this name.
    fn pipeline(&self, name: &str) -> Result<Pipeline, NoPipeline>;
    /// The directory of this machine behind `path`, links followed, when this
    /// caller may clone from it.
    fn clonable(&self, path: &Path) -> Option<PathBuf>;
    /// The address at which a job's end may be told.
    fn callback(&self, url: &str) -> Result<Target, Refused>;
}

/// Checks the body of a submit.
pub(crate) fn check(body: &serde_json::Value, world: &dyn World) -> Result<Checked, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let checked = read(body, world, &mut mistakes);
    match checked {
        Some(checked) if mistakes.is_empty() => Ok(checked),
        _ => Err(mistakes),
    }
}

fn read(
    body: &serde_json::Value,
    world: &dyn World,
    mistakes: &mut Vec<Mistake>,
) -> Option<Checked> {
    let node = Node::from_json(body)
        .map_err(|mistake| mistakes.push(mistake))
        .ok()?;
    let mut fields = Fields::open(node, "", mistakes)?;
    let name = fields.take("pipeline");
    let spec = fields.take("spec");
    let source_type = if spec.is_some() { "spec" } else { "pipeline" };
    let git_ref = fields.take_ref("ref");
    let parameters = fields.take_variables("parameters").unwrap_or_default();
    let (masks, warnings) = read_masks(&mut fields);
    let queue = fields.take_checked("queue", |text| {
        (!is_name(text)).then_some("can't be the name of a queue")
    });
    let retry_on_lost = fields.take_bool("retry_on_lost");
    let callback = read_callback(&mut fields, world, &masks);
    for later in [
        "source",
        "inventory",
        "credentials",
        "extra_vars",
        "options",
    ] {
        if let Some(node) = fields.take(later) {
            fields.refuse(later, node.at, "isn't supported by this version");
        }
    }
    let pipeline = match (name, spec) {
        (Some(_), Some(_)) => {
            fields.refuse("spec", None, "and `pipeline` can't both be given");
            None
        }
        (Some(name), None) => named(&mut fields, &name, world),
        (None, Some(spec)) => read_request(spec, "/spec", fields.mistakes()),
        (None, None) => {
            fields.refuse("pipeline", None, "or `spec` must be given");
            None
        }
    };
    let Some(mut pipeline) = pipeline else {
        fields.end();
        return None;
    };
    let parameters = with_defaults(&mut fields, &pipeline, parameters);
    check_repository(&mut fields, &mut pipeline, source_type, world);
    let order = Order {
        git_ref: git_ref.or_else(|| pipeline.git_ref.clone()),
        parameters,
        masks,
        pipeline,
        trace: Trace {
            source_type: source_type.to_owned(),
            ..Trace::default()
        },
    };
    let queue = queue.unwrap_or_else(|| QUEUE_DEFAULT.to_owned());
    check_names(&mut fields, &order, &queue);
    fields.end();
    let retry_on_lost = retry_on_lost.unwrap_or(order.pipeline.retry_on_lost);
    Some(Checked {
        order,
        source_type,
        queue,
        retry_on_lost,
        callback,
        warnings,
    })
}

/// The address is never repeated in an error: its query may hold a token.
fn read_callback(fields: &mut Fields<'_>, world: &dyn World, masks: &[String]) -> Option<Callback> {
    const INSIDE: &str =
        "the operator lists hosts and networks that may be called in `webhooks.allow_private`";
    const HTTP: &str = "the operator may allow it with `webhooks.allow_http`";
    let url = fields.take_text("callback_url")?;
    let refuse = |fields: &mut Fields<'_>, message: String, help: Option<&str>| {
        let pointer = fields.below("callback_url");
        fields.mistakes().push(Mistake {
            code: "callback.refused",
            pointer,
            at: None,
            message,
            help: help.map(str::to_owned),
        });
    };
    let target = match world.callback(&url) {
        Ok(target) => target,
        Err(why) => {
            let help = match why {
                Refused::Private { .. } => Some(INSIDE),
                Refused::Http => Some(HTTP),
                _ => None,
            };
            refuse(fields, format!("`callback_url` {why}"), help);
            return None;
        }
    };
    let shown = target.shown();
    if masked(masks).redact(&shown) != shown {
        let message =
            "`callback_url` holds a value of `mask` before its query, but that is shown".to_owned();
        refuse(fields, message, Some("put it into the query"));
        return None;
    }
    Some(Callback {
        url: target.whole(),
        origin: target.origin(),
        shown,
    })
}

/// What hides the values of `mask`.
fn masked(masks: &[String]) -> Secrets {
    let secrets = Secrets::new(Rules::none());
    for mask in masks {
        // Each was taken by a trial before.
        let _ = secrets.register_short(mask.as_bytes());
    }
    secrets
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

/// Declared parameters get their defaults; undeclared ones are mistakes.
fn with_defaults(
    fields: &mut Fields<'_>,
    pipeline: &Pipeline,
    given: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let unknown = match pipeline.with_parameters(given) {
        Ok(all) => return all,
        Err(unknown) => unknown,
    };
    let declared = pipeline.parameters.iter().flat_map(BTreeMap::keys);
    let allowed: Vec<String> = declared.map(|it| format!("`{it}`")).collect();
    for name in unknown {
        let pointer = format!("{}/{name}", fields.below("parameters"));
        fields.mistakes().push(Mistake {
            code: "parameter.unknown",
            pointer,
            at: None,
            message: format!("the pipeline has no parameter `{name}`"),
            help: Some(format!("allowed are {}", allowed.join(", "))),
        });
    }
    BTreeMap::new()
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

/// Values to mask must be ones that the redactor takes; the value itself is
/// never repeated in an error. With a warning for each that is short.
fn read_masks(fields: &mut Fields<'_>) -> (Vec<String>, Vec<String>) {
    let list = fields.take_list("mask").unwrap_or_default();
    let allow_short = fields.take_bool("allow_short_masks").unwrap_or(false);
    if list.len() > MASKS_MAX {
        fields.refuse("mask", None, &format!("has more than {MASKS_MAX} values"));
        return Default::default();
    }
    let texts = list.iter().map(|it| match &it.value {
        Value::Text(text) => text.len(),
        _ => 0,
    });
    if texts.clone().any(|it| it > MASK_BYTES_MAX) || texts.sum::<usize>() > MASKS_BYTES_MAX {
        let why = format!(
            "has a value above {MASK_BYTES_MAX} bytes, or more than {MASKS_BYTES_MAX} bytes in all"
        );
        fields.refuse("mask", None, &why);
        return Default::default();
    }
    let mut masks = Vec::with_capacity(list.len());
    for (index, node) in list.into_iter().enumerate() {
        let why = match node.value {
            Value::Text(text) => match check_mask(&text, allow_short) {
                Ok(()) => {
                    masks.push(text);
                    continue;
                }
                Err(why) => why,
            },
            _ => format!("must be text, found {}", node.kind()),
        };
        let pointer = format!("{}/{index}", fields.below("mask"));
        fields.mistakes().push(Mistake {
            code: "mask.refused",
            pointer,
            at: node.at,
            message: why,
            help: None,
        });
    }
    let warnings = if allow_short {
        warnings(&masks)
    } else {
        Vec::new()
    };
    (masks, warnings)
}

/// Whether the redactor takes a value; why not, without the value.
pub(crate) fn check_mask(text: &str, allow_short: bool) -> Result<(), String> {
    if text.len() > MASK_BYTES_MAX {
        return Err(format!("is longer than {MASK_BYTES_MAX} bytes"));
    }
    let trial = Secrets::new(Rules::none());
    let taken = if allow_short {
        trial.register_short(text.as_bytes())
    } else {
        trial.register(text.as_bytes())
    };
    taken.map_err(|refused| refused.to_string())
}

/// What is said of each value that was taken only because the caller insisted.
fn warnings(masks: &[String]) -> Vec<String> {
    let short = masks.iter().zip(0..);
    let short = short.filter(|(it, _)| check_mask(it, false).is_err());
    short
        .map(|(_, index)| short_warning(&format!("mask/{index}")))
        .collect()
}

/// The warning of a short value; `which` names it.
pub(crate) fn short_warning(which: &str) -> String {
    format!("`{which}` is shorter than 8 characters: it will hide other text, too")
}

/// Names are shown everywhere, so none may hold a value to be masked.
fn check_names(fields: &mut Fields<'_>, order: &Order, queue: &str) {
    let secrets = masked(&order.masks);
    let mut refuse = |pointer: String| {
        fields.mistakes().push(Mistake {
            code: "mask.in_name",
            pointer,
            at: None,
            message: "holds a value of `mask`, but is shown everywhere".to_owned(),
            help: Some("give it another name".to_owned()),
        });
    };
    let shown = |text: &str| secrets.redact(text) != text;
    if shown(&order.pipeline.name) {
        refuse("/spec/name".to_owned());
    }
    if order.git_ref.as_deref().is_some_and(shown) {
        refuse("/ref".to_owned());
    }
    if shown(queue) {
        refuse("/queue".to_owned());
    }
    for (index, step) in order.pipeline.steps.iter().enumerate() {
        if shown(&step.name) {
            refuse(format!("/spec/steps/{index}/name"));
        }
    }
}

/// `path` with links followed, when it lies in one of `allowed`.
pub(crate) fn real_below(path: &Path, allowed: &[PathBuf]) -> Option<PathBuf> {
    let real = path.canonicalize().ok()?;
    let mut dirs = allowed.iter().filter_map(|it| it.canonicalize().ok());
    dirs.any(|dir| real.starts_with(dir)).then_some(real)
}

#[cfg(test)]
mod tests {
    use danube_model::spec::parse_file;
    use serde_json::json;

    use super::*;

    struct One;

    impl World for One {
        fn pipeline(&self, name: &str) -> Result<Pipeline, NoPipeline> {
            let text = "apiVersion: danube.dev/v1\nkind: Pipeline\nmetadata: {name: build}\nspec:\n  parameters: {LEVEL: '1'}\n  retry_on_lost: false\n  steps: [{name: a, run: echo}]\n";
            let known = parse_file("build.yaml", text).unwrap();
            if name == "build" {
                Ok(known)
            } else {
                Err(NoPipeline::Unknown {
                    known: vec![known.name],
                    wrong: vec![],
                })
            }
        }

        fn clonable(&self, path: &Path) -> Option<PathBuf> {
            path.starts_with("/srv/open").then(|| path.to_owned())
        }

        fn callback(&self, url: &str) -> Result<Target, Refused> {
            danube_outgoing::Policy::default().check(url)
        }
    }

    /// The pointers of the mistakes.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a case is written where it is checked"
    )]
    fn check_body(body: serde_json::Value, expected: &[&str]) {
        let found = match check(&body, &One) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes.into_iter().map(|it| it.pointer).collect(),
        };
        assert_eq!(found, expected, "{body}");
    }

    #[test]
    fn a_named_pipeline_gets_its_defaults() {
        let checked = check(&json!({"pipeline": "build", "ref": "main"}), &One).unwrap();
        assert_eq!(checked.order.parameters["LEVEL"], "1");
        assert_eq!(checked.order.git_ref.as_deref(), Some("main"));
        assert!(!checked.retry_on_lost);
        assert_eq!(checked.source_type, "pipeline");
    }

    #[test]
    fn every_mistake_is_found_at_once() {
        let spec = json!({"name": "x", "steps": [{"name": "a"}], "repository": "ext::sh"});
        check_body(
            json!({"spec": spec, "mask": ["short", 7], "ref": "-x", "whatever": 1, "source": {}}),
            &[
                "/ref",
                "/mask/0",
                "/mask/1",
                "/source",
                "/spec/repository",
                "/spec/steps/0/run",
                "/whatever",
            ],
        );
        check_body(
            json!({"pipeline": "build", "parameters": {"COLOUR": "red"}, "whatever": 1}),
            &["/parameters/COLOUR", "/whatever"],
        );
    }

    #[test]
    fn a_short_value_is_masked_on_request_and_warned_of() {
        let spec = json!({"name": "x", "steps": [{"name": "a", "run": "true"}]});
        let body = |mask: &str| json!({"spec": spec, "mask": ["long-enough-1", mask], "allow_short_masks": true});
        check_body(body("x1y2z"), &["/mask/1"]);
        let checked = check(&body("x1y2z3"), &One).unwrap();
        assert_eq!(checked.order.masks, ["long-enough-1", "x1y2z3"]);
        assert_eq!(checked.warnings, [short_warning("mask/1")]);
        assert!(
            check(&body("long-enough-2"), &One)
                .unwrap()
                .warnings
                .is_empty()
        );
    }

    #[test]
    fn one_of_pipeline_and_spec_is_needed() {
        check_body(json!({}), &["/pipeline"]);
        check_body(json!({"pipeline": "build", "spec": {}}), &["/spec"]);
        check_body(json!({"pipeline": "other"}), &["/pipeline"]);
        check_body(json!([]), &[""]);
    }

    #[test]
    fn a_callback_is_taken_from_the_public_internet_and_never_repeated() {
        let body = |url: &str| json!({"pipeline": "build", "mask": ["hunter2-hunter2"], "callback_url": url});
        let checked = check(&body("https://hooks.example:8443/a?token=s3cret"), &One).unwrap();
        let callback = checked.callback.unwrap();
        assert_eq!(callback.url, "https://hooks.example:8443/a?token=s3cret");
        assert_eq!(callback.shown, "https://hooks.example:8443/a");
        assert_eq!(callback.origin, "https://hooks.example:8443");
        for url in [
            "http://hooks.example/?s3cret",
            "https://127.0.0.1/?s3cret",
            "https://s3cret@hooks.example/",
            "https://0x7f.1/s3cret",
            "s3cret",
            "https://hooks.example/hunter2-hunter2",
        ] {
            check_body(body(url), &["/callback_url"]);
            let mistakes = check(&body(url), &One).unwrap_err();
            assert!(!format!("{mistakes:?}").contains("s3cret"), "{mistakes:?}");
            assert!(!format!("{mistakes:?}").contains("hunter2"), "{mistakes:?}");
        }
        check_body(
            json!({"pipeline": "build", "callback_url": 7}),
            &["/callback_url"],
        );
    }

    #[test]
    fn local_repositories_need_leave() {
        let body = |path: &str| json!({"spec": {"name": "x", "repository": path, "steps": [{"name": "a", "run": "true"}]}});
        check_body(body("file:///srv/open/a.git"), &[]);
        check_body(body("/etc"), &["/spec/repository"]);
    }

    #[test]
    fn a_secret_never_stands_in_a_name_nor_in_the_error() {
        let body = json!({"spec": {"name": "x", "steps": [{"name": "use hunter2-hunter2", "run": "true"}]}, "mask": ["hunter2-hunter2"]});
        let mistakes = check(&body, &One).unwrap_err();
        assert_eq!(mistakes[0].pointer, "/spec/steps/0/name");
        assert!(!format!("{mistakes:?}").contains("hunter2"));
    }
}
