//! What lies in the registry: its images, how large they are, which had their time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use danube_model::Timestamp;
use danube_store::ImageName;

use super::api::{Api, Part};

/// Repositories of a registry that is looked at.
const REPOSITORIES_MAX: usize = 10_000;

/// Images, likewise: each costs a call.
const IMAGES_MAX: usize = 50_000;

/// How long a look may take.
const LOOK_DEADLINE: Duration = Duration::from_secs(600);

/// An image and all of its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) name: ImageName,
    /// By name.
    pub(crate) tags: Vec<String>,
    /// Of all that it consists of, what it shares with others included.
    pub(crate) bytes: u64,
    /// When it was last pushed or pulled, or first seen.
    pub(crate) last_used_at: Timestamp,
}

/// What was seen at one time.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) at: Timestamp,
    /// By name and digest.
    pub(crate) images: Vec<Image>,
    /// Of all of them; what they share counts once.
    pub(crate) bytes: u64,
}

/// What manifests consist of, by digest: they never change.
#[derive(Default)]
pub(super) struct Known(HashMap<String, Vec<Part>>);

impl Known {
    /// Asks the registry for everything. Times of use are those of now, until the store has
    /// said better. Blocks for [`LOOK_DEADLINE`] at most.
    pub(super) fn look(&mut self, api: &Api) -> Result<Look, String> {
        let api = &api.clone().within(LOOK_DEADLINE);
        let at = Timestamp::now();
        let mut parts: HashMap<String, u64> = HashMap::new();
        let mut images = Vec::new();
        for repository in api.repositories(REPOSITORIES_MAX)? {
            for (digest, tags) in tagged(api, &repository)? {
                if images.len() == IMAGES_MAX {
                    return Err(format!("the registry has more than {IMAGES_MAX} images"));
                }
                let Some(own) = self.parts(api, &repository, &digest)? else {
                    continue;
                };
                let name = ImageName {
                    repository: repository.clone(),
                    digest,
                };
                images.push(Image {
                    name,
                    tags,
                    bytes: own.iter().map(|it| it.size).sum(),
                    last_used_at: at,
                });
                parts.extend(own.into_iter().map(|it| (it.digest, it.size)));
            }
        }
        let there: HashSet<&str> = images.iter().map(|it| it.name.digest.as_str()).collect();
        self.0.retain(|digest, _| there.contains(digest.as_str()));
        Ok(Look {
            at,
            images,
            bytes: parts.values().sum(),
        })
    }

    /// What an image consists of; an index of all that its images do. None when it has gone.
    fn parts(
        &mut self,
        api: &Api,
        repository: &str,
        digest: &str,
    ) -> Result<Option<Vec<Part>>, String> {
        if let Some(known) = self.0.get(digest) {
            return Ok(Some(known.clone()));
        }
        let Some(manifest) = api.manifest(repository, digest)? else {
            return Ok(None);
        };
        let mut parts: Vec<Part> = manifest.config.into_iter().chain(manifest.layers).collect();
        for below in manifest.manifests {
            // An index of indexes would be strange; its parts aren't counted.
            if super::names::is_digest(&below.digest)
                && let Some(image) = api.manifest(repository, &below.digest)?
            {
                parts.extend(image.config.into_iter().chain(image.layers));
            }
            parts.push(below);
        }
        parts.sort_by(|a, b| a.digest.cmp(&b.digest));
        parts.dedup_by(|a, b| a.digest == b.digest);
        self.0.insert(digest.to_owned(), parts.clone());
        Ok(Some(parts))
    }
}

/// The images of a repository with their tags.
fn tagged(api: &Api, repository: &str) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut images: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for tag in api.tags(repository)? {
        if let Some(digest) = api.digest(repository, &tag)? {
            images.entry(digest).or_default().push(tag);
        }
    }
    images.values_mut().for_each(|it| it.sort());
    Ok(images)
}

/// The images that weren't used since.
pub(crate) fn expired(images: &[Image], before: Timestamp) -> impl Iterator<Item = &Image> {
    images.iter().filter(move |it| it.last_used_at < before)
}
