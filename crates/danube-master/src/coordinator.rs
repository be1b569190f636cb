//! Reads what a coordinator asks for. Every mistake is told at once, and none repeats a value.

use danube_model::Mistake;
use danube_model::coordinator::{CallCommand, Reported, StatusCall, StepCall, is_request_id};
use danube_model::limits::{DURATION_SECONDS_MAX, REPORT_BYTES_MAX, SCRIPT_BYTES_MAX};
use danube_model::secret::is_secret_name;
use danube_model::spec::{Fields, Node, Shell, Value};

use crate::auth::random;

/// Arguments of a command: Linux takes more, and people write scripts then.
const ARGUMENTS_MAX: usize = 1_000;

/// Words for shells.
const SHELLS: [(&str, Shell); 2] = [("sh", Shell::Sh), ("bash", Shell::Bash)];

/// Words for how a coordinator goes.
const REPORTS: [(&str, Reported); 3] = [
    ("running", Reported::Running),
    ("success", Reported::Success),
    ("failure", Reported::Failure),
];

/// A step to run. Its `secrets` are names still.
///
/// # Errors
/// Every mistake.
pub(crate) fn step(body: &serde_json::Value) -> Result<StepCall, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    match read_step(body, &mut mistakes) {
        Some(call) if mistakes.is_empty() => Ok(call),
        _ => Err(mistakes),
    }
}

fn read_step(body: &serde_json::Value, mistakes: &mut Vec<Mistake>) -> Option<StepCall> {
    let mut fields = open(body, mistakes)?;
    let request_id = request_id(&mut fields);
    let name = fields.require_name("name");
    let command = command(&mut fields);
    let env = fields.take_variables("env").unwrap_or_default();
    let secrets = fields.take_variables("secrets").unwrap_or_default();
    if !secrets.values().all(|it| is_secret_name(it)) {
        fields.refuse("secrets", None, "holds what can't be the name of a secret");
    }
    let timeout_seconds = fields.take_count("timeout_seconds", DURATION_SECONDS_MAX);
    let capture = fields.take_bool("capture").unwrap_or(false);
    fields.end();
    Some(StepCall {
        request_id: request_id?,
        name: name?,
        command: command?,
        env,
        secrets,
        timeout_seconds,
        capture,
    })
}

/// How a coordinator says that it goes.
///
/// # Errors
/// Every mistake.
pub(crate) fn status(body: &serde_json::Value) -> Result<StatusCall, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    match read_status(body, &mut mistakes) {
        Some(call) if mistakes.is_empty() => Ok(call),
        _ => Err(mistakes),
    }
}

fn read_status(body: &serde_json::Value, mistakes: &mut Vec<Mistake>) -> Option<StatusCall> {
    let mut fields = open(body, mistakes)?;
    let request_id = request_id(&mut fields);
    let status = fields.take_word("status", &REPORTS);
    let message = fields.take_checked("message", |it| {
        (it.len() > REPORT_BYTES_MAX).then_some("has more than 4096 bytes")
    });
    if message.as_deref().is_none_or(|it| it.trim().is_empty()) {
        fields.refuse("message", None, "must say something");
    }
    fields.end();
    Some(StatusCall {
        request_id: request_id?,
        status: status.unwrap_or(Reported::Running),
        message: message?,
    })
}

/// The secret that is asked for.
///
/// # Errors
/// Every mistake.
pub(crate) fn secret(body: &serde_json::Value) -> Result<String, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let read = |mistakes: &mut Vec<Mistake>| {
        let mut fields = open(body, mistakes)?;
        let name = fields.take_checked("name", |it| {
            (!is_secret_name(it)).then_some("can't be the name of a secret")
        });
        if name.is_none() {
            fields.refuse("name", None, "must name a secret");
        }
        fields.end();
        name
    };
    match read(&mut mistakes) {
        Some(name) if mistakes.is_empty() => Ok(name),
        _ => Err(mistakes),
    }
}

