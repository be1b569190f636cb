//! Where plays and tasks stand in the log, for a viewer that folds them away.

use std::fs;
use std::io::Write;
use std::net::TcpListener;

use serde_json::{Value, json};

use super::{ansible_or_skip, ended, events, order, tasks, with};
use crate::elsewhere::{Elsewhere, Wire};
use crate::failed_pages::as_json;
use crate::master::{Master, id};
use crate::processes::arrival;

fn folds(master: &Master, job: &str) -> Vec<Value> {
    let answer = master.get(&format!("/api/v1/jobs/{job}/logs/folds"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["folds"].as_array().unwrap().clone()
}

fn offset(value: &Value) -> usize {
    usize::try_from(
        value
            .as_u64()
            .unwrap_or_else(|| panic!("{value} is no offset")),
    )
    .unwrap()
}

/// Checks each fold against the log: it begins with its title, and ends where the next title
/// or the summary does. Their titles.
#[track_caller]
fn check(folds: &[Value], log: &str) -> Vec<String> {
    assert!(!log.contains("danube-fold"), "{log}");
    let mut titles = Vec::new();
    for (at, fold) in folds.iter().enumerate() {
        let (start, end) = (offset(&fold["start"]), offset(&fold["end"]));
        assert!(log[..start].ends_with('\n'), "a line begins at {fold}");
        let (name, text) = (fold["name"].as_str().unwrap(), &log[start..end]);
        let (title, _) = text.split_once(" **").unwrap_or((text, ""));
        let words: &[&str] = match fold["kind"].as_str().unwrap() {
            "play" => &["PLAY"],
            _ => &["TASK", "RUNNING HANDLER"],
        };
        let fits = words.iter().any(|it| title == format!("{it} [{name}]"));
        assert!(fits, "{title} isn't the title of {fold}");
        let is_inside = |it: &&Value| fold["kind"] == "task" || it["kind"] == "play";
        let next = folds[at + 1..].iter().find(is_inside);
        let next = next.map_or_else(
            || log.find("PLAY RECAP").unwrap(),
            |it| offset(&it["start"]),
        );
        assert_eq!(end, next, "{fold}");
        titles.push(title.to_owned());
    }
    titles
}

const SITE: &str = r#"- name: first "play"
  hosts: all
  gather_facts: false
  serial: 1
  tasks:
    - name: says it's 50 % ä
      command: echo hello-canary-11
      notify: tells
    - name: warns
      command: sh -c 'echo out; echo err >&2; exit 3'
      ignore_errors: true
    - name: never
      command: echo never
      when: false
  handlers:
    - name: tells
      debug: {msg: "{{ 'long ' * 20000 }}"}
- hosts: one
  gather_facts: false
  tasks:
    - include_tasks: more.yml
      loop: [1, 2]
"#;

#[test]
fn each_fold_begins_with_the_title_of_its_play_or_task() {
    if !ansible_or_skip("folds of a log") {
        return;
    }
    let own = tempfile::tempdir().unwrap();
    fs::write(own.path().join("site.yml"), SITE).unwrap();
    let more = "- {name: 'more {{ item }}', command: echo more}\n";
    fs::write(own.path().join("more.yml"), more).unwrap();
    let master = Master::start();
    let order = order(json!({"type": "local", "path": own.path(), "playbook": "site.yml"}));
    let order = with(order, "options", json!({"verbosity": 1}));
    let order = with(order, "mask", json!(["hello-canary-11"]));
    let job = ended(&master, &order);
    assert_eq!(job["status"], "success", "{job:#}");
    let name = id(&job);
    let log = String::from_utf8(master.log(&name)).unwrap();
    // Offsets are those of the log, whatever was taken out of it before.
    assert!(
        log.contains("[redacted]") && !log.contains("canary"),
        "{log}"
    );
    let found = folds(&master, &name);
    let expected = [
        "PLAY [first \"play\"]",
        "TASK [says it's 50 % ä]",
        "TASK [warns]",
        "TASK [never]",
        "RUNNING HANDLER [tells]",
        // The next host, in a batch of its own.
        "PLAY [first \"play\"]",
        "TASK [says it's 50 % ä]",
        "TASK [warns]",
        "TASK [never]",
        "RUNNING HANDLER [tells]",
        "PLAY [one]",
        "TASK [include_tasks]",
        "TASK [more 1]",
        "TASK [more 2]",
    ];
    assert_eq!(check(&found, &log), expected);
    // The numbers are those of the results.
    let all = events(&master, &job);
    let failed = all.iter().find(|it| it["status"] == "ignored").unwrap();
    let warns = found.iter().find(|it| it["name"] == "warns").unwrap();
    assert_eq!(failed["task"], warns["number"]);
    let text = &log[offset(&warns["start"])..offset(&warns["end"])];
    assert!(text.contains("...ignoring"), "{text}");
    // The trace leads there, and the job's page has a cell for each result.
    let trace = as_json(&master, &format!("/jobs/{name}/trace"));
    let rows = trace["waterfall"]["rows"].as_array().unwrap();
    let row = rows.iter().find(|it| it["name"] == "task warns").unwrap();
    assert_eq!(row["log_start"], warns["start"]);
    let grid = as_json(&master, &format!("/jobs/{name}"))["grid"].take();
    let number = usize::try_from(failed["task"].as_u64().unwrap()).unwrap();
    let task = &grid["tasks"][number];
    assert_eq!(task["name"], "warns");
    let cells = task["cells"].as_array().unwrap();
    assert_eq!(cells.len(), grid["hosts"].as_array().unwrap().len());
    assert!(cells.contains(&json!("ignored")), "{grid:#}");
    // Without the index the text is there, and nothing is folded.
    fs::remove_file(master.dir.join(format!("logs/{name}.idx"))).unwrap();
    assert_eq!(folds(&master, &name), Vec::<Value>::new());
    assert_eq!(master.log(&name), log.as_bytes());
    let pipeline = master.run("echo hello");
    master.ended(&pipeline);
    assert_eq!(folds(&master, &pipeline), Vec::<Value>::new());
}

#[test]
fn a_task_that_goes_on_has_no_end_yet() {
    if !ansible_or_skip("folds of a log that grows") {
        return;
    }
    let gate = TcpListener::bind("127.0.0.1:0").unwrap();
    let master = Master::start();
    let text = format!(
        "- name: before\n  command: echo before\n- name: waits\n  wait_for: {{port: {}, search_regex: go, timeout: 60}}\n",
        gate.local_addr().unwrap().port()
    );
    let order = with(tasks(&text), "options", json!({"limit": "one"}));
    let job = id(&master.submit(&order));
    let mut waiting = arrival(&gate);
    master.until_log(&job, "TASK [waits]");
    let ends: Vec<bool> = folds(&master, &job)
        .iter()
        .map(|it| it["end"].is_null())
        .collect();
    assert_eq!(ends, [true, false, true]);
    waiting.write_all(b"go\n").unwrap();
    master.ended(&job);
    let log = String::from_utf8(master.log(&job)).unwrap();
    let titles = check(&folds(&master, &job), &log);
    assert_eq!(titles, ["PLAY [all]", "TASK [before]", "TASK [waits]"]);
}

#[test]
fn folds_come_from_a_worker_elsewhere_whose_master_was_away() {
    if !ansible_or_skip("folds of a log from elsewhere") {
        return;
    }
    let gate = TcpListener::bind("127.0.0.1:0").unwrap();
    let master = Master::with(&["--jobs-at-once", "0"]);
    let wire = Wire::to(&master);
    let _worker = Elsewhere::start_by_way_of(&master, &wire.address, "far", &[]);
    let mut text = format!(
        "- name: waits\n  wait_for: {{port: {}, search_regex: go, timeout: 60}}\n",
        gate.local_addr().unwrap().port()
    );
    // More marks than one piece holds.
    for n in 0..80 {
        text.push_str(&format!("- {{name: 'number {n}', debug: {{msg: ok}}}}\n"));
    }
    let order = with(tasks(&text), "options", json!({"limit": "one"}));
    let job = id(&master.submit(&order));
    master.until_log(&job, "TASK [waits]");
    wire.cut();
    arrival(&gate).write_all(b"go\n").unwrap();
    wire.lead_to(&master);
    let job = master.ended(&job);
    assert_eq!(job["status"], "success", "{job:#}");
    let log = String::from_utf8(master.log(&id(&job))).unwrap();
    let titles = check(&folds(&master, &id(&job)), &log);
    assert_eq!((titles.len(), &*titles[81]), (82, "TASK [number 79]"));
}
