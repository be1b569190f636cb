//! Real `ansible-playbook` runs on this machine, heard through the callback plugin.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod play;

use danube_ansible::Why;
use danube_model::playbook::{HostStatus, RunEvent};

use play::{Played, play, vaulted, vaulted_file};

const HEAD: &str = "- hosts: all\n  gather_facts: false\n  tasks:\n";

fn tasks(text: &str) -> String {
    let lines = text.lines().map(|it| format!("    {it}\n"));
    format!("{HEAD}{}", lines.collect::<String>())
}

fn results(played: &Played) -> Vec<(u64, &str, HostStatus)> {
    let events = played.events.iter();
    let results = events.filter_map(|it| match it {
        RunEvent::HostResult {
            task, host, status, ..
        } => Some((*task, &**host, *status)),
        _ => None,
    });
    results.collect()
}

#[test]
fn plays_tasks_and_results_are_told_as_they_happen() {
    let site = tasks(
        "- name: same\n  command: 'true'\n  changed_when: false\n\
         - name: new\n  command: 'true'\n  notify: again\n\
         - name: not here\n  command: 'true'\n  when: false\n\
         - name: may fail\n  command: 'false'\n  ignore_errors: true\n\
         - block:\n    - name: breaks\n      command: 'false'\n  rescue:\n    - name: mends\n      debug: {msg: mended}\n",
    ) + "  handlers:\n    - name: again\n      command: 'true'\n";
    let played = play(&[("site.yml", &site)], |_| {});
    assert_eq!(played.code, 0, "{}", played.output);
    let expected = [
        (0, "localhost", HostStatus::Ok),
        (1, "localhost", HostStatus::Changed),
        (2, "localhost", HostStatus::Skipped),
        (3, "localhost", HostStatus::Ignored),
        (4, "localhost", HostStatus::Failed),
        (5, "localhost", HostStatus::Ok),
        (6, "localhost", HostStatus::Changed),
    ];
    assert_eq!(results(&played), expected);
    assert!(played.events.iter().any(|it| matches!(
        it,
        RunEvent::TaskStarted { task, handler: true, .. } if task == "again"
    )));
    let counts = played.progress.hosts["localhost"];
    // As Ansible counts: what failed and may has changed something, too.
    assert_eq!((counts.changed, counts.rescued, counts.ignored), (3, 1, 1));
    assert_eq!(counts.failed, 0, "it was rescued");
    assert!(played.progress.is_over);
    // The output is Ansible's own, with its colours.
    assert!(played.output.contains("\u{1b}[0;33mchanged: [localhost]"));
}

#[test]
fn a_failed_task_and_an_unreachable_host_are_named() {
    let site = tasks("- name: install\n  command: /bin/sh -c 'echo broken >&2; exit 3'\n");
    let played = play(&[("site.yml", &site)], |_| {});
    let failed = played.failed().expect("it failed");
    assert_eq!(failed.why, Why::TaskFailed);
    assert!(
        failed
            .reason
            .starts_with("task `install` failed on host `localhost`: "),
        "{}",
        failed.reason
    );
    let hosts = "away ansible_connection=ssh ansible_host=127.0.0.1 ansible_port=1\n";
    let played = play(&[("site.yml", &site), ("hosts", hosts)], |_| {});
    let failed = played.failed().expect("it failed");
    assert_eq!(failed.why, Why::Unreachable, "{}", played.output);
    assert!(failed.reason.starts_with("host `away` can't be reached"));
}

#[test]
fn what_ansible_cannot_read_is_told_in_its_words() {
    let played = play(&[("site.yml", "- hosts: all\n  tusks: []\n")], |_| {});
    let failed = played.failed().expect("it failed");
    assert_eq!(failed.why, Why::Invalid, "{}", played.output);
    assert!(failed.reason.contains("tusks"), "{}", failed.reason);
    let site = tasks("- debug: {msg: hi}\n");
    let played = play(&[("site.yml", &site)], |it| {
        it.options.limit = Some("nobody".to_owned());
    });
    let failed = played.failed().expect("it failed");
    assert_eq!(failed.why, Why::Invalid, "{}", played.output);
}

#[test]
fn tags_check_mode_and_extra_vars_reach_ansible() {
    let site = tasks(
        "- name: one\n  debug: {var: level}\n  tags: [a]\n\
         - name: two\n  command: touch made\n  tags: [b]\n",
    );
    let played = play(&[("site.yml", &site)], |it| {
        it.options.tags = vec!["a".to_owned(), "b".to_owned()];
        it.options.skip_tags = vec!["b".to_owned()];
        it.options.check = true;
        it.extra_vars
            .insert("level".to_owned(), "{{ 'x' * 3 }}".into());
    });
    assert_eq!(played.code, 0, "{}", played.output);
    assert!(played.output.contains("xxx"), "{}", played.output);
    assert_eq!(results(&played), [(0, "localhost", HostStatus::Ok)]);
}

