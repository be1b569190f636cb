//! Secrets in a pipeline: its list of those that it may have, and what a step asks for.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fields, Value};
use crate::limits::SECRETS_OF_PIPELINE_MAX;
use crate::mistake::Mistake;
use crate::secret::{is_secret_name, secret_name_rule};

/// The names in `secrets` of a pipeline.
pub(super) fn named(fields: &mut Fields<'_>) -> BTreeSet<String> {
    let list = fields.take_list("secrets").unwrap_or_default();
    let mut all = BTreeSet::new();
    if list.len() > SECRETS_OF_PIPELINE_MAX {
        let why = format!("has more than {SECRETS_OF_PIPELINE_MAX} names");
        fields.refuse("secrets", None, &why);
        return all;
    }
    for (index, node) in list.into_iter().enumerate() {
        match node.value {
            Value::Text(name) if is_secret_name(&name) => drop(all.insert(name)),
            _ => {
                let pointer = format!("{}/{index}", fields.below("secrets"));
                fields.mistakes().push(Mistake {
                    code: "secret.name",
                    pointer,
                    at: node.at,
                    message: "this can't be the name of a secret".to_owned(),
                    help: Some(secret_name_rule()),
                });
            }
        }
    }
    all
}

/// `secrets` of a step: variables with the names of what they hold, all of which its
/// pipeline names too.
pub(super) fn of_step(
    fields: &mut Fields<'_>,
    named: &BTreeSet<String>,
) -> BTreeMap<String, String> {
    let asked = fields.take_variables("secrets").unwrap_or_default();
    for (variable, name) in asked.iter().filter(|(_, name)| !named.contains(*name)) {
        let pointer = format!("{}/{variable}", fields.below("secrets"));
        let message = format!(
            "the pipeline doesn't name a secret `{}`",
            name.escape_debug()
        );
        let at = fields.at();
        fields.mistakes().push(Mistake {
            code: "secret.not_named",
            pointer,
            at,
            message,
            help: Some("add it to `secrets` of the pipeline: `secrets: [name]`".to_owned()),
        });
    }
    asked
}
