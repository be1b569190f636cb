//! Settings of the server that may change while it runs.

use danube_model::Mistake;
use danube_model::limits::DURATION_SECONDS_MAX;
use danube_model::spec::{Fields, Node, Value, read_limits};

use crate::model::{Config, Keep, Limits, Observability, Redaction, Retention};
use crate::texts::patterns;

/// Days of ten years, as the settings of the server have it.
pub(crate) const DAYS_MAX: u64 = 3_650;

/// Percent of a disk that may be asked to stay free, as the settings of the server have it.
pub(crate) const FREE_PERCENT_MAX: u64 = 90;

/// Bytes that may be named at all: JSON's numbers are exact up to there.
pub(crate) const BYTES_MAX: u64 = 1 << 53;

/// Rules of what is kept: each is asked for each log and artifact that would go.
pub(crate) const KEEPS_MAX: usize = 100;

/// Words for the level of a log.
pub(crate) const LEVELS: [&str; 6] = ["error", "warning", "info", "debug", "trace", "off"];

/// Reads them.
pub(crate) fn read(node: Node, mistakes: &mut Vec<Mistake>) -> Option<Config> {
    let mut fields = Fields::open(node, "/spec", mistakes)?;
    let config = Config {
        retention: section(&mut fields, "retention", retention),
        observability: section(&mut fields, "observability", observability),
        redaction: section(&mut fields, "redaction", redaction),
        limits: section(&mut fields, "limits", limits),
    };
    fields.end();
    Some(config)
}

fn section<T: Default>(
    fields: &mut Fields<'_>,
    name: &'static str,
    read: impl FnOnce(&mut Fields<'_>) -> T,
) -> T {
    let pointer = fields.below(name);
    let Some(node) = fields.take(name) else {
        return T::default();
    };
    let Some(mut inner) = Fields::open(node, &pointer, fields.mistakes()) else {
        return T::default();
    };
    let value = read(&mut inner);
    inner.end();
    value
}

fn retention(fields: &mut Fields<'_>) -> Retention {
    Retention {
        logs_days: number(fields, "logs_days", DAYS_MAX),
        logs_max_bytes: number(fields, "logs_max_bytes", BYTES_MAX),
        artifacts_days: number(fields, "artifacts_days", DAYS_MAX),
        artifacts_max_bytes: number(fields, "artifacts_max_bytes", BYTES_MAX),
        disk_free_percent: number(fields, "disk_free_percent", FREE_PERCENT_MAX),
        keep: keeps(fields),
    }
}

fn keeps(fields: &mut Fields<'_>) -> Vec<Keep> {
    let list = fields.take_list("keep").unwrap_or_default();
    if list.len() > KEEPS_MAX {
        fields.refuse("keep", None, &format!("has more than {KEEPS_MAX} entries"));
        return Vec::new();
    }
    let below = fields.below("keep");
    let all = list.into_iter().enumerate();
    all.filter_map(|(index, node)| keep(node, &format!("{below}/{index}"), fields.mistakes()))
        .collect()
}

fn keep(node: Node, pointer: &str, mistakes: &mut Vec<Mistake>) -> Option<Keep> {
    let (at, known) = (node.at, mistakes.len());
    let mut fields = Fields::open(node, pointer, mistakes)?;
    let keep = Keep {
        pipelines: patterns(&mut fields, "pipelines"),
        refs: patterns(&mut fields, "refs"),
        days: number(&mut fields, "days", DAYS_MAX).filter(|it| *it > 0),
    };
    fields.end();
    if keep.pipelines.is_empty() && keep.refs.is_empty() && mistakes.len() == known {
        mistakes.push(Mistake {
            code: "field.value",
            pointer: pointer.to_owned(),
            at,
            message: "names neither `pipelines` nor `refs`, so all would be kept".to_owned(),
            help: Some("name some, or set `logs_days` and `artifacts_days` to 0".to_owned()),
        });
    }
    Some(keep)
}

fn observability(fields: &mut Fields<'_>) -> Observability {
    let words = LEVELS.map(|it| (it, it));
    let log_level = fields.take_word("log_level", &words);
    Observability {
        log_level: log_level.map(str::to_owned),
    }
}

fn redaction(fields: &mut Fields<'_>) -> Redaction {
    Redaction {
        email: fields.take_bool("email"),
    }
}

fn limits(fields: &mut Fields<'_>) -> Limits {
    let step = fields.below("step");
    let node = fields.take("step");
    Limits {
        max_duration_seconds: fields.take_count("max_duration_seconds", DURATION_SECONDS_MAX),
        artifact_file_max_bytes: fields.take_count("artifact_file_max_bytes", BYTES_MAX),
        artifact_job_max_bytes: fields.take_count("artifact_job_max_bytes", BYTES_MAX),
        step: node
            .and_then(|it| read_limits(it, &step, fields.mistakes()))
            .unwrap_or_default(),
    }
}

/// A whole number, 0 included: `take_count` of the house begins at 1.
fn number(fields: &mut Fields<'_>, name: &'static str, max: u64) -> Option<u64> {
    let node = fields.take(name)?;
    let number = match node.value {
        Value::Integer(it) => u64::try_from(it).ok().filter(|it| *it <= max),
        _ => None,
    };
    if number.is_none() {
        let why = format!("must be a whole number from 0 to {max}");
        fields.refuse(name, node.at, &why);
    }
    number
}
