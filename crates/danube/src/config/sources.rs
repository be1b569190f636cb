//! Flags, environment and file: who says what, and who is heard.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches};
use danube_api::SettingOrigin;
use danube_model::{Mistake, Position, Source};

use super::file::{self, Entry};
use super::table::{Machine, Preset, ROWS, Row, SECTIONS, index};
use super::value::{Kind, Value};
use crate::nearest::nearest;

/// The settings file when nobody names one and the data directory has none.
const SYSTEM_FILE: &str = "/etc/danube/danube.toml";

/// Everything that says something, as it was found.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    /// What was given by flag, by the option's key.
    pub(crate) flags: BTreeMap<&'static str, Vec<OsString>>,
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// `--demo`.
    pub(crate) demo: bool,
    /// Every variable of the environment.
    pub(crate) environment: BTreeMap<OsString, OsString>,
    /// Where relative paths begin.
    pub(crate) working_dir: PathBuf,
    /// The file that holds for the whole machine.
    pub(crate) system_file: PathBuf,
    /// This process is root.
    pub(crate) is_root: bool,
    /// Processors that this process may use.
    pub(crate) cores: u64,
}

/// Who said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A flag, without its dashes.
    Flag(&'static str),
    /// A variable.
    Environment(String),
    /// The file.
    File(PathBuf, Position),
    /// Nobody.
    Default,
}

impl Origin {
    /// The same for programs.
    pub(crate) fn view(&self) -> SettingOrigin {
        match self {
            Self::Flag(name) => SettingOrigin::Flag {
                flag: format!("--{name}"),
            },
            Self::Environment(name) => SettingOrigin::Environment {
                variable: name.clone(),
            },
            Self::File(path, at) => SettingOrigin::File {
                file: path.display().to_string(),
                line: at.line as u64,
            },
            Self::Default => SettingOrigin::Default,
        }
    }
}

/// One option's value and who said it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    /// The value; none when the option is off.
    pub(crate) value: Option<Value>,
    /// Where it came from.
    pub(crate) origin: Origin,
    /// Somebody said something that doesn't fit, so what stands here is not meant.
    pub(crate) is_wrong: bool,
}

/// What all sources say together: as typed, not checked against each other.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// Beside [`ROWS`].
    pub(crate) found: Vec<Found>,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
    /// Its text, for showing mistakes.
    pub(crate) source: Option<Source>,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(out, "flag --{name}"),
            Self::Environment(name) => write!(out, "environment {name}"),
            Self::File(path, at) => write!(out, "file {}:{}", path.display(), at.line),
            Self::Default => out.write_str("default"),
        }
    }
}

/// One flag for each option, and `--config`.
pub(crate) fn flags() -> Vec<Arg> {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("Settings file; without it DATA_DIR/danube.toml or /etc/danube/danube.toml, where there is one");
    ROWS.iter().map(flag).chain([config]).collect()
}

fn flag(row: &Row) -> Arg {
    let heading = SECTIONS.iter().find(|(name, _)| *name == row.section());
    let arg = Arg::new(row.key)
        .long(row.flag)
        .value_name(row.kind.placeholder())
        .value_parser(clap::value_parser!(OsString))
        .help(match row.preset {
            Preset::Unset => row.help.to_owned(),
            _ => format!("{} [default: {}]", row.help, row.preset_text()),
        })
        .help_heading(heading.map(|(_, about)| *about));
    match row.kind {
        Kind::Paths | Kind::Networks | Kind::Headers | Kind::Queues | Kind::Words(_) => {
            arg.action(ArgAction::Append)
        }
        // `--demo --insecure-http`, but also `--insecure-http=false` against the file.
        Kind::Bool => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        _ => arg,
    }
}

impl Sources {
    /// This process's own surroundings, without flags.
    pub(crate) fn here() -> Self {
        Self {
            flags: BTreeMap::new(),
            config: None,
            demo: false,
            environment: std::env::vars_os().collect(),
            working_dir: std::env::current_dir().unwrap_or_else(|_| "/".into()),
            system_file: SYSTEM_FILE.into(),
            is_root: rustix::process::geteuid().is_root(),
            cores: std::thread::available_parallelism().map_or(1, |it| it.get() as u64),
        }
    }

    /// The same with the flags of a command that has [`flags`].
    pub(crate) fn with_flags(matches: &ArgMatches) -> Self {
        let given = |row: &Row| {
            let values = matches.get_many::<OsString>(row.key)?;
            Some((row.key, values.cloned().collect()))
        };
        Self {
            flags: ROWS.iter().filter_map(given).collect(),
            config: matches.get_one::<PathBuf>("config").cloned(),
            demo: matches!(matches.try_get_one("demo"), Ok(Some(true))),
            ..Self::here()
        }
    }

