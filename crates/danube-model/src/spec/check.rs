//! From a tree of values to a checked [`Pipeline`]: every mistake in one pass.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{
    API_VERSION, Fields, Limits, Node, Pipeline, Repository, Shell, Step, artifacts, parameters,
    queueing, secrets,
};
use crate::limits::{
    DURATION_SECONDS_MAX, JOB_DURATION_SECONDS_DEFAULT, SCRIPT_BYTES_MAX, STEPS_MAX,
};
use crate::mistake::{Mistake, Mistakes, Position, Source};

const SHELLS: [(&str, Shell); 2] = [("sh", Shell::Sh), ("bash", Shell::Bash)];

/// Reads a pipeline file: YAML or JSON, `apiVersion: danube.dev/v1`, `kind: Pipeline`.
///
/// # Errors
/// Every mistake of the file, each with line and column.
pub fn parse_file(name: &str, text: &str) -> Result<Pipeline, Mistakes> {
    let fail = |list| Mistakes {
        list,
        source: Some(Source {
            name: name.to_owned(),
            text: text.to_owned(),
        }),
    };
    let node = Node::parse(text).map_err(|mistake| fail(vec![mistake]))?;
    let mut mistakes = Vec::new();
    let pipeline = envelope(node, &mut mistakes);
    mistakes.sort_by_key(|it| it.at.map_or(0, |at| at.offset));
    match pipeline {
        Some(pipeline) if mistakes.is_empty() => Ok(pipeline),
        _ => Err(fail(mistakes)),
    }
}

/// Reads the `spec` of a submit. `pointer` is where it stands in the request.
/// Mistakes are added to `mistakes`, beside those of the rest of the request.
pub fn read_request(node: Node, pointer: &str, mistakes: &mut Vec<Mistake>) -> Option<Pipeline> {
    let before = mistakes.len();
    let pipeline = pipeline(node, pointer, None, mistakes);
    if mistakes.len() > before {
        None
    } else {
        pipeline
    }
}

fn envelope(node: Node, mistakes: &mut Vec<Mistake>) -> Option<Pipeline> {
    read_envelope(node, "Pipeline", mistakes, |head, spec, mistakes| {
        // The steps are checked even when the name is wrong: all mistakes at once.
        let name = head.name.unwrap_or_default();
        pipeline(spec, "/spec", Some(name), mistakes)
    })
}

/// What stands at the head of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// `metadata.name`, when it is one.
    pub name: Option<String>,
    /// Where it stands.
    pub at: Option<Position>,
}

/// Reads a file of this kind: `apiVersion`, `kind`, `metadata.name` and `spec`, which
/// `read` takes apart. It does so whatever is wrong with the head.
pub fn read_envelope<T>(
    node: Node,
    kind: &str,
    mistakes: &mut Vec<Mistake>,
    read: impl FnOnce(Head, Node, &mut Vec<Mistake>) -> Option<T>,
) -> Option<T> {
    let mut fields = Fields::open(node, "", mistakes)?;
    expect_word(&mut fields, "apiVersion", API_VERSION);
    expect_word(&mut fields, "kind", kind);
    let metadata = fields.require("metadata");
    let spec = fields.require("spec");
    let head = metadata.and_then(|node| {
        let mut inner = Fields::open(node, "/metadata", fields.mistakes())?;
        let at = inner.place("name");
        let name = inner.require_name("name");
        inner.end();
        Some(Head { name, at })
    });
    let head = head.unwrap_or(Head {
        name: None,
        at: None,
    });
    let value = spec.and_then(|node| read(head, node, fields.mistakes()));
    fields.end();
    value
}

fn expect_word(fields: &mut Fields<'_>, name: &'static str, word: &str) {
    let Some(node) = fields.require(name) else {
        return;
    };
    if node.value != super::Value::Text(word.to_owned()) {
        fields.refuse(name, node.at, &format!("must be `{word}`"));
    }
}

fn pipeline(
    node: Node,
    pointer: &str,
    name: Option<String>,
    mistakes: &mut Vec<Mistake>,
) -> Option<Pipeline> {
    let mut fields = Fields::open(node, pointer, mistakes)?;
    let pipeline = take_pipeline(&mut fields, name, None);
    fields.end();
    pipeline
}

