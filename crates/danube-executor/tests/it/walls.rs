//! What a step cannot see, read or become.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use danube_executor::{Control, End, Isolation};

use crate::support::{
    Collect, Job, capabilities, is_root, isolations, plain_namespaces, processes_with, run_with,
};

fn write_secret(path: &std::path::Path) {
    fs::write(path, "secret").expect("write a test file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("protect it");
}

#[test]
fn the_environment_is_exactly_the_one_given() {
    for isolation in isolations() {
        let job = Job::with(isolation);
        let mut plan = job.plan(danube_executor::Command::Argv(vec!["/usr/bin/env".into()]));
        plan.env = vec![
            ("B".into(), "two words\nand lines".into()),
            ("A".into(), String::new()),
        ];
        assert_eq!(
            job.run(plan).unwrap().stdout,
            "B=two words\nand lines\nA=\n"
        );
    }
}

#[test]
fn a_step_starts_from_a_clean_slate() {
    for isolation in isolations() {
        let job = Job::with(isolation);
        let ran = job.run(job.sh("umask; cat /proc/self/oom_score_adj; ls /proc/$$/fd | tr '\\n' ' '; grep -E '^(SigBlk|SigIgn|CapEff|CapBnd|NoNewPrivs)' /proc/self/status; ulimit -c")).unwrap();
        assert!(
            ran.stdout.starts_with("0022\n500\n0 1 2 "),
            "{}",
            ran.stdout
        );
        assert_eq!(
            ran.stdout.lines().nth(1),
            Some("500"),
            "would die last when memory runs out"
        );
        for line in [
            "SigBlk:\t0000000000000000",
            "SigIgn:\t0000000000000000",
            "CapEff:\t0000000000000000",
            "NoNewPrivs:\t1",
        ] {
            assert!(ran.stdout.contains(line), "{line} in {}", ran.stdout);
        }
        assert!(!is_root() || ran.stdout.contains("CapBnd:\t0000000000000000"));
        assert!(ran.stdout.ends_with("\n0\n"));
    }
}

#[test]
fn secrets_are_in_no_argument_and_in_no_environment_but_the_steps() {
    for isolation in isolations() {
        let job = Job::with(isolation);
        let secret = format!(
            "hunter2-{}",
            job.dir.path().file_name().unwrap().to_str().unwrap()
        );
        let mut plan = job.sh("echo ready; sleep 1000");
        plan.env.push(("TOKEN".into(), secret.clone()));
        assert!(!format!("{plan:?}").contains(&secret));
        let control = Control::new().unwrap();
        let output = Collect::on_first(|| {
            assert_eq!(processes_with("cmdline", &secret).len(), 0);
            for process in processes_with("environ", &secret) {
                let command = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
                assert!(!command.contains("--danube-become-nursery"), "{command}");
            }
            assert!(!processes_with("environ", &secret).is_empty());
            control.cancel(danube_executor::Stop::Lost);
        });
        run_with(&plan, &control, output).unwrap();
    }
}

#[test]
fn a_step_runs_as_its_own_user_and_reads_no_file_of_root() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    for isolation in isolations() {
        let job = Job::with(isolation);
        write_secret(&job.dir.path().join("key"));
        let ran = job
            .run(job.sh("id -u; id -G; cat ../../key || echo refused; touch mine"))
            .unwrap();
        let uid = job.uid.as_ref().unwrap().uid();
        assert_eq!(ran.stdout, format!("{uid}\n{uid}\nrefused\n"));
    }
}

#[test]
fn a_setuid_program_gives_no_rights() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    for isolation in isolations() {
        let job = Job::with(isolation);
        let program = job.workspace.path().join("id");
        fs::copy("/usr/bin/id", &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
        let ran = job.run(job.sh("./id -u")).unwrap();
        assert_eq!(
            ran.stdout.trim(),
            job.uid.as_ref().unwrap().uid().to_string()
        );
    }
}

fn namespaced() -> Vec<Isolation> {
    let mut all = isolations();
    all.retain(|it| *it != Isolation::ProcessGroup);
    all
}

