//! `danube playbook submit` and what is shown of playbooks: what is sent, and what is refused
//! before anything is sent.

use serde_json::{Value, json};

use super::responder::{Answer, Responder};
use super::{Place, job, seen};
use crate::golden;

const SITE: &str = "- hosts: all\n  tasks: [{ping: }]\n";

/// The body that a submit with these arguments sends.
#[track_caller]
fn sent(place: &Place, args: &[&str]) -> Value {
    let server = Responder::new(vec![Answer::json(202, &job("pending", &json!({})))]);
    let args = [&["playbook", "submit"], args].concat();
    let output = place.client(&server.url, &args).output().unwrap();
    let (code, _, err) = seen(&output);
    assert_eq!(code, 0, "{args:?}: {err}");
    let request = &server.finish()[0];
    assert_eq!(request.line, "POST /api/v1/jobs");
    serde_json::from_str(&request.body).unwrap()
}

const GIT: &str = "https://git.example.org/site.git";

/// A command line in words.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn every_source_has_its_flags() {
    let place = Place::new();
    place.write("site.yml", SITE);
    let check = |line: &str, expected: Value| {
        let line = format!("-i hosts/prod {line}");
        let body = sent(&place, &words(&line));
        assert_eq!(body["source"], expected, "{line}");
        let inventory = json!({"type": "source", "path": "hosts/prod"});
        assert_eq!(body["inventory"], inventory);
        let fields = body.as_object().unwrap().keys();
        assert_eq!(fields.collect::<Vec<_>>(), ["inventory", "source"]);
    };
    check(
        &format!("--repo {GIT} site.yml"),
        json!({"type": "playbook", "repo": GIT, "path": "site.yml"}),
    );
    check(
        &format!("--repo {GIT} --ref v1 plays/site.yml"),
        json!({"type": "playbook", "repo": GIT, "ref": "v1", "path": "plays/site.yml"}),
    );
    check(
        &format!("--role {GIT} --ref v1 --role-name nginx --hosts web"),
        json!({"type": "role", "repo": GIT, "ref": "v1", "name": "nginx", "hosts": "web"}),
    );
    check(
        "--archive https://f.example.org/a.tar --sha256 ab --strip-components 1 site.yml",
        json!({"type": "archive", "url": "https://f.example.org/a.tar", "sha256": "ab", "strip_components": 1, "path": "site.yml"}),
    );
    let nexus = "https://nexus.example.org";
    check(
        &format!("--nexus {nexus} --repository raw --artifact web/site.yml --sha1 cd"),
        json!({"type": "nexus", "url": nexus, "repository": "raw", "format": "raw", "artifact": "web/site.yml", "sha1": "cd"}),
    );
    let mut maven = json!({"type": "nexus", "url": nexus, "repository": "r", "format": "maven2", "group": "org.example",
        "artifact": "web", "extension": "tar.gz", "version": "1.0", "path": "site.yml"});
    let flags = format!("--nexus {nexus} --repository r");
    check(
        &format!("{flags} --maven org.example:web:tar.gz:1.0 site.yml"),
        maven.clone(),
    );
    maven["classifier"] = json!("all");
    check(
        &format!("{flags} --maven org.example:web:tar.gz:all:1.0 site.yml"),
        maven,
    );
    check(
        "--local /srv/plays site.yml",
        json!({"type": "local", "path": "/srv/plays", "playbook": "site.yml"}),
    );
    let body = sent(&place, &["-i", "a,", "site.yml"]);
    assert_eq!(body["source"], json!({"type": "inline", "playbook": SITE}));
}

