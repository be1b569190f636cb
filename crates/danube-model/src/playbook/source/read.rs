//! Reads a source out of a request: every mistake at once, no value repeated.

use serde_json::{Map, Value as Json};

use super::rules::{
    INLINE_BYTES_MAX, STRIP_COMPONENTS_MAX, VARS_BYTES_MAX, is_plain_http, role_name,
    wrong_directory, wrong_hex, wrong_hosts, wrong_path, wrong_repository, wrong_role,
    wrong_server, wrong_url, wrong_word,
};
use super::{Artifact, Checksum, Nexus, Source, SourceKind};
use crate::mistake::Mistake;
use crate::spec::{Fields, Node, Value};

const FORMATS: [(&str, bool); 2] = [("raw", false), ("maven2", true)];

impl Source {
    /// Reads the `source` of a request. `pointer` is where it stands there.
    pub fn read(node: Node, pointer: &str, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let before = mistakes.len();
        let mut fields = Fields::open(node, pointer, mistakes)?;
        let kinds = SourceKind::ALL.map(|it| (it.as_str(), it));
        let Some(kind) = require(&mut fields, "type", |fields, name| {
            fields.take_word(name, &kinds)
        }) else {
            // Which other fields belong here is known only with the type.
            return None;
        };
        let source = match kind {
            SourceKind::Playbook => playbook(&mut fields),
            SourceKind::Role => role(&mut fields),
            SourceKind::Nexus => nexus(&mut fields),
            SourceKind::Archive => archive(&mut fields),
            SourceKind::Inline => inline(&mut fields),
            SourceKind::Local => local(&mut fields),
        };
        fields.end();
        source.filter(|_| mistakes.len() == before)
    }
}

/// Takes a field that must be there; says so once when it isn't.
pub(in crate::playbook) fn require<T>(
    fields: &mut Fields<'_>,
    name: &'static str,
    take: impl FnOnce(&mut Fields<'_>, &'static str) -> Option<T>,
) -> Option<T> {
    let before = fields.mistakes().len();
    let value = take(fields, name);
    if value.is_none() && fields.mistakes().len() == before {
        fields.require(name);
    }
    value
}

pub(in crate::playbook) fn text(
    fields: &mut Fields<'_>,
    name: &'static str,
    wrong: fn(&str) -> Option<&'static str>,
) -> Option<String> {
    require(fields, name, |fields, name| {
        fields.take_checked(name, wrong)
    })
}

fn playbook(fields: &mut Fields<'_>) -> Option<Source> {
    let repo = text(fields, "repo", wrong_repository);
    let git_ref = fields.take_ref("ref");
    let path = text(fields, "path", wrong_path);
    Some(Source::Playbook {
        repo: repo?,
        git_ref,
        path: path?,
    })
}

fn role(fields: &mut Fields<'_>) -> Option<Source> {
    let repo = text(fields, "repo", wrong_repository);
    let git_ref = fields.take_ref("ref");
    let named = fields.take_checked("name", wrong_role);
    let hosts = fields.take_checked("hosts", wrong_hosts);
    let vars = vars(fields).unwrap_or_default();
    let repo = repo?;
    let name = named.unwrap_or_else(|| role_name(&repo));
    if wrong_role(&name).is_some() {
        fields.refuse(
            "name",
            None,
            "is missing, and the repository's name can't be a role's",
        );
        return None;
    }
    Some(Source::Role {
        repo,
        git_ref,
        name,
        hosts: hosts.unwrap_or_else(|| "all".to_owned()),
        vars,
    })
}

fn vars(fields: &mut Fields<'_>) -> Option<Map<String, Json>> {
    let node = fields.take("vars")?;
    let at = node.at;
    let Value::Map(_) = node.value else {
        fields.refuse("vars", at, "must be a map");
        return None;
    };
    let Some(Json::Object(vars)) = json(&node) else {
        let why = "holds a key that is no text or stands twice, or a number that isn't finite";
        fields.refuse("vars", at, why);
        return None;
    };
    if Json::Object(vars.clone()).to_string().len() > VARS_BYTES_MAX {
        let why = format!("is larger than {VARS_BYTES_MAX} bytes");
        fields.refuse("vars", at, &why);
        return None;
    }
    Some(vars)
}

pub(in crate::playbook) fn json(node: &Node) -> Option<Json> {
    node.to_json()
}

fn archive(fields: &mut Fields<'_>) -> Option<Source> {
    let url = text(fields, "url", wrong_url);
    let before = fields.mistakes().len();
    let sha256 = checksum(fields, "sha256", 64);
    let refused = fields.mistakes().len() > before;
    let path = text(fields, "path", wrong_path);
    let strip = strip_components(fields);
    let url = url?;
    if is_plain_http(&url) && sha256.is_none() && !refused {
        fields.refuse("sha256", None, UNCHECKED);
    }
    Some(Source::Archive {
        url,
        sha256,
        path: path?,
        strip_components: strip,
    })
}

const UNCHECKED: &str = "is missing, and must be there for an http:// address, because anybody on the way could change the file";

