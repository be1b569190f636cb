//! The line of a failed step's output that most probably says why it failed.
//!
//! Nothing is known of a step but what it wrote, so each rule below is the shape in which some tool
//! says that something is wrong. A rule has a rank: a test with its reason says most, then what a
//! compiler, an interpreter, a shell or Ansible says of one thing that failed, then lines that sum
//! up, then what merely looks like an error. Of the highest rank that occurs the first line is
//! taken, since what comes later mostly follows from it. Where nothing is like that, it is the last
//! line on standard error, or the last of all.

use serde::Serialize;

/// Characters of the line that are shown.
pub const ERROR_CHARS_MAX: usize = 400;

/// A line of a step's output, without escape codes and without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// Where it begins in the log, in bytes.
    pub offset: u64,
    /// What it says.
    pub text: &'a str,
    /// It came from standard error.
    pub is_stderr: bool,
}

/// The line that most probably says why something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorLine {
    /// Where it begins in the log, in bytes.
    pub offset: u64,
    /// What it says, cut to [`ERROR_CHARS_MAX`]; where a tool breaks it in two, both parts.
    pub text: String,
    /// Why it is thought to be the one.
    pub why: Why,
}

/// Why a line is thought to say what failed. From the least telling to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It is the last one.
    Last,
    /// It is the last one on standard error.
    LastOnStderr,
    /// It has an error's level, as lines of programs' logs have.
    Level,
    /// It sums up: a build tool says that something it ran failed.
    Summary,
    /// A test failed.
    Test,
    /// A compiler, a shell or another tool says `error`.
    Error,
    /// A program ended by a panic, a signal or an exception.
    Crash,
    /// A task of Ansible's failed.
    Task,
    /// A test failed, with its reason.
    TestWithReason,
}

impl Why {
    /// For people.
    #[must_use]
    pub const fn said(self) -> &'static str {
        match self {
            Self::Last => "the last line; none looks like an error",
            Self::LastOnStderr => "the last line on standard error; none looks like an error",
            Self::Level => "the first line that is logged as an error",
            Self::Summary => "the first line that says that something failed",
            Self::Test => "the first test that failed",
            Self::Error => "the first error",
            Self::Crash => "the first crash",
            Self::Task => "the first task that failed",
            Self::TestWithReason => "the first failed test that is summed up",
        }
    }

    /// Rules whose lines are compared by place alone: which comes first says more than which tool
    /// it is.
    const fn rank(self) -> u8 {
        match self {
            Self::Last => 0,
            Self::LastOnStderr => 1,
            Self::Level => 2,
            Self::Summary => 3,
            Self::Test => 4,
            Self::Error | Self::Crash | Self::Task => 5,
            Self::TestWithReason => 6,
        }
    }
}

