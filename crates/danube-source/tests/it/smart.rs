//! A repository behind HTTP and a password.

use std::fs;

use danube_source::{GitCredential, Secret};

use crate::backend::Backend;
use crate::git::{playbook, repository};
use crate::http::{Answer, Server};
use crate::support::{World, snapshot};

/// `me:p@ss/word:1`
const SHOWN: &str = "Basic bWU6cEBzcy93b3JkOjE=";
const PASSWORD: &str = "p@ss/word:1";

fn credential(password: &str) -> GitCredential {
    GitCredential::Password {
        id: "git".to_owned(),
        user: "me".to_owned(),
        password: Secret::new(password.to_owned()),
    }
}

#[test]
fn a_password_opens_a_private_repository_and_is_left_nowhere() {
    let world = World::new();
    let (_, commit) = repository(&world);
    let backend = Backend::start(world.directory.path().to_owned());
    backend.lets_in(SHOWN, "");
    let source = playbook(&format!("http://{}/repo", backend.address), Some("main"));
    let into = world.job("into");
    let error = world.fetch(&source, &into).unwrap_err().to_string();
    assert!(error.contains("it wants a credential"), "{error}");
    let wrong = credential("hunter2hunter2");
    let error = world.fetch_with(&source, &into, Some(&wrong), None);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("git couldn't fetch"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let right = credential(PASSWORD);
    let fetched = world
        .fetch_with(&source, &into, Some(&right), None)
        .unwrap();
    assert_eq!(fetched.revision, Some(commit));
    for place in ["cache", "into"] {
        let all = snapshot(&world.directory.path().join(place));
        assert!(
            !all.iter()
                .any(|it| it.contains("word:1") || it.contains("word%3A1"))
        );
    }
    // Who has no right now reads nothing, although the mirror holds it.
    let again = world.job("again");
    assert!(
        world
            .fetch_with(&source, &again, Some(&wrong), None)
            .is_err()
    );
    assert_eq!(snapshot(&again), [""; 0]);
}

#[test]
fn a_server_that_redirects_is_not_followed() {
    let world = World::new();
    let (_, _) = repository(&world);
    let backend = Backend::start(world.directory.path().to_owned());
    backend.lets_in(SHOWN, "");
    let to = format!(
        "http://{}/repo/info/refs?service=git-upload-pack",
        backend.address
    );
    let server = Server::start(vec![(
        "/x/info/refs?service=git-upload-pack",
        Answer::Redirect(to),
    )]);
    let source = playbook(&server.url("/x"), None);
    let into = world.job("into");
    let right = credential(PASSWORD);
    let error = world.fetch_with(&source, &into, Some(&right), None);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("the server redirects"), "{error}");
    fs::remove_dir(into).unwrap();
}
