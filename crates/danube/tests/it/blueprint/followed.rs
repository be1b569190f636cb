//! A server follows a blueprint through good, wrong, rewritten, huge and unreachable states.

use std::fs;

use serde_json::{Value, json};

use super::served::{Served, check, file, in_force, pipeline, shown};
use crate::master::{DEADLINE, Master, id};
use crate::playbooks::git;
use crate::processes::until;

#[test]
fn a_wrong_commit_is_told_to_the_letter_and_the_one_before_stays_until_it_is_repaired() {
    let served = Served::new();
    let master = served.master(&[]);
    let good = git(&served.dir(), &["rev-parse", "HEAD"]);
    let first = shown(&master);
    assert_eq!(first["commit"], good.as_str());
    assert_eq!(first["pipelines"], json!(["build"]));
    assert_eq!(
        (&first["users"], &first["teams"]),
        (&json!(["alice"]), &json!(["web"]))
    );
    assert_eq!(check(&master, "ok"), "");

    served.write(
        "teams/web.yaml",
        &file("Team", "web", "{members: [alice, nobody]}"),
    );
    served.write("pipelines/second.yaml", &pipeline("second", "typo: 1, "));
    let bad = served.commit();
    let failed = master.event(|it| it["event"] == "blueprint_sync_failed");
    let said = failed["error"].as_str().unwrap();
    for place in ["teams/web.yaml:4:25", "pipelines/second.yaml:4:8"] {
        assert!(said.contains(place), "{said}");
    }
    let now = shown(&master);
    assert_eq!(now["commit"], good.as_str(), "{now:#}");
    assert_eq!(now["pipelines"], json!(["build"]));
    assert_eq!(now["error"]["commit"], bad.as_str());
    let mistakes = now["error"]["mistakes"].as_array().unwrap();
    let place = |it: &Value| json!([it["file"], it["line"], it["column"]]);
    let places: Vec<Value> = mistakes.iter().map(place).collect();
    assert!(
        places.contains(&json!(["teams/web.yaml", 4, 25])),
        "{now:#}"
    );
    let message = check(&master, "degraded");
    assert!(
        message.contains(&good[..12]) && message.contains("teams/web.yaml:4:25"),
        "{message}"
    );
    let ready = master.request("GET", "/health/ready", &[], &[]);
    assert_eq!(ready.status, 200, "{}", ready.text());
    // What was in force can be used.
    let job = master.submit(&json!({"pipeline": "build"}));
    assert_eq!(master.ended(&id(&job))["status"], "success");

    served.write("teams/web.yaml", &file("Team", "web", "{members: [alice]}"));
    served.write("pipelines/second.yaml", &pipeline("second", ""));
    let repaired = served.commit();
    let now = in_force(&master, &repaired);
    assert_eq!(now["pipelines"], json!(["build", "second"]));
    let told = master
        .event(|it| it["event"] == "blueprint_sync_completed" && it["commit"] == repaired.as_str());
    assert_eq!((&told["pipelines"], &told["users"]), (&json!(2), &json!(1)));
    assert_eq!(check(&master, "ok"), "");
}

#[test]
fn a_branch_that_was_rewritten_is_taken_as_it_is() {
    let served = Served::new();
    served.write("pipelines/more.yaml", &pipeline("more", ""));
    served.commit();
    let master = served.master(&[]);
    let dir = served.dir();
    // No commit of before is in its history any more.
    git(&dir, &["checkout", "--quiet", "--orphan", "other"]);
    fs::remove_file(dir.join("pipelines/more.yaml")).unwrap();
    served.write("pipelines/other.yaml", &pipeline("other", ""));
    let rewritten = served.commit();
    git(&dir, &["branch", "--force", "main", "other"]);
    let now = in_force(&master, &rewritten);
    assert_eq!(now["pipelines"], json!(["build", "other"]));
    // Back to an older one.
    git(&dir, &["checkout", "--quiet", "main"]);
    served.write("pipelines/late.yaml", &pipeline("late", ""));
    let late = served.commit();
    in_force(&master, &late);
    git(&dir, &["reset", "--quiet", "--hard", "HEAD~1"]);
    assert_eq!(
        in_force(&master, &rewritten)["pipelines"],
        json!(["build", "other"])
    );
}

