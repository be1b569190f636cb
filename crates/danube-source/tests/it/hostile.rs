//! Archives that want out, each trick a case, and a search for more of them.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use danube_model::playbook::source::Source;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tar::EntryType;
use zip::write::SimpleFileOptions;

use crate::http::{Answer, Server};
use crate::support::{World, snapshot};

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// A zip of names, Unix modes and contents.
pub(crate) fn zip_of(entries: &[(&str, u32, &str)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, mode, content) in entries {
        let options = SimpleFileOptions::default().unix_permissions(mode & 0o7777);
        match mode & 0o170_000 {
            0o120_000 => zip.add_symlink(*name, *content, options).unwrap(),
            0o040_000 => zip.add_directory(*name, options).unwrap(),
            _ => {
                zip.start_file(*name, options).unwrap();
                zip.write_all(content.as_bytes()).unwrap();
            }
        }
    }
    zip.finish().unwrap().into_inner()
}

/// A tar whose headers hold whatever a test wants: no name is checked.
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn entry(
        &mut self,
        kind: EntryType,
        name: &[u8],
        link: &[u8],
        content: &[u8],
    ) -> &mut Self {
        self.sized(kind, name, link, (content, content.len() as u64))
    }

    fn sized(
        &mut self,
        kind: EntryType,
        name: &[u8],
        link: &[u8],
        (content, size): (&[u8], u64),
    ) -> &mut Self {
        let mut header = tar::Header::new_ustar();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name);
        old.linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(kind);
        header.set_mode(0o7777);
        header.set_size(size);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(&mut self, name: &str, content: &[u8]) -> &mut Self {
        self.entry(EntryType::Regular, name.as_bytes(), b"", content)
    }

    fn link(&mut self, name: &str, target: &str) -> &mut Self {
        self.entry(EntryType::Symlink, name.as_bytes(), target.as_bytes(), b"")
    }

    fn pax(&mut self, kind: EntryType, records: &[(&str, &str)]) -> &mut Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while rest + length.to_string().len() > length {
                length = rest + length.to_string().len();
            }
            writeln!(content, "{length} {key}={value}").unwrap();
        }
        self.entry(kind, b"PaxHeaders/x", b"", &content)
    }

    pub(crate) fn done(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes.extend([0; 1024]);
        bytes
    }
}

fn tar(make: impl FnOnce(&mut Tar) -> &mut Tar) -> Vec<u8> {
    let mut tar = Tar::new();
    make(&mut tar);
    tar.file("site.yml", b"- hosts: all\n");
    tar.done()
}

/// Unpacks an archive; what it said, and that nothing outside has changed.
fn unpack(bytes: Vec<u8>) -> Result<Vec<String>, String> {
    let server = Server::start(vec![("/a", Answer::Body(bytes))]);
    let world = World::new();
    let into = world.job("into");
    let before = outside(&world, &into);
    let source = Source::Archive {
        url: server.url("/a"),
        sha256: None,
        path: "site.yml".to_owned(),
        strip_components: 0,
    };
    let fetched = world.fetch(&source, &into);
    let inside = snapshot(&into);
    assert_eq!(outside(&world, &into), before);
    match fetched {
        Ok(_) => Ok(inside),
        Err(error) => {
            assert_eq!(inside, [""; 0], "{error}");
            Err(error.to_string())
        }
    }
}

fn outside(world: &World, into: &Path) -> Vec<String> {
    let into = into.file_name().unwrap().to_str().unwrap();
    let mut all = snapshot(world.directory.path());
    all.retain(|it| !it.starts_with(into));
    all
}

#[track_caller]
fn check(name: &str, bytes: Vec<u8>, expected: &str) {
    let said = unpack(bytes).expect_err(name);
    assert!(said.contains(expected), "{name}: {said}");
}

const OUT: &str = "whose name leads out";

#[test]
fn names_that_lead_out_are_refused() {
    for name in [
        "../canary",
        "/tmp/danube-canary",
        "a/../../canary",
        "..",
        "a\\..\\b",
        "a\nb",
    ] {
        check(name, tar(|it| it.file(name, b"x")), OUT);
    }
    check(
        "parent",
        tar(|it| it.entry(EntryType::Directory, b"../d/", b"", b"")),
        OUT,
    );
    check(
        "pax",
        tar(|it| {
            it.pax(EntryType::XHeader, &[("path", "../canary")])
                .file("a", b"x")
        }),
        OUT,
    );
    check(
        "gnu",
        tar(|it| {
            it.entry(
                EntryType::GNULongName,
                b"././@LongLink",
                b"",
                b"../canary\0",
            )
            .file("a", b"x")
        }),
        OUT,
    );
    check(
        "not utf-8",
        tar(|it| it.entry(EntryType::Regular, b"a\xff", b"", b"x")),
        "isn't UTF-8",
    );
    check(
        "long",
        tar(|it| {
            it.pax(EntryType::XHeader, &[("path", &"x".repeat(256))])
                .file("a", b"")
        }),
        OUT,
    );
    check(
        "deep",
        tar(|it| {
            it.pax(EntryType::XHeader, &[("path", &"x/".repeat(40))])
                .file("a", b"")
        }),
        "too deep",
    );
    for name in [
        "../canary",
        "/tmp/danube-canary",
        "a/../../canary",
        "a\\..\\b",
    ] {
        let zip = zip_of(&[(name, 0o100_644, "x"), ("site.yml", 0o100_644, "")]);
        check(name, zip, OUT);
    }
}

