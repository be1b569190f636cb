//! Values that every encoding writes in its own way, as credentials and as variables; and
//! how a key reaches Ansible.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::{ansible_or_skip, credential, ended, order, sha256, with};
use crate::logs::secrets::{canaries, clean, clean_files};
use crate::master::{Master, id};

/// With quotes, signs of shells and templates, and letters of more than a byte.
const BECOME: &str = "b'cäme \"cänary\" $x `y` \\z/%41&<ß>";
const VAULT: &str = "v\"ault'cänary\\ ${w} §7 日本";
const EXTRA: &str = "ex'tra \"cänary\" \\n #!? +/= Ж";
/// Of more lines than one, each to be hidden.
const LINES: &str = "erste-zeile-ä-4f1c2b\nzweite 'zeile' \"5d6e\"\n\nletzte-zeile-ß-7f80";
const KEY_LINES: [&str; 2] = [
    "Y2FuYXJ5LWtleS1saW5lLTlmMGE2MmIx",
    "c2Vjb25kLWtleS1saW5lLTdiMjJjNGQ1",
];

fn private_key() -> String {
    let [first, second] = KEY_LINES;
    format!(
        "-----BEGIN OPENSSH PRIVATE KEY-----\n{first}\n{second}\n-----END OPENSSH PRIVATE KEY-----\n"
    )
}

