//! How steps end, and what is heard of them until then.

use std::io;
use std::time::{Duration, Instant};

use danube_executor::{
    Command, Control, End, ExecutorError, Nursery, Output, Shell, Stop, Stream, run_step,
};

use crate::support::{Collect, Job, eventually, isolations, processes_with, run_with};

#[test]
fn a_step_ends_as_its_command_does() {
    for isolation in isolations() {
        let job = Job::with(isolation);
        for (script, end) in [
            ("exit 0", End::Exit(0)),
            ("exit 42", End::Exit(42)),
            ("false; exit 0", End::Exit(1)),
            ("echo $unset", End::Exit(2)),
            ("kill -KILL $$", End::Signal(9)),
            ("kill -TERM $$", End::Signal(15)),
            ("no-such-program", End::Exit(127)),
        ] {
            let ran = job.run(job.sh(script)).unwrap();
            assert_eq!(ran.outcome.end, end, "{script} {isolation:?}");
            assert_eq!(ran.outcome.processes_killed, 0);
        }
    }
}

#[test]
fn both_streams_are_captured_whole() {
    for isolation in isolations() {
        let job = Job::with(isolation);
        let ran = job
            .run(job.sh("echo out; echo err >&2; printf tail; cat; test -t 0 || echo ."))
            .unwrap();
        assert_eq!((&*ran.stdout, &*ran.stderr), ("out\ntail.\n", "err\n"));
        assert_eq!(ran.outcome.end, End::Exit(0));
    }
}

#[test]
fn bash_fails_in_the_middle_of_a_pipe_and_sh_does_not() {
    let job = Job::new();
    let script = |text: &str, shell| {
        job.plan(Command::Script {
            text: text.into(),
            shell,
        })
    };
    let bash = job
        .run(script(
            "echo ${BASH_VERSION%%.*}; false | true",
            Shell::Bash,
        ))
        .unwrap();
    assert_eq!(bash.outcome.end, End::Exit(1));
    assert!(bash.stdout.trim().parse::<u32>().is_ok());
    assert_eq!(
        job.run(script("false | true", Shell::Sh))
            .unwrap()
            .outcome
            .end,
        End::Exit(0)
    );
}

#[test]
fn what_keeps_a_step_from_starting_is_an_error_with_the_reason() {
    for isolation in isolations() {
        let job = Job::with(isolation);
        let mut no_bash = job.plan(Command::Script {
            text: "true".into(),
            shell: Shell::Bash,
        });
        no_bash.env = vec![("PATH".into(), "/nowhere".into())];
        let mut no_cwd = job.sh("true");
        no_cwd.cwd = "/no/such/dir".into();
        let too_long = job.sh(&"x".repeat(200_000));
        for (plan, message) in [
            (no_bash, "start shell bash: No such file or directory"),
            (
                no_cwd,
                "enter working directory /no/such/dir: No such file or directory",
            ),
            (too_long, "start /bin/sh: Argument list too long"),
        ] {
            let error = job.run(plan).unwrap_err();
            assert!(matches!(error, ExecutorError::Setup { .. }));
            assert!(error.to_string().starts_with(message), "{error}");
        }
    }
    let job = Job::new();
    let mut plan = job.sh("true");
    plan.sandbox.nursery = Nursery::Child("/no/such/program".into());
    assert!(matches!(job.run(plan), Err(ExecutorError::Start(_))));
    // A program that does not become a sandbox.
    let mut plan = job.sh("true");
    plan.sandbox.nursery = Nursery::Child("/bin/true".into());
    assert!(matches!(
        job.run(plan),
        Err(ExecutorError::Start(_) | ExecutorError::Died(_))
    ));
}

#[test]
fn a_missing_program_ends_as_a_shell_would_say() {
    let job = Job::new();
    let argv = |args: &[&str]| job.plan(Command::Argv(args.iter().map(Into::into).collect()));
    let ran = job.run(argv(&["no-such-program"])).unwrap();
    assert_eq!(ran.outcome.end, End::Exit(127));
    assert_eq!(ran.stderr, "danube: no-such-program: command not found\n");
    assert_eq!(
        job.run(argv(&["/etc/passwd"])).unwrap().outcome.end,
        End::Exit(126)
    );
    let ran = job.run(argv(&["printf", "%s|", "a b", "$HOME"])).unwrap();
    assert_eq!(ran.stdout, "a b|$HOME|");
}

