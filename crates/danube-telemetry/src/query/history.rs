//! The last day of the series that panels and alerts ask for, in memory.
//!
//! All series are sampled at the same ticks, so that times are kept once. Ticks make
//! blocks; whole blocks go when they are too old, or when there is too much of it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::column::Column;
use super::expr::{Part, Selector, TARGET, TARGET_LABEL};
use crate::metric::{Collect, FamilyDecl, Registry, Sample, SeriesRef, pairs};

/// How often it is sampled: as often as Prometheus is told to scrape.
pub const TICK: Duration = Duration::from_secs(15);

/// How long it is kept.
pub const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// Series at once. A server of a thousand pipelines and a thousand routes has some
/// 15,000; what comes after is counted and left out.
pub const SERIES_MAX: usize = 20_000;

/// Bytes in all. A day of 1,000 series takes 3 MiB when they stand still and some 10 when a fifth
/// of them always moves; where there are too many, the oldest half hour goes first and
/// the day becomes shorter.
pub const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Ticks of a block: half an hour, so that little goes at once and little is packed
/// afresh.
const BLOCK_TICKS: usize = 120;

/// Sorted pairs of label names and values.
pub type Labels = Vec<(String, String)>;

/// What may be kept.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How long.
    pub kept: Duration,
    /// How many series.
    pub series: usize,
    /// How many bytes.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            kept: KEPT,
            series: SERIES_MAX,
            bytes: BYTES_MAX,
        }
    }
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Series that are kept.
    pub series: usize,
    /// Their bytes in memory.
    pub bytes: usize,
    /// Ticks that are kept.
    pub ticks: usize,
    /// Samples that were left out because there were too many series.
    pub left_out: u64,
}

/// One sample: when (Unix milliseconds), and what; `None` where the series was gone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Unix milliseconds.
    pub at: i64,
    /// The value.
    pub value: Option<f64>,
}

/// Where samples come from.
pub trait Source {
    /// Shows each chosen series that has a sample from `from` to `to` (Unix
    /// milliseconds, both included), with its labels and its samples in order.
    fn each_series(
        &self,
        of: &Selector,
        from: i64,
        to: i64,
        each: &mut dyn FnMut(&Labels, &[Point]),
    );
}

/// The history. Sampled by one, read by many.
pub struct History {
    bounds: Bounds,
    wanted: Vec<Wanted>,
    ring: RwLock<Ring>,
}

/// A kind of series that is asked for, with all selectors that ask for it.
struct Wanted {
    family: &'static FamilyDecl,
    part: Part,
    selectors: Vec<Selector>,
}

#[derive(Default)]
struct Ring {
    blocks: VecDeque<Block>,
    /// Ids of the known series, by kind and rendered labels.
    ids: HashMap<(usize, Box<str>), u32>,
    known: BTreeMap<u32, Known>,
    next_id: u32,
    left_out: u64,
}

/// A series that is in at least one block.
struct Known {
    kind: usize,
    rendered: Box<str>,
    labels: Labels,
    blocks: usize,
}

#[derive(Default)]
struct Block {
    times: Vec<i64>,
    /// Sorted by the id of the series.
    columns: Vec<(u32, Column)>,
    /// Of a block that is closed.
    bytes: usize,
}