    /// A variable's text; an empty one says nothing.
    fn variable(&self, name: &str) -> Option<&OsString> {
        self.environment
            .get(name.as_ref() as &std::ffi::OsStr)
            .filter(|it| !it.is_empty())
    }

    fn usual_data_dir(&self) -> Option<PathBuf> {
        if self.is_root {
            return Some("/var/lib/danube".into());
        }
        // The XDG specification: a relative path is to be ignored.
        let absolute = |name| {
            self.variable(name)
                .map(PathBuf::from)
                .filter(|it| it.is_absolute())
        };
        let home = || Some(absolute("HOME")?.join(".local/share"));
        Some(absolute("XDG_DATA_HOME").or_else(home)?.join("danube"))
    }
}

/// Hears all sources. What doesn't fit is noted, also where another source
/// would have won: it is a mistake that waits for its day.
pub(crate) fn resolve(sources: &Sources) -> (Resolved, Vec<Mistake>) {
    let mut hearing = Hearing {
        sources,
        mistakes: Vec::new(),
    };
    hearing.unknown_variables();
    let (file, text) = match hearing.file() {
        Some((file, text)) => (Some(file), text),
        None => (None, String::new()),
    };
    let dir = file
        .as_deref()
        .and_then(Path::parent)
        .unwrap_or(Path::new("/"));
    let contents = file::read(&text, dir, &mut hearing.mistakes);
    let mut machine = Machine {
        data_dir: None,
        usual_data_dir: sources.usual_data_dir(),
        cores: sources.cores,
    };
    let mut found = Vec::with_capacity(ROWS.len());
    for (at, row) in ROWS.iter().enumerate() {
        let entry = contents.entries.iter().find(|it| it.row == at);
        let one = hearing.one(row, file.as_deref(), entry, &machine);
        if let ("server.data_dir", Some(Value::Path(dir))) = (row.key, &one.value) {
            machine.data_dir = Some(dir.clone());
        }
        found.push(one);
    }
    let source = file.as_ref().map(|path| Source {
        name: path.display().to_string(),
        // From here on the text is only shown, around mistakes.
        text: file::without_secrets(&text, &contents),
    });
    (
        Resolved {
            found,
            file,
            source,
        },
        hearing.mistakes,
    )
}

/// The data directory that these sources mean, for clients on the same
/// machine. Mistakes elsewhere are the server's business.
pub(crate) fn data_dir(sources: &Sources) -> Option<PathBuf> {
    let (resolved, _) = resolve(sources);
    let at = index("server.data_dir").expect("it is a row");
    match &resolved.found[at].value {
        Some(Value::Path(dir)) => Some(dir.clone()),
        _ => None,
    }
}

struct Hearing<'a> {
    sources: &'a Sources,
    mistakes: Vec<Mistake>,
}