#[test]
fn links_that_lead_out_are_refused() {
    const LINK: &str = "a link that leads out";
    for target in ["../canary", "/etc/passwd", "a/../../canary", "..", "", "/"] {
        check(target, tar(|it| it.link("link", target)), LINK);
    }
    // Each stays inside by itself; together they lead out.
    check(
        "chain",
        tar(|it| it.link("d/e/f", "../..").link("d/x", "e/f/../canary")),
        LINK,
    );
    check(
        "through",
        tar(|it| {
            it.link("a", "b/..")
                .link("b/c", ".")
                .link("d", "b/c/c/../../..")
        }),
        LINK,
    );
    check("loop", tar(|it| it.link("a", "b").link("b", "a")), LINK);
    check(
        "write through",
        tar(|it| it.link("a", ".").file("a/x", b"x")),
        "stands there twice",
    );
    check(
        "replace",
        tar(|it| it.file("a/x", b"x").link("a", "b")),
        "stands there twice",
    );
    check(
        "hard out",
        tar(|it| it.entry(EntryType::Link, b"a", b"../canary", b"")),
        OUT,
    );
    check(
        "hard absolute",
        tar(|it| it.entry(EntryType::Link, b"a", b"/etc/passwd", b"")),
        OUT,
    );
    check(
        "hard to link",
        tar(|it| {
            it.link("l", "site.yml")
                .entry(EntryType::Link, b"a", b"l", b"")
        }),
        "a hard link to no file",
    );
    check(
        "hard to later",
        tar(|it| it.entry(EntryType::Link, b"a", b"site.yml", b"")),
        "a hard link to no file",
    );
    check(
        "pax link",
        tar(|it| {
            it.pax(EntryType::XHeader, &[("linkpath", "../canary")])
                .link("l", "site.yml")
        }),
        LINK,
    );
    check(
        "zip",
        zip_of(&[("l", 0o120_777, "../canary"), ("site.yml", 0o100_644, "")]),
        LINK,
    );
    let dangling = unpack(tar(|it| it.link("l", "nowhere"))).unwrap();
    assert_eq!(dangling[0], "l -> nowhere");
}

#[test]
fn kinds_that_no_playbook_has_are_refused() {
    for (kind, expected) in [
        (EntryType::Char, "a device"),
        (EntryType::Block, "a device"),
        (EntryType::Fifo, "a named pipe"),
        (EntryType::GNUSparse, "a sparse file"),
        (EntryType::new(b'Z'), "an unknown kind"),
    ] {
        check(expected, tar(|it| it.entry(kind, b"x", b"", b"")), expected);
    }
    check(
        "twice",
        tar(|it| it.file("a", b"1").file("./a", b"2")),
        "stands there twice",
    );
    check(
        "file as directory",
        tar(|it| it.file("a", b"1").file("a/b", b"2")),
        "stands there twice",
    );
    check(
        "directory as file",
        tar(|it| it.file("a/b", b"1").file("a", b"2")),
        "stands there twice",
    );
}

#[test]
fn tricks_with_headers_are_refused() {
    check(
        "size",
        tar(|it| it.pax(EntryType::XHeader, &[("size", "1")]).file("a", b"x")),
        "another size",
    );
    check(
        "sparse",
        tar(|it| {
            it.pax(
                EntryType::XHeader,
                &[("GNU.sparse.realsize", "99999999999")],
            )
            .file("a", b"x")
        }),
        "sparse",
    );
    check(
        "global",
        tar(|it| it.pax(EntryType::XGlobalHeader, &[("path", "x")])),
        "all entries at once",
    );
    check(
        "broken",
        tar(|it| it.entry(EntryType::XHeader, b"x", b"", b"99 path=a\n")),
        "is broken",
    );
    let large = vec![b'x'; 20_000];
    check(
        "long name",
        tar(|it| it.entry(EntryType::GNULongName, b"x", b"", &large)),
        "too large",
    );
    check(
        "short",
        tar(|it| it.sized(EntryType::Regular, b"a", b"", (b"x", 1 << 40))),
        "",
    );
    let comment = unpack(tar(|it| {
        it.pax(EntryType::XGlobalHeader, &[("comment", "abc")])
    }))
    .unwrap();
    assert_eq!(comment, ["site.yml = - hosts: all\n"]);
    // A checksum that is wrong, where a header should be.
    let mut bytes = tar(|it| it.file("a", b"x"));
    bytes[0] = b'b';
    check("checksum", bytes, "can't be read");
}

