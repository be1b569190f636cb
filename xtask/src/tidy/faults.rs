//! The list of faults in `docs/reliability.md` is what the tests show: no test is named that isn't
//! there, and none is there that isn't named.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::repo::File;

const PAGE: &str = "docs/reliability.md";
const RULE: &str = "faults";

/// Where the tests of faults live, and the file there that has none.
const FAULTS: &str = "crates/danube/tests/it/faults";
const NO_FAULT: &str = "crates/danube/tests/it/faults/row.rs";

/// The crate of tests that are named without one.
const PROGRAM: &str = "danube";

/// Where a fault or a test stands: line from 1.
type Lines<'a> = BTreeMap<&'a str, usize>;

/// What the page says.
#[derive(Default)]
struct Page<'a> {
    /// The faults of its table.
    faults: Lines<'a>,
    /// The tests of each, with their line.
    tests: BTreeMap<&'a str, Vec<(usize, &'a str)>>,
}

pub(super) fn page_is_what_is_tested(files: &[File]) -> Vec<Finding> {
    let Some(file) = files.iter().find(|it| it.path == PAGE) else {
        return vec![Finding::new(PAGE, 1, RULE, "the page is missing")];
    };
    let page = read(&file.text);
    let tests = all_tests(files);
    let mut findings = names_exist(&page, &tests);
    findings.extend(tests_are_named(&page, files));
    findings
}

/// Rows `| fault | what happens |`, and below them `**fault**` with a list of tests each.
fn read(text: &str) -> Page<'_> {
    let (mut page, mut in_table, mut fault) = (Page::default(), false, "");
    for (line, text) in (1..).zip(text.lines()) {
        let cells: Vec<&str> = text.split('|').map(str::trim).collect();
        match cells.as_slice() {
            ["", "fault", _, ""] => in_table = true,
            ["", name, _, ""] if in_table && *name != "---" => {
                page.faults.insert(name, line);
            }
            ["", ..] if text.starts_with('|') => {}
            _ => in_table = false,
        }
        if let Some(name) = text.strip_prefix("**").and_then(|it| it.strip_suffix("**")) {
            fault = name;
            page.tests.entry(fault).or_default();
        } else if let Some(test) = text.strip_prefix("- `")
            && let Some((test, _)) = test.split_once('`')
        {
            page.tests.entry(fault).or_default().push((line, test));
        }
    }
    page
}

/// Every integration test by its name, with its crate before it where that isn't the program.
fn all_tests(files: &[File]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for file in files {
        let Some((package, module)) = module(&file.path) else {
            continue;
        };
        for (_, name, _) in tests(&file.text) {
            let path = join(&module, name);
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

fn names_exist(page: &Page<'_>, tests: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (fault, named) in &page.tests {
        if !page.faults.contains_key(fault) {
            let line = named.first().map_or(1, |it| it.0);
            let what = format!("`{fault}` is no fault of the table above; add a row");
            findings.push(Finding::new(PAGE, line, RULE, what));
        }
        for (line, test) in named.iter().filter(|it| !tests.contains(it.1)) {
            let what = format!("there is no test `{test}`; correct or delete it");
            findings.push(Finding::new(PAGE, *line, RULE, what));
        }
    }
    for (fault, line) in &page.faults {
        if page.tests.get(fault).is_none_or(Vec::is_empty) {
            let what = format!("nothing shows `{fault}`; name its tests below `**{fault}**`");
            findings.push(Finding::new(PAGE, *line, RULE, what));
        }
    }
    findings
}

/// Each test of a fault says which one it shows, and is named there and nowhere else.
fn tests_are_named(page: &Page<'_>, files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ours = files
        .iter()
        .filter(|it| it.path.starts_with(FAULTS) && it.path != NO_FAULT);
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
                let what = format!("`{path}` belongs below `**{row}**` in {PAGE}");
                findings.push(says(what));
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

    fn check(page: &str, code: &str) -> Vec<String> {
        let files = [
            File::new(PAGE, page),
            File::new("crates/danube/tests/it/faults/mod.rs", code),
            File::new(
                "crates/danube-store/tests/it/crash.rs",
                "#[test]\nfn it_is_there() {\n}\n",
            ),
        ];
        let found = page_is_what_is_tested(&files);
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
}
