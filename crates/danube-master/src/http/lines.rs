//! Which part of a log is meant when it is asked for by line or by time.

use axum::http::HeaderMap;
use axum::http::header;
use danube_api::{Code, Problem};
use danube_joblog::{LogError, LogReader};
use danube_model::Timestamp;

use super::logs::{LogQuery, unreadable};
use crate::app::{Shared, blocking};

/// Lines that are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lines {
    first: First,
    count: Option<u64>,
}

/// Where they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// With the line of this number, from 1.
    Number(u64),
    /// With the first one that was written to at or after this moment.
    Since(Timestamp),
}

/// Where they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) from: u64,
    /// None: to the end, wherever that will be.
    pub(crate) until: Option<u64>,
    /// The number of the first line; none when there is no such line.
    pub(crate) first_line: Option<u64>,
}

impl Lines {
    /// What a query asks for; none when it names no line and no time.
    pub(crate) fn asked(query: &LogQuery, headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let malformed = |detail: &str| Err(Problem::new(Code::Malformed, detail));
        let since = query.since.as_deref();
        if query.from_line.is_none() && query.lines.is_none() && since.is_none() {
            return Ok(None);
        }
        if query.from.is_some() || query.step.is_some() || headers.contains_key(header::RANGE) {
            return malformed(
                "`from_line`, `lines` and `since` can't be combined with `from`, `step` or a range",
            );
        }
        let follow = !matches!(query.follow.as_deref(), None | Some("0" | "false"));
        if follow && query.lines.is_some() {
            return malformed("`lines` and `follow` can't be combined");
        }
        let first = match (query.from_line, since) {
            (Some(_), Some(_)) => return malformed("`from_line` and `since` can't be combined"),
            (Some(0), None) => return malformed("`from_line` counts from 1"),
            (line, None) => First::Number(line.unwrap_or(1)),
            (None, Some(text)) => match Timestamp::parse(text) {
                Some(since) => First::Since(since),
                None => {
                    return malformed(
                        "`since` must be a time as in RFC 3339, such as 2026-01-31T12:00:00Z; write `+` as `%2B`",
                    );
                }
            },
        };
        Ok(Some(Self {
            first,
            count: query.lines,
        }))
    }

    /// Where they lie in the job's log as it is now.
    pub(crate) async fn find(
        self,
        app: &Shared,
        job: String,
        follow: bool,
    ) -> Result<Place, Problem> {
        let logs = app.logs.clone();
        let found = blocking(move || match logs.reader(&job) {
            Ok(mut reader) => self.place(&mut reader, follow),
            Err(LogError::NotFound) => Ok(Place {
                from: 0,
                until: Some(0).filter(|_| !follow),
                first_line: None,
            }),
            Err(error) => Err(error),
        });
        found.await?.map_err(|_| unreadable())
    }

    fn place(self, reader: &mut LogReader, follow: bool) -> Result<Place, LogError> {
        reader.refresh()?;
        let end = reader.end();
        let number = match self.first {
            First::Number(number) => number,
            First::Since(since) => {
                let millis = u64::try_from(since.as_millis()).unwrap_or(0);
                let at = reader.offset_at_time(millis.saturating_mul(1_000))?;
                // A line that was begun before and went on is shown whole.
                if at < end {
                    reader.line_at(at)?
                } else {
                    u64::MAX
                }
            }
        };
        let first = reader.line_start(number)?.filter(|it| it.offset < end);
        let after = match self.count {
            Some(count) => reader.line_start(number.saturating_add(count))?,
            None => None,
        };
        // To the end as it is now: a job may write faster than somebody reads.
        let until = after.map_or(end, |it| it.offset.min(end));
        Ok(Place {
            from: first.map_or(end, |it| it.offset),
            until: Some(until).filter(|_| !follow),
            first_line: first.map(|_| number),
        })
    }
}
