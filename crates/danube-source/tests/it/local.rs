//! Playbooks in the request and in directories of this machine.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use danube_model::playbook::source::Source;

use crate::support::{World, snapshot};

fn local(path: &std::path::Path) -> Source {
    Source::Local {
        path: path.to_str().unwrap().to_owned(),
        playbook: "site.yml".to_owned(),
    }
}

#[test]
fn an_inline_playbook_is_written_for_the_job_alone() {
    let world = World::new();
    let into = world.job("into");
    let source = Source::Inline {
        playbook: "- hosts: all\n".to_owned(),
    };
    let fetched = world.fetch(&source, &into).unwrap();
    assert_eq!(fetched.playbook, into.join("playbook.yml"));
    assert_eq!(fetched.bytes, 13);
    assert_eq!(fetched.revision, None);
    let mode = fs::metadata(fetched.playbook).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_allowed_directory_is_copied_as_it_is() {
    let mut allowed = Default::default();
    let plays = tempfile::tempdir().unwrap();
    let world = World::with(|settings| {
        settings.allow_paths = vec![plays.path().to_owned()];
        allowed = plays.path().join("web");
    });
    fs::create_dir_all(allowed.join("roles/a")).unwrap();
    fs::create_dir_all(allowed.join(".git")).unwrap();
    fs::write(allowed.join(".git/config"), "secret").unwrap();
    fs::write(allowed.join("site.yml"), "- hosts: all\n").unwrap();
    fs::write(allowed.join("run"), "x").unwrap();
    fs::set_permissions(allowed.join("run"), fs::Permissions::from_mode(0o4755)).unwrap();
    symlink("site.yml", allowed.join("link.yml")).unwrap();
    let into = world.job("into");
    world.fetch(&local(&allowed), &into).unwrap();
    assert_eq!(
        snapshot(&into),
        [
            "link.yml -> site.yml",
            "roles/",
            "roles/a/",
            "run = x",
            "site.yml = - hosts: all\n"
        ]
    );
    let mode = fs::metadata(into.join("run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);

    symlink("/etc/passwd", allowed.join("out")).unwrap();
    let into = world.job("out");
    let error = world.fetch(&local(&allowed), &into).unwrap_err();
    assert!(error.to_string().contains("leads out"), "{error}");
    assert_eq!(snapshot(&into), [""; 0]);
}

#[test]
fn directories_that_arent_allowed_are_refused_alike() {
    let plays = tempfile::tempdir().unwrap();
    let world = World::with(|settings| settings.allow_paths = vec![plays.path().to_owned()]);
    let other = world.job("other");
    fs::write(other.join("site.yml"), "- hosts: all\n").unwrap();
    symlink(&other, plays.path().join("link")).unwrap();
    let into = world.job("into");
    for path in [
        &other,
        &plays.path().join("link"),
        &plays.path().join("absent"),
    ] {
        let error = world.fetch(&local(path), &into).unwrap_err().to_string();
        assert!(error.contains("sources.allow_paths"), "{error}");
        assert_eq!(snapshot(&into), [""; 0]);
    }
}
