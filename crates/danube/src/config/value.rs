//! What an option can be, and how it is read from text and from TOML.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use danube_model::Queue;
use danube_outgoing::Rule;
use danube_redact::Rules;
use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::collector::{self, Address, Header};
use super::repository::repository;
use super::rules;
use super::size::{bytes, size};

pub(super) const DAY_SECONDS: u64 = 24 * 3_600;

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text but the empty one.
    Text,
    /// A path.
    Path,
    /// Paths: a list in the file, a repeated flag, `:` between them in a variable.
    Paths,
    /// Networks and hosts: a list in the file, a repeated flag, `,` between them in a
    /// variable.
    Networks,
    /// IP address and port.
    Address,
    /// `http://…` or `https://…`
    Url,
    /// A git repository; what isn't taken may hold a password and isn't shown.
    Repository,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Count { min: u64, max: u64 },
    /// Bytes, also with a unit.
    Bytes { min: u64, max: u64 },
    /// Whole seconds.
    Seconds { min: u64, max: u64 },
    /// Processors, also parts of one.
    Cores,
    /// A level of the server log.
    Level,
    /// One of a few words.
    Word(&'static [&'static str]),
    /// Some of a few words: a list in the file, a repeated flag, `,` between them in a
    /// variable.
    Words(&'static [&'static str]),
    /// Redaction rules: a list of tables.
    Rules,
    /// Like `Url`, also with a path and `user:password@`, which is never shown.
    Collector,
    /// The address of a Redis; a password in it is never shown.
    Redis,
    /// Declarations of queues: a list in the file, a repeated flag, `,` between them in a
    /// variable.
    Queues,
    /// `name: value`, a list in the file, a repeated flag, a line each in a variable;
    /// values are never shown.
    Headers,
}

/// A value that fits its kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Of `Text`, `Url`, `Repository`, `Level`, `Word`.
    Text(String),
    /// Of `Path`; absolute.
    Path(PathBuf),
    /// Of `Paths`; absolute.
    Paths(Vec<PathBuf>),
    /// Of `Words`.
    Words(Vec<String>),
    /// Of `Networks`.
    Networks(Vec<Rule>),
    /// Of `Address`.
    Address(SocketAddr),
    /// Of `Bool`.
    Bool(bool),
    /// Of `Count`, `Bytes`, `Seconds`.
    Number(u64),
    /// Of `Cores`.
    Cores(f64),
    /// Of `Rules`; compiled, beside the built-in ones.
    Rules(Rules),
    /// Of `Collector`.
    Collector(Address),
    /// Of `Redis`.
    Redis(Box<danube_queue::Address>),
    /// Of `Queues`.
    Queues(Vec<Queue>),
    /// Of `Headers`.
    Headers(Vec<Header>),
}

/// Why a value doesn't fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// Stable.
    pub(crate) code: &'static str,
    /// What is wrong, without the option's name.
    pub(crate) why: String,
    /// What is allowed.
    pub(crate) help: Option<String>,
    /// The part of the value that is wrong; then `why` is a whole sentence.
    pub(crate) within: Option<Within>,
}

/// A part of a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Within {
    /// Its bytes in the text that was read.
    pub(crate) span: Range<usize>,
    /// Its pointer below the value.
    pub(crate) pointer: String,
}

impl Kind {
    /// What it takes, after "must be".
    pub(crate) fn expects(self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Path => "a path".into(),
            Self::Paths => "a list of paths".into(),
            Self::Networks => {
                "a list of networks (`10.1.0.0/16`), addresses and hosts (`git.internal`, `*.corp.example`)".into()
            }
            Self::Address => {
                "an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080".into()
            }
            Self::Url => "an address that begins with http:// or https://".into(),
            Self::Repository => {
                "an address that begins with https://, ssh://, git:// or file:///, an absolute path, or \
                 user@host:path, without a password or token"
                    .into()
            }
            Self::Bool => "true or false".into(),
            Self::Count { min, max } => format!("a whole number from {min} to {max}"),
            Self::Bytes { min, max } => {
                format!(
                    "bytes from {} to {}, such as 1048576 or 10MiB",
                    size(min),
                    size(max)
                )
            }
            Self::Seconds { min, max } => format!("whole seconds from {min} to {max}"),
            Self::Cores => "a number above 0, such as 2 or 0.5".into(),
            Self::Level => "a log level such as info".into(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Words(words) => format!("a list of some of {}", words.join(", ")),
            Self::Rules => "a list of rules, each with id, keyword and pattern".into(),
            Self::Collector => {
                "an address such as http://127.0.0.1:4317, also with user:password@ before the host"
                    .into()
            }
            Self::Redis => {
                "an address such as redis://127.0.0.1:6379/0, also with user:password@ before the host, or rediss:// \
                 with TLS"
                    .into()
            }
            Self::Queues => {
                "a list of queues such as `deploy`, `deploy:priority=10` or `deploy:priority=10:jobs_at_once=2`".into()
            }
            Self::Headers => "a list of headers, each `name: value`, with no name twice".into(),
        }
    }

