//! Rules about what is written for readers: doc comments, the map of the house,
//! links.

use std::collections::BTreeSet;

use super::Finding;
use super::repo::File;
use super::source::{Part, Source};

const MAP: &str = "ARCHITECTURE.md";

pub(super) fn check_source(source: &Source<'_>) -> Vec<Finding> {
    let mut findings = begins_with_its_purpose(source);
    findings.extend(limits_have_reasons(source));
    findings
}

fn begins_with_its_purpose(source: &Source<'_>) -> Vec<Finding> {
    if source.file.text.starts_with("//!") {
        return Vec::new();
    }
    vec![source.finding(
        0,
        "header",
        "the file doesn't say what it is for; begin it with a `//!` sentence",
    )]
}

/// A limit without a reason can't be questioned, and so never changes.
fn limits_have_reasons(source: &Source<'_>) -> Vec<Finding> {
    let limits = source
        .code
        .iter()
        .enumerate()
        .filter_map(|(index, line)| Some((index, limit_name(line)?)));
    let bare = limits.filter(|(index, _)| {
        source.part[*index] == Part::Product && !is_documented(source, *index)
    });
    let finding = |(index, name)| {
        source.finding(
            index,
            "limit-doc",
            format!("`{name}` has no doc comment; say why this number"),
        )
    };
    bare.map(finding).collect()
}

/// The name in `const NAME_MAX: …`, whatever its visibility.
fn limit_name(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let (before, after) = line.split_once("const ")?;
    let visibility = before.trim_end();
    if !(visibility.is_empty()
        || visibility == "pub"
        || (visibility.starts_with("pub(") && visibility.ends_with(')')))
    {
        return None;
    }
    let name = after.split_once(':')?.0.trim_end();
    let plain = name
        .chars()
        .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    (plain && (name.ends_with("_MAX") || name.ends_with("_LIMIT"))).then_some(name)
}

/// Whether a doc comment stands above the line, attributes apart.
fn is_documented(source: &Source<'_>, index: usize) -> bool {
    let mut above = (0..index)
        .rev()
        .skip_while(|it| source.code[*it].trim_start().starts_with("#["));
    above
        .next()
        .is_some_and(|it| source.comments[it].trim_start().starts_with("///"))
}

/// A crate that isn't on the map isn't found by a newcomer.
pub(super) fn architecture_names_every_crate(files: &[File]) -> Vec<Finding> {
    let Some(map) = files.iter().find(|it| it.path == MAP) else {
        return vec![Finding::new(
            MAP,
            1,
            "map",
            "the map of the house is missing; write it, one table row a crate",
        )];
    };
    let crates: BTreeSet<&str> = files.iter().filter_map(File::package).collect();
    let rows: Vec<&str> = map.text.lines().filter(|it| it.starts_with('|')).collect();
    let lost = crates
        .into_iter()
        .filter(|name| !rows.iter().any(|it| it.contains(&format!("`{name}`"))));
    lost.map(|name| {
        Finding::new(
            MAP,
            1,
            "map",
            format!("no table row has `{name}`; add one that says what lives there"),
        )
    })
    .collect()
}

/// Links between Markdown files, and from them to code, lead somewhere.
pub(super) fn links_resolve(files: &[File]) -> Vec<Finding> {
    let known: BTreeSet<&str> = files.iter().map(|it| it.path.as_str()).collect();
    let exists = |path: &str| {
        let folder = format!("{path}/");
        path.is_empty() || known.contains(path) || known.iter().any(|it| it.starts_with(&folder))
    };
    let mut findings = Vec::new();
    for file in files.iter().filter(|it| it.path.ends_with(".md")) {
        for (line, target) in links(&file.text) {
            if !resolve(&file.path, target).is_some_and(|it| exists(&it)) {
                let what = format!(
                    "the link to `{target}` leads nowhere in this repository; correct or delete it"
                );
                findings.push(Finding::new(&file.path, line, "link", what));
            }
        }
    }
    findings
}

