//! Rules about whole files: size, scripts, paths of one machine.

use super::Finding;
use super::repo::File;
use super::source::{Part, Source};

/// Longest file of the product, its unit tests apart: what a reader can keep in
/// mind. A longer one has two purposes.
const FILE_LINES_MAX: usize = 500;

/// Longest file of tests or benches. They are read case by case, so they may be
/// longer.
const TEST_FILE_LINES_MAX: usize = 800;

/// Longest README: it is for somebody who doesn't know yet whether to stay.
const README_LINES_MAX: usize = 120;

/// Folders at the root of one person's or one builder's machine. Home folders
/// are not among them: documentation has good uses for those.
const MACHINE_FOLDERS: [&str; 4] = ["work", "farm", "Users", "workspaces"];

pub(super) fn check(file: &File) -> Vec<Finding> {
    let rules = [size, readme, machine_paths, script_stops_at_errors];
    rules.iter().flat_map(|rule| rule(file)).collect()
}

fn size(file: &File) -> Vec<Finding> {
    if !file.path.ends_with(".rs") {
        return Vec::new();
    }
    let part = Source::new(file).part;
    let product = part.iter().filter(|it| **it == Part::Product).count();
    // A file that is all tests, or a file with tests at its end.
    let (lines, max, advice) = match product {
        0 => (
            part.len(),
            TEST_FILE_LINES_MAX,
            "split it by what is tested",
        ),
        _ => (
            product,
            FILE_LINES_MAX,
            "find its second purpose and give that a file",
        ),
    };
    if lines <= max {
        return Vec::new();
    }
    vec![Finding::new(
        &file.path,
        max + 1,
        "size",
        format!("{lines} lines, {max} are allowed; {advice}"),
    )]
}

fn readme(file: &File) -> Vec<Finding> {
    let lines = file.text.lines().count();
    if file.path != "README.md" || lines <= README_LINES_MAX {
        return Vec::new();
    }
    let what = format!(
        "{lines} lines, {README_LINES_MAX} are allowed; move what is not for a first visit to docs/"
    );
    vec![Finding::new(&file.path, README_LINES_MAX + 1, "size", what)]
}

/// A path that exists on one machine only breaks on all others.
fn machine_paths(file: &File) -> Vec<Finding> {
    let roots = MACHINE_FOLDERS.map(|it| format!("/{it}/"));
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        if let Some(root) = roots.iter().find(|it| has_absolute_path(line, it)) {
            let what =
                format!("`{root}` is a folder of one machine; use a relative path or a setting");
            findings.push(Finding::new(&file.path, index + 1, "machine-path", what));
        }
    }
    findings
}

/// Whether a path in `line` begins with `root`, in place of having it inside.
fn has_absolute_path(line: &str, root: &str) -> bool {
    let in_path = |c: char| c.is_alphanumeric() || "._-~}>*)".contains(c);
    line.match_indices(root)
        .any(|(at, _)| !line[..at].ends_with(in_path))
}

/// Without this a script goes on after a command that failed.
fn script_stops_at_errors(file: &File) -> Vec<Finding> {
    let first = file.text.lines().next().unwrap_or_default();
    let shebang = first.starts_with("#!")
        && ["/sh", "/bash", " sh", " bash"]
            .iter()
            .any(|it| first.ends_with(it));
    if !(shebang || file.path.ends_with(".sh")) {
        return Vec::new();
    }
    let mut commands = file
        .text
        .lines()
        .enumerate()
        .filter(|(_, it)| !it.trim().is_empty() && !it.starts_with('#'));
    match commands.next() {
        Some((_, command)) if command.starts_with("set -eu") => Vec::new(),
        other => {
            let line = other.map_or(1, |it| it.0 + 1);
            let what = format!(
                "{} goes on after errors; its first command must be `set -eu`",
                file.name()
            );
            vec![Finding::new(&file.path, line, "script", what)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_file(path: &str, text: &str, wanted: &[(usize, &str)]) {
        let found = check(&File::new(path, text));
        let found: Vec<(usize, &str)> = found.iter().map(|it| (it.line, it.rule)).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn tests_do_not_count_for_the_size_of_the_product() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "a;\n".repeat(900));
        check_file(
            "crates/danube/src/a.rs",
            &("a;\n".repeat(500) + &tests),
            &[],
        );
        check_file(
            "crates/danube/src/a.rs",
            &("a;\n".repeat(501) + &tests),
            &[(501, "size")],
        );
    }

    #[test]
    fn files_of_tests_may_be_longer() {
        check_file("crates/danube/tests/it/a.rs", &"a;\n".repeat(800), &[]);
        check_file("benches/src/main.rs", &"a;\n".repeat(801), &[(801, "size")]);
    }

    #[test]
    fn the_readme_is_short_and_other_pages_may_be_long() {
        check_file("README.md", &"a\n".repeat(120), &[]);
        check_file("README.md", &"a\n".repeat(121), &[(121, "size")]);
        check_file("docs/README.md", &"a\n".repeat(121), &[]);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let root = format!("/{}/", MACHINE_FOLDERS[0]);
        check_file(
            "a.md",
            &format!("see\n`{root}main`"),
            &[(2, "machine-path")],
        );
        check_file("a.md", &format!("target{root}main ${{dir}}{root}x"), &[]);
        check_file("a.md", "/workspace/main /worker/x", &[]);
    }

    #[test]
    fn a_script_stops_at_the_first_error() {
        check_file("a.sh", "#!/bin/sh\n# About.\n\nset -eu\n", &[]);
        check_file("a.sh", "#!/bin/sh\necho\nset -eu\n", &[(2, "script")]);
        check_file(".ci/run", "#!/usr/bin/env bash\nset -euo pipefail\n", &[]);
        check_file(".ci/run", "#!/usr/bin/env bash\n", &[(1, "script")]);
        check_file("a.py", "#!/usr/bin/env python3\nprint()\n", &[]);
    }
}
