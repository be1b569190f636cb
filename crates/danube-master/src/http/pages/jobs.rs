//! The list of jobs.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use danube_api::{Code, JobView, Problem};
use danube_model::State as JobState;
use danube_pages::jobs::{JobsFilter, JobsPage, Load};
use danube_store::Filter;
use serde::Deserialize;

use super::frame::Visit;
use crate::app::Shared;
use crate::auth::Caller;
use crate::http::jobs::{states, with_live_log};

/// Jobs of one page.
const JOBS_SHOWN: usize = 50;

/// Failed jobs that stand before all others where that was asked for.
const FAILED_SHOWN: usize = 20;

/// Which jobs, as a form or a link says it: what is empty says nothing.
#[derive(Debug, Default, Deserialize)]
pub(super) struct JobsQuery {
    #[serde(default)]
    status: String,
    #[serde(default)]
    pipeline: String,
    #[serde(default)]
    failed_first: String,
    cursor: Option<String>,
}

/// The newest jobs.
pub(super) async fn jobs(
    State(app): State<Shared>,
    visit: Visit,
    query: Result<Query<JobsQuery>, QueryRejection>,
) -> Response {
    let page = match query {
        Ok(Query(query)) => page(&app, &visit.caller, query).await,
        Err(error) => Err(Problem::new(Code::Malformed, error.body_text())),
    };
    visit.show(&app, page)
}

async fn page(app: &Shared, caller: &Caller, query: JobsQuery) -> Result<JobsPage, Problem> {
    let JobsQuery {
        status,
        pipeline,
        failed_first,
        cursor,
    } = query;
    let filter = JobsFilter {
        status,
        pipeline,
        failed_first: failed_first == "1",
    };
    let wanted = Filter {
        states: states(Some(&filter.status))?,
        pipeline: Some(filter.pipeline.clone()).filter(|it| !it.is_empty()),
        sight: caller.reach.sight(),
    };
    let is_first = cursor.is_none();
    let failed = Filter {
        states: vec![JobState::Failure, JobState::Timeout],
        ..wanted.clone()
    };
    let with_failed = filter.failed_first && is_first && wanted.states.is_empty();
    let (found, failed) = app
        .read(move |store| {
            let found = store.list(&wanted, cursor.as_deref(), JOBS_SHOWN)?;
            let failed = match with_failed {
                true => store.list(&failed, None, FAILED_SHOWN)?.items,
                false => Vec::new(),
            };
            Ok((found, failed))
        })
        .await?;
    let is_above = |id| failed.iter().any(|it| it.id == id);
    let others = found.items.into_iter().filter(|it| !is_above(it.id));
    let view = |job| JobView::brief(with_live_log(app, job));
    let counts = app.store.counts();
    Ok(JobsPage {
        jobs: others.map(view).collect(),
        failed: failed.iter().cloned().map(view).collect(),
        next_cursor: found.next_cursor,
        is_first,
        load: caller.reach.is_all().then_some(Load {
            waiting: counts.pending,
            running: counts.active,
        }),
        filter,
    })
}
