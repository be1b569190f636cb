//! A process that is killed in the middle of its writes.

use std::io::{BufRead, BufReader, Write};
use std::thread;

use danube_model::{Cause, JobId};

use crate::support::{child, child_dir, claim, ended, open, submit};

/// The process that is killed: several clients, each telling what was
/// acknowledged as soon as it was.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(dir) = child_dir() else {
        return;
    };
    let store = open(&dir);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let id = submit(&store).id;
                    tell("accepted", id);
                    let attempt = claim(&store, id).attempt;
                    store
                        .finish(attempt, ended(Cause::Succeeded))
                        .wait()
                        .unwrap();
                    tell("finished", id);
                }
            });
        }
    });
}

fn tell(what: &str, id: JobId) {
    // One write, so that a kill can't tear a line that was told.
    let line = format!("danube {what} {id}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (mut accepted, mut finished) = (Vec::new(), Vec::new());
    for round in 0..5 {
        let mut process = child("crash::child_that_writes_until_it_is_killed", dir.path());
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut read = 0;
        let enough = 40 + 37 * round;
        while let Some(Ok(line)) = lines.next() {
            // The harness writes its own lines, without a line's end sometimes.
            let Some((_, told)) = line.split_once("danube ") else {
                continue;
            };
            let Some((what, id)) = told.split_once(' ') else {
                continue;
            };
            let Ok(id) = id.parse::<JobId>() else {
                continue;
            };
            match what {
                "accepted" => accepted.push(id),
                _ => finished.push(id),
            }
            read += 1;
            if read == enough {
                process.kill().unwrap();
            }
        }
        process.wait().unwrap();
        assert!(read >= enough, "the child wrote {read} lines");

        let store = open(dir.path());
        assert_eq!(store.check_integrity().unwrap(), Vec::<String>::new());
        for id in &accepted {
            assert!(store.job(*id).unwrap().is_some(), "{id} was accepted");
        }
        for id in &finished {
            let job = store.job(*id).unwrap().unwrap();
            assert!(job.state.is_terminal(), "{id} was finished");
        }
    }
}
