//! Which files a request changes: what its forge lists decides, and what it doesn't list keeps
//! nothing from running.

use serde_json::json;

use super::api::{Api, place};
use super::{ALLOWED, World, know, request};
use crate::master::Master;

const TOKEN: &str = "canary/forge+token-files-3b";

fn world() -> (World, Api, Master) {
    let paths = |it: &str| format!("triggers: {{pull_request: {{paths: [{it}]}}}}, ");
    let world = World::new(&[
        ("docs", &paths("'docs/*'")),
        ("code", &paths("'src/*'")),
        ("other", &paths("'other/*', 'lib/*'")),
        ("code-alone", &paths("'!docs/*'")),
    ]);
    let forge = Api::new();
    let arguments = world.arguments(&[&ALLOWED[..], &["--jobs-at-once", "0"]].concat());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let master = Master::with(&arguments);
    know(&master, &forge.address, Some(TOKEN));
    (world, forge, master)
}

/// The pipelines that a request of this commit started, and what was noted.
fn started(master: &Master, kind: &str, commit: &str) -> (Vec<String>, Vec<String>) {
    let answer = request(kind, commit, (commit, 1)).send(master);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let list = |name: &str| -> Vec<String> {
        let all = answer[name].as_array().into_iter().flatten();
        all.map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let pipeline = |it: &String| master.job(it)["pipeline"].as_str().unwrap().to_owned();
    let mut names: Vec<String> = list("jobs").iter().map(pipeline).collect();
    names.sort();
    (names, list("notes"))
}

#[test]
fn a_request_starts_what_its_files_fit_and_nothing_else() {
    let (world, forge, master) = world();
    for kind in ["github", "gitlab", "gitea"] {
        let commit = world.commit(kind);
        forge.changes(kind, &commit, &[&[("docs/a.md", "docs/a.md")]]);
        let none = Vec::<String>::new();
        assert_eq!(
            started(&master, kind, &commit),
            (vec!["docs".to_owned()], none.clone())
        );
        // All pages count, and the name that a file had.
        let commit = world.commit(&format!("{kind} more"));
        let moved: &[(&str, &str)] = &[("other/x", "y")];
        forge.changes(kind, &commit, &[&[("docs/a.md", "docs/a.md")], moved]);
        let (names, notes) = started(&master, kind, &commit);
        assert_eq!(
            (names, notes),
            (
                vec!["code-alone".into(), "docs".into(), "other".into()],
                none
            )
        );
        let (base, list) = place(kind);
        let asked = forge.asked(&format!("{base}/{list}"));
        assert_eq!(asked.len(), 3, "{asked:?}");
        assert!(asked.iter().all(|it| it.contains(TOKEN)), "{asked:?}");
    }
}

#[test]
fn what_no_list_tells_runs_and_the_answer_says_why() {
    let (world, forge, master) = world();
    let check = |kind: &str, prepare: &dyn Fn(&str), expected: &str| {
        let commit = world.commit(&format!("{kind} {expected}"));
        prepare(&commit);
        let (names, notes) = started(&master, kind, &commit);
        assert_eq!(names.len(), 4, "all of them: {names:?}");
        assert_eq!(notes.len(), 4, "{notes:?}");
        assert!(notes.iter().all(|it| it.contains(expected)), "{notes:?}");
    };
    for kind in ["github", "gitlab", "gitea"] {
        check(kind, &|_| {}, "404");
        let one: &[(&str, &str)] = &[("docs/a", "docs/a")];
        check(
            kind,
            &|_| forge.changes(kind, super::NONE, &[one]),
            "other commits by now",
        );
        check(
            kind,
            &|commit| {
                forge.changes(kind, commit, &[one]);
                forge.is_at(kind, commit, 2);
            },
            "doesn't list all",
        );
        let many = vec![("docs/a", "docs/a"); 100];
        let pages = vec![many.as_slice(); 12];
        check(
            kind,
            &|commit| forge.changes(kind, commit, &pages),
            "more than 1000 files",
        );
        let (base, list) = place(kind);
        let asked = forge.asked(&format!("{base}/{list}&page=12"));
        assert!(asked.is_empty(), "no more is asked than is looked at");
        let path = format!("{base}/{list}&page=1");
        check(
            kind,
            &|_| forge.says(&path, (200, "", &json!({"hunter2": 1}))),
            "can't be read",
        );
    }
}