/// The line; none where nothing was written.
#[must_use]
pub fn first_error(lines: &[LogLine<'_>]) -> Option<ErrorLine> {
    let mut best: Option<(Why, usize, String)> = None;
    let mut at = 0;
    while at < lines.len() {
        let (found, next) = look(lines, at);
        at = next.max(at + 1);
        let Some((why, line, text)) = found else {
            continue;
        };
        if best
            .as_ref()
            .is_none_or(|(so_far, ..)| why.rank() > so_far.rank())
        {
            best = Some((why, line, text));
        }
    }
    let last = |why: Why| {
        let told =
            |it: &&LogLine<'_>| !it.text.trim().is_empty() && (why == Why::Last || it.is_stderr);
        let found = lines.iter().rev().find(told)?;
        Some(line(found, why, found.text))
    };
    let best = best.map(|(why, at, text)| line(&lines[at], why, &text));
    best.or_else(|| last(Why::LastOnStderr))
        .or_else(|| last(Why::Last))
}

fn line(from: &LogLine<'_>, why: Why, text: &str) -> ErrorLine {
    let text = text.trim();
    let end = text.char_indices().nth(ERROR_CHARS_MAX);
    let text = match end {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    };
    ErrorLine {
        offset: from.offset,
        text,
        why,
    }
}

/// How Python begins to say what was raised.
const TRACEBACK: &str = "Traceback (most recent call last):";

type Found = Option<(Why, usize, String)>;

/// What the line says, or the few lines from there on that belong together; and which is next.
fn look(lines: &[LogLine<'_>], at: usize) -> (Found, usize) {
    // Terraform draws a frame around its errors.
    let text = lines[at]
        .text
        .trim_start_matches(['│', '╷', '╵', ' ', '\t']);
    let text = text.trim_end();
    let one = |why| (Some((why, at, text.to_owned())), at + 1);
    if is_npm_noise(text) {
        return (None, at + 1);
    }
    if text == TRACEBACK {
        return traceback(lines, at);
    }
    if let Some(task) = ansible(text) {
        // What may fail didn't.
        let is_ignored = lines
            .get(at + 1)
            .is_some_and(|it| it.text.trim() == "...ignoring");
        return if is_ignored {
            (None, at + 2)
        } else {
            one(task)
        };
    }
    if let Some(why) = with_next(text) {
        let next = lines.get(at + 1).map_or("", |it| it.text.trim());
        let head = text.trim_end_matches(':');
        let text = match (text.starts_with("* What went wrong"), next.is_empty()) {
            (true, false) => next.to_owned(),
            (_, true) => text.to_owned(),
            (false, false) => format!("{head}: {next}"),
        };
        return (Some((why, at, text)), at + 2);
    }
    for (rule, why) in RULES {
        if rule(text) {
            return one(*why);
        }
    }
    (None, at + 1)
}

/// The last line of a traceback is what was raised. One that was raised while another was handled
/// follows it; that is what ended the program.
fn traceback(lines: &[LogLine<'_>], from: usize) -> (Found, usize) {
    let mut found = None;
    let mut at = from;
    loop {
        let is_raised = |it: &LogLine<'_>| !it.text.is_empty() && !it.text.starts_with([' ', '\t']);
        let Some(below) = lines[at + 1..].iter().position(is_raised) else {
            return (found, at + 1);
        };
        let raised = at + 1 + below;
        found = Some((Why::Crash, raised, lines[raised].text.to_owned()));
        let told = |it: &&LogLine<'_>| !it.text.trim().is_empty();
        let goes_on = lines[raised + 1..].iter().find(told).is_some_and(|it| {
            it.text
                .starts_with("During handling of the above exception")
                || it.text.starts_with("The above exception was the direct")
        });
        let is_next = |it: &LogLine<'_>| it.text == TRACEBACK;
        let next = lines[raised + 1..].iter().position(is_next);
        match next.filter(|_| goes_on) {
            Some(next) => at = raised + 1 + next,
            None => return (found, raised + 1),
        }
    }
}

/// `fatal: [host]: FAILED! => …`, `fatal: [host]: UNREACHABLE! => …`, `failed: [host] (item=…) => …`.
fn ansible(text: &str) -> Option<Why> {
    let fatal = text
        .strip_prefix("fatal: [")
        .is_some_and(|it| it.contains("FAILED!") || it.contains("UNREACHABLE!"));
    let item = text
        .strip_prefix("failed: [")
        .is_some_and(|it| it.contains("=>"));
    (fatal || item).then_some(Why::Task)
}

/// What says its reason in the next line.
fn with_next(text: &str) -> Option<Why> {
    // Rust: `thread 'main' panicked at src/main.rs:2:5:`.
    if text.contains("panicked at ") && text.ends_with(':') {
        return Some(Why::Crash);
    }
    // Go: the test's own words stand below its name. Subtests stand below their test.
    if text.starts_with("--- FAIL: ") {
        return Some(Why::Error);
    }
    // Gradle.
    text.starts_with("* What went wrong:").then_some(Why::Error)
}

type Rule = (fn(&str) -> bool, Why);

/// In the order in which they are asked: the first that fits a line says what it is.
const RULES: &[Rule] = &[
    (is_pytest_summary, Why::TestWithReason),
    (is_npm, Why::Summary),
    (is_make, Why::Summary),
    (is_cargo_summary, Why::Summary),
    (is_linker_summary, Why::Summary),
    (is_crash, Why::Crash),
    (is_error, Why::Error),
    (is_tool, Why::Error),
    (is_shell, Why::Error),
    (is_go_compiler, Why::Error),
    (is_undefined_reference, Why::Error),
    (is_pytest, Why::Error),
    (is_test, Why::Test),
    (is_build_summary, Why::Summary),
    (is_level, Why::Level),
];

fn starts(text: &str, with: &[&str]) -> bool {
    with.iter().any(|it| text.starts_with(it))
}

/// pytest: `FAILED tests/test_a.py::test_add - assert 3 == 4`.
fn is_pytest_summary(text: &str) -> bool {
    starts(text, &["FAILED ", "ERROR "]) && text.contains(".py") && text.contains(" - ")
}

/// Lines of npm that say how it was run and where more stands.
fn is_npm_noise(text: &str) -> bool {
    npm(text).is_some_and(|it| {
        it.is_empty()
            || starts(
                it,
                &[
                    "code ",
                    "errno ",
                    "path ",
                    "command ",
                    "signal ",
                    "syscall ",
                    "A complete log",
                    "workspace ",
                    "location ",
                ],
            )
    })
}

/// `npm ERR! …`, or `npm error …` since npm 10.
fn is_npm(text: &str) -> bool {
    npm(text).is_some()
}

fn npm(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("npm ERR!");
    let rest = rest.or_else(|| text.strip_prefix("npm error"));
    rest.map(str::trim)
}

/// `make: *** [Makefile:2: all] Error 1`, `make[1]: *** …`, `ninja: build stopped: …`.
fn is_make(text: &str) -> bool {
    let is_rule = text.starts_with("make") && text.contains(": *** ");
    is_rule && !text.contains("No rule to make target") || text.starts_with("ninja: build stopped")
}

/// `error: could not compile …`, `error: test failed, to rerun pass …`, `error: aborting due to …`.
fn is_cargo_summary(text: &str) -> bool {
    starts(
        text,
        &[
            "error: could not compile",
            "error: test failed",
            "error: aborting due to",
            "error: build failed",
            "error: doctest failed",
            "error: process didn't exit successfully",
        ],
    ) || text.starts_with("error: ") && text.contains(" target failed")
}

/// `collect2: error: ld returned 1 exit status`: what was wrong stands above it.
fn is_linker_summary(text: &str) -> bool {
    text.contains("ld returned") && text.contains("exit status")
}

fn is_crash(text: &str) -> bool {
    let known = [
        "panic: ",
        "fatal error: ",
        "Segmentation fault",
        "Bus error",
        "Aborted (core dumped)",
        "terminate called after throwing",
        "Exception in thread ",
        "Unhandled exception",
        "Uncaught ",
    ];
    starts(text, &known)
        || text.contains("panicked at ")
        || text.contains("Segmentation fault (core dumped)")
        || text == "Killed"
        || text.ends_with(": Killed")
        || text.contains("AddressSanitizer:")
}

/// A part between colons says `error`, among the first of the line: `error: …`, `error[E0425]: …`,
/// `main.c:3:5: error: …`, `src/a.ts(3,7): error TS2322: …`, `ERROR: …`, `fatal: …`,
/// `TypeError: …`.
fn is_error(text: &str) -> bool {
    let mut parts = text.splitn(5, ": ");
    let first = text.split(": ").next().unwrap_or_default();
    let first = first.trim_start().to_ascii_lowercase();
    if starts(
        &first,
        &["warning", "note", "info", "debug", "help", "hint"],
    ) {
        return false;
    }
    let count = text.matches(": ").count();
    let says = |part: &str| {
        let part = part.trim().to_ascii_lowercase();
        let word = matches!(&*part, "error" | "fatal error" | "fatal" | "internal error");
        let coded = part.strip_prefix("error").is_some_and(|it| {
            let it = it.trim_start_matches([' ', '[', '(']);
            let letters = it.trim_start_matches(|it: char| it.is_ascii_lowercase());
            it.len() - letters.len() <= 4 && letters.starts_with(|it: char| it.is_ascii_digit())
        });
        word || coded
    };
    parts.by_ref().take(count.min(4)).any(says) || is_exception(text)
}

/// `ModuleNotFoundError: No module named 'x'`, `java.io.IOException: …`.
fn is_exception(text: &str) -> bool {
    let Some((name, said)) = text.split_once(": ") else {
        return false;
    };
    let is_name = name
        .chars()
        .all(|it| it.is_ascii_alphanumeric() || it == '.' || it == '_');
    is_name && !said.is_empty() && (name.ends_with("Error") || name.ends_with("Exception"))
}

/// Tools that say it in their own way.
fn is_tool(text: &str) -> bool {
    let known = [
        "::error",
        "##[error]",
        "ERROR! ",
        "[ERROR] ",
        "ERROR in ",
        "E: ",
        "CMake Error",
        "Error response from daemon",
        "✖ ",
        "✗ ",
        "not ok ",
        "error TS",
    ];
    starts(text, &known) || text.starts_with("curl: (") || text.contains("No rule to make target")
}

/// `sh: 1: foo: not found`, `bash: line 1: foo: command not found`, and what the system says of files.
fn is_shell(text: &str) -> bool {
    let ends = [
        ": not found",
        ": command not found",
        ": No such file or directory",
        ": Permission denied",
        ": No space left on device",
        ": Connection refused",
        ": Cannot allocate memory",
    ];
    ends.iter().any(|it| text.ends_with(it))
}

/// `./main.go:5:2: undefined: x`.
fn is_go_compiler(text: &str) -> bool {
    let Some((file, rest)) = text.split_once(".go:") else {
        return false;
    };
    let mut parts = rest.splitn(3, ':');
    let mut number = || {
        let part = parts.next().unwrap_or_default();
        !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit())
    };
    !file.contains(' ') && number() && number()
}

/// ld: `main.c:(.text+0x5): undefined reference to 'f'`.
fn is_undefined_reference(text: &str) -> bool {
    text.contains(": undefined reference to ") || text.contains(": multiple definition of ")
}

/// pytest marks what was raised: `E       assert 3 == 4`.
fn is_pytest(text: &str) -> bool {
    text.strip_prefix("E  ")
        .is_some_and(|it| !it.trim().is_empty())
}

/// `test a::b ... FAILED`, `FAIL: test_a (tests.A)`, `FAIL src/a.test.js`, and Go's line for a package.
fn is_test(text: &str) -> bool {
    text.starts_with("test ") && text.ends_with("... FAILED")
        || starts(text, &["FAIL: ", "FAIL ", "FAIL\t", "FAILED "])
        || text.starts_with("● ")
}

fn is_build_summary(text: &str) -> bool {
    let known = [
        "BUILD FAILED",
        "BUILD FAILURE",
        "FAILURE: ",
        "FAILED: ",
        "test result: FAILED",
        "Build failed",
        "Caused by: ",
    ];
    starts(text, &known)
}

/// `2026-01-10T12:00:00Z ERROR what`, `level=error msg=…`, `[error] …`.
fn is_level(text: &str) -> bool {
    text.split_whitespace().take(4).any(|it| {
        let level = it.trim_matches(['[', ']', '(', ')', ':', '|', ',']);
        let is_marked = it.starts_with('[');
        matches!(level, "ERROR" | "FATAL" | "level=error" | "level=fatal")
            || is_marked && level == "error"
    })
}

#[cfg(test)]
mod tests;
