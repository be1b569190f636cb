//! `danube doctor oidc`: which part of a sign-in's set-up is wrong, and what to do.

use clap::{Arg, Command};
use danube_master::{Examined, examine_provider, redirect_uri};

use super::found::Found;
use crate::config::Config;

/// The command, with these arguments that say which settings are meant.
pub(super) fn command(settings: [Arg; 2]) -> Command {
    Command::new("oidc")
        .about("Look at each part of a sign-in's set-up, and say what is wrong")
        .long_about(
            "Ask the provider what a sign-in would ask: its description, its keys, the time that it has, whether it \
             knows the client and its secret, and whether it would send a browser back here. Nobody is signed in.",
        )
        .after_help("Run it as the user that runs the master. Exits 1 when something failed.")
        .args(settings)
        .arg(
            Arg::new("email")
                .long("email")
                .value_name("ADDRESS")
                .help("Also look which user of the blueprint in blueprint.dir has this address"),
        )
}

/// Every part, in the order in which a sign-in needs them.
pub(super) fn look(config: &Config, email: Option<&str>) -> Vec<(&'static str, Found)> {
    let Some(settings) = &config.settings.oidc else {
        return vec![("oidc", Found::unused("oidc.issuer names none"))];
    };
    let redirect = redirect_uri(&config.settings);
    let parts = examine_provider(settings, &redirect).into_iter();
    let mut all: Vec<_> = parts.map(|it| (it.part, found(it))).collect();
    all.push(("users", users(config, email)));
    all
}

fn found(examined: Examined) -> Found {
    match examined.found {
        Ok(what) => Found::fine(what),
        Err((why, fix)) => Found::wrong(why, fix),
    }
}

/// Whether anybody could sign in.
fn users(config: &Config, email: Option<&str>) -> Found {
    let settings = &config.settings;
    let Some(dir) = &settings.blueprint_dir else {
        return match &settings.blueprint {
            Some(_) => Found::fine(
                "the repository of blueprint.url declares them: `danube blueprint show`",
            ),
            None => Found::wrong(
                "no blueprint declares users, so nobody can sign in",
                "name a directory in blueprint.dir, or a repository in blueprint.url",
            ),
        };
    };
    let shown = dir.display();
    let Ok(blueprint) = danube_blueprint::read(dir) else {
        return Found::wrong(
            format!("the blueprint in {shown} is wrong"),
            format!("danube blueprint check {shown}"),
        );
    };
    let Some(email) = email else {
        return match blueprint.users.len() {
            0 => Found::wrong(
                format!("the blueprint in {shown} declares no users"),
                "add a file to users/, with the address that the provider has of them",
            ),
            count => Found::fine(format!(
                "{count} are declared; --email tells who has an address"
            )),
        };
    };
    match blueprint.user_by_email(email) {
        Some((name, user)) if user.admin => {
            Found::fine(format!("{email} is `{name}`, an administrator"))
        }
        Some((name, _)) => Found::fine(format!("{email} is `{name}`")),
        None => Found::wrong(
            format!("no user of the blueprint in {shown} has the address {email}"),
            "add a file to users/, with the address that the provider has of them",
        ),
    }
}
