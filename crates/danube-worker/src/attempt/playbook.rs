//! The work of a playbook's job: its source, its credentials, then Ansible.

use danube_model::FailReason;
use danube_model::playbook::Playbook;

use super::Running;
use crate::place::Place;
use crate::verdict::{Verdict, broke};

/// The names of the steps.
pub(super) const STEPS: [&str; 3] = ["fetch_source", "resolve_credentials", "run_playbook"];

impl Running<'_> {
    /// Fetches the source, gets the credentials, runs the playbook.
    pub(super) fn run_playbook_job(&mut self, _place: &Place, _playbook: &Playbook) -> Verdict {
        broke(
            FailReason::SetupFailed,
            "playbooks can't be run yet".to_owned(),
        )
    }
}