/// Takes the fields that every pipeline has; the caller may take more of its own. With
/// `instead`, these are the steps, and none are asked for.
pub fn take_pipeline(
    fields: &mut Fields<'_>,
    name: Option<String>,
    instead: Option<Vec<Step>>,
) -> Option<Pipeline> {
    let name = name.or_else(|| fields.require_name("name"));
    let repository = fields.take_checked("repository", |text| Repository::parse(text).err());
    let git_ref = fields.take_ref("ref");
    let max_duration_seconds = fields.take_count("max_duration_seconds", DURATION_SECONDS_MAX);
    let parameters = parameters::take(fields);
    let env = fields.take_variables("env");
    let shell = fields.take_word("shell", &SHELLS);
    let retry_on_lost = fields.take_bool("retry_on_lost");
    let limits = fields.take("limits");
    let limits =
        limits.and_then(|node| read_limits(node, &fields.below("limits"), fields.mistakes()));
    let named = secrets::named(fields);
    let queueing = queueing::take(fields);
    let steps = instead.or_else(|| {
        let node = fields.require("steps")?;
        let below = fields.below("steps");
        Some(read_steps(node, (&below, &named), fields.mistakes()))
    });
    Some(Pipeline {
        name: name?,
        repository,
        git_ref,
        max_duration_seconds: max_duration_seconds.unwrap_or(JOB_DURATION_SECONDS_DEFAULT),
        parameters,
        env: env.unwrap_or_default(),
        shell: shell.unwrap_or_default(),
        retry_on_lost: retry_on_lost.unwrap_or(true),
        limits: limits.unwrap_or_default(),
        secrets: named,
        queueing,
        steps: steps?,
    })
}

/// Reads what a step may use of the machine.
pub fn read_limits(node: Node, pointer: &str, mistakes: &mut Vec<Mistake>) -> Option<Limits> {
    let mut fields = Fields::open(node, pointer, mistakes)?;
    let limits = Limits {
        memory_bytes: fields.take_count("memory_bytes", u64::MAX >> 1),
        cpu_cores: fields.take_positive("cpu_cores"),
        processes: fields.take_count("processes", 4_000_000),
        open_files: fields.take_count("open_files", 1 << 30),
    };
    fields.end();
    Some(limits)
}

fn read_steps(
    node: Node,
    (pointer, named): (&str, &BTreeSet<String>),
    mistakes: &mut Vec<Mistake>,
) -> Vec<Step> {
    let at = node.at;
    let kind = node.kind();
    let mut refuse = |message: String| {
        mistakes.push(Mistake {
            code: "steps.form",
            pointer: pointer.to_owned(),
            at,
            message,
            help: None,
        });
        Vec::new()
    };
    let super::Value::List(list) = node.value else {
        return refuse(format!("`steps` must be a list, found {kind}"));
    };
    if list.is_empty() {
        return refuse("`steps` is empty; a pipeline has at least one step".into());
    }
    if list.len() > STEPS_MAX {
        return refuse(format!(
            "{} steps; at most {STEPS_MAX} are allowed",
            list.len()
        ));
    }
    let mut seen = HashSet::new();
    let mut steps = Vec::with_capacity(list.len());
    for (index, node) in list.into_iter().enumerate() {
        let (pointer, at) = (format!("{pointer}/{index}"), node.at);
        let (name, step) = read_step(node, (&pointer, named), mistakes);
        if let Some(name) = name.filter(|it| !seen.insert(it.clone())) {
            mistakes.push(Mistake {
                code: "steps.name_twice",
                pointer: format!("{pointer}/name"),
                at,
                message: format!("a step named `{name}` stands above already"),
                help: Some("the names of steps differ from each other".into()),
            });
        }
        steps.extend(step);
    }
    steps
}

/// The step, and its name also when something else is wrong with it.
fn read_step(
    node: Node,
    (pointer, named): (&str, &BTreeSet<String>),
    mistakes: &mut Vec<Mistake>,
) -> (Option<String>, Option<Step>) {
    let Some(mut fields) = Fields::open(node, pointer, mistakes) else {
        return (None, None);
    };
    let name = fields.require_name("name");
    let run = fields
        .require("run")
        .and_then(|node| script(&mut fields, &node));
    let env: Option<BTreeMap<String, String>> = fields.take_variables("env");
    let secrets = secrets::of_step(&mut fields, named);
    let shell = fields.take_word("shell", &SHELLS);
    let timeout_seconds = fields.take_count("timeout_seconds", DURATION_SECONDS_MAX);
    let continue_on_error = fields.take_bool("continue_on_error");
    let artifacts = artifacts::of_step(&mut fields);
    fields.end();
    let step = name.clone().zip(run).map(|(name, run)| Step {
        name,
        run,
        env: env.unwrap_or_default(),
        secrets,
        shell,
        timeout_seconds,
        continue_on_error: continue_on_error.unwrap_or(false),
        artifacts,
        coordinates: false,
    });
    (name, step)
}

