//! The demo: a real git repository, a pipeline that uses it, and one run of it.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// The files of the repository.
const FILES: [(&str, &str); 3] = [
    (
        "README.md",
        include_str!("../../../examples/demo/README.md"),
    ),
    (
        "colours.sh",
        include_str!("../../../examples/demo/colours.sh"),
    ),
    ("build.sh", include_str!("../../../examples/demo/build.sh")),
];

const PIPELINE: &str = include_str!("../../../examples/demo/pipeline.yaml");

/// The pipeline's name, for the submit.
pub(crate) const PIPELINE_NAME: &str = "demo";

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// A file can't be written.
    #[error("write the demo: {0}")]
    Io(#[from] io::Error),
    /// Git isn't there, or refused.
    #[error("make the demo's repository: {0}")]
    Git(String),
}

/// Makes repository and pipeline file, unless they are there.
pub(crate) fn prepare(data_dir: &Path, pipelines_dir: &Path) -> Result<(), DemoError> {
    let repository = data_dir.join("examples").join("demo");
    if !repository.join(".git").exists()
        || git(&repository, &["rev-parse", "--quiet", "--verify", "main"]).is_err()
    {
        make_repository(&repository)?;
    }
    fs::create_dir_all(pipelines_dir)?;
    let file = pipelines_dir.join("demo.yaml");
    if !file.exists() {
        let address = format!("file://{}", repository.display());
        // JSON's quotes are YAML's: a path with odd characters stays one value.
        let quoted = serde_json::to_string(&address).expect("a text is JSON");
        fs::write(
            file,
            PIPELINE.replacen(
                "repository: DEMO_REPOSITORY",
                &format!("repository: {quoted}"),
                1,
            ),
        )?;
    }
    Ok(())
}

fn make_repository(at: &Path) -> Result<(), DemoError> {
    fs::create_dir_all(at)?;
    for (name, text) in FILES {
        fs::write(at.join(name), text)?;
    }
    git(at, &["init", "--quiet", "--initial-branch=main", "."])?;
    git(at, &["add", "--all"])?;
    git(at, &["commit", "--quiet", "--message", "Add the demo"])
}

fn git(at: &Path, arguments: &[&str]) -> Result<(), DemoError> {
    let done = Command::new("git")
        .current_dir(at)
        .args([
            "-c",
            "user.name=Danube demo",
            "-c",
            "user.email=demo@danube.invalid",
            "-c",
            "commit.gpgsign=false",
            "-c",
            "core.hooksPath=/dev/null",
        ])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| DemoError::Git(format!("start git: {error}; install git for the demo")))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(DemoError::Git(said.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_is_a_real_repository_and_a_right_pipeline() {
        let dir = tempfile::tempdir().unwrap();
        let pipelines = dir.path().join("pipelines");
        prepare(dir.path(), &pipelines).unwrap();
        prepare(dir.path(), &pipelines).unwrap();
        let text = fs::read_to_string(pipelines.join("demo.yaml")).unwrap();
        let pipeline = danube_model::spec::parse_file("demo.yaml", &text).unwrap();
        assert_eq!(pipeline.name, PIPELINE_NAME);
        let repository = dir.path().join("examples/demo");
        assert_eq!(
            pipeline.repository,
            Some(format!("file://{}", repository.display()))
        );
        let log = Command::new("git")
            .current_dir(&repository)
            .args(["log", "--format=%s"])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(log.stdout).unwrap(), "Add the demo\n");
    }
}
