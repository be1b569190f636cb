//! The Docker registry that images of jobs lie in: somebody else's, at `registry.url`, or one
//! that the server starts (`started.rs`).
//!
//! `api.rs` calls it; `images.rs` looks at all that lies in it; `notifications.rs` counts what
//! it tells of itself, which it proves by the token of `token.rs`.

mod api;
mod images;
mod names;
mod notifications;
mod started;
mod token;

pub(crate) use api::Api;
pub(crate) use images::{Image, Look, expired};
pub(crate) use notifications::Envelope;
pub(crate) use started::Started;

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use danube_model::Timestamp;
use danube_signals::Signals;
use danube_store::ImageName;

use crate::app::{Shared, blocking};
use crate::health::usage;
use crate::settings::{RegistryAddress, RegistrySettings};
use images::Known;
use notifications::Seen;
use token::Token;

/// Images that were used since the last look began: as many are remembered, and past that
/// none is deleted until the next.
const USED_MAX: usize = 10_000;

/// How long deleting may take: what is left goes with the next look.
const DELETE_DEADLINE: Duration = Duration::from_secs(600);

/// Keeps bytes out of the server's log.
type Mask<'a> = &'a dyn Fn(&[u8]);

/// How long a registry that was just started may take until it answers.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// How often it is asked meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The registry, as far as there is one.
pub(crate) struct Registry {
    settings: RegistrySettings,
    /// None where there is no registry: then nobody may tell anything.
    token: Option<Token>,
    /// The one that the server looks after itself.
    started: Option<Started>,
    seen: Mutex<Seen>,
    known: Mutex<Known>,
    last: Mutex<Last>,
    /// Since the last look began.
    used: Mutex<HashSet<ImageName>>,
}

/// What the last look came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Last {
    /// What was seen, by the last look that saw everything.
    pub(crate) look: Option<Arc<Look>>,
    /// What went wrong since.
    pub(crate) error: Option<String>,
}