fn open<'m>(body: &serde_json::Value, mistakes: &'m mut Vec<Mistake>) -> Option<Fields<'m>> {
    let node = match Node::from_json(body) {
        Ok(node) => node,
        Err(mistake) => {
            mistakes.push(mistake);
            return None;
        }
    };
    Fields::open(node, "", mistakes)
}

/// The caller's; without one, the call can't be repeated.
fn request_id(fields: &mut Fields<'_>) -> Option<String> {
    if !fields.has("request_id") {
        fields.take("request_id");
        return Some(format!("{:032x}", u128::from_be_bytes(random::<16>())));
    }
    fields.take_checked("request_id", |it| {
        (!is_request_id(it)).then_some("must be 1 to 64 letters, digits and `-_.`")
    })
}

fn command(fields: &mut Fields<'_>) -> Option<CallCommand> {
    let both = fields.has("command") && fields.has("run");
    let words = fields.take_list("command");
    let run = fields.take_checked("run", |it| {
        let is_empty = it.trim().is_empty().then_some("is empty");
        is_empty.or((it.len() > SCRIPT_BYTES_MAX)
            .then_some("is too long: keep a long script in the repository"))
    });
    let shell = fields.take_word("shell", &SHELLS);
    if both {
        fields.refuse("command", None, "and `run` can't both be given");
        return None;
    }
    if let Some(run) = run {
        return Some(CallCommand::Script(run, shell));
    }
    if words.is_some() && shell.is_some() {
        fields.refuse("shell", None, "goes with `run`");
    }
    let words = words.unwrap_or_default().into_iter();
    let words: Option<Vec<String>> = words.map(|it| word(it.value)).collect();
    let sane = words.as_ref().is_some_and(|it| {
        let first = it.first().is_some_and(|it| !it.is_empty());
        let whole = it
            .iter()
            .all(|it| !it.contains('\0') && it.len() <= SCRIPT_BYTES_MAX);
        first && whole && it.len() <= ARGUMENTS_MAX
    });
    if !sane {
        let why = format!(
            "must be a program and its arguments: 1 to {ARGUMENTS_MAX} texts of at most {SCRIPT_BYTES_MAX} bytes without NUL"
        );
        fields.refuse("command", None, &why);
        return None;
    }
    words.map(CallCommand::Argv)
}

fn word(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(body: &Value, pointers: &[&str]) {
        let found = match step(body) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes,
        };
        let found: Vec<&str> = found.iter().map(|it| it.pointer.as_str()).collect();
        assert_eq!(found, pointers, "{body}");
    }

    #[test]
    fn a_step_says_what_it_runs_in_one_of_two_ways() {
        check(&json!({"name": "a", "command": ["true"]}), &[]);
        check(&json!({"name": "a", "run": "true", "shell": "bash"}), &[]);
        check(&json!({"name": "a"}), &["/command"]);
        check(
            &json!({"name": "a", "run": "true", "command": ["true"]}),
            &["/command"],
        );
        for command in [json!([]), json!([""]), json!(["a", 1]), json!(["a\u{0}"])] {
            check(&json!({"name": "a", "command": command}), &["/command"]);
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        check(
            &json!({"request_id": "a b", "name": "-", "run": " ", "env": {"1": "x"},
                "secrets": {"A": "-x"}, "timeout_seconds": 0, "capture": 1, "cwd": "/"}),
            &[
                "/request_id",
                "/name",
                "/run",
                "/command",
                "/env/1",
                "/secrets",
                "/timeout_seconds",
                "/capture",
                "/cwd",
            ],
        );
        assert!(status(&json!({"message": " "})).is_err());
        assert!(status(&json!({"status": "done", "message": "x"})).is_err());
        assert!(secret(&json!({})).is_err() && secret(&json!({"name": "a"})).is_ok());
    }
}
