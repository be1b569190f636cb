//! Rules about who may need whom.
//!
//! `MAY_USE` is the table of `ARCHITECTURE.md` in the form that is enforced.

use std::collections::BTreeSet;

use super::Finding;
use super::repo::File;
use crate::cargo::{Dependency, Graph, Node, Package};

/// Packages of the default binary: all are built on every clean CI run, and each
/// is somebody else's code in our process. May only shrink, until a part of the
/// plan brings its own.
pub(crate) const BINARY_PACKAGES_MAX: usize = 300;

/// What each crate may use, and with that all that those may use.
const MAY_USE: [(&str, &[&str]); 19] = [
    ("danube-redact", &[]),
    ("danube-joblog", &["danube-redact"]),
    ("danube-telemetry", &["danube-redact"]),
    ("danube-model", &[]),
    ("danube-blueprint", &["danube-model"]),
    ("danube-signals", &["danube-telemetry", "danube-model"]),
    ("danube-api", &["danube-model"]),
    ("danube-store", &["danube-model", "danube-signals"]),
    ("danube-backup", &["danube-store", "danube-joblog"]),
    (
        "danube-executor",
        &["danube-model", "danube-signals", "danube-joblog"],
    ),
    ("danube-ansible", &["danube-model"]),
    ("danube-outgoing", &[]),
    ("danube-pages", &["danube-api"]),
    ("danube-queue", &["danube-model", "danube-signals"]),
    ("danube-source", &["danube-model"]),
    (
        "danube-worker",
        &[
            "danube-ansible",
            "danube-executor",
            "danube-outgoing",
            "danube-queue",
            "danube-source",
            "danube-api",
        ],
    ),
    (
        "danube-master",
        &[
            "danube-store",
            "danube-backup",
            "danube-blueprint",
            "danube-worker",
            "danube-remote",
            "danube-outgoing",
            "danube-pages",
        ],
    ),
    ("danube-remote", &["danube-worker"]),
    ("danube", &["danube-master", "danube-remote"]),
];

/// What a crate must not need, even through others.
const NEVER: [(&str, &[&str]); 5] = [
    (
        "danube-executor",
        &["danube-store", "rusqlite", "libsqlite3-sys"],
    ),
    (
        "danube-worker",
        &["danube-store", "rusqlite", "libsqlite3-sys"],
    ),
    (
        "danube-remote",
        &["danube-store", "rusqlite", "libsqlite3-sys"],
    ),
    ("danube-model", &["tokio"]),
    ("danube-redact", &["tokio"]),
];

/// The libraries that open a database, and the one crate that may name them.
const DATABASE: (&[&str], &str) = (&["rusqlite", "libsqlite3-sys"], "danube-store");

pub(super) fn check(graph: &Graph, tree: &[Node], files: &[File]) -> Vec<Finding> {
    let mut findings = budget(tree);
    for package in graph.ours() {
        let manifest = manifest_path(package, files);
        let sayings = package
            .dependencies
            .iter()
            .flat_map(|it| {
                [
                    layer(package, it),
                    database(package, it),
                    from_anywhere(graph, it),
                ]
            })
            .flatten();
        let sayings = sayings
            .chain(never(graph, package))
            .chain(unplaced(package, files));
        findings.extend(sayings.map(|what| Finding::new(&manifest, 1, "packages", what)));
    }
    findings
}

fn budget(tree: &[Node]) -> Vec<Finding> {
    let packages: BTreeSet<_> = tree.iter().map(|it| (&it.name, &it.version)).collect();
    let count = packages.len();
    if count <= BINARY_PACKAGES_MAX {
        return Vec::new();
    }
    let what = format!(
        "{count} packages in the default binary, {BINARY_PACKAGES_MAX} are allowed; `cargo xtask deps-report` shows what each costs"
    );
    vec![Finding::new("Cargo.toml", 1, "packages", what)]
}

/// A crate uses only what lies below it.
fn layer(package: &Package, needed: &Dependency) -> Option<String> {
    let known = MAY_USE.iter().any(|it| it.0 == package.name);
    if !known
        || needed.dev
        || !needed.by_path
        || below(&package.name).contains(needed.name.as_str())
    {
        return None;
    }
    Some(format!(
        "{} must not use {}; see the table in ARCHITECTURE.md",
        package.name, needed.name
    ))
}

fn below(name: &str) -> BTreeSet<&'static str> {
    let direct = MAY_USE
        .iter()
        .find(|it| it.0 == name)
        .map_or([].as_slice(), |it| it.1);
    direct
        .iter()
        .flat_map(|it| below(it).into_iter().chain([*it]))
        .collect()
}

/// Nothing but the store knows SQL. Tests and benches may look from outside.
fn database(package: &Package, needed: &Dependency) -> Option<String> {
    let (libraries, owner) = DATABASE;
    let product = MAY_USE.iter().any(|it| it.0 == package.name);
    let wrong = product
        && !needed.dev
        && package.name != owner
        && libraries.contains(&needed.name.as_str());
    wrong.then(|| {
        format!(
            "{} uses {}; only {owner} opens the database",
            package.name, needed.name
        )
    })
}

