//! What happens to a step when its master is gone.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use danube_executor::{Control, Isolation, Nursery, kill_leftovers};

use crate::support::{Collect, Job, eventually, isolations, processes_with, run_with};

const HELPER_ISOLATION: &str = "DANUBE_TEST_HELPER_ISOLATION";
const HELPER_ISOLATIONS: [(&str, Isolation); 3] = [
    ("process-group", Isolation::ProcessGroup),
    (
        "namespaces",
        Isolation::Namespaces {
            user_namespace: false,
            network: false,
        },
    ),
    (
        "user-namespaces",
        Isolation::Namespaces {
            user_namespace: true,
            network: false,
        },
    ),
];

/// Not a test of its own: the master that the next test kills.
#[test]
#[ignore = "started by another test"]
fn helper_master() {
    let Ok(wanted) = std::env::var(HELPER_ISOLATION) else {
        return;
    };
    let (_, isolation) = HELPER_ISOLATIONS
        .into_iter()
        .find(|(name, _)| *name == wanted)
        .unwrap();
    let job = Job::with(isolation);
    let _lifeline = job.lifeline();
    let plan = job.sh("exec 9>lifeline; trap '' TERM
         setsid sh -c '(sleep 1000 & sleep 1000 &) ; echo ready; sleep 1000' &
         while true; do sleep 1000; done");
    // The test reads this line and knows where to look.
    let output = Collect::on_first(|| println!("\nready {}", job.dir.path().display()));
    run_with(&plan, &Control::new().unwrap(), output).unwrap();
}

#[test]
fn a_killed_master_takes_its_steps_with_it() {
    for isolation in isolations() {
        let (name, _) = HELPER_ISOLATIONS
            .into_iter()
            .find(|(_, it)| *it == isolation)
            .unwrap();
        let mut master = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "leftovers::helper_master",
                "--nocapture",
            ])
            .env(HELPER_ISOLATION, name)
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut stdout = master.stdout.take().unwrap();
        let mut heard = Vec::new();
        let mut byte = [0];
        let directory = loop {
            assert_eq!(stdout.read(&mut byte).unwrap(), 1, "the helper died");
            heard.push(byte[0]);
            let text = String::from_utf8_lossy(&heard);
            if let Some(line) = text.lines().find_map(|it| it.strip_prefix("ready "))
                && text.ends_with('\n')
            {
                break std::path::PathBuf::from(line);
            }
        };
        let path = directory.join("job/work/lifeline");
        let mut lifeline = crate::support::Lifeline::open(&path);
        assert!(!lifeline.is_free());
        master.kill().unwrap();
        master.wait().unwrap();
        eventually("every process of the step is dead", || lifeline.is_free());
        std::fs::remove_dir_all(directory).unwrap();
    }
}

/// The process that an entry of `/proc` says is its parent.
pub(crate) fn parent(process: &std::path::Path) -> std::path::PathBuf {
    let status = std::fs::read_to_string(process.join("status")).expect("it lives");
    let parent = status.lines().find_map(|it| it.strip_prefix("PPid:\t"));
    std::path::Path::new("/proc").join(parent.expect("each has one"))
}

#[test]
fn steps_outlive_their_nursery_and_the_next_step_gets_another() {
    for isolation in isolations() {
        let job = Job::with(isolation);
        let mark = job.dir.path().display().to_string();
        let mut plan = job.sh("echo ready; read line <gate; echo $line");
        plan.env.push(("MARK".into(), mark.clone()));
        // Another name for the same program: a nursery that other tests do not use.
        plan.sandbox.nursery = Nursery::Child("/proc/thread-self/exe".into());
        job.fifo("gate");
        let output = Collect::on_first(|| {
            let step = processes_with("environ", &mark).remove(0);
            let mut nursery = parent(&parent(&step));
            if isolation != Isolation::ProcessGroup {
                nursery = parent(&nursery);
            }
            // Politely asked, it and the sandbox stay: the master decides.
            for (signal, process) in [
                ("-TERM", parent(&step).as_path()),
                ("-TERM", &nursery),
                ("-KILL", &nursery),
            ] {
                let pid = process.file_name().unwrap();
                assert!(
                    Command::new("kill")
                        .arg(signal)
                        .arg(pid)
                        .status()
                        .unwrap()
                        .success()
                );
            }
            eventually("the nursery is dead", || {
                let stat = std::fs::read_to_string(nursery.join("stat")).unwrap_or_default();
                stat.is_empty() || stat.contains(") Z")
            });
            std::fs::write(job.workspace.path().join("gate"), "still here\n").unwrap();
        });
        let ran = run_with(&plan, &Control::new().unwrap(), output).unwrap();
        assert_eq!(ran.stdout, "ready\nstill here\n");
        plan.command = job.sh("echo next").command;
        assert_eq!(job.run(plan).unwrap().stdout, "next\n");
    }
}

#[test]
fn leftovers_are_found_by_a_mark_in_their_environment() {
    let job = Job::new();
    let mark = format!("DANUBE_JOB_ID={}", job.dir.path().display());
    let (name, value) = mark.split_once('=').unwrap();
    let start = |value: &str| {
        Command::new("setsid")
            .args(["--wait", "sleep", "1000"])
            .env(name, value)
            .spawn()
            .unwrap()
    };
    let (mut meant, mut other) = (start(value), start(&format!("{value}-2")));
    eventually("both sleepers run", || {
        crate::support::processes_with("environ", value).len() >= 2
    });
    assert!(kill_leftovers(&mark).unwrap() >= 1);
    assert!(!meant.wait().unwrap().success());
    assert!(other.try_wait().unwrap().is_none());
    assert_eq!(kill_leftovers(&mark).unwrap(), 0);
    kill_leftovers(&format!("{mark}-2")).unwrap();
    other.wait().unwrap();
}
