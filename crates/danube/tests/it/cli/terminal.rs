//! What changes on a terminal: colours, widths, and what may not reach it.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::Command;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::json;

use super::client::{timed_parts, timing};
use super::responder::{Answer, Responder};
use super::{Place, job};

/// Runs a command with a terminal of this width as its standard output and
/// returns what the terminal got. The driver writes `\r\n` for `\n`.
fn on_terminal(mut command: Command, columns: u16) -> String {
    let (ours, theirs) = terminal(columns);
    let mut child = command
        .stdout(theirs.try_clone().unwrap())
        .stderr(theirs)
        .spawn()
        .unwrap();
    // Our copies of the terminal's other end go with the command: then the
    // child's are the last, and their end ends the reading.
    drop(command);
    let mut bytes = Vec::new();
    // EIO is how a terminal says that nobody writes any more.
    let _ = File::from(ours).read_to_end(&mut bytes);
    child.wait().unwrap();
    String::from_utf8(bytes).unwrap().replace("\r\n", "\n")
}

/// A terminal of this width: our end, and the one for a program.
pub(crate) fn terminal(columns: u16) -> (OwnedFd, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&theirs, size).unwrap();
    (ours, theirs)
}

#[test]
fn a_log_can_not_steer_the_terminal() {
    let place = Place::new();
    let log = b"a\x1b]0;owned\x07b\x1b[2J\x1b[31mred\x1b]52;c;ZXZpbA==\x1b\\\n50%\r100%\xff\n";
    let server = Responder::new(vec![Answer::log(log)]);
    let shown = on_terminal(place.client(&server.url, &["logs", "x"]), 80);
    assert_eq!(shown, "ab\u{1b}[31mred\n50%\r100%\u{fffd}\n\u{1b}[0m");
    server.finish();
}

#[test]
fn a_status_has_a_colour_on_a_terminal_and_none_with_no_color() {
    let place = Place::new();
    let page = json!({"jobs": [job("failure", &json!({}))], "next_cursor": null});
    let server = Responder::new(vec![
        Answer::json(200, &page),
        Answer::json(200, &page),
        Answer::json(200, &page),
    ]);
    let shown = on_terminal(place.client(&server.url, &["jobs"]), 80);
    assert!(shown.contains("\u{1b}[31mfailure\u{1b}[0m"), "{shown:?}");
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let mut command = place.client(&server.url, &["jobs"]);
        command.env(name, value);
        let shown = on_terminal(command, 80);
        assert!(
            shown.contains("failure") && !shown.contains('\u{1b}'),
            "{shown:?}"
        );
    }
    server.finish();
}

#[test]
fn a_table_fits_the_terminal() {
    let place = Place::new();
    let long = json!({"pipeline": "a-pipeline-with-a-very-long-name", "trigger_ref": "refs/heads/a-branch-with-a-long-name"});
    let page = json!({"jobs": [job("running", &long)], "next_cursor": null});
    let server = Responder::new(vec![Answer::json(200, &page), Answer::json(200, &page)]);
    for (columns, name) in [(72, "a-pip"), (200, "a-pipeline-with-a-very-long-name")] {
        let mut command = place.client(&server.url, &["jobs"]);
        command.env("NO_COLOR", "1");
        let shown = on_terminal(command, columns);
        let widest = shown.lines().map(|it| it.chars().count()).max().unwrap();
        assert!(widest <= usize::from(columns), "{shown}");
        assert!(shown.contains(name), "{shown}");
    }
    server.finish();
}

#[test]
fn the_table_of_a_pipeline_fits_eighty_columns_and_colours_what_changed() {
    let place = Place::new();
    let page = timing(&timed_parts());
    let server = Responder::new(vec![Answer::json(200, &page), Answer::json(200, &page)]);
    let mut command = place.client(&server.url, &["trace", "--slow", "p"]);
    command.env("NO_COLOR", "1");
    let shown = on_terminal(command, 80);
    let widest = shown.lines().map(|it| it.chars().count()).max().unwrap();
    assert!(widest <= 80, "{shown}");
    assert!(shown.contains("test-everything-on… "), "{shown}");
    let shown = on_terminal(place.client(&server.url, &["trace", "--slow", "p"]), 80);
    for (sgr, text) in [
        ("31", "+15%"),
        ("32", "-25%"),
        ("2", "+50%"),
        ("33", "queue"),
    ] {
        let painted = format!("\u{1b}[{sgr}m{text}\u{1b}[0m");
        assert!(shown.contains(&painted), "{text}: {shown:?}");
    }
    server.finish();
}
