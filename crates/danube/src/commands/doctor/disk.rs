//! The disk of the data directory: room, inodes, and whether a database may lie there.

use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statfs, statvfs};

use super::found::Found;
use crate::config::Config;

/// Free bytes under which a server accepts no job.
const FREE_BYTES_MIN: u64 = 1024 * 1024;

/// Free inodes under which the next jobs fail: each takes some for its workspace, its log
/// and its trace.
const FREE_INODES_MIN: u64 = 100;

/// Free percent of inodes under which it is time to look.
const INODES_PERCENT_LOW: u64 = 5;

const MIB: u64 = 1024 * 1024;

/// Free bytes and inodes.
pub(super) fn space(config: &Config) -> Found {
    let dir = nearest(&config.settings.data_dir);
    let stat = match statvfs(&dir) {
        Ok(stat) => stat,
        Err(error) => return unasked(&dir, error),
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let percent = percent(stat.f_bavail, stat.f_blocks);
    let inodes = percent_of_inodes(stat.f_favail, stat.f_files);
    let room = format!("{} MiB are free, {percent} %", free / MIB);
    let fix = "free some: shorten retention.logs_days, set retention.logs_max_bytes, or move the directory";
    if free < FREE_BYTES_MIN {
        return Found::wrong(room, fix);
    }
    let nodes = format!("{} of {} inodes are free", stat.f_favail, stat.f_files);
    if inodes.is_some() && stat.f_favail < FREE_INODES_MIN {
        return Found::wrong(
            nodes,
            "remove files, or make the file system anew with more inodes",
        );
    }
    if percent < u64::from(config.settings.health.disk_free_percent) {
        return Found::weak(room, fix);
    }
    match inodes {
        Some(low) if low < INODES_PERCENT_LOW => Found::weak(
            nodes,
            "remove files, or make the file system anew with more inodes",
        ),
        Some(inodes) => Found::fine(format!("{room}; {inodes} % of the inodes")),
        None => Found::fine(room),
    }
}

/// Kind of file system, and how it is mounted.
pub(super) fn kind(config: &Config) -> Found {
    let dir = nearest(&config.settings.data_dir);
    let (kind, stat) = match (statfs(&dir), statvfs(&dir)) {
        (Ok(kind), Ok(stat)) => (kind.f_type, stat),
        (Err(error), _) | (_, Err(error)) => return unasked(&dir, error),
    };
    if stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Found::wrong(
            format!("{} is mounted for reading only", dir.display()),
            "mount it for writing; after an error of the disk, look at the kernel's log first",
        );
    }
    #[expect(clippy::cast_sign_loss, reason = "the kernel's numbers have 32 bits")]
    of_kind(kind as u64 & 0xffff_ffff, &dir)
}

/// What a kind is called, and how far a database may lie on it. Numbers of `statfs(2)`.
fn of_kind(kind: u64, dir: &Path) -> Found {
    const LOCAL: [(u64, &str); 6] = [
        (0xef53, "ext4"),
        (0x5846_5342, "XFS"),
        (0x9123_683e, "Btrfs"),
        (0x2fc1_2fc1, "ZFS"),
        (0xf2f5_2010, "F2FS"),
        (0xca45_1a4e, "bcachefs"),
    ];
    const NETWORK: [(u64, &str); 8] = [
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB2"),
        (0x5346_414f, "AFS"),
        (0x00c3_6400, "Ceph"),
        (0x0102_1997, "9P"),
        (0x0bd0_0bd0, "Lustre"),
    ];
    let named = |list: &[(u64, &'static str)]| {
        let found = list.iter().find(|(number, _)| *number == kind);
        found.map(|(_, name)| *name)
    };
    let shown = dir.display();
    if let Some(name) = named(&NETWORK) {
        return Found::wrong(
            format!("{shown} lies on {name}, and SQLite's log needs a file system of this machine"),
            "move the data directory to a local disk, or two machines may damage the database",
        );
    }
    match kind {
        0x0102_1994 => Found::weak(
            format!("{shown} lies on tmpfs, in memory: it is gone after a restart of the machine"),
            "move the data directory to a disk",
        ),
        0x794c_7630 => Found::weak(
            format!(
                "{shown} lies on overlayfs, in a container's own layer: it goes with the container"
            ),
            "mount a volume for the data directory",
        ),
        0x6573_5546 => Found::weak(
            format!(
                "{shown} lies on a FUSE file system: whether that keeps its promises is its own affair"
            ),
            "use a local disk if it reaches over a network",
        ),
        _ => Found::fine(match named(&LOCAL) {
            Some(name) => name.to_owned(),
            None => format!("a file system of kind 0x{kind:x}"),
        }),
    }
}

/// The directory, or what it will be made in.
fn nearest(dir: &Path) -> PathBuf {
    let there = dir.ancestors().find(|it| it.exists());
    there.unwrap_or(Path::new("/")).to_owned()
}

fn percent(part: u64, whole: u64) -> u64 {
    match whole {
        0 => 100,
        _ => part.saturating_mul(100) / whole,
    }
}

/// None where inodes are made as they are needed.
fn percent_of_inodes(free: u64, all: u64) -> Option<u64> {
    (all > 0).then(|| percent(free, all))
}

fn unasked(dir: &Path, error: rustix::io::Errno) -> Found {
    Found::wrong(
        format!("{} can't be asked: {error}", dir.display()),
        "look at the kernel's log; a disk that answers nothing is broken",
    )
}

#[cfg(test)]
mod tests {
    use super::super::found::Status;
    use super::*;

    #[test]
    fn a_database_may_lie_on_local_disks_alone() {
        for (kind, status, word) in [
            (0xef53, Status::Ok, "ext4"),
            (0x1234, Status::Ok, "0x1234"),
            (0x6969, Status::Failed, "NFS"),
            (0xff53_4d42, Status::Failed, "CIFS"),
            (0x0102_1997, Status::Failed, "9P"),
            (0x0102_1994, Status::Degraded, "tmpfs"),
            (0x794c_7630, Status::Degraded, "overlayfs"),
            (0x6573_5546, Status::Degraded, "FUSE"),
        ] {
            let found = of_kind(kind, Path::new("/srv"));
            assert_eq!(found.status, status, "{found:?}");
            assert!(found.detail.contains(word), "{found:?}");
        }
    }
}
