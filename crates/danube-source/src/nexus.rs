//! Where a Nexus server keeps a file, and what it says the file's bytes are.

use danube_model::playbook::source::{Artifact, Checksum, Nexus, without_secrets};

use crate::download::{Ask, Downloaded};
use crate::error::SourceError;

const METADATA: &str = "maven-metadata.xml";
const SNAPSHOT: &str = "-SNAPSHOT";

/// Downloads the artifact, checked against the request's checksum or Nexus's own.
pub(crate) fn download(nexus: &Nexus, ask: &Ask<'_>) -> Result<Downloaded, SourceError> {
    let url = address(nexus, ask)?;
    let checksum = match (&nexus.checksum, &nexus.artifact) {
        (Some(checksum), _) => Some(checksum.clone()),
        (None, Artifact::Maven2 { .. }) => theirs(&url, ask)?,
        // Raw repositories keep no checksum beside a file.
        (None, Artifact::Raw { .. }) => None,
    };
    let say = ask.watch.say;
    if checksum.is_none() {
        say("no checksum was given, and the repository has none: the file is taken as it is");
    }
    let file = ask.file(&url, checksum.as_ref())?;
    say(&format!(
        "downloaded {}, sha256 {}",
        without_secrets(&url),
        file.sha256
    ));
    Ok(file)
}

fn address(nexus: &Nexus, ask: &Ask<'_>) -> Result<String, SourceError> {
    let repository = format!("{}/repository/{}", nexus.url, escaped(&nexus.repository));
    let (group, artifact, version, classifier, extension) = match &nexus.artifact {
        Artifact::Raw { path } => {
            let path: Vec<String> = path.split('/').map(escaped).collect();
            return Ok(format!("{repository}/{}", path.join("/")));
        }
        Artifact::Maven2 {
            group,
            artifact,
            version,
            classifier,
            extension,
        } => (group, artifact, version, classifier.as_deref(), extension),
    };
    let directory = format!(
        "{repository}/{}/{}/{}",
        group.split('.').map(escaped).collect::<Vec<_>>().join("/"),
        escaped(artifact),
        escaped(version)
    );
    let exact = if version.ends_with(SNAPSHOT) {
        let url = format!("{directory}/{METADATA}");
        let found = ask.text(&url)?;
        let found = found.and_then(|xml| snapshot(&xml, classifier, extension));
        found.ok_or_else(|| SourceError::Download {
            location: without_secrets(&url),
            why: format!("it names no snapshot of {artifact} {version} with extension {extension}"),
        })?
    } else {
        version.clone()
    };
    let classifier = classifier.map_or_else(String::new, |it| format!("-{it}"));
    let name = format!("{artifact}-{exact}{classifier}.{extension}");
    Ok(format!("{directory}/{}", escaped(&name)))
}

/// The checksum that stands beside a file in a Maven repository.
fn theirs(url: &str, ask: &Ask<'_>) -> Result<Option<Checksum>, SourceError> {
    type Kind = fn(String) -> Checksum;
    let kinds: [(&str, usize, Kind); 2] = [
        ("sha256", 64, Checksum::Sha256),
        ("sha1", 40, Checksum::Sha1),
    ];
    for (extension, digits, kind) in kinds {
        let url = format!("{url}.{extension}");
        let Some(text) = ask.text(&url)? else {
            continue;
        };
        // Some tools write the file's name behind it.
        let word = text.split_whitespace().next().unwrap_or_default();
        if word.len() != digits || !word.bytes().all(|it| it.is_ascii_hexdigit()) {
            return Err(SourceError::Download {
                location: without_secrets(&url),
                why: "it holds no checksum".to_owned(),
            });
        }
        return Ok(Some(kind(word.to_ascii_lowercase())));
    }
    Ok(None)
}

/// The version that the newest snapshot has in the names of its files. The few
/// elements that matter are found as text: their values can't hold markup.
fn snapshot(xml: &str, classifier: Option<&str>, extension: &str) -> Option<String> {
    let blocks = xml.split("<snapshotVersion>").skip(1);
    blocks
        .filter_map(|block| block.split_once("</snapshotVersion>"))
        .find(|(block, _)| {
            element(block, "extension") == Some(extension)
                && element(block, "classifier") == classifier
        })
        .and_then(|(block, _)| element(block, "value"))
        .filter(|it| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-+".contains(&b);
            !it.is_empty() && it.len() <= 200 && it.bytes().all(fits)
        })
        .map(str::to_owned)
}

fn element<'a>(block: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = block.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once(&format!("</{name}>"))?;
    Some(value.trim())
}

/// One segment of a path, with everything escaped that isn't plain (RFC 3986).
fn escaped(segment: &str) -> String {
    use std::fmt::Write as _;
    segment.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~+".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a text can't fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const XML: &str = "<metadata><versioning><snapshotVersions>
        <snapshotVersion><classifier>sources</classifier><extension>zip</extension><value>1.0-20260101.000000-2</value></snapshotVersion>
        <snapshotVersion><extension>zip</extension><value> 1.0-20260101.000000-3 </value></snapshotVersion>
        <snapshotVersion><extension>tgz</extension><value>../../x</value></snapshotVersion>
        </snapshotVersions></versioning></metadata>";

    #[test]
    fn the_snapshot_of_the_same_classifier_and_extension_is_taken() {
        for (classifier, extension, expected) in [
            (None, "zip", Some("1.0-20260101.000000-3")),
            (Some("sources"), "zip", Some("1.0-20260101.000000-2")),
            (None, "tgz", None),
            (None, "jar", None),
        ] {
            assert_eq!(snapshot(XML, classifier, extension).as_deref(), expected);
        }
    }

    #[test]
    fn what_stands_in_a_path_is_escaped() {
        assert_eq!(escaped("a b?c#d%e/ü"), "a%20b%3Fc%23d%25e%2F%C3%BC");
    }
}
