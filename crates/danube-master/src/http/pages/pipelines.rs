//! The pages of pipelines.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use danube_api::{JobView, Problem};
use danube_model::limits::TIMED_RUNS_DEFAULT;
use danube_pages::pipelines::{FlakyStep, PipelineLine, PipelinePage, PipelinesPage};
use danube_store::{Filter, Sight};

use super::frame::Visit;
use crate::app::Shared;
use crate::auth::Caller;
use crate::http::incoming::Id;
use crate::http::pipelines::reached;
use crate::http::timing;

/// Pipelines of the list, each with its latest jobs: some milliseconds of the database.
const PIPELINES_SHOWN: usize = 100;

/// Latest jobs of each of them.
const LATEST_OF_EACH: usize = 10;

/// Latest jobs of one pipeline, with their steps.
const LATEST_OF_ONE: usize = 40;

/// All pipelines that the viewer reaches.
pub(super) async fn list(State(app): State<Shared>, visit: Visit) -> Response {
    let page = all(&app, &visit.caller).await;
    visit.show(&app, page)
}

async fn all(app: &Shared, caller: &Caller) -> Result<PipelinesPage, Problem> {
    let timings = timing::of_all(app, caller.clone(), TIMED_RUNS_DEFAULT).await?;
    let mut lines: BTreeMap<String, PipelineLine> = BTreeMap::new();
    let line = |name: String| PipelineLine {
        name,
        declared: None,
        timing: None,
        latest: Vec::new(),
    };
    for it in timings.pipelines {
        let name = it.pipeline.clone();
        let known = lines.entry(name.clone());
        known.or_insert_with(|| line(name)).timing = Some(it);
    }
    for it in reached(app, caller).await? {
        let name = it.name.clone();
        let known = lines.entry(name.clone());
        known.or_insert_with(|| line(name)).declared = Some(it);
    }
    let is_cut = timings.is_cut || lines.len() > PIPELINES_SHOWN;
    let mut pipelines: Vec<PipelineLine> = lines.into_values().take(PIPELINES_SHOWN).collect();
    let sight = caller.reach.sight();
    pipelines = app
        .read(move |store| {
            for it in &mut pipelines {
                let filter = of(&it.name, &sight);
                let found = store.list(&filter, None, LATEST_OF_EACH)?;
                it.latest = found.items.into_iter().map(JobView::brief).collect();
            }
            Ok(pipelines)
        })
        .await?;
    Ok(PipelinesPage { pipelines, is_cut })
}

fn of(name: &str, sight: &Sight) -> Filter {
    Filter {
        states: Vec::new(),
        pipeline: Some(name.to_owned()),
        sight: sight.clone(),
    }
}

/// One pipeline.
pub(super) async fn one(State(app): State<Shared>, visit: Visit, Id(name): Id) -> Response {
    let page = whole(&app, &visit.caller, name).await;
    visit.show(&app, page)
}

async fn whole(app: &Shared, caller: &Caller, name: String) -> Result<PipelinePage, Problem> {
    let timing = timing::of_one(app, caller, name.clone(), TIMED_RUNS_DEFAULT).await?;
    let declared = reached(app, caller).await?;
    let filter = of(&name, &caller.reach.sight());
    let latest = app
        .read(move |store| {
            let found = store.list(&filter, None, LATEST_OF_ONE)?.items.into_iter();
            // Only a job by itself is read with its steps.
            let whole = found.map(|it| Ok(store.job(it.id)?.unwrap_or(it)));
            whole.collect::<Result<Vec<_>, _>>()
        })
        .await?;
    let latest: Vec<JobView> = latest.into_iter().map(JobView::whole).collect();
    Ok(PipelinePage {
        declared: declared.into_iter().find(|it| it.name == name),
        timing,
        flaky: FlakyStep::all(&latest),
        latest,
        name,
    })
}
