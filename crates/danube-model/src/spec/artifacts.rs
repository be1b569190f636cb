//! `artifacts` of a step: which of the files that it leaves are kept.

use super::{Fields, Value};
use crate::glob::{GLOBS_MAX, wrong_glob};
use crate::mistake::Mistake;

/// The patterns of a step.
pub(super) fn of_step(fields: &mut Fields<'_>) -> Vec<String> {
    let list = fields.take_list("artifacts").unwrap_or_default();
    if list.len() > GLOBS_MAX {
        let why = format!("has more than {GLOBS_MAX} patterns");
        fields.refuse("artifacts", None, &why);
        return Vec::new();
    }
    let mut all = Vec::new();
    for (index, node) in list.into_iter().enumerate() {
        let wrong = match &node.value {
            Value::Text(text) => wrong_glob(text),
            _ => Some("must be text".to_owned()),
        };
        match (node.value, wrong) {
            (Value::Text(text), None) => all.push(text),
            (_, wrong) => {
                let pointer = format!("{}/{index}", fields.below("artifacts"));
                fields.mistakes().push(Mistake {
                    code: "artifacts.pattern",
                    pointer,
                    at: node.at,
                    message: format!("this pattern {}", wrong.unwrap_or_default()),
                    help: Some(
                        "a path below the source, such as `target/*.deb` or `reports/**`"
                            .to_owned(),
                    ),
                });
            }
        }
    }
    all
}
