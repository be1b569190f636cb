//! What stands at the head of the pages while the blueprint is wrong or can't be fetched.

use danube_pages::Notice;
use danube_store::Role;

use crate::app::App;
use crate::auth::Caller;
use crate::blueprint::{sentence, short};

/// The line for this viewer, while there is one. It names the repository and its files, so it
/// is for those who may see the blueprint by a key, too: who manages the server.
pub(super) fn notice(app: &App, caller: &Caller) -> Option<Notice> {
    if caller.role != Role::Admin || !caller.reach.is_all() {
        return None;
    }
    let told = app.blueprint.how();
    let error = told.error?;
    let head = match error.mistakes.is_empty() {
        true => "The blueprint can't be fetched",
        false => "The blueprint is wrong",
    };
    let commit = told
        .taken
        .map(|(commit, at)| (short(&commit).to_owned(), at));
    Some(Notice {
        head: head.to_owned(),
        since: error.at,
        why: sentence(&error),
        in_force: commit,
    })
}
