//! What the reaper costs those who submit while it deletes.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use danube_model::JobId;

use crate::load::submits_a_second;
use crate::{Size, median, row};
use danube_bench::client::Client;
use danube_bench::server::Server;

/// Logs that have expired, as many as there are submits for each.
const SUBMITS_A_LOG: usize = 4;

/// Bytes of each.
const LOG_BYTES: usize = 4_096;

/// Rounds with and without, one after the other, of which the medians count.
const ROUNDS: usize = 3;

pub(crate) fn beside_submits(program: &Path, size: Size) {
    let server = Server::start(
        program,
        &["--jobs-at-once", "0", "--logs-max-bytes", "1"],
        &[],
    );
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let deleted = AtomicU64::new(0);
    for _ in 0..ROUNDS {
        alone.push(submits_a_second(&server, size));
        leave_logs(&server, size.submits / SUBMITS_A_LOG);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (status, body) = Client::new(&server).post("/api/v1/admin/reaper", "");
                assert_eq!(status, 200, "{body}");
                let said: serde_json::Value = serde_json::from_str(&body).expect("JSON");
                let logs = said["logs_deleted"].as_u64().expect("a count");
                deleted.fetch_add(logs, Ordering::Relaxed);
            });
            beside.push(submits_a_second(&server, size));
        });
    }
    let figure = format!(
        "submits/s while the reaper deletes {} logs | without it",
        deleted.into_inner() / ROUNDS as u64
    );
    row(&figure, median(beside), "/s", Some(median(alone)));
}

/// Logs of jobs that nobody knows: as after a database was put back.
fn leave_logs(server: &Server, count: usize) {
    for _ in 0..count {
        let path = server.dir.join(format!("logs/{}.log", JobId::new()));
        fs::write(path, vec![b'x'; LOG_BYTES]).expect("write a log");
    }
}