impl History {
    /// An empty history of what these selectors ask for.
    pub fn new<'a>(asked: impl IntoIterator<Item = &'a Selector>, bounds: Bounds) -> Self {
        let mut wanted: Vec<Wanted> = Vec::new();
        for selector in asked {
            let (family, part) = (selector.family, selector.part);
            let known = wanted
                .iter_mut()
                .find(|it| it.family.name() == family.name() && it.part == part);
            match known {
                Some(known) => known.selectors.push(selector.clone()),
                None => wanted.push(Wanted {
                    family,
                    part,
                    selectors: vec![selector.clone()],
                }),
            }
        }
        Self {
            bounds,
            wanted,
            ring: RwLock::default(),
        }
    }

    /// Takes a sample of everything that is wanted, at `now` (Unix milliseconds). A time
    /// that isn't after the last one is left out; where it lies more than a [`TICK`]
    /// before it, the clock was set back, and what lies ahead is dropped instead.
    pub fn sample(&self, registry: &Registry, now: i64) {
        let mut taken = Vec::new();
        registry.collect(&mut |family| self.take(family, &mut taken));
        self.put(now, taken);
    }

    /// Puts samples of one time, as if they had been scraped. Rendered labels include
    /// the target's.
    pub fn insert(&self, now: i64, samples: &[(&Selector, String, f64)]) {
        let kind = |of: &Selector| {
            self.wanted
                .iter()
                .position(|it| it.family.name() == of.family.name() && it.part == of.part)
        };
        let taken = samples
            .iter()
            .filter_map(|(of, labels, value)| Some((kind(of)?, labels.as_str().into(), *value)));
        self.put(now, taken.collect());
    }

    /// How much there is.
    pub fn held(&self) -> Held {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        Held {
            series: ring.known.len(),
            bytes: ring.bytes(),
            ticks: ring.blocks.iter().map(|it| it.times.len()).sum(),
            left_out: ring.left_out,
        }
    }

    /// Times of the oldest and the latest tick, Unix milliseconds.
    pub fn reach(&self) -> Option<(i64, i64)> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let oldest = ring.blocks.front()?.times.first()?;
        let latest = ring.blocks.back()?.times.last()?;
        Some((*oldest, *latest))
    }

    fn take(&self, family: &dyn Collect, taken: &mut Vec<(usize, Box<str>, f64)>) {
        let name = family.decl().name();
        let kinds: Vec<_> = self
            .wanted
            .iter()
            .enumerate()
            .filter(|(_, it)| it.family.name() == name)
            .map(|(kind, it)| (kind, it.part))
            .collect();
        if kinds.is_empty() {
            return;
        }
        family.visit(&mut |series| {
            for (kind, part) in &kinds {
                values(&series, *part, &mut |labels, value| {
                    taken.push((*kind, labels, value));
                });
            }
        });
    }

    fn put(&self, now: i64, taken: Vec<(usize, Box<str>, f64)>) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        let latest = ring.blocks.back().and_then(|it| it.times.last());
        if let Some(latest) = latest.filter(|it| **it >= now) {
            let tick = i64::try_from(TICK.as_millis()).unwrap_or(i64::MAX);
            if latest.saturating_sub(now) <= tick {
                return;
            }
            // Nothing would be seen for as long as the step is.
            ring.forget_from(now);
        }
        let mut values: BTreeMap<u32, f64> = BTreeMap::new();
        for (kind, rendered, value) in taken {
            if let Some(id) = ring.id(&self.wanted[kind], kind, rendered, self.bounds.series) {
                values.insert(id, value);
            }
        }
        ring.tick(now, &values);
        ring.shed(now, self.bounds);
    }
}

/// The label that a scrape adds, rendered.
fn own_label() -> String {
    format!("{TARGET_LABEL}=\"{TARGET}\"")
}

/// The values of one part of a series, each with its rendered labels.
#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus keeps every value as a double, too"
)]
fn values(series: &SeriesRef<'_>, part: Part, each: &mut dyn FnMut(Box<str>, f64)) {
    let mut labels = own_label();
    if !series.labels.is_empty() {
        labels.push(',');
        labels.push_str(series.labels);
    }
    let value = match (&series.sample, part) {
        (Sample::Counter(value), Part::Value) => *value as f64,
        (Sample::Gauge(value), Part::Value) => *value as f64,
        (Sample::FloatCounter(value) | Sample::FloatGauge(value), Part::Value) => *value,
        (Sample::Histogram(it), Part::Sum) => it.sum,
        (Sample::Histogram(it), Part::Count) => {
            it.cumulative.last().copied().unwrap_or_default() as f64
        }
        (Sample::Histogram(it), Part::Bucket) => {
            let bounds = it.bounds.iter().copied().chain([f64::INFINITY]);
            for (bound, count) in bounds.zip(it.cumulative.iter()) {
                let le = if bound.is_finite() {
                    bound.to_string()
                } else {
                    "+Inf".to_owned()
                };
                each(format!("{labels},le=\"{le}\"").into(), *count as f64);
            }
            return;
        }
        _ => return,
    };
    each(labels.into(), value);
}

