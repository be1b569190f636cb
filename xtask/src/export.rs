//! Writes the files that are made from what is declared in code, by the commands that
//! operators use. CI compares them in tests of `danube-signals` and `danube-blueprint`.

use std::path::Path;

use crate::{Result, cargo};

pub(crate) fn run(root: &Path) -> Result<()> {
    // The committed files don't depend on this machine's settings.
    danube(
        root,
        &["signals", "export", "--workers-expected", "1"],
        root,
    )?;
    danube(root, &["blueprint", "schema"], &root.join("docs/schema"))
}

fn danube(root: &Path, what: &[&str], into: &Path) -> Result<()> {
    let status = cargo::command(root)
        .args(["run", "--locked", "--quiet", "-p", "danube", "--"])
        .args(what)
        .arg(into)
        .status()
        .map_err(|why| format!("start cargo: {why}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`danube {}` ended with {status}", what.join(" ")))
    }
}
