//! The same for a key of `danube login`, with a real provider.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use super::super::disk::until_ready;
use super::super::row::row;
use super::super::strace::Inject;
use crate::master::DANUBE;
use crate::processes::root_or_skip;
use crate::rights::declare;
use crate::signin::peer::Peer;
use crate::signin::{key_of, started};

#[test]
fn danube_logout_keeps_a_key_that_the_server_could_not_end() {
    let row = row!("a disk that is full or refuses");
    if !root_or_skip("injecting errors into another process") {
        return row.left_out("needs root");
    }
    let own = tempfile::tempdir().unwrap();
    declare(own.path(), true);
    let mut peer = Peer::start();
    let master = started(own.path(), &peer.issuer);
    let key = key_of(&master, &mut peer, "writer@example.org");
    let file = own.path().join("config/danube/login.json");
    let login = json!({"server": master.address, "key": key, "user": "writer",
                       "expires_at": "2099-01-01T00:00:00.000Z"});
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, login.to_string()).unwrap();
    let logout = || {
        Command::new(DANUBE)
            .arg("logout")
            .env("XDG_CONFIG_HOME", own.path().join("config"))
            .output()
            .unwrap()
    };
    let files: Vec<PathBuf> = vec![master.dir.join("danube.db-wal")];
    let bad = Inject {
        calls: "pwrite64",
        what: "error=EROFS",
        files: &files,
        noted: None,
    }
    .into(&master);
    let refused = logout();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("writer is still logged in"), "{said}");
    assert!(file.exists());
    drop(bad);
    until_ready(&master, 200);
    let done = logout();
    assert!(done.status.success(), "{done:?}");
    assert!(!file.exists());
    let headers = [("x-api-key", key.as_str())];
    assert_eq!(
        master.request("GET", "/api/v1/jobs", &headers, b"").status,
        401
    );
    row.held(1, "refused, kept, and ended afterwards");
}
