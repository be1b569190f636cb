//! Which loops are silent for too long, counted in the watchdog's own looks.

use std::time::Duration;

use super::Sign;

/// A loop, as its watchdog knows it.
pub struct Watched<N> {
    name: N,
    silent_max: Duration,
    sign: Box<dyn Fn() -> Sign + Send>,
    seen: Option<u64>,
    silent: Duration,
    is_stalled: bool,
}

impl<N: Copy> Watched<N> {
    /// One that may be silent for `silent_max`.
    pub fn new(name: N, silent_max: Duration, sign: impl Fn() -> Sign + Send + 'static) -> Self {
        Self {
            name,
            silent_max,
            sign: Box::new(sign),
            seen: None,
            silent: Duration::ZERO,
            is_stalled: false,
        }
    }

    /// Looks once, `tick` after the last time; says what has changed.
    ///
    /// Time is counted in looks and not read from a clock: whoever was stopped, suspended
    /// or starved together with the loop has not looked meanwhile, and blames nobody.
    fn look(&mut self, tick: Duration) -> Option<Change<N>> {
        let sign = (self.sign)();
        let before = self.silent;
        let is_heard = sign.is_away || self.seen != Some(sign.beats);
        self.seen = Some(sign.beats);
        self.silent = if is_heard {
            Duration::ZERO
        } else {
            self.silent.saturating_add(tick)
        };
        let was_stalled = self.is_stalled;
        self.is_stalled = self.silent > self.silent_max;
        let change = |silent| Change {
            name: self.name,
            is_stalled: self.is_stalled,
            silent,
        };
        match (was_stalled, self.is_stalled) {
            (false, true) => Some(change(self.silent)),
            (true, false) => Some(change(before)),
            _ => None,
        }
    }
}

/// A loop has stalled, or goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<N> {
    /// Which.
    pub name: N,
    /// It has, or else goes on.
    pub is_stalled: bool,
    /// For how long it is silent, or was.
    pub silent: Duration,
}

/// All loops of a process.
pub struct Watch<N> {
    tick: Duration,
    loops: Vec<Watched<N>>,
}

impl<N: Copy> Watch<N> {
    /// These, looked at every `tick`.
    #[must_use]
    pub fn new(tick: Duration, loops: Vec<Watched<N>>) -> Self {
        Self { tick, loops }
    }

    /// Looks at all of them; call it every tick.
    pub fn look(&mut self) -> Vec<Change<N>> {
        let tick = self.tick;
        let changes = self.loops.iter_mut().filter_map(|it| it.look(tick));
        changes.collect()
    }

    /// Each, and for how long it is silent.
    pub fn silences(&self) -> impl Iterator<Item = (N, Duration)> {
        self.loops.iter().map(|it| (it.name, it.silent))
    }

    /// Those that have stalled.
    #[must_use]
    pub fn stalled(&self) -> Vec<N> {
        let stalled = self.loops.iter().filter(|it| it.is_stalled);
        stalled.map(|it| it.name).collect()
    }

    pub(super) fn tick(&self) -> Duration {
        self.tick
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Heartbeat;
    use super::*;

    const TICK: Duration = Duration::from_secs(1);

    fn watched() -> (Arc<Heartbeat>, Watch<&'static str>) {
        let beat = Arc::new(Heartbeat::default());
        let seen = Arc::clone(&beat);
        let watched = Watched::new("loop", TICK * 2, move || seen.sign());
        (beat, Watch::new(TICK, vec![watched]))
    }

    fn change(is_stalled: bool, silent: u32) -> Vec<Change<&'static str>> {
        let (name, silent) = ("loop", TICK * silent);
        vec![Change {
            name,
            is_stalled,
            silent,
        }]
    }

    #[test]
    fn a_loop_that_is_silent_for_too_many_looks_has_stalled_until_it_is_heard() {
        let (beat, mut watch) = watched();
        for _ in 0..3 {
            assert_eq!(watch.look(), []);
        }
        assert_eq!(watch.look(), change(true, 3));
        assert_eq!((watch.look(), watch.stalled()), (vec![], vec!["loop"]));
        beat.beat();
        assert_eq!(watch.look(), change(false, 4));
        assert_eq!((watch.look(), watch.stalled()), (vec![], vec![]));
    }

    #[test]
    fn a_loop_that_beats_or_waits_for_a_disk_or_has_left_is_fine() {
        let (beat, mut watch) = watched();
        for _ in 0..9 {
            beat.beat();
            assert_eq!(watch.look(), []);
        }
        let away = beat.away();
        for _ in 0..9 {
            assert_eq!(watch.look(), []);
        }
        drop(away);
        for _ in 0..3 {
            assert_eq!(watch.look(), []);
        }
        beat.resign();
        for _ in 0..9 {
            assert_eq!(watch.look(), []);
        }
    }
}
