//! A submit that asks for a playbook to be run.

use std::collections::BTreeMap;

use danube_model::Task;
use danube_model::playbook::Playbook;
use danube_model::spec::Fields;

use super::{Work, World};

/// The fields by which such a submit is known.
pub(super) const FIELDS: [&str; 5] = [
    "source",
    "inventory",
    "credentials",
    "extra_vars",
    "options",
];

/// Reads the fields that such a submit has for itself.
pub(super) fn read(fields: &mut Fields<'_>, _world: &dyn World) -> Option<Work> {
    for other in ["pipeline", "spec", "ref", "parameters"] {
        if let Some(node) = fields.take(other) {
            fields.refuse(
                other,
                node.at,
                "and a playbook's `source` can't both be given",
            );
        }
    }
    let playbook = Playbook::read(fields)?;
    Some(Work {
        source_type: playbook.source.kind().as_str(),
        git_ref: None,
        parameters: BTreeMap::new(),
        retry_on_lost: true,
        task: Task::Playbook(Box::new(playbook)),
    })
}
