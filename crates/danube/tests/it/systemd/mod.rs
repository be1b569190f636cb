//! The units of `deploy/systemd`, installed by the docs' own commands into a real systemd
//! that this test boots, where the machine allows it.

mod machine;

use std::fs;
use std::time::Duration;

use crate::master::{DANUBE, DEADLINE};
use crate::processes::until;
use crate::watchdog::Parked;
use machine::{Machine, root};

const DATA: &str = "/var/lib/danube";

/// The commands of a section of the docs.
fn commands(section: &str) -> Vec<String> {
    let docs = fs::read_to_string(root().join("docs/systemd.md")).unwrap();
    let (_, rest) = docs.split_once(&format!("## {section}\n")).expect(section);
    let (section, _) = rest.split_once("\n## ").unwrap_or((rest, ""));
    let lines = section.lines().filter_map(|it| it.strip_prefix("# "));
    lines.map(str::to_owned).collect()
}

/// Types what a section of the docs says.
#[track_caller]
fn follow_docs(machine: &Machine, section: &str) {
    // The binary lies beside `deploy/` for whoever unpacks a release.
    let dir = "/run/release";
    machine.sh(&format!(
        "mkdir -p {dir} && ln -sfn {}/deploy {dir}/deploy && ln -sf {DANUBE} {dir}/danube",
        root().display()
    ));
    for command in commands(section) {
        machine.sh(&format!("cd {dir} && {command}"));
    }
}

fn installed() -> Option<Machine> {
    let machine = Machine::boot()?;
    follow_docs(&machine, "Install");
    Some(machine)
}

#[test]
fn five_commands_install_a_server_whose_restrictions_are_not_its_jobs() {
    assert_eq!(commands("Install").len(), 5);
    let Some(machine) = installed() else { return };
    let units = "danube.service danube-master.service danube-worker.service danube-jobs.socket";
    let found = machine.run(&format!(
        "systemd-analyze verify {units} danube-jobs@1.service"
    ));
    let found = String::from_utf8_lossy(&found.stderr).into_owned();
    assert_eq!(found, "", "systemd-analyze verify");

    assert_eq!(machine.property("danube.service", "ActiveState"), "active");
    let status = machine.property("danube.service", "StatusText");
    assert!(status.starts_with("serving http://127.0.0.1:"), "{status}");
    assert_eq!(machine.status_of("danube.service", "NoNewPrivs"), "1");
    assert_eq!(machine.status_of("danube.service", "Seccomp"), "2");
    // CHOWN, DAC_OVERRIDE, FOWNER and no other.
    assert_eq!(
        machine.status_of("danube.service", "CapBnd"),
        "000000000000000b"
    );

    let log = machine.job(
        DATA,
        "grep -E '^(Seccomp|Uid|CapBnd):' /proc/self/status; cat /proc/self/cgroup; \
         ls /var/lib/danube; ls -A /tmp; echo processes: $(ls /proc | grep -c '^[0-9]'); \
         cat /var/lib/danube/admin.key || true; touch /usr/local/bin/mine || true",
    );
    // No filter of the server's, a user of its own, no right of root.
    assert!(log.contains("Seccomp:\t0\n"), "{log}");
    assert!(log.contains("Uid:\t19000000"), "{log}");
    assert!(log.contains("CapBnd:\t0000000000000000\n"), "{log}");
    // In the unit of the jobs, and in a cgroup of its own below it.
    assert!(
        log.contains("/danube.slice/danube-jobs.slice/danube-jobs@"),
        "{log}"
    );
    assert!(
        log.contains("\nwork\n") && !log.contains("danube.db"),
        "{log}"
    );
    assert!(log.contains("admin.key: No such file"), "{log}");
    assert!(
        log.contains("/usr/local/bin/mine': Permission denied"),
        "{log}"
    );
    let (_, processes) = log.split_once("processes: ").unwrap();
    let processes: u32 = processes.lines().next().unwrap().parse().unwrap();
    assert!(processes < 10, "it sees more than its own: {log}");
}