fn script(fields: &mut Fields<'_>, node: &Node) -> Option<String> {
    let super::Value::Text(text) = &node.value else {
        // `run: true` is a script too; a list of commands isn't.
        if let super::Value::Bool(word) = node.value {
            return Some(word.to_string());
        }
        fields.refuse(
            "run",
            node.at,
            &format!("must be text, found {}", node.kind()),
        );
        return None;
    };
    if text.trim().is_empty() {
        fields.refuse("run", node.at, "is empty");
        return None;
    }
    if text.len() > SCRIPT_BYTES_MAX || text.contains('\0') {
        fields.refuse("run", node.at, &format!("holds a NUL byte or more than {SCRIPT_BYTES_MAX} bytes; keep a long script in the repository"));
        return None;
    }
    Some(text.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
apiVersion: danube.dev/v1
kind: Pipeline
metadata:
  name: hello
spec:
  env: {LEVEL: 1}
  steps:
    - name: say
      run: |
        echo hi
        echo there
      timeout_seconds: 30
    - name: quiet
      run: true
      continue_on_error: true
";

    /// Each mistake as `line:column code`.
    fn check(text: &str, expected: &[&str]) {
        let found: Vec<String> = match parse_file("p.yaml", text) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes
                .list
                .iter()
                .map(|it| match it.at {
                    Some(at) => format!("{}:{} {}", at.line, at.column, it.code),
                    None => it.code.to_owned(),
                })
                .collect(),
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_good_file_is_read_whole() {
        let pipeline = parse_file("p.yaml", GOOD).unwrap();
        assert_eq!(pipeline.name, "hello");
        assert_eq!(pipeline.env["LEVEL"], "1");
        assert_eq!(pipeline.steps[0].run, "echo hi\necho there\n");
        assert_eq!(pipeline.steps[0].timeout_seconds, Some(30));
        assert_eq!(pipeline.steps[1].run, "true");
        assert!(pipeline.steps[1].continue_on_error);
        assert_eq!(pipeline.max_duration_seconds, JOB_DURATION_SECONDS_DEFAULT);
        assert!(pipeline.retry_on_lost);
    }

    #[test]
    fn all_mistakes_come_at_once() {
        let text = "\
apiVersion: danube.dev/v2
kind: Pipeline
metadata:
  name: -bad
spec:
  step: []
  env: {9LIVES: x, OK: [1]}
  max_duration_seconds: 0
  steps:
    - name: a
      runn: echo
    - name: a
      run: echo
      timeout_seconds: soon
    - name: a
      run: echo
      shell: fish
";
        check(
            text,
            &[
                "1:13 field.value",
                "4:9 name.form",
                "6:3 field.unknown",
                "7:9 variable.name",
                "7:24 field.type",
                "8:25 field.type",
                "10:7 field.missing",
                "11:7 field.unknown",
                "12:7 steps.name_twice",
                "14:24 field.type",
                "15:7 steps.name_twice",
                "17:14 field.type",
            ],
        );
    }

    #[test]
    fn a_near_miss_is_named() {
        let text = GOOD.replace("timeout_seconds", "timeout_second");
        let mistakes = parse_file("p.yaml", &text).unwrap_err();
        let help = mistakes.list[0].help.clone().unwrap();
        assert!(
            help.starts_with("did you mean `timeout_seconds`?"),
            "{help}"
        );
        assert!(help.contains("`continue_on_error`"), "{help}");
    }

    #[test]
    fn a_pattern_that_leads_elsewhere_is_told_with_its_place() {
        let text = GOOD.replace(
            "      timeout_seconds: 30\n",
            "      artifacts: [\"a/*.deb\", \"../b\", /etc/passwd, 'x{a/b}']\n",
        );
        check(
            &text,
            &[
                "12:30 artifacts.pattern",
                "12:38 artifacts.pattern",
                "12:51 artifacts.pattern",
            ],
        );
        let text = text.replace("[\"a/*.deb\", \"../b\", /etc/passwd, 'x{a/b}']", "a/*.deb");
        check(&text, &["12:18 field.type"]);
        let text = text.replace("a/*.deb", "[a/*.deb, 'reports/**']");
        let pipeline = parse_file("p.yaml", &text).unwrap();
        assert_eq!(pipeline.steps[0].artifacts, ["a/*.deb", "reports/**"]);
        assert!(pipeline.steps[1].artifacts.is_empty());
    }

    #[test]
    fn a_field_that_stands_twice_is_refused() {
        check(
            &GOOD.replace("  env: {LEVEL: 1}\n", "  env: {LEVEL: 1}\n  env: {}\n"),
            &["7:3 field.twice"],
        );
    }

    #[test]
    fn an_empty_pipeline_is_refused() {
        let head = GOOD.split("  steps:").next().unwrap();
        check(&format!("{head}  steps: []\n"), &["7:10 steps.form"]);
        check(head, &["6:3 field.missing"]);
    }

    #[test]
    fn a_request_is_checked_by_the_same_rules() {
        let json = serde_json::json!({"name": "x", "steps": [{"name": "a", "run": "true", "envv": {}}], "max_duration_seconds": "9"});
        let mut mistakes = Vec::new();
        assert_eq!(
            read_request(Node::from_json(&json).unwrap(), "/spec", &mut mistakes),
            None
        );
        let found: Vec<&str> = mistakes.iter().map(|it| it.pointer.as_str()).collect();
        assert_eq!(found, ["/spec/max_duration_seconds", "/spec/steps/0/envv"]);
    }
}
