//! Workers elsewhere, and Redis between them and the master.

use std::time::Duration;

use danube_signals::{
    Millis, QueueConnected, QueueDisconnected, QueueRefilled, RpcCall, WorkerConnected,
    WorkerDisconnected, WorkerDrained,
};

use crate::facts::{check_full, millis};

#[test]
fn worker_drained() {
    check_full(
        WorkerDrained {
            worker_id: "w1",
            jobs_handed_back: 1,
            duration_seconds: millis(500),
        },
        r#"{"level":"info","logger":"danube.worker","event":"worker_drained","worker_id":"w1","jobs_handed_back":1,"duration_seconds":0.5}"#,
        &[],
    );
}

#[test]
fn worker_connected() {
    check_full(
        WorkerConnected {
            worker_id: "far",
            server: "https://ci.example.org",
            jobs_at_once: 4,
        },
        r#"{"level":"info","logger":"danube.worker","event":"worker_connected","worker_id":"far","server":"https://ci.example.org","jobs_at_once":4}"#,
        &[],
    );
}

#[test]
fn rpc_call() {
    check_full(
        RpcCall {
            method: "claim",
            duration_ms: Millis(Duration::from_millis(25)),
        },
        r#"{"level":"debug","logger":"danube.worker","event":"rpc_call","method":"claim","duration_ms":25.0}"#,
        &[],
    );
}

#[test]
fn queue_connected() {
    check_full(
        QueueConnected {
            server: "redis://redis.internal:6379/0",
        },
        r#"{"level":"info","logger":"danube.queue","event":"queue_connected","server":"redis://redis.internal:6379/0"}"#,
        &[],
    );
}

#[test]
fn queue_disconnected() {
    check_full(
        QueueDisconnected {
            server: "redis://redis.internal:6379/0",
            error: "read a stream in Redis: no answer in time",
        },
        r#"{"level":"warning","logger":"danube.queue","event":"queue_disconnected","server":"redis://redis.internal:6379/0","error":"read a stream in Redis: no answer in time"}"#,
        &[],
    );
}

#[test]
fn queue_refilled() {
    check_full(
        QueueRefilled {
            server: "redis://redis.internal:6379/0",
            found: 3,
            removed: 1,
            added: 7,
            reason: "lost",
        },
        r#"{"level":"info","logger":"danube.queue","event":"queue_refilled","server":"redis://redis.internal:6379/0","found":3,"removed":1,"added":7,"reason":"lost"}"#,
        &[],
    );
}

#[test]
fn worker_disconnected() {
    check_full(
        WorkerDisconnected {
            worker_id: Some("far"),
            server: "https://ci.example.org",
            error: "connection refused",
        },
        r#"{"level":"warning","logger":"danube.worker","event":"worker_disconnected","worker_id":"far","server":"https://ci.example.org","error":"connection refused"}"#,
        &[],
    );
}