#[test]
fn decrypted_values_are_told_before_anything_can_be_printed_of_them() {
    const INLINE: &str = "inline-canary-91b2";
    const WHOLE: &str = "whole-canary-5fc3";
    let site = tasks("- name: uses them\n  command: echo {{ one }} {{ two }}\n")
        .replace("  tasks:", "  vars_files: [secret.yml]\n  tasks:");
    let vars = format!("one: !vault |\n{}", vaulted(INLINE, "pass-word-1"));
    let whole = vaulted_file(
        &format!("two: {WHOLE}\nnested: {{list: [{WHOLE}-b]}}\n"),
        "pass-word-1",
    );
    let files = [
        ("site.yml", &*site),
        ("secret.yml", &*whole),
        ("group_vars/all.yml", &*vars),
    ];
    let played = play(&files, |it| {
        it.vault = Some("pass-word-1");
        it.options.verbosity = 3;
        it.debug = true;
    });
    assert_eq!(played.code, 0, "{}", played.output);
    for canary in [INLINE, WHOLE] {
        assert!(played.output.contains(canary), "the task printed it");
        assert!(played.secrets.contains(canary), "{canary}");
        let (known, printed) = played.order_of(canary);
        assert!(
            known < printed,
            "{canary}: known at {known}, printed at {printed}"
        );
    }
    assert!(played.secrets.contains(&format!("{WHOLE}-b")));
}

#[test]
fn what_is_decrypted_before_the_first_play_is_told_too() {
    const HOST: &str = "inventory-canary-77d0";
    const PLAY: &str = "playbook-canary-01ab";
    let hosts = format!("localhost ansible_connection=local token={HOST}\n");
    let site = tasks(&format!(
        "- debug: {{msg: {PLAY}}}\n- debug: {{var: token}}\n"
    ));
    let (hosts, site) = (
        vaulted_file(&hosts, "pass-word-1"),
        vaulted_file(&site, "pass-word-1"),
    );
    let played = play(&[("site.yml", &site), ("hosts", &hosts)], |it| {
        it.vault = Some("pass-word-1");
        it.options.verbosity = 4;
    });
    assert_eq!(played.code, 0, "{}", played.output);
    for canary in [HOST, PLAY] {
        assert!(played.secrets.contains(canary), "{canary}");
        let (known, printed) = played.order_of(canary);
        assert!(
            known <= printed,
            "{canary}: known at {known}, printed at {printed}"
        );
    }
}

#[test]
fn a_failure_that_was_rescued_is_not_what_ended_the_run() {
    let site = tasks(
        "- block:\n    - name: rescued\n      command: 'false'\n  rescue:\n    - debug: {msg: mended}\n\
         - name: ends it\n  command: 'false'\n",
    );
    let played = play(&[("site.yml", &site)], |_| {});
    let failed = played.failed().expect("it failed");
    assert!(
        failed.reason.starts_with("task `ends it`"),
        "{}",
        failed.reason
    );
}

#[test]
fn a_value_that_can_not_be_kept_out_stops_the_task_that_uses_it() {
    let vars = format!(
        "one: !vault |\n{}",
        vaulted("hush-hush-9f3e", "pass-word-1")
    );
    let site = tasks("- debug: {var: one}\n");
    let files = [("site.yml", &*site), ("group_vars/all.yml", &*vars)];
    let played = play(&files, |it| {
        it.vault = Some("pass-word-1");
        it.is_deaf = true;
    });
    assert_ne!(played.code, 0, "{}", played.output);
    assert!(
        !played.output.contains("hush-hush-9f3e"),
        "{}",
        played.output
    );
}

#[test]
fn a_missing_or_wrong_vault_password_is_told() {
    let vars = format!("one: !vault |\n{}", vaulted("hush-hush-1", "pass-word-1"));
    let site = tasks("- debug: {var: one}\n");
    let files = [("site.yml", &*site), ("group_vars/all.yml", &*vars)];
    for password in [None, Some("pass-word-2")] {
        let played = play(&files, |it| it.vault = password);
        assert_ne!(played.code, 0, "{}", played.output);
        let failed = played.failed().expect("it failed");
        let reason = failed.reason.to_lowercase();
        assert!(reason.contains("decrypt"), "{reason}");
    }
}

#[test]
fn a_hidden_result_tells_no_message() {
    let site = tasks(
        "- name: hidden\n  fail: {msg: canary-no-log}\n  no_log: true\n  ignore_errors: true\n",
    );
    let played = play(&[("site.yml", &site)], |_| {});
    assert_eq!(played.code, 0, "{}", played.output);
    assert!(!format!("{:?}", played.events).contains("canary-no-log"));
}

#[test]
fn a_project_keeps_its_own_settings_and_callbacks() {
    let callback = "from ansible.plugins.callback import CallbackBase\n\
        class CallbackModule(CallbackBase):\n    CALLBACK_VERSION = 2.0\n    CALLBACK_TYPE = 'notification'\n    CALLBACK_NAME = 'own'\n\
        \x20   def v2_playbook_on_stats(self, stats):\n        print('the own callback was here')\n";
    let site = tasks("- debug: {msg: hi}\n");
    let files = [
        ("site.yml", &*site),
        (
            "ansible.cfg",
            "[defaults]\ncallback_plugins = ./cb\nstdout_callback = oneline\n",
        ),
        ("cb/own.py", callback),
    ];
    let played = play(&files, |_| {});
    assert_eq!(played.code, 0, "{}", played.output);
    assert!(
        played.output.contains("the own callback was here"),
        "{}",
        played.output
    );
    assert!(!played.output.contains("PLAY RECAP"), "{}", played.output);
    assert!(played.progress.is_over, "ours was there too");
}

#[test]
fn a_playbook_goes_on_when_nobody_listens_any_more() {
    let site = tasks("- debug: {msg: hi}\n");
    let played = play(&[("site.yml", &site)], |it| it.is_deaf = true);
    assert_eq!(played.code, 0, "{}", played.output);
    assert_eq!(played.events, []);
}
