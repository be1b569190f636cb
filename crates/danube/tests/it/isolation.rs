//! What a job can't see, change or break: the server, its keys, other jobs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::master::{Master, id, one_step};
use crate::processes::{self, HELD, release, root_or_skip};

/// A value that only its owner may ever see.
const SECRET: &str = "only-for-the-first-job-4711";

/// Tries each command and says `open NAME` or `closed NAME`.
fn tries(commands: &[(&str, String)]) -> String {
    let mut script = String::from("set +e\n");
    for (name, command) in commands {
        script.push_str(&format!(
            "if ( {command} ) > /dev/null 2>&1; then echo 'open {name}'; else echo 'closed {name}'; fi\n"
        ));
    }
    script
}

/// The tries that succeeded.
#[track_caller]
fn open(master: &Master, commands: &[(&str, String)]) -> Vec<String> {
    let job = master.ended(&master.run(&tries(commands)));
    assert_eq!(job["status"], "success", "{job}");
    let log = String::from_utf8(master.log(&id(&job))).unwrap();
    assert_eq!(log.lines().count(), commands.len(), "{log}");
    let open = log.lines().filter_map(|it| it.strip_prefix("open "));
    open.map(str::to_owned).collect()
}

#[test]
fn a_job_finds_nothing_of_the_server() {
    if !root_or_skip("jobs of their own users") {
        return;
    }
    let master = Master::start();
    let dir = master.dir.display();
    let pid = master.pid();
    let commands = [
        // Both of these show that a try can succeed.
        ("echo", "echo".to_owned()),
        ("own environment", "cat /proc/self/environ".to_owned()),
        ("admin key", format!("cat {dir}/admin.key")),
        ("seal key", format!("cat {dir}/seal.key")),
        ("database", format!("cat {dir}/danube.db")),
        ("log of the database", format!("cat {dir}/danube.db-wal")),
        ("logs", format!("ls {dir}/logs")),
        ("lock", format!("cat {dir}/master.lock")),
        (
            "a file in the data directory",
            format!("ls -A {dir} | grep -v '^work$' | grep ."),
        ),
        ("making one there", format!("touch {dir}/made")),
        (
            "making one beside the workspace",
            "touch ../../made".to_owned(),
        ),
        (
            "environment of the server",
            format!("cat /proc/{pid}/environ"),
        ),
        ("files of the server", format!("ls /proc/{pid}/fd")),
        ("root of the server", format!("ls /proc/{pid}/root/")),
        ("signal to the server", format!("kill -0 {pid}")),
        (
            "signal to the first process",
            "kill -9 1 && sleep 600".to_owned(),
        ),
        ("/etc", "touch /etc/made".to_owned()),
        ("/usr", "touch /usr/made".to_owned()),
        ("/root", "ls /root/".to_owned()),
        ("shadow", "cat /etc/shadow".to_owned()),
        ("mounting", "mount -t tmpfs none /mnt".to_owned()),
        (
            "unmounting",
            format!("umount {dir} || umount -l /proc || umount -l /tmp"),
        ),
        ("another user", "setpriv --reuid 0 id".to_owned()),
        (
            "devices",
            "head -c 1 /dev/vda || head -c 1 /dev/sda || head -c 1 /dev/mem".to_owned(),
        ),
        (
            "cgroups",
            "find /sys/fs/cgroup -writable -type f | grep .".to_owned(),
        ),
        (
            "kernel settings",
            "echo x > /proc/sys/kernel/core_pattern".to_owned(),
        ),
    ];
    assert_eq!(open(&master, &commands), ["echo", "own environment"]);
    assert_eq!(master.get("/health").status, 200);
}

#[test]
fn a_job_has_no_rights_and_gets_none() {
    if !root_or_skip("jobs of their own users") {
        return;
    }
    let master = Master::start();
    let script = "id -u; id -g; id -G; grep -E '^(NoNewPrivs|CapEff|CapPrm|CapBnd|CapAmb)' /proc/self/status";
    let job = master.run(script);
    assert_eq!(master.ended(&job)["status"], "success");
    let log = String::from_utf8(master.log(&job)).unwrap();
    let words: Vec<&str> = log.split_whitespace().collect();
    let uid: u32 = words[0].parse().unwrap();
    assert!(uid >= 1_900_000_000, "{log}");
    assert_eq!(words[1..3], [words[0], words[0]], "{log}");
    let rights = words[3..].chunks(2);
    for right in rights {
        match right {
            ["NoNewPrivs:", value] => assert_eq!(*value, "1", "{log}"),
            [_, value] => assert_eq!(*value, "0000000000000000", "{log}"),
            _ => panic!("{log}"),
        }
    }
}

