//! Where the playbook of a job for a server comes from, as flags say it.

use std::path::Path;

use clap::{Arg, ArgMatches, value_parser};
use serde_json::{Map, Value, json};

use super::{asked, file};
use crate::failure::Failure;

/// The flags that name a source each; without one the playbook is a file here.
const SOURCES: [&str; 5] = ["repo", "role", "archive", "nexus", "local"];

/// The flags of all sources.
pub(super) fn args() -> Vec<Arg> {
    let heading = "Source";
    let others = |name: &str| {
        SOURCES
            .into_iter()
            .filter(move |it| *it != name)
            .collect::<Vec<_>>()
    };
    let source = |name: &'static str, value, help| {
        asked::text(name, value, help).conflicts_with_all(others(name))
    };
    let all = [
        source("repo", "URL", "Git repository with the playbook"),
        source("role", "URL", "Git repository of a role, which a generated playbook applies"),
        asked::text("ref", "REF", "Branch, tag or commit of the repository [default: the repository's own]"),
        asked::text("role-name", "NAME", "The role's name [default: the repository's, without ansible-role-]").requires("role"),
        asked::text("hosts", "PATTERN", "Hosts that the role is applied to [default: all]").requires("role"),
        source("archive", "URL", "Archive (tar, tar.gz, zip) with the playbook"),
        source("nexus", "URL", "Nexus server with an archive, or with the playbook itself"),
        asked::text("repository", "NAME", "Repository of the Nexus").requires("nexus"),
        asked::text("artifact", "PATH", "File in a raw repository of the Nexus").requires("nexus").conflicts_with("maven"),
        asked::text(
            "maven",
            "COORDINATES",
            "File in a Maven repository of the Nexus: GROUP:ARTIFACT:EXTENSION[:CLASSIFIER]:VERSION",
        )
        .requires("nexus"),
        asked::text("sha256", "HEX", "Checksum that the archive or file must have"),
        asked::text("sha1", "HEX", "The same, for old Maven repositories").requires("nexus").conflicts_with("sha256"),
        asked::text("strip-components", "COUNT", "Leading directories to take off the names in an archive")
            .value_parser(value_parser!(u64)),
        source("local", "DIR", "Directory of the worker's machine, one that the operator allows"),
    ];
    all.map(|it| it.help_heading(heading)).into()
}

/// The `source` of a job, and whether it is a file from here.
pub(super) fn sent(matches: &ArgMatches) -> Result<(Value, bool), Failure> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let kind = SOURCES.into_iter().find(|it| matches.contains_id(it));
    fits(matches, kind)?;
    let playbook = || {
        text("playbook").ok_or_else(|| {
            Failure::usage("the playbook is missing")
                .hint("name its path in the source, such as `site.yml`")
        })
    };
    let url = kind.and_then(text);
    let strip = matches.get_one::<u64>("strip-components");
    let source = match kind {
        Some("repo") => {
            json!({"type": "playbook", "repo": url, "ref": text("ref"), "path": playbook()?})
        }
        Some("role") => {
            json!({"type": "role", "repo": url, "ref": text("ref"), "name": text("role-name"), "hosts": text("hosts")})
        }
        Some("archive") => {
            json!({"type": "archive", "url": url, "sha256": text("sha256"), "path": playbook()?, "strip_components": strip})
        }
        Some("nexus") => {
            let mut nexus = json!({"type": "nexus", "url": url, "repository": text("repository"), "sha256": text("sha256"),
                "sha1": text("sha1"), "path": text("playbook"), "strip_components": strip});
            let artifact = artifact(matches)?;
            let fields = nexus.as_object_mut().expect("it is written as one");
            fields.extend(artifact);
            nexus
        }
        Some(_) => json!({"type": "local", "path": url, "playbook": playbook()?}),
        None => {
            let path = playbook()?;
            let text = file::text(Path::new(&path), "the playbook")?;
            json!({"type": "inline", "playbook": text})
        }
    };
    Ok((Value::Object(asked::without_nulls(source)), kind.is_none()))
}

/// Flags that say something of another source would silently say nothing.
fn fits(matches: &ArgMatches, kind: Option<&str>) -> Result<(), Failure> {
    let goes_with: [(&str, &[&str]); 3] = [
        ("ref", &["repo", "role"]),
        ("sha256", &["archive", "nexus"]),
        ("strip-components", &["archive", "nexus"]),
    ];
    for (flag, kinds) in goes_with {
        if matches.contains_id(flag) && kind.is_none_or(|it| !kinds.contains(&it)) {
            let kinds = kinds.join(" or --");
            return Err(Failure::usage(format!("--{flag} goes with --{kinds}")));
        }
    }
    if kind == Some("role") && matches.contains_id("playbook") {
        let why = "a role has no playbook to name: one that applies the role is generated";
        return Err(
            Failure::usage(why).hint("leave PLAYBOOK out; --hosts says where the role is applied")
        );
    }
    if kind == Some("nexus") && !matches.contains_id("repository") {
        return Err(Failure::usage("--nexus needs --repository NAME"));
    }
    Ok(())
}

/// Which file of a Nexus.
fn artifact(matches: &ArgMatches) -> Result<Map<String, Value>, Failure> {
    let text = |name: &str| matches.get_one::<String>(name);
    if let Some(path) = text("artifact") {
        return Ok(asked::without_nulls(
            json!({"format": "raw", "artifact": path}),
        ));
    }
    let Some(coordinates) = text("maven") else {
        return Err(Failure::usage(
            "--nexus needs --artifact PATH or --maven COORDINATES",
        ));
    };
    let parts: Vec<&str> = coordinates.split(':').collect();
    let (group, artifact, extension, classifier, version) = match parts[..] {
        [group, artifact, extension, version] => (group, artifact, extension, None, version),
        [group, artifact, extension, classifier, version] => {
            (group, artifact, extension, Some(classifier), version)
        }
        _ => {
            let why = format!(
                "--maven {}: must be GROUP:ARTIFACT:EXTENSION[:CLASSIFIER]:VERSION",
                coordinates.escape_debug()
            );
            return Err(Failure::usage(why).hint("such as org.example:web:tar.gz:1.0"));
        }
    };
    Ok(asked::without_nulls(
        json!({"format": "maven2", "group": group, "artifact": artifact, "extension": extension,
        "classifier": classifier, "version": version}),
    ))
}
