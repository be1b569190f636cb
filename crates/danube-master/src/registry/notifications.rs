//! What a registry tells of itself: which images were pushed and pulled.

use std::collections::VecDeque;

use danube_signals::Signals;
use danube_store::ImageName;
use serde::Deserialize;

use super::api::USER_AGENT;
use super::names::{is_digest, is_image_name};

/// Notifications whose ids are remembered: a registry repeats what it has no answer to.
const REMEMBERED_MAX: usize = 1_024;

/// Bytes of an id: a UUID has 36.
const ID_BYTES_MAX: usize = 64;

/// The body of a notification; what else is in it is nobody's business here.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope {
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(default)]
    id: String,
    action: String,
    #[serde(default)]
    target: Target,
    #[serde(default)]
    request: Asked,
}

#[derive(Debug, Default, Deserialize)]
struct Target {
    #[serde(default, rename = "mediaType")]
    media_type: String,
    #[serde(default)]
    repository: String,
    #[serde(default)]
    digest: String,
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    #[serde(default)]
    method: String,
    #[serde(default)]
    useragent: String,
}

/// What happened to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    Pushed,
    Pulled,
}

impl Event {
    /// What it says of an image; none of its layers, of a look, ours too, or of something else.
    fn moved(&self) -> Option<(Moved, &str)> {
        let kind = &self.target.media_type;
        let is_image = kind.contains(".manifest.") || kind.contains(".image.index.");
        let is_look = self.request.method == "HEAD" || self.request.useragent == USER_AGENT;
        if !is_image || is_look || !is_image_name(&self.target.repository) {
            return None;
        }
        let moved = match self.action.as_str() {
            "push" => Moved::Pushed,
            "pull" => Moved::Pulled,
            _ => return None,
        };
        Some((moved, &self.target.repository))
    }
}

/// The ids of the last notifications.
#[derive(Default)]
pub(super) struct Seen(VecDeque<String>);

impl Seen {
    /// Whether it is new. One without an id always is.
    fn is_new(&mut self, id: &str) -> bool {
        if id.is_empty() || id.len() > ID_BYTES_MAX {
            return true;
        }
        if self.0.iter().any(|it| it == id) {
            return false;
        }
        if self.0.len() >= REMEMBERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(id.to_owned());
        true
    }

    /// Counts what is told, once; the images that were used.
    pub(super) fn count(&mut self, told: &Envelope, signals: &Signals) -> Vec<ImageName> {
        let mut used = Vec::new();
        for event in &told.events {
            let Some((moved, image)) = event.moved() else {
                continue;
            };
            if !self.is_new(&event.id) {
                continue;
            }
            let family = match moved {
                Moved::Pushed => &signals.registry_pushes_total,
                Moved::Pulled => &signals.registry_pulls_total,
            };
            family.with([image]).inc();
            if is_digest(&event.target.digest) {
                used.push(ImageName {
                    repository: image.to_owned(),
                    digest: event.target.digest.clone(),
                });
            }
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use danube_signals::{BuildInfo, Limits};
    use serde_json::{Value, json};

    use super::*;

    const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

    fn event(id: &str, action: &str, media: &str, method: &str) -> Value {
        json!({"id": id, "action": action, "request": {"method": method},
            "target": {"mediaType": media, "repository": "a/b", "tag": "v1"}})
    }

    #[test]
    fn an_image_counts_once_and_neither_its_layers_nor_a_look_at_it_do() {
        let signals = Signals::new(BuildInfo::default(), Limits::default());
        let told = json!({"events": [
            event("1", "push", MANIFEST, "PUT"),
            event("1", "push", MANIFEST, "PUT"),
            event("2", "push", "application/octet-stream", "PUT"),
            event("3", "pull", MANIFEST, "HEAD"),
            event("4", "delete", MANIFEST, "DELETE"),
            event("5", "pull", "application/vnd.oci.image.index.v1+json", "GET"),
            {"action": "pull", "target": {"mediaType": MANIFEST, "repository": "a\nb"}},
        ]});
        let told: Envelope = serde_json::from_value(told).unwrap();
        let mut seen = Seen::default();
        seen.count(&told, &signals);
        // The registry says it again when it has heard no answer.
        seen.count(&told, &signals);
        let value = |name: &str| {
            let sample = format!("danube_registry_{name}_total{{image=\"a/b\"}}");
            signals.registry().value(&sample)
        };
        assert_eq!((value("pushes"), value("pulls")), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn no_more_ids_are_remembered_than_there_is_room_for() {
        let mut seen = Seen::default();
        for id in 0..2 * REMEMBERED_MAX {
            assert!(seen.is_new(&id.to_string()));
        }
        assert_eq!(seen.0.len(), REMEMBERED_MAX);
        assert!(seen.is_new(&"x".repeat(ID_BYTES_MAX + 1)));
        assert_eq!(seen.0.len(), REMEMBERED_MAX);
    }
}
