//! Values to mask, and names that must not hold any.

use danube_model::limits::{MASK_BYTES_MAX, MASKS_BYTES_MAX, MASKS_MAX};
use danube_model::spec::{Fields, Value};
use danube_model::{Mistake, Order, Task};
use danube_redact::{Rules, Secrets};

/// Values to mask must be ones that the redactor takes; the value itself is
/// never repeated in an error. With a warning for each that is short.
pub(super) fn read(fields: &mut Fields<'_>) -> (Vec<String>, Vec<String>) {
    let list = fields.take_list("mask").unwrap_or_default();
    let allow_short = fields.take_bool("allow_short_masks").unwrap_or(false);
    if list.len() > MASKS_MAX {
        fields.refuse("mask", None, &format!("has more than {MASKS_MAX} values"));
        return Default::default();
    }
    let texts = list.iter().map(|it| match &it.value {
        Value::Text(text) => text.len(),
        _ => 0,
    });
    if texts.clone().any(|it| it > MASK_BYTES_MAX) || texts.sum::<usize>() > MASKS_BYTES_MAX {
        let why = format!(
            "has a value above {MASK_BYTES_MAX} bytes, or more than {MASKS_BYTES_MAX} bytes in all"
        );
        fields.refuse("mask", None, &why);
        return Default::default();
    }
    let mut masks = Vec::with_capacity(list.len());
    for (index, node) in list.into_iter().enumerate() {
        let why = match node.value {
            Value::Text(text) => match check_mask(&text, allow_short) {
                Ok(()) => {
                    masks.push(text);
                    continue;
                }
                Err(why) => why,
            },
            _ => format!("must be text, found {}", node.kind()),
        };
        let pointer = format!("{}/{index}", fields.below("mask"));
        fields.mistakes().push(Mistake {
            code: "mask.refused",
            pointer,
            at: node.at,
            message: why,
            help: None,
        });
    }
    let warnings = if allow_short {
        warnings(&masks)
    } else {
        Vec::new()
    };
    (masks, warnings)
}

/// Refuses more values than a job may have, those of secret parameters included.
pub(super) fn check_all(fields: &mut Fields<'_>, masks: &[String]) {
    let bytes: usize = masks.iter().map(String::len).sum();
    if masks.len() > MASKS_MAX || bytes > MASKS_BYTES_MAX {
        let why = format!(
            "and the secret parameters have more than {MASKS_MAX} values or {MASKS_BYTES_MAX} bytes together"
        );
        fields.refuse("mask", None, &why);
    }
}

/// Whether the redactor takes a value; why not, without the value.
pub(crate) fn check_mask(text: &str, allow_short: bool) -> Result<(), String> {
    if text.len() > MASK_BYTES_MAX {
        return Err(format!("is longer than {MASK_BYTES_MAX} bytes"));
    }
    let trial = Secrets::new(Rules::none());
    let taken = if allow_short {
        trial.register_short(text.as_bytes())
    } else {
        trial.register(text.as_bytes())
    };
    taken.map_err(|refused| refused.to_string())
}

/// What is said of each value that was taken only because the caller insisted.
fn warnings(masks: &[String]) -> Vec<String> {
    let short = masks.iter().zip(0..);
    let short = short.filter(|(it, _)| check_mask(it, false).is_err());
    short
        .map(|(_, index)| short_warning(&format!("mask/{index}")))
        .collect()
}

/// The warning of a short value; `which` names it.
pub(crate) fn short_warning(which: &str) -> String {
    format!("`{which}` is shorter than 8 characters: it will hide other text, too")
}

/// What hides these values.
pub(super) fn masked(masks: &[String]) -> Secrets {
    let secrets = Secrets::new(Rules::none());
    for mask in masks {
        // Each was taken by a trial before.
        let _ = secrets.register_short(mask.as_bytes());
    }
    secrets
}

/// Names are shown everywhere, so none may hold a value to be masked.
pub(super) fn check_names(fields: &mut Fields<'_>, order: &Order, queue: &str) {
    let secrets = masked(&order.masks);
    let mut refuse = |pointer: String| {
        fields.mistakes().push(Mistake {
            code: "mask.in_name",
            pointer,
            at: None,
            message: "holds a value of `mask`, but is shown everywhere".to_owned(),
            help: Some("give it another name".to_owned()),
        });
    };
    let shown = |text: &str| secrets.redact(text) != text;
    match &order.task {
        Task::Pipeline(it) if shown(&it.name) => refuse("/spec/name".to_owned()),
        Task::Playbook(it) if shown(&it.source.shown().to_string()) => refuse("/source".to_owned()),
        Task::Pipeline(_) | Task::Playbook(_) => {}
    }
    if order.git_ref.as_deref().is_some_and(shown) {
        refuse("/ref".to_owned());
    }
    if shown(queue) {
        refuse("/queue".to_owned());
    }
    let steps = order.task.pipeline().map(|it| &*it.steps);
    for (index, step) in steps.unwrap_or_default().iter().enumerate() {
        if shown(&step.name) {
            refuse(format!("/spec/steps/{index}/name"));
        }
    }
}
