//! From the body of a submit to a checked order. Reads nothing but its
//! arguments, changes nothing, and finds every mistake in one pass.

mod callback;
mod masks;
mod pipeline;
mod playbook;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use danube_model::credential::CredentialKind;
use danube_model::spec::{Fields, Node, Pipeline};
use danube_model::{Mistake, Order, QUEUE_DEFAULT, Queues, Task, Trace};
use danube_outgoing::{Refused, Target};
use danube_store::Callback;

pub(crate) use masks::{check_mask, short_warning};

use crate::pipelines::NoPipeline;

/// A checked submit.
#[derive(Debug)]
pub(crate) struct Checked {
    /// What to do.
    pub(crate) order: Order,
    /// How it was asked for: `pipeline`, `spec`, or the type of a playbook's source.
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
    /// Whether sources may come from this address, as far as its text tells; why not, else.
    fn reachable(&self, url: &str) -> Result<(), String>;
    /// The queues that a job may wait in.
    fn queues(&self) -> &Queues;
    /// The kind of the credential with this name; none when there is none.
    fn credential(&self, name: &str) -> Result<Option<CredentialKind>, String>;
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

/// The queue to wait in. One that nobody declared has no workers to look after it: a job
/// that is put there by a slip would wait for ever.
fn read_queue(fields: &mut Fields<'_>, world: &dyn World) -> Option<String> {
    let name = fields.take_text("queue")?;
    let queues = world.queues();
    if queues.has(&name) {
        return Some(name);
    }
    let pointer = fields.below("queue");
    fields.mistakes().push(Mistake {
        code: "queue.unknown",
        pointer,
        at: None,
        message: format!("this server has no queue `{}`", name.escape_debug()),
        help: Some(format!(
            "name one of {}; the setting `queue.queues` declares them",
            queues.names()
        )),
    });
    None
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
    let (mut masks, warnings) = masks::read(&mut fields);
    let queue = read_queue(&mut fields, world);
    let retry_on_lost = fields.take_bool("retry_on_lost");
    let callback = callback::read(&mut fields, world, &masks);
    let work = match playbook::FIELDS.iter().any(|it| body.get(it).is_some()) {
        true => playbook::read(&mut fields, world),
        false => pipeline::read(&mut fields, world),
    };
    let Some(work) = work else {
        fields.end();
        return None;
    };
    masks.extend(work.secret_values);
    masks::check_all(&mut fields, &masks);
    let order = Order {
        task: work.task,
        git_ref: work.git_ref,
        parameters: work.parameters,
        masks,
        trace: Trace {
            source_type: work.source_type.to_owned(),
            ..Trace::default()
        },
        forge: None,
    };
    let queue = queue.unwrap_or_else(|| QUEUE_DEFAULT.to_owned());
    masks::check_names(&mut fields, &order, &queue);
    fields.end();
    Some(Checked {
        order,
        source_type: work.source_type,
        queue,
        retry_on_lost: retry_on_lost.unwrap_or(work.retry_on_lost),
        callback,
        warnings,
    })
}

/// What a submit asks to be done, without what is the same for every kind of it.
struct Work {
    task: Task,
    source_type: &'static str,
    git_ref: Option<String>,
    parameters: BTreeMap<String, String>,
    /// Those of them that are secret, which are masked.
    secret_values: Vec<String>,
    /// When the submit doesn't say.
    retry_on_lost: bool,
}

/// `path` with links followed, when it lies in one of `allowed`.
pub(crate) fn real_below(path: &Path, allowed: &[PathBuf]) -> Option<PathBuf> {
    let real = path.canonicalize().ok()?;
    let mut dirs = allowed.iter().filter_map(|it| it.canonicalize().ok());
    dirs.any(|dir| real.starts_with(dir)).then_some(real)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use danube_model::spec::parse_file;
    use serde_json::json;

    use super::*;

    struct One;

    impl World for One {
        fn queues(&self) -> &Queues {
            static QUEUES: LazyLock<Queues> = LazyLock::new(|| {
                let night = "night".parse().unwrap();
                Queues::new(vec![night]).unwrap()
            });
            &QUEUES
        }

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

        fn reachable(&self, url: &str) -> Result<(), String> {
            let is_open = url.starts_with("https://open.example/");
            is_open
                .then_some(())
                .ok_or_else(|| "leads inside".to_owned())
        }

        fn credential(&self, name: &str) -> Result<Option<CredentialKind>, String> {
            Ok((name == "key").then_some(CredentialKind::SshKey))
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
            json!({"spec": spec, "mask": ["short", 7], "ref": "-x", "whatever": 1}),
            &[
                "/mask/0",
                "/mask/1",
                "/ref",
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
    fn a_playbook_is_checked_whole() {
        let inventory = json!({"type": "inline", "hosts": ["a"]});
        let good = json!({
            "source": {"type": "playbook", "repo": "/srv/open/r", "path": "site.yml"},
            "inventory": inventory, "credentials": {"ssh": "key"}, "options": {"check": true},
        });
        let checked = check(&good, &One).unwrap();
        assert_eq!(checked.source_type, "playbook");
        let playbook = checked.order.task.playbook().unwrap();
        assert_eq!(playbook.source.repository(), Some("file:///srv/open/r"));
        assert!(playbook.options.check && checked.retry_on_lost);
        check_body(
            json!({
                "source": {"type": "local", "path": "/etc", "playbook": "site.yml"},
                "inventory": {"type": "url", "url": "https://inside.example/x"},
                "credentials": {"ssh": "other", "become": "key"},
                "spec": {}, "else": 1, "mask": ["short"],
            }),
            &[
                "/mask/0",
                "/spec",
                "/source/path",
                "/inventory/url",
                "/credentials/ssh",
                "/credentials/become",
                "/else",
            ],
        );
        check_body(
            json!({"options": {"tags": 1}}),
            &["/source", "/inventory", "/options/tags"],
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
