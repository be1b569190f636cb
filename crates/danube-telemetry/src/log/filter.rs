//! Which events are written: a level for everything and more exact ones by logger,
//! changed while running at no cost to an event or a span.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Most directives in one filter: more is a mistake, and each is tried in turn.
const DIRECTIVES_MAX: usize = 64;

/// Loudest level of libraries unless a directive names them: what they say below
/// a warning is about themselves.
const LIBRARY_LEVEL: LevelFilter = LevelFilter::WARN;

/// A directive that can't be used, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    directive: String,
    why: &'static str,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "log level `{}`: {}; allowed are off, error, warning, info, debug and trace, alone or as \
             logger=level, separated by commas, as in `info,danube.api=debug`",
            self.directive.escape_debug(),
            self.why
        )
    }
}

impl std::error::Error for FilterError {}

/// A parsed filter. `Display` writes it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    level: LevelFilter,
    /// Longest first, so that the most exact one is met first.
    loggers: Vec<(String, LevelFilter)>,
}

impl Filter {
    /// Reads `info,danube.blueprint=debug`. Without a bare level, the level is `info`.
    ///
    /// # Errors
    /// Names the first directive that is wrong and says what is allowed.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut filter = Self {
            level: LevelFilter::INFO,
            loggers: Vec::new(),
        };
        let mut bare = false;
        for directive in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            let wrong = |why| FilterError {
                directive: directive.chars().take(80).collect(),
                why,
            };
            if let Some((logger, level)) = directive.split_once('=') {
                let logger = logger.trim();
                let known = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
                if logger.is_empty() || !logger.chars().all(known) {
                    return Err(wrong("not the name of a logger"));
                }
                let level = level_of(level.trim()).ok_or_else(|| wrong("unknown level"))?;
                if filter.loggers.iter().any(|(it, _)| it == logger) {
                    return Err(wrong("the logger is named twice"));
                }
                filter.loggers.push((logger.to_owned(), level));
            } else {
                if std::mem::replace(&mut bare, true) {
                    return Err(wrong("a second level for everything"));
                }
                filter.level = level_of(directive).ok_or_else(|| wrong("unknown level"))?;
            }
            if filter.loggers.len() > DIRECTIVES_MAX {
                return Err(wrong("more than 64 loggers"));
            }
        }
        filter
            .loggers
            .sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then(a.cmp(b)));
        Ok(filter)
    }

    /// The loudest level that `target` may write, where `own` are the first parts of
    /// our own loggers' names.
    pub fn level(&self, target: &str, own: &[&str]) -> LevelFilter {
        let named = self
            .loggers
            .iter()
            .find(|(logger, _)| is_under(target, logger));
        match named {
            Some((_, level)) => *level,
            None if is_own(target, own) => self.level,
            None => self.level.min(LIBRARY_LEVEL),
        }
    }

    fn max_level(&self) -> LevelFilter {
        self.loggers
            .iter()
            .map(|(_, level)| *level)
            .fold(self.level, Ord::max)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(self.level))?;
        for (logger, level) in &self.loggers {
            write!(f, ",{logger}={}", name_of(*level))?;
        }
        Ok(())
    }
}

/// `danube.api` is under `danube` but `danube.apis` isn't under `danube.api`.
fn is_under(target: &str, logger: &str) -> bool {
    target
        .strip_prefix(logger)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with("::"))
}

/// Also a crate's own module path (`danube_store::writer`), which an event without
/// an explicit logger has.
fn is_own(target: &str, own: &[&str]) -> bool {
    own.iter().any(|name| {
        is_under(target, name)
            || target
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['_', '-']))
    })
}

fn level_of(text: &str) -> Option<LevelFilter> {
    match text.to_ascii_lowercase().as_str() {
        "off" => Some(LevelFilter::OFF),
        "error" => Some(LevelFilter::ERROR),
        "warning" | "warn" => Some(LevelFilter::WARN),
        "info" => Some(LevelFilter::INFO),
        "debug" => Some(LevelFilter::DEBUG),
        "trace" => Some(LevelFilter::TRACE),
        _ => None,
    }
}