impl Ring {
    /// Id of a series, new if need be; `None` when nobody asks for it or there are too
    /// many.
    fn id(
        &mut self,
        wanted: &Wanted,
        kind: usize,
        rendered: Box<str>,
        series_max: usize,
    ) -> Option<u32> {
        let key = (kind, rendered);
        if let Some(id) = self.ids.get(&key) {
            return Some(*id);
        }
        let mut labels: Labels = pairs(&key.1)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        labels.sort();
        if !wanted.selectors.iter().any(|it| chooses(it, &labels)) {
            return None;
        }
        if self.known.len() >= series_max {
            self.left_out += 1;
            return None;
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let known = Known {
            kind,
            rendered: key.1.clone(),
            labels,
            blocks: 0,
        };
        self.known.insert(id, known);
        self.ids.insert(key, id);
        Some(id)
    }

    fn tick(&mut self, now: i64, values: &BTreeMap<u32, f64>) {
        if self
            .blocks
            .back()
            .is_none_or(|it| it.times.len() >= BLOCK_TICKS)
        {
            self.begin_block();
        }
        let gone = self.gone_before(values);
        let block = self.blocks.back_mut().expect("a block was begun");
        let tick = u16::try_from(block.times.len()).expect("a block has few ticks");
        block.times.push(now);
        for (id, column) in &mut block.columns {
            column.push(values.get(id).copied());
        }
        let gone = gone.into_iter().map(|id| (id, None));
        let new = values.iter().map(|(id, value)| (*id, Some(*value)));
        for (id, value) in new.chain(gone) {
            let Err(at) = block.columns.binary_search_by_key(&id, |it| it.0) else {
                continue;
            };
            block.columns.insert(at, (id, Column::new(tick, value)));
            if let Some(known) = self.known.get_mut(&id) {
                known.blocks += 1;
            }
        }
    }

    /// Series that were there at the end of the block before and aren't at the first
    /// tick of this one, which has to say so.
    fn gone_before(&self, values: &BTreeMap<u32, f64>) -> Vec<u32> {
        let mut latest = self.blocks.iter().rev();
        match (latest.next(), latest.next()) {
            (Some(block), Some(before)) if block.times.is_empty() => before
                .columns
                .iter()
                .filter(|(id, column)| column.is_there() && !values.contains_key(id))
                .map(|(id, _)| *id)
                .collect(),
            _ => Vec::new(),
        }
    }

    fn begin_block(&mut self) {
        let mut next = Block::default();
        if let Some(last) = self.blocks.back_mut() {
            for (_, column) in &mut last.columns {
                column.close();
            }
            last.columns.shrink_to_fit();
            last.bytes = last.open_bytes();
        }
        next.times.reserve_exact(BLOCK_TICKS);
        self.blocks.push_back(next);
    }

    /// Drops whole blocks until it is within the bounds.
    fn shed(&mut self, now: i64, bounds: Bounds) {
        let kept = i64::try_from(bounds.kept.as_millis()).unwrap_or(i64::MAX);
        while self.blocks.len() > 1 {
            let newest = self.blocks[0].times.last().copied().unwrap_or(i64::MIN);
            if now - newest <= kept && self.bytes() <= bounds.bytes {
                return;
            }
            let Some(old) = self.blocks.pop_front() else {
                return;
            };
            for (id, _) in &old.columns {
                self.forget(*id);
            }
        }
    }

    /// Drops every tick from `now` on.
    fn forget_from(&mut self, now: i64) {
        while let Some(mut block) = self.blocks.pop_back() {
            let ticks = block.times.partition_point(|it| *it < now);
            let cut = std::mem::take(&mut block.columns);
            for (id, column) in cut {
                match column.before(ticks) {
                    Some(column) => block.columns.push((id, column)),
                    None => self.forget(id),
                }
            }
            block.times.truncate(ticks);
            if ticks > 0 {
                self.blocks.push_back(block);
                return;
            }
        }
    }

    fn forget(&mut self, id: u32) {
        let Some(known) = self.known.get_mut(&id) else {
            return;
        };
        known.blocks -= 1;
        if known.blocks == 0 {
            let key = (known.kind, known.rendered.clone());
            self.ids.remove(&key);
            self.known.remove(&id);
        }
    }

    fn bytes(&self) -> usize {
        // Both copies of the rendered labels, the pairs, and what the maps add.
        const KNOWN_BYTES: usize = 200;
        let known: usize = self
            .known
            .values()
            .map(|it| KNOWN_BYTES + 4 * it.rendered.len())
            .sum();
        let open = self.blocks.back().map_or(0, Block::open_bytes);
        let closed: usize = self.blocks.iter().rev().skip(1).map(|it| it.bytes).sum();
        known + open + closed
    }
}

impl Block {
    fn open_bytes(&self) -> usize {
        let packed: usize = self.columns.iter().map(|(_, it)| it.bytes()).sum();
        packed
            + self.columns.capacity() * size_of::<(u32, Column)>()
            + self.times.capacity() * size_of::<i64>()
    }
}

fn chooses(of: &Selector, labels: &Labels) -> bool {
    of.matchers.iter().all(|matcher| {
        let found = labels.iter().find(|(name, _)| name == matcher.label);
        matcher.value == found.map_or("", |(_, value)| value)
    })
}

impl Source for History {
    fn each_series(
        &self,
        of: &Selector,
        from: i64,
        to: i64,
        each: &mut dyn FnMut(&Labels, &[Point]),
    ) {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let kind = self
            .wanted
            .iter()
            .position(|it| it.family.name() == of.family.name() && it.part == of.part);
        let blocks: Vec<&Block> = ring
            .blocks
            .iter()
            .filter(|it| {
                let (first, last) = (it.times.first(), it.times.last());
                first.is_some_and(|it| *it <= to) && last.is_some_and(|it| *it >= from)
            })
            .collect();
        let mut points = Vec::new();
        for (id, known) in &ring.known {
            if Some(known.kind) != kind || !chooses(of, &known.labels) {
                continue;
            }
            points.clear();
            for block in &blocks {
                if let Ok(found) = block.columns.binary_search_by_key(id, |it| it.0) {
                    block.columns[found].1.each(|tick, value| {
                        let at = block.times[tick];
                        if from <= at && at <= to {
                            points.push(Point { at, value });
                        }
                    });
                }
            }
            if !points.is_empty() {
                each(&known.labels, &points);
            }
        }
    }
}
