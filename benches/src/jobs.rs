//! Jobs for a server: many at once, and the wait until none is left.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::Client;
use crate::server::Server;

/// The step of a no-op job.
pub const NO_OP: &str = "true";

/// Submits no-op jobs from so many connections at once.
pub fn submit(server: &Server, count: usize, clients: usize) {
    let left = AtomicUsize::new(count);
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = Client::new(server);
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| it.checked_sub(1))
                    .is_ok()
                {
                    client.submit(NO_OP);
                }
            });
        }
    });
}

/// Waits until nothing is pending or running, by following what is.
pub fn drained(server: &Server) {
    let mut client = Client::new(server);
    loop {
        let text = client.get("/api/v1/jobs?status=pending,scheduling,running&limit=1");
        let page: serde_json::Value = serde_json::from_str(&text).expect("a page");
        let Some(id) = page["jobs"][0]["id"].as_str() else {
            return;
        };
        // The newest of them; when it has ended, few are left.
        let id = id.to_owned();
        client.follow(&id, || {});
    }
}
