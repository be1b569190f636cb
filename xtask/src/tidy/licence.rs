//! Every package may be used under a licence that `deny.toml` allows.
//!
//! cargo-deny checks the same and more, but not every machine has it.

use super::Finding;
use super::repo::File;
use crate::cargo::Graph;

const LIST: &str = "deny.toml";

pub(super) fn check(graph: &Graph, files: &[File]) -> Vec<Finding> {
    let allowed = files
        .iter()
        .find(|it| it.path == LIST)
        .map(|it| allow_list(&it.text))
        .unwrap_or_default();
    if allowed.is_empty() {
        return vec![Finding::new(
            LIST,
            1,
            "licence",
            "no `allow = [` under `[licenses]`; list the licences there",
        )];
    }
    let mut findings = Vec::new();
    for package in &graph.packages {
        let (name, version) = (&package.name, &package.version);
        let what = match &package.licence {
            None => format!("{name} {version} names no licence; use another package"),
            Some(licence) if permits(licence, &allowed) => continue,
            Some(licence) => {
                format!(
                    "{name} {version} is under `{licence}`, which the list doesn't allow; use another package"
                )
            }
        };
        findings.push(Finding::new(LIST, 1, "licence", what));
    }
    findings
}

/// The quoted names in `allow = […]` of the section `[licenses]`.
fn allow_list(text: &str) -> Vec<String> {
    let section = text
        .lines()
        .skip_while(|it| it.trim() != "[licenses]")
        .skip(1);
    let section = section.take_while(|it| !it.starts_with('['));
    let list = section
        .skip_while(|it| !it.starts_with("allow = ["))
        .take_while(|it| it.trim() != "]");
    let without_comments = list.map(|it| it.split('#').next().unwrap_or_default());
    let joined: String = without_comments.collect();
    joined
        .split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Evaluates an SPDX expression: `OR` binds weaker than `AND`; `/` is an old
/// way to write `OR`. A licence with an exception must be listed with it.
fn permits(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser {
        words: &words,
        allowed,
    };
    let verdict = parser.any();
    verdict && parser.words.is_empty()
}

struct Parser<'a> {
    words: &'a [&'a str],
    allowed: &'a [String],
}

impl Parser<'_> {
    fn any(&mut self) -> bool {
        let mut verdict = self.all();
        while self.take("OR") {
            verdict |= self.all();
        }
        verdict
    }

    fn all(&mut self) -> bool {
        let mut verdict = self.one();
        while self.take("AND") {
            verdict &= self.one();
        }
        verdict
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let verdict = self.any();
            return self.take(")") && verdict;
        }
        let Some((name, rest)) = self.words.split_first() else {
            return false;
        };
        self.words = rest;
        let mut name = (*name).to_owned();
        if self.take("WITH")
            && let Some((exception, rest)) = self.words.split_first()
        {
            self.words = rest;
            name = format!("{name} WITH {exception}");
        }
        self.allowed.contains(&name)
    }

    fn take(&mut self, word: &str) -> bool {
        let here = self.words.first() == Some(&word);
        if here {
            self.words = &self.words[1..];
        }
        here
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::Package;

    const TOML: &str = "\
[bans]
allow = [
    \"GPL-3.0\",
]
[licenses]
version = 2
allow = [
    \"MIT\", # not \"BSD\"
    \"ISC\",
]
[sources]
allow-git = [\"x\"]
";

    #[track_caller]
    fn check_expression(expression: &str, wanted: bool) {
        assert_eq!(
            permits(expression, &allow_list(TOML)),
            wanted,
            "{expression}"
        );
    }

    #[test]
    fn the_list_is_that_of_its_section_without_comments() {
        assert_eq!(allow_list(TOML), ["MIT", "ISC"]);
        assert_eq!(allow_list("[licenses]\n"), [""; 0]);
    }

    #[test]
    fn an_expression_is_allowed_if_some_choice_is() {
        check_expression("MIT", true);
        check_expression("GPL-3.0", false);
        check_expression("GPL-3.0 OR MIT", true);
        check_expression("GPL-3.0/MIT", true);
        check_expression("ISC AND MIT", true);
        check_expression("ISC AND GPL-3.0", false);
        check_expression("ISC AND GPL-3.0 OR MIT", true);
        check_expression("ISC AND (GPL-3.0 OR BSD)", false);
        check_expression("(GPL-3.0 OR MIT) AND ISC", true);
    }

    #[test]
    fn an_exception_is_a_licence_of_its_own_and_nonsense_is_none() {
        check_expression("MIT WITH LLVM-exception", false);
        check_expression("GPL-3.0 WITH a OR MIT", true);
        check_expression("MIT MIT", false);
        check_expression("(MIT", false);
        check_expression("MIT AND", false);
        check_expression("", false);
    }

    #[test]
    fn a_package_without_an_allowed_licence_is_found() {
        let package = |name: &str, licence: Option<&str>| Package {
            name: name.into(),
            licence: licence.map(str::to_owned),
            ..Package::default()
        };
        let graph = Graph::of(vec![
            package("a", Some("MIT")),
            package("b", None),
            package("c", Some("GPL-3.0")),
        ]);
        let found = check(&graph, &[File::new(LIST, TOML)]);
        assert_eq!(found.len(), 2);
        assert!(found[0].what.starts_with("b "));
        assert!(found[1].what.starts_with("c "));
        assert_eq!(check(&graph, &[]).len(), 1);
    }
}