fn name_of(level: LevelFilter) -> &'static str {
    level.into_level().map_or("off", level_name)
}

/// The level as it is written in a line.
pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// The layer: it answers only what is asked once per callsite, so a change costs a
/// rebuild of that cache and an event or span costs nothing.
pub(crate) struct Live {
    shared: Arc<RwLock<Filter>>,
    own: &'static [&'static str],
}

impl Live {
    pub(crate) fn new(filter: Filter, own: &'static [&'static str]) -> (Self, LiveHandle) {
        let shared = Arc::new(RwLock::new(filter));
        (
            Self {
                shared: Arc::clone(&shared),
                own,
            },
            LiveHandle(shared),
        )
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        if metadata.is_span() {
            // Our spans carry the ids of a line, whatever its level; theirs carry nothing
            // that we write.
            return is_own(metadata.target(), self.own) && *metadata.level() <= Level::INFO;
        }
        let filter = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        *metadata.level() <= filter.level(metadata.target(), self.own)
    }
}

impl<S: Subscriber> Layer<S> for Live {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.wants(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let filter = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        Some(filter.max_level().max(LevelFilter::INFO))
    }
}

/// Changes the filter of a [`Live`] layer.
#[derive(Clone)]
pub(crate) struct LiveHandle(Arc<RwLock<Filter>>);

impl LiveHandle {
    pub(crate) fn set(&self, filter: Filter) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = filter;
        tracing::callsite::rebuild_interest_cache();
    }

    pub(crate) fn get(&self) -> Filter {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_directive_decides() {
        let filter =
            Filter::parse("info, danube.blueprint=debug,danube.blueprint.sync = off,hyper=trace")
                .unwrap();
        let cases = [
            ("danube.api", LevelFilter::INFO),
            ("danube_store::writer", LevelFilter::INFO),
            ("danube.blueprint", LevelFilter::DEBUG),
            ("danube.blueprint.git", LevelFilter::DEBUG),
            ("danube.blueprints", LevelFilter::INFO),
            ("danube.blueprint.sync", LevelFilter::OFF),
            ("danubes", LevelFilter::WARN),
            ("hyper::proto::h1", LevelFilter::TRACE),
            ("h2::codec", LevelFilter::WARN),
        ];
        for (target, level) in cases {
            assert_eq!(filter.level(target, &["danube"]), level, "{target}");
        }
    }

    #[test]
    fn a_quieter_level_for_everything_also_holds_for_libraries() {
        let filter = Filter::parse("error").unwrap();
        assert_eq!(filter.level("hyper", &["danube"]), LevelFilter::ERROR);
    }

    #[test]
    fn levels_are_read_in_every_usual_spelling_and_written_in_one() {
        for text in ["WARNING", "WARN", "warn", "Warning"] {
            assert_eq!(Filter::parse(text).unwrap().to_string(), "warning");
        }
        assert_eq!(Filter::parse("").unwrap().to_string(), "info");
        assert_eq!(
            Filter::parse("a=debug,off").unwrap().to_string(),
            "off,a=debug"
        );
    }

    #[test]
    fn a_wrong_directive_says_what_is_allowed() {
        for text in [
            "loud",
            "info,x=loud",
            "info,=debug",
            "a b=info",
            "info,debug",
            "a=info,a=off",
            "x\ny=info",
        ] {
            let error = Filter::parse(text).unwrap_err().to_string();
            assert!(
                error.contains("allowed are off, error, warning, info, debug and trace"),
                "{error}"
            );
            assert!(!error.contains('\n'), "{error}");
        }
        let many: Vec<String> = (0..100).map(|n| format!("l{n}=info")).collect();
        assert!(Filter::parse(&many.join(",")).is_err());
    }
}