    /// The placeholder in `--help`.
    pub(crate) const fn placeholder(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Path => "PATH",
            Self::Paths => "DIR",
            Self::Networks => "NETWORK",
            Self::Address => "ADDR",
            Self::Url | Self::Repository | Self::Collector | Self::Redis => "URL",
            Self::Queues => "QUEUE",
            Self::Bool => "BOOL",
            Self::Count { .. } | Self::Cores => "NUMBER",
            Self::Bytes { .. } => "BYTES",
            Self::Seconds { .. } => "SECONDS",
            Self::Level => "LEVEL",
            Self::Word(_) | Self::Words(_) => "WORD",
            Self::Rules => "LIST",
            Self::Headers => "HEADER",
        }
    }

    /// What is written here may be a secret: it isn't shown, also where it is wrong.
    pub(crate) const fn is_hidden(self) -> bool {
        matches!(
            self,
            Self::Repository | Self::Collector | Self::Headers | Self::Redis
        )
    }

    /// Reads a flag's, a variable's or a preset's text. Paths are relative to `dir`.
    pub(crate) fn read(self, text: &str, dir: &Path) -> Result<Value, Vec<Misfit>> {
        match self {
            Self::Rules => rules::read_text(text),
            _ => self.read_one(text, dir).map_err(|it| vec![it]),
        }
    }

    fn read_one(self, text: &str, dir: &Path) -> Result<Value, Misfit> {
        let misfit = || self.misfit(&format!("`{}`", text.escape_debug()));
        let value = match self {
            Self::Text => {
                (!text.is_empty() && !text.contains('\0')).then(|| Value::Text(text.into()))
            }
            Self::Path => path(text, dir).map(Value::Path),
            Self::Paths => text
                .split(':')
                .filter(|it| !it.is_empty())
                .map(|it| path(it, dir))
                .collect::<Option<Vec<_>>>()
                .map(Value::Paths),
            Self::Networks => text
                .split(',')
                .filter(|it| !it.is_empty())
                .map(|it| it.trim().parse().ok())
                .collect::<Option<Vec<_>>>()
                .map(Value::Networks),
            Self::Address => text.parse().ok().map(Value::Address),
            Self::Url => url(text).map(Value::Text),
            Self::Repository => repository(text).map(Value::Text),
            Self::Bool => match text {
                // `1` and `0` are what people give a variable.
                "true" | "1" => Some(Value::Bool(true)),
                "false" | "0" => Some(Value::Bool(false)),
                _ => None,
            },
            Self::Count { min, max } | Self::Seconds { min, max } => {
                number(text, min, max).map(Value::Number)
            }
            Self::Bytes { min, max } => bytes(text)
                .filter(|it| (min..=max).contains(it))
                .map(Value::Number),
            Self::Cores => text.parse().ok().and_then(cores),
            Self::Level => return level(text),
            Self::Word(words) => words.contains(&text).then(|| Value::Text(text.into())),
            Self::Words(words) => {
                let texts = text.split(',').map(str::trim).filter(|it| !it.is_empty());
                return self.words(words, texts);
            }
            Self::Rules => None,
            Self::Collector => Address::read(text).map(Value::Collector),
            Self::Headers => collector::headers(text.lines()).map(Value::Headers),
            Self::Redis => danube_queue::Address::parse(text)
                .ok()
                .map(|it| Value::Redis(Box::new(it))),
            Self::Queues => {
                let texts = text.split(',').map(str::trim).filter(|it| !it.is_empty());
                return self.queues(texts);
            }
        };
        value.ok_or_else(misfit)
    }

    /// Reads what stands in the file. There a number is a number and not text.
    pub(crate) fn read_toml(self, value: &DeValue<'_>, dir: &Path) -> Result<Value, Vec<Misfit>> {
        match (self, value) {
            (Self::Rules, DeValue::Array(list)) => rules::read(list),
            _ => self.read_one_toml(value, dir).map_err(|it| vec![it]),
        }
    }

    fn read_one_toml(self, value: &DeValue<'_>, dir: &Path) -> Result<Value, Misfit> {
        let of_wrong_type = || Misfit {
            code: "setting.type",
            ..self.misfit(value_kind(value))
        };
        match (self, value) {
            (Self::Paths, DeValue::Array(list)) => {
                let texts = list.iter().map(|it| match it.get_ref() {
                    DeValue::String(text) => {
                        path(text, dir).ok_or_else(|| self.misfit("an empty path"))
                    }
                    other => Err(self.misfit(&format!("{} in the list", value_kind(other)))),
                });
                texts.collect::<Result<_, _>>().map(Value::Paths)
            }
            (Self::Networks, DeValue::Array(list)) => {
                let rules = list.iter().map(|it| match it.get_ref() {
                    DeValue::String(text) => text
                        .parse()
                        .map_err(|_| self.misfit(&format!("`{}`", text.escape_debug()))),
                    other => Err(self.misfit(&format!("{} in the list", value_kind(other)))),
                });
                rules.collect::<Result<_, _>>().map(Value::Networks)
            }
            (Self::Queues, DeValue::Array(list)) => {
                let texts: Option<Vec<&str>> =
                    list.iter().map(|it| it.get_ref().as_str()).collect();
                self.queues(texts.ok_or_else(of_wrong_type)?.into_iter())
            }
            (Self::Words(words), DeValue::Array(list)) => {
                let texts: Option<Vec<&str>> =
                    list.iter().map(|it| it.get_ref().as_str()).collect();
                self.words(words, texts.ok_or_else(of_wrong_type)?.into_iter())
            }
            (Self::Headers, DeValue::Array(list)) => {
                let texts: Option<Vec<&str>> =
                    list.iter().map(|it| it.get_ref().as_str()).collect();
                let headers = texts.and_then(|it| collector::headers(it.into_iter()));
                headers.map(Value::Headers).ok_or_else(|| self.misfit(""))
            }
            (Self::Bool, DeValue::Boolean(it)) => Ok(Value::Bool(*it)),
            (
                Self::Count { .. } | Self::Seconds { .. } | Self::Bytes { .. },
                DeValue::Integer(it),
            ) => {
                let shown = || self.misfit(it.as_str());
                let number = i64::from_str_radix(it.as_str(), it.radix());
                let number = number.map_err(|_| shown())?;
                // Written out in base ten, whatever base the file has it in.
                self.read_one(&number.to_string(), dir)
            }
            (Self::Cores, DeValue::Integer(it)) => self.read_one(it.as_str(), dir),
            (Self::Cores, DeValue::Float(it)) => self.read_one(it.as_str(), dir),
            (
                Self::Text
                | Self::Path
                | Self::Address
                | Self::Url
                | Self::Repository
                | Self::Level
                | Self::Word(_)
                | Self::Collector
                | Self::Redis
                | Self::Bytes { .. },
                DeValue::String(text),
            ) => self.read_one(text, dir),
            _ => Err(of_wrong_type()),
        }
    }

    fn words<'a>(
        self,
        words: &[&str],
        texts: impl Iterator<Item = &'a str>,
    ) -> Result<Value, Misfit> {
        let read = |text: &str| {
            words
                .contains(&text)
                .then(|| text.to_owned())
                .ok_or_else(|| self.misfit(&format!("`{}`", text.escape_debug())))
        };
        Ok(Value::Words(texts.map(read).collect::<Result<_, _>>()?))
    }

    fn queues<'a>(self, texts: impl Iterator<Item = &'a str>) -> Result<Value, Misfit> {
        let read = |text: &str| {
            text.parse::<Queue>().map_err(|why| Misfit {
                help: Some(why.to_string()),
                ..self.misfit(&format!("`{}`", text.escape_debug()))
            })
        };
        let all = texts.map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(Value::Queues(all))
    }

    fn misfit(self, found: &str) -> Misfit {
        let found = if self.is_hidden() {
            "; what stands there isn't shown, since it may be a secret".to_owned()
        } else {
            format!(", found {found}")
        };
        Misfit {
            code: "setting.value",
            why: format!("must be {}{found}", self.expects()),
            help: None,
            within: None,
        }
    }
}

