//! The way out when it is blocked, broken or closed.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use danube_telemetry::log::build;
use tracing::{error, info};

use super::lines::{Memory, options};

const DEADLINE: Duration = Duration::from_secs(30);

/// Takes nothing until it is let through.
struct Gate {
    open: Receiver<()>,
    out: Memory,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Once the sender is gone everything passes.
        let _ = self.open.recv();
        self.out.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sum of what the log says it lost.
fn told(text: &str) -> u64 {
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["event"] == "log_lines_dropped")
        .map(|line| {
            assert_eq!(
                (&line["level"], &line["logger"]),
                (&"warning".into(), &"danube.telemetry".into())
            );
            line["lines"].as_u64().unwrap()
        })
        .sum()
}

#[test]
fn a_full_buffer_keeps_errors_counts_what_it_drops_and_says_so() {
    let out = Memory::default();
    let (release, open) = sync_channel(1);
    let (subscriber, handle, guard) = build(options(Gate {
        open,
        out: out.clone(),
    }))
    .unwrap();
    let text = "x".repeat(16_000);
    let mut sent = 0;
    tracing::subscriber::with_default(subscriber, || {
        while handle.dropped() < 10 {
            info!(target: "danube.api", event = "filler", text);
            sent += 1;
        }
        error!(target: "danube.api", event = "important");
        assert_eq!(handle.dropped(), 10, "an error has a reserve");
        while handle.dropped() < 11 {
            error!(target: "danube.api", event = "filler", text);
            sent += 1;
        }
        assert!(
            !handle.flush(Duration::from_millis(1)),
            "nothing gets through yet"
        );
        drop(release);
        assert!(handle.flush(DEADLINE));
        info!(target: "danube.api", event = "afterwards");
    });
    assert!(guard.finish(DEADLINE));
    let text = out.text();
    assert_eq!(text.matches(r#""event":"important""#).count(), 1);
    assert_eq!(text.matches(r#""event":"afterwards""#).count(), 1);
    assert_eq!(text.matches(r#""event":"filler""#).count(), sent - 11);
    assert_eq!(told(&text), 11);
    assert!(sent < 1_200, "8 MiB of 16 kB lines are held, not {sent}");
}

/// Fails so many times, then takes everything.
struct Broken {
    failures: u32,
    out: Memory,
}

impl Write for Broken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failures > 0 {
            self.failures -= 1;
            return Err(io::Error::other("no space"));
        }
        // One byte at a time, with interruptions, as a pipe may.
        self.out.write(&bytes[..1])
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_lost_to_a_broken_output_are_told_when_it_works_again() {
    let out = Memory::default();
    let (subscriber, handle, guard) = build(options(Broken {
        failures: 2,
        out: out.clone(),
    }))
    .unwrap();
    tracing::subscriber::with_default(subscriber, || {
        for n in 0..3 {
            info!(target: "danube.api", event = "numbered", n);
            assert!(handle.flush(DEADLINE));
        }
    });
    assert_eq!(handle.dropped(), 2);
    assert!(guard.finish(DEADLINE));
    let text = out.text();
    assert_eq!(told(&text), 2);
    assert_eq!(text.matches(r#""event":"numbered","n":2}"#).count(), 1);
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn the_end_waits_for_the_last_lines_but_not_for_ever() {
    let out = Memory::default();
    let (release, open) = sync_channel(1);
    let (subscriber, handle, guard) = build(options(Gate {
        open,
        out: out.clone(),
    }))
    .unwrap();
    tracing::subscriber::with_default(subscriber, || {
        info!(target: "danube.api", event = "last");
        assert!(!guard.finish(Duration::from_millis(1)));
        info!(target: "danube.api", event = "too_late");
    });
    assert_eq!(handle.dropped(), 1);
    drop(release);
    assert!(handle.flush(DEADLINE));
    assert!(out.text().contains(r#""event":"last""#));
}
