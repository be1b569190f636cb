//! Shows what the default binary is made of, so that a new dependency is
//! discussed with its price on the table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::cargo::{self, Node};
use crate::{Result, tidy};

/// Direct dependencies shown, dearest first: the cheap ones are not the question.
const PRICES_SHOWN_MAX: usize = 15;

pub(crate) fn run(root: &Path) -> Result<()> {
    let tree = cargo::binary_tree(root)?;
    let packages = unique(&tree);
    println!(
        "packages in the default binary: {} of {}",
        packages.len(),
        tidy::BINARY_PACKAGES_MAX
    );

    println!("\nlicences");
    let mut licences: BTreeMap<&str, usize> = BTreeMap::new();
    for (.., licence) in &packages {
        *licences.entry(licence).or_default() += 1;
    }
    for (licence, count) in licences {
        println!("  {count:>4}  {licence}");
    }

    println!("\nin more than one version");
    for (name, versions) in duplicates(&packages) {
        println!("  {name}: {}", versions.join(", "));
    }

    println!("\ndirect dependencies, and the packages that only they bring");
    for (name, count) in prices(&tree).into_iter().take(PRICES_SHOWN_MAX) {
        println!("  {count:>4}  {name}");
    }
    Ok(())
}

/// Name, version and licence of each package, once.
fn unique(tree: &[Node]) -> BTreeSet<(&str, &str, &str)> {
    tree.iter()
        .map(|it| (it.name.as_str(), it.version.as_str(), it.licence.as_str()))
        .collect()
}

fn duplicates<'a>(
    packages: &BTreeSet<(&'a str, &'a str, &str)>,
) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, version, _) in packages {
        versions.entry(name).or_default().push(version);
    }
    versions.retain(|_, it| it.len() > 1);
    versions
}

/// For each library that one of our crates names: how many packages would go if
/// it went, itself included. Dearest first.
fn prices(tree: &[Node]) -> Vec<(&str, usize)> {
    // Which direct dependencies each foreign package is reached through. A
    // direct dependency is the first foreign package on the way from the root.
    let mut through: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    let mut way: Vec<&str> = Vec::new();
    for node in tree {
        way.truncate(node.depth);
        way.push(&node.name);
        if let Some(direct) = way.iter().find(|it| !ours(it)) {
            through
                .entry((&node.name, &node.version))
                .or_default()
                .insert(direct);
        }
    }
    let mut prices: BTreeMap<&str, usize> = BTreeMap::new();
    for reached in through.values() {
        if let [only] = Vec::from_iter(reached).as_slice() {
            *prices.entry(only).or_default() += 1;
        }
    }
    let mut prices: Vec<(&str, usize)> = prices.into_iter().collect();
    prices.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    prices
}

fn ours(name: &str) -> bool {
    name == "danube" || name.starts_with("danube-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(depth: usize, name: &str, version: &str) -> Node {
        Node {
            depth,
            name: name.into(),
            version: version.into(),
            licence: "MIT".into(),
        }
    }

    #[test]
    fn a_library_costs_what_only_it_brings() {
        let tree = [
            node(0, "danube", "0"),
            node(1, "web", "1"),
            node(2, "shared", "1"),
            node(2, "http", "1"),
            node(1, "danube-store", "0"),
            node(2, "sql", "1"),
            node(3, "shared", "1"),
        ];
        assert_eq!(prices(&tree), [("web", 2), ("sql", 1)]);
    }

    #[test]
    fn a_library_in_two_versions_is_seen() {
        let tree = [
            node(1, "rand", "0.9"),
            node(1, "rand", "0.10"),
            node(2, "rand", "0.9"),
            node(1, "log", "1"),
        ];
        let packages = unique(&tree);
        assert_eq!(packages.len(), 3);
        assert_eq!(
            duplicates(&packages),
            BTreeMap::from([("rand", vec!["0.10", "0.9"])])
        );
    }
}