impl Value {
    /// As it would stand in the file.
    pub(crate) fn as_toml(&self) -> String {
        match self {
            Self::Text(text) => toml_text(text),
            Self::Path(path) => toml_text(&path.to_string_lossy()),
            Self::Paths(paths) => {
                let all: Vec<String> = paths
                    .iter()
                    .map(|it| toml_text(&it.to_string_lossy()))
                    .collect();
                format!("[{}]", all.join(", "))
            }
            Self::Words(words) => {
                let all: Vec<String> = words.iter().map(|it| toml_text(it)).collect();
                format!("[{}]", all.join(", "))
            }
            Self::Networks(rules) => {
                let all: Vec<String> = rules.iter().map(|it| toml_text(&it.to_string())).collect();
                format!("[{}]", all.join(", "))
            }
            Self::Address(it) => toml_text(&it.to_string()),
            Self::Bool(it) => it.to_string(),
            Self::Number(it) => it.to_string(),
            Self::Cores(it) => it.to_string(),
            Self::Rules(it) => rules::as_toml(it.user()),
            Self::Redis(it) => toml_text(&it.to_string()),
            Self::Queues(all) => {
                let all: Vec<String> = all.iter().map(|it| toml_text(&it.to_string())).collect();
                format!("[{}]", all.join(", "))
            }
            Self::Collector(it) => toml_text(&it.shown()),
            Self::Headers(all) => {
                let all: Vec<String> = all.iter().map(|it| toml_text(&it.shown())).collect();
                format!("[{}]", all.join(", "))
            }
        }
    }

