//! The files of a blueprint, described as JSON Schema for editors.
//!
//! A schema says what one file may hold; what is wrong between files, only [`crate::read()`]
//! finds. Where the check is a program (schedules, time zones, addresses), the schema is wider.

use danube_model::limits::{
    CONCURRENCY_MAX, DURATION_SECONDS_MAX, NAME_BYTES_MAX, PARAMETER_CHOICES_MAX,
    PARAMETER_TEXT_BYTES_MAX, PENDING_MAX, SCRIPT_BYTES_MAX, STEPS_MAX,
};
use danube_model::spec::API_VERSION;
use danube_model::{ARTIFACT_NAME_BYTES_MAX, GLOBS_MAX};
use serde_json::{Map, Value, json};

use crate::config::{BYTES_MAX, DAYS_MAX, FREE_PERCENT_MAX, KEEPS_MAX, LEVELS};
use crate::texts::TEXTS_MAX;

/// One schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// Its file, such as `pipeline.json`.
    pub file: &'static str,
    /// What it says.
    pub schema: Value,
}

/// The schemas of all kinds of files.
#[must_use]
pub fn schemas() -> Vec<Schema> {
    let of = |file, kind: &str, about: &str, spec: &Value| Schema {
        file,
        schema: document(kind, about, spec),
    };
    vec![
        of(
            "config.json",
            "Config",
            "Settings of the server.",
            &config(),
        ),
        of("user.json", "User", "Somebody who may sign in.", &user()),
        of("team.json", "Team", "Users together.", &team()),
        of("pipeline.json", "Pipeline", "What can be run.", &pipeline()),
    ]
}

fn document(kind: &str, about: &str, spec: &Value) -> Value {
    let head = object(
        &["name"],
        json!({"name": name("A name, unique among those of its kind.")}),
    );
    let mut whole = object(
        &["apiVersion", "kind", "metadata", "spec"],
        json!({
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": kind},
            "metadata": head,
            "spec": spec,
        }),
    );
    let more = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("Danube: {kind}"),
        "description": about,
    });
    if let (Value::Object(whole), Value::Object(more)) = (&mut whole, more) {
        whole.extend(more);
    }
    whole
}

