//! What starts a pipeline.

use std::collections::BTreeMap;

use danube_model::spec::{Fields, Node, Pipeline};
use danube_model::{Mistake, Position};

use crate::cron::Cron;
use crate::model::{CronTrigger, PullRequestTrigger, PushTrigger, Triggers};
use crate::texts::patterns;

/// Schedules of one pipeline: each is reckoned whenever the next is looked for.
const CRONS_MAX: usize = 20;

/// What was read, and where what has to fit the pipeline stands.
pub(crate) struct Read {
    pub(crate) triggers: Triggers,
    /// Of each schedule.
    crons: Vec<Option<Position>>,
    /// Of the first trigger that hears of the repository.
    needs_repository: Option<(&'static str, Option<Position>)>,
}

/// Reads them. A pipeline without any is started by hand.
pub(crate) fn read(fields: &mut Fields<'_>) -> Read {
    let mut read = Read {
        triggers: Triggers {
            push: None,
            pull_request: None,
            cron: Vec::new(),
            manual: true,
        },
        crons: Vec::new(),
        needs_repository: None,
    };
    let pointer = fields.below("triggers");
    let Some(node) = fields.take("triggers") else {
        return read;
    };
    let Some(mut inner) = Fields::open(node, &pointer, fields.mistakes()) else {
        return read;
    };
    for name in ["push", "pull_request"] {
        if inner.has(name) && read.needs_repository.is_none() {
            read.needs_repository = Some((name, inner.place(name)));
        }
    }
    let pointer = inner.below("push");
    if let Some(node) = inner.take("push") {
        read.triggers.push = push(node, &pointer, inner.mistakes());
    }
    let pointer = inner.below("pull_request");
    if let Some(node) = inner.take("pull_request") {
        read.triggers.pull_request = pull_request(node, &pointer, inner.mistakes());
    }
    crons(&mut inner, &mut read);
    read.triggers.manual = inner.take_bool("manual").unwrap_or(true);
    inner.end();
    read
}

fn push(node: Node, pointer: &str, mistakes: &mut Vec<Mistake>) -> Option<PushTrigger> {
    let mut fields = Fields::open(node, pointer, mistakes)?;
    let push = PushTrigger {
        branches: patterns(&mut fields, "branches"),
        tags: patterns(&mut fields, "tags"),
        paths: patterns(&mut fields, "paths"),
    };
    fields.end();
    Some(push)
}

fn pull_request(
    node: Node,
    pointer: &str,
    mistakes: &mut Vec<Mistake>,
) -> Option<PullRequestTrigger> {
    let mut fields = Fields::open(node, pointer, mistakes)?;
    let request = PullRequestTrigger {
        branches: patterns(&mut fields, "branches"),
        paths: patterns(&mut fields, "paths"),
        forks: fields.take_bool("forks").unwrap_or(false),
    };
    fields.end();
    Some(request)
}

fn crons(fields: &mut Fields<'_>, read: &mut Read) {
    let list = fields.take_list("cron").unwrap_or_default();
    if list.len() > CRONS_MAX {
        fields.refuse(
            "cron",
            None,
            &format!("has more than {CRONS_MAX} schedules"),
        );
        return;
    }
    for (index, node) in list.into_iter().enumerate() {
        let (at, pointer) = (node.at, format!("{}/{index}", fields.below("cron")));
        if let Some(cron) = cron(node, &pointer, fields.mistakes()) {
            read.triggers.cron.push(cron);
            read.crons.push(at);
        }
    }
}

fn cron(node: Node, pointer: &str, mistakes: &mut Vec<Mistake>) -> Option<CronTrigger> {
    let mut fields = Fields::open(node, pointer, mistakes)?;
    let at = fields.place("schedule");
    let (zone_at, has_schedule) = (fields.place("timezone"), fields.has("schedule"));
    let schedule = match has_schedule {
        true => fields.take_text("schedule"),
        false => fields.require("schedule").map(|_| String::new()),
    };
    let timezone = fields.take_text("timezone");
    let timezone = timezone.unwrap_or_else(|| "UTC".to_owned());
    let git_ref = fields.take_ref("ref");
    let parameters = fields.take_variables("parameters").unwrap_or_default();
    if let Some(schedule) = &schedule
        && let Err(why) = Cron::parse(schedule)
    {
        fields.refuse("schedule", at, &why.to_string());
    }
    if jiff::tz::TimeZone::get(&timezone).is_err() {
        let why = "isn't a time zone; write its IANA name, such as Europe/Vienna or UTC";
        fields.refuse("timezone", zone_at, why);
    }
    fields.end();
    Some(CronTrigger {
        schedule: schedule?,
        timezone,
        git_ref,
        parameters,
    })
}

/// Notes what doesn't fit the pipeline.
pub(crate) fn check(read: &Read, pipeline: &Pipeline, mistakes: &mut Vec<Mistake>) {
    let mut note = |pointer: String, at, message: String, help: &str| {
        mistakes.push(Mistake {
            code: "trigger.misfit",
            pointer,
            at,
            message,
            help: Some(help.to_owned()),
        });
    };
    if let Some((name, at)) = read.needs_repository
        && pipeline.repository.is_none()
    {
        let message = format!("`{name}` is about the repository, but there is no `repository`");
        let help = "say which one, or take the trigger out";
        note(format!("/spec/triggers/{name}"), at, message, help);
    }
    if let Some((name, at)) = read.needs_repository {
        // Nobody is there who could be asked.
        let wrong = pipeline.with_parameters(BTreeMap::new());
        for it in wrong.err().unwrap_or_default() {
            let message = format!(
                "nobody says it where `{name}` starts the pipeline: {}",
                it.message
            );
            let help = "give it a default, or take the trigger out";
            note(format!("/spec/triggers/{name}"), at, message, help);
        }
    }
    for (index, (cron, at)) in read.triggers.cron.iter().zip(&read.crons).enumerate() {
        let wrong = pipeline.with_parameters(cron.parameters.clone());
        for it in wrong.err().unwrap_or_default() {
            let help = match it.code {
                "parameter.unknown" => "declare it in `parameters` of the pipeline",
                _ => "say so in `parameters` of the trigger, or give it a default",
            };
            note(
                format!("/spec/triggers/cron/{index}"),
                *at,
                it.message,
                help,
            );
        }
    }
}