#[test]
fn two_jobs_do_not_see_or_touch_each_other() {
    if !root_or_skip("jobs of their own users") {
        return;
    }
    let master = Master::with(&["--jobs-at-once", "2"]);
    let script = format!(
        "id -u; echo {SECRET} | tee mine \"$HOME/mine\" /tmp/mine /var/tmp/mine /dev/shm/mine > /dev/null; chmod 644 mine; {HELD}"
    );
    let mut body = one_step(&script);
    body["spec"]["env"] = json!({"FIRST": SECRET});
    let first = id(&master.submit(&body));
    master.until_log(&first, "begin\n");

    let work = master.dir.join("work");
    let shell = processes::of_job(&first)[0];
    let commands = [
        (
            "files",
            format!(
                "grep -r {SECRET} {} /tmp /var/tmp /dev/shm $HOME",
                work.display()
            ),
        ),
        ("workspace", format!("ls {}/{first}", work.display())),
        ("entering it", format!("cd {}/{first}/work", work.display())),
        (
            "names of workspaces",
            format!(
                "ls {} | grep -v \"^$DANUBE_JOB_ID\\$\" | grep .",
                work.display()
            ),
        ),
        (
            "environments",
            format!("grep -l {SECRET} /proc/[0-9]*/environ"),
        ),
        (
            "commands",
            format!(
                "grep -l {SECRET} /proc/[0-9]*/cmdline | grep -v \"^/proc/$$/\" | grep -v self | xargs -r grep -l 'id -u; ech[o]'"
            ),
        ),
        ("its process", format!("ls /proc/{shell}/root/")),
        ("signal", format!("kill -USR1 {shell}")),
    ];
    assert_eq!(open(&master, &commands), [""; 0]);
    // It reaches every process that it may reach: those of its own job.
    let killer = master.ended(&master.run("sleep 600 & kill -9 -1; wait"));
    assert_eq!(killer["status"], "success", "{killer}");
    let second = master.run("id -u; ls /proc | grep -c '^[0-9]'");
    assert_eq!(master.ended(&second)["status"], "success");
    let log = String::from_utf8(master.log(&second)).unwrap();
    let mut lines = log.lines();
    let other_uid = lines.next().unwrap().to_owned();
    let seen: u32 = lines.next().unwrap().parse().unwrap();
    assert!(seen <= 6, "it sees {seen} processes");

    // All of it was tried for nothing: the first goes on as if nothing was.
    release(&first);
    let job = master.ended(&first);
    assert_eq!(job["status"], "success", "{job}");
    let log = String::from_utf8(master.log(&first)).unwrap();
    let uid = log.lines().next().unwrap();
    assert_ne!(uid, other_uid);
    assert_eq!(log, format!("{uid}\nbegin\nend\n"));
}

#[test]
fn nothing_of_a_job_stays_on_the_disk() {
    if !root_or_skip("jobs of their own users") {
        return;
    }
    let own = tempfile::tempdir().unwrap();
    // A range that nobody else's test uses, so that leftovers can be told.
    let base = 1_950_000_000 + std::process::id() % 1_000_000 * 10;
    let master = Master::start_in(
        &own.path().join("data"),
        &["--uid-base", &base.to_string(), "--jobs-at-once", "1"],
    );
    let name = format!("left-{base}");
    let script = format!(
        "id -u; mkdir -p a/b/c; chmod 000 a/b; touch .hidden \"$HOME/h\" /tmp/{name} /var/tmp/{name} /dev/shm/{name}; \
         ln -s /etc/passwd link; mkfifo fifo; chmod 500 ."
    );
    let job = master.run(&script);
    let ended = master.ended(&job);
    assert_eq!(ended["status"], "success", "{ended}");
    assert_eq!(master.log(&job), format!("{base}\n").into_bytes());
    assert_eq!(fs::read_dir(master.dir.join("work")).unwrap().count(), 0);
    for dir in ["/tmp", "/var/tmp", "/dev/shm"] {
        let owned = fs::read_dir(dir).unwrap().filter_map(Result::ok);
        let owned = owned.filter(|it| it.metadata().is_ok_and(|it| it.uid() == base));
        assert_eq!(owned.count(), 0, "{dir}");
        assert!(!Path::new(dir).join(&name).exists(), "{dir}");
    }
    let next = master.run("id -u; ls -A . \"$HOME\" /tmp");
    master.ended(&next);
    let log = String::from_utf8(master.log(&next)).unwrap();
    assert!(!log.contains("left") && !log.contains("hidden"), "{log}");
}