fn checksum(fields: &mut Fields<'_>, name: &'static str, digits: usize) -> Option<String> {
    let text = fields.take_checked(name, move |text| wrong_hex(text, digits))?;
    Some(text.to_ascii_lowercase())
}

fn strip_components(fields: &mut Fields<'_>) -> u32 {
    let count = fields.take_count("strip_components", STRIP_COMPONENTS_MAX);
    u32::try_from(count.unwrap_or(0)).unwrap_or(0)
}

fn nexus(fields: &mut Fields<'_>) -> Option<Source> {
    let url = text(fields, "url", wrong_server);
    let repository = text(fields, "repository", wrong_word);
    let maven = require(fields, "format", |fields, name| {
        fields.take_word(name, &FORMATS)
    });
    let artifact = match maven {
        Some(true) => maven2(fields),
        Some(false) => text(fields, "artifact", wrong_path).map(|path| Artifact::Raw { path }),
        None => {
            // Their fields aren't unknown, only unread.
            for name in ["artifact", "group", "version", "classifier", "extension"] {
                fields.take(name);
            }
            None
        }
    };
    let before = fields.mistakes().len();
    let (sha256, sha1) = (checksum(fields, "sha256", 64), checksum(fields, "sha1", 40));
    if sha256.is_some() && sha1.is_some() {
        fields.refuse("sha1", None, "stands beside `sha256`; keep the latter");
    }
    let refused = fields.mistakes().len() > before;
    let path = fields.take_checked("path", wrong_path);
    let strip_components = strip_components(fields);
    let (url, artifact) = (url?, artifact?);
    let checksum = sha256
        .map(Checksum::Sha256)
        .or_else(|| sha1.map(Checksum::Sha1));
    if is_plain_http(&url) && checksum.is_none() && !refused {
        fields.refuse("sha256", None, UNCHECKED);
    }
    let nexus = Nexus {
        url: url.trim_end_matches('/').to_owned(),
        repository: repository?,
        artifact,
        checksum,
        path,
        strip_components,
    };
    if nexus.path.is_none() && !nexus.artifact.is_playbook() {
        fields.refuse(
            "path",
            None,
            "is missing: the playbook's path in the archive (only a `.yml` or `.yaml` file is a playbook itself)",
        );
    }
    Some(Source::Nexus(nexus))
}

fn maven2(fields: &mut Fields<'_>) -> Option<Artifact> {
    let group = text(fields, "group", wrong_word);
    let artifact = text(fields, "artifact", wrong_word);
    let version = text(fields, "version", wrong_word);
    let classifier = fields.take_checked("classifier", wrong_word);
    let extension = text(fields, "extension", wrong_word);
    Some(Artifact::Maven2 {
        group: group?,
        artifact: artifact?,
        version: version?,
        classifier,
        extension: extension?,
    })
}

impl Artifact {
    /// Whether the file is a playbook itself, no archive.
    #[must_use]
    pub fn is_playbook(&self) -> bool {
        let name = match self {
            Self::Raw { path } => path.rsplit_once('.').map_or("", |it| it.1),
            Self::Maven2 { extension, .. } => extension,
        };
        matches!(name, "yml" | "yaml")
    }
}

fn inline(fields: &mut Fields<'_>) -> Option<Source> {
    let node = fields.require("playbook")?;
    let Value::Text(playbook) = node.value else {
        fields.refuse("playbook", node.at, "must be text: a playbook in YAML");
        return None;
    };
    if let Some(why) = wrong_playbook(&playbook) {
        fields.refuse("playbook", node.at, &why);
        return None;
    }
    Some(Source::Inline { playbook })
}

/// Why the text can't be a playbook; says where, and never what stands there.
fn wrong_playbook(text: &str) -> Option<String> {
    if text.len() > INLINE_BYTES_MAX {
        return Some(format!(
            "is larger than {INLINE_BYTES_MAX} bytes; put it into a repository"
        ));
    }
    if text.contains('\0') {
        return Some("holds a NUL byte".to_owned());
    }
    let node = match Node::parse(text) {
        Ok(node) => node,
        Err(mistake) => {
            let place = mistake.at.map_or_else(String::new, |at| {
                format!(" (line {}, column {})", at.line, at.column)
            });
            return Some(format!("isn't one YAML document{place}"));
        }
    };
    let Value::List(plays) = node.value else {
        return Some(format!("must be a list of plays, found {}", node.kind()));
    };
    let odd = plays
        .iter()
        .position(|it| !matches!(it.value, Value::Map(_)));
    match odd {
        _ if plays.is_empty() => Some("has no play".to_owned()),
        Some(at) => Some(format!(
            "has something else than a play as number {}",
            at + 1
        )),
        None => None,
    }
}

fn local(fields: &mut Fields<'_>) -> Option<Source> {
    let path = text(fields, "path", wrong_directory);
    let playbook = text(fields, "playbook", wrong_path);
    Some(Source::Local {
        path: path?,
        playbook: playbook?,
    })
}
