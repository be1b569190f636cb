//! What no blueprint may do: be without end, lead elsewhere, or be nothing.

use std::fs;
use std::os::unix::fs::symlink;

use danube_blueprint::{BYTES_MAX, FILES_MAX, read};

use super::{dir, file, pipeline, told, write};

#[track_caller]
fn check(dir: &std::path::Path, expected: &[&str]) {
    let found = read(dir).err().unwrap_or_default();
    assert_eq!(told(&found), expected);
}

#[test]
fn links_are_not_followed_and_pipes_not_waited_for() {
    let secret = dir(&[("a.yaml", &pipeline("elsewhere", ""))]);
    let dir = dir(&[("pipelines/good.yaml", &pipeline("good", ""))]);
    symlink(
        secret.path().join("a.yaml"),
        dir.path().join("pipelines/a.yaml"),
    )
    .unwrap();
    symlink(secret.path(), dir.path().join("users")).unwrap();
    symlink(secret.path(), dir.path().join("pipelines/more")).unwrap();
    let pipe = dir.path().join("pipelines/pipe.yaml");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    check(
        dir.path(),
        &[
            "pipelines/a.yaml file.link",
            "pipelines/pipe.yaml file.link",
            "users blueprint.place",
        ],
    );
}

#[test]
fn a_blueprint_is_bounded_in_files_bytes_and_depth() {
    let many = dir(&[]);
    for number in 0..=FILES_MAX {
        let name = format!("u{number}");
        let user = file("User", &name, &format!("  email: {name}@example.org"));
        write(many.path(), &format!("users/{name}.yaml"), &user);
    }
    check(many.path(), &[". blueprint.too_large"]);

    let large = dir(&[]);
    let text = pipeline("x", &format!("# {}\n", "x".repeat(1_000_000)));
    for number in 0..=BYTES_MAX / text.len() {
        write(
            large.path(),
            &format!("pipelines/{number}.yaml"),
            &text.replace("name: x", &format!("name: x{number}")),
        );
    }
    check(large.path(), &[". blueprint.too_large"]);

    let deep = dir(&[("pipelines/a/b/c/d/e.yaml", &pipeline("x", ""))]);
    check(deep.path(), &["pipelines/a/b/c/d blueprint.depth"]);

    let long = dir(&[(
        "pipelines/a.yaml",
        &pipeline("x", &format!("# {}\n", "x".repeat(1_100_000))),
    )]);
    check(long.path(), &["pipelines/a.yaml file.too_large"]);

    let nested = pipeline(
        "x",
        &format!("  env: {}{}", "[".repeat(100), "]".repeat(100)),
    );
    check(
        dir(&[("pipelines/a.yaml", &nested)]).path(),
        &["pipelines/a.yaml:6:39 file.too_deep"],
    );
}

#[test]
fn a_bomb_of_aliases_stays_small() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let before = format!("*a{}, ", level - 1).repeat(9);
        bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    let wrong = read(dir(&[("pipelines/a.yaml", &bomb)]).path()).unwrap_err();
    assert!(
        told(&wrong)[0].ends_with("file.too_many_values"),
        "{wrong:?}"
    );
}

#[test]
fn nothing_at_all_is_no_blueprint() {
    check(dir(&[]).path(), &[" blueprint.empty"]);
    check(
        dir(&[("README.md", "hello"), (".github/x.yaml", "a: 1")]).path(),
        &[" blueprint.empty"],
    );
}

#[test]
fn a_directory_that_was_meant_is_named() {
    let dir = dir(&[
        ("pipeline/a.yaml", &pipeline("x", "")),
        ("confg.yaml", ""),
        ("teams/t.yaml", &file("Team", "t", "  members: []")),
    ]);
    check(
        dir.path(),
        &["confg.yaml blueprint.place", "pipeline blueprint.place"],
    );
}

#[test]
fn what_is_no_text_is_refused_and_what_is_none_of_ours_left_alone() {
    let dir = dir(&[
        ("pipelines/README.md", "how to"),
        ("pipelines/.hidden.yaml", "["),
        ("users/u.yaml", &file("User", "u", "  email: u@example.org")),
    ]);
    check(dir.path(), &[]);
    fs::write(dir.path().join("pipelines/a.yaml"), b"\xff\xfe").unwrap();
    check(dir.path(), &["pipelines/a.yaml file.read"]);
}
