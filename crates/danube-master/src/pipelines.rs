//! Pipelines by name, from a directory of files.
//!
//! Files are looked at when a submit names a pipeline, and read again only when
//! they changed, so an edit counts at once and a wrong file harms nobody else.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use danube_model::limits::FILE_BYTES_MAX;
use danube_model::spec::{Pipeline, parse_file};
use danube_model::{Mistakes, Source};

/// Files that are looked at; more is a mistake in the path.
const FILES_MAX: usize = 10_000;

/// The directory.
pub(crate) struct Pipelines {
    dir: PathBuf,
    read: Mutex<HashMap<PathBuf, Known>>,
}

/// A file as it was when it was last read.
struct Known {
    stamp: Stamp,
    pipeline: Result<Pipeline, Mistakes>,
}

type Stamp = (SystemTime, u64);

/// Why there is no such pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoPipeline {
    /// No file declares it.
    Unknown {
        /// The names that there are.
        known: Vec<String>,
        /// Files that can't be read, which may be the one that was meant.
        wrong: Vec<String>,
    },
    /// More than one file declares it.
    Twice(Vec<String>),
    /// The directory can't be read.
    Unreadable(String),
}

impl Pipelines {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            read: Mutex::default(),
        }
    }

    /// The pipeline with this name.
    pub(crate) fn find(&self, name: &str) -> Result<Pipeline, NoPipeline> {
        let files = files(&self.dir).map_err(|error| {
            NoPipeline::Unreadable(format!("read {}: {error}", self.dir.display()))
        })?;
        let mut known = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|path, _| files.iter().any(|(it, _)| it == path));
        let (mut found, mut names, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
        for (path, stamp) in files {
            let fresh = known.get(&path).is_none_or(|it| it.stamp != stamp);
            if fresh {
                known.insert(
                    path.clone(),
                    Known {
                        stamp,
                        pipeline: read(&path),
                    },
                );
            }
            match &known[&path].pipeline {
                Ok(pipeline) if pipeline.name == name => found.push((path, pipeline.clone())),
                Ok(pipeline) => names.push(pipeline.name.clone()),
                Err(mistakes) => wrong.push(describe(mistakes)),
            }
        }
        match found.len() {
            1 => Ok(found.remove(0).1),
            0 => {
                names.sort();
                Err(NoPipeline::Unknown {
                    known: names,
                    wrong,
                })
            }
            _ => Err(NoPipeline::Twice(
                found.iter().map(|(path, _)| file_name(path)).collect(),
            )),
        }
    }
}

fn files(dir: &Path) -> io::Result<Vec<(PathBuf, Stamp)>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut files = Vec::new();
    for entry in entries.take(FILES_MAX) {
        let path = entry?.path();
        let extension = path.extension().and_then(|it| it.to_str());
        if !matches!(extension, Some("yaml" | "yml" | "json")) {
            continue;
        }
        // A link that leads nowhere, or a file that has just gone.
        let Ok(about) = fs::metadata(&path) else {
            continue;
        };
        if about.is_file() {
            files.push((path, (about.modified()?, about.len())));
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Pipeline, Mistakes> {
    let name = file_name(path);
    let unreadable = |message: String| Mistakes {
        list: vec![danube_model::Mistake {
            code: "file.unreadable",
            pointer: String::new(),
            at: None,
            message,
            help: None,
        }],
        source: Some(Source {
            name: name.clone(),
            text: String::new(),
        }),
    };
    let size = fs::metadata(path)
        .map_err(|error| unreadable(error.to_string()))?
        .len();
    if size > FILE_BYTES_MAX as u64 {
        return Err(unreadable(format!(
            "the file is larger than {FILE_BYTES_MAX} bytes"
        )));
    }
    let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    parse_file(&name, &text)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn describe(mistakes: &Mistakes) -> String {
    let name = mistakes.source.as_ref().map_or("", |it| &it.name);
    let list: Vec<String> = mistakes
        .list
        .iter()
        .map(|it| match it.at {
            Some(at) => format!(
                "{name}:{}:{}: {}: {}",
                at.line,
                at.column,
                it.code,
                it.sentence()
            ),
            None => format!("{name}: {}: {}", it.code, it.sentence()),
        })
        .collect();
    list.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: danube.dev/v1\nkind: Pipeline\nmetadata: {name: NAME}\nspec:\n  steps:\n    - {name: a, run: echo}\n";

    fn write(dir: &Path, file: &str, name: &str) {
        fs::write(dir.join(file), GOOD.replace("NAME", name)).unwrap();
    }

    #[test]
    fn a_pipeline_is_found_by_its_name_not_its_file() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "x.yaml", "build");
        fs::write(dir.path().join("notes.txt"), "not a pipeline").unwrap();
        let pipelines = Pipelines::new(dir.path().to_owned());
        assert_eq!(pipelines.find("build").unwrap().name, "build");
        let missing = pipelines.find("x").unwrap_err();
        assert_eq!(
            missing,
            NoPipeline::Unknown {
                known: vec!["build".into()],
                wrong: vec![]
            }
        );
    }

    #[test]
    fn an_edit_counts_at_once_and_a_wrong_file_harms_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a.yaml", "a");
        let pipelines = Pipelines::new(dir.path().to_owned());
        pipelines.find("a").unwrap();
        write(dir.path(), "b.yaml", "longer-name");
        fs::write(dir.path().join("c.yaml"), "apiVersion: [").unwrap();
        pipelines.find("longer-name").unwrap();
        pipelines.find("a").unwrap();
        let NoPipeline::Unknown { wrong, .. } = pipelines.find("c").unwrap_err() else {
            panic!("unknown")
        };
        assert!(
            wrong[0].starts_with("c.yaml:") && wrong[0].contains("file.syntax"),
            "{wrong:?}"
        );
    }

    #[test]
    fn a_name_that_two_files_declare_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a.yaml", "same");
        write(dir.path(), "b.yaml", "same");
        let error = Pipelines::new(dir.path().to_owned())
            .find("same")
            .unwrap_err();
        assert_eq!(
            error,
            NoPipeline::Twice(vec!["a.yaml".into(), "b.yaml".into()])
        );
    }

    #[test]
    fn no_directory_is_no_pipelines() {
        let error = Pipelines::new("/nonexistent/pipelines".into())
            .find("a")
            .unwrap_err();
        assert_eq!(
            error,
            NoPipeline::Unknown {
                known: vec![],
                wrong: vec![]
            }
        );
    }
}
