//! What the pages on faults and attacks promise is what the tests show: no test is named that isn't
//! there, and none is there that isn't named.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::repo::File;

const RULE: &str = "shown";

/// A page with a table of what may happen, and below it the tests of each row.
struct Promises {
    page: &'static str,
    /// What stands at the head of the table's first column.
    what: &'static str,
    /// Where tests live of which each is named on the page.
    tests: &'static str,
}

const FAULTS: Promises = Promises {
    page: "docs/reliability.md",
    what: "fault",
    tests: "crates/danube/tests/it/faults",
};

const ATTACKS: Promises = Promises {
    page: "docs/security.md",
    what: "attack",
    tests: "crates/danube/tests/it/attacks",
};

/// The file among the tests of faults that has none.
const NO_FAULT: &str = "crates/danube/tests/it/faults/row.rs";

/// The crate of tests that are named without one.
const PROGRAM: &str = "danube";

/// Where a fault or a test stands: line from 1.
type Lines<'a> = BTreeMap<&'a str, usize>;

/// What the page says.
#[derive(Default)]
struct Page<'a> {
    /// The rows of its table.
    rows: Lines<'a>,
    /// The tests of each, with their line.
    tests: BTreeMap<&'a str, Vec<(usize, &'a str)>>,
}

pub(super) fn pages_are_what_is_tested(files: &[File]) -> Vec<Finding> {
    let tests = all_tests(files);
    let mut findings = page_is_what_is_tested(&FAULTS, files, &tests, faults_are_named);
    findings.extend(page_is_what_is_tested(
        &ATTACKS,
        files,
        &tests,
        attacks_are_named,
    ));
    findings
}

fn page_is_what_is_tested(
    promises: &Promises,
    files: &[File],
    tests: &BTreeSet<String>,
    are_named: fn(&Page<'_>, &[File]) -> Vec<Finding>,
) -> Vec<Finding> {
    let Some(file) = files.iter().find(|it| it.path == promises.page) else {
        return vec![Finding::new(promises.page, 1, RULE, "the page is missing")];
    };
    let page = read(&file.text, promises.what);
    let mut findings = names_exist(promises, &page, tests);
    findings.extend(are_named(&page, files));
    findings
}

/// Rows `| fault | what happens |`, and below them `**fault**` with a list of tests each.
fn read<'a>(text: &'a str, what: &str) -> Page<'a> {
    let (mut page, mut in_table, mut row) = (Page::default(), false, "");
    for (line, text) in (1..).zip(text.lines()) {
        let cells: Vec<&str> = text.split('|').map(str::trim).collect();
        match cells.as_slice() {
            ["", head, _, ""] if *head == what => in_table = true,
            ["", name, _, ""] if in_table && *name != "---" => {
                page.rows.insert(name, line);
            }
            ["", ..] if text.starts_with('|') => {}
            _ => in_table = false,
        }
        if let Some(name) = text.strip_prefix("**").and_then(|it| it.strip_suffix("**")) {
            row = name;
            page.tests.entry(row).or_default();
        } else if let Some(test) = text.strip_prefix("- `")
            && let Some((test, _)) = test.split_once('`')
        {
            page.tests.entry(row).or_default().push((line, test));
        }
    }
    page
}

/// Every test by its name: an integration test with its crate before it where that isn't the
/// program, one within a source file always with its crate.
fn all_tests(files: &[File]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for file in files {
        if let Some((package, module)) = source_module(&file.path) {
            let names = named(&file.text).into_iter();
            all.extend(names.map(|it| format!("{package} {module}::{it}")));
            continue;
        }
        let Some((package, module)) = module(&file.path) else {
            continue;
        };
        for name in named(&file.text) {
            let path = join(&module, &name);
            all.insert(match package {
                PROGRAM => path,
                other => format!("{other} {path}"),
            });
        }
    }
    all
}

/// The crate and the path of a file of integration tests.
fn module(path: &str) -> Option<(&str, String)> {
    let (package, file) = path.strip_prefix("crates/")?.split_once("/tests/it/")?;
    let module = file.strip_suffix(".rs")?;
    let module = module.strip_suffix("/mod").unwrap_or(module);
    Some((package, module.replace('/', "::")))
}

