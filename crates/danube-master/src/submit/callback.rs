//! Where a job's end is told: checked, and never repeated.

use danube_model::Mistake;
use danube_model::spec::Fields;
use danube_outgoing::Refused;
use danube_store::Callback;

use super::World;
use super::masks::masked;

/// The address is never repeated in an error: its query may hold a token.
pub(super) fn read(
    fields: &mut Fields<'_>,
    world: &dyn World,
    masks: &[String],
) -> Option<Callback> {
    const INSIDE: &str =
        "the operator lists hosts and networks that may be called in `webhooks.allow_private`";
    const HTTP: &str = "the operator may allow it with `webhooks.allow_http`";
    let url = fields.take_text("callback_url")?;
    let refuse = |fields: &mut Fields<'_>, message: String, help: Option<&str>| {
        let pointer = fields.below("callback_url");
        fields.mistakes().push(Mistake {
            code: "callback.refused",
            pointer,
            at: None,
            message,
            help: help.map(str::to_owned),
        });
    };
    let target = match world.callback(&url) {
        Ok(target) => target,
        Err(why) => {
            let help = match why {
                Refused::Private { .. } => Some(INSIDE),
                Refused::Http => Some(HTTP),
                _ => None,
            };
            refuse(fields, format!("`callback_url` {why}"), help);
            return None;
        }
    };
    let shown = target.shown();
    if masked(masks).redact(&shown) != shown {
        let message =
            "`callback_url` holds a value of `mask` before its query, but that is shown".to_owned();
        refuse(fields, message, Some("put it into the query"));
        return None;
    }
    Some(Callback {
        url: target.whole(),
        origin: target.origin(),
        shown,
    })
}
