//! Checks the rules of the house that neither compiler nor clippy knows.
//!
//! A rule is a small function from files or packages to findings. A finding
//! says where, what, and what to do. Where a rule about code is wrong for one
//! line, a comment on that line or right above it takes the line out, and says
//! why: `tidy: allow(RULE): reason`. An exception that nothing needs any more is
//! a finding too.

mod code;
mod docs;
mod files;
mod licence;
mod packages;
mod repo;
mod shown;
mod source;

use std::path::Path;

pub(crate) use packages::BINARY_PACKAGES_MAX;

use crate::Result;
use crate::cargo::{self, Graph};
use repo::File;
use source::Source;

/// Something that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// From the repository's root.
    path: String,
    /// Counted from 1.
    line: usize,
    /// Name of the rule, as in `tidy: allow(RULE)`.
    rule: &'static str,
    /// What is wrong; what to do.
    what: String,
}

impl Finding {
    fn new(path: &str, line: usize, rule: &'static str, what: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            rule,
            what: what.into(),
        }
    }
}

/// Prints all findings; an error if there is one.
pub(crate) fn run(root: &Path) -> Result<()> {
    let files = repo::files(root)?;
    let graph = Graph::load(root)?;
    let tree = cargo::binary_tree(root)?;

    let mut findings: Vec<Finding> = files.iter().flat_map(check_file).collect();
    findings.extend(docs::architecture_names_every_crate(&files));
    findings.extend(docs::links_resolve(&files));
    findings.extend(shown::pages_are_what_is_tested(&files));
    findings.extend(packages::check(&graph, &tree, &files));
    findings.extend(licence::check(&graph, &files));
    findings.sort();

    for Finding {
        path,
        line,
        rule,
        what,
    } in &findings
    {
        println!("{path}:{line}: {what} [{rule}]");
    }
    match findings.len() {
        0 => Ok(()),
        1 => Err("tidy: 1 finding".into()),
        count => Err(format!("tidy: {count} findings")),
    }
}

fn check_file(file: &File) -> Vec<Finding> {
    let mut findings = files::check(file);
    if file.path.ends_with(".rs") {
        let source = Source::new(file);
        let in_code = code::check(&source)
            .into_iter()
            .chain(docs::check_source(&source));
        findings.extend(source.without_allowed(in_code.collect()));
    }
    findings
}
