//! Whose turn it is: teams, bounded pipelines, and what holds whatever waits.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;

const LEASE: Duration = Duration::from_secs(30);

/// A queue of jobs and workers that is looked at again and again.
struct World {
    queues: Queues,
    waiting: Vec<Waiting>,
    leases: Vec<Lease>,
    turns: Turns,
    free: usize,
    seq: i64,
}

impl World {
    fn new(free: usize) -> Self {
        let queue = |it: &str| it.parse().unwrap();
        Self {
            queues: Queues::new(vec![
                queue("night:priority=-1"),
                queue("gpu:jobs_at_once=2"),
            ])
            .unwrap(),
            waiting: vec![],
            leases: vec![],
            turns: Turns::default(),
            free,
            seq: 0,
        }
    }

    fn submit(&mut self, (queue, team): (&str, &str), bound: Option<(&str, u32)>) -> JobId {
        self.seq += 1;
        let job = JobId::new();
        self.waiting.push(Waiting {
            seq: self.seq,
            job,
            lane: Lane {
                queue: queue.to_owned(),
                team: team.to_owned(),
                pipeline: bound.map_or("", |it| it.0).to_owned(),
            },
            concurrency: bound.map(|it| it.1),
            traceparent: String::new(),
        });
        job
    }

    /// One look: what begins, in order.
    fn look(&mut self) -> Vec<Waiting> {
        let idle = Idle {
            worker: "w".to_owned(),
            free: self.free.saturating_sub(self.leases.len()),
            queues: None,
        };
        let view = QueueView {
            waiting: self.waiting.clone(),
            idle: vec![idle],
            asked: vec![],
            leases: self.leases.clone(),
            turns: self.turns.clone(),
        };
        let mut begun = Vec::new();
        for action in decide(&view, &self.queues, (Instant::now(), LEASE)) {
            let Action::Assign { job, .. } = action else {
                panic!("nothing lapses, nobody asks")
            };
            let at = self.waiting.iter().position(|it| it.job == job);
            let it = self.waiting.remove(at.expect("no job is given twice"));
            self.turns.take(&it.lane.team);
            self.leases.push(Lease {
                attempt: Attempt {
                    job,
                    fence: 1,
                    number: 1,
                },
                worker: "w".to_owned(),
                queue: it.lane.queue.clone(),
                team: it.lane.team.clone(),
                pipeline: it.lane.pipeline.clone(),
                renewed_at: Instant::now(),
            });
            begun.push(it);
        }
        begun
    }

    fn running(&self, of: impl Fn(&Lease) -> bool) -> usize {
        self.leases.iter().filter(|it| of(it)).count()
    }

    /// Whether this one could begin beside what runs.
    fn could_begin(&self, it: &Waiting) -> bool {
        let in_gpu = it.lane.queue == "gpu" && self.running(|it| it.queue == "gpu") >= 2;
        let running = self.running(|lease| lease.pipeline == it.lane.pipeline);
        !in_gpu && it.concurrency.is_none_or(|most| running < most as usize)
    }
}

fn teams(begun: &[Waiting]) -> Vec<&str> {
    begun.iter().map(|it| it.lane.team.as_str()).collect()
}

#[test]
fn one_job_of_a_team_does_not_wait_behind_a_thousand_of_another() {
    let mut world = World::new(1);
    for _ in 0..1_000 {
        world.submit(("default", "many"), None);
    }
    assert_eq!(teams(&world.look()), ["many"]);
    let one = world.submit(("default", "few"), None);
    world.leases.clear();
    // As few run of the one as of the other; but the other had its turn.
    assert_eq!(world.look()[0].job, one);
    world.leases.clear();
    assert_eq!(teams(&world.look()), ["many"]);
}

#[test]
fn places_are_shared_between_teams_whoever_came_first() {
    let mut world = World::new(6);
    for team in ["a", "a", "a", "a", "a", "a", "b", "b", "b", ""] {
        world.submit(("default", team), None);
    }
    let begun = world.look();
    let count = |team| teams(&begun).iter().filter(|it| **it == team).count();
    assert_eq!((count("a"), count("b"), count("")), (3, 2, 1));
    // A place that is free goes to the team with less, though it had its turn later; one more
    // to whoever is left.
    world.leases.retain(|it| it.team != "b");
    assert_eq!(teams(&world.look()), ["b", "a"]);
}

