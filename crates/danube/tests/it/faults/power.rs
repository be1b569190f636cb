//! The power goes while jobs are submitted and run: what was acknowledged is on the disk.
//!
//! The disk is a file with ext4 in it. The cut is ext4's own: from that moment on nothing
//! reaches the file, not even the journal, so that all that was written and not synced is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::c::compiled;
use super::history::check_database;
use super::load::{Load, Random};
use super::row::row;
use super::setting;
use super::strace::{signal, still};
use crate::master::{DEADLINE, Master};
use crate::processes::{self, root_or_skip, until};

/// Bytes of the disk; what isn't used takes no room.
const DISK_BYTES: u64 = 256 * 1024 * 1024;

/// Cuts when `DANUBE_FAULT_ROUNDS` says nothing else.
const ROUNDS_DEFAULT: u64 = 3;

/// Longest time between the first accepted job and the cut: logs are synced once a second.
const CUT_AFTER_MS_MAX: u64 = 1_500;

/// A disk with ext4 on it. Gone when dropped.
pub(super) struct Ext4 {
    own: TempDir,
    options: &'static str,
    /// Times that it was taken out.
    generation: u32,
}

impl Ext4 {
    /// Mounted with these options beside its own.
    pub(super) fn new(options: &'static str) -> Self {
        let own = tempfile::tempdir().unwrap();
        let disk = Self {
            own,
            options,
            generation: 0,
        };
        let image = fs::File::create_new(disk.image()).unwrap();
        image.set_len(DISK_BYTES).unwrap();
        fs::create_dir(disk.path()).unwrap();
        run(Command::new("mkfs.ext4").arg("-q").arg(disk.image()));
        disk.mount();
        disk
    }

    fn image(&self) -> PathBuf {
        self.own.path().join(format!("image-{}", self.generation))
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> PathBuf {
        self.own.path().join("disk")
    }

    /// The loop device that carries it.
    pub(super) fn device(&self) -> String {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let path = self.path().display().to_string();
        let line = mounts
            .lines()
            .find(|it| it.split(' ').nth(1) == Some(&path));
        let device = line.and_then(|it| it.split(' ').next()).expect("mounted");
        device.trim_start_matches("/dev/").to_owned()
    }

    pub(super) fn mount(&self) {
        let options = format!("loop{}", self.options);
        run(Command::new("mount")
            .args(["-o", &options])
            .arg(self.image())
            .arg(self.path()));
    }

    /// Takes the disk out, as it is: what is mounted next is another one with the same bytes.
    /// The old one may still be mounted in the namespaces of jobs of other tests, and would
    /// be found there by whoever mounts its file again.
    pub(super) fn unplug(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(self.path()));
        let before = self.image();
        self.generation += 1;
        run(Command::new("cp")
            .arg("--sparse=always")
            .arg(&before)
            .arg(self.image()));
        fs::remove_file(before).unwrap();
    }

    /// Has what an unclean end left repaired, as a person does at the start of the machine.
    pub(super) fn repair(&self) {
        let status = Command::new("fsck.ext4")
            .args(["-y", "-f"])
            .arg(self.image())
            .output();
        // 1 says that it found something and repaired it.
        let status = status.unwrap().status.code();
        assert!(matches!(status, Some(0 | 1)), "{status:?}");
    }

    fn cut_power(&self, tool: &Path) {
        run(Command::new(tool).arg(self.path()));
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        // Not mounted any more, or still in use by somebody who is being killed.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .output();
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().expect("it is installed");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Whether this machine has disks that are files; says what is left out otherwise.
pub(super) fn loop_devices_or_skip(what: &str) -> bool {
    if !root_or_skip(what) {
        return false;
    }
    let found = Path::new("/dev/loop-control").exists();
    if !found {
        eprintln!("skipped: {what} needs loop devices");
    }
    found
}

/// What is written right before a cut, and never synced: proof that the power is gone.
const WITNESS: &str = "never synced";

/// The power goes: the machine stops first, so that nobody is told anything after it.
fn cut(disk: &Ext4, tool: &Path, master: &mut Master, witness: &str) {
    signal(master.pid(), Signal::STOP);
    // A thread that runs elsewhere stops a moment later, and could still say that the disk is gone.
    until("the machine stands still", DEADLINE, || {
        (still(master.pid()) > 0).then_some(())
    });
    fs::write(disk.path().join(witness), WITNESS).unwrap();
    disk.cut_power(tool);
    master.kill();
}

#[test]
fn all_that_was_acknowledged_is_there_after_a_power_cut() {
    let row = row!("power cut");
    if !loop_devices_or_skip("cutting the power of a disk") {
        return row.left_out("needs root and loop devices");
    }
    let rounds = setting("DANUBE_FAULT_ROUNDS").unwrap_or(ROUNDS_DEFAULT);
    let seed = setting("DANUBE_FAULT_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("{rounds} cuts; DANUBE_FAULT_SEED={seed} chooses the same moments again");
    let mut random = Random::new(seed);
    let (mut disk, tool) = (Ext4::new(""), compiled("cut_power.c", &[]));
    let dir = disk.path().join("data");
    let mut load = Load::of_power_cuts(seed);
    let mut lost = 0;
    for round in 0..rounds {
        let mut master = Master::start_in(&dir, &[]);
        load.history().check_running(&master);
        load.serve(&master, false);
        load.wait_for_answer();
        if round > 0 {
            // In the first round right after the first job of a new directory.
            // tidy: allow(sleep): nothing is waited for; the random moment is the fault itself
            thread::sleep(Duration::from_millis(random.below(CUT_AFTER_MS_MAX)));
        }
        // A new one each time: ext4 syncs what takes the place of something by itself.
        let witness = format!("witness-{round}");
        cut(&disk, &tool, &mut master, &witness);
        load.history().power_went();
        processes::all_gone_of(&load.history().ids());
        disk.unplug();
        disk.mount();
        let left = fs::read_to_string(disk.path().join(witness));
        lost += u64::from(left.ok().as_deref() != Some(WITNESS));
        check_database(&dir);
    }
    assert!(lost > 0, "the power was not cut");
    let mut master = Master::start_in(&dir, &[]);
    load.serve(&master, true);
    load.join();
    let jobs = load.history().check_ended(&master);
    assert_eq!(master.get("/health/ready").status, 200);
    master.kill();
    check_database(&dir);
    row.held(
        rounds,
        format!(
            "{} jobs acknowledged, 0 lost; what was not synced was, in {lost} cuts: {:?}",
            jobs.len(),
            super::counts(&jobs)
        ),
    );
}
