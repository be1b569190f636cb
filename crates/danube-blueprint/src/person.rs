//! Users and teams.

use danube_model::Mistake;
use danube_model::spec::{Fields, Node, is_name};

use crate::model::{Team, User};
use crate::texts::{self, Text};

/// Bytes of an address of e-mail (RFC 5321, 4.5.3.1.3, without the brackets).
const EMAIL_BYTES_MAX: usize = 254;

/// Reads a user.
pub(crate) fn user(node: Node, mistakes: &mut Vec<Mistake>) -> Option<User> {
    let mut fields = Fields::open(node, "/spec", mistakes)?;
    let email = match fields.has("email") {
        true => fields.take_checked("email", wrong_email),
        false => fields.require("email").map(|_| String::new()),
    };
    let admin = fields.take_bool("admin").unwrap_or(false);
    fields.end();
    Some(User {
        email: email?,
        admin,
    })
}

fn wrong_email(text: &str) -> Option<&'static str> {
    let fits = |(local, host): (&str, &str)| {
        !local.is_empty() && !host.is_empty() && !host.contains('@') && !host.starts_with('.')
    };
    let plain = |it: char| !it.is_control() && !it.is_whitespace();
    let sane = text.len() <= EMAIL_BYTES_MAX
        && text.chars().all(plain)
        && text.split_once('@').is_some_and(fits);
    (!sane).then_some("must be an address of e-mail, such as anna@example.org")
}

/// Reads a team; `uses` are its users.
pub(crate) fn team(node: Node, uses: &mut Vec<Text>, mistakes: &mut Vec<Mistake>) -> Option<Team> {
    let mut fields = Fields::open(node, "/spec", mistakes)?;
    let members = match fields.has("members") {
        true => texts::take(&mut fields, "members", wrong_name),
        false => fields.require("members").map(|_| Vec::new()),
    };
    fields.end();
    let members = members?;
    uses.clone_from(&members);
    Some(Team {
        members: members.into_iter().map(|it| it.text).collect(),
    })
}

/// What is wrong with a name of a user or team.
pub(crate) fn wrong_name(text: &str) -> Option<&'static str> {
    (!is_name(text)).then_some("can't be a name")
}