#[test]
fn a_pipeline_runs_no_more_than_it_may_and_holds_up_no_other() {
    let mut world = World::new(9);
    let deploys: Vec<JobId> = (0..3)
        .map(|_| world.submit(("default", "a"), Some(("deploy", 1))))
        .collect();
    let build = world.submit(("default", "a"), None);
    let begun: Vec<JobId> = world.look().iter().map(|it| it.job).collect();
    assert_eq!(begun, [deploys[0], build]);
    assert_eq!(world.look(), []);
    world.leases.retain(|it| it.attempt.job != deploys[0]);
    assert_eq!(world.look()[0].job, deploys[1]);
}

#[test]
fn a_priority_goes_before_a_turn() {
    let mut world = World::new(1);
    world.submit(("night", "few"), None);
    for _ in 0..3 {
        world.submit(("default", "many"), None);
    }
    for _ in 0..3 {
        assert_eq!(teams(&world.look()), ["many"]);
        world.leases.clear();
    }
    assert_eq!(teams(&world.look()), ["few"]);
}

/// What may happen between two looks.
#[derive(Debug, Clone)]
enum Step {
    Submit {
        queue: usize,
        team: usize,
        pipeline: usize,
    },
    End(prop::sample::Index),
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, 0..4_usize, 0..4_usize).prop_map(|(queue, team, pipeline)| Step::Submit { queue, team, pipeline }),
        2 => any::<prop::sample::Index>().prop_map(Step::End),
        2 => Just(Step::Look),
    ]
}

proptest! {
    #[test]
    fn whatever_waits_and_ends_bounds_hold_places_are_used_and_order_is_kept(
        steps in prop::collection::vec(step(), 1..120),
        free in 0..6_usize,
    ) {
        let mut world = World::new(free);
        for step in steps {
            match step {
                Step::Submit { queue, team, pipeline } => {
                    let bound = [None, Some(("p1", 1)), Some(("p2", 2)), None][pipeline];
                    world.submit((["default", "night", "gpu"][queue], ["", "a", "b", "c"][team]), bound);
                }
                Step::End(which) => {
                    if !world.leases.is_empty() {
                        let at = which.index(world.leases.len());
                        world.leases.remove(at);
                    }
                }
                Step::Look => {
                    let before = world.waiting.clone();
                    let begun = world.look();
                    check_look(&world, (&before, &begun))?;
                }
            }
        }
        // Whatever was left waits for a place alone: all of it begins in the end.
        let mut looks = world.waiting.len() + world.leases.len();
        while free > 0 && !world.waiting.is_empty() {
            prop_assert!(looks > 0, "{} starve", world.waiting.len());
            looks -= 1;
            world.look();
            world.leases.truncate(world.leases.len().saturating_sub(1));
        }
    }

    #[test]
    fn no_team_waits_longer_than_the_others_take_one_turn_each(
        many in prop::collection::vec(1..40_usize, 1..6),
        free in 1..4_usize,
    ) {
        let mut world = World::new(free);
        let names: Vec<String> = (0..many.len()).map(|it| format!("team{it}")).collect();
        for (team, jobs) in names.iter().zip(&many) {
            for _ in 0..*jobs {
                world.submit(("default", team), None);
            }
        }
        // Jobs end in the order in which they began, so each place is given on in turn.
        let mut since: HashMap<String, usize> = HashMap::new();
        while !world.waiting.is_empty() {
            let begun = world.look();
            let still: BTreeSet<&str> = world.waiting.iter().map(|it| &*it.lane.team).collect();
            for it in &begun {
                for team in &still {
                    *since.entry((*team).to_owned()).or_default() += 1;
                }
                since.insert(it.lane.team.clone(), 0);
            }
            for (team, waited) in &since {
                prop_assert!(*waited <= 2 * many.len() + free, "{team} waits for {waited} others");
            }
            world.leases.remove(0);
        }
    }
}

/// What holds after each look.
fn check_look(
    world: &World,
    (before, begun): (&[Waiting], &[Waiting]),
) -> Result<(), TestCaseError> {
    prop_assert!(world.leases.len() <= world.free.max(world.leases.len() - begun.len()));
    prop_assert!(world.running(|it| it.queue == "gpu") <= 2);
    prop_assert!(world.running(|it| it.pipeline == "p1") <= 1);
    prop_assert!(world.running(|it| it.pipeline == "p2") <= 2);
    // No place stays free for which there is somebody.
    if world.leases.len() < world.free {
        let idle = world.waiting.iter().find(|it| world.could_begin(it));
        prop_assert_eq!(idle, None);
    }
    // Within a lane the oldest go first.
    for it in begun {
        let older = |other: &&Waiting| other.lane == it.lane && other.seq < it.seq;
        let left = before.iter().filter(older);
        let left: Vec<_> = left.filter(|it| !begun.contains(it)).collect();
        prop_assert_eq!(left, Vec::<&Waiting>::new());
    }
    Ok(())
}
