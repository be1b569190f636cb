//! One job.

use axum::extract::State;
use axum::response::Response;
use danube_api::{JobView, Problem, TransitionView};
use danube_blueprint::Permission;
use danube_model::{Job, playbook::RunRecord};
use danube_pages::grid::Grid;
use danube_pages::job::{JobMay, JobPage};

use super::failure::failure;
use super::frame::Visit;
use super::log;
use crate::app::Shared;
use crate::auth::Caller;
use crate::http::approvals::origin;
use crate::http::incoming::Id;
use crate::http::jobs::{find, user_of, with_log};

/// One job, with its log.
pub(super) async fn job(State(app): State<Shared>, visit: Visit, Id(id): Id) -> Response {
    let page = page(&app, &visit.caller, &id).await;
    visit.show(&app, page)
}

async fn page(app: &Shared, caller: &Caller, id: &str) -> Result<JobPage, Problem> {
    let job = with_log(app, find(app, caller, id).await?).await?;
    let (id, kind) = (job.id, job.kind);
    let forge = origin(app, id).await?;
    let transitions = app.read(move |store| store.history(id)).await?;
    let transitions = transitions.unwrap_or_default().into_iter();
    let transitions = transitions.map(|it| TransitionView::new(kind, it));
    let log = log::first(app, &job).await?;
    let user = user_of(app, caller, &job).await?;
    let right = caller.reach.right(&job.pipeline, user.as_deref());
    let may = right.is_some_and(|it| it >= Permission::Write);
    let has_ended = job.state.is_terminal();
    let is_untrusted = forge
        .as_ref()
        .is_some_and(|it| it.is_fork && it.approved_by.is_none());
    let view = JobView {
        forge,
        ..JobView::whole(job.clone())
    };
    Ok(JobPage {
        failure: failure(app, caller, (&job, &view)).await?,
        grid: grid(app, &job).await?,
        history: danube_api::HistoryView {
            transitions: transitions.collect(),
        },
        log,
        may: JobMay {
            cancel: may && !has_ended && !job.cancel_asked,
            retry: may && has_ended,
            approve: may && has_ended && is_untrusted,
        },
        job: view,
    })
}

/// Events of a playbook that are read at once.
const EVENTS_AT_ONCE: usize = 10_000;

/// Events of a playbook that its grid is made of, the first ones: a page that is asked for again
/// whenever something happens can't read a hundred thousand.
const EVENTS_SHOWN: usize = 30_000;

/// What each task of a playbook did on each host, in the latest attempt.
async fn grid(app: &Shared, job: &Job) -> Result<Option<Grid>, Problem> {
    if job.playbook.is_none() {
        return Ok(None);
    }
    let id = job.id;
    let made = app.read(move |store| {
        let mut records: Vec<RunRecord> = Vec::new();
        let mut is_cut = true;
        while records.len() < EVENTS_SHOWN {
            let from = records.last().map_or(0, |it| it.n + 1);
            let found = store.run_events(id, None, (from, EVENTS_AT_ONCE))?;
            let found = found.map(|it| it.records).unwrap_or_default();
            is_cut = found.len() >= EVENTS_AT_ONCE;
            records.extend(found);
            if !is_cut {
                break;
            }
        }
        Ok(Grid::new(&records, is_cut))
    });
    made.await.map(Some)
}