impl Hearing<'_> {
    fn one(
        &mut self,
        row: &Row,
        file: Option<&Path>,
        entry: Option<&Entry>,
        machine: &Machine,
    ) -> Found {
        let flag = self.flag(row).map(|it| (it, Origin::Flag(row.flag)));
        let variable = self
            .environment(row)
            .map(|(it, name)| (it, Origin::Environment(name)));
        let in_file = entry.zip(file).map(|(entry, file)| {
            (
                entry.value.clone().ok_or(()),
                Origin::File(file.to_owned(), entry.at),
            )
        });
        let is_wrong = [&flag, &variable, &in_file]
            .iter()
            .any(|it| matches!(it, Some((Err(()), _))));
        let heard = flag.or(variable).or(in_file);
        let (value, origin) = match heard {
            Some((value, origin)) => (value.ok(), origin),
            None => (self.preset(row, machine), Origin::Default),
        };
        Found {
            value,
            origin,
            is_wrong,
        }
    }

    fn preset(&self, row: &Row, machine: &Machine) -> Option<Value> {
        match row.preset {
            Preset::Fixed(text) => {
                let value = row.kind.read(text, &self.sources.working_dir);
                Some(value.expect("a default fits its own kind; a test reads every one"))
            }
            Preset::Unset => None,
            Preset::Made { make, .. } => make(machine),
        }
    }

    fn flag(&mut self, row: &Row) -> Option<Result<Value, ()>> {
        let given = self.sources.flags.get(row.key)?;
        let name = format!("--{}", row.flag);
        let values: Vec<Value> = given
            .iter()
            .filter_map(|it| self.text(row, &name, it).ok())
            .collect();
        if values.len() < given.len() {
            return Some(Err(()));
        }
        // A repeated flag adds to a list; of anything else clap lets one through.
        let joined = values.into_iter().reduce(|all, one| match (all, one) {
            (Value::Paths(mut all), Value::Paths(one)) => {
                all.extend(one);
                Value::Paths(all)
            }
            (Value::Networks(mut all), Value::Networks(one)) => {
                all.extend(one);
                Value::Networks(all)
            }
            (Value::Words(mut all), Value::Words(one)) => {
                all.extend(one);
                Value::Words(all)
            }
            (Value::Queues(mut all), Value::Queues(one)) => {
                all.extend(one);
                Value::Queues(all)
            }
            (Value::Headers(mut all), Value::Headers(one)) => {
                all.extend(one);
                Value::Headers(all)
            }
            (_, last) => last,
        });
        joined.map(Ok)
    }

    fn environment(&mut self, row: &Row) -> Option<(Result<Value, ()>, String)> {
        let mut said = row.variables().into_iter().filter_map(|name| {
            let text = self.sources.variable(&name)?.clone();
            Some((name, text))
        });
        let (name, text) = said.next()?;
        if let Some((other, different)) = said.next()
            && different != text
        {
            drop(said);
            self.note(
                "setting.twice",
                &name,
                format!("{other} says something else"),
                "set one of the two",
            );
            return Some((Err(()), name));
        }
        let value = self.text(row, &name, &text);
        Some((value, name))
    }

    fn text(&mut self, row: &Row, name: &str, text: &OsString) -> Result<Value, ()> {
        let Some(text) = text.to_str() else {
            self.note("setting.value", name, "isn't valid UTF-8".into(), "");
            return Err(());
        };
        row.kind
            .read(text, &self.sources.working_dir)
            .map_err(|misfits| {
                for it in misfits {
                    let help = it.help.as_deref().unwrap_or_default();
                    self.note(it.code, name, it.why, help);
                }
            })
    }

    fn note(&mut self, code: &'static str, name: &str, message: String, help: &str) {
        self.mistakes.push(Mistake {
            code,
            pointer: name.to_owned(),
            at: None,
            message,
            help: (!help.is_empty()).then(|| help.to_owned()),
        });
    }

    /// A variable that begins like one of ours but isn't is a slip that would
    /// otherwise go unnoticed for months.
    fn unknown_variables(&mut self) {
        let known: Vec<String> = ROWS.iter().flat_map(Row::variables).collect();
        let prefixes = SECTIONS
            .iter()
            .map(|(name, _)| format!("DANUBE_{}_", name.to_uppercase()));
        let prefixes: Vec<String> = prefixes.collect();
        for name in self.sources.environment.keys() {
            let Some(name) = name.to_str() else { continue };
            let is_ours = prefixes.iter().any(|it| name.starts_with(it));
            if !is_ours || known.iter().any(|it| it == name) {
                continue;
            }
            let help = match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near}?"),
                None => "docs/configuration.md lists the variables".to_owned(),
            };
            self.note(
                "setting.unknown",
                name,
                "there is no option with this variable".into(),
                &help,
            );
        }
    }

    /// The file and its text: the one that is named, else the first that is there.
    fn file(&mut self) -> Option<(PathBuf, String)> {
        let variable = || self.sources.variable("DANUBE_CONFIG").map(PathBuf::from);
        let named = self.sources.config.clone().or_else(variable);
        if let Some(path) = named {
            let path = self.sources.working_dir.join(path);
            return self.read(path);
        }
        let data_dir = self.data_dir_without_file();
        let candidates = [
            data_dir.map(|dir| dir.join("danube.toml")),
            Some(self.sources.system_file.clone()),
        ];
        let path = candidates.into_iter().flatten().find(|it| it.exists())?;
        self.read(path)
    }

    fn data_dir_without_file(&self) -> Option<PathBuf> {
        let row = &ROWS[index("server.data_dir").expect("it is a row")];
        let flag = self.sources.flags.get(row.key).and_then(|it| it.last());
        let variable = || self.sources.variable(&row.variable());
        match flag.or_else(variable) {
            Some(given) => Some(self.sources.working_dir.join(given)),
            None => self.sources.usual_data_dir(),
        }
    }

    fn read(&mut self, path: PathBuf) -> Option<(PathBuf, String)> {
        let why = match read_bounded(&path) {
            Ok(text) => return Some((path, text)),
            Err(why) => why,
        };
        let name = path.display().to_string();
        self.note(
            "file.read",
            &name,
            format!("read the settings file: {why}"),
            "",
        );
        None
    }
}

fn read_bounded(path: &Path) -> Result<String, String> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let mut bounded = file.take(file::FILE_BYTES_MAX + 1);
    bounded
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > file::FILE_BYTES_MAX {
        return Err(format!("it is larger than {} bytes", file::FILE_BYTES_MAX));
    }
    String::from_utf8(bytes).map_err(|_| "it isn't valid UTF-8".to_owned())
}