/// The crate and the path of a source file.
fn source_module(path: &str) -> Option<(&str, String)> {
    let (package, file) = path.strip_prefix("crates/")?.split_once("/src/")?;
    let module = file.strip_suffix(".rs")?;
    let module = module.strip_suffix("/mod").unwrap_or(module);
    Some((package, module.replace('/', "::")))
}

/// The tests of a file, with the module of it in which they stand, if they do; a module `tests`
/// says no more than that.
fn named(text: &str) -> Vec<String> {
    let (mut found, mut inner, mut is_test) = (Vec::new(), "", false);
    for line in text.lines() {
        if let Some(name) = line
            .strip_prefix("mod ")
            .and_then(|it| it.strip_suffix(" {"))
        {
            inner = name;
        } else if line == "}" {
            inner = "";
        }
        let line = line.trim_start();
        is_test |= line == "#[test]";
        if is_test && let Some(rest) = line.strip_prefix("fn ") {
            let name = rest.split('(').next().unwrap_or_default();
            found.push(match inner {
                "" | "tests" => name.to_owned(),
                inner => format!("{inner}::{name}"),
            });
            is_test = false;
        }
    }
    found
}

fn join(module: &str, name: &str) -> String {
    match module {
        "main" => name.to_owned(),
        module => format!("{module}::{name}"),
    }
}

/// The tests of a file, those in modules of it apart: line, name, and the row that each shows.
fn tests(text: &str) -> Vec<(usize, &str, Option<&str>)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, _) in lines.iter().enumerate().filter(|(_, it)| **it == "#[test]") {
        let begins = |it: &&&str| it.starts_with("fn ");
        let Some(at) = lines[index..].iter().position(|it| begins(&it)) else {
            continue;
        };
        let at = index + at;
        let name = lines[at].trim_start_matches("fn ").split('(').next();
        let body = lines[at..].iter().take_while(|it| **it != "}");
        let row = body.filter_map(|it| it.split_once("row!(\"")).next();
        let row = row.and_then(|(_, rest)| rest.split('"').next());
        found.push((at + 1, name.unwrap_or_default(), row));
    }
    found
}

fn names_exist(promises: &Promises, page: &Page<'_>, tests: &BTreeSet<String>) -> Vec<Finding> {
    let Promises {
        page: path, what, ..
    } = promises;
    let mut findings = Vec::new();
    for (row, named) in &page.tests {
        if !page.rows.contains_key(row) {
            let line = named.first().map_or(1, |it| it.0);
            let text = format!("`{row}` is no {what} of the table above; add a row");
            findings.push(Finding::new(path, line, RULE, text));
        }
        for (line, test) in named.iter().filter(|it| !tests.contains(it.1)) {
            let text = format!("there is no test `{test}`; correct or delete it");
            findings.push(Finding::new(path, *line, RULE, text));
        }
    }
    for (row, line) in &page.rows {
        if page.tests.get(row).is_none_or(Vec::is_empty) {
            let text = format!("nothing shows `{row}`; name its tests below `**{row}**`");
            findings.push(Finding::new(path, *line, RULE, text));
        }
    }
    findings
}

/// Each test of a fault says which one it shows, and is named there and nowhere else.
fn faults_are_named(page: &Page<'_>, files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ours = files
        .iter()
        .filter(|it| it.path.starts_with(FAULTS.tests) && it.path != NO_FAULT);
    for file in ours {
        let Some((_, module)) = module(&file.path) else {
            continue;
        };
        for (line, name, row) in tests(&file.text) {
            let path = join(&module, name);
            let says = |what: String| Finding::new(&file.path, line, RULE, what);
            let Some(row) = row else {
                let what = format!("`{name}` says of no fault; begin it with `row!(\"…\")`");
                findings.push(says(what));
                continue;
            };
            let named: Vec<&str> = page
                .tests
                .iter()
                .filter(|(_, tests)| tests.iter().any(|it| it.1 == path))
                .map(|(fault, _)| *fault)
                .collect();
            if named != [row] {
                let what = format!("`{path}` belongs below `**{row}**` in {}", FAULTS.page);
                findings.push(says(what));
            }
        }
    }
    findings
}

