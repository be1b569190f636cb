//! The facts of backups.

use std::time::Duration;

use danube_signals::{BackupCompleted, BackupFailed};

use crate::facts::check_full;

#[test]
fn backup_completed() {
    check_full(
        BackupCompleted {
            user: "admin",
            bytes: 4096,
            files: 12,
            jobs: 3,
            with_keys: true,
            duration_seconds: Duration::from_millis(1500),
        },
        r#"{"level":"info","logger":"danube.backup","event":"backup_completed","user":"admin","bytes":4096,"files":12,"jobs":3,"with_keys":true,"duration_seconds":1.5}"#,
        &[],
    );
}

#[test]
fn backup_failed() {
    for (by_client, level) in [(false, "error"), (true, "warning")] {
        let line = format!(
            r#"{{"level":"{level}","logger":"danube.backup","event":"backup_failed","user":"admin","error":"the disk got full","duration_seconds":2.0}}"#
        );
        check_full(
            BackupFailed {
                user: "admin",
                error: "the disk got full",
                duration_seconds: Duration::from_secs(2),
                by_client,
            },
            &line,
            &[],
        );
    }
}
