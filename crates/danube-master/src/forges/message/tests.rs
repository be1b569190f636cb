//! The shapes that forges document, cut to what is read and a little beside it.

use axum::http::HeaderName;
use serde_json::{Value, json};

use super::*;

const COMMIT: &str = "6dcb09b5b57875f334f61aebed695e2e4193db5e";
const NONE: &str = "0000000000000000000000000000000000000000";

fn message(kind: ForgeKind, event: (&'static str, &str), body: &Value) -> Message {
    match told(kind, event, body) {
        Ok(Read::Message(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn told(kind: ForgeKind, event: (&'static str, &str), body: &Value) -> Result<Read, String> {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static(event.0), event.1.parse().unwrap());
    read(kind, &headers, body.to_string().as_bytes())
}

/// A push as GitHub tells it, with what differs laid over it.
fn github_push(more: &Value) -> Message {
    let mut body = json!({
        "ref": "refs/heads/main", "before": NONE, "after": COMMIT, "created": false, "deleted": false, "forced": false,
        "commits": [
            {"id": COMMIT, "distinct": true, "added": ["a.rs"], "removed": [], "modified": ["docs/b.md"]},
            {"id": COMMIT, "added": [], "removed": ["c"], "modified": []},
        ],
        "repository": {"id": 1, "full_name": "team/app", "clone_url": "https://evil.example/x.git"},
        "pusher": {"name": "x"}, "sender": {"login": "octocat", "id": 1},
    });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    message(ForgeKind::GitHub, ("x-github-event", "push"), &body)
}

fn paths_of(message: &Message) -> Option<Vec<String>> {
    match &message.what {
        What::Push(push) => push.paths.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_push_tells_its_branch_its_commit_and_all_files_or_none() {
    let plain = github_push(&json!({}));
    assert_eq!(plain.repository, "team/app");
    assert_eq!(plain.user, "octocat");
    assert_eq!(paths_of(&plain).unwrap(), ["a.rs", "docs/b.md", "c"]);
    for unknown in [
        json!({"commits": []}),
        json!({"commits": null}),
        json!({"forced": true}),
        json!({"commits": [{"id": COMMIT}]}),
        json!({"commits": vec![json!({"added": ["a"]}); GITHUB_COMMITS_MAX]}),
    ] {
        assert_eq!(paths_of(&github_push(&unknown)), None);
    }
    let hostile = github_push(&json!({"sender": {"login": "a\n\u{1b}[31m<b> ü"}}));
    assert_eq!(hostile.user, "a__[31m_b___");
    for nothing in [
        json!({"ref": "refs/notes/commits"}),
        json!({"ref": "refs/tags/v1", "after": NONE, "deleted": true, "head_commit": null}),
        json!({"after": NONE, "deleted": true}),
    ] {
        assert!(matches!(github_push(&nothing).what, What::Nothing(_)));
    }
}

#[test]
fn a_tag_is_the_commit_that_it_leads_to_whatever_object_it_has_of_its_own() {
    const TAG: &str = "1111111111111111111111111111111111111111";
    let pushed = |message: Message| match message.what {
        What::Push(it) => (it.what, it.commit),
        other => panic!("{other:?}"),
    };
    let expected = (Pushed::Tag("v1/a".to_owned()), COMMIT.to_owned());
    let with_message = json!({"ref": "refs/tags/v1/a", "after": TAG, "commits": [], "head_commit": {"id": COMMIT}});
    let plain = json!({"ref": "refs/tags/v1/a", "commits": []});
    for body in [with_message, plain] {
        assert_eq!(pushed(github_push(&body)), expected);
    }
    // A branch is where it says that it is.
    let branch = github_push(&json!({"head_commit": {"id": TAG}}));
    assert_eq!(pushed(branch).1, COMMIT);
    let gitlab = |after: &str, checkout: Value| {
        let body = json!({"object_kind": "tag_push", "event_name": "tag_push", "ref": "refs/tags/v1/a", "after": after,
            "checkout_sha": checkout, "user_username": "jsmith", "commits": [], "total_commits_count": 0,
            "project": {"id": 1, "path_with_namespace": "a/b"}});
        message(
            ForgeKind::GitLab,
            ("x-gitlab-event", "Tag Push Hook"),
            &body,
        )
    };
    assert_eq!(pushed(gitlab(TAG, json!(COMMIT))), expected);
    let deleted = gitlab(NONE, json!(null)).what;
    assert_eq!(deleted, What::Nothing("the tag was deleted"));
}

#[test]
fn gitea_and_gitlab_say_how_many_commits_there_are() {
    let commits = json!([{"id": COMMIT, "added": ["a"], "removed": null, "modified": []}]);
    let gitea = |total: Value| {
        let body = json!({"ref": "refs/heads/x/y", "before": NONE, "after": COMMIT, "commits": commits,
            "total_commits": total, "repository": {"id": 3, "full_name": "a/b"}, "sender": {"login": "gitea"}});
        let event = ("x-gitea-event", "push");
        paths_of(&message(ForgeKind::Gitea, event, &body))
    };
    assert_eq!(gitea(json!(1)).unwrap(), ["a"]);
    assert_eq!(gitea(json!(21)), None);
    assert_eq!(gitea(json!(null)), None);
    let gitlab = |total: u64, after: &str| {
        let body = json!({"object_kind": "push", "event_name": "push", "ref": "refs/heads/main", "after": after,
            "checkout_sha": after, "user_username": "jsmith", "project_id": 15, "commits": commits,
            "project": {"id": 15, "path_with_namespace": "mike/diaspora"}, "total_commits_count": total});
        message(ForgeKind::GitLab, ("x-gitlab-event", "Push Hook"), &body)
    };
    let plain = gitlab(1, COMMIT);
    assert_eq!(
        (&*plain.repository, &*plain.user),
        ("mike/diaspora", "jsmith")
    );
    assert_eq!(paths_of(&plain).unwrap(), ["a"]);
    assert_eq!(paths_of(&gitlab(40, COMMIT)), None);
    assert!(matches!(gitlab(0, NONE).what, What::Nothing(_)));
}

/// A request as GitHub and Gitea tell it: its action, where it comes from.
fn request(action: &str, head: &Value) -> What {
    let body = json!({
        "action": action, "number": 7,
        "pull_request": {"number": 7, "head": head, "base": {"ref": "main", "sha": COMMIT, "repo": {"id": 1, "full_name": "team/app"}}},
        "repository": {"id": 1, "full_name": "team/app"}, "sender": {"login": "octocat"},
    });
    message(ForgeKind::GitHub, ("x-github-event", "pull_request"), &body).what
}

#[test]
fn a_request_is_a_forks_unless_both_sides_are_branches_of_one_repository() {
    let side = |git_ref: &str, repo: Value| json!({"ref": git_ref, "sha": COMMIT, "repo": repo});
    let is_fork = |head: Value| match request("opened", &head) {
        What::Request(it) => it.is_fork,
        other => panic!("{other:?}"),
    };
    let own = json!({"id": 1, "full_name": "team/app"});
    assert!(!is_fork(side("topic", own.clone())));
    assert!(is_fork(side(
        "topic",
        json!({"id": 2, "full_name": "team/app"})
    )));
    assert!(is_fork(side("topic", json!({"full_name": "team/app"}))));
    assert!(is_fork(side("topic", json!(null))));
    // Pushed to Gitea as `refs/for/main` by whoever may read.
    assert!(is_fork(side("refs/pull/7/head", own.clone())));
    let What::Request(it) = request("synchronize", &side("topic", own.clone())) else {
        panic!("it is one");
    };
    assert_eq!((&*it.git_ref, &*it.base), ("refs/pull/7/head", "main"));
    for action in ["closed", "labeled", "edited"] {
        assert!(matches!(
            request(action, &side("topic", own.clone())),
            What::Nothing(_)
        ));
    }
}

#[test]
fn a_merge_request_counts_when_its_commit_is_new() {
    let request = |action: &str, more: &Value| {
        let mut about = json!({"iid": 9, "action": action, "source_branch": "ms-viewport", "target_branch": "main",
            "source_project_id": 14, "target_project_id": 14, "last_commit": {"id": COMMIT}});
        for (name, value) in more.as_object().unwrap() {
            about[name] = value.clone();
        }
        let body = json!({"object_kind": "merge_request", "user": {"username": "root"}, "object_attributes": about,
            "project": {"id": 14, "path_with_namespace": "gitlab-org/gitlab-test"}});
        message(
            ForgeKind::GitLab,
            ("x-gitlab-event", "Merge Request Hook"),
            &body,
        )
        .what
    };
    let What::Request(it) = request("open", &json!({})) else {
        panic!("it is one");
    };
    assert_eq!(
        (&*it.git_ref, it.is_fork),
        ("refs/merge-requests/9/head", false)
    );
    let forked = request(
        "update",
        &json!({"source_project_id": 15, "oldrev": COMMIT}),
    );
    assert!(matches!(forked, What::Request(it) if it.is_fork));
    for (action, more) in [
        ("update", json!({})),
        ("merge", json!({})),
        ("approved", json!({})),
    ] {
        assert!(
            matches!(request(action, &more), What::Nothing(_)),
            "{action}"
        );
    }
}

#[test]
fn what_else_comes_starts_nothing_and_what_is_broken_is_told_without_its_content() {
    let of = |event, body: Value| told(ForgeKind::GitHub, ("x-github-event", event), &body);
    assert_eq!(of("ping", json!({"zen": "x"})), Ok(Read::Ping));
    assert_eq!(of("star", json!({})), Ok(Read::Other));
    let lab = told(
        ForgeKind::GitLab,
        ("x-gitlab-event", "x"),
        &json!({"object_kind": "note"}),
    );
    assert_eq!(lab, Ok(Read::Other));
    let broken = of("push", json!({"ref": ["hunter2"]})).unwrap_err();
    assert!(!broken.contains("hunter2"), "{broken}");
    let odd = json!({"ref": "refs/heads/a", "after": "$(id)", "repository": {"full_name": "a/b"}});
    assert!(of("push", odd).is_err());
}