    /// For programs.
    pub(crate) fn as_json(&self) -> Json {
        match self {
            Self::Text(it) => json!(it),
            Self::Path(it) => json!(it.to_string_lossy()),
            Self::Paths(it) => json!(it.iter().map(|it| it.to_string_lossy()).collect::<Vec<_>>()),
            Self::Words(it) => json!(it),
            Self::Networks(it) => json!(it.iter().map(ToString::to_string).collect::<Vec<_>>()),
            Self::Address(it) => json!(it.to_string()),
            Self::Bool(it) => json!(it),
            Self::Number(it) => json!(it),
            Self::Cores(it) => json!(it),
            Self::Rules(it) => rules::as_json(it.user()),
            Self::Redis(it) => json!(it.to_string()),
            Self::Queues(all) => json!(all.iter().map(ToString::to_string).collect::<Vec<_>>()),
            Self::Collector(it) => json!(it.shown()),
            Self::Headers(all) => json!(all.iter().map(Header::shown).collect::<Vec<_>>()),
        }
    }
}

pub(super) fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

pub(super) fn value_kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn path(text: &str, dir: &Path) -> Option<PathBuf> {
    (!text.is_empty() && !text.contains('\0')).then(|| dir.join(text))
}

fn number(text: &str, min: u64, max: u64) -> Option<u64> {
    let number = text.parse::<u64>().ok()?;
    (min..=max).contains(&number).then_some(number)
}

fn cores(number: f64) -> Option<Value> {
    (number.is_finite() && number > 0.0).then_some(Value::Cores(number))
}

/// `http://host[:port]…` without blanks and without a slash at its end.
pub(crate) fn url(text: &str) -> Option<String> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))?;
    let host_is_there = rest
        .bytes()
        .next()
        .is_some_and(|it| it.is_ascii_alphanumeric() || it == b'[');
    let plain = text.bytes().all(|it| it.is_ascii_graphic()) && !rest.contains(['?', '#', '@']);
    let host = rest.split('/').next().unwrap_or_default();
    // Colons within brackets are those of an IPv6 address.
    let port = host.rsplit(']').next().and_then(|it| it.split_once(':'));
    let port_is_one = port.is_none_or(|(_, port)| port.parse::<u16>().is_ok());
    (host_is_there && plain && port_is_one).then(|| text.trim_end_matches('/').to_owned())
}

fn level(text: &str) -> Result<Value, Misfit> {
    match danube_telemetry::log::Filter::parse(text) {
        Ok(_) => Ok(Value::Text(text.to_owned())),
        Err(error) => Err(Misfit {
            help: Some(error.to_string()),
            ..Kind::Level.misfit(&format!("`{}`", text.escape_debug()))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        let kind = Kind::Bytes {
            min: 1,
            max: u64::MAX,
        };
        for (text, expected) in [
            ("10MiB", Some(10 << 20)),
            ("10 MiB", Some(10 << 20)),
            ("1kB", Some(1_000)),
            ("7B", Some(7)),
            ("1048576", Some(1_048_576)),
            ("1.5GiB", None),
            ("10 mib", None),
            ("-1", None),
            ("+1", None),
            ("", None),
            ("MiB", None),
            ("99999999999TiB", None),
        ] {
            let value = kind.read(text, Path::new("/"));
            assert_eq!(value.ok(), expected.map(Value::Number), "{text}");
        }
        assert_eq!(size(512 << 20), "512MiB");
        assert_eq!(size(1 << 30), "1GiB");
        assert_eq!(size(1_500), "1500");
        assert_eq!(size(0), "0");
    }

    #[test]
    fn addresses_of_servers_lead_to_a_host_and_nowhere_else() {
        assert_eq!(
            url("https://ci.example.org/"),
            Some("https://ci.example.org".into())
        );
        assert_eq!(url("http://[::1]:8080"), Some("http://[::1]:8080".into()));
        for wrong in [
            "",
            "ci.example.org",
            "ftp://x",
            "http://",
            "http://a b",
            "https://u:p@x",
            "http://x\r\ny",
        ] {
            assert_eq!(url(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_keep_to_their_range() {
        let kind = Kind::Seconds { min: 3, max: 60 };
        assert!(kind.read("3", Path::new("/")).is_ok());
        for wrong in ["2", "61", "3s", "3.0", "", "-3"] {
            assert!(kind.read(wrong, Path::new("/")).is_err(), "{wrong}");
        }
    }
}