/// A map with these fields and no others. A field with nothing behind it counts as left out.
fn object(required: &[&str], properties: Value) -> Value {
    let mut fields = Map::new();
    if let Value::Object(properties) = properties {
        for (name, schema) in properties {
            let schema = match required.contains(&name.as_str()) {
                true => schema,
                false => json!({"anyOf": [schema, {"type": "null"}]}),
            };
            fields.insert(name, schema);
        }
    }
    let mut schema = json!({
        "type": "object",
        "properties": fields,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn about(mut schema: Value, text: &str) -> Value {
    schema["description"] = json!(text);
    schema
}

/// Numbers and booleans are what people write without quotes.
fn text(description: &str) -> Value {
    json!({"type": ["string", "number", "boolean"], "description": description})
}

fn name(description: &str) -> Value {
    json!({
        "type": ["string", "number", "boolean"],
        "minLength": 1,
        "maxLength": NAME_BYTES_MAX,
        "description": description,
    })
}

fn whole(min: u64, max: u64, description: &str) -> Value {
    json!({"type": "integer", "minimum": min, "maximum": max, "description": description})
}

fn boolean(description: &str) -> Value {
    json!({"type": "boolean", "description": description})
}

fn list(of: &Value, max: usize, description: &str) -> Value {
    json!({"type": "array", "items": of, "maxItems": max, "description": description})
}

fn names(description: &str) -> Value {
    let mut schema = list(
        &json!({"type": "string", "minLength": 1, "maxLength": NAME_BYTES_MAX}),
        TEXTS_MAX,
        description,
    );
    schema["uniqueItems"] = json!(true);
    schema
}

fn variables(description: &str) -> Value {
    json!({
        "type": "object",
        "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
        "additionalProperties": {"type": ["string", "number", "boolean"]},
        "description": description,
    })
}

fn shell(description: &str) -> Value {
    json!({"enum": ["sh", "bash"], "description": description})
}

fn machine(description: &str) -> Value {
    let limits = object(
        &[],
        json!({
            "memory_bytes": whole(1, u64::MAX >> 1, "Resident memory of all processes together."),
            "cpu_cores": {"type": "number", "exclusiveMinimum": 0, "description": "Processor cores."},
            "processes": whole(1, 4_000_000, "Processes and threads at once."),
            "open_files": whole(1, 1 << 30, "Open files of one process."),
        }),
    );
    about(limits, description)
}

fn config() -> Value {
    let days = |what: &str| whole(0, DAYS_MAX, what);
    let retention = json!({
        "logs_days": days("Days that a job log is kept; 0 for ever."),
        "logs_max_bytes": whole(0, BYTES_MAX, "Bytes of all job logs; 0 for no limit."),
        "artifacts_days": days("Days that an artifact is kept; 0 for ever."),
        "artifacts_max_bytes": whole(0, BYTES_MAX, "Bytes of the artifacts of all jobs; 0 for no limit."),
        "disk_free_percent": whole(0, FREE_PERCENT_MAX, "Share of the disk that stays free; 0 for none."),
        "keep": list(&keep(), KEEPS_MAX, "Jobs whose logs, traces and artifacts are kept, whatever the others say."),
    });
    let limits = json!({
        "max_duration_seconds": whole(1, DURATION_SECONDS_MAX, "Seconds that a job may take, whatever its pipeline says."),
        "artifact_file_max_bytes": whole(1, BYTES_MAX, "Bytes of one artifact."),
        "artifact_job_max_bytes": whole(1, BYTES_MAX, "Bytes of all artifacts of a job."),
        "step": machine("What each step may use of the machine; a pipeline may ask for less."),
    });
    object(
        &[],
        json!({
            "retention": about(object(&[], retention), "How long things are kept."),
            "observability": object(&[], json!({
                "log_level": {"enum": LEVELS, "description": "Level of the server's log."},
            })),
            "redaction": object(&[], json!({
                "email": boolean("Also take addresses of e-mail out of job logs."),
            })),
            "limits": about(object(&[], limits), "What jobs may take."),
        }),
    )
}

/// One that names neither would keep all.
fn keep() -> Value {
    let mut schema = object(
        &[],
        json!({
            "pipelines": patterns("Patterns of pipelines: `*` stands for any text, `!` before one takes out again."),
            "refs": patterns("Patterns of branches, tags and other refs; with any, a job without a ref isn't meant."),
            "days": whole(0, DAYS_MAX, "For so many days; 0, or left out, for ever."),
        }),
    );
    let some = |name: &str| json!({"required": [name], "properties": {name: {"type": "array", "minItems": 1}}});
    schema["anyOf"] = json!([some("pipelines"), some("refs")]);
    schema
}

fn user() -> Value {
    object(
        &["email"],
        json!({
            "email": {"type": "string", "maxLength": 254, "pattern": "^[^@\\s]+@[^@\\s.][^@\\s]*$", "description": "The address by which sign-in knows them."},
            "admin": boolean("May do everything."),
        }),
    )
}

fn team() -> Value {
    object(&["members"], json!({"members": names("Names of users.")}))
}

fn pipeline() -> Value {
    let permissions = json!({
        "read": names("Teams that see it, its jobs and their logs."),
        "write": names("Teams that also start, cancel and repeat its jobs."),
        "admin": names("Teams that also have its secrets."),
    });
    let worker = json!({
        "image": {"type": "string", "maxLength": 500, "description": "The image that its steps run in, where the executor has images."},
        "resources": machine("What each step may use of the machine; may only lower the operator's."),
    });
    let mut schema = object(
        &[],
        json!({
            "repository": text("What is cloned before the first step."),
            "ref": text("Branch, tag or commit; a submit's wins."),
            "max_duration_seconds": whole(1, DURATION_SECONDS_MAX, "Seconds that the whole job may take."),
            "parameters": parameters(),
            "env": variables("Variables of every step."),
            "shell": shell("The shell of every step that names none."),
            "retry_on_lost": boolean("Run again when the worker is lost."),
            "limits": machine("The same as `worker.resources`."),
            "secrets": names("Names of the secrets that its steps may ask for."),
            "concurrency": whole(1, u64::from(CONCURRENCY_MAX), "How many of its jobs run at once, on all workers together."),
            "max_pending": whole(1, u64::from(PENDING_MAX), "How many of its jobs may wait; one more is refused."),
            "cancel_superseded": {"enum": [true, false, "pending"], "description": "A newer job for the same ref and parameters cancels older ones: those that wait (`pending`), or also those that run (`true`)."},
            "team": name("The team whose share of the workers its jobs take; its owner by `permissions` if left out."),
            "steps": steps(),
            "script": text("Path of a program in the repository that is run instead of steps."),
            "worker": object(&[], worker),
            "triggers": triggers(),
            "permissions": about(object(&[], permissions), "Who may do what with it, by team."),
        }),
    );
    let has =
        |name: &str| json!({"required": [name], "properties": {name: {"not": {"type": "null"}}}});
    schema["oneOf"] = json!([has("steps"), has("script")]);
    schema
}

fn parameters() -> Value {
    let short =
        json!({"type": ["string", "number", "boolean"], "maxLength": PARAMETER_TEXT_BYTES_MAX});
    let whole = object(
        &[],
        json!({
            "description": about(short.clone(), "What it is for."),
            "default": about(short.clone(), "Its value when nobody says; without one somebody has to."),
            "type": {"enum": ["text", "number", "boolean"], "description": "What a value has to be; text if left out."},
            "choices": {"type": "array", "items": short, "minItems": 1, "maxItems": PARAMETER_CHOICES_MAX, "description": "The values that there are."},
            "secret": boolean("Its value is kept out of logs and of everything else that is told."),
        }),
    );
    let mut schema =
        variables("What a submit may set: a default, or all that is to be said of it.");
    let default = schema["additionalProperties"].take();
    schema["additionalProperties"] = json!({"anyOf": [default, whole]});
    schema
}

fn steps() -> Value {
    let step = json!({
        "name": name("Unique in the pipeline."),
        "run": {"type": ["string", "boolean"], "minLength": 1, "maxLength": SCRIPT_BYTES_MAX, "description": "The script, in a shell of its own."},
        "env": variables("Win over the pipeline's."),
        "secrets": variables("Variables of this step alone, with the names of the secrets that they hold."),
        "shell": shell("Wins over the pipeline's."),
        "timeout_seconds": whole(1, DURATION_SECONDS_MAX, "Seconds that it may take."),
        "continue_on_error": boolean("The job goes on, and may succeed, when it fails."),
        "artifacts": list(
            &json!({"type": "string", "minLength": 1, "maxLength": ARTIFACT_NAME_BYTES_MAX, "pattern": "^[^/\\\\]([^\\\\]*[^/\\\\])?$"}),
            GLOBS_MAX,
            "Files that are kept once it has ended: patterns of paths below its source, such as `target/*.deb` or `reports/**`.",
        ),
    });
    let mut steps = list(
        &object(&["name", "run"], step),
        STEPS_MAX,
        "Run one after the other.",
    );
    steps["minItems"] = json!(1);
    steps
}

fn patterns(description: &str) -> Value {
    let one = json!({"type": "string", "pattern": "^!?[^!/].*$", "maxLength": 256});
    let mut list = list(&one, TEXTS_MAX, description);
    list["uniqueItems"] = json!(true);
    list
}

fn triggers() -> Value {
    let branches = "Patterns of branches: `*` stands for any text, `!` before one takes out again.";
    let paths = "Patterns of the files that changed.";
    let tags = "Patterns of tags; without any, no tag counts, and with tags alone no branch.";
    let push =
        json!({"branches": patterns(branches), "tags": patterns(tags), "paths": patterns(paths)});
    let request = json!({
        "branches": patterns(branches),
        "paths": patterns(paths),
        "forks": boolean("Also those that come from a fork."),
    });
    let cron = json!({
        "schedule": text("Minute, hour, day of the month, month, day of the week."),
        "timezone": text("The zone in which that is meant, by its IANA name; UTC if left out."),
        "ref": text("Branch, tag or commit."),
        "parameters": variables("Values of its parameters."),
    });
    let all = json!({
        "push": about(object(&[], push), "A push to its repository."),
        "pull_request": about(object(&[], request), "A request to merge into its repository."),
        "cron": list(&object(&["schedule"], cron), 20, "The time."),
        "manual": boolean("Somebody who asks for it; true if left out."),
    });
    about(object(&[], all), "What starts it.")
}
