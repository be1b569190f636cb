//! What `GET …/logs/search` answers, one object a line.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A line that matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hit {
    /// Its number, from 1.
    pub line: u64,
    /// The logical offset of its first byte.
    pub offset: u64,
    /// Where the first match begins in `text`, in bytes of its UTF-8.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// The line without its end; of a long one a piece around the match. Bytes
    /// that aren't UTF-8 are shown as U+FFFD.
    pub text: String,
}

/// The last line of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SearchEnd {
    /// The log was searched to the end that it had.
    pub finished: bool,
    /// Give it as `from` to go on from here.
    pub resume: u64,
    /// Lines before this one.
    pub hits: u64,
    /// Bytes of the log that were looked at.
    pub scanned_bytes: u64,
}

/// A line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SearchLine {
    /// The last.
    End {
        /// How the search ended.
        end: SearchEnd,
    },
    /// Any other.
    Hit(Hit),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_and_the_end_are_told_apart() {
        let hit = Hit {
            line: 1,
            offset: 0,
            start: 0,
            end: 1,
            text: "x".to_owned(),
        };
        let end = SearchEnd {
            finished: true,
            resume: 2,
            hits: 1,
            scanned_bytes: 2,
        };
        for line in [SearchLine::Hit(hit), SearchLine::End { end }] {
            let text = serde_json::to_string(&line).unwrap();
            assert_eq!(serde_json::from_str::<SearchLine>(&text).unwrap(), line);
        }
    }
}