#[test]
fn hosts_come_from_where_it_was_said() {
    let place = Place::new();
    place.write("site.yml", SITE);
    place.write(
        "hosts.yml",
        "all:\n  children:\n    web: {hosts: {w1: {ansible_port: 2222}}}\n",
    );
    let expected = json!({"type": "inline", "hosts": {}, "groups": {
        "all": {"hosts": {}, "vars": {}, "children": []},
        "web": {"hosts": {"w1": {"ansible_port": 2222}}, "vars": {}, "children": []},
    }});
    let check = |args: &[&str], expected: &Value| {
        assert_eq!(&sent(&place, args)["inventory"], expected, "{args:?}");
    };
    // With a playbook from here the inventory is from here, too.
    check(&["-i", "hosts.yml", "site.yml"], &expected);
    let repo = ["--repo", "https://git.example.org/site.git", "site.yml"];
    let with = |args: &[&'static str]| [args, &repo[..]].concat();
    check(&with(&["-i", "@hosts.yml"]), &expected);
    check(
        &with(&["-i", "web1, web2"]),
        &json!({"type": "inline", "hosts": ["web1", "web2"]}),
    );
    check(
        &with(&[
            "-i",
            "prod/hosts",
            "--inventory-repo",
            "https://g.example.org/i.git",
            "--inventory-ref",
            "v2",
        ]),
        &json!({"type": "git", "repo": "https://g.example.org/i.git", "ref": "v2", "path": "prod/hosts"}),
    );
    check(
        &with(&[
            "-i",
            "https://cmdb.example.org/hosts",
            "--inventory-sha256",
            "ab",
        ]),
        &json!({"type": "url", "url": "https://cmdb.example.org/hosts", "sha256": "ab"}),
    );
}

#[test]
fn options_are_those_of_ansible_playbook() {
    let place = Place::new();
    place.write("site.yml", SITE);
    place.write("vars.yml", "port: 0644\nlate: yes\nkeep: {a: 1}\n");
    place.write("more.json", "{\"who\": \"file\", \"list\": [1, null]}");
    let line = "playbook submit site.yml -i a, -e who=you -e @vars.yml -e @more.json -e {\"late\":false} -e FROM_HERE \
        -t deploy,now --tags x --skip-tags slow -l web:!web1 -C -D -vvv -f 20 --timeout 60 --credential ssh=prod-key \
        --credential vault=a --credential vault=b --callback-url https://hook.example.org/x --queue night --mask-env TOKEN \
        --idempotency-key k";
    let server = Responder::new(vec![Answer::json(202, &job("pending", &json!({})))]);
    let mut command = place.client(&server.url, &words(line));
    let output = command
        .env("FROM_HERE", "here")
        .env("TOKEN", "hush-hush-hush")
        .output()
        .unwrap();
    let (code, out, err) = seen(&output);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, "0192f0c1-2b3c-7d4e-8f90-a1b2c3d4e5f6\n");
    let request = &server.finish()[0];
    assert_eq!(request.header("idempotency-key"), Some("k"));
    let body: Value = serde_json::from_str(&request.body).unwrap();
    let expected = json!({
        "source": {"type": "inline", "playbook": SITE},
        "inventory": {"type": "inline", "hosts": ["a"]},
        "credentials": {"ssh": "prod-key", "vault": ["a", "b"]},
        "extra_vars": {"who": "file", "port": 420, "late": false, "keep": {"a": 1}, "list": [1, null], "FROM_HERE": "here"},
        "options": {"tags": ["deploy", "now", "x"], "skip_tags": ["slow"], "limit": "web:!web1", "check": true, "diff": true,
            "verbosity": 3, "forks": 20, "timeout_seconds": 60},
        "mask": ["hush-hush-hush"], "callback_url": "https://hook.example.org/x", "queue": "night",
    });
    assert_eq!(body, expected);
}

