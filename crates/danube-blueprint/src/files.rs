//! Finds the files of a blueprint below a directory: bounded, and without following a link.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use danube_model::limits::FILE_BYTES_MAX;
use danube_model::{Mistake, Mistakes, Source};
use rustix::fs::{Mode, OFlags, open};

/// Files of one blueprint: a thousand pipelines, and as many people.
pub const FILES_MAX: usize = 2_000;

/// Bytes of all its files: they are read whole, and the store keeps what they say.
pub const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Directories above a file, from the top: room for `pipelines/area/team/`.
pub const DEPTH_MAX: usize = 4;

/// Entries of all directories that are looked at, whatever they are: what nobody reads
/// costs time, too.
pub const ENTRIES_MAX: usize = 10_000;

/// Endings of files that are read.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// What a file is for: where it lies says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Config,
    Users,
    Teams,
    Pipelines,
}

impl Place {
    /// The directory of many, or the name of the one.
    fn of(name: &str) -> Option<Self> {
        match name {
            "users" => Some(Self::Users),
            "teams" => Some(Self::Teams),
            "pipelines" => Some(Self::Pipelines),
            _ => None,
        }
    }
}

/// A file, and what it says.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) place: Place,
    pub(crate) source: Source,
}

/// Reads all of them, in the order of their paths; and what can't be read.
pub(crate) fn find(dir: &Path) -> (Vec<Found>, Vec<Mistakes>) {
    let mut search = Search {
        found: Vec::new(),
        wrong: Vec::new(),
        entries: 0,
        bytes: 0,
        full: false,
    };
    search.top(dir);
    let Search { found, wrong, .. } = search;
    (found, wrong)
}

struct Search {
    found: Vec<Found>,
    wrong: Vec<Mistakes>,
    entries: usize,
    bytes: usize,
    /// A bound was met, and told.
    full: bool,
}

impl Search {
    fn top(&mut self, dir: &Path) {
        for name in self.names(dir, "") {
            let path = dir.join(&name);
            if let Some(place) = Place::of(&name) {
                if is_dir(&path) {
                    self.below(&path, &name, place, 1);
                } else {
                    let help = "make it a directory with one file each; links aren't followed";
                    self.refuse(&name, "blueprint.place", "isn't a directory", help);
                }
            } else if stem(&name) == Some("config") {
                self.take(&path, &name, Place::Config);
            } else {
                self.slip(&path, &name);
            }
        }
    }

    /// A directory or file that was meant to be one of ours.
    fn slip(&mut self, path: &Path, name: &str) {
        let near = |it: &&&str| danube_model::spec::is_near(it, name);
        if is_dir(path) {
            if let Some(meant) = ["users", "teams", "pipelines"].iter().find(near) {
                let help = format!("rename it to `{meant}`");
                self.refuse(name, "blueprint.place", "isn't looked at", &help);
            }
        } else if stem(name).is_some_and(|it| danube_model::spec::is_near(it, "config")) {
            let help = "rename it to `config.yaml` or `config.json`";
            self.refuse(name, "blueprint.place", "isn't looked at", help);
        }
    }

    fn below(&mut self, dir: &Path, shown: &str, place: Place, depth: usize) {
        for name in self.names(dir, shown) {
            let (path, shown) = (dir.join(&name), format!("{shown}/{name}"));
            if name.starts_with('.') {
                continue;
            }
            if !is_dir(&path) {
                if stem(&name).is_some() {
                    self.take(&path, &shown, place);
                }
            } else if depth < DEPTH_MAX {
                self.below(&path, &shown, place, depth + 1);
            } else {
                let why = format!("lies below {DEPTH_MAX} directories already");
                self.refuse(&shown, "blueprint.depth", &why, "move its files up");
            }
        }
    }

    /// The names in a directory, in order; none once there are too many of anything.
    fn names(&mut self, dir: &Path, shown: &str) -> Vec<String> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) => {
                let shown = if shown.is_empty() { "." } else { shown };
                self.unreadable(shown, &error);
                return Vec::new();
            }
        };
        let mut names = Vec::new();
        for entry in entries {
            self.entries += 1;
            if self.full || self.entries > ENTRIES_MAX {
                let why = format!("holds more than {ENTRIES_MAX} files and directories");
                self.fill(&why);
                return Vec::new();
            }
            match entry.map(|it| it.file_name().into_string()) {
                Ok(Ok(name)) => names.push(name),
                // What isn't text is nobody's: our names are.
                Ok(Err(_)) => {}
                Err(error) => self.unreadable(shown, &error),
            }
        }
        names.sort();
        names
    }

    fn take(&mut self, path: &Path, shown: &str, place: Place) {
        if self.found.len() == FILES_MAX {
            return self.fill(&format!("holds more than {FILES_MAX} files"));
        }
        if self.full {
            return;
        }
        let text = match text_of(path) {
            Ok(text) => text,
            Err(Unread::Link) => {
                let help = "commit the file itself: links aren't followed";
                return self.refuse(shown, "file.link", "is no plain file", help);
            }
            Err(Unread::TooLarge) => {
                let why = format!("is larger than {FILE_BYTES_MAX} bytes");
                return self.refuse(shown, "file.too_large", &why, "split it");
            }
            Err(Unread::Error(error)) => return self.unreadable(shown, &error),
        };
        self.bytes += text.len();
        if self.bytes > BYTES_MAX {
            return self.fill(&format!("holds more than {BYTES_MAX} bytes"));
        }
        self.found.push(Found {
            place,
            source: Source {
                name: shown.to_owned(),
                text,
            },
        });
    }

    fn fill(&mut self, why: &str) {
        if !std::mem::replace(&mut self.full, true) {
            let help = "is this the right directory? see docs/blueprint.md for what belongs there";
            self.refuse(".", "blueprint.too_large", why, help);
        }
    }

    fn unreadable(&mut self, shown: &str, error: &io::Error) {
        let why = format!("can't be read: {error}");
        self.refuse(shown, "file.read", &why, "it must be text in UTF-8");
    }

    fn refuse(&mut self, shown: &str, code: &'static str, why: &str, help: &str) {
        let what = if shown == "." {
            "the blueprint".to_owned()
        } else {
            format!("`{}`", shown.escape_debug())
        };
        self.wrong.push(Mistakes {
            list: vec![Mistake {
                code,
                pointer: String::new(),
                at: None,
                message: format!("{what} {why}"),
                help: Some(help.to_owned()),
            }],
            source: Some(Source {
                name: shown.to_owned(),
                text: String::new(),
            }),
        });
    }
}

/// A directory itself, and not a link to one.
fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|it| it.is_dir())
}

/// The name without its ending, when it is a file that is read.
fn stem(name: &str) -> Option<&str> {
    let (stem, ending) = name.rsplit_once('.')?;
    ENDINGS.contains(&ending).then_some(stem)
}

enum Unread {
    Link,
    TooLarge,
    Error(io::Error),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::Error(error)
    }
}

/// Reads no more than a file may have, and waits for nobody: a pipe isn't opened.
fn text_of(path: &Path) -> Result<String, Unread> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::LOOP) => return Err(Unread::Link),
        Err(error) => return Err(Unread::Error(error.into())),
    };
    if !file.metadata()?.is_file() {
        return Err(Unread::Link);
    }
    let mut text = String::new();
    let most = FILE_BYTES_MAX as u64 + 1;
    file.take(most).read_to_string(&mut text)?;
    if text.len() > FILE_BYTES_MAX {
        return Err(Unread::TooLarge);
    }
    Ok(text)
}
