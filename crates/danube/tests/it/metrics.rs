//! Every live family is moved through the outside door, and shows what the test
//! knows. A scenario names the families that it proves; a live family that none
//! names fails the build.

mod blueprint;
mod faults;
mod followers;
mod jobs;
mod limits;
mod playbooks;
mod registry;
mod server;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use danube_signals::{State, families};
use danube_telemetry::metric::{Kind, pairs};

use crate::master::{DEADLINE, Master};
use crate::processes::until;

/// How often a metric is looked at that is to change.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Which families a scenario proves.
type Scenario = &'static [&'static str];

/// All scenarios. Each is a test beside its list.
const SCENARIOS: &[(&str, Scenario)] = &[
    ("jobs that end", jobs::ENDS),
    ("jobs that wait and run", jobs::STATES),
    ("jobs of a killed master", faults::ORPHANS),
    ("a locked database", faults::LOCK),
    ("a log that nobody reads", faults::UNREAD_LOG),
    ("a loop that stalls", faults::STALL),
    ("followers", followers::FOLLOWERS),
    ("followers that are sent away", followers::DROPPED),
    ("who comes in", server::WHO),
    ("requests", server::REQUESTS),
    ("statements", server::STATEMENTS),
    ("playbooks", playbooks::PLAYBOOKS),
    ("images in a registry", registry::REGISTRY),
    ("a blueprint", blueprint::BLUEPRINT),
    ("secrets", server::SECRETS),
    ("the disk", server::DISK),
    ("the process", server::PROCESS),
    ("scrapes", server::SCRAPES),
    ("webhooks", server::WEBHOOKS),
    ("a Redis that dies", faults::REDIS),
    ("a worker elsewhere", server::WORKERS),
    ("more pipelines than series", limits::OVERFLOW),
];

#[test]
fn every_live_family_is_provoked_by_a_scenario() {
    let proven: BTreeSet<&str> = SCENARIOS
        .iter()
        .flat_map(|(_, it)| it.iter().copied())
        .collect();
    let live: BTreeSet<&str> = families()
        .filter(|it| it.state == State::Live)
        .map(|it| it.decl.name())
        .collect();
    let missing: Vec<_> = live.difference(&proven).collect();
    let unknown: Vec<_> = proven.difference(&live).collect();
    assert!(missing.is_empty(), "no scenario provokes {missing:?}");
    assert!(unknown.is_empty(), "not live: {unknown:?}");
}

#[test]
fn a_family_that_isn_t_moved_proves_nothing() {
    let master = Master::start();
    let proof = Proof::of(&master);
    proof.until("danube_job_queue_size", 0.0);
    let proven = proof.proven.borrow().clone();
    assert_eq!(proven, BTreeSet::new());
}

#[test]
fn what_isn_t_there_yet_is_exported_at_0_or_absent_from_the_start() {
    let master = Master::start();
    let scrape = Scrape::of(&master);
    for family in families().filter(|it| it.state != State::Live) {
        let name = family.decl.name();
        let shown: Vec<f64> = scrape.family(name).map(|(_, value)| *value).collect();
        assert!(shown.iter().all(|it| *it == 0.0), "{name}: {shown:?}");
        let is_shown =
            family.decl.is_closed() && family.decl.start == danube_telemetry::metric::Start::AtZero;
        assert_eq!(!shown.is_empty(), is_shown, "{name}");
    }
    for family in families().filter(|it| it.state == State::Live) {
        let name = family.decl.name();
        let at_zero =
            family.decl.is_closed() && family.decl.start == danube_telemetry::metric::Start::AtZero;
        if at_zero {
            assert!(
                scrape.family(name).next().is_some(),
                "{name} isn't shown from the start"
            );
        }
    }
}

/// One reading of `/metrics`, by series with its labels in alphabetical order.
#[derive(Debug, Clone)]
pub(crate) struct Scrape(BTreeMap<Series, f64>);

/// Name of a sample, and its labels.
type Series = (String, Vec<(String, String)>);

fn series(text: &str) -> Series {
    let (name, labels) = text.split_once('{').unwrap_or((text, ""));
    let labels = pairs(labels.strip_suffix('}').unwrap_or(labels));
    let mut labels: Vec<_> = labels
        .into_iter()
        // An empty label is one that isn't there.
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    labels.sort();
    (name.to_owned(), labels)
}

impl Scrape {
    #[track_caller]
    pub(crate) fn of(master: &Master) -> Self {
        let answer = master.get("/metrics");
        assert_eq!(answer.status, 200, "{}", answer.text());
        Self::read(&answer.text())
    }

