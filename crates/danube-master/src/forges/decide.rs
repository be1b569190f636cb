//! Which pipelines a message of a forge starts. Reads nothing but its arguments, changes
//! nothing.

use danube_blueprint::{Blueprint, Declared, matches};
use danube_model::spec::{Superseded, is_git_ref};

use super::message::{Push, Pushed, Request, What};
use super::place::Place;

/// A pipeline of the repository, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) pipeline: String,
    /// Why it isn't started, else.
    pub(crate) start: Result<Start, &'static str>,
}

/// What is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    /// The branch, the tag as `refs/tags/…`, or where the request's commit is.
    pub(crate) git_ref: String,
    pub(crate) commit: String,
    pub(crate) request: Option<u64>,
    pub(crate) is_fork: bool,
    /// A newer start of the same ref takes its place while it waits.
    pub(crate) replaces: bool,
    /// Why it is started although `paths` may say otherwise.
    pub(crate) note: Option<String>,
}

/// Whether a pipeline asks which files the request changes.
pub(crate) fn asks_for_files(blueprint: &Blueprint, place: &Place, request: &Request) -> bool {
    blueprint.pipelines.values().any(|it| {
        let trigger = it.triggers.pull_request.as_ref();
        let repository = it.pipeline.repository.as_deref();
        trigger.is_some_and(|trigger| !trigger.paths.is_empty())
            && repository.is_some_and(|it| place.is(it))
            && requested(it, request).is_ok()
    })
}

/// All pipelines whose repository this is.
pub(crate) fn decide(blueprint: &Blueprint, place: &Place, what: &What) -> Vec<Decision> {
    let mut all = Vec::new();
    for (name, declared) in &blueprint.pipelines {
        let repository = declared.pipeline.repository.as_deref();
        if repository.is_some_and(|it| place.is(it)) {
            all.push(Decision {
                pipeline: name.clone(),
                start: start(declared, what),
            });
        }
    }
    all
}

fn start(declared: &Declared, what: &What) -> Result<Start, &'static str> {
    let start = match what {
        What::Push(push) => pushed(declared, push)?,
        What::Request(request) => requested(declared, request)?,
        What::Nothing(why) => return Err(why),
    };
    if is_git_ref(&start.git_ref) {
        Ok(start)
    } else {
        Err("the branch or tag has a name that jobs can't have as their ref")
    }
}

fn pushed(declared: &Declared, push: &Push) -> Result<Start, &'static str> {
    let trigger = declared.triggers.push.as_ref();
    let trigger = trigger.ok_or("it has no trigger `push`")?;
    let branch = match &push.what {
        Pushed::Tag(tag) if trigger.takes_tag(tag) => return Ok(of_push(declared, push)),
        Pushed::Tag(_) => return Err("the tag isn't one of `triggers.push.tags`"),
        Pushed::Branch(branch) => branch,
    };
    if !trigger.takes_branch(branch) {
        return Err(match trigger.branches.is_empty() {
            true => "it asks for `triggers.push.tags` alone, and this is a branch",
            false => "the branch isn't one of `triggers.push.branches`",
        });
    }
    let fits = |paths: &Vec<String>| paths.iter().any(|it| matches(&trigger.paths, it));
    // Where not all files are known, one more run is better than one that is missing.
    if !trigger.paths.is_empty() && !push.paths.as_ref().is_none_or(fits) {
        return Err("no file that changed is one of `triggers.push.paths`");
    }
    Ok(of_push(declared, push))
}

fn of_push(declared: &Declared, push: &Push) -> Start {
    Start {
        git_ref: push.what.git_ref(),
        commit: push.commit.clone(),
        request: None,
        is_fork: false,
        replaces: replaces(declared),
        note: None,
    }
}

fn replaces(declared: &Declared) -> bool {
    declared.pipeline.queueing.cancel_superseded != Superseded::None
}

fn requested(declared: &Declared, request: &Request) -> Result<Start, &'static str> {
    let trigger = declared.triggers.pull_request.as_ref();
    let trigger = trigger.ok_or("it has no trigger `pull_request`")?;
    if !matches(&trigger.branches, &request.base) {
        return Err("the branch to merge into isn't one of `triggers.pull_request.branches`");
    }
    if request.is_fork && !trigger.forks {
        return Err("it comes from a fork, and `triggers.pull_request.forks` isn't true");
    }
    let mut note = None;
    if !trigger.paths.is_empty() {
        match &request.files {
            Ok(files) if files.iter().any(|it| matches(&trigger.paths, it)) => {}
            Ok(_) => {
                return Err("no file that it changes is one of `triggers.pull_request.paths`");
            }
            Err(why) => {
                let why =
                    format!("it is started whatever `triggers.pull_request.paths` says: {why}");
                note = Some(why);
            }
        }
    }
    Ok(Start {
        git_ref: request.git_ref.clone(),
        commit: request.commit.clone(),
        request: Some(request.number),
        is_fork: request.is_fork,
        replaces: replaces(declared),
        note,
    })
}

