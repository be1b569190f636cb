//! The floor: `ansible-playbook` as a person runs it.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{EMPTY, HOST};

/// A directory with the playbook and its inventory.
pub(crate) struct Bare(TempDir);

impl Bare {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir_in("target").expect("run this where `target` is");
        let write = |name: &str, text: &str| {
            fs::write(dir.path().join(name), text).expect("write a file");
        };
        write("site.yml", EMPTY);
        write("hosts", &format!("{HOST} ansible_connection=local\n"));
        Self(dir)
    }

    /// Runs it; from before it is started until its end is known and its output read.
    pub(crate) fn run(&self) -> Duration {
        let began = Instant::now();
        let done = Command::new("ansible-playbook")
            .args(["-i", "hosts", "site.yml"])
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .expect("ansible-playbook is here; `make deps` installs it");
        let took = began.elapsed();
        assert!(done.status.success(), "{done:?}");
        assert!(done.stdout.windows(10).any(|it| it == b"PLAY RECAP"));
        took
    }

    /// Runs so many, some at once; how many a second.
    pub(crate) fn a_second(&self, count: usize, at_once: usize) -> f64 {
        let left = AtomicUsize::new(count);
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| {
                    let take = |it: usize| it.checked_sub(1);
                    while left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                        .is_ok()
                    {
                        self.run();
                    }
                });
            }
        });
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let count = count as f64;
        count / began.elapsed().as_secs_f64()
    }
}
