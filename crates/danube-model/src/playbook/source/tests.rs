//! Each kind of source, and what is refused of it.

use serde_json::json;

use super::*;
use crate::mistake::Mistake;
use crate::spec::Node;

fn read(body: &Json) -> Result<Source, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let node = Node::from_json(body).expect("small enough");
    match Source::read(node, "/source", &mut mistakes) {
        Some(source) if mistakes.is_empty() => Ok(source),
        _ => Err(mistakes),
    }
}

/// The pointers of the mistakes, below `/source`.
fn check_refused(body: &Json, expected: &[&str]) {
    let found: Vec<String> = match read(body) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes
            .into_iter()
            .map(|it| it.pointer.trim_start_matches("/source/").to_owned())
            .collect(),
    };
    assert_eq!(found, expected, "{body}");
}

fn check_taken(body: &Json, shown: &str) {
    let source = read(body).unwrap_or_else(|it| panic!("{body}: {it:?}"));
    assert_eq!(source.shown().to_string(), shown);
    assert_eq!(body["type"], source.kind().as_str());
    // What is stored comes back the same.
    let text = serde_json::to_string(&source).unwrap();
    assert_eq!(serde_json::from_str::<Source>(&text).unwrap(), source);
}

const SHA256: &str = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855";

#[test]
fn each_kind_is_read_and_shown() {
    check_taken(
        &json!({"type": "playbook", "repo": "https://example.org/a.git", "ref": "main", "path": "site.yml"}),
        "playbook https://example.org/a.git at main: site.yml",
    );
    check_taken(
        &json!({"type": "role", "repo": "git@example.org:team/ansible-role-web.git", "vars": {"a": [1, {"b": null}]}}),
        "role git@example.org:team/ansible-role-web.git: web",
    );
    check_taken(
        &json!({"type": "nexus", "url": "https://nexus.example.org/", "repository": "plays", "format": "raw", "artifact": "web/1.tar.gz", "path": "site.yml"}),
        "nexus https://nexus.example.org/repository/plays/web/1.tar.gz: site.yml",
    );
    check_taken(
        &json!({"type": "nexus", "url": "http://nexus:8081", "repository": "releases", "format": "maven2", "group": "org.example", "artifact": "web", "version": "1.0", "extension": "zip", "sha256": SHA256, "path": "site.yml"}),
        "nexus http://nexus:8081/repository/releases org.example:web at 1.0: site.yml",
    );
    check_taken(
        &json!({"type": "archive", "url": "https://example.org/a.zip?token=hunter2", "path": "a/site.yml", "strip_components": 1}),
        "archive https://example.org/a.zip: a/site.yml",
    );
    check_taken(
        &json!({"type": "inline", "playbook": "- hosts: all\n"}),
        "inline",
    );
    check_taken(
        &json!({"type": "local", "path": "/srv/plays", "playbook": "site.yml"}),
        "local /srv/plays: site.yml",
    );
}

#[test]
fn every_mistake_is_told_at_once() {
    check_refused(&json!({}), &["type"]);
    check_refused(&json!({"type": "ftp"}), &["type"]);
    check_refused(&json!({"type": "playbook"}), &["repo", "path"]);
    check_refused(
        &json!({"type": "playbook", "repo": "ext::sh -c id", "ref": "-x", "path": "../a", "brnch": "x"}),
        &["repo", "ref", "path", "brnch"],
    );
    check_refused(
        &json!({"type": "role", "repo": "/srv/a", "name": "../x", "hosts": "{{ x }}", "vars": []}),
        &["name", "hosts", "vars"],
    );
    check_refused(
        &json!({"type": "nexus", "url": "https://n?x=1", "repository": "a/b", "format": "npm", "artifact": "x"}),
        &["url", "repository", "format"],
    );
    check_refused(
        &json!({"type": "nexus", "url": "https://n", "repository": "r", "format": "maven2", "group": "a..b", "artifact": "x", "version": "1"}),
        &["group", "extension"],
    );
    check_refused(
        &json!({"type": "nexus", "url": "https://n", "repository": "r", "format": "raw", "artifact": "x.zip"}),
        &["path"],
    );
    check_refused(
        &json!({"type": "archive", "url": "https://e/a.zip", "sha256": "12", "path": "/etc/x", "strip_components": 17}),
        &["sha256", "path", "strip_components"],
    );
    check_refused(
        &json!({"type": "local", "path": "srv", "playbook": "~/x"}),
        &["path", "playbook"],
    );
}

