//! Playbooks from a real git daemon and from repositories of this machine.

use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use danube_model::playbook::source::Source;
use danube_source::{GitCredential, Request, Secret, SourceError, Watch};

use crate::support::{PATIENCE, World, snapshot};

const PLAY: &str = "- hosts: all\n";

pub(crate) fn run(directory: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args([
            "-c",
            "init.defaultBranch=main",
            "-c",
            "protocol.file.allow=always",
        ])
        .args(args)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/nonexistent")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A repository with one commit on `main`; answers with its path and commit.
pub(crate) fn repository(world: &World) -> (PathBuf, String) {
    let path = world.job("repo");
    run(&path, &["init", "--quiet"]);
    fs::write(path.join("site.yml"), PLAY).unwrap();
    let commit = commit(&path, "first");
    (path, commit)
}

pub(crate) fn commit(repository: &Path, message: &str) -> String {
    run(repository, &["add", "--all", "--force"]);
    run(
        repository,
        &["commit", "--quiet", "--allow-empty", "-m", message],
    );
    run(repository, &["rev-parse", "HEAD"])
}

pub(crate) fn playbook(repo: &str, git_ref: Option<&str>) -> Source {
    Source::Playbook {
        repo: repo.to_owned(),
        git_ref: git_ref.map(str::to_owned),
        path: "site.yml".to_owned(),
    }
}

/// A git daemon of its own group, on a port that was free.
struct Daemon(Child, u16);

impl Daemon {
    fn start(base: &Path) -> Self {
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            let mut child = Command::new("git")
                .args([
                    "daemon",
                    "--listen=127.0.0.1",
                    "--export-all",
                    "--reuseaddr",
                ])
                .arg(format!("--port={port}"))
                .arg(format!("--base-path={}", base.display()))
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", "safe.directory")
                .env("GIT_CONFIG_VALUE_0", "*")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()
                .unwrap();
            let end = Instant::now() + PATIENCE;
            while Instant::now() < end && child.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self(child, port);
                }
                thread::yield_now();
            }
        }
        panic!("git daemon doesn't start");
    }

    fn url(&self, name: &str) -> String {
        format!("git://127.0.0.1:{}/{name}", self.1)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn branches_tags_and_commits_are_fetched_from_a_daemon() {
    let world = World::new();
    let (repo, first) = repository(&world);
    run(&repo, &["tag", "-a", "v1", "-m", "one"]);
    run(&repo, &["checkout", "--quiet", "-b", "feature/x"]);
    fs::write(repo.join("more.yml"), PLAY).unwrap();
    let second = commit(&repo, "second");
    run(&repo, &["checkout", "--quiet", "main"]);
    let daemon = Daemon::start(world.directory.path());
    let url = daemon.url("repo");
    let cases = [
        (None, &first),
        (Some("main"), &first),
        (Some("v1"), &first),
        (Some("refs/heads/feature/x"), &second),
        (Some("feature/x"), &second),
        (Some(first.as_str()), &first),
        (Some(second.as_str()), &second),
    ];
    for (at, (git_ref, expected)) in cases.into_iter().enumerate() {
        let into = world.job(&format!("job{at}"));
        let source = playbook(&url, git_ref);
        let request = Request {
            source: &source,
            git: None,
            nexus: None,
            into: &into,
        };
        let (fetched, lines) = world.watched(&request, PATIENCE);
        let fetched = fetched.unwrap();
        assert_eq!(fetched.revision.as_ref(), Some(expected), "{git_ref:?}");
        assert_eq!(fs::read_to_string(&fetched.playbook).unwrap(), PLAY);
        assert!(!into.join(".git").exists());
        assert_eq!(into.join("more.yml").exists(), *expected == second);
        assert!(
            lines.iter().any(|it| it.contains(expected.as_str())),
            "{lines:?}"
        );
    }
    // All of them share one mirror.
    assert_eq!(
        fs::read_dir(world.directory.path().join("cache/git"))
            .unwrap()
            .count(),
        1
    );
}

#[test]
fn a_branch_that_was_pushed_by_force_is_fetched_as_it_is_now() {
    let world = World::new();
    let (repo, first) = repository(&world);
    let source = playbook(&format!("file://{}", repo.display()), Some("main"));
    let fetched = world.fetch(&source, &world.job("a")).unwrap();
    assert_eq!(fetched.revision, Some(first.clone()));
    fs::write(repo.join("site.yml"), "- hosts: none\n").unwrap();
    run(&repo, &["add", "--all"]);
    run(&repo, &["commit", "--quiet", "--amend", "-m", "other"]);
    let fetched = world.fetch(&source, &world.job("b")).unwrap();
    assert_ne!(fetched.revision, Some(first));
    assert_eq!(
        fs::read_to_string(fetched.playbook).unwrap(),
        "- hosts: none\n"
    );
}

#[test]
fn what_isnt_there_is_said_so_and_leaves_nothing() {
    let world = World::new();
    let (repo, _) = repository(&world);
    let repo = repo.to_str().unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let missing = Source::Playbook {
        repo: repo.to_owned(),
        git_ref: None,
        path: "absent.yml".to_owned(),
    };
    let cases = [
        (playbook(repo, Some("nope")), "no such branch or tag"),
        (playbook(repo, Some("0123abcd")), "all of its digits"),
        (playbook(repo, Some(&"0".repeat(40))), "git couldn't fetch"),
        (playbook("/nonexistent/repo", None), "git couldn't fetch"),
        (
            playbook(&format!("git://127.0.0.1:{port}/x"), None),
            "git couldn't fetch",
        ),
        (
            playbook("https://forbidden.example/x", None),
            "may not be reached",
        ),
        (missing, "no playbook `absent.yml`; there are site.yml"),
    ];
    let into = world.job("into");
    for (source, expected) in cases {
        let error = world.fetch(&source, &into).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(snapshot(&into), [""; 0]);
    }
}

#[test]
fn a_server_that_hangs_is_left_at_the_deadline_and_at_a_cancel() {
    // Over http it is a helper of git that waits, not git itself.
    for scheme in ["git", "http"] {
        let world = World::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://{}/x", listener.local_addr().unwrap());
        let source = playbook(&url, None);
        let into = world.job("into");
        let request = Request {
            source: &source,
            git: None,
            nexus: None,
            into: &into,
        };
        let (fetched, _) = world.watched(&request, Duration::from_secs(2));
        assert!(
            matches!(fetched, Err(SourceError::TimedOut { .. })),
            "{fetched:?}"
        );
        // Whoever asked is gone: its side of the connection was closed, long
        // before it would have given up by itself.
        let (mut stream, _) = listener.accept().unwrap();
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();

        listener.set_nonblocking(true).unwrap();
        let watch = Watch {
            deadline: Instant::now() + PATIENCE,
            // Cancelled once git has come.
            cancelled: &|| listener.accept().is_ok(),
            say: &|_| {},
        };
        let fetched = world.fetcher.fetch(&request, &watch);
        assert!(
            matches!(fetched, Err(SourceError::Cancelled)),
            "{fetched:?}"
        );
    }
}

#[test]
fn eight_jobs_share_one_mirror() {
    let world = World::new();
    let (repo, _) = repository(&world);
    for at in 0..4 {
        run(
            &repo,
            &["checkout", "--quiet", "-b", &format!("b{at}"), "main"],
        );
        fs::write(repo.join("which"), at.to_string()).unwrap();
        commit(&repo, "one more");
    }
    let daemon = Daemon::start(world.directory.path());
    let url = daemon.url("repo");
    let jobs: Vec<_> = (0..8)
        .map(|at| (at, world.job(&format!("job{at}"))))
        .collect();
    thread::scope(|scope| {
        for (at, into) in &jobs {
            let (world, url) = (&world, &url);
            scope.spawn(move || {
                let branch = format!("b{}", at % 4);
                world.fetch(&playbook(url, Some(&branch)), into).unwrap();
                let which = fs::read_to_string(into.join("which")).unwrap();
                assert_eq!(which, (at % 4).to_string());
            });
        }
    });
    assert_eq!(
        fs::read_dir(world.directory.path().join("cache/git"))
            .unwrap()
            .count(),
        1
    );
}

fn mirror(world: &World) -> PathBuf {
    let mut mirrors = fs::read_dir(world.directory.path().join("cache/git")).unwrap();
    mirrors.next().unwrap().unwrap().path().join("mirror.git")
}

#[test]
fn a_damaged_mirror_is_made_anew() {
    let world = World::new();
    let (repo, first) = repository(&world);
    let source = playbook(repo.to_str().unwrap(), None);
    world.fetch(&source, &world.job("a")).unwrap();
    let damages: [fn(&Path); 4] = [
        |mirror| fs::write(mirror.join("HEAD"), "nonsense").unwrap(),
        |mirror| {
            for pack in fs::read_dir(mirror.join("objects/pack")).unwrap() {
                fs::remove_file(pack.unwrap().path()).unwrap();
            }
        },
        |mirror| {
            for pack in fs::read_dir(mirror.join("objects/pack")).unwrap() {
                let path = pack.unwrap().path();
                if path.extension().is_some_and(|it| it == "pack") {
                    let mut content = fs::read(&path).unwrap();
                    let middle = content.len() / 2;
                    content[12..middle].fill(0);
                    fs::remove_file(&path).unwrap();
                    fs::write(&path, content).unwrap();
                }
            }
        },
        // A git that was killed left its locks.
        |mirror| fs::write(mirror.join("shallow.lock"), "").unwrap(),
    ];
    for (at, damage) in damages.into_iter().enumerate() {
        damage(&mirror(&world));
        let into = world.job(&format!("after{at}"));
        let fetched = world.fetch(&source, &into).unwrap();
        assert_eq!(fetched.revision, Some(first.clone()), "damage {at}");
        assert_eq!(snapshot(&into), [format!("site.yml = {PLAY}")]);
    }
}

#[test]
fn a_mirror_belongs_to_one_credential_and_the_least_used_go() {
    let world = World::with(|settings| settings.cache_bytes_max = 0);
    let (repo, _) = repository(&world);
    let source = playbook(repo.to_str().unwrap(), None);
    let credential = GitCredential::Password {
        id: "git/1".to_owned(),
        user: "me".to_owned(),
        password: Secret::new("hunter2hunter2".to_owned()),
    };
    world.fetch(&source, &world.job("a")).unwrap();
    // Nothing has room here, and nobody reads any more.
    assert_eq!(snapshot(&world.directory.path().join("cache/git")), [""; 0]);

    let world = World::new();
    let (repo, _) = repository(&world);
    let source = playbook(repo.to_str().unwrap(), None);
    world.fetch(&source, &world.job("a")).unwrap();
    world
        .fetch_with(&source, &world.job("b"), Some(&credential), None)
        .unwrap();
    let cache = world.directory.path().join("cache");
    assert_eq!(fs::read_dir(cache.join("git")).unwrap().count(), 2);
    assert!(!snapshot(&cache).iter().any(|it| it.contains("hunter2")));
}

#[test]
fn nothing_in_a_repository_runs_or_leads_out() {
    let world = World::new();
    let (repo, _) = repository(&world);
    let canary = world.directory.path().join("ran");
    let runs = format!("touch '{}'", canary.display());
    fs::write(repo.join(".gitattributes"), "* filter=evil export-ignore\n").unwrap();
    fs::write(
        repo.join(".gitmodules"),
        format!("[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c {runs}\n"),
    )
    .unwrap();
    commit(&repo, "attributes");
    let home = world.job("home");
    fs::write(
        home.join(".gitconfig"),
        format!("[filter \"evil\"]\n\tsmudge = {runs}\n"),
    )
    .unwrap();
    let source = playbook(repo.to_str().unwrap(), None);
    let into = world.job("a");
    world.fetch(&source, &into).unwrap();
    assert!(into.join("site.yml").exists());
    assert!(!canary.exists());

    std::os::unix::fs::symlink("../canary", repo.join("out")).unwrap();
    commit(&repo, "link");
    let into = world.job("b");
    let error = world.fetch(&source, &into).unwrap_err();
    assert!(error.to_string().contains("leads out"), "{error}");
    assert_eq!(snapshot(&into), [""; 0]);
}

#[test]
fn a_role_is_wrapped_into_a_playbook() {
    let world = World::new();
    let repo = world.job("ansible-role-web");
    run(&repo, &["init", "--quiet"]);
    fs::create_dir(repo.join("tasks")).unwrap();
    fs::write(repo.join("tasks/main.yml"), "- debug:\n").unwrap();
    let commit = commit(&repo, "role");
    let source = Source::Role {
        repo: repo.to_str().unwrap().to_owned(),
        git_ref: None,
        name: "web".to_owned(),
        hosts: "web*:!old".to_owned(),
        vars: serde_json::from_str(r#"{"text": "\": {{ x }}\n- hosts: all"}"#).unwrap(),
    };
    let into = world.job("into");
    let fetched = world.fetch(&source, &into).unwrap();
    assert_eq!(fetched.revision, Some(commit));
    assert!(into.join("roles/web/tasks/main.yml").exists());
    let play: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(fetched.playbook).unwrap()).unwrap();
    assert_eq!(play[0]["hosts"], "web*:!old");
    assert_eq!(play[0]["roles"][0]["role"], "web");
    assert_eq!(
        play[0]["roles"][0]["vars"]["text"],
        "\": {{ x }}\n- hosts: all"
    );
}

#[test]
fn a_commit_is_found_where_servers_give_branches_only() {
    let world = World::new();
    let (repo, first) = repository(&world);
    commit(&repo, "second");
    let home = world.job("home");
    // Before version 2 of the protocol, servers gave what a branch or tag names.
    fs::write(home.join(".gitconfig"), "[protocol]\n\tversion = 0\n").unwrap();
    // The mirror has the end of the branch already, and nothing before it.
    let source = playbook(repo.to_str().unwrap(), Some("main"));
    world.fetch(&source, &world.job("end")).unwrap();
    let source = playbook(repo.to_str().unwrap(), Some(&first));
    let into = world.job("into");
    let request = Request {
        source: &source,
        git: None,
        nexus: None,
        into: &into,
    };
    let (fetched, lines) = world.watched(&request, PATIENCE);
    assert_eq!(fetched.unwrap().revision, Some(first));
    assert!(
        lines.iter().any(|it| it.contains("fetching its branches")),
        "{lines:?}"
    );
    let source = playbook(repo.to_str().unwrap(), Some(&"1".repeat(40)));
    let error = world.fetch(&source, &world.job("none")).unwrap_err();
    assert!(error.to_string().contains("in any branch"), "{error}");
}

#[test]
fn names_of_every_length_and_language_come_whole() {
    let world = World::new();
    let (repo, _) = repository(&world);
    let long = format!("{}/{}/übung 名.yml", "a".repeat(120), "b".repeat(200));
    let path = repo.join(&long);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, PLAY).unwrap();
    std::os::unix::fs::symlink(&long, repo.join("link.yml")).unwrap();
    let run_me = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::write(repo.join("run"), "x").unwrap();
    fs::set_permissions(repo.join("run"), run_me).unwrap();
    commit(&repo, "long");
    let into = world.job("into");
    world
        .fetch(&playbook(repo.to_str().unwrap(), None), &into)
        .unwrap();
    assert_eq!(fs::read_to_string(into.join(&long)).unwrap(), PLAY);
    assert_eq!(fs::read_to_string(into.join("link.yml")).unwrap(), PLAY);
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(into.join("run")).unwrap());
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn a_mirror_that_is_held_by_another_is_waited_for_until_the_deadline() {
    let world = World::new();
    let (repo, _) = repository(&world);
    let source = playbook(repo.to_str().unwrap(), None);
    world.fetch(&source, &world.job("a")).unwrap();
    let lock = mirror(&world).with_file_name("fetch.lock");
    let held = fs::File::open(lock).unwrap();
    held.lock().unwrap();
    let into = world.job("b");
    let request = Request {
        source: &source,
        git: None,
        nexus: None,
        into: &into,
    };
    let (fetched, _) = world.watched(&request, Duration::from_secs(1));
    let error = fetched.unwrap_err().to_string();
    assert!(error.contains("another job that fetches"), "{error}");
    drop(held);
    let (fetched, _) = world.watched(&request, PATIENCE);
    fetched.unwrap();
}