/// Each test of an attack is named, with whatever it shows.
fn attacks_are_named(page: &Page<'_>, files: &[File]) -> Vec<Finding> {
    let named: BTreeSet<&str> = page.tests.values().flatten().map(|it| it.1).collect();
    let mut findings = Vec::new();
    for file in files.iter().filter(|it| it.path.starts_with(ATTACKS.tests)) {
        let Some((_, module)) = module(&file.path) else {
            continue;
        };
        for (line, name, _) in tests(&file.text) {
            let path = join(&module, name);
            if !named.contains(path.as_str()) {
                let text = format!(
                    "name `{path}` below the attack that it shows in {}",
                    ATTACKS.page
                );
                findings.push(Finding::new(&file.path, line, RULE, text));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        "| fault | what happens |\n| --- | --- |\n| a kill | nothing |\n\n**a kill**\n\n";

    const ATTACK: &str = "| attack | what it comes to |\n| --- | --- |\n| a lie | nothing |\n\n**a lie**\n\n- `danube-store seal::it_is_within`\n";

    fn check(page: &str, code: &str) -> Vec<String> {
        let files = [
            File::new(FAULTS.page, page),
            File::new(ATTACKS.page, ATTACK),
            File::new("crates/danube/tests/it/faults/mod.rs", code),
            File::new(
                "crates/danube-store/tests/it/crash.rs",
                "#[test]\nfn it_is_there() {\n}\n",
            ),
            File::new(
                "crates/danube-store/src/seal/mod.rs",
                "mod tests {\n    #[test]\n    fn it_is_within() {\n    }\n}\n",
            ),
        ];
        let found = pages_are_what_is_tested(&files);
        found.into_iter().map(|it| it.what).collect()
    }

    const CODE: &str = "#[test]\n#[ignore = \"long\"]\nfn one() {\n    let row = row!(\"a kill\");\n}\n\nmod tests {\n    #[test]\n    fn of_the_checker() {}\n}\n";

    #[test]
    fn a_page_that_names_what_there_is_is_right() {
        let page = format!("{TABLE}- `faults::one`\n- `danube-store crash::it_is_there`\n");
        assert_eq!(check(&page, CODE), [""; 0]);
    }

    #[test]
    fn what_is_not_there_or_not_named_is_found() {
        let gone = check(&format!("{TABLE}- `faults::one`\n- `faults::two`\n"), CODE);
        assert_eq!(gone.len(), 1);
        assert!(gone[0].contains("no test `faults::two`"), "{gone:?}");
        let silent = check(TABLE, CODE);
        assert!(silent.iter().any(|it| it.contains("nothing shows")));
        assert!(silent.iter().any(|it| it.contains("belongs below")));
    }

    #[test]
    fn a_test_stands_with_its_own_fault() {
        let other = CODE.replace("a kill", "a cut");
        let found = check(&format!("{TABLE}- `faults::one`\n"), &other);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("below `**a cut**`"), "{found:?}");
        let none = CODE.replace("    let row = row!(\"a kill\");\n", "");
        let found = check(&format!("{TABLE}- `faults::one`\n"), &none);
        assert!(found[0].contains("says of no fault"), "{found:?}");
    }

    #[test]
    fn a_test_of_an_attack_is_named() {
        let files = [
            File::new(FAULTS.page, ""),
            File::new(ATTACKS.page, ATTACK),
            File::new(
                "crates/danube/tests/it/attacks.rs",
                "#[test]\nfn lies() {\n}\n",
            ),
        ];
        let found = pages_are_what_is_tested(&files);
        let found: Vec<String> = found.into_iter().map(|it| it.what).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("no test `danube-store seal::it_is_within`"));
        assert!(found[1].contains("name `attacks::lies` below the attack"));
    }
}