#[test]
fn a_pipeline_lowers_limits_and_cannot_raise_them() {
    let master = Master::with(&["--step-open-files", "256"]);
    for (asked, given) in [
        (Some(64), "64\n"),
        (Some(100_000), "256\n"),
        (None, "256\n"),
    ] {
        let mut body = one_step("ulimit -n");
        if let Some(asked) = asked {
            body["spec"]["limits"] = json!({"open_files": asked});
        }
        let job = id(&master.submit(&body));
        assert_eq!(master.ended(&job)["status"], "success");
        assert_eq!(
            String::from_utf8_lossy(&master.log(&job)),
            given,
            "{asked:?}"
        );
    }
    let raise = master.run("ulimit -n 257");
    assert_eq!(master.ended(&raise)["status"], "failure");
}

/// A repository with one commit on `branch`; returns the commit.
pub(crate) fn repository(dir: &Path, branch: &str) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-c", "user.name=Test", "-c", "user.email=test@example.org"])
            .args(arguments)
            .current_dir(dir)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .output()
            .expect("run git");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    fs::create_dir_all(dir).unwrap();
    git(&["init", "--quiet", "--initial-branch", branch]);
    fs::write(dir.join("file.txt"), "from the repository\n").unwrap();
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message", "first"]);
    git(&["rev-parse", "HEAD"])
}

fn cloning(repository: &str) -> Value {
    json!({"spec": {"name": "clone", "repository": repository, "steps": [{"name": "show", "run": "cat file.txt"}]}})
}

/// A key that may submit, and nothing else.
fn member(master: &Master) -> String {
    let new = json!({"name": "a member", "role": "member"});
    let made = master.call("POST", "/api/v1/api-keys", Some(&new));
    assert_eq!(made.status, 201, "{}", made.text());
    format!("Bearer {}", made.json()["key"].as_str().unwrap())
}

/// Submits a clone of a directory of this machine with that key.
fn clone_as(master: &Master, bearer: &str, dir: &Path) -> (u16, Value) {
    let headers = [
        ("authorization", bearer),
        ("content-type", "application/json"),
    ];
    let body = cloning(&url(dir)).to_string();
    let answer = master.request("POST", "/api/v1/jobs", &headers, body.as_bytes());
    (answer.status, answer.json())
}

fn url(dir: &Path) -> String {
    format!("file://{}", dir.display())
}

#[test]
fn a_member_clones_from_this_machine_only_what_the_operator_lists() {
    let own = tempfile::tempdir().unwrap();
    let [listed, other] = ["listed", "other"].map(|it| own.path().join(it));
    repository(&listed.join("a"), "main");
    repository(&other.join("a"), "main");
    // A way out of the listed directory that the text doesn't show.
    std::os::unix::fs::symlink(&other, listed.join("link")).unwrap();

    let master = Master::start();
    let (status, problem) = clone_as(&master, &member(&master), &listed.join("a"));
    assert_eq!(status, 422, "{problem}");
    assert_eq!(
        problem["errors"][0]["pointer"], "/spec/repository",
        "{problem}"
    );
    assert_eq!(master.get("/api/v1/jobs").json()["jobs"], json!([]));
    let job = master.submit(&cloning(&url(&listed.join("a"))));
    let job = master.ended(&id(&job));
    assert_eq!(
        job["status"], "success",
        "the admin key may, on loopback: {job}"
    );

    let master = Master::with(&["--allow-path", &listed.display().to_string()]);
    let bearer = member(&master);
    let (status, job) = clone_as(&master, &bearer, &listed.join("a"));
    assert_eq!(status, 202, "{job}");
    let job = master.ended(&id(&job));
    assert_eq!(job["status"], "success", "{job}");
    let log = String::from_utf8(master.log(&id(&job))).unwrap();
    assert!(log.ends_with("from the repository\n"), "{log}");
    for dir in [
        other.join("a"),
        listed.join("link/a"),
        listed.join("../other/a"),
    ] {
        let (status, problem) = clone_as(&master, &bearer, &dir);
        assert_eq!(status, 422, "{}: {problem}", dir.display());
    }
}