#[test]
fn bombs_are_found_while_they_are_small() {
    let zeros = vec![0; 64 * 1024 * 1024];
    check(
        "gzip",
        gzip(&tar(|it| it.file("a", &zeros))),
        "as a bomb does",
    );
    let text = String::from_utf8(zeros).unwrap();
    check("zip", zip_of(&[("a", 0o100_644, &text)]), "as a bomb does");
    let many = tar(|it| {
        for at in 0..=50_000 {
            it.file(&format!("{at}"), b"");
        }
        it
    });
    check("many", gzip(&many), "more than 50000 files");
    let names = tar(|it| {
        for _ in 0..200_001 {
            it.entry(EntryType::GNULongName, b"x", b"", b"");
        }
        it
    });
    check("names alone", names, "more than 50000 files");
    let directory = b"PK\x01\x02".repeat(50_001);
    let mut zip = b"PK\x03\x04".to_vec();
    zip.extend(directory);
    check("zip directory", zip, "more than 50000 files");
}

#[test]
fn zips_that_cant_be_trusted_are_refused() {
    // Two entries over the same bytes: how small zips become petabytes.
    let whole = zip_of(&[("a", 0o100_644, "x"), ("b", 0o100_644, "x")]);
    let first = memchr::memmem::find(&whole, b"PK\x01\x02").unwrap();
    let second = first + 4 + memchr::memmem::find(&whole[first + 4..], b"PK\x01\x02").unwrap();
    let mut overlapping = whole.clone();
    // The offset of the second entry's header becomes that of the first.
    overlapping[second + 42..second + 46].fill(0);
    assert!(unpack(overlapping).is_err());
    let mut encrypted = whole.clone();
    encrypted[first + 8] |= 1;
    check("encrypted", encrypted, "");
    let mut method = whole;
    method[first + 10] = 99;
    check("method", method, "");
}

#[derive(Debug, Clone)]
struct Step {
    kind: u8,
    name: String,
    target: String,
}

fn paths() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a", "b", "c", "..", ".", "", "canary", "into", "x y"]);
    prop::collection::vec(part, 1..5).prop_map(|it| it.join("/"))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step =
        (0_u8..6, paths(), paths()).prop_map(|(kind, name, target)| Step { kind, name, target });
    prop::collection::vec(step, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_an_archive_holds_nothing_outside_changes(steps in steps(), cut in 0_usize..4096) {
        let mut tar = Tar::new();
        tar.file("site.yml", b"- hosts: all\n");
        for Step { kind, name, target } in &steps {
            let (name, target) = (name.as_bytes(), target.as_bytes());
            match kind {
                0 | 1 => tar.entry(EntryType::Regular, name, b"", b"evil"),
                2 => tar.entry(EntryType::Directory, name, b"", b""),
                3 => tar.entry(EntryType::Symlink, name, target, b""),
                4 => tar.entry(EntryType::Link, name, target, b""),
                _ => tar.entry(EntryType::GNULongName, b"x", b"", name),
            };
        }
        let mut bytes = tar.done();
        if cut < 1024 {
            bytes.truncate(bytes.len().saturating_sub(cut));
        }
        // What is kept has no way out: following every link stays inside.
        let server = Server::start(vec![("/a", Answer::Body(bytes))]);
        let world = World::new();
        let into = world.job("into");
        let before = outside(&world, &into);
        let source = Source::Archive {
            url: server.url("/a"),
            sha256: None,
            path: "site.yml".to_owned(),
            strip_components: 0,
        };
        let fetched = world.fetch(&source, &into);
        prop_assert_eq!(outside(&world, &into), before);
        prop_assert_eq!(fetched.is_err(), fs::read_dir(&into).unwrap().next().is_none());
        stays(&into, &into);
    }
}

fn stays(root: &Path, directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if let Ok(real) = path.canonicalize() {
            assert!(
                real.starts_with(root.canonicalize().unwrap()),
                "{}",
                path.display()
            );
        }
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            stays(root, &path);
        }
    }
}