/// Line and file of each `[text](file)` outside code; no addresses, no anchors.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every second piece between backticks is code.
        for prose in line.split('`').step_by(2) {
            let targets = prose
                .split("](")
                .skip(1)
                .filter_map(|it| it.split([')', '#', ' ']).next());
            let local = targets
                .filter(|it| !it.is_empty() && !it.contains("://") && !it.starts_with("mailto:"));
            found.extend(local.map(|it| (index + 1, it)));
        }
    }
    found
}

/// `target` as a path from the root; none if it leaves the repository.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut way: Vec<&str> = Vec::new();
    if !target.starts_with('/') {
        way.extend(from.split('/'));
        way.pop();
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                way.pop()?;
            }
            name => way.push(name),
        }
    }
    Some(way.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, wanted: &[(usize, &str)]) {
        let file = File::new("crates/danube/src/lib.rs", text);
        let found = check_source(&Source::new(&file));
        let found: Vec<(usize, &str)> = found.iter().map(|it| (it.line, it.rule)).collect();
        assert_eq!(found, wanted, "{text}");
    }

    #[test]
    fn a_file_begins_with_its_purpose() {
        check("//! Does a thing.\n", &[]);
        check("\n//! Late.\n", &[(1, "header")]);
        check("use a;\n", &[(1, "header")]);
    }

    #[test]
    fn a_limit_has_a_reason() {
        check("//! a\n/// Because.\npub const A_MAX: u8 = 1;", &[]);
        check(
            "//! a\n/// Because.\n#[cfg(unix)]\nconst A_LIMIT: u8 = 1;",
            &[],
        );
        check(
            "//! a\npub(crate) const A_MAX: u8 = 1;",
            &[(2, "limit-doc")],
        );
        check(
            "//! a\n// Not a doc comment.\nconst A_MAX: u8 = 1;",
            &[(3, "limit-doc")],
        );
        check(
            "//! a\nconst A: u8 = u8::MAX;\nconst fn a_max() {}\nlet a: *const A_MAX;",
            &[],
        );
        check(
            "//! a\n#[cfg(test)]\nmod tests {\nconst A_MAX: u8 = 1;\n}",
            &[],
        );
    }

    #[test]
    fn every_crate_has_a_row_on_the_map() {
        let code = File::new("crates/danube-store/src/lib.rs", "");
        let row = File::new(MAP, "| crate | |\n| `danube-store` | the database |\n");
        let prose = File::new(MAP, "`danube-store` is the database\n");
        assert_eq!(architecture_names_every_crate(&[code, row]), []);
        let code = File::new("crates/danube-store/src/lib.rs", "");
        let found = architecture_names_every_crate(&[code, prose]);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains("danube-store"));
        assert_eq!(architecture_names_every_crate(&[]).len(), 1);
    }

    #[track_caller]
    fn check_link(text: &str, dead: &[&str]) {
        let files = [
            File::new("docs/a/page.md", text),
            File::new("docs/b.md", ""),
            File::new("src/main.rs", ""),
        ];
        let found = links_resolve(&files);
        let wanted: Vec<String> = dead
            .iter()
            .map(|it| format!("the link to `{it}`"))
            .collect();
        assert_eq!(found.len(), wanted.len(), "{found:?}");
        assert!(
            found
                .iter()
                .zip(&wanted)
                .all(|(it, wanted)| it.what.starts_with(wanted)),
            "{found:?}"
        );
    }

    #[test]
    fn links_to_files_and_folders_resolve() {
        check_link(
            "[a](../b.md) [b](../b.md#part \"title\") [c](/src/main.rs) [d](../../src/)",
            &[],
        );
        check_link(
            "![a](picture.png) [b](../../../b.md)",
            &["picture.png", "../../../b.md"],
        );
    }

    #[test]
    fn addresses_anchors_and_code_are_not_checked() {
        check_link(
            "[a](https://danube.dev/x) [b](#part) [c](mailto:a@b.c) `[d](e)`\n```\n[f](g)\n```\n",
            &[],
        );
    }
}