impl Registry {
    /// Makes its token, if there is a registry and no token yet, which `mask` keeps out of the
    /// log; and starts the registry, if the server is to. That one tells us things at `told`.
    pub(crate) fn open(
        settings: &RegistrySettings,
        dir: &Path,
        (told, mask): (&str, Mask<'_>),
        signals: &Signals,
    ) -> io::Result<Self> {
        let mut all = Self {
            settings: settings.clone(),
            token: None,
            started: None,
            seen: Mutex::default(),
            known: Mutex::default(),
            last: Mutex::default(),
            used: Mutex::default(),
        };
        if settings.url.is_none() {
            return Ok(all);
        }
        let (token, text) = Token::of(dir, mask)?;
        all.token = Some(token);
        if let Some(start) = &settings.start {
            all.started = Some(Started::new(start, dir, (told, &text), signals)?);
        }
        Ok(all)
    }

    /// How it is called now; none where none is configured.
    pub(crate) fn api(&self) -> Option<Api> {
        self.settings.url.as_ref().map(Api::new)
    }

    /// Whether this is the registry's own token.
    pub(crate) fn knows(&self, token: &str) -> bool {
        self.token.as_ref().is_some_and(|it| it.is(token))
    }

    /// Counts what the registry tells; the images that were used.
    pub(crate) fn told(&self, envelope: &Envelope, signals: &Signals) -> Vec<ImageName> {
        let used = lock(&self.seen).count(envelope, signals);
        let mut all = lock(&self.used);
        for image in used.iter().take(USED_MAX.saturating_sub(all.len())) {
            all.insert(image.clone());
        }
        used
    }

    /// The one that the server looks after itself.
    pub(crate) fn started(&self) -> Option<&Started> {
        self.started.as_ref()
    }

    /// Ends the one that the server started.
    pub(crate) fn stop(&self) {
        if let Some(started) = &self.started {
            started.stop();
        }
    }

    /// Days that an image is kept which nobody pushes or pulls; none for ever.
    pub(crate) fn days(&self) -> Option<u32> {
        self.settings.images_days
    }

    /// Where it is, without a login; none where none is configured.
    pub(crate) fn url(&self) -> Option<&str> {
        Some(self.settings.url.as_ref()?.url.as_str())
    }

    /// What the last look came to.
    pub(crate) fn last(&self) -> Last {
        lock(&self.last).clone()
    }

    /// Whether it answers. One that was just started has a moment for it. Blocks.
    fn until_there(&self, api: &Api) -> Result<(), String> {
        let patience = match self.started {
            Some(_) => START_PATIENCE,
            None => Duration::ZERO,
        };
        let until = Instant::now() + patience;
        loop {
            match api.answers() {
                Err(_) if Instant::now() < until => thread::sleep(LOOK_EVERY),
                answered => return answered,
            }
        }
    }

    /// Notes what went wrong, until the next look goes well.
    pub(crate) fn failed(&self, why: String) {
        lock(&self.last).error = Some(why);
    }

    /// Deletes images, but those that were used since the last look began; how many are gone by
    /// this. It ends with the first that isn't deleted: the next would hear the same. Blocks for
    /// [`DELETE_DEADLINE`] at most.
    pub(crate) fn delete(&self, images: &[ImageName]) -> u64 {
        let Some(api) = self.api().map(|it| it.within(DELETE_DEADLINE)) else {
            return 0;
        };
        let mut gone = 0;
        for image in images {
            let is_used = {
                let used = lock(&self.used);
                used.contains(image) || used.len() >= USED_MAX
            };
            if is_used {
                continue;
            }
            match api.delete(&image.repository, &image.digest) {
                Ok(was_there) => gone += u64::from(was_there),
                Err(why) => {
                    self.failed(why);
                    break;
                }
            }
        }
        gone
    }
}

/// Looks at everything in the registry, and remembers what it saw; none where no registry is
/// configured.
///
/// # Errors
/// What is wrong, for people; it is remembered as well.
pub(crate) async fn look(app: &Shared) -> Option<Result<Arc<Look>, String>> {
    let api = app.registry.api()?;
    let (own, asked) = (app.clone(), api.clone());
    // That it is away, its health check says, and when it is back.
    let there = blocking(move || own.registry.until_there(&asked)).await;
    if let Err(why) = there.map_err(|problem| problem.to_string()).flatten() {
        return Some(Err(why));
    }
    let looked = look_now(app, api.clone()).await;
    if let Err(why) = &looked {
        // What went wrong because it went away is over once it is back.
        let answers = blocking(move || api.answers()).await;
        if answers.is_ok_and(|it| it.is_ok()) {
            app.registry.failed(why.clone());
        }
    }
    Some(looked)
}

async fn look_now(app: &Shared, api: Api) -> Result<Arc<Look>, String> {
    let own = app.clone();
    let looked = blocking(move || {
        let mut known = lock(&own.registry.known);
        lock(&own.registry.used).clear();
        known.look(&api)
    });
    let mut look = looked.await.map_err(|problem| problem.to_string())??;
    let names = look.images.iter().map(|it| it.name.clone()).collect();
    let used = app.store.images_seen(names).await;
    let used: Vec<Timestamp> = used.map_err(|error| error.to_string())?;
    for (image, at) in look.images.iter_mut().zip(used) {
        image.last_used_at = at;
    }
    app.signals.registry_storage_bytes.set_u64(look.bytes);
    let own = app.clone();
    let _ = blocking(move || usage::registry(&own)).await;
    let look = Arc::new(look);
    *lock(&app.registry.last) = Last {
        look: Some(Arc::clone(&look)),
        error: None,
    };
    Ok(look)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole after every line that changes one of them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks a registry whether it is one; may take five seconds.
///
/// # Errors
/// What is wrong, for people.
pub fn ask_registry(address: &RegistryAddress) -> Result<(), String> {
    Api::new(address).answers()
}
