//! A pipeline's own program as coordinator: steps, secrets, artifacts, from a real repository.

mod abuse;
mod elsewhere;
mod hangs;
mod offline;
mod uploads;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::leaks::{files_hold_none, holds_none};
use crate::master::{Master, id};
use crate::playbooks::git;
use crate::processes::arrival;
use crate::secrets;
use crate::traces;

const SECRET: &str = "canary/secret+of&pipeline-3c9a01";

/// A blueprint with the pipeline `build`, and the repository of its program.
pub(crate) struct Scripted {
    own: TempDir,
}

impl Scripted {
    /// The program with this name in the repository.
    pub(crate) fn new(name: &str, program: &str) -> Self {
        Self::with(name, program, "")
    }

    /// The same with more of the pipeline's `spec`.
    pub(crate) fn with(name: &str, program: &str, more: &str) -> Self {
        let own = tempfile::tempdir().unwrap();
        let (repo, blue) = (own.path().join("repo"), own.path().join("blue/pipelines"));
        fs::create_dir_all(&repo).unwrap();
        fs::create_dir_all(&blue).unwrap();
        let script = repo.join(name);
        fs::write(&script, program).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        git(&repo, &["init", "--quiet", "."]);
        git(&repo, &["add", "--all"]);
        git(&repo, &["commit", "--quiet", "-m", "program"]);
        let pipeline = format!(
            "apiVersion: danube.dev/v1\nkind: Pipeline\nmetadata: {{name: build}}\n\
             spec: {{script: {name}, repository: 'file://{}', secrets: [deploy]{more}}}\n",
            repo.display()
        );
        fs::write(blue.join("build.yaml"), pipeline).unwrap();
        Self { own }
    }

    fn blueprint(&self) -> PathBuf {
        self.own.path().join("blue")
    }

    /// A master that knows the pipeline, and the secret.
    pub(crate) fn master(&self, more: &[&str]) -> Master {
        let blueprint = self.blueprint();
        let own = ["--blueprint-dir", blueprint.to_str().unwrap()];
        let master = Master::with(&[&own, more].concat());
        secrets::set(&master, "deploy");
        master
    }

    /// The same in this directory.
    pub(crate) fn master_in(&self, dir: &Path, more: &[&str]) -> Master {
        let blueprint = self.blueprint();
        let own = ["--blueprint-dir", blueprint.to_str().unwrap()];
        Master::start_in(dir, &[&own, more].concat())
    }
}

/// Submits the pipeline; the job's id.
#[track_caller]
pub(crate) fn submit(master: &Master) -> String {
    id(&master.submit(&json!({"pipeline": "build"})))
}

/// Where a job waits until it is let go on: `exec 9<>/dev/tcp/127.0.0.1/PORT; read -r go <&9`.
pub(crate) struct Gate(TcpListener);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// The words by which bash waits here; first it tells `word`.
    pub(crate) fn wait(&self, word: &str) -> String {
        let port = self.0.local_addr().unwrap().port();
        format!("exec 9<>/dev/tcp/127.0.0.1/{port}; echo \"{word}\" >&9; read -r go <&9; exec 9>&-")
    }

    /// Who waits, and what was told.
    pub(crate) fn met(&self) -> (TcpStream, String) {
        let stream = arrival(&self.0);
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap())
            .read_line(&mut line)
            .unwrap();
        (stream, line.trim_end().to_owned())
    }
}

/// Lets it go on.
pub(crate) fn go(mut stream: TcpStream) {
    stream.write_all(b"go\n").unwrap();
}

pub(crate) fn log(master: &Master, job: &str) -> String {
    String::from_utf8(master.log(job)).unwrap()
}

const SHELL: &str = r#"#!/bin/bash
set -eu
echo "coordinator begins"
danube step run --name hello --env GREETING=hi -- sh -c 'echo "$GREETING from $DANUBE_STEP"; echo kept > left.txt'
code=0
danube step run --name fails -- sh -c 'exit 7' || code=$?
echo "code $code"
version=$(danube step run --name captured --capture -- cat left.txt)
echo "captured [$version]"
danube step run --name secret --secret TOKEN=deploy -- sh -c 'echo "[$TOKEN] ${#TOKEN}"'
token=$(danube secret get deploy)
echo "<$token> ${#token}"
code=0
danube step run --name slow --timeout 1 -- sleep 600 || code=$?
echo "slow $code"
danube artifact upload left.txt --name kept.txt
danube step report "all is well"
echo "coordinator ends"
"#;

