//! What neither its time nor a lack of room ends, because the blueprint says so of its job. What
//! somebody says so of (`danube artifact keep`) the store itself passes over.

use std::time::Duration;

use danube_blueprint::Keep;
use danube_model::{JobId, Timestamp};

use crate::app::App;

/// What the blueprint says of it, at the moment of one look.
pub(crate) struct Kept(Vec<Keep>);

impl Kept {
    /// As it says now.
    pub(crate) fn of(app: &App) -> Self {
        Self(app.keep())
    }

    /// Whether the log of a job is kept that changed so long ago. One of nobody's isn't.
    pub(super) fn has(&self, app: &App, name: &str, age: Duration) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let Ok(id) = name.parse::<JobId>() else {
            return false;
        };
        match app.store.job(id) {
            Ok(job) => job.is_some_and(|it| {
                let git_ref = it.trigger_ref.as_deref();
                self.keeps(&it.pipeline, git_ref, age)
            }),
            // Whose it is will be known at the next look.
            Err(_) => true,
        }
    }

    /// Whether what a job of this pipeline and ref left at that time is kept.
    pub(crate) fn has_since(&self, of: (&str, Option<&str>), at: Timestamp) -> bool {
        let age = Timestamp::now().as_millis().saturating_sub(at.as_millis());
        let age = Duration::from_millis(u64::try_from(age).unwrap_or_default());
        self.keeps(of.0, of.1, age)
    }

    fn keeps(&self, pipeline: &str, git_ref: Option<&str>, age: Duration) -> bool {
        self.0.iter().any(|it| it.keeps(pipeline, git_ref, age))
    }
}