#[cfg(test)]
mod tests {
    use danube_blueprint::{Permissions, PullRequestTrigger, PushTrigger, Triggers};
    use danube_model::spec::parse_file;

    use super::*;

    const COMMIT: &str = "6dcb09b5b57875f334f61aebed695e2e4193db5e";

    fn texts(list: &str) -> Vec<String> {
        list.split_whitespace().map(Into::into).collect()
    }

    /// One pipeline with these branches and paths for pushes and requests.
    fn blueprint(branches: &str, paths: &str, forks: bool) -> Blueprint {
        let text = "apiVersion: danube.dev/v1\nkind: Pipeline\nmetadata: {name: build}\nspec: {repository: 'git@git.example.org:a/b.git', steps: [{name: x, run: x}]}\n";
        let declared = Declared {
            pipeline: parse_file("build.yaml", text).unwrap(),
            script: None,
            image: None,
            triggers: Triggers {
                push: Some(PushTrigger {
                    branches: texts(branches),
                    tags: Vec::new(),
                    paths: texts(paths),
                }),
                pull_request: Some(PullRequestTrigger {
                    branches: texts(branches),
                    paths: texts(paths),
                    forks,
                }),
                cron: Vec::new(),
                manual: true,
            },
            permissions: Permissions::default(),
            file: "build.yaml".into(),
        };
        let mut blueprint = Blueprint::default();
        blueprint.pipelines.insert("build".into(), declared);
        blueprint
    }

    fn starts(blueprint: &Blueprint, what: &What) -> bool {
        let place = Place::of("https://git.example.org", "a/b").unwrap();
        let all = decide(blueprint, &place, what);
        assert_eq!(all.len(), 1);
        all[0].start.is_ok()
    }

    #[test]
    fn a_push_starts_what_its_branch_and_its_files_fit() {
        let push = |branch: &str, paths: Option<&str>| {
            What::Push(Push {
                what: Pushed::Branch(branch.into()),
                commit: COMMIT.into(),
                paths: paths.map(texts),
            })
        };
        let all = blueprint("", "", false);
        assert!(starts(&all, &push("main", Some("a"))));
        assert!(!starts(&all, &push("a(b)", Some("a"))));
        let some = blueprint("main release/*", "src/* !*.md", false);
        assert!(starts(&some, &push("release/1", Some("src/a.rs docs/b"))));
        assert!(!starts(&some, &push("release/1", Some("src/a.md docs/b"))));
        assert!(!starts(&some, &push("topic", Some("src/a.rs"))));
        assert!(starts(&some, &push("main", None)));
        let other = Place::of("https://git.example.org", "a/c").unwrap();
        assert_eq!(decide(&all, &other, &push("main", None)), []);
    }

    #[test]
    fn a_request_is_taken_by_its_target_and_from_forks_where_that_is_said() {
        let request = |base: &str, is_fork| {
            What::Request(Request {
                number: 7,
                git_ref: "refs/pull/7/head".into(),
                base: base.into(),
                commit: COMMIT.into(),
                is_fork,
                files: Err("unknown".into()),
            })
        };
        let (closed, open) = (
            blueprint("main", "src/*", false),
            blueprint("main", "", true),
        );
        let of_files = |files: &str| match request("main", false) {
            What::Request(it) => What::Request(Request {
                files: Ok(texts(files)),
                ..it
            }),
            other => other,
        };
        assert!(starts(&closed, &of_files("docs/a src/b")));
        assert!(!starts(&closed, &of_files("docs/a")));
        assert!(!starts(&closed, &of_files("")));
        assert!(starts(&closed, &request("main", false)));
        let of = Place::of("https://git.example.org", "a/b").unwrap();
        let unknown = decide(&closed, &of, &request("main", false)).remove(0);
        let note = unknown.start.unwrap().note.unwrap();
        assert!(note.ends_with(": unknown"), "{note}");
        let asks = |blueprint, base: &str| match request(base, false) {
            What::Request(it) => asks_for_files(blueprint, &of, &it),
            other => panic!("{other:?}"),
        };
        assert!(asks(&closed, "main"));
        assert!(
            !asks(&closed, "topic") && !asks(&open, "main"),
            "nobody wants to know"
        );
        assert!(!starts(&closed, &request("topic", false)));
        assert!(!starts(&closed, &request("main", true)));
        assert!(starts(&open, &request("main", true)));
        let place = Place::of("https://git.example.org", "A/B").unwrap();
        let start = decide(&open, &place, &request("main", true))
            .remove(0)
            .start
            .unwrap();
        assert!(start.is_fork && start.request == Some(7));
        assert!(!starts(&open, &What::Nothing("x")));
    }
}
