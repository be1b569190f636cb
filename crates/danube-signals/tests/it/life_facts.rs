//! What a watchdog tells.

use std::time::Duration;

use danube_signals::{LoopName, LoopResumed, LoopStalled};

use crate::facts::{check_full, millis};

#[test]
fn loop_stalled() {
    check_full(
        LoopStalled {
            loop_name: LoopName::StoreWriter,
            silent_seconds: millis(4_500),
        },
        r#"{"level":"error","logger":"danube.health","event":"loop_stalled","loop_name":"store_writer","silent_seconds":4.5}"#,
        &[],
    );
}

#[test]
fn loop_resumed() {
    check_full(
        LoopResumed {
            loop_name: LoopName::Scheduler,
            silent_seconds: Duration::from_secs(9),
        },
        r#"{"level":"info","logger":"danube.health","event":"loop_resumed","loop_name":"scheduler","silent_seconds":9.0}"#,
        &[],
    );
}