#[test]
fn a_shell_script_coordinates_steps_that_are_rows_of_its_job() {
    let scripted = Scripted::new("ci", SHELL);
    let master = scripted.master(&["--log-level", "debug"]);
    let job = submit(&master);
    let ended = master.ended(&job);
    let log = log(&master, &job);
    assert_eq!(ended["status"], "success", "{ended} {log}");
    let steps = ended["steps"].as_array().unwrap();
    let rows: Vec<(&str, &str, Option<i64>)> = steps
        .iter()
        .map(|it| {
            let text = |key: &str| it[key].as_str().unwrap();
            (text("name"), text("status"), it["exit_code"].as_i64())
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("clone", "success", Some(0)),
            ("script", "success", Some(0)),
            ("hello", "success", Some(0)),
            ("fails", "failure", Some(7)),
            ("captured", "success", Some(0)),
            ("secret", "success", Some(0)),
            ("slow", "timeout", None),
        ]
    );
    for line in [
        "code 7",
        "captured [kept]",
        "slow 124",
        "danube: status: all is well",
    ] {
        assert!(log.contains(&format!("\n{line}\n")), "{line}: {log}");
    }
    let length = SECRET.len();
    assert!(log.contains(&format!("] {length}\n")), "{log}");
    assert!(log.contains(&format!("> {length}\n")), "{log}");
    holds_none(&[SECRET], log.as_bytes(), "the log");
    holds_none(
        &[SECRET],
        master.log_lines().join("\n").as_bytes(),
        "the server's log",
    );
    files_hold_none(&[SECRET], &master.dir);
    // Each step's output is where its row says, and by its name.
    let part = |step: &Value| {
        let at = |key: &str| usize::try_from(step[key].as_u64().unwrap()).unwrap();
        log[at("log_start")..at("log_end")].to_owned()
    };
    assert_eq!(part(&steps[2]), "hi from hello\n");
    assert_eq!(part(&steps[4]), "kept\n");
    assert!(part(&steps[1]).starts_with("coordinator begins\nhi from hello\n"));
    let by_name = master.get(&format!("/api/v1/jobs/{job}/logs?step=hello"));
    assert_eq!(by_name.text(), "hi from hello\n");
    let kept = master.get(&format!("/api/v1/jobs/{job}/artifacts/kept.txt"));
    assert_eq!(kept.text(), "kept\n");
    is_counted(&master);
}

/// What is told and counted of the calls.
fn is_counted(master: &Master) {
    for (call, count) in [
        ("run-step", 5.0),
        ("get-secret", 1.0),
        ("upload-artifact", 1.0),
        ("report-status", 1.0),
    ] {
        let requests = format!("danube_rpc_requests_total{{method=\"{call}\",status=\"200\"}}");
        assert_eq!(master.metric(&requests), count, "{call}");
        let times = format!("danube_rpc_request_duration_seconds_count{{method=\"{call}\"}}");
        assert_eq!(master.metric(&times), count, "{call}");
        master.event(|it| it["event"] == "rpc_call" && it["method"] == call);
    }
    assert_eq!(master.metric("danube_secret_cache_misses_total"), 1.0);
    assert_eq!(master.metric("danube_secret_cache_hits_total"), 1.0);
}

#[test]
fn the_trace_of_a_coordinated_job_is_drawn_as_it_is_designed() {
    let program = "#!/bin/sh\nset -eu\ndanube step run --name plain -- true\n\
        danube step run --name given --secret TOKEN=deploy -- true\n";
    let scripted = Scripted::new("ci", program);
    let master = scripted.master(&[]);
    let job = master.ended(&submit(&master));
    assert_eq!(job["status"], "success", "{job}");
    let spans = traces::spans(&master, job["id"].as_str().unwrap());
    let parts = |name: &str| {
        let call = spans.iter().filter(|it| it.name == "HTTP/2 RunStep");
        let step = traces::named(&spans, &format!("Execute step {name}"));
        let call = call
            .into_iter()
            .find(|it| it.parent_span_id == step.span_id);
        let request = spans
            .iter()
            .find(|it| it.parent_span_id == call.unwrap().span_id);
        let below = |of: &[u8]| {
            let mut names: Vec<String> = spans
                .iter()
                .filter(|it| it.parent_span_id == of)
                .map(|it| it.name.clone())
                .collect();
            names.sort();
            names
        };
        let request = request.unwrap();
        assert_eq!(request.name, "POST /rpc/run-step");
        (below(&step.span_id), below(&request.span_id))
    };
    let expected = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    let step = expected(&["HTTP/2 RunStep", "Run process"]);
    let request = ["Run process", "Stream logs", "Validate job_id"];
    assert_eq!(parts("plain"), (step.clone(), expected(&request)));
    let with_secret = ["Load secret", request[0], request[1], request[2]];
    assert_eq!(parts("given"), (step, expected(&with_secret)));
}

const PYTHON: &str = r#"#!/usr/bin/env python3
from danube import StepFailed, artifacts, ctx, pipeline, secrets, step

@pipeline
def build():
    said = step.run("echo $WORD; echo more", name="say", capture=True, env={"WORD": "word"})
    assert said.stdout == "word\nmore\n", said.stdout
    bad = step.run(["sh", "-c", "exit 3"], name="may fail", check=False)
    assert (bad.ok, bad.exit_code) == (False, 3), bad
    late = step.run("sleep 600", name="late", check=False, timeout=1)
    assert late.status == "timeout", late
    print(len(secrets.get("deploy")), ctx.pipeline, len(ctx.commit), flush=True)
    with open("out.txt", "w") as out:
        out.write("made\n")
    artifacts.upload("out.txt")
    try:
        step.run("false", name="caught")
    except StepFailed as error:
        print("caught:", error, flush=True)
    step.run("exit 5", name="the last")

build()
"#;

#[test]
fn a_danubefile_of_python_runs_and_its_failed_step_is_the_reason_of_the_end() {
    let scripted = Scripted::new("danubefile.py", PYTHON);
    let master = scripted.master(&[]);
    let job = submit(&master);
    let ended = master.ended(&job);
    let log = log(&master, &job);
    assert_eq!(ended["status"], "failure", "{ended} {log}");
    let reason = ended["reason"].as_str().unwrap();
    assert_eq!(reason, "step `the last` ended with exit code 5", "{log}");
    let line = format!("\n{} build 40\n", SECRET.len());
    assert!(log.contains(&line), "{log}");
    assert!(
        log.contains("caught: step `caught` ended with exit code 1"),
        "{log}"
    );
    let kept = master.get(&format!("/api/v1/jobs/{job}/artifacts/out.txt"));
    assert_eq!(kept.text(), "made\n");
}
