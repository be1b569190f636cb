//! Images of the registry that nobody pushed or pulled for long enough.
//!
//! When an image was used, the registry's notifications say; one of which none came counts as
//! used when it was first seen. The registry is looked at first, so what it doesn't answer
//! deletes nothing.

use std::time::Duration;

use danube_model::Timestamp;
use danube_store::ImageName;

use super::Reaped;
use crate::app::{Shared, blocking};
use crate::registry::{self, Look, Started, expired};

/// The images of this look that had their time.
fn old(app: &Shared, look: &Look) -> Vec<ImageName> {
    let Some(days) = app.registry.days() else {
        return Vec::new();
    };
    let kept = Duration::from_secs(24 * 3_600) * days;
    let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
    let before = Timestamp::from_millis(look.at.as_millis().saturating_sub(kept));
    let old = expired(&look.images, before);
    old.map(|it| it.name.clone()).collect()
}

/// What would go now.
pub(super) async fn due(app: &Shared) -> Reaped {
    let images = match registry::look(app).await {
        Some(Ok(look)) => old(app, &look).len(),
        Some(Err(_)) | None => 0,
    };
    Reaped {
        images: images as u64,
        ..Reaped::default()
    }
}

/// Looks at the registry, for its size, and deletes from it what had its time. Somebody else's
/// frees its disk itself; ours is stopped for it.
pub(super) async fn delete(app: &Shared) -> Reaped {
    // What goes wrong is shown with the registry's images, and by its health check.
    let Some(Ok(look)) = registry::look(app).await else {
        return Reaped::default();
    };
    let old = old(app, &look);
    if old.is_empty() {
        return Reaped::default();
    }
    let own = app.clone();
    let images = blocking(move || own.registry.delete(&old)).await;
    let images = images.unwrap_or_default();
    if images == 0 {
        return Reaped::default();
    }
    // Until it answers again, which the next look waits for.
    let _paused = app.registry.started().map(Started::pause);
    let own = app.clone();
    let collected = blocking(move || own.registry.started().map(collect)).await;
    let _ = registry::look(app).await;
    let bytes_freed = match collected.ok().flatten() {
        Some(Ok(bytes)) => bytes,
        Some(Err(why)) => {
            app.registry.failed(why);
            0
        }
        None => 0,
    };
    Reaped {
        images,
        bytes_freed,
        ..Reaped::default()
    }
}

/// Has our own registry delete what no image names any more; the bytes that are free again.
fn collect(registry: &Started) -> Result<u64, String> {
    let before = registry.usage_bytes().unwrap_or_default();
    // What isn't collected now is by the next that deletes something.
    registry.collect()?;
    Ok(before.saturating_sub(registry.usage_bytes().unwrap_or(before)))
}

/// Only measures.
pub(super) async fn measure(app: &Shared) {
    let _ = registry::look(app).await;
}