#[test]
fn a_wrong_call_is_refused_before_anything_is_sent() {
    let place = Place::new();
    place.write("site.yml", SITE);
    place.write("hosts.ini", "[web]\nweb[1:9]\n");
    place.write("hosts.sh", "#!/bin/sh\necho\n");
    place.write("sealed.yml", "$ANSIBLE_VAULT;1.1;AES256\n6162\n");
    place.write("list.yml", "- a\n");
    place.write("broken.yml", "a: [hush-hush\n");
    let nexus = "--nexus https://n.example.org";
    for (line, why) in [
        ("site.yml", "--inventory"),
        ("-i a,", "the playbook is missing"),
        ("-i a, nowhere.yml", "read nowhere.yml"),
        ("-i a, --repo URL", "the playbook is missing"),
        (
            "-i a, --repo URL --local /srv site.yml",
            "cannot be used with",
        ),
        (
            "-i a, --ref v1 site.yml",
            "--ref goes with --repo or --role",
        ),
        (
            "-i a, --repo URL --sha256 ab site.yml",
            "--sha256 goes with --archive or --nexus",
        ),
        ("-i a, --role URL site.yml", "leave PLAYBOOK out"),
        ("-i a, NEXUS site.yml", "--repository"),
        (
            "-i a, NEXUS --repository r site.yml",
            "--artifact PATH or --maven",
        ),
        (
            "-i a, NEXUS --repository r --maven a:b site.yml",
            "GROUP:ARTIFACT:EXTENSION",
        ),
        ("-i hosts.ini site.yml", "hosts.ini, line 2 holds a range"),
        (
            "-i hosts.ini site.yml",
            "ansible-inventory -i FILE --list --yaml",
        ),
        ("-i hosts.sh site.yml", "is a program"),
        ("-i . site.yml", "is a directory"),
        ("-i list.yml site.yml", "must be a map of groups"),
        ("-i a, -e @list.yml site.yml", "must be a map of variables"),
        ("-i a, -e @sealed.yml site.yml", "encrypt_string"),
        ("-i a, -e @broken.yml site.yml", "--extra-vars: broken.yml"),
        ("-i a, -e a-b=1 site.yml", "can't be the name of a variable"),
        ("-i a, --credential hush-hush site.yml", "USE=NAME"),
        (
            "-i a, --credential sudo=x site.yml",
            "ssh, password, become",
        ),
        (
            "-i a, --credential ssh=x --credential ssh=y site.yml",
            "is given twice",
        ),
    ] {
        let line = line.replace("URL", GIT).replace("NEXUS", nexus);
        let line = format!("playbook submit {line}");
        // Nobody listens there: whoever asked would say so.
        let output = place
            .client("http://127.0.0.1:1", &words(&line))
            .output()
            .unwrap();
        let (code, out, err) = seen(&output);
        assert_eq!((code, out.as_str()), (2, ""), "{line}: {err}");
        assert!(err.contains(why), "{line}: {err}");
        assert!(!err.contains("hush-hush"), "{line}: {err}");
    }
}

/// A playbook job as a server shows it.
fn playbook(status: &str) -> Value {
    let counts = |host: &str, status: &str, ok: u64, failed: u64| {
        json!({"host": host, "status": status, "ok": ok, "changed": u64::from(status == "changed"), "failed": failed,
            "unreachable": 0, "skipped": 0, "rescued": 0, "ignored": 0})
    };
    job(
        status,
        &json!({
            "kind": "playbook", "pipeline": "playbook", "trigger_ref": null, "source_type": "playbook",
            "source": "playbook https://git.example.org/site.git at main: site.yml",
            "source_commit": "9fceb02d0ae598e95dc970b74767f19372d61af8",
            "progress": {"current_play": "web servers", "current_task": "install\u{1b}[2J", "plays": 1, "tasks": 4,
                "hosts": {"ok": 1, "changed": 1, "failed": 1, "unreachable": 0, "skipped": 0}},
            "hosts": [counts("app1", "ok", 3, 0), counts("app2", "changed", 3, 0), counts("web\u{1b}1", "failed", 2, 1)],
            "steps": [{"name": "run_playbook", "status": "running", "exit_code": null, "started_at": null, "finished_at": null,
                "log_start": null, "log_end": null, "cpu_seconds": null, "max_rss_bytes": null}],
        }),
    )
}

#[test]
fn a_playbook_is_shown_with_its_commit_its_progress_and_its_hosts() {
    let place = Place::new();
    let server = Responder::new(vec![Answer::json(200, &playbook("running"))]);
    let output = place
        .client(&server.url, &["job", "pb1x9sfp"])
        .output()
        .unwrap();
    let (code, out, _) = seen(&output);
    assert_eq!(code, 0);
    golden::check("tests/it/golden/cli/job-playbook.txt", &out);
    server.finish();
    let server = Responder::new(vec![Answer::json(200, &playbook("running"))]);
    let args = ["job", "pb1x9sfp", "-o", "json"];
    let (_, out, _) = seen(&place.client(&server.url, &args).output().unwrap());
    let shown: Value = serde_json::from_str(&out).unwrap();
    for field in ["source_commit", "progress", "hosts"] {
        assert_eq!(shown[field], playbook("running")[field], "{field}");
    }
    server.finish();
    let mut ended = playbook("failed");
    ended["duration_seconds"] = json!(61);
    let inline = json!({"kind": "playbook", "pipeline": "playbook", "source_type": "inline", "source": "inline",
        "trigger_ref": null, "duration_seconds": 2});
    let list = json!({"jobs": [ended, job("success", &inline)], "next_cursor": null});
    let server = Responder::new(vec![Answer::json(200, &list)]);
    let (code, out, _) = seen(&place.client(&server.url, &["jobs"]).output().unwrap());
    assert_eq!(code, 0);
    golden::check("tests/it/golden/cli/jobs-playbook.txt", &out);
    server.finish();
}