#[test]
fn what_git_would_read_as_an_option_or_a_command_is_refused_and_not_run() {
    let own = tempfile::tempdir().unwrap();
    let canary = own.path().join("canary");
    let touch = format!("touch {}", canary.display());
    let tabbed = touch.replace(' ', "\t");
    let escaped = touch.replace(' ', "% ");
    let local = own.path().join("repository");
    repository(&local, "main");
    let local = url(&local);
    let master = Master::start();
    let repositories = [
        format!("--upload-pack={touch}"),
        format!("--upload-pack={tabbed}"),
        format!("-u{}", touch.replace(' ', "")),
        format!("ext::sh -c {escaped}"),
        format!("ext::{}", canary.display()),
        "fd::17".to_owned(),
        format!("ssh://-oProxyCommand={}/x", touch.replace(' ', "$IFS")),
        format!("-oProxyCommand={}:x", touch.replace(' ', "$IFS")),
        format!("{local} --upload-pack={touch}"),
        format!("{local}\n--upload-pack={touch}"),
        format!("{local}/../repository"),
    ];
    for text in &repositories {
        let answer = master.call("POST", "/api/v1/jobs", Some(&cloning(text)));
        assert_eq!(answer.status, 422, "{text}: {}", answer.text());
        assert_eq!(
            answer.json()["errors"][0]["pointer"],
            "/spec/repository",
            "{text}"
        );
    }
    let refs = [
        format!("--upload-pack={touch}"),
        "-f".to_owned(),
        format!("main;{touch}"),
        format!("$({touch})"),
        format!("`{touch}`"),
        format!("main|{touch}"),
        "main..other".to_owned(),
        "main\n".to_owned(),
        String::new(),
    ];
    for text in &refs {
        let mut body = cloning(&local);
        body["ref"] = json!(text);
        let answer = master.call("POST", "/api/v1/jobs", Some(&body));
        assert_eq!(answer.status, 422, "{text:?}: {}", answer.text());
        assert_eq!(answer.json()["errors"][0]["pointer"], "/ref", "{text:?}");
    }
    assert_eq!(master.get("/api/v1/jobs").json()["jobs"], json!([]));
    assert!(!canary.exists());
}

#[test]
fn what_looks_like_shell_reaches_the_steps_as_data() {
    let own = tempfile::tempdir().unwrap();
    let dir = own.path().join("repository");
    let branch = "feature/a+b@c#1_x.y-z";
    let commit = repository(&dir, branch);
    let value = "$(echo run) `echo run` ${HOME} \"double\" 'single' \\ ; echo run & | > /tmp/x * ~ \u{fc}\tend\nnext";
    let master = Master::start();
    let show =
        r#"printf '%s\n' "$DANUBE_PARAM_WHAT" "$WHAT" "$STEP" "$DANUBE_REF" "$DANUBE_COMMIT""#;
    let job = id(&master.submit(&json!({
        "spec": {
            "name": "data", "repository": url(&dir), "env": {"WHAT": value},
            "steps": [{"name": "show", "run": show, "env": {"STEP": value}}],
        },
        "ref": branch,
        "parameters": {"WHAT": value},
    })));
    let ended = master.ended(&job);
    assert_eq!(ended["status"], "success", "{ended}");
    let answer = master.get(&format!("/api/v1/jobs/{job}/logs?step=show"));
    assert_eq!(
        answer.text(),
        format!("{value}\n{value}\n{value}\n{branch}\n{commit}\n")
    );
}

#[test]
fn a_repository_cannot_run_anything_by_being_cloned() {
    let own = tempfile::tempdir().unwrap();
    let (dir, canary) = (own.path().join("repository"), own.path().join("canary"));
    repository(&dir, "main");
    let script = format!("#!/bin/sh\ntouch {}\n", canary.display());
    for hook in [
        "post-checkout",
        "pre-receive",
        "post-index-change",
        "reference-transaction",
    ] {
        let path = dir.join(".git/hooks").join(hook);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &script).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let config = format!(
        "[uploadpack]\n\tpackObjectsHook = touch {0}\n[core]\n\tfsmonitor = touch {0}\n\tsshCommand = touch {0}\n",
        canary.display()
    );
    let path = dir.join(".git/config");
    fs::write(&path, fs::read_to_string(&path).unwrap() + &config).unwrap();
    let master = Master::start();
    let job = master.ended(&id(&master.submit(&cloning(&url(&dir)))));
    assert_eq!(job["status"], "success", "{job}");
    assert!(!canary.exists(), "the clone ran what the repository named");
}
