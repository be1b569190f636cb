//! Steps that want too much.

use std::time::Duration;

use danube_executor::{CgroupParent, Controller, End, Limits};

use crate::support::{Job, capabilities, is_root, isolations, plain_namespaces};

/// Steps in a cgroup below `name`, or `None` where there is no such controller.
fn cgroup(name: &str, wanted: Controller) -> Option<CgroupParent> {
    let name = format!("danube-test-{name}-{}", std::process::id());
    let parent = CgroupParent::open(&name).expect("list cgroups");
    let parent = parent.filter(|it| it.controllers().iter().any(|(it, _)| *it == wanted));
    if parent.is_none() {
        eprintln!("skipped: no cgroup controller for {wanted:?}");
    }
    parent
}

#[test]
fn a_memory_hog_is_killed_and_called_so() {
    let Some(parent) = cgroup("memory", Controller::Memory) else {
        return;
    };
    for isolation in isolations() {
        let job = Job::with(isolation);
        let mut plan = job.sh("head -c 300000000 /dev/zero | tail -c 300000000 >/dev/null");
        plan.sandbox.cgroup = Some(parent.clone());
        plan.sandbox.limits = Limits {
            memory_bytes: Some(32 << 20),
            ..Limits::default()
        };
        let ran = job.run(plan.clone()).unwrap();
        // The kernel chooses between the hog and the shell that waits for it.
        assert!(
            matches!(ran.outcome.end, End::Exit(137) | End::Signal(9)),
            "{ran:?}"
        );
        assert!(ran.outcome.oom_killed);
        plan.command = job.sh("true").command;
        assert!(!job.run(plan).unwrap().outcome.oom_killed);
    }
    // Fails if a step's cgroup is left in it.
    parent.remove().unwrap();
}

#[test]
fn a_fork_bomb_is_bounded_and_ends() {
    let parent = cgroup("pids", Controller::Processes);
    for isolation in isolations() {
        for cgroup in [None, parent.clone()] {
            if cgroup.is_none() && !is_root() {
                // The user's own count would make the result depend on the machine.
                continue;
            }
            let job = Job::with(isolation);
            let mut lifeline = job.lifeline();
            let limits = Limits {
                processes: Some(40),
                ..Limits::default()
            };
            let mut plan = job
                .sh("exec 9>lifeline; i=0; while [ $i -lt 200 ]; do sleep 1000 & i=$((i+1)); done");
            plan.sandbox.cgroup = cgroup;
            plan.sandbox.limits = limits;
            plan.kill_output_after = Duration::ZERO;
            let ran = job.run(plan.clone()).unwrap();
            assert_eq!(ran.outcome.end, End::Exit(2), "{ran:?}");
            assert!((20..40).contains(&ran.outcome.processes_killed), "{ran:?}");

            plan.command = job
                .sh("exec 9>lifeline; bomb() { bomb | bomb & }; bomb; sleep 1000")
                .command;
            plan.timeout = Some(Duration::from_millis(300));
            plan.grace = Duration::ZERO;
            job.run(plan).unwrap();
            assert!(lifeline.is_free(), "{isolation:?}");
        }
    }
    if let Some(parent) = parent {
        parent.remove().unwrap();
    }
}

#[test]
fn processor_time_is_dealt_out() {
    let Some(parent) = cgroup("cpu", Controller::Cpu) else {
        return;
    };
    let job = Job::new();
    let mut plan = job.sh("while true; do :; done");
    plan.sandbox.cgroup = Some(parent.clone());
    plan.sandbox.limits = Limits {
        cpu_cores: Some(0.1),
        ..Limits::default()
    };
    plan.timeout = Some(Duration::from_secs(1));
    let outcome = job.run(plan).unwrap().outcome;
    assert!(outcome.cpu * 2 < outcome.wall, "{outcome:?}");
    parent.remove().unwrap();
}

#[test]
fn a_step_of_roots_cannot_lift_its_own_limits() {
    if !plain_namespaces() {
        eprintln!("skipped: needs root and namespaces");
        return;
    }
    let Some(parent) = cgroup("sealed", Controller::Processes) else {
        return;
    };
    let job = Job::new();
    let mut plan = job.sh(&format!(
        "for file in $(find /sys/fs/cgroup -name pids.max -path '*-sealed-{}/*/pids.max'); do
             cat $file; echo max 2>/dev/null >$file || echo sealed
         done",
        std::process::id()
    ));
    plan.sandbox.uid_gid = None;
    plan.cwd = "/".into();
    plan.sandbox.cgroup = Some(parent.clone());
    plan.sandbox.limits = Limits {
        processes: Some(77),
        ..Limits::default()
    };
    let ran = job.run(plan).unwrap();
    // Exactly one file: the limit of the step's own cgroup.
    assert_eq!(ran.stdout, "77\nsealed\n", "{}", ran.stderr);
    parent.remove().unwrap();
}

#[test]
fn open_files_are_bounded() {
    for isolation in isolations() {
        let job = Job::with(isolation);
        let mut plan = job.sh("ulimit -n; ulimit -Hn");
        plan.sandbox.limits = Limits {
            open_files: Some(64),
            ..Limits::default()
        };
        assert_eq!(job.run(plan).unwrap().stdout, "64\n64\n");
    }
}

#[test]
fn opening_the_parent_again_removes_what_a_crash_left() {
    let Some(parent) = cgroup("stale", Controller::Processes) else {
        return;
    };
    let name = format!("danube-test-stale-{}", std::process::id());
    let found = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = found
        .lines()
        .filter(|it| it.contains(" - cgroup"))
        .map(|it| it.split(' ').nth(4).unwrap());
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let mut made = Vec::new();
    for mount in mounts {
        for path in own.lines().map(|it| it.splitn(3, ':').nth(2).unwrap()) {
            let directory = format!("{mount}{path}/{name}");
            if std::fs::create_dir(format!("{directory}/0-1")).is_ok() {
                made.push(format!("{directory}/0-1"));
            }
        }
    }
    assert!(!made.is_empty());
    let mut left = std::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .unwrap();
    std::fs::write(format!("{}/cgroup.procs", made[0]), left.id().to_string()).unwrap();
    let again = CgroupParent::open(&name).unwrap().unwrap();
    // Killed, not ended by itself.
    assert_eq!(left.wait().unwrap().code(), None);
    assert_eq!(again.controllers(), parent.controllers());
    assert!(made.iter().all(|it| !std::path::Path::new(it).exists()));
    again.remove().unwrap();
}

#[test]
fn what_was_found_is_said_in_sentences() {
    let text = capabilities().to_string();
    assert!(
        text.starts_with("Steps run ") && text.ends_with('.'),
        "{text}"
    );
    assert_eq!(
        text.lines()
            .filter(|it| it.starts_with("Memory is "))
            .count(),
        1
    );
    eprintln!("{text}");
}