/// Prints every file of the run and every variable, in the forms that Ansible has.
const SITE: &str = r#"- hosts: all
  gather_facts: false
  tasks:
    - name: a file as it is
      debug: {msg: "{{ lookup('file', item) }}"}
      loop: &files
        - "{{ lookup('env', 'HOME') }}/ansible/become_password"
        - "{{ lookup('env', 'HOME') }}/ansible/vault_0"
        - "{{ lookup('env', 'HOME') }}/ansible/ssh_key"
        - "{{ lookup('env', 'HOME') }}/ansible/extra_vars.json"
    - name: a file in other forms
      debug:
        msg:
          - "{{ lookup('file', item) | to_json }}"
          - "{{ lookup('file', item) | b64encode }}"
          - "{{ lookup('file', item) | urlencode }}"
          - "{{ lookup('file', item) | quote }}"
          - "{{ lookup('file', item) | to_nice_yaml }}"
      loop: *files
    - name: through a shell
      command: printf '%s\n' {{ odd | quote }} {{ lines | quote }}
    - name: names it {{ odd }}
      shell: cat {{ lookup('env', 'HOME') }}/ansible/* 2>&1 | grep -v danube >&2; exit 3
"#;

#[test]
fn values_with_quotes_line_ends_and_letters_of_all_kinds_are_nowhere() {
    if !ansible_or_skip("odd secrets of a playbook job") {
        return;
    }
    let master = Master::with(&["--log-level", "trace"]);
    for body in [
        json!({"name": "root", "kind": "become", "password": BECOME}),
        json!({"name": "vault", "kind": "vault_password", "password": VAULT}),
        json!({"name": "key", "kind": "ssh_key", "private_key": private_key()}),
    ] {
        credential(&master, &body);
    }
    let order = order(json!({"type": "inline", "playbook": SITE}));
    let uses = json!({"become": "root", "vault": "vault", "ssh": "key"});
    let order = with(order, "credentials", uses);
    let order = with(order, "extra_vars", json!({"odd": EXTRA, "lines": LINES}));
    let order = with(order, "mask", json!([EXTRA, LINES]));
    let order = with(order, "options", json!({"verbosity": 4}));
    let job = ended(&master, &order);
    let name = id(&job);
    let log = String::from_utf8(master.log(&name)).unwrap();
    let event = master.event(|it| it["event"] == "job_failed" && it["job_id"] == job["id"]);
    assert_eq!(event["error_type"], "task_failed", "{log}");
    for task in [
        "a file as it is",
        "a file in other forms",
        "through a shell",
        "names it [redacted]",
    ] {
        assert!(log.contains(&format!("TASK [{task}]")), "{task}: {log}");
    }
    // All of it was printed: four files as they are, and in five forms each.
    let masks = log.matches("[redacted]").count();
    assert!(masks >= 24, "{masks}: {log}");
    let mut hidden: Vec<String> = [BECOME, VAULT, EXTRA]
        .into_iter()
        .flat_map(canaries)
        .collect();
    hidden.extend(LINES.lines().filter(|it| !it.is_empty()).map(str::to_owned));
    hidden.extend(KEY_LINES.map(str::to_owned));
    for path in [
        "",
        "/events",
        "/trace",
        "/history",
        "/logs",
        "/logs/stream",
        "/logs/folds",
        "/stream",
    ] {
        let answer = master.get(&format!("/api/v1/jobs/{name}{path}"));
        assert_eq!(answer.status, 200, "{path}");
        clean(&hidden, path, &answer.body);
    }
    clean(&hidden, "the metrics", &master.get("/metrics").body);
    clean(
        &hidden,
        "the server's log",
        master.log_lines().join("\n").as_bytes(),
    );
    clean(&hidden, "standard error", master.stderr().as_bytes());
    assert!(
        clean_files(&hidden, &master.dir) >= 6,
        "database, log and index are there"
    );
}

/// Stands in for ssh: notes how the key lies that it is told to use, and runs the command
/// right here.
const SSH: &str = r#"#!/bin/sh
for it in "$@"; do
  case "$it" in IdentityFile=*)
    key=${it#IdentityFile=}; key=${key#\"}; key=${key%\"}
    { stat -c 'file %a %F' "$key"; stat -c 'directory %a' "${key%/*}"
      echo "sum $(sha256sum < "$key")"; echo "path $key"; } > "$HOME/note" ;;
  esac
  last=$it
done
exec sh -c "$last"
"#;

#[test]
fn a_key_is_a_file_that_only_the_job_can_read_and_is_gone_afterwards() {
    if !ansible_or_skip("a job with a key for ssh") {
        return;
    }
    let own = tempfile::tempdir().unwrap();
    let ssh = own.path().join("ssh");
    fs::write(&ssh, SSH).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let site = "- hosts: one\n  gather_facts: false\n  vars:\n    ansible_connection: ssh\n    \
        ansible_ssh_executable: '{{ playbook_dir }}/ssh'\n  tasks:\n    - raw: echo hello from afar\n    \
        - raw: cat \"$HOME/note\"\n      register: note\n    - debug: {var: note.stdout_lines}\n";
    fs::write(own.path().join("site.yml"), site).unwrap();
    let master = Master::start();
    let key = private_key();
    credential(
        &master,
        &json!({"name": "key", "kind": "ssh_key", "private_key": key, "username": "deploy"}),
    );
    let source = json!({"type": "local", "path": own.path(), "playbook": "site.yml"});
    // What is reached by way of a host's own variables is this machine alone.
    let order = with(
        order(source),
        "inventory",
        json!({"type": "inline", "hosts": ["one"]}),
    );
    let order = with(order, "credentials", json!({"ssh": "key"}));
    let job = ended(&master, &order);
    let log = String::from_utf8(master.log(&id(&job))).unwrap();
    assert_eq!(job["status"], "success", "{log}");
    assert!(log.contains("\"file 600 regular file\""), "{log}");
    assert!(log.contains("\"directory 700\""), "{log}");
    assert!(
        log.contains(&format!("\"sum {}", sha256(key.as_bytes()))),
        "{log}"
    );
    let (_, rest) = log.split_once("\"path ").unwrap();
    let path = Path::new(rest.split('"').next().unwrap());
    assert!(path.is_absolute() && !path.exists(), "{}", path.display());
    assert!(path.ends_with("ansible/ssh_key"), "{}", path.display());
    clean(&KEY_LINES.map(str::to_owned), "the log", log.as_bytes());
    let usage: Value = master.get("/api/v1/credentials/key/usage").json();
    assert!(usage.to_string().contains(&id(&job)), "{usage}");
}
