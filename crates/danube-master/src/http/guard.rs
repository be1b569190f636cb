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

/// A right to look at one job, that is looked at again and again.
pub(crate) struct Guard {
    shown: HeaderMap,
    pipeline: String,
    /// Who submitted it, where that was what counted.
    user: Option<String>,
    looked: Instant,
}

impl Guard {
    /// Of somebody who may look at this job now.
    pub(crate) fn new(caller: &Caller, headers: &HeaderMap, job: &Job) -> Self {
        let mut shown = HeaderMap::new();
        for name in SHOWN {
            for value in headers.get_all(&name) {
                shown.append(name.clone(), value.clone());
            }
        }
        let is_own = caller.reach.asks_whose(&job.pipeline);
        Self {
            shown,
            pipeline: job.pipeline.clone(),
            user: caller.user.clone().filter(|_| is_own),
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
        let permitted = app.permits(&caller, (&self.pipeline, self.user.as_deref()));
        permitted.map_err(|it| {
            it.or(|| Problem::new(Code::NotFound, "this job isn't shown to you any more"))
        })
    }
}
