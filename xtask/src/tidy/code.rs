//! Rules about words in Rust code.

use super::Finding;
use super::source::{Part, Source};

/// Left behind by somebody who meant to come back.
const UNFINISHED: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

/// Channels without a bound, whatever is written behind the name.
const UNBOUNDED: [&str; 2] = ["unbounded_channel", "unbounded()"];

/// Ways to ask for the wall clock, in the standard library and in `danube-model`.
const WALL_CLOCK: [&str; 2] = ["SystemTime", "Timestamp::now"];

/// Words in the names of files in which a time may only be an argument or
/// monotonic.
const CLOCKLESS_FILES: [&str; 4] = ["lease", "leases", "decide", "schedule"];

/// Ways out of `danube-model`, which does no I/O and no async.
const IO: [&str; 5] = [
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "tokio",
];

pub(super) fn check(source: &Source<'_>) -> Vec<Finding> {
    let rules = [
        unfinished,
        ignored,
        unbounded,
        sleep,
        wall_clock,
        model_io,
        executor_listens,
    ];
    rules.iter().flat_map(|rule| rule(source)).collect()
}

fn unfinished(source: &Source<'_>) -> Vec<Finding> {
    find(source, |line| {
        let word = UNFINISHED.iter().find(|it| has_word(line, it))?;
        Some((
            "unfinished",
            format!("`{word}` stayed behind; finish it or take it out"),
        ))
    })
}

fn ignored(source: &Source<'_>) -> Vec<Finding> {
    find(source, |line| {
        let bare = line.contains("#[ignore]");
        bare.then(|| {
            (
                "ignore",
                "a test is ignored without a reason; write `#[ignore = \"why\"]`".into(),
            )
        })
    })
}

fn unbounded(source: &Source<'_>) -> Vec<Finding> {
    let advice = "a busy day fills it until memory ends; give it a bound with a name and a reason";
    find(source, |line| {
        let named = UNBOUNDED.iter().any(|it| has_word(line, it));
        (named || calls_bare_channel(line))
            .then(|| ("unbounded", format!("an unbounded channel: {advice}")))
    })
}

/// `channel()` without a bound. A oneshot holds one value at most; so that this
/// rule can tell, it is called as `oneshot::channel()`.
fn calls_bare_channel(line: &str) -> bool {
    line.match_indices("channel").any(|(at, word)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        let generic = after.strip_prefix("::<").and_then(|it| it.split_once(">("));
        let arguments = generic.map(|it| it.1).or_else(|| after.strip_prefix('('));
        let whole_word = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let declares = before.ends_with("fn ");
        let empty = arguments.is_some_and(|it| it.starts_with(')'));
        empty && whole_word && !declares && !before.ends_with("oneshot::") && !before.ends_with('.')
    })
}

fn sleep(source: &Source<'_>) -> Vec<Finding> {
    let what = "a test sleeps: it is slow and it flickers; wait for the event with a deadline, or pass the time as an argument";
    let sleeps = |line: &str| has_word(line, "thread::sleep") || has_word(line, "time::sleep");
    in_part(source, Part::Test, |line| {
        sleeps(line).then(|| ("sleep", what.into()))
    })
}

fn wall_clock(source: &Source<'_>) -> Vec<Finding> {
    let below_src = source.file.path.rsplit("src/").next().unwrap_or_default();
    if !below_src
        .split(['/', '.', '_'])
        .any(|it| CLOCKLESS_FILES.contains(&it))
    {
        return Vec::new();
    }
    in_part(source, Part::Product, |line| {
        let word = WALL_CLOCK.iter().find(|it| has_word(line, it))?;
        Some((
            "clock",
            format!(
                "`{word}`: the wall clock jumps, and a lease must not; take the time as an argument"
            ),
        ))
    })
}

fn model_io(source: &Source<'_>) -> Vec<Finding> {
    if source.file.package() != Some("danube-model") {
        return Vec::new();
    }
    in_part(source, Part::Product, |line| {
        let word = IO.iter().find(|it| has_word(line, it))?;
        Some((
            "model-io",
            format!(
                "`{word}`: danube-model does no I/O and no async; do this in the crate that calls it"
            ),
        ))
    })
}

fn executor_listens(source: &Source<'_>) -> Vec<Finding> {
    if source.file.package() != Some("danube-executor") {
        return Vec::new();
    }
    in_part(source, Part::Product, |line| {
        let word = ["TcpListener", "UnixListener"]
            .into_iter()
            .find(|it| has_word(line, it))?;
        Some((
            "executor-listens",
            format!("`{word}`: danube-executor opens no server socket; that is the master's"),
        ))
    })
}

