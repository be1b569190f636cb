//! What a source needs from Ansible Galaxy, and how it is installed.
//!
//! This only says what to run. Whoever runs steps does that, inside a sandbox
//! and as the job, and only where the operator allows it (`sources.galaxy`):
//! it runs what strangers wrote.

use std::path::{Path, PathBuf};

use crate::confine::open_file;

/// What is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Roles, and collections that stand in the same file.
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

/// Where requirements are looked for, as Ansible's own tools do, in the order in
/// which they are installed.
const FILES: [(&str, &[Kind]); 6] = [
    ("requirements.yml", &[Kind::Roles, Kind::Collections]),
    ("requirements.yaml", &[Kind::Roles, Kind::Collections]),
    ("roles/requirements.yml", &[Kind::Roles]),
    ("roles/requirements.yaml", &[Kind::Roles]),
    ("collections/requirements.yml", &[Kind::Collections]),
    ("collections/requirements.yaml", &[Kind::Collections]),
];

/// The files of a source that name what it needs.
#[must_use]
pub fn requirements(root: &Path) -> Vec<Requirements> {
    FILES
        .iter()
        .filter(|(file, _)| open_file(root, file).is_ok())
        .flat_map(|(file, kinds)| kinds.iter().map(move |kind| (file, *kind)))
        .map(|(file, kind)| Requirements {
            file: PathBuf::from(file),
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

/// How requirements are installed below `into`, a directory of the job's own.
/// [`search_path`] says how Ansible finds it there.
#[must_use]
pub fn install(needed: &Requirements, into: &Path) -> Install {
    let (word, below) = match needed.kind {
        Kind::Roles => ("role", "roles"),
        Kind::Collections => ("collection", "collections"),
    };
    let into_kind = into.join(below);
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let argv = [
        "ansible-galaxy",
        word,
        "install",
        "-r",
        &text(&needed.file),
        "-p",
        &text(&into_kind),
    ];
    let env = [
        ("ANSIBLE_GALAXY_CACHE_DIR", text(&into.join("cache"))),
        ("ANSIBLE_GALAXY_TOKEN_PATH", text(&into.join("token"))),
        ("ANSIBLE_LOCAL_TEMP", text(&into.join("tmp"))),
        // What is installed comes from git, too: nothing may wait for a person.
        ("GIT_TERMINAL_PROMPT", "0".to_owned()),
    ];
    Install {
        argv: argv.map(str::to_owned).to_vec(),
        env: env.map(|(name, value)| (name.to_owned(), value)).to_vec(),
    }
}

/// Variables with which `ansible-playbook` finds what [`install`] installed: the
/// source's own first.
#[must_use]
pub fn search_path(root: &Path, into: &Path) -> Vec<(String, String)> {
    let both = |name: &str| {
        let (own, installed) = (root.join(name), into.join(name));
        format!("{}:{}", own.display(), installed.display())
    };
    vec![
        ("ANSIBLE_ROLES_PATH".to_owned(), both("roles")),
        ("ANSIBLE_COLLECTIONS_PATH".to_owned(), both("collections")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_found_where_ansible_looks() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(requirements(root.path()), []);
        std::fs::create_dir(root.path().join("roles")).unwrap();
        std::fs::write(root.path().join("requirements.yml"), "---\n").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", root.path().join("roles/requirements.yml"))
            .unwrap();
        let found: Vec<_> = requirements(root.path())
            .into_iter()
            .map(|it| it.kind)
            .collect();
        // The link that leads out isn't one of them.
        assert_eq!(found, [Kind::Roles, Kind::Collections]);
    }

    #[test]
    fn they_go_into_the_jobs_own_directory() {
        let needed = Requirements {
            file: "requirements.yml".into(),
            kind: Kind::Collections,
        };
        let install = install(&needed, Path::new("/job/galaxy"));
        assert_eq!(
            install.argv.join(" "),
            "ansible-galaxy collection install -r requirements.yml -p /job/galaxy/collections"
        );
        let paths = search_path(Path::new("/job/source"), Path::new("/job/galaxy"));
        assert_eq!(paths[0].1, "/job/source/roles:/job/galaxy/roles");
    }
}