#[test]
fn a_plain_address_needs_a_checksum() {
    let body = json!({"type": "archive", "url": "http://e/a.zip", "path": "site.yml"});
    check_refused(&body, &["sha256"]);
    let body = json!({"type": "archive", "url": "HTTP://e/a.zip", "path": "site.yml"});
    check_refused(&body, &["sha256"]);
    let body = json!({"type": "nexus", "url": "http://n", "repository": "r", "format": "raw", "artifact": "x.yml"});
    check_refused(&body, &["sha256"]);
    let body =
        json!({"type": "archive", "url": "http://e/a.zip", "path": "site.yml", "sha256": SHA256});
    let Ok(Source::Archive { sha256, .. }) = read(&body) else {
        panic!("is refused");
    };
    assert_eq!(sha256, Some(SHA256.to_ascii_lowercase()));
}

#[test]
fn paths_that_lead_out_or_mean_something_else_are_refused() {
    for path in [
        "",
        "/a",
        "..",
        "a/../b",
        "a//b",
        "./a",
        "-i",
        "~/a",
        "$HOME/a",
        "a\\b",
        "a\nb",
        ".git/config",
        "a/.GIT/hooks/x",
        "a/",
    ] {
        assert!(!is_inside(path), "{path:?}");
    }
    for path in [
        "site.yml",
        "plays/web site.yml",
        "a/b-c/d.yaml",
        "übung.yml",
    ] {
        assert!(is_inside(path), "{path:?}");
    }
}

#[test]
fn secrets_in_a_source_are_in_no_mistake() {
    const SECRET: &str = "hunter2hunter2";
    let bodies = [
        json!({"type": "playbook", "repo": format!("https://u:{SECRET}@e/a"), "path": "a"}),
        json!({"type": "playbook", "repo": format!("https://{SECRET}@e/a"), "path": "a"}),
        json!({"type": "playbook", "repo": format!("ssh://git:{SECRET}@e/a"), "path": "a"}),
        json!({"type": "archive", "url": format!("https://{SECRET}@e/a"), "path": "a"}),
        json!({"type": "archive", "url": format!("ftp://e/a?{SECRET}"), "path": "a"}),
        json!({"type": "nexus", "url": format!("https://u:{SECRET}@e"), "repository": SECRET, "format": "raw", "artifact": "a.yml", "path": format!("/{SECRET}")}),
        json!({"type": "inline", "playbook": format!("- a: [{SECRET}")}),
        json!({"type": "inline", "playbook": format!("{SECRET}: 1")}),
        json!({"type": "inline", "playbook": {"a": SECRET}}),
        json!({"type": "role", "repo": "/a", "vars": SECRET}),
        json!({"type": "role", "repo": "/a", "hosts": format!("{{{{ {SECRET} }}}}")}),
    ];
    for body in bodies {
        let mistakes = read(&body).expect_err("is taken");
        for mistake in mistakes {
            assert!(
                !mistake.sentence().contains(SECRET),
                "{}",
                mistake.sentence()
            );
        }
    }
}

#[test]
fn what_is_shown_has_no_user_and_no_query() {
    for (address, shown) in [
        ("https://u:p@e/a?x#y", "https://e/a"),
        ("https://e?x=@y", "https://e"),
        ("ssh://git@e/a", "ssh://e/a"),
        ("git@e:a", "git@e:a"),
        ("/srv/a", "/srv/a"),
    ] {
        assert_eq!(without_secrets(address), shown);
    }
    let source = Source::Inline {
        playbook: "- hunter2: 1".into(),
    };
    assert_eq!(format!("{source:?}"), "Source(inline)");
}

#[test]
fn an_inline_playbook_is_a_list_of_plays() {
    for text in [
        "",
        "a: 1",
        "[]",
        "- 1",
        "- a: [",
        "--- \n- a: 1\n---\n- b: 2\n",
        "- a: \0",
    ] {
        check_refused(&json!({"type": "inline", "playbook": text}), &["playbook"]);
    }
    let large = format!("- a: {}", "x".repeat(INLINE_BYTES_MAX));
    check_refused(&json!({"type": "inline", "playbook": large}), &["playbook"]);
    let vault =
        "- hosts: all\n  vars:\n    a: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      31\n";
    check_refused(&json!({"type": "inline", "playbook": vault}), &[]);
}
