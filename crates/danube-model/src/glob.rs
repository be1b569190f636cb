//! Patterns of paths below a directory: `target/*.deb`, `reports/**`.
//!
//! A pattern is a path whose parts are patterns of names: `*` any characters, `?` one byte,
//! `[a-z]` one of these, `{a,b}` one of these words. A part `**` is any number of
//! directories, also none; as the last part, everything below. Names that begin with a dot
//! are like all others. Nothing crosses a `/` but `**`.

use globset::{GlobBuilder, GlobMatcher};

use crate::artifact::wrong_artifact_name;

/// Patterns of one step.
pub const GLOBS_MAX: usize = 32;

/// `**` in one pattern: each of them doubles the ways to read a path.
const ANY_DEPTH_MAX: usize = 4;

/// Why a text is no pattern; none when it is one.
#[must_use]
pub fn wrong_glob(text: &str) -> Option<String> {
    Glob::parse(text).err()
}

/// One part of a pattern.
#[derive(Debug, Clone)]
enum Part {
    AnyDepth,
    Name(GlobMatcher),
}

#[derive(Debug, Clone)]
struct Glob(Vec<Part>);

impl Glob {
    fn parse(text: &str) -> Result<Self, String> {
        // Whoever keeps what matches calls it by its path.
        if let Some(why) = wrong_artifact_name(text) {
            return Err(why.to_owned());
        }
        let parts = text.split('/').map(|part| {
            if part == "**" {
                return Ok(Part::AnyDepth);
            }
            if part.contains("**") {
                return Err("may have `**` only as a whole part of its path".to_owned());
            }
            let glob = GlobBuilder::new(part).literal_separator(true).build();
            let glob = glob.map_err(|error| {
                let what = error.kind();
                format!(
                    "can't be read in its part `{}`: {what}",
                    part.escape_debug()
                )
            })?;
            Ok(Part::Name(glob.compile_matcher()))
        });
        let parts: Vec<Part> = parts.collect::<Result<_, _>>()?;
        let deep = parts.iter().filter(|it| matches!(it, Part::AnyDepth));
        if deep.count() > ANY_DEPTH_MAX {
            return Err(format!("has more than {ANY_DEPTH_MAX} parts `**`"));
        }
        Ok(Self(parts))
    }
}

/// Whether the names fit the parts. `below`: more names may follow them.
fn fits(parts: &[Part], names: &[&str], below: bool) -> bool {
    match (parts.split_first(), names.split_first()) {
        (None, None) => !below,
        (None, Some(_)) => false,
        (Some(_), None) if below => true,
        // `a/**` is what lies in `a`, not `a` itself.
        (Some(_), None) => false,
        (Some((Part::Name(name), parts)), Some((first, names))) => {
            name.is_match(first) && fits(parts, names, below)
        }
        (Some((Part::AnyDepth, [])), Some(_)) => true,
        (Some((Part::AnyDepth, rest)), Some((_, names_left))) => {
            fits(rest, names, below) || fits(parts, names_left, below)
        }
    }
}

/// The patterns of a step, ready to be asked.
#[derive(Debug, Clone)]
pub struct Globs(Vec<Glob>);

impl Globs {
    /// These patterns.
    ///
    /// # Errors
    /// What is wrong with the first that is none.
    pub fn new(texts: &[String]) -> Result<Self, String> {
        let all = texts.iter().map(|it| Glob::parse(it));
        Ok(Self(all.collect::<Result<_, _>>()?))
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Which of them a file's path fits, by their places.
    pub fn of(&self, path: &str) -> impl Iterator<Item = usize> {
        let names: Vec<&str> = path.split('/').collect();
        let all = self.0.iter().enumerate();
        all.filter(move |(_, it)| fits(&it.0, &names, false))
            .map(|(at, _)| at)
    }

    /// Whether what lies in this directory could fit one of them.
    #[must_use]
    pub fn reach(&self, directory: &str) -> bool {
        let names: Vec<&str> = directory.split('/').collect();
        self.0.iter().any(|it| fits(&it.0, &names, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(text: &str) -> Globs {
        Globs::new(&[text.to_owned()]).unwrap()
    }

    #[test]
    fn a_pattern_fits_what_it_says() {
        for (glob, fit, other) in [
            ("a", vec!["a"], vec!["b", "a/a", "A"]),
            (
                "t/*.deb",
                vec!["t/a.deb", "t/.deb"],
                vec!["t/x/a.deb", "a.deb", "t/a.debx"],
            ),
            ("r/**", vec!["r/a", "r/b/c", "r/.x/y"], vec!["r", "x/r/a"]),
            ("**", vec!["a", "a/b/c", ".git/x"], vec![]),
            (
                "**/x.xml",
                vec!["x.xml", "a/x.xml", "a/b/x.xml"],
                vec!["a/y.xml", "x.xml/a"],
            ),
            (
                "a/**/z",
                vec!["a/z", "a/b/z", "a/b/c/z"],
                vec!["z", "a/b", "b/a/z"],
            ),
            (
                "a?[0-9].{txt,md}",
                vec!["ab1.txt", "ax9.md"],
                vec!["ab1.rs", "a/1.md"],
            ),
        ] {
            let globs = globs(glob);
            for path in fit {
                assert_eq!(globs.of(path).collect::<Vec<_>>(), [0], "{glob} {path}");
            }
            for path in other {
                assert_eq!(globs.of(path).count(), 0, "{glob} {path}");
            }
        }
    }

    #[test]
    fn only_directories_that_lead_to_something_are_looked_into() {
        for (glob, reach, other) in [
            ("a/b/*.deb", vec!["a", "a/b"], vec!["b", "a/c", "a/b/c"]),
            ("r/**", vec!["r", "r/a", "r/a/b"], vec!["x"]),
            ("**/x", vec!["a", "a/b"], vec![]),
            ("a", vec![], vec!["a", "b"]),
        ] {
            let globs = globs(glob);
            for path in reach {
                assert!(globs.reach(path), "{glob} {path}");
            }
            for path in other {
                assert!(!globs.reach(path), "{glob} {path}");
            }
        }
    }

    #[test]
    fn what_leads_elsewhere_or_says_nothing_is_no_pattern() {
        for text in [
            "",
            "/a",
            "a/",
            "../a",
            "a/../b",
            "./a",
            "a//b",
            "a\\*",
            "a\0",
            "a**",
            "**b/c",
            "[a",
            "{a",
            "{a/b,c}",
            "[a/b]",
            "**/**/**/**/**/a",
        ] {
            assert!(wrong_glob(text).is_some(), "{text:?}");
        }
        assert_eq!(wrong_glob("reports/**/TEST-*.xml"), None);
    }
}