    fn read(text: &str) -> Self {
        let lines = text.lines().filter(|it| !it.starts_with('#'));
        let samples = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            (series(name), value.parse().expect("a number"))
        });
        Self(samples.collect())
    }

    /// The value of a sample (`name{label="value"}`, also `…_count`).
    pub(crate) fn value(&self, sample: &str) -> Option<f64> {
        self.0.get(&series(sample)).copied()
    }

    /// The samples of a family, those of a histogram included.
    pub(crate) fn family<'a>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = (&'a Series, &'a f64)> {
        self.0
            .iter()
            .filter(move |((sample, _), _)| family_of(sample) == Some(name))
    }

    /// The sum of all samples of this name that have these labels.
    pub(crate) fn sum(&self, name: &str, with: &[(&str, &str)]) -> f64 {
        let has = |labels: &[(String, String)]| {
            with.iter()
                .all(|(name, value)| labels.iter().any(|it| it.0 == *name && it.1 == *value))
        };
        let found = self
            .0
            .iter()
            .filter(|((it, labels), _)| it == name && has(labels));
        found.map(|(_, value)| value).sum()
    }
}

/// The declared family that a sample belongs to.
fn family_of(sample: &str) -> Option<&'static str> {
    families().map(|it| it.decl).find_map(|decl| {
        let name = decl.name();
        let rest = sample.strip_prefix(name)?;
        let is_histogram = decl.kind == Kind::Histogram;
        let fits = if is_histogram {
            ["_bucket", "_sum", "_count"].contains(&rest)
        } else {
            rest.is_empty()
        };
        fits.then_some(name)
    })
}

/// What a scenario has shown so far: a family is proven by a sample that isn't what
/// it was in the beginning.
pub(crate) struct Proof<'a> {
    master: &'a Master,
    before: Scrape,
    proven: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Proof<'a> {
    pub(crate) fn of(master: &'a Master) -> Self {
        Self {
            master,
            before: Scrape::of(master),
            proven: RefCell::default(),
        }
    }

    /// For what was moved while the master started, or stands still while it lives:
    /// what is shown is compared with nothing.
    pub(crate) fn since_start(master: &'a Master) -> Self {
        Self {
            before: Scrape(BTreeMap::new()),
            ..Self::of(master)
        }
    }

    pub(crate) fn now(&self) -> Scrape {
        Scrape::of(self.master)
    }

    /// Waits until the sample has exactly this value.
    #[track_caller]
    pub(crate) fn until(&self, sample: &str, value: f64) {
        self.until_all(&[(sample, value)]);
    }

    /// Waits until one scrape shows all of these at once.
    #[track_caller]
    pub(crate) fn until_all(&self, wanted: &[(&str, f64)]) {
        let mut last = Vec::new();
        let end = Instant::now() + DEADLINE;
        loop {
            let now = self.now();
            let wrong: Vec<_> = wanted
                .iter()
                .filter(|(sample, value)| now.value(sample) != Some(*value))
                .map(|(sample, value)| (*sample, *value, now.value(sample)))
                .collect();
            if wrong.is_empty() {
                break;
            }
            assert!(
                Instant::now() < end,
                "not as wanted: {wrong:?}, before {last:?}"
            );
            last = wrong;
            // tidy: allow(sleep): nobody announces what a metric shows
            thread::sleep(LOOK_EVERY);
        }
        for (sample, value) in wanted {
            self.prove(sample, Some(*value));
        }
    }

    /// The sample's value now, for which this holds.
    #[track_caller]
    pub(crate) fn holds(&self, sample: &str, is_right: impl Fn(f64) -> bool) -> f64 {
        let found = self.now().value(sample);
        let value = found.unwrap_or_else(|| panic!("{sample} isn't there"));
        assert!(is_right(value), "{sample} is {value}");
        self.prove(sample, found);
        value
    }

    /// Waits until something holds of the sample.
    #[track_caller]
    pub(crate) fn until_holds(&self, sample: &str, is_right: impl Fn(f64) -> bool) -> f64 {
        let value = until(sample, DEADLINE, || {
            self.now().value(sample).filter(|it| is_right(*it))
        });
        self.prove(sample, Some(value));
        value
    }

    fn prove(&self, sample: &str, value: Option<f64>) {
        let (name, _) = series(sample);
        let family = family_of(&name).unwrap_or_else(|| panic!("{name} isn't declared"));
        // A series that wasn't there counted as 0.
        let was = self.before.value(sample).unwrap_or(0.0);
        if value.is_some_and(|it| it != was) {
            self.proven.borrow_mut().insert(family);
        }
    }

    /// Every family of the scenario was moved.
    #[track_caller]
    pub(crate) fn complete(self, scenario: Scenario) {
        let wanted: BTreeSet<&str> = scenario.iter().copied().collect();
        let proven = self.proven.into_inner();
        let missing: Vec<_> = wanted.difference(&proven).collect();
        assert!(missing.is_empty(), "not moved: {missing:?}");
    }
}

/// Buckets are cumulative and agree with the count, in every histogram.
#[track_caller]
pub(crate) fn histograms_are_whole(scrape: &Scrape) {
    for ((name, labels), count) in &scrape.0 {
        let Some(family) = name
            .strip_suffix("_count")
            .filter(|it| family_of(name) == Some(*it))
        else {
            continue;
        };
        let bucket = format!("{family}_bucket");
        let of = |le: &str| {
            let mut labels = labels.clone();
            labels.push(("le".to_owned(), le.to_owned()));
            labels.sort();
            scrape.0.get(&(bucket.clone(), labels)).copied()
        };
        assert_eq!(of("+Inf"), Some(*count), "{name} {labels:?}");
    }
}
