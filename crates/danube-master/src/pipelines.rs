//! Pipelines by name, from a directory of files and from the blueprint.
//!
//! Files are looked at when a submit names a pipeline, and read again only when
//! they changed, so an edit counts at once and a wrong file harms nobody else.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use danube_blueprint::Blueprint;
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
    /// This file declares it, and that nobody starts it by hand.
    NotByHand(String),
}

/// The pipeline of the blueprint or of the directory. A name that both declare is refused,
/// as one that two files declare: whoever submits it would get the one or the other.
pub(crate) fn of_both(
    blueprint: Option<&Blueprint>,
    found: Result<Pipeline, NoPipeline>,
    (name, by_hand): (&str, bool),
) -> Result<Pipeline, NoPipeline> {
    let declared = blueprint.and_then(|it| it.pipelines.get(name));
    let Some(declared) = declared else {
        let Err(NoPipeline::Unknown { mut known, wrong }) = found else {
            return found;
        };
        known.extend(blueprint.iter().flat_map(|it| it.pipelines.keys().cloned()));
        known.sort();
        return Err(NoPipeline::Unknown { known, wrong });
    };
    let file = format!("{} of the blueprint", declared.file);
    match found {
        Ok(_) => Err(NoPipeline::Twice(vec![
            file,
            "one of the directory of pipelines".to_owned(),
        ])),
        Err(NoPipeline::Twice(files)) => {
            let all = [file].into_iter().chain(files);
            Err(NoPipeline::Twice(all.collect()))
        }
        Err(_) if by_hand && !declared.triggers.manual => Err(NoPipeline::NotByHand(file)),
        Err(_) => Ok(declared.pipeline.clone()),
    }
}

impl Pipelines {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            read: Mutex::default(),
        }
    }

    /// The names that there are, as far as files can be read.
    pub(crate) fn names(&self) -> Vec<String> {
        // No pipeline has no name.
        match self.find("") {
            Err(NoPipeline::Unknown { known, .. }) => known,
            _ => Vec::new(),
        }
    }

    /// All of them, as far as files can be read, each with its file.
    pub(crate) fn all(&self) -> Vec<(String, Pipeline)> {
        // Looks at what changed.
        let _ = self.names();
        let known = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let good = known.iter().filter_map(|(path, it)| {
            let pipeline = it.pipeline.as_ref().ok()?;
            Some((file_name(path), pipeline.clone()))
        });
        good.collect()
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
    fn a_name_is_of_the_blueprint_or_of_the_directory_and_never_of_both() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("pipelines")).unwrap();
        let hidden = GOOD.replace("NAME", "nightly").replace(
            "spec:\n",
            "spec:\n  triggers: {manual: false, cron: [{schedule: 0 3 * * *}]}\n",
        );
        fs::write(dir.path().join("pipelines/n.yaml"), hidden).unwrap();
        write(&dir.path().join("pipelines"), "b.yaml", "build");
        let blueprint = danube_blueprint::read(dir.path()).unwrap();
        let own = tempfile::tempdir().unwrap();
        let pipelines = Pipelines::new(own.path().to_owned());
        let find = |name: &str, by_hand: bool| {
            of_both(Some(&blueprint), pipelines.find(name), (name, by_hand))
        };
        assert_eq!(find("build", true).unwrap().name, "build");
        let file = "pipelines/n.yaml of the blueprint".to_owned();
        assert_eq!(find("nightly", true), Err(NoPipeline::NotByHand(file)));
        assert_eq!(find("nightly", false).unwrap().name, "nightly");
        let unknown = NoPipeline::Unknown {
            known: vec!["build".into(), "nightly".into()],
            wrong: vec![],
        };
        assert_eq!(find("x", true), Err(unknown));
        write(own.path(), "x.yaml", "build");
        assert!(matches!(find("build", true), Err(NoPipeline::Twice(_))));
        write(own.path(), "y.yaml", "x");
        assert_eq!(find("x", true).unwrap().name, "x");
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
