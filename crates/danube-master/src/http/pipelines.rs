//! Which pipelines can be submitted by name, and what each asks for.

use axum::Json;
use axum::extract::State;
use danube_api::{ParameterView, PipelineList, PipelineView, Problem};
use danube_model::spec::{Parameter, Pipeline};

use super::answer::Answer;
use super::caller::Looker;
use crate::app::{App, Shared, blocking};
use crate::auth::Caller;

/// Lists the pipelines that can be submitted by name.
#[utoipa::path(get, path = "/api/v1/pipelines", tag = "jobs",
    responses((status = 200, description = "By name, with their parameters", body = PipelineList),
        (status = "4XX", description = "A wrong key", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn pipelines(
    State(app): State<Shared>,
    Looker(caller): Looker,
) -> Answer<Json<PipelineList>> {
    Ok(Json(PipelineList {
        pipelines: reached(&app, &caller).await?,
    }))
}

/// Those that the caller reaches, by name.
pub(super) async fn reached(app: &Shared, caller: &Caller) -> Result<Vec<PipelineView>, Problem> {
    let of = app.clone();
    let mut pipelines = blocking(move || all(&of)).await?;
    pipelines.retain(|it| caller.reach.right_to_own(&it.name).is_some());
    pipelines.sort_by(|a, b| (&a.name, &a.file).cmp(&(&b.name, &b.file)));
    Ok(pipelines)
}

fn all(app: &App) -> Vec<PipelineView> {
    let files = app.pipelines.all().into_iter();
    let mut all: Vec<PipelineView> = files
        .map(|(file, it)| view(&it, ("directory", file), true))
        .collect();
    if let Some(blueprint) = app.blueprint.get() {
        let declared = blueprint.pipelines.values();
        all.extend(declared.map(|it| {
            let source = ("blueprint", it.file.clone());
            view(&it.pipeline, source, it.triggers.manual)
        }));
    }
    all
}

fn view(pipeline: &Pipeline, (source, file): (&str, String), manual: bool) -> PipelineView {
    let parameters = pipeline.parameters.as_ref().map(|declared| {
        let shown = declared.iter();
        shown
            .map(|(name, it)| (name.clone(), parameter(it)))
            .collect()
    });
    PipelineView {
        name: pipeline.name.clone(),
        source: source.to_owned(),
        file,
        manual,
        git_ref: pipeline.git_ref.clone(),
        parameters,
        concurrency: pipeline.queueing.concurrency,
        max_pending: pipeline.queueing.max_pending,
        team: pipeline.queueing.team.clone(),
    }
}

fn parameter(it: &Parameter) -> ParameterView {
    ParameterView {
        description: it.description.clone(),
        kind: it.kind.as_str().to_owned(),
        required: it.default.is_none(),
        default: it.default.clone(),
        choices: it.choices.clone(),
        secret: it.secret,
    }
}
