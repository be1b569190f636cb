//! Writes the files that are made from the declared signals, by the command that operators
//! use. CI compares them in a test of `danube-signals`.

use std::path::Path;

use crate::{Result, cargo};

pub(crate) fn run(root: &Path) -> Result<()> {
    // The committed files don't depend on this machine's settings.
    let what = [
        "run",
        "--locked",
        "--quiet",
        "-p",
        "danube",
        "--",
        "signals",
        "export",
        "--workers-expected",
        "1",
    ];
    let status = cargo::command(root)
        .args(what)
        .arg(root)
        .status()
        .map_err(|why| format!("start cargo: {why}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`danube signals export` ended with {status}"))
    }
}
