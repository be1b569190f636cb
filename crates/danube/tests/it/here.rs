//! `danube run`: a job right here, without a server.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::golden;
use crate::isolation::repository;
use crate::master::{DANUBE, DEADLINE};
use crate::processes::{self, until};

/// A directory to run in, and one for temporary files that must be empty at
/// the end.
struct Place {
    here: TempDir,
    temporary: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            here: tempfile::tempdir().unwrap(),
            temporary: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(DANUBE);
        command
            .arg("run")
            .args(arguments)
            .current_dir(self.here.path())
            .env("TMPDIR", self.temporary.path())
            .env_remove("DANUBE_SERVER")
            .env_remove("DANUBE_API_KEY")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("run danube")
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.here.path().join(name), text).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let left = names(self.temporary.path());
            assert_eq!(left, [""; 0], "left in the temporary directory");
        }
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let names = entries.map(|it| it.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Exit code, standard output, standard error.
#[track_caller]
fn check(output: &Output, expected: (i32, &str, &str)) {
    let seen = (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    );
    let (code, out, err) = expected;
    assert_eq!(seen, (Some(code), out.to_owned(), err.to_owned()));
}

#[test]
fn a_command_speaks_and_exits_for_itself() {
    let place = Place::new();
    check(&place.run(&["--", "true"]), (0, "", ""));
    let script = "echo to out; echo to err >&2; exit 42";
    let output = place.run(&["--", "sh", "-c", script]);
    check(&output, (42, "to out\n", "to err\n"));
    check(
        &place.run(&["--", "printf", "no line end"]),
        (0, "no line end", ""),
    );
}

#[test]
fn every_word_arrives_as_it_was_given() {
    let place = Place::new();
    let words = [
        "a b", "", "it's", "\"q\"", "$HOME", "`x`", "$(x)", "a\nb", "\\", "*", "~", "-n", "--",
        "ä\t;&|",
    ];
    let mut arguments = vec!["--", "printf", "[%s]"];
    arguments.extend(words);
    let expected: String = words.map(|it| format!("[{it}]")).concat();
    check(&place.run(&arguments), (0, &expected, ""));
}

#[test]
fn a_missing_command_ends_as_a_shell_would_say() {
    let place = Place::new();
    let output = place.run(&["--", "no-such-command-here"]);
    assert_eq!(output.status.code(), Some(127));
    assert!(
        text(&output.stderr).contains("no-such-command-here"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(text(&output.stdout), "");
    place.write("plain", "no program");
    assert_eq!(place.run(&["--", "./plain"]).status.code(), Some(126));
}

#[test]
fn a_signal_counts_as_shells_count() {
    let place = Place::new();
    for (name, code) in [("TERM", 143), ("KILL", 137), ("SEGV", 139)] {
        let output = place.run(&["--", "sh", "-c", &format!("kill -s {name} $$")]);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{name}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn it_runs_right_here_as_the_calling_user() {
    let place = Place::new();
    place.write("input", "from here\n");
    let script = "pwd; cat input; echo made > output; id -u";
    let output = place.run(&["--", "sh", "-c", script]);
    let here = place.here.path().canonicalize().unwrap();
    let uid = rustix::process::geteuid().as_raw();
    let expected = format!("{}\nfrom here\n{uid}\n", here.display());
    check(&output, (0, &expected, ""));
    assert_eq!(names(&here), ["input", "output"]);
    assert_eq!(fs::read_to_string(here.join("output")).unwrap(), "made\n");
}

#[test]
fn the_environment_is_made_and_not_inherited() {
    let place = Place::new();
    let mut command = place.command(&["--env", "GIVEN=a b", "--env", "TAKEN", "--", "env"]);
    command
        .env("TAKEN", "from outside")
        .env("LEAKED", "must not be there")
        .env("HOME", "/home/somebody");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let out = text(&output.stdout);
    let mut names: Vec<&str> = out
        .lines()
        .filter_map(|it| it.split_once('='))
        .map(|it| it.0)
        .collect();
    names.sort_unstable();
    // What the shell itself sets.
    names.retain(|it| !["PWD", "OLDPWD", "SHLVL", "_"].contains(it));
    let expected = [
        "CI",
        "DANUBE",
        "DANUBE_JOB_ID",
        "DANUBE_PIPELINE",
        "DANUBE_STEP",
        "DANUBE_WORKSPACE",
        "GIVEN",
        "HOME",
        "LANG",
        "PATH",
        "TAKEN",
        "TRACEPARENT",
    ];
    assert_eq!(names, expected);
    for line in [
        "GIVEN=a b",
        "TAKEN=from outside",
        "HOME=/home/somebody",
        "CI=true",
        "DANUBE=1",
    ] {
        assert!(out.lines().any(|it| it == line), "no {line} in {out}");
    }
}

#[test]
fn a_value_that_was_to_be_masked_is_nowhere() {
    const SECRET: &str = "s3cret-value-4711";
    let place = Place::new();
    let logs = place.here.path().join("logs");
    let script = r#"echo "in one: $TOKEN"; printf s3cret-; sleep 0.3; printf 'value-4711\n'; echo "$TOKEN" | base64; echo "$TOKEN" >&2"#;
    let arguments = [
        "--mask-env",
        "TOKEN",
        "--env",
        "TOKEN",
        "--log-dir",
        logs.to_str().unwrap(),
        "--",
        "sh",
        "-c",
        script,
    ];
    let output = place
        .command(&arguments)
        .env("TOKEN", SECRET)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let mut everything = [output.stdout.clone(), output.stderr.clone()].concat();
    for name in names(&logs) {
        everything.extend(fs::read(logs.join(name)).unwrap());
    }
    let everything = text(&everything);
    for needle in [SECRET, "value-4711", "czNjcmV0LXZhbHVlLTQ3MT"] {
        assert!(!everything.contains(needle), "{needle} is in {everything}");
    }
    assert!(
        text(&output.stdout).starts_with("in one: "),
        "{}",
        text(&output.stdout)
    );
    let refused = place
        .command(&["--mask-env", "TOKEN", "--", "true"])
        .env("TOKEN", "short")
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        !text(&refused.stderr).contains("short\""),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn an_interrupt_ends_the_whole_tree_and_exits_130() {
    let place = Place::new();
    let mark = format!("TREE=of-{}-{:p}", std::process::id(), &place);
    let script = "setsid sh -c 'sleep 600 & exec sleep 600' & echo begin; sleep 600";
    let mut command = place.command(&["--env", &mark, "--", "sh", "-c", script]);
    // As a terminal would: the signal goes to the foreground program's group.
    let mut child = command
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "begin\n");
    until("the tree has grown", DEADLINE, || {
        (processes::marked(&mark).len() >= 4).then_some(())
    });
    let group = format!("-{}", child.id());
    let sent = Command::new("kill")
        .args(["-s", "INT", "--", &group])
        .status()
        .unwrap();
    assert!(sent.success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    until("the tree is gone", DEADLINE, || {
        processes::marked(&mark).is_empty().then_some(())
    });
}

/// TERM is followed by KILL after ten seconds without a second interrupt.
const LESS_THAN_THE_GRACE: Duration = Duration::from_secs(9);

#[test]
fn a_second_interrupt_does_not_wait_for_a_job_that_will_not_hear() {
    let place = Place::new();
    let mark = format!("DEAF=of-{}-{:p}", std::process::id(), &place);
    let script = "trap '' TERM INT; echo begin; while :; do sleep 600; done";
    let mut command = place.command(&["--env", &mark, "--", "sh", "-c", script]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let pid = child.id().to_string();
    // The first may be merged with the second, so it is sent until it is heard.
    let status = until("it ends", LESS_THAN_THE_GRACE, || {
        let _ = Command::new("kill").args(["-s", "INT", &pid]).status();
        child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(130));
    until("it is gone", DEADLINE, || {
        processes::marked(&mark).is_empty().then_some(())
    });
}

#[test]
fn a_command_that_takes_too_long_is_stopped() {
    let place = Place::new();
    let output = place.run(&["--timeout", "1", "--", "sleep", "600"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        text(&output.stderr).contains("took longer than its 1 s"),
        "{}",
        text(&output.stderr)
    );
}

/// A pipeline file with these steps.
fn pipeline(rest: &str) -> String {
    format!("apiVersion: danube.dev/v1\nkind: Pipeline\nmetadata:\n  name: here\nspec:\n{rest}")
}

#[test]
fn a_pipeline_runs_its_steps_and_may_go_on_after_an_error() {
    let place = Place::new();
    let file = pipeline(
        "  parameters: {WHO: nobody}\n  env: {A: one}\n  steps:\n\
         \x20   - {name: first, run: 'echo \"$A $DANUBE_PARAM_WHO\"; X=gone'}\n\
         \x20   - {name: may fail, run: 'echo failing; exit 3', continue_on_error: true}\n\
         \x20   - {name: last, run: 'echo \"last ${X:-fresh}\"'}\n",
    );
    place.write("pipeline.yaml", &file);
    let output = place.run(&["pipeline.yaml"]);
    check(&output, (0, "one nobody\nfailing\nlast fresh\n", ""));
    let output = place.run(&["--param", "WHO=you", "pipeline.yaml"]);
    check(&output, (0, "one you\nfailing\nlast fresh\n", ""));
    let output = place.run(&["--param", "OTHER=x", "pipeline.yaml"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

#[test]
fn a_failing_step_ends_the_pipeline_with_its_code_and_the_reason() {
    let place = Place::new();
    let file = pipeline(
        "  steps:\n    - {name: bad, run: 'echo bad; exit 7'}\n    - {name: never, run: echo never}\n",
    );
    place.write("pipeline.yaml", &file);
    let output = place.run(&["pipeline.yaml"]);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(text(&output.stdout), "bad\n");
    assert!(
        text(&output.stderr).contains("step `bad` ended with exit code 7"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_wrong_file_is_explained_where_it_is_wrong_and_nothing_runs() {
    let place = Place::new();
    let file = pipeline(
        "  stepz: []\n  max_duration_seconds: soon\n  steps:\n\
         \x20   - {name: first, run: touch made, continue_on_eror: true}\n\
         \x20   - {name: first, shell: fish}\n",
    );
    place.write("wrong.yaml", &file);
    let output = place.run(&["wrong.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    golden::check("tests/it/golden/here/wrong-file.txt", &text(&output.stderr));
    assert_eq!(names(place.here.path()), ["wrong.yaml"]);

    place.write("broken.yaml", "spec: [\n");
    let output = place.run(&["broken.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    golden::check(
        "tests/it/golden/here/broken-file.txt",
        &text(&output.stderr),
    );
    let output = place.run(&["missing.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    golden::check(
        "tests/it/golden/here/missing-file.txt",
        &text(&output.stderr),
    );
}

#[test]
fn a_pipeline_with_a_repository_runs_in_a_clone_of_it() {
    let place = Place::new();
    let source = tempfile::tempdir().unwrap();
    let commit = repository(source.path(), "main");
    let file = pipeline(&format!(
        "  repository: file://{}\n  steps:\n    - {{name: show, run: 'cat file.txt; echo \"$DANUBE_COMMIT\"; touch made'}}\n",
        source.path().display()
    ));
    place.write("pipeline.yaml", &file);
    let output = place.run(&["pipeline.yaml"]);
    let out = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{out}{}",
        text(&output.stderr)
    );
    assert!(
        out.ends_with(&format!("from the repository\n{commit}\n")),
        "{out}"
    );
    assert_eq!(names(place.here.path()), ["pipeline.yaml"]);
    assert_eq!(names(source.path()), [".git", "file.txt"]);

    let file = file.replace("file://", "file:///nowhere");
    place.write("pipeline.yaml", &file);
    let output = place.run(&["pipeline.yaml"]);
    assert_eq!(output.status.code(), Some(128), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("the source couldn't be cloned"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn the_log_is_kept_where_it_was_asked_for() {
    let place = Place::new();
    let output = place.run(&[
        "--log-dir",
        "logs",
        "--",
        "sh",
        "-c",
        "echo out; sleep 0.2; echo err >&2",
    ]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "out\n");
    let logs = names(&place.here.path().join("logs"));
    assert_eq!(logs.len(), 2, "{logs:?}");
    let log = logs.iter().find(|it| it.ends_with(".log")).expect("a log");
    assert!(
        text(&output.stderr).starts_with("err\n") && text(&output.stderr).contains(log.as_str())
    );
    let kept = fs::read_to_string(place.here.path().join("logs").join(log)).unwrap();
    assert_eq!(kept, "out\nerr\n");
}

#[test]
fn programs_get_one_result_on_standard_output() {
    let place = Place::new();
    let output = place.run(&[
        "--output",
        "json",
        "--",
        "sh",
        "-c",
        "echo out; echo err >&2; exit 9",
    ]);
    assert_eq!(output.status.code(), Some(9));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["status"], "failure", "{result}");
    assert_eq!(result["exit_code"], 9, "{result}");
    assert_eq!(result["log_complete"], true, "{result}");
    assert_eq!(result["steps"][0]["name"], "sh", "{result}");
    assert_eq!(result["steps"][0]["exit_code"], 9, "{result}");
    let err = text(&output.stderr);
    assert!(err.contains("out\n") && err.contains("err\n"), "{err}");
}

#[test]
fn what_stays_in_the_background_ends_with_the_command() {
    let place = Place::new();
    let mark = format!("LEFT=of-{}-{:p}", std::process::id(), &place);
    let output = place.run(&[
        "--env",
        &mark,
        "--",
        "sh",
        "-c",
        "setsid sleep 600 & echo done",
    ]);
    check(&output, (0, "done\n", ""));
    until("it is gone", DEADLINE, || {
        processes::marked(&mark).is_empty().then_some(())
    });
}
