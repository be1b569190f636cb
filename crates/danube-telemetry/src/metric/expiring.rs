//! Families with a label that takes ids: a series is removed some time after its owner
//! is done, so that ids don't pile up.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::cell::Cell;
use super::decl::FamilyDecl;
use super::exemplar::now_unix_nanos;
use super::family::{Collect, Context, Family, SeriesRef, SeriesRoom, check, head};
use super::label::{OTHER, cut};
use super::registry::Clock;

/// How long an expiring series stays after its owner is done: a scrape or two at
/// any usual interval sees its last value.
pub const EXPIRES_AFTER: Duration = Duration::from_secs(5 * 60);

struct Entry<C> {
    head: Arc<str>,
    cell: Arc<C>,
    start_unix_nanos: u64,
    owners: usize,
    done_at: Option<Instant>,
    /// It took room of the process; the one that stands for all others didn't ask.
    took_room: bool,
}

struct ExpiringInner<C> {
    decl: &'static FamilyDecl,
    series_max: usize,
    room: SeriesRoom,
    clock: Clock,
    entries: Mutex<BTreeMap<Box<str>, Entry<C>>>,
    overflow: AtomicU64,
}

/// A family with one label that takes ids: a series lives as long as its handles
/// and [`EXPIRES_AFTER`] longer.
pub struct Expiring<C>(Arc<ExpiringInner<C>>);

impl<C> Clone for Expiring<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Cell> Expiring<C> {
    /// The cell of `id`. An id that is opened again before it expired goes on where
    /// it was. When the family is full of ids in use, the cell is that of `__other__`.
    pub fn open(&self, id: &str) -> ExpiringHandle<C> {
        let inner = &self.0;
        let mut id = cut(id);
        let mut entries = inner.lock();
        inner.expire(&mut entries);
        let mut took_room = false;
        if !entries.contains_key(id) {
            took_room = inner.make_room(&mut entries);
            if !took_room {
                inner.overflow.fetch_add(1, Relaxed);
                id = OTHER;
            }
        }
        let entry = entries.entry(id.into()).or_insert_with(|| Entry {
            head: head(inner.decl, &[id], 0).into(),
            cell: Arc::new(C::new(inner.decl)),
            start_unix_nanos: now_unix_nanos(),
            owners: 0,
            done_at: None,
            took_room,
        });
        entry.owners += 1;
        entry.done_at = None;
        let cell = Arc::clone(&entry.cell);
        ExpiringHandle {
            family: Arc::clone(inner),
            id: id.into(),
            cell,
        }
    }
}

impl<C> ExpiringInner<C> {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Entry<C>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expire(&self, entries: &mut BTreeMap<Box<str>, Entry<C>>) {
        let now = (self.clock)();
        let mut freed = 0;
        entries.retain(|_, entry| {
            let stays = entry.done_at.is_none_or(|done| done + EXPIRES_AFTER > now);
            freed += usize::from(!stays && entry.took_room);
            stays
        });
        self.room.give(freed);
    }

    /// Takes room for one more, where need be that of the one whose owner has been done
    /// the longest.
    fn make_room(&self, entries: &mut BTreeMap<Box<str>, Entry<C>>) -> bool {
        if entries.len() < self.series_max && self.room.take(1) {
            return true;
        }
        let oldest = entries
            .iter()
            .filter(|(_, entry)| entry.took_room)
            .filter_map(|(id, entry)| entry.done_at.map(|at| (at, id)))
            .min()
            .map(|(_, id)| id.clone());
        oldest.is_some_and(|id| entries.remove(&id).is_some())
    }
}

impl<C: Cell> Collect for ExpiringInner<C> {
    fn decl(&self) -> &'static FamilyDecl {
        self.decl
    }
    fn visit(&self, each: &mut dyn FnMut(SeriesRef<'_>)) {
        let series: Vec<_> = {
            let mut entries = self.lock();
            self.expire(&mut entries);
            entries
                .values()
                .map(|entry| {
                    let cell = Arc::clone(&entry.cell);
                    (Arc::clone(&entry.head), entry.start_unix_nanos, cell)
                })
                .collect()
        };
        for (head, start_unix_nanos, cell) in &series {
            if let Some(sample) = cell.sample() {
                each(SeriesRef::new(head, *start_unix_nanos, sample));
            }
        }
    }
    fn overflowed(&self) -> Option<u64> {
        Some(self.overflow.load(Relaxed))
    }
}

impl<C: Cell> Family for Expiring<C> {
    fn new(decl: &'static FamilyDecl, context: &Context) -> Self {
        check::<(), C>(decl, 1);
        let inner = ExpiringInner {
            decl,
            series_max: context.series_max.unwrap_or(decl.series_max),
            room: context.room.clone(),
            clock: Arc::clone(&context.clock),
            entries: Mutex::default(),
            overflow: AtomicU64::new(0),
        };
        Self(Arc::new(inner))
    }
    fn collect(&self) -> Arc<dyn Collect> {
        Arc::clone(&self.0) as Arc<dyn Collect>
    }
}

/// An owner of an expiring series; dropping the last one starts its time to go.
pub struct ExpiringHandle<C> {
    family: Arc<ExpiringInner<C>>,
    id: Box<str>,
    cell: Arc<C>,
}

impl<C> Deref for ExpiringHandle<C> {
    type Target = C;
    fn deref(&self) -> &C {
        &self.cell
    }
}

impl<C> Drop for ExpiringHandle<C> {
    fn drop(&mut self) {
        let now = (self.family.clock)();
        if let Some(entry) = self.family.lock().get_mut(&self.id) {
            entry.owners -= 1;
            if entry.owners == 0 {
                entry.done_at = Some(now);
            }
        }
    }
}
