//! A case in a process of its own: a subscriber belongs to one.

use std::process::Command;

/// Runs this program again with these arguments, on the same core; what it says.
pub(crate) fn said(arguments: &[&str]) -> String {
    let own = std::env::current_exe().expect("it has a path");
    let done = Command::new(own).args(arguments).output();
    let done = done.expect("start it");
    assert!(
        done.status.success(),
        "{arguments:?} ended badly: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8(done.stdout).expect("it is text")
}

/// The same, and it says so many numbers.
pub(crate) fn numbers<const N: usize>(arguments: &[&str]) -> [f64; N] {
    let text = said(arguments);
    let numbers = text
        .split_whitespace()
        .map(|it| it.parse().expect("a number"));
    let numbers: Vec<f64> = numbers.collect();
    numbers.try_into().expect("so many numbers")
}