#[test]
fn a_stop_kills_even_those_that_hide_and_do_not_listen() {
    for isolation in isolations() {
        for stop in [Stop::Cancel, Stop::Drain, Stop::Lost] {
            let job = Job::with(isolation);
            let mut lifeline = job.lifeline();
            let mut plan = job.sh("exec 9>lifeline; trap '' TERM
                 setsid sh -c '(sleep 1000 & sleep 1000 &) ; echo ready; sleep 1000' &
                 while true; do sleep 1000; done");
            plan.grace = Duration::from_millis(10);
            let control = Control::new().unwrap();
            let output = Collect::on_first(|| control.cancel(stop));
            let ran = run_with(&plan, &control, output).unwrap();
            assert_eq!(ran.outcome.end, End::Stopped(stop));
            assert!(ran.outcome.processes_killed >= 3, "{ran:?}");
            assert!(lifeline.is_free(), "{isolation:?}");
        }
    }
}

#[test]
fn a_stopped_step_may_clean_up_within_its_grace() {
    for isolation in isolations() {
        let job = Job::with(isolation);
        let mut plan = job.sh("trap 'echo bye; exit 3' TERM; echo ready; sleep 1000 & wait");
        plan.grace = Duration::from_secs(1000);
        let control = Control::new().unwrap();
        let output = Collect::on_first(|| control.cancel(Stop::Cancel));
        let ran = run_with(&plan, &control, output).unwrap();
        assert_eq!(ran.stdout, "ready\nbye\n");
        assert_eq!(ran.outcome.end, End::Stopped(Stop::Cancel));
    }
}

#[test]
fn losing_the_lease_does_not_wait_for_the_grace() {
    let job = Job::new();
    let mut plan = job.sh("trap '' TERM; echo ready; while true; do sleep 1000; done");
    plan.grace = Duration::MAX;
    let control = Control::new().unwrap();
    let output = Collect::on_first(|| {
        control.cancel(Stop::Cancel);
        control.cancel(Stop::Lost);
    });
    let ran = run_with(&plan, &control, output).unwrap();
    assert_eq!(ran.outcome.end, End::Stopped(Stop::Lost));
}

#[test]
fn a_step_that_runs_too_long_is_stopped() {
    for isolation in isolations() {
        let job = Job::with(isolation);
        let mut plan = job.sh("sleep 1000");
        plan.timeout = Some(Duration::from_millis(50));
        let ran = job.run(plan).unwrap();
        assert_eq!(ran.outcome.end, End::Stopped(Stop::Timeout));
        assert!(ran.outcome.wall >= Duration::from_millis(50));
    }
}

#[test]
fn a_stop_before_the_start_starts_nothing_and_one_after_the_end_is_harmless() {
    let job = Job::new();
    let control = Control::new().unwrap();
    let mut plan = job.sh("touch ran");
    assert_eq!(
        run_with(&plan, &control, Collect::default())
            .unwrap()
            .outcome
            .end,
        End::Exit(0)
    );
    control.cancel(Stop::Cancel);
    plan = job.sh("touch ran-too");
    let ran = run_with(&plan, &control, Collect::default()).unwrap();
    assert_eq!(ran.outcome.end, End::Stopped(Stop::Cancel));
    assert!(job.workspace.path().join("ran").exists());
    assert!(!job.workspace.path().join("ran-too").exists());
}

#[test]
fn a_child_that_keeps_stdout_does_not_keep_the_step() {
    for isolation in isolations() {
        let job = Job::with(isolation);
        let mut lifeline = job.lifeline();
        let mut plan = job.sh("exec 9>lifeline; setsid sleep 1000 & echo done; exit 5");
        plan.kill_output_after = Duration::from_millis(20);
        let ran = job.run(plan).unwrap();
        assert_eq!((ran.outcome.end, &*ran.stdout), (End::Exit(5), "done\n"));
        assert_eq!(ran.outcome.processes_killed, 1);
        assert!(lifeline.is_free(), "{isolation:?}");
    }
}

#[test]
fn a_child_that_still_writes_is_heard_to_its_end() {
    for isolation in isolations() {
        let job = Job::with(isolation);
        let mut lifeline = job.lifeline();
        // The second child holds no output, so it does not hold up the end.
        let mut plan = job.sh("exec 9>lifeline; mkfifo gate
             (read go <gate; echo late) & sleep 1000 >/dev/null 2>&1 & echo go >gate");
        plan.kill_output_after = Duration::from_secs(1000);
        let ran = job.run(plan).unwrap();
        assert_eq!((ran.outcome.end, &*ran.stdout), (End::Exit(0), "late\n"));
        assert!(lifeline.is_free(), "{isolation:?}");
    }
}

/// Takes bytes only after the step has come to a halt.
struct Slow {
    marker: String,
    flag: std::path::PathBuf,
    received: usize,
    largest: usize,
}

const FLOOD_BYTES: usize = 200_000_000;

impl Output for Slow {
    fn write(&mut self, _: Stream, bytes: &[u8]) -> io::Result<()> {
        if self.received == 0 {
            eventually("the writer sleeps on a full pipe", || {
                let found = processes_with("environ", &self.marker);
                found.iter().any(|it| {
                    let stat = std::fs::read_to_string(it.join("stat")).unwrap_or_default();
                    stat.contains("(head) S")
                })
            });
        }
        self.received += bytes.len();
        self.largest = self.largest.max(bytes.len());
        // What lies between it and us is a pipe, not our memory.
        assert!(self.received + 1_000_000 > FLOOD_BYTES || !self.flag.exists());
        Ok(())
    }
}

#[test]
fn a_slow_reader_holds_the_step_back() {
    let job = Job::new();
    let marker = format!("FLOOD={}", job.dir.path().display());
    let mut plan = job.sh(&format!("head -c {FLOOD_BYTES} /dev/zero; touch flag"));
    let (name, value) = marker.split_once('=').unwrap();
    plan.env.push((name.into(), value.into()));
    let flag = job.workspace.path().join("flag");
    let mut slow = Slow {
        marker,
        flag: flag.clone(),
        received: 0,
        largest: 0,
    };
    let outcome = run_step(&plan, &Control::new().unwrap(), &mut slow).unwrap();
    assert_eq!(outcome.end, End::Exit(0));
    assert_eq!(slow.received, FLOOD_BYTES);
    assert!(slow.largest <= 64 * 1024 && flag.exists());
}

/// Ticks a few times and then refuses.
struct Ticking {
    ticks: u32,
    refuse: bool,
    at: Instant,
}

impl Output for Ticking {
    fn write(&mut self, _: Stream, _: &[u8]) -> io::Result<()> {
        if self.refuse {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        } else {
            Ok(())
        }
    }

    fn deadline(&self) -> Option<Instant> {
        (self.ticks < 3).then_some(self.at)
    }

    fn tick(&mut self) -> io::Result<()> {
        self.ticks += 1;
        self.at = Instant::now() + Duration::from_millis(1);
        Ok(())
    }
}

#[test]
fn output_is_called_at_its_deadlines_and_its_error_kills_the_step() {
    for isolation in isolations() {
        let job = Job::with(isolation);
        let mut lifeline = job.lifeline();
        let control = Control::new().unwrap();
        let mut output = Ticking {
            ticks: 0,
            refuse: false,
            at: Instant::now(),
        };
        let mut plan = job.sh("sleep 1000");
        plan.timeout = Some(Duration::from_millis(200));
        run_step(&plan, &control, &mut output).unwrap();
        assert_eq!(output.ticks, 3);

        output.refuse = true;
        let plan = job.sh("exec 9>lifeline; setsid sleep 1000 & echo hello; sleep 1000");
        let error = run_step(&plan, &control, &mut output).unwrap_err();
        assert!(matches!(error, ExecutorError::Output(_)), "{error}");
        assert!(lifeline.is_free(), "{isolation:?}");
    }
}

#[test]
fn what_a_step_used_is_counted_with_all_its_processes() {
    for isolation in isolations() {
        let job = Job::with(isolation);
        // The orphan's parent ends first, and so does the main process's child.
        let ran = job
            .run(job.sh("(head -c 50000000 /dev/zero | tail -c 50000000 >/dev/null &) ; wait"))
            .unwrap();
        let idle = job.run(job.sh("true")).unwrap();
        assert!(ran.outcome.cpu > Duration::ZERO, "{ran:?}");
        assert!(ran.outcome.max_rss_bytes > 50_000_000, "{ran:?}");
        assert!(idle.outcome.max_rss_bytes < 50_000_000, "{idle:?}");
        assert!(idle.outcome.wall > Duration::ZERO);
    }
}