/// What is built must be the same tomorrow.
fn from_anywhere(graph: &Graph, needed: &Dependency) -> Option<String> {
    if needed.requirement == "*" && !needed.by_path {
        return Some(format!("{} may be of any version; name one", needed.name));
    }
    let git = graph
        .packages
        .iter()
        .find(|it| it.name == needed.name && it.source.as_deref().is_some_and(is_git))?;
    Some(format!(
        "{} comes from a git repository; use a published version",
        git.name
    ))
}

fn is_git(source: &str) -> bool {
    source.starts_with("git+")
}

fn never(graph: &Graph, package: &Package) -> Vec<String> {
    let Some((name, forbidden)) = NEVER.iter().find(|it| it.0 == package.name) else {
        return Vec::new();
    };
    let needs = graph.needs(package);
    let met = forbidden.iter().filter(|it| needs.contains(**it));
    met.map(|it| format!("{name} needs {it}, if only through others; it must not"))
        .collect()
}

/// A new crate needs a place in the table before it can be checked.
fn unplaced(package: &Package, files: &[File]) -> Option<String> {
    let in_crates = files.iter().any(|it| it.package() == Some(&package.name));
    let placed = MAY_USE.iter().any(|it| it.0 == package.name);
    (in_crates && !placed).then(|| {
        format!(
            "{} is not in the table `MAY_USE` of xtask; say what it may use",
            package.name
        )
    })
}

fn manifest_path(package: &Package, files: &[File]) -> String {
    let wanted = format!("crates/{}/Cargo.toml", package.name);
    if files.iter().any(|it| it.path == wanted) {
        wanted
    } else {
        "Cargo.toml".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[Dependency]) -> Package {
        Package {
            id: name.into(),
            name: name.into(),
            dependencies: dependencies.to_vec(),
            ..Package::default()
        }
    }

    fn ours(name: &str) -> Dependency {
        Dependency {
            name: name.into(),
            requirement: "*".into(),
            by_path: true,
            dev: false,
        }
    }

    fn foreign(name: &str) -> Dependency {
        Dependency {
            name: name.into(),
            requirement: "^1".into(),
            ..Dependency::default()
        }
    }

    #[track_caller]
    fn check_one(name: &str, dependency: Dependency, wanted: &[&str]) {
        let graph = Graph::of(vec![package(name, &[dependency])]);
        let found = check(
            &graph,
            &[],
            &[File::new(&format!("crates/{name}/Cargo.toml"), "")],
        );
        let found: Vec<&str> = found.iter().map(|it| it.what.as_str()).collect();
        assert_eq!(found.len(), wanted.len(), "{found:?}");
        assert!(
            found
                .iter()
                .zip(wanted)
                .all(|(it, wanted)| it.contains(wanted)),
            "{found:?}"
        );
    }

    #[test]
    fn a_crate_uses_what_lies_below_it_only() {
        check_one("danube-worker", ours("danube-executor"), &[]);
        check_one("danube-worker", ours("danube-redact"), &[]);
        check_one(
            "danube-worker",
            ours("danube-store"),
            &["must not use danube-store"],
        );
        check_one(
            "danube-redact",
            ours("danube-model"),
            &["must not use danube-model"],
        );
        check_one(
            "danube-redact",
            Dependency {
                dev: true,
                ..ours("danube-model")
            },
            &[],
        );
        check_one("danube-new", ours("danube-model"), &["is not in the table"]);
    }

    #[test]
    fn only_the_store_opens_the_database() {
        check_one("danube-store", foreign("rusqlite"), &[]);
        check_one(
            "danube-master",
            foreign("rusqlite"),
            &["only danube-store opens the database"],
        );
        check_one(
            "danube",
            Dependency {
                dev: true,
                ..foreign("rusqlite")
            },
            &[],
        );
    }

    #[test]
    fn versions_are_named_and_published() {
        check_one(
            "danube",
            Dependency {
                requirement: "*".into(),
                ..foreign("a")
            },
            &["any version"],
        );
        let git = Package {
            source: Some("git+https://x".into()),
            ..package("a", &[])
        };
        let graph = Graph::of(vec![package("danube", &[foreign("a")]), git]);
        assert_eq!(check(&graph, &[], &[]).len(), 1);
    }

    #[test]
    fn what_must_never_be_needed_is_found_through_others() {
        let graph = Graph::from_metadata(&serde_json::json!({
            "packages": [
                {"id": "w", "name": "danube-worker"},
                {"id": "h", "name": "helper", "source": "registry"},
                {"id": "r", "name": "rusqlite", "source": "registry"},
            ],
            "resolve": {"nodes": [
                {"id": "w", "deps": [{"pkg": "h", "dep_kinds": [{"kind": null}]}]},
                {"id": "h", "deps": [{"pkg": "r", "dep_kinds": [{"kind": null}]}]},
            ]},
        }));
        let found = check(&graph, &[], &[]);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains("danube-worker needs rusqlite"));
    }

    #[test]
    fn the_binary_has_a_budget() {
        let node = |number: usize| Node {
            depth: 1,
            name: format!("a{number}"),
            version: "1".into(),
            licence: "MIT".into(),
        };
        let mut tree: Vec<Node> = (0..BINARY_PACKAGES_MAX).map(node).collect();
        tree.push(node(0));
        assert_eq!(check(&Graph::default(), &tree, &[]), []);
        tree.push(node(BINARY_PACKAGES_MAX));
        assert_eq!(check(&Graph::default(), &tree, &[]).len(), 1);
    }
}
