//! Counters that several threads move at once, very often: each thread has cells of its
//! own. Two threads that add to one cell, or to neighbours, wait for each other's cache
//! line every time, which costs ten times what the addition does.

use std::cell::Cell as ThreadCell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::cell::{Counter, Sample};
use super::decl::FamilyDecl;
use super::exemplar::now_unix_nanos;
use super::family::{Collect, Context, Family, SeriesRef, check, head};
use super::label::ClosedKey;

/// Threads that have cells of their own; further ones share them.
const STRIPES: usize = 8;

/// Counters of a block: a cache line and its neighbour, which processors fetch with it.
const BLOCK: usize = 16;

/// A family of counters whose labels are all closed. It is read as the sum of its stripes,
/// so there is no handle of one cell.
pub struct Striped<K>(Arc<Stripes>, PhantomData<K>);

struct Stripes {
    decl: &'static FamilyDecl,
    start_unix_nanos: u64,
    /// One a cell.
    heads: Box<[Box<str>]>,
    /// Those of a stripe lie together.
    blocks: Box<[Block]>,
    blocks_of_stripe: usize,
}

#[derive(Default)]
#[repr(align(128))]
struct Block([AtomicU64; BLOCK]);

impl Stripes {
    fn cell(&self, stripe: usize, cell: usize) -> &AtomicU64 {
        &self.blocks[stripe * self.blocks_of_stripe + cell / BLOCK].0[cell % BLOCK]
    }

    fn sum(&self, cell: usize) -> u64 {
        let all = (0..STRIPES).map(|it| self.cell(it, cell).load(Relaxed));
        all.fold(0, u64::wrapping_add)
    }
}

impl<K> Clone for Striped<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), PhantomData)
    }
}

impl<K: ClosedKey> Striped<K> {
    /// Adds one.
    pub fn inc(&self, key: K) {
        self.add(key, 1);
    }

    /// Adds `n`.
    pub fn add(&self, key: K, n: u64) {
        self.0.cell(stripe(), key.cell()).fetch_add(n, Relaxed);
    }

    /// Reads it: what all threads added.
    pub fn get(&self, key: K) -> u64 {
        self.0.sum(key.cell())
    }
}

impl<K: ClosedKey> Family for Striped<K> {
    fn new(decl: &'static FamilyDecl, _: &Context) -> Self {
        check::<K, Counter>(decl, 0);
        let blocks_of_stripe = K::CELLS.div_ceil(BLOCK);
        let blocks = (0..STRIPES * blocks_of_stripe).map(|_| Block::default());
        let stripes = Stripes {
            decl,
            start_unix_nanos: now_unix_nanos(),
            heads: (0..K::CELLS).map(|cell| head(decl, &[], cell)).collect(),
            blocks: blocks.collect(),
            blocks_of_stripe,
        };
        Self(Arc::new(stripes), PhantomData)
    }

    fn collect(&self) -> Arc<dyn Collect> {
        Arc::clone(&self.0) as Arc<dyn Collect>
    }
}

impl Collect for Stripes {
    fn decl(&self) -> &'static FamilyDecl {
        self.decl
    }

    fn visit(&self, each: &mut dyn FnMut(SeriesRef<'_>)) {
        for (cell, head) in self.heads.iter().enumerate() {
            let sample = Sample::Counter(self.sum(cell));
            each(SeriesRef::new(head, self.start_unix_nanos, sample));
        }
    }
}

/// The stripe of this thread: threads take turns, so that the first ones have each their
/// own.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: ThreadCell<usize> = const { ThreadCell::new(STRIPES) };
    }
    OWN.with(|own| {
        if own.get() == STRIPES {
            own.set(NEXT.fetch_add(1, Relaxed) % STRIPES);
        }
        own.get()
    })
}