type Rule = (&'static str, String);

fn find(source: &Source<'_>, rule: impl Fn(&str) -> Option<Rule>) -> Vec<Finding> {
    let hit = |(index, line): (usize, &String)| {
        rule(line).map(|(name, what)| source.finding(index, name, what))
    };
    source.code.iter().enumerate().filter_map(hit).collect()
}

fn in_part(source: &Source<'_>, part: Part, rule: impl Fn(&str) -> Option<Rule>) -> Vec<Finding> {
    let mut findings = find(source, rule);
    findings.retain(|it| source.part[it.line - 1] == part);
    findings
}

/// Whether `word` occurs in `line` on its own, not as a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let after = &line[at + word.len()..];
        let goes_on = word.ends_with(in_name) && after.starts_with(in_name);
        !goes_on && !line[..at].ends_with(in_name)
    })
}

#[cfg(test)]
mod tests {
    use super::super::repo::File;
    use super::*;

    #[track_caller]
    fn check_file(path: &str, text: &str, wanted: &[(usize, &str)]) {
        let file = File::new(path, text);
        let findings = check(&Source::new(&file));
        let found: Vec<(usize, &str)> = findings.iter().map(|it| (it.line, it.rule)).collect();
        assert_eq!(found, wanted, "{text}");
    }

    #[track_caller]
    fn check_line(line: &str, wanted: &[&str]) {
        let wanted: Vec<(usize, &str)> = wanted.iter().map(|it| (1, *it)).collect();
        check_file("crates/danube/src/a.rs", line, &wanted);
    }

    #[test]
    fn unfinished_code_is_found_and_words_in_comments_and_text_are_not() {
        check_line("todo!()", &["unfinished"]);
        check_line("let a = dbg!(b);", &["unfinished"]);
        check_line("unimplemented!(\"x\")", &["unfinished"]);
        check_line("// todo!() \n \"dbg!\"", &[]);
        check_line("my_todo!()", &[]);
    }

    #[test]
    fn a_test_may_be_ignored_with_a_reason_only() {
        check_line("#[ignore]", &["ignore"]);
        check_line("#[ignore = \"needs a second machine\"]", &[]);
    }

    #[test]
    fn a_channel_needs_a_bound() {
        check_line("let a = mpsc::unbounded_channel();", &["unbounded"]);
        check_line("let a = mpsc::unbounded_channel::<u8>();", &["unbounded"]);
        check_line("let a = crossbeam::unbounded();", &["unbounded"]);
        check_line("let a = mpsc::channel();", &["unbounded"]);
        check_line(
            "let a = std::sync::mpsc::channel::<Vec<u8>>();",
            &["unbounded"],
        );
        check_line("let a = channel();", &["unbounded"]);
        check_line("let a = mpsc::channel(BOUND);", &[]);
        check_line("let a = mpsc::sync_channel(0);", &[]);
        check_line("let a = oneshot::channel();", &[]);
        check_line("let a = oneshot::channel::<u8>();", &[]);
        check_line("fn channel() {} self.channel()", &[]);
    }

    #[test]
    fn tests_do_not_sleep_and_the_product_may() {
        let text = "std::thread::sleep(a);\n#[cfg(test)]\nmod tests {\n thread::sleep(a);\n tokio::time::sleep(a)\n}\n";
        check_file(
            "crates/danube/src/a.rs",
            text,
            &[(4, "sleep"), (5, "sleep")],
        );
        check_file(
            "crates/danube/tests/it/a.rs",
            "thread::sleep(a)",
            &[(1, "sleep")],
        );
        check_file(
            "crates/danube/tests/it/a.rs",
            "run(\"sleep 5\"); thread::sleepy()",
            &[],
        );
    }

    #[test]
    fn leases_know_no_wall_clock() {
        check_file(
            "crates/danube-store/src/lease.rs",
            "SystemTime::now()",
            &[(1, "clock")],
        );
        check_file(
            "crates/danube-master/src/lease/renew.rs",
            "Timestamp::now()",
            &[(1, "clock")],
        );
        check_file("crates/danube-master/src/decide.rs", "Instant::now()", &[]);
        check_file(
            "crates/danube-master/src/release.rs",
            "SystemTime::now()",
            &[],
        );
    }

    #[test]
    fn the_model_does_no_io_and_the_executor_does_not_listen() {
        check_file(
            "crates/danube-model/src/a.rs",
            "use std::fs;",
            &[(1, "model-io")],
        );
        check_file(
            "crates/danube-model/src/a.rs",
            "tokio::spawn(a)",
            &[(1, "model-io")],
        );
        check_file("crates/danube-store/src/a.rs", "use std::fs;", &[]);
        check_file(
            "crates/danube-executor/src/a.rs",
            "TcpListener::bind(a)",
            &[(1, "executor-listens")],
        );
    }
}