#[test]
fn a_job_beyond_its_memory_ends_and_nothing_else_does() {
    let Some(machine) = installed() else { return };
    machine.sh("echo DANUBE_STEPS_MEMORY_BYTES=64MiB >>/etc/danube/danube.env");
    machine.sh("systemctl restart danube.service");
    if !machine.sh("cat /proc/1/cgroup").contains("memory") && !has_memory_v2(&machine) {
        eprintln!("skipped: no memory controller");
        return;
    }
    let hog = "head -c 300000000 /dev/zero | tail -c 300000000 >/dev/null";
    let output = machine.danube(DATA, &["submit", "-f", "--", "sh", "-c", hog]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let jobs = machine.danube(DATA, &["jobs", "-o", "json"]);
    let jobs = String::from_utf8(jobs.stdout).unwrap();
    assert!(jobs.contains("memory"), "{jobs}");
    assert_eq!(machine.job(DATA, "echo fine"), "fine\n");
    assert_eq!(machine.property("danube.service", "NRestarts"), "0");
}

fn has_memory_v2(machine: &Machine) -> bool {
    let found = machine.run("cat /sys/fs/cgroup/cgroup.controllers");
    String::from_utf8_lossy(&found.stdout).contains("memory")
}

#[test]
fn playbooks_from_git_and_from_a_directory_run_under_the_restrictions() {
    let Some(machine) = installed() else { return };
    let book = "- hosts: all\n  connection: local\n  gather_facts: false\n  tasks:\n    \
                - command: id -u\n      register: id\n    - debug: var=id.stdout\n";
    machine.write("/run/repo/site.yml", book);
    machine.sh("cd /run/repo && git init -q -b main && git add . && \
         git -c user.name=x -c user.email=x@example.org commit -qm first");
    until("Ansible was found", DEADLINE, || {
        let log = fs::read_to_string(machine.path("/run/danube.log")).unwrap();
        log.contains("\"event\":\"ansible_checked\"").then_some(())
    });
    for source in [["--repo", "file:///run/repo"], ["--local", "/run/repo"]] {
        let words = [
            "playbook",
            "submit",
            "-F",
            "--exit-code",
            "-i",
            "localhost,",
        ];
        let words = [&words[..], &source, &["site.yml"]].concat();
        let output = machine.danube(DATA, &words);
        let log = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{log}{output:?}{}", machine.logs());
        assert!(log.contains("\"id.stdout\": \"19000000"), "{log}");
    }
}

#[test]
fn systemd_restarts_a_server_whose_scheduler_is_parked() {
    let Some(machine) = Machine::boot() else {
        return;
    };
    let soon = "[Service]\nWatchdogSec=2\n";
    machine.write("/etc/systemd/system/danube.service.d/watchdog.conf", soon);
    follow_docs(&machine, "Install");
    let before = machine.main_pid("danube.service");
    let parked = Parked::thread(before, "scheduler");
    until("systemd's watchdog ends it", DEADLINE, || {
        let state = machine.property("danube.service", "SubState");
        (state == "stop-watchdog").then_some(())
    });
    // Whoever traces a thread has to let it die.
    drop(parked);
    until("it is restarted", DEADLINE, || {
        let restarts = machine.property("danube.service", "NRestarts");
        let state = machine.property("danube.service", "ActiveState");
        (restarts != "0" && state == "active").then_some(())
    });
    assert_ne!(machine.main_pid("danube.service"), before);
    let log = fs::read_to_string(machine.path("/run/danube.log")).unwrap();
    assert!(log.contains("\"event\":\"loop_stalled\""), "{log}");
    assert_eq!(machine.job(DATA, "echo again"), "again\n");
}

#[test]
fn steps_end_with_their_server_and_with_nothing_else() {
    let Some(machine) = installed() else { return };
    let long = |mark: &str| {
        let script = format!("exec sleep {mark}");
        let submitted = machine.danube(DATA, &["submit", "--", "sh", "-c", &script]);
        assert!(submitted.status.success(), "{submitted:?}");
        until("the step runs", DEADLINE, || {
            machine.has_process(&["sleep", mark]).then_some(())
        });
    };
    long("70001");
    // What starts the steps dies; the next job gets another.
    machine.sh("systemctl kill -s KILL --kill-who=main 'danube-jobs@*'");
    until("its unit has failed, with the step in it", DEADLINE, || {
        let units = machine.sh("systemctl list-units --no-legend --state=failed 'danube-jobs@*'");
        (!units.trim().is_empty()).then_some(())
    });
    assert_eq!(machine.job(DATA, "echo next"), "next\n");
    assert!(machine.has_process(&["sleep", "70001"]), "it was ended");
    // A reload changes nothing.
    machine.sh("systemctl reload danube.service");
    assert_eq!(machine.property("danube.service", "ActiveState"), "active");
    assert!(machine.has_process(&["sleep", "70001"]), "it was ended");
    // The server dies: what it ran ends at once, and is run again.
    let before = machine.main_pid("danube.service");
    machine.sh("systemctl kill -s KILL --kill-who=main danube.service");
    until("the step ends", Duration::from_secs(10), || {
        (!machine.has_process(&["sleep", "70001"])).then_some(())
    });
    until("the server is back", DEADLINE, || {
        let is_active = machine.property("danube.service", "ActiveState") == "active";
        (is_active && machine.main_pid("danube.service") != before).then_some(())
    });
    until("the step runs again", DEADLINE, || {
        machine.has_process(&["sleep", "70001"]).then_some(())
    });
    // A stop drains, hands the job back and leaves no process.
    machine.sh("systemctl stop danube.service");
    assert_eq!(machine.property("danube.service", "Result"), "success");
    assert!(!machine.has_process(&["sleep", "70001"]), "a step is left");
    until("the jobs' unit is gone", DEADLINE, || {
        let units = machine.sh("systemctl list-units --no-legend 'danube-jobs@*'");
        units.trim().is_empty().then_some(())
    });
}

#[test]
fn a_server_without_jobs_has_no_right_of_root_and_a_worker_runs_them() {
    let Some(machine) = Machine::boot() else {
        return;
    };
    follow_docs(&machine, "A server without jobs of its own");
    let unit = "danube-master.service";
    assert_eq!(machine.property(unit, "ActiveState"), "active");
    assert_eq!(machine.status_of(unit, "CapBnd"), "0000000000000000");
    assert_eq!(machine.status_of(unit, "Seccomp"), "2");
    assert!(
        !machine.status_of(unit, "Uid").starts_with('0'),
        "it is root"
    );

    let address = fs::read_to_string(machine.path(&format!("{DATA}/master.addr"))).unwrap();
    let made = machine.danube(DATA, &["worker", "create", "here"]);
    assert!(made.status.success(), "{made:?}");
    machine.write(
        "/run/release/token",
        &String::from_utf8(made.stdout).unwrap(),
    );
    machine.write(
        "/run/release/danube-worker.env",
        &format!("DANUBE_URL=http://{}\n", address.trim()),
    );
    follow_docs(&machine, "A worker");
    let unit = "danube-worker.service";
    assert_eq!(machine.property(unit, "ActiveState"), "active");
    assert_eq!(machine.status_of(unit, "Seccomp"), "2");
    let log = machine.job(
        DATA,
        "grep Seccomp: /proc/self/status; ls /run/credentials/danube-worker.service; true",
    );
    assert!(log.contains("Seccomp:\t0\n"), "{log}");
    assert!(!log.contains("token\n"), "{log}");
    let status = machine.property(unit, "StatusText");
    assert!(
        status.starts_with("works for http://127.0.0.1:"),
        "{status}"
    );
    machine.sh("systemctl stop danube-worker.service danube-master.service");
    assert_eq!(machine.property(unit, "Result"), "success");
}
