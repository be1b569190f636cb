//! The way out when it is blocked, broken or closed.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
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

/// Breaks in the middle of the first line, then takes everything.
struct Torn {
    writes: u32,
    out: Memory,
}

impl Write for Torn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes += 1;
        match self.writes {
            1 => self.out.write(&bytes[..9]),
            2 | 3 => Err(io::Error::other("no space")),
            _ => self.out.write(bytes),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_that_broke_off_does_not_take_the_next_with_it() {
    let out = Memory::default();
    let torn = Torn {
        writes: 0,
        out: out.clone(),
    };
    let (subscriber, handle, guard) = build(options(torn)).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        for n in 0..3 {
            info!(target: "danube.api", event = "numbered", n);
            assert!(handle.flush(DEADLINE));
        }
    });
    assert!(guard.finish(DEADLINE));
    let text = out.text();
    let (half, whole) = text.split_once('\n').unwrap();
    assert_eq!(half, "{\"timesta");
    assert_eq!(told(whole), 2);
    assert_eq!(whole.matches(r#""event":"numbered","n":2}"#).count(), 1);
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

/// Hands over what is written, some bytes at a time.
struct Told {
    to: SyncSender<Vec<u8>>,
    at_once: usize,
}

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let some = &bytes[..bytes.len().min(self.at_once)];
        // Nobody may listen any more.
        let _ = self.to.send(some.to_vec());
        Ok(some.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn every_line_is_written_without_another_one_that_pushes_it() {
    let (to, written) = sync_channel(1_000);
    let at_once = usize::MAX;
    let (subscriber, _handle, guard) = build(options(Told { to, at_once })).unwrap();
    let mut text = Vec::new();
    let mut lines = 0;
    tracing::subscriber::with_default(subscriber, || {
        // One alone, some close together, and errors among them.
        for round in 0..60 {
            for n in 0..round % 4 {
                info!(target: "danube.api", event = "numbered", round, n);
                if round % 5 == 0 {
                    error!(target: "danube.api", event = "numbered", round, n);
                    lines += 1;
                }
                lines += 1;
            }
            while text.iter().filter(|it| **it == b'\n').count() < lines {
                text.extend(written.recv_timeout(DEADLINE).expect("the line is written"));
            }
        }
    });
    assert!(guard.finish(DEADLINE));
}

#[test]
fn a_flood_from_several_threads_is_whole_lines_and_each_is_written_or_counted() {
    const THREADS: usize = 4;
    const LINES: usize = 30_000;
    let (to, written) = sync_channel(4);
    let at_once = 64 * 1024;
    let (subscriber, handle, guard) = build(options(Told { to, at_once })).unwrap();
    let dispatch = tracing::Dispatch::new(subscriber);
    let text = "x".repeat(200);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (dispatch, text) = (&dispatch, &text);
            scope.spawn(move || {
                tracing::dispatcher::with_default(dispatch, || {
                    for n in 0..LINES {
                        info!(target: "danube.api", event = "filler", thread, n, text);
                    }
                });
            });
        }
    });
    // Only now is anything taken beyond the first pieces: the buffer was full for long.
    let reader = thread::spawn(move || written.iter().flatten().collect::<Vec<u8>>());
    assert!(handle.flush(DEADLINE));
    let dropped = handle.dropped();
    assert!(guard.finish(DEADLINE));
    drop((dispatch, handle));
    let text = String::from_utf8(reader.join().unwrap()).unwrap();
    assert!(dropped > 0, "the flood was larger than the buffer");
    assert_eq!(told(&text), dropped);
    let mut next = [0; THREADS];
    let mut filler = 0;
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("a whole line");
        if line["event"] == "filler" {
            filler += 1;
            let n = line["n"].as_u64().unwrap();
            let next = &mut next[usize::try_from(line["thread"].as_u64().unwrap()).unwrap()];
            assert!(n >= *next, "a thread's lines stay in order");
            *next = n + 1;
        }
    }
    assert_eq!(filler + dropped, (THREADS * LINES) as u64);
}
