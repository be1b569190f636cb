//! One line of the table of results that `make faults` prints.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::thread;

/// The file that lines are added to; set by `make faults`, which prints it at the end.
const TABLE: &str = "DANUBE_FAULT_TABLE";

/// Begins a line, in the words that the fault has in `docs/reliability.md`.
macro_rules! row {
    ($fault:literal) => {
        $crate::faults::row::Row::begin($fault, std::any::type_name_of_val(&|| {}))
    };
}
pub(crate) use row;

/// A fault that is being shown. Dropped by a panic, it has failed.
#[must_use = "say how it went: `held` or `left_out`"]
pub(crate) struct Row {
    fault: &'static str,
    /// The test, by its path.
    test: String,
    /// Rounds, result and figure.
    said: Option<(u64, String, String)>,
}

impl Row {
    /// `place` is the name of something inside the test.
    pub(crate) fn begin(fault: &'static str, place: &str) -> Self {
        let path = place.split_once("::").map_or(place, |(_, path)| path);
        let test = path.trim_end_matches("::{{closure}}").to_owned();
        Self {
            fault,
            test,
            said: None,
        }
    }

    /// What must happen has happened, so many times. The figure says what was seen meanwhile.
    pub(crate) fn held(mut self, rounds: u64, figure: impl Display) {
        self.said = Some((rounds, "held".to_owned(), figure.to_string()));
    }

    /// This machine can't have the fault.
    pub(crate) fn left_out(mut self, why: impl Display) {
        self.said = Some((0, format!("left out: {why}"), String::new()));
    }

    fn line(&self) -> String {
        let failed = (0, "FAILED".to_owned(), String::new());
        let (rounds, result, figure) = match &self.said {
            Some(said) => said,
            None => &failed,
        };
        let Self { fault, test, .. } = self;
        format!("| {fault} | `{test}` | {rounds} | {result} | {figure} |")
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        let line = self.line();
        eprintln!("{line}");
        if let Ok(path) = std::env::var(TABLE) {
            let table = OpenOptions::new().append(true).create(true).open(path);
            // One write: tests that run beside this one write too.
            let written = table.and_then(|mut it| it.write_all(format!("{line}\n").as_bytes()));
            assert!(written.is_ok() || thread::panicking(), "{written:?}");
        }
        assert!(
            self.said.is_some() || thread::panicking(),
            "nobody said how `{}` went",
            self.fault
        );
    }
}

#[test]
fn a_line_names_the_fault_the_test_and_how_it_went() {
    let mut row = row!("a slow disk");
    row.said = Some((3, "held".to_owned(), "2 s".to_owned()));
    let test = "faults::row::a_line_names_the_fault_the_test_and_how_it_went";
    assert_eq!(
        row.line(),
        format!("| a slow disk | `{test}` | 3 | held | 2 s |")
    );
    row.said = None;
    assert!(row.line().contains("| FAILED |"));
    // This one is no result.
    std::mem::forget(row);
}
