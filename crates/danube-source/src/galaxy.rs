//! What a source needs from Ansible Galaxy, and how it is installed.
//!
//! This only says what to run. Whoever runs steps does that, inside a sandbox
//! and as the job, and only where the operator allows it (`sources.galaxy`):
//! it runs what strangers wrote.

use std::path::{Path, PathBuf};

use danube_model::playbook::source::Source;

use crate::confine::open_file;

/// What a file names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Roles and collections, or roles alone as a list.
    Both,
    /// Roles.
    Roles,
    /// Collections.
    Collections,
}

/// A file that names what a source needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirements {
    /// Its path in the source.
    pub file: PathBuf,
    /// What it names.
    pub kind: Kind,
}

/// Where a project's requirements are looked for, as Ansible's own tools do, in
/// the order in which they are installed.
const OF_A_PROJECT: [(&str, Kind); 6] = [
    ("requirements.yml", Kind::Both),
    ("requirements.yaml", Kind::Both),
    ("roles/requirements.yml", Kind::Roles),
    ("roles/requirements.yaml", Kind::Roles),
    ("collections/requirements.yml", Kind::Collections),
    ("collections/requirements.yaml", Kind::Collections),
];

/// Where a role's are.
const OF_A_ROLE: [(&str, Kind); 2] = [
    ("requirements.yml", Kind::Both),
    ("meta/requirements.yml", Kind::Both),
];

/// The files of a fetched source that name what it needs. `root` is where it was
/// fetched to.
#[must_use]
pub fn requirements(source: &Source, root: &Path) -> Vec<Requirements> {
    let (below, files) = match source {
        Source::Role { name, .. } => (format!("roles/{name}/"), &OF_A_ROLE[..]),
        _ => (String::new(), &OF_A_PROJECT[..]),
    };
    files
        .iter()
        .map(|(file, kind)| (format!("{below}{file}"), *kind))
        .filter(|(file, _)| open_file(root, file).is_ok())
        .map(|(file, kind)| Requirements {
            file: file.into(),
            kind,
        })
        .collect()
}

/// What to run, in the source's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables besides the usual ones.
    pub env: Vec<(String, String)>,
}

/// How requirements are installed below `into`, a directory of the job's own, in its `roles`
/// and `collections`. Where is said by variables: with a path as an option, Ansible leaves
/// the collections of a file out. `server` takes the place of the public one.
#[must_use]
pub fn install(needed: &Requirements, into: &Path, server: Option<&str>) -> Install {
    let what: &[&str] = match needed.kind {
        Kind::Both => &[],
        Kind::Roles => &["role"],
        Kind::Collections => &["collection"],
    };
    let mut argv = vec!["ansible-galaxy"];
    argv.extend(what);
    let file = needed.file.to_string_lossy();
    argv.extend(["install", "-r", &file]);
    let at = |name: &str| into.join(name).to_string_lossy().into_owned();
    let env = [
        ("ANSIBLE_ROLES_PATH", at("roles")),
        ("ANSIBLE_COLLECTIONS_PATH", at("collections")),
        ("ANSIBLE_GALAXY_CACHE_DIR", at("cache")),
        ("ANSIBLE_GALAXY_TOKEN_PATH", at("token")),
        ("ANSIBLE_LOCAL_TEMP", at("tmp")),
        // What is installed comes from git, too: nothing may wait for a person.
        ("GIT_TERMINAL_PROMPT", "0".to_owned()),
    ];
    let server = server.map(|it| ("ANSIBLE_GALAXY_SERVER", it.to_owned()));
    Install {
        argv: argv.into_iter().map(str::to_owned).collect(),
        env: env
            .into_iter()
            .chain(server)
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_found_where_ansible_looks() {
        let root = tempfile::tempdir().unwrap();
        let source = Source::Inline {
            playbook: String::new(),
        };
        assert_eq!(requirements(&source, root.path()), []);
        std::fs::create_dir_all(root.path().join("roles/web/meta")).unwrap();
        std::fs::write(root.path().join("requirements.yml"), "---\n").unwrap();
        std::fs::write(root.path().join("roles/web/meta/requirements.yml"), "---\n").unwrap();
        // The link that leads out isn't one of them.
        let out = root.path().join("roles/requirements.yml");
        std::os::unix::fs::symlink("/etc/hostname", out).unwrap();
        let check = |source: &Source, expected: &str| {
            let expected = Requirements {
                file: expected.into(),
                kind: Kind::Both,
            };
            assert_eq!(requirements(source, root.path()), [expected]);
        };
        check(&source, "requirements.yml");
        let role = Source::Role {
            repo: "/srv/web".to_owned(),
            git_ref: None,
            name: "web".to_owned(),
            hosts: "all".to_owned(),
            vars: serde_json::Map::new(),
        };
        check(&role, "roles/web/meta/requirements.yml");
    }
}
