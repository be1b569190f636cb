//! Whether somebody who goes on following a job still may.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, header};
use danube_api::{Code, Problem};
use danube_model::Job;

use super::caller::caller;
use crate::app::App;
use crate::auth::Caller;

/// How long a right that was looked at counts. A follower is woken at least every fifteen
/// seconds, so one who lost it hears nothing more after half a minute.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(10);

/// What says who it is.
const SHOWN: [HeaderName; 3] = [
    header::AUTHORIZATION,
    header::COOKIE,
    HeaderName::from_static("x-api-key"),
];

/// A right to look at one job, or at a list, that is looked at again and again.
pub(crate) struct Guard {
    shown: HeaderMap,
    /// None of a list, which shows each what they may see.
    pipeline: Option<String>,
    /// Who submitted it, where that was what counted.
    user: Option<String>,
    looked: Instant,
}

impl Guard {
    /// Of somebody who may look at this job now.
    pub(crate) fn new(caller: &Caller, headers: &HeaderMap, job: &Job) -> Self {
        let is_own = caller.reach.asks_whose(&job.pipeline);
        Self {
            pipeline: Some(job.pipeline.clone()),
            user: caller.user.clone().filter(|_| is_own),
            ..Self::of_list(headers)
        }
    }

    /// Of somebody who may look at a list now.
    pub(crate) fn of_list(headers: &HeaderMap) -> Self {
        let mut shown = HeaderMap::new();
        for name in SHOWN {
            for value in headers.get_all(&name) {
                shown.append(name.clone(), value.clone());
            }
        }
        Self {
            shown,
            pipeline: None,
            user: None,
            looked: Instant::now(),
        }
    }

    /// An error once they may not.
    pub(crate) fn look(&mut self, app: &App) -> Result<(), Problem> {
        if self.looked.elapsed() < LOOKED_AT_EVERY {
            return Ok(());
        }
        self.looked = Instant::now();
        let caller =
            caller(app, &self.shown).map_err(|it| Problem::new(Code::Unauthorized, it.detail()))?;
        let Some(pipeline) = &self.pipeline else {
            return Ok(());
        };
        let permitted = app.permits(&caller, (pipeline, self.user.as_deref()));
        permitted.map_err(|it| {
            it.or(|| Problem::new(Code::NotFound, "this job isn't shown to you any more"))
        })
    }
}
