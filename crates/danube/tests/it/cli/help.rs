//! `--help` of every command, as a stranger sees it.

use super::{Place, seen};
use crate::golden;

const COMMANDS: &[&str] = &[
    "",
    "run",
    "playbook",
    "playbook run",
    "playbook submit",
    "submit",
    "trace",
    "jobs",
    "job",
    "logs",
    "history",
    "cancel",
    "retry",
    "approve",
    "artifact",
    "artifact upload",
    "artifact list",
    "artifact download",
    "artifact delete",
    "artifact keep",
    "artifact release",
    "step",
    "step run",
    "step report",
    "secret",
    "secret get",
    "secret mask",
    "secret set",
    "secret list",
    "secret delete",
    "master",
    "health",
    "reap",
    "registry",
    "registry list",
    "doctor",
    "doctor oidc",
    "backup",
    "restore",
    "alerts",
    "forge",
    "forge statuses",
    "forge replay",
    "webhooks",
    "webhooks list",
    "webhooks show",
    "webhooks replay",
    "webhooks secret",
    "log-level",
    "profile",
    "profile cpu",
    "profile heap",
    "profile tasks",
    "provenance",
    "provenance key",
    "provenance show",
    "provenance verify",
    "worker",
    "worker create",
    "worker list",
    "worker revoke",
    "login",
    "logout",
    "apikey",
    "apikey create",
    "apikey list",
    "apikey revoke",
    "audit",
    "audit list",
    "audit verify",
    "credential",
    "credential set",
    "credential list",
    "credential show",
    "credential delete",
    "credential usage",
    "credential rotate-key",
    "config",
    "config show",
    "config default",
    "pipelines",
    "pipelines list",
    "pipelines check",
    "blueprint",
    "blueprint check",
    "blueprint schema",
    "blueprint show",
    "blueprint sync",
    "signals",
    "signals list",
    "signals explain",
    "signals export",
    "explain",
    "completions",
    "version",
];

#[test]
fn the_help_of_every_command_is_known() {
    let place = Place::new();
    for command in COMMANDS {
        let words: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let (code, out, err) = seen(&place.danube(&words).output().unwrap());
        assert_eq!((code, err.as_str()), (0, ""), "{command}");
        let name = if command.is_empty() {
            "danube"
        } else {
            command
        };
        golden::check(
            &format!("tests/it/golden/cli/help-{}.txt", name.replace(' ', "-")),
            &out,
        );
    }
}

#[test]
fn no_command_is_missing_here() {
    let place = Place::new();
    // What the completions know is what there is.
    let (_, script, _) = seen(&place.danube(&["completions", "bash"]).output().unwrap());
    let known = script.lines().filter_map(|it| {
        it.trim()
            .strip_prefix("danube__subcmd__")?
            .strip_suffix(')')
    });
    let known = known.filter(|it| !it.contains(','));
    let mut known: Vec<String> = known.map(|it| it.replace("__subcmd__", " ")).collect();
    known.push(String::new());
    known.sort();
    // The completions write a dash as they write a space.
    let mut listed: Vec<String> = COMMANDS.iter().map(|it| it.replace('-', " ")).collect();
    listed.sort();
    assert_eq!(listed, known);
}

#[test]
fn without_a_command_the_help_goes_to_standard_error() {
    let place = Place::new();
    let (code, out, err) = seen(&place.danube(&[]).output().unwrap());
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.starts_with("Danube runs jobs"), "{err}");
}

#[test]
fn every_shell_can_be_completed() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, _) = seen(&place.danube(&["completions", shell]).output().unwrap());
        assert_eq!(code, 0);
        assert!(
            out.contains("idempotency-key") && out.contains("apikey"),
            "{shell}"
        );
    }
}
