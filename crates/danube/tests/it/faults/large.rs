//! Output of any size and shape: byte for byte on the disk, in constant memory.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use serde_json::{Value, json};

use super::row::row;
use super::setting;
use crate::master::{Master, id, is_terminal};
use crate::processes::{forget_highest_memory, memory, until};

/// Memory that a server may need more, whatever a job prints.
const MEMORY_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// What is compared at once.
const PIECE_BYTES: usize = 1024 * 1024;

/// A GiB through a test build, on a machine that is busy with other tests.
const LARGE_DEADLINE: Duration = Duration::from_secs(300);

/// A size: as it is in `make faults`, and in the quick form.
fn size(full: u64, quick: u64) -> u64 {
    setting("DANUBE_FAULT_ROUNDS").map_or(quick, |_| full)
}

/// Waits for the job's end without reading its log.
fn ended(master: &Master, job: &str) -> Value {
    until("the job ends", LARGE_DEADLINE, || {
        let job = master.job(job);
        is_terminal(&job).then_some(job)
    })
}

/// What a page may weigh, whatever the log: it shows its end.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Runs a script that prints `unit` over and over, `bytes` long in all, and looks
/// at what is on the disk. The memory that it took.
fn check(master: &Master, script: &str, unit: &[u8], bytes: u64) -> u64 {
    let before = forget_highest_memory(master.pid());
    let steps = json!([{"name": "only", "run": script}]);
    let order = json!({"spec": {"name": "large", "steps": steps}});
    let job = ended(master, &id(&master.submit(&order)));
    let page = master.get(&format!("/jobs/{}", id(&job)));
    assert_eq!(page.status, 200, "the page stays usable");
    let size = page.body.len();
    assert!(size <= PAGE_BYTES_MAX, "{size} bytes of a page");
    let grown = memory(master.pid(), "VmHWM").saturating_sub(before);
    assert_eq!(job["status"], "success", "{job}");
    assert_eq!(job["log_complete"], true, "{job}");
    assert_eq!(job["log_bytes"], bytes, "{job}");
    assert!(
        grown <= MEMORY_BYTES_MAX,
        "{script}: {grown} bytes of memory"
    );
    // Pieces of many units, so that each begins with one.
    let expected = unit.repeat(PIECE_BYTES / unit.len());
    let mut piece = vec![0; expected.len()];
    let path = master.dir.join(format!("logs/{}.log", id(&job)));
    let mut file = File::open(&path).expect("the log is there");
    let mut left = bytes;
    while left > 0 {
        let len = expected
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_exact(&mut piece[..len]).expect("as long as told");
        assert!(
            piece[..len] == expected[..len],
            "another byte, {left} bytes before the end"
        );
        left -= len as u64;
    }
    assert_eq!(file.read(&mut piece).expect("the end"), 0);
    // Only its files, and it is gone: the next ones need the room.
    drop(file);
    std::fs::remove_file(path).expect("remove the log");
    grown
}

/// What is told of it.
fn figure(bytes: u64, grown: u64) -> String {
    format!("{bytes} bytes, {} KiB of memory more", grown / 1024)
}

#[test]
fn one_endless_line_passes_in_constant_memory() {
    let row = row!("output of any size and shape");
    let master = Master::with(&["--log-head", "2GiB", "--log-total", "3GiB"]);
    let bytes = size(1 << 30, 256 << 20);
    let script = format!("head -c {bytes} /dev/zero | tr '\\0' x");
    let grown = check(&master, &script, b"x", bytes);
    row.held(1, figure(bytes, grown));
}

#[test]
fn nuls_and_bytes_that_are_no_text_pass_in_constant_memory() {
    let row = row!("output of any size and shape");
    let master = Master::start();
    let bytes = size(256 << 20, 32 << 20);
    let mut grown = check(&master, &format!("head -c {bytes} /dev/zero"), b"\0", bytes);
    let script = format!("head -c {bytes} /dev/zero | tr '\\0' '\\377'");
    grown = grown.max(check(&master, &script, b"\xff", bytes));
    // Half of a character, a surrogate, an overlong sign, half of an escape code.
    let odd = b"\xf0\x9f\x92\xed\xa0\x80\xc0\xaf\x1b[\x80\xfe\x1b]0\n";
    let octal: String = odd.iter().map(|it| format!("\\{it:03o}")).collect();
    let script = format!("yes \"$(printf '{octal}')\" | head -c {bytes}");
    grown = grown.max(check(&master, &script, odd, bytes));
    row.held(3, figure(bytes, grown));
}

#[test]
fn millions_of_empty_lines_pass_in_constant_memory() {
    let row = row!("output of any size and shape");
    let master = Master::start();
    let lines = size(10_000_000, 1_000_000);
    let grown = check(&master, &format!("yes '' | head -n {lines}"), b"\n", lines);
    row.held(1, figure(lines, grown));
}

#[test]
fn progress_bars_that_are_drawn_over_themselves_pass_in_constant_memory() {
    let row = row!("output of any size and shape");
    let master = Master::start();
    let bar = b"\rfetching [=====>      ] 42 %";
    let bytes = size(256 << 20, 16 << 20);
    let text = "\\rfetching [=====>      ] 42 %%";
    let script = format!("yes \"$(printf '{text}')\" | tr -d '\\n' | head -c {bytes}");
    let grown = check(&master, &script, bar, bytes);
    row.held(1, figure(bytes, grown));
}
