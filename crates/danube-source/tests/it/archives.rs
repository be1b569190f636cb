//! Well-made archives of each kind, over HTTP, with their checksums.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use danube_model::playbook::source::Source;
use danube_source::SourceError;
use sha2::{Digest, Sha256};

use crate::hostile::{Tar, gzip, zip_of};
use crate::http::{Answer, Server};
use crate::support::{World, snapshot};

pub(crate) const PLAY: &str = "- hosts: all\n";

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|it| format!("{it:02x}")).collect()
}

fn archive(url: String, sha256: Option<String>, strip_components: u32) -> Source {
    Source::Archive {
        url,
        sha256,
        path: "site.yml".to_owned(),
        strip_components,
    }
}

/// A tar as people make them: a directory around everything, long names, links.
fn tar() -> Vec<u8> {
    let long = format!("web-1.0/roles/{}/tasks/main.yml", "long".repeat(50));
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, mode: u32, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        tar.append_data(&mut header, name, content).unwrap();
    };
    add("web-1.0/site.yml", 0o644, PLAY.as_bytes());
    add("web-1.0/bin/run", 0o6755, b"#!/bin/sh\n");
    add(&long, 0o600, b"- debug:\n");
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "web-1.0/bin/link", "../site.yml")
        .unwrap();
    header.set_entry_type(tar::EntryType::Link);
    tar.append_link(&mut header, "web-1.0/hard.yml", "web-1.0/site.yml")
        .unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn each_kind_is_unpacked_whatever_its_name_is() {
    let plain = tar();
    let zip = zip_of(&[
        ("web-1.0/", 0o040_755, ""),
        ("web-1.0/site.yml", 0o100_644, PLAY),
        ("web-1.0/bin/run", 0o106_755, "#!/bin/sh\n"),
        ("web-1.0/bin/link", 0o120_777, "../site.yml"),
    ]);
    let server = Server::start(vec![
        ("/a", Answer::Body(plain.clone())),
        ("/b.zip?token=hunter2", Answer::Body(gzip(&plain))),
        ("/c.tar", Answer::Body(zip.clone())),
        ("/moved", Answer::Redirect("/c.tar".to_owned())),
    ]);
    let world = World::new();
    let cases = [
        ("/a", &plain),
        ("/b.zip?token=hunter2", &gzip(&plain)),
        ("/c.tar", &zip),
        ("/moved", &zip),
    ];
    for (at, (path, bytes)) in cases.into_iter().enumerate() {
        let into = world.job(&format!("job{at}"));
        let sha256 = sha256(bytes);
        let source = archive(server.url(path), Some(sha256.clone()), 1);
        let fetched = world.fetch(&source, &into).unwrap();
        assert_eq!(fetched.revision, Some(format!("sha256:{sha256}")));
        assert_eq!(fs::read_to_string(&fetched.playbook).unwrap(), PLAY);
        assert_eq!(fs::read_to_string(into.join("bin/link")).unwrap(), PLAY);
        let mode =
            |name: &str| fs::metadata(into.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(
            (mode("bin/run"), mode("site.yml"), mode("bin")),
            (0o755, 0o644, 0o755)
        );
        if at < 2 {
            assert_eq!(fs::read_to_string(into.join("hard.yml")).unwrap(), PLAY);
            let long = format!("roles/{}/tasks/main.yml", "long".repeat(50));
            assert!(into.join(long).exists());
        }
    }
    assert_eq!(
        snapshot(&world.directory.path().join("cache/spool")),
        [""; 0]
    );
}

#[test]
fn another_checksum_is_found_before_anything_is_unpacked() {
    let server = Server::start(vec![("/a?token=hunter2", Answer::Body(tar()))]);
    let world = World::new();
    let into = world.job("into");
    let source = archive(server.url("/a?token=hunter2"), Some(sha256(b"other")), 0);
    let error = world.fetch(&source, &into).unwrap_err();
    assert!(matches!(error, SourceError::Checksum { .. }), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert_eq!(snapshot(&into), [""; 0]);
}

#[test]
fn what_a_server_answers_instead_is_said() {
    let mut broken = gzip(&tar());
    broken.truncate(broken.len() / 2);
    let server = Server::start(vec![
        ("/secret", Answer::Guarded("Bearer x", Vec::new())),
        ("/away", Answer::Status(503)),
        ("/html", Answer::Body(b"<html>".to_vec())),
        ("/bz2", Answer::Body(b"BZh91AY".to_vec())),
        ("/empty", Answer::Body(Vec::new())),
        ("/broken", Answer::Body(broken)),
    ]);
    let world = World::new();
    let into = world.job("into");
    for (path, expected) in [
        ("/absent?hunter2", "no such file (404)"),
        ("/secret", "wants a credential"),
        ("/away", "answered with 503"),
        ("/html", "none of the kinds"),
        ("/bz2", "it is bzip2"),
        ("/empty", "none of the kinds"),
        ("/broken", "can't be read"),
    ] {
        let error = world
            .fetch(&archive(server.url(path), None, 0), &into)
            .unwrap_err();
        let said = error.to_string();
        assert!(said.contains(expected), "{path}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
        assert_eq!(snapshot(&into), [""; 0]);
    }
}

#[test]
fn names_that_differ_in_case_are_two_files() {
    let mut tar = Tar::new();
    tar.file("site.yml", PLAY.as_bytes())
        .file("Site.yml", b"other");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&tar.done()).unwrap();
    let server = Server::start(vec![("/a", Answer::Body(fs::read(file.path()).unwrap()))]);
    let world = World::new();
    let into = world.job("into");
    world
        .fetch(&archive(server.url("/a"), None, 0), &into)
        .unwrap();
    assert_eq!(
        snapshot(&into),
        ["Site.yml = other", "site.yml = - hosts: all\n"]
    );
}
