//! What is wrong between files: names that stand twice, and names that nobody has.

use std::collections::{BTreeMap, BTreeSet};

use danube_model::spec::is_near;
use danube_model::{Mistake, Position};

use crate::files::Place;
use crate::read::{Checked, Said};

/// Names that a message lists before it stops.
const LISTED_MAX: usize = 20;

/// Notes these mistakes in the files in which they are best corrected.
pub(crate) fn check(files: &mut [Checked]) {
    for place in [Place::Users, Place::Teams, Place::Pipelines] {
        twice(files, place);
    }
    one_config(files);
    emails(files);
    let (users, teams) = (names(files, Place::Users), names(files, Place::Teams));
    for file in files {
        match file.place {
            Place::Teams => missing(file, "user", "users", &users),
            Place::Pipelines => missing(file, "team", "teams", &teams),
            Place::Config | Place::Users => {}
        }
    }
}

fn names(files: &[Checked], place: Place) -> BTreeSet<String> {
    let own = files.iter().filter(|it| it.place == place);
    own.filter_map(|it| it.name.clone()).collect()
}

fn twice(files: &mut [Checked], place: Place) {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    for file in files.iter_mut().filter(|it| it.place == place) {
        let Some(name) = file.name.clone() else {
            continue;
        };
        if let Some(other) = first.get(&name) {
            let message = format!("`{name}` is declared by {other} already");
            note(file, "name.twice", "/metadata/name", file.at, message);
        } else {
            first.insert(name, file.source.name.clone());
        }
    }
}

fn one_config(files: &mut [Checked]) {
    let mut all = files.iter_mut().filter(|it| it.place == Place::Config);
    let Some(first) = all.next().map(|it| it.source.name.clone()) else {
        return;
    };
    for file in all {
        let message = format!("there is {first} already");
        note(file, "config.twice", "", None, message);
    }
}

/// Sign-in finds a user by the address.
fn emails(files: &mut [Checked]) {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    for file in files {
        let Some(Said::User(_, user)) = &file.said else {
            continue;
        };
        let email = user.email.to_lowercase();
        if let Some(other) = first.get(&email) {
            let message = format!(
                "`{}` is the address of the user in {other} already",
                user.email
            );
            note(file, "email.twice", "/spec/email", file.at, message);
        } else {
            first.insert(email, file.source.name.clone());
        }
    }
}

fn note(
    file: &mut Checked,
    code: &'static str,
    pointer: &str,
    at: Option<Position>,
    message: String,
) {
    file.list.push(Mistake {
        code,
        pointer: pointer.to_owned(),
        at,
        message,
        help: Some("keep one".to_owned()),
    });
}

fn missing(file: &mut Checked, what: &str, dir: &str, known: &BTreeSet<String>) {
    for name in std::mem::take(&mut file.uses) {
        if known.contains(&name.text) {
            continue;
        }
        let near = known.iter().find(|it| is_near(it, &name.text));
        let listed: Vec<String> = known
            .iter()
            .take(LISTED_MAX)
            .map(|it| format!("`{it}`"))
            .collect();
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if listed.is_empty() => format!("declare it in {dir}/"),
            None => format!("declare it in {dir}/, or name one of {}", listed.join(", ")),
        };
        file.list.push(Mistake {
            code: "reference.unknown",
            pointer: name.pointer,
            at: name.at,
            message: format!("there is no {what} `{}`", name.text.escape_debug()),
            help: Some(help),
        });
    }
}