#[test]
fn hidden_directories_and_files_are_gone_and_the_workspace_is_not() {
    for isolation in namespaced() {
        let job = Job::with(isolation);
        let data = job.dir.path();
        fs::create_dir(data.join("logs")).unwrap();
        fs::write(data.join("logs/other"), "secret").unwrap();
        fs::write(data.join("master.key"), "secret").unwrap();
        let config = tempfile::NamedTempFile::new().unwrap();
        fs::write(config.path(), "secret").unwrap();
        fs::set_permissions(config.path(), fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(job.workspace.path().join("key"), "secret").unwrap();
        let mut plan = job.sh(&format!(
            "cd {data}; ls -A; ls -A job; cat {config}; cd job/work; echo new >file; cat file key
             touch {data}/x 2>/dev/null || echo sealed; umount {data} 2>/dev/null || echo fixed",
            data = data.display(),
            config = config.path().display(),
        ));
        plan.sandbox.hide = vec![
            job.workspace.path().join("key"),
            data.into(),
            data.join("logs"),
            config.path().into(),
            "/no/such/file".into(),
        ];
        plan.sandbox.expose = vec![job.workspace.path().into()];
        let ran = job.run(plan).unwrap();
        assert_eq!(
            ran.stdout, "job\nwork\nnew\nsealed\nfixed\n",
            "{isolation:?} {}",
            ran.stderr
        );
        assert_eq!(
            fs::read_to_string(data.join("logs/other")).unwrap(),
            "secret"
        );
        assert_eq!(
            fs::read_to_string(job.workspace.path().join("file")).unwrap(),
            "new\n"
        );
    }
}

#[test]
fn a_step_has_a_tmp_of_its_own_even_if_everything_lies_in_tmp() {
    for isolation in namespaced() {
        let job = Job::with(isolation);
        let mut plan = job.sh(
            "ls -A /tmp /var/tmp /dev/shm; pwd; echo x >/tmp/mine; echo y >/dev/shm/mine; cat /var/tmp/mine",
        );
        plan.sandbox.hide = vec![job.dir.path().into()];
        plan.sandbox.expose = vec![job.workspace.path().into()];
        plan.sandbox.private_tmp = Some(job.workspace.tmp().into());
        let ran = job.run(plan.clone()).unwrap();
        // Only the way to the workspace is there, if it leads through.
        let below = job
            .dir
            .path()
            .strip_prefix("/tmp")
            .ok()
            .and_then(|it| it.iter().next());
        let below = below
            .map(|it| format!("{}\n", it.display()))
            .unwrap_or_default();
        let work = job.workspace.path().display();
        assert_eq!(
            ran.stdout,
            format!("/dev/shm:\n\n/tmp:\n{below}\n/var/tmp:\n{below}{work}\nx\n"),
            "{}",
            ran.stderr
        );
        assert_eq!(
            fs::read_to_string(job.workspace.tmp().join("mine")).unwrap(),
            "x\n"
        );
        assert!(!fs::exists("/tmp/mine").unwrap() && !fs::exists("/dev/shm/mine").unwrap());
        // The next step of the job finds the same, and runs.
        plan.command = job.sh("cat /tmp/mine").command;
        assert_eq!(job.run(plan).unwrap().stdout, "x\n");
    }
}

#[test]
fn a_file_that_the_own_tmp_covers_is_shown_where_it_was_and_nothing_beside_it() {
    for isolation in namespaced() {
        let job = Job::with(isolation);
        let beside = tempfile::tempdir_in("/tmp").unwrap();
        let (shown, other) = (beside.path().join("shown"), beside.path().join("other"));
        fs::write(&shown, "shown\n").unwrap();
        fs::write(&other, "other\n").unwrap();
        // A step of another user reads it, too.
        for (path, mode) in [(beside.path(), 0o755), (&*shown, 0o644)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let dir = beside.path().display();
        let mut plan = job.sh(&format!("ls -A {dir}; cat {dir}/shown"));
        plan.sandbox.expose = vec![job.workspace.path().into(), shown.clone()];
        plan.sandbox.private_tmp = Some(job.workspace.tmp().into());
        // A second step of the job finds the place already made.
        for _ in 0..2 {
            let ran = job.run(plan.clone()).unwrap();
            assert_eq!(ran.stdout, "shown\nshown\n", "{}", ran.stderr);
        }
        assert_eq!(fs::read_to_string(&other).unwrap(), "other\n");
    }
}

#[test]
fn a_link_in_the_jobs_tmp_cannot_steer_the_next_steps_mounts() {
    if !plain_namespaces() {
        eprintln!("skipped: needs root and namespaces");
        return;
    }
    let job = Job::new();
    let Ok(below) = job.dir.path().strip_prefix("/tmp") else {
        eprintln!("skipped: the temporary directory is not in /tmp");
        return;
    };
    std::os::unix::fs::symlink("/etc", job.workspace.tmp().join(below)).unwrap();
    let mut plan = job.sh("true");
    plan.sandbox.expose = vec![job.workspace.path().into()];
    plan.sandbox.private_tmp = Some(job.workspace.tmp().into());
    let error = job.run(plan).unwrap_err();
    assert!(error.to_string().starts_with("make mount point"), "{error}");
    assert!(!fs::exists("/etc/job").unwrap());
}

#[test]
fn two_running_steps_cannot_see_or_read_each_other() {
    for isolation in isolations() {
        let (first, second) = (Job::with(isolation), Job::with(isolation));
        if let (Some(first), Some(second)) = (&first.uid, &second.uid) {
            assert_ne!(first.uid(), second.uid());
        } else if isolation == Isolation::ProcessGroup {
            eprintln!("skipped: {isolation:?}: without root both have one uid");
            continue;
        }
        let mut plan = first.sh("echo ready; sleep 1000");
        plan.env.push(("CANARY".into(), "canary-1".into()));
        let control = Control::new().unwrap();
        let output = Collect::on_first(|| {
            let probe = second
                .sh("cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c '^CANARY=' || true
                     ls /proc | grep -c '^[0-9]' ; cat ../../../*/job/work/* 2>&1 | grep -c secret || true
                     cat /proc/1/environ /proc/1/mem /proc/1/maps 2>/dev/null | head -c 1 | wc -c");
            let ran = second.run(probe).unwrap();
            let seen: Vec<u32> = ran
                .stdout
                .lines()
                .map(|it| it.trim().parse().unwrap())
                .collect();
            assert_eq!(seen[0], 0, "{isolation:?}");
            if isolation != Isolation::ProcessGroup {
                assert!(seen[1] < 6, "sees {} processes", seen[1]);
            }
            assert_eq!(seen[2..], [0, 0]);
            control.cancel(danube_executor::Stop::Lost);
        });
        fs::write(first.workspace.path().join("file"), "secret").unwrap();
        run_with(&plan, &control, output).unwrap();
    }
}

#[test]
fn a_step_without_network_has_only_itself_to_talk_to() {
    if !capabilities().network_namespace {
        eprintln!("skipped: needs network namespaces");
        return;
    }
    let job = Job::with(capabilities().isolation(true));
    let ran = job.run(job.sh("cat /proc/net/dev | grep -c :; cat /sys/class/net/lo/flags 2>/dev/null || true; cat /proc/net/fib_trie | grep -c 127.0.0.1")).unwrap();
    assert_eq!(ran.outcome.end, End::Exit(0), "{ran:?}");
    assert!(ran.stdout.starts_with("1\n"), "{}", ran.stdout);
}

#[test]
fn a_step_cannot_stop_its_keeper() {
    for isolation in namespaced() {
        let job = Job::with(isolation);
        let ran = job.run(job.sh("for s in KILL TERM STOP INT HUP; do kill -$s 1 2>/dev/null || true; done; echo alive")).unwrap();
        assert_eq!((ran.outcome.end, &*ran.stdout), (End::Exit(0), "alive\n"));
    }
}

#[test]
fn a_panic_of_the_caller_leaves_no_process() {
    for isolation in isolations() {
        let job = Job::with(isolation);
        let mut lifeline = job.lifeline();
        let plan = job.sh("exec 9>lifeline; setsid sleep 1000 & echo ready; sleep 1000");
        let result = std::panic::catch_unwind(|| {
            let output = Collect::on_first(|| std::panic::resume_unwind(Box::new("on purpose")));
            run_with(&plan, &Control::new().unwrap(), output)
        });
        assert!(result.is_err());
        assert!(lifeline.is_free(), "{isolation:?}");
    }
}

#[test]
fn a_keeper_that_hangs_is_killed_with_all_it_keeps() {
    if !plain_namespaces() {
        eprintln!("skipped: needs root and namespaces");
        return;
    }
    let job = Job::new();
    let mut lifeline = job.lifeline();
    let mark = job.dir.path().display().to_string();
    let mut plan = job.sh("exec 9>lifeline; echo ready; while true; do sleep 1000; done");
    plan.env.push(("MARK".into(), mark.clone()));
    let control = Control::new().unwrap();
    let output = Collect::on_first(|| {
        let parents = processes_with("environ", &mark)
            .into_iter()
            .filter_map(|process| {
                let status = fs::read_to_string(process.join("status")).ok()?;
                status
                    .lines()
                    .find_map(|line| line.strip_prefix("PPid:\t").map(str::to_owned))
            });
        let keeper = parents
            .into_iter()
            .find(|pid| {
                let command = fs::read_to_string(format!("/proc/{pid}/cmdline"));
                command.is_ok_and(|it| it.contains("--danube-become-nursery"))
            })
            .unwrap();
        let stopped = std::process::Command::new("kill")
            .args(["-STOP", &keeper])
            .status();
        assert!(stopped.unwrap().success());
        control.cancel(danube_executor::Stop::Lost);
    });
    let ran = run_with(&plan, &control, output).unwrap();
    assert_eq!(ran.outcome.end, End::Stopped(danube_executor::Stop::Lost));
    assert!(lifeline.is_free());
}
