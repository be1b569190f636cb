//! Asks cargo what the workspace is made of.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::Result;

/// Every package in the lock file, and who needs whom.
#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) packages: Vec<Package>,
    /// Package id to the ids it needs to be built and to run (not to be tested).
    edges: HashMap<String, Vec<String>>,
}

#[derive(Clone, Default)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// The SPDX expression that the package declares.
    pub(crate) licence: Option<String>,
    /// Cargo's source id; none for packages of this workspace.
    pub(crate) source: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
}

/// A dependency as a `Cargo.toml` states it.
#[derive(Clone, Default)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) requirement: String,
    pub(crate) by_path: bool,
    pub(crate) dev: bool,
}

impl Package {
    pub(crate) fn ours(&self) -> bool {
        self.source.is_none()
    }
}

impl Graph {
    /// Reads the graph without the network if all packages are here already.
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let text = output(root, &["metadata", "--format-version", "1", "--offline"])
            .or_else(|_| output(root, &["metadata", "--format-version", "1"]))?;
        let value =
            serde_json::from_str(&text).map_err(|why| format!("read cargo metadata: {why}"))?;
        Ok(Self::from_metadata(&value))
    }

    pub(crate) fn from_metadata(value: &Value) -> Self {
        let packages = items(&value["packages"]).map(package).collect();
        let edges = items(&value["resolve"]["nodes"])
            .map(|node| {
                let needed = items(&node["deps"]).filter(|dep| {
                    items(&dep["dep_kinds"]).any(|kind| kind["kind"].as_str() != Some("dev"))
                });
                (
                    text(&node["id"]),
                    needed.map(|dep| text(&dep["pkg"])).collect(),
                )
            })
            .collect();
        Self { packages, edges }
    }

    #[cfg(test)]
    pub(crate) fn of(packages: Vec<Package>) -> Self {
        Self {
            packages,
            edges: HashMap::new(),
        }
    }

    pub(crate) fn ours(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|it| it.ours())
    }

    /// Names of everything that `package` needs, directly or not, without tests.
    pub(crate) fn needs(&self, package: &Package) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut open = vec![package.id.as_str()];
        while let Some(id) = open.pop() {
            for next in self.edges.get(id).into_iter().flatten() {
                if seen.insert(next.as_str()) {
                    open.push(next);
                }
            }
        }
        let needed = self
            .packages
            .iter()
            .filter(|it| seen.contains(it.id.as_str()));
        needed.map(|it| it.name.as_str()).collect()
    }
}

/// One package of the default binary, in the order of `cargo tree`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) depth: usize,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) licence: String,
}

/// What the default binary is built from on this system, as `cargo tree`
/// prints it: a package occurs once for each way it is reached.
pub(crate) fn binary_tree(root: &Path) -> Result<Vec<Node>> {
    let tree = [
        "tree",
        "-p",
        "danube",
        "-e",
        "normal",
        "--prefix",
        "depth",
        "--no-dedupe",
    ];
    let format = ["--format", " {p}\t{l}"];
    let arguments: Vec<&str> = tree.into_iter().chain(format).collect();
    let offline: Vec<&str> = arguments.iter().copied().chain(["--offline"]).collect();
    let text = output(root, &offline).or_else(|_| output(root, &arguments))?;
    text.lines().map(tree_line).collect()
}

/// `12 name v1.2.3 (proc-macro)<TAB>MIT`.
fn tree_line(line: &str) -> Result<Node> {
    let strange = || format!("read cargo tree: strange line {line:?}");
    let (package, licence) = line.split_once('\t').ok_or_else(strange)?;
    let mut words = package.split(' ');
    let depth = words
        .next()
        .and_then(|it| it.parse().ok())
        .ok_or_else(strange)?;
    let name = words.next().ok_or_else(strange)?.to_owned();
    let version = words
        .next()
        .ok_or_else(strange)?
        .trim_start_matches('v')
        .to_owned();
    Ok(Node {
        depth,
        name,
        version,
        licence: licence.to_owned(),
    })
}

/// A command that runs the cargo which runs us.
pub(crate) fn command(root: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root);
    command
}

fn output(root: &Path, arguments: &[&str]) -> Result<String> {
    let what = format!("run cargo {}", arguments.join(" "));
    let output = command(root)
        .args(arguments)
        .output()
        .map_err(|why| format!("{what}: {why}"))?;
    if !output.status.success() {
        return Err(format!(
            "{what}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    String::from_utf8(output.stdout).map_err(|why| format!("{what}: {why}"))
}

fn package(value: &Value) -> Package {
    Package {
        id: text(&value["id"]),
        name: text(&value["name"]),
        version: text(&value["version"]),
        licence: value["license"].as_str().map(str::to_owned),
        source: value["source"].as_str().map(str::to_owned),
        dependencies: items(&value["dependencies"])
            .map(|it| Dependency {
                name: text(&it["name"]),
                requirement: text(&it["req"]),
                by_path: it["path"].is_string(),
                dev: it["kind"].as_str() == Some("dev"),
            })
            .collect(),
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn needs_follows_normal_and_build_dependencies_but_not_those_of_tests() {
        let graph = Graph::from_metadata(&json!({
            "packages": [
                {"id": "a", "name": "app", "dependencies": [{"name": "lib", "req": "*", "path": "/x"}]},
                {"id": "l", "name": "lib", "source": "registry"},
                {"id": "s", "name": "sys", "source": "registry"},
                {"id": "t", "name": "tester", "source": "registry"},
            ],
            "resolve": {"nodes": [
                {"id": "a", "deps": [
                    {"pkg": "l", "dep_kinds": [{"kind": null}]},
                    {"pkg": "t", "dep_kinds": [{"kind": "dev"}]},
                ]},
                {"id": "l", "deps": [{"pkg": "s", "dep_kinds": [{"kind": "build"}]}]},
            ]},
        }));
        let app = graph.ours().next().unwrap();
        assert_eq!(app.name, "app");
        assert!(app.dependencies[0].by_path);
        assert_eq!(
            graph.needs(app).into_iter().collect::<Vec<_>>(),
            ["lib", "sys"]
        );
    }

    #[test]
    fn a_line_of_the_tree_gives_depth_name_version_and_licence() {
        let node = tree_line("12 serde_derive v1.0.1 (proc-macro)\tMIT OR Apache-2.0").unwrap();
        let wanted = Node {
            depth: 12,
            name: "serde_derive".into(),
            version: "1.0.1".into(),
            licence: "MIT OR Apache-2.0".into(),
        };
        assert_eq!(node, wanted);
        assert!(tree_line("nonsense").is_err());
    }
}
