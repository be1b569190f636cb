//! What is refused, by whom and where; and that nothing is changed then.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::archive::{entries, unzipped};
use super::{backup, check, restore, restored, some_backup, taken, verified};
use crate::faults::SmallDisk;
use crate::master::Master;
use crate::processes::root_or_skip;

#[test]
fn only_an_admin_takes_a_backup() {
    let master = Master::start();
    for role in ["viewer", "member"] {
        let new = json!({"name": role, "role": role});
        let made = master.call("POST", "/api/v1/api-keys", Some(&new)).json();
        let key = format!("Bearer {}", made["key"].as_str().unwrap());
        let headers = [("authorization", key.as_str())];
        let answer = master.request("GET", "/api/v1/admin/backup", &headers, b"");
        assert_eq!(answer.status, 403, "{}", answer.text());
    }
    let answer = master.request("GET", "/api/v1/admin/backup", &[], b"");
    assert_eq!(answer.status, 401, "{}", answer.text());
    let answer = master.get("/api/v1/admin/backup?keys=perhaps");
    assert_eq!(answer.status, 400, "{}", answer.text());
    // Who only asks what would come begins nothing.
    let answer = master.call("HEAD", "/api/v1/admin/backup", None);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/x-tar"));
    let name = answer.header("content-disposition").unwrap();
    assert!(name.contains("danube-backup-2"), "{name}");
    assert!(!master.log_lines().iter().any(|it| it.contains("backup_")));
}

#[test]
fn a_backup_without_keys_can_only_be_restored_with_them() {
    let master = Master::start();
    master.ended(&master.run("echo a line"));
    let own = tempfile::tempdir().unwrap();
    let (file, dir) = (own.path().join("b.tar.gz"), own.path().join("data"));
    let said = taken(&master, &file, &["--without-keys"]);
    assert_eq!(said["manifest"]["with_keys"], false, "{said}");
    let plain = own.path().join("plain.tar");
    fs::write(&plain, unzipped(&file)).unwrap();
    for secret in ["seal.key", "admin.key"] {
        let name = format!("data/{secret}");
        assert!(!entries(&plain).iter().any(|it| it.name == name), "{name}");
        let secret = fs::read(master.dir.join(secret)).unwrap();
        let bytes = fs::read(&plain).unwrap();
        assert!(!bytes.windows(secret.len()).any(|it| it == secret));
    }
    let (code, said) = verified(&file);
    assert_eq!(
        (code, check(&said, "key").0.as_str()),
        (0, "skipped"),
        "{said}"
    );
    let words = [file.to_str().unwrap(), "--data-dir", dir.to_str().unwrap()];
    let output = restore(&words);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("--seal-key"), "{told}");
    assert!(!dir.exists());

    let wrong = own.path().join("wrong.key");
    fs::write(&wrong, [7; 32]).unwrap();
    let key = master.dir.join("seal.key");
    for (key, code) in [(&wrong, 1), (&key, 0)] {
        let key = key.to_str().unwrap();
        let output = restore(&[words[0], "--verify", "--seal-key", key]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let output = restore(&[&words[..], &["--seal-key", key]].concat());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
    // No admin key stands there; whoever has one still comes in.
    assert!(!dir.join("admin.key").exists());
    fs::write(dir.join("admin.key"), &master.key).unwrap();
    let again = Master::start_in(&dir, &[]);
    assert_eq!(again.get("/api/v1/api-keys").status, 200);
}

#[test]
fn a_file_that_is_there_is_not_written_over_and_standard_output_takes_it_too() {
    let master = Master::start();
    let own = tempfile::tempdir().unwrap();
    let file = own.path().join("b.tar");
    fs::write(&file, "precious").unwrap();
    let output = backup(&master, &file, &[]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    let output = master.danube(&["backup", "-"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    fs::write(&file, output.stdout).unwrap();
    assert_eq!(verified(&file).0, 0);
    // For people.
    let other = own.path().join("other.tar");
    let output = master.danube(&["backup", other.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("It holds the keys, too"), "{text}");
    let shown = Command::new(crate::master::DANUBE)
        .args(["restore", "--verify", other.to_str().unwrap()])
        .output()
        .unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    let is_ok = |name: &str| {
        text.lines()
            .any(|it| it.starts_with(name) && it.contains("ok"))
    };
    assert!(is_ok("database") && is_ok("key") && is_ok("logs"), "{text}");
    // Nothing of a draft is left.
    let names = fs::read_dir(own.path()).unwrap();
    let hidden = names.filter(|it| {
        let name = it.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with('.')
    });
    assert_eq!(hidden.count(), 0);
}

/// Everything below a directory: names, bytes, times.
fn seen(dir: &Path) -> BTreeMap<String, (Vec<u8>, i64)> {
    let entries = fs::read_dir(dir).unwrap().map(|it| it.unwrap().path());
    entries
        .map(|path| {
            let meta = fs::symlink_metadata(&path).unwrap();
            let bytes = fs::read(&path).unwrap_or_default();
            (path.display().to_string(), (bytes, meta.mtime_nsec()))
        })
        .collect()
}

#[test]
fn a_directory_that_holds_something_is_left_as_it_is() {
    let (own, file) = some_backup();
    let dir = own.path().join("data");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("notes"), "mine").unwrap();
    let before = seen(&dir);
    let words = [file.to_str().unwrap(), "--data-dir", dir.to_str().unwrap()];
    let output = restore(&words);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("isn't empty") && told.contains("notes"),
        "{told}"
    );
    assert!(seen(&dir) == before);
    // A file, or a directory of which nobody made the parent.
    let output = restore(&[words[0], words[1], dir.join("notes").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    let output = restore(&[
        words[0],
        words[1],
        own.path().join("a/b/c").to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    // Empty, it may be there; also at the end of a link.
    fs::remove_file(dir.join("notes")).unwrap();
    let link = own.path().join("link");
    std::os::unix::fs::symlink(&dir, &link).unwrap();
    restored(&file, &link);
    assert!(dir.join("danube.db").exists() && link.is_symlink());
    Master::start_in(&dir, &[]);
}

#[test]
fn a_mount_point_is_filled_from_inside() {
    if !root_or_skip("mounting a small disk") {
        return;
    }
    let (_own, file) = some_backup();
    let disk = SmallDisk::mount("64m");
    restored(&file, &disk.dir);
    let hidden = fs::read_dir(&disk.dir).unwrap().filter(|it| {
        let name = it.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with('.')
    });
    assert_eq!(hidden.count(), 0);
    let master = Master::start_in(&disk.dir, &[]);
    assert_eq!(master.ended(&master.run("echo on"))["status"], "success");
}

#[test]
fn a_disk_without_room_for_the_copy_refuses_and_the_server_goes_on() {
    if !root_or_skip("mounting a small disk") {
        return;
    }
    let disk = SmallDisk::mount("48m");
    let master = Master::start_in(&disk.dir.join("data"), &[]);
    fs::write(disk.dir.join("filler"), vec![0; 24 << 20]).unwrap();
    let answer = master.get("/api/v1/admin/backup");
    assert_eq!(answer.status, 507, "{}", answer.text());
    assert_eq!(answer.json()["code"], "no_space");
    let told = master.event(|it| it["event"] == "backup_failed");
    assert_eq!(told["level"], "error", "{told}");
    assert_eq!(master.get("/health/ready").status, 200, "it is fine itself");
    fs::remove_file(disk.dir.join("filler")).unwrap();
    let own = tempfile::tempdir().unwrap();
    taken(&master, &own.path().join("b.tar"), &[]);
}
