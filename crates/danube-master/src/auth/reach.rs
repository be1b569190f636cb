//! Which pipelines somebody reaches: the one place where that is decided.
//!
//! Whoever doesn't reach a pipeline is told that there is no such pipeline and no such job.

use std::sync::Arc;

use danube_blueprint::matches;
use danube_model::spec::is_name;

/// Which pipelines somebody reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    /// All, and what belongs to none.
    All,
    /// Those that one of the patterns fits.
    Some(Arc<[String]>),
}

impl Reach {
    /// From the patterns of a key.
    pub(crate) fn of(pipelines: Option<&Vec<String>>) -> Self {
        pipelines.map_or(Self::All, |it| Self::Some(it.as_slice().into()))
    }

    /// Whether that includes everything.
    pub(crate) fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }

    /// Whether that includes this pipeline.
    pub(crate) fn has(&self, pipeline: &str) -> bool {
        match self {
            Self::All => true,
            // No patterns at all would take everything.
            Self::Some(patterns) => !patterns.is_empty() && matches(patterns, pipeline),
        }
    }

    /// The patterns, for what filters in the store.
    pub(crate) fn sight(&self) -> Option<Vec<String>> {
        match self {
            Self::All => None,
            Self::Some(patterns) => Some(patterns.to_vec()),
        }
    }
}

/// Whether a text is a pattern of pipelines: a name in which `*` may stand for any text.
/// So it holds nothing that SQL's GLOB sees in another way.
pub(crate) fn is_pattern(text: &str) -> bool {
    is_name(&text.replace('*', "x"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_reach_what_they_say_and_no_patterns_reach_nothing() {
        let reach = |patterns: &[&str]| {
            Reach::of(Some(&patterns.iter().map(|&it| it.to_owned()).collect()))
        };
        let web = reach(&["web-*", "docs"]);
        for (name, expected) in [
            ("web-build", true),
            ("web-", true),
            ("docs", true),
            ("docs2", false),
            ("my-web-build", false),
            ("", false),
        ] {
            assert_eq!(web.has(name), expected, "{name}");
        }
        assert!(!reach(&[]).has("docs"));
        assert!(Reach::All.has("docs") && Reach::of(None).is_all());
    }

    #[test]
    fn a_pattern_holds_nothing_special_but_the_star() {
        for (text, expected) in [
            ("web-*", true),
            ("*", true),
            ("a b/c", true),
            ("", false),
            ("!x", false),
            ("a?", false),
            ("[a]", false),
        ] {
            assert_eq!(is_pattern(text), expected, "{text}");
        }
    }
}