#[test]
fn a_huge_commit_is_refused_and_the_limit_is_named() {
    let served = Served::new();
    let good = git(&served.dir(), &["rev-parse", "HEAD"]);
    let master = served.master(&[]);
    served.write("data.bin", &"x".repeat(17 << 20));
    served.commit();
    let message = check(&master, "degraded");
    assert!(message.contains("more than 16777216 bytes"), "{message}");
    fs::remove_file(served.dir().join("data.bin")).unwrap();
    for at in 0..2_001 {
        let name = format!("u{at}");
        let spec = format!("{{email: {name}@example.org}}");
        served.write(&format!("users/{name}.yaml"), &file("User", &name, &spec));
    }
    let many = served.commit();
    let wrong = until("the files are too many", DEADLINE, || {
        let shown = shown(&master);
        (shown["error"]["commit"] == many.as_str()).then_some(shown)
    });
    assert!(wrong["error"].to_string().contains("2000"), "{wrong:#}");
    assert_eq!(wrong["commit"], good.as_str());
}

#[test]
fn an_unreachable_repository_leaves_the_last_one_in_force_also_over_a_restart() {
    let mut served = Served::new();
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let arguments = served.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let commit = git(&served.dir(), &["rev-parse", "HEAD"]);
    let master = Master::start_in(&dir, &arguments);
    in_force(&master, &commit);
    served.stop();
    let message = check(&master, "degraded");
    assert!(
        message.contains(&commit[..12]) && message.contains("127.0.0.1"),
        "{message}"
    );
    drop(master);

    // At once, before anything could be fetched.
    let master = Master::start_in(&dir, &arguments);
    let now = shown(&master);
    assert_eq!(
        (&now["commit"], &now["pipelines"]),
        (&json!(commit), &json!(["build"]))
    );
    let job = master.submit(&json!({"pipeline": "build"}));
    assert_eq!(master.ended(&id(&job))["status"], "success");
    master.event(|it| it["event"] == "blueprint_sync_failed");
    let answer = master.call("POST", "/api/v1/blueprint/sync", None);
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (502, &json!("blueprint_away"))
    );

    served.write("pipelines/new.yaml", &pipeline("new", ""));
    let next = served.commit();
    served.serve();
    in_force(&master, &next);
    check(&master, "ok");
    drop(master);
    // What another repository or branch declared is not in force.
    let other = [&arguments[..], &["--blueprint-branch", "other"]].concat();
    let master = Master::start_in(&dir, &other);
    assert_eq!(shown(&master)["pipelines"], json!([]));
}

#[test]
fn a_master_that_is_killed_in_the_middle_has_the_old_one_or_the_new_and_never_half() {
    let mut served = Served::new();
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("data");
    let arguments = served.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut declared = vec![(
        git(&served.dir(), &["rev-parse", "HEAD"]),
        vec!["build".to_owned()],
    )];
    let (mut old, mut new) = (0, 0);
    for round in 0..10 {
        fs::remove_dir_all(served.dir().join("pipelines")).unwrap();
        let mut names: Vec<String> = (0..100).map(|at| format!("r{round}-{at:03}")).collect();
        for name in &names {
            served.write(&format!("pipelines/{name}.yaml"), &pipeline(name, ""));
        }
        names.sort();
        let commit = served.commit();
        declared.push((commit.clone(), names));
        let mut master = Master::start_in(&dir, &arguments);
        // A little later in each round.
        for _ in 0..round * 3 {
            shown(&master);
        }
        master.kill();
        served.stop();

        let mut master = Master::start_in(&dir, &arguments);
        let now = shown(&master);
        master.kill();
        served.serve();
        let Some(found) = now["commit"].as_str() else {
            old += 1;
            assert_eq!(now["pipelines"], json!([]), "{now:#}");
            continue;
        };
        let known = declared.iter().find(|it| it.0 == found);
        let (_, names) = known.unwrap_or_else(|| panic!("{now:#}"));
        assert_eq!(now["pipelines"], json!(names));
        if found == commit {
            new += 1;
        } else {
            old += 1;
        }
    }
    assert_eq!(old + new, 10);
    let master = Master::start_in(&dir, &arguments);
    in_force(&master, &declared.last().unwrap().0);
}
