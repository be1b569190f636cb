//! What lies in Redis, as far as the master knows, and what is to be done about it.
//!
//! The store's hook tells here what moves, from the writer's thread; the feed's thread takes
//! it from here. Nothing here talks to Redis or reads the store.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use danube_model::{JobId, Queues, State};
use danube_queue::{Listed, Place};
use danube_store::{Lane, Live, Moved, Waiting};

use crate::bell::Bell;

/// Entries of one queue's stream at most: more than its workers take between two looks, and
/// little enough to be listed in a moment.
pub(crate) const ENTRIES_MAX: usize = 1_000;

/// Entries of one team in a queue's stream while several teams wait there: a stream gives back in
/// the order in which it was filled, so who comes to it waits behind no more than these.
pub(crate) const TEAM_ENTRIES_MAX: usize = 16;

/// Jobs that may move while the store is asked what waits, before it is asked again.
const MOVES_MAX: usize = 10_000;

/// Shared by whoever tells and the feed's thread.
#[derive(Default)]
pub(crate) struct Desk {
    state: Mutex<Inner>,
    pub(crate) bell: Bell,
}

#[derive(Default)]
struct Inner {
    /// Whether anybody fills Redis; nothing is kept here otherwise.
    is_on: bool,
    /// Jobs that have an entry; no place while it is on its way.
    entries: HashMap<JobId, Entry>,
    /// Of these, those that wait no more; one that comes and goes while Redis is away once.
    left: HashSet<JobId>,
    /// Queues in which a job may wait that has no entry, and whether it may be an old one.
    unlisted: HashMap<String, Since>,
    /// Entries that were made so far.
    made: u64,
    /// Jobs that ceased to wait since [`Desk::watch`].
    moves: Option<HashSet<JobId>>,
    status: Status,
}

struct Entry {
    /// In which queue's stream.
    queue: String,
    /// Where the job waits.
    lane: Lane,
    /// How many were made before it.
    made: u64,
    place: Option<Place>,
}

/// Which jobs of a queue may have no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Since {
    /// Those that were accepted last.
    Last,
    /// Any: one came back, or an entry was lost.
    Ever,
}

/// How it is with Redis.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Status {
    /// No Redis is configured, or it hasn't been asked yet.
    #[default]
    Unknown,
    /// It works.
    Fine,
    /// It doesn't.
    Away(String),
}

impl Desk {
    /// From now on what moves is kept here.
    pub(crate) fn turn_on(&self) {
        self.lock().is_on = true;
    }

    /// A job came to be, or moved.
    pub(crate) fn moved(&self, moved: &Moved) {
        {
            let mut state = self.lock();
            if !state.is_on {
                return;
            }
            state.moved(moved);
        }
        self.bell.ring();
    }

    /// Everything was counted anew.
    pub(crate) fn counted(&self, live: &Live) {
        let mut state = self.lock();
        if state.is_on {
            for waiters in &live.pending {
                state.unlist(&waiters.queue, Since::Ever);
            }
        }
    }

    /// A worker that asked for the job didn't get it, and removes its entry. If it waits,
    /// there is to be another one when its queue has room.
    pub(crate) fn refused(&self, job: JobId) {
        let mut state = self.lock();
        // One that has left was refused to a second one that asked: its entry is ours to remove.
        if state.left.contains(&job) {
            return;
        }
        if let Some(entry) = state.entries.remove(&job) {
            state.unlist(&entry.lane.queue, Since::Ever);
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.lock().status.clone()
    }

    /// Whether workers may rely on Redis.
    pub(crate) fn is_fine(&self) -> bool {
        self.lock().status == Status::Fine
    }

    pub(crate) fn set_status(&self, status: Status) {
        self.lock().status = status;
    }

    /// Takes over what was found in Redis: nothing else is there. What is to be removed at
    /// once: what can't be read, and what is there twice.
    pub(crate) fn found(&self, listed: Vec<Listed>, pending_queues: &[String]) -> Vec<Place> {
        let mut state = self.lock();
        state.entries.clear();
        state.left.clear();
        let mut removed = Vec::new();
        for Listed { place, job } in listed {
            match job {
                Some(job) if !state.entries.contains_key(&job) => {
                    let lane = Lane {
                        queue: place.queue.clone(),
                        ..Lane::default()
                    };
                    state.enter(job, (place.queue.clone(), lane), Some(place));
                }
                _ => removed.push(place),
            }
        }
        for queue in pending_queues {
            state.unlist(queue, Since::Ever);
        }
        removed
    }

    /// Jobs that have an entry, with its queue.
    pub(crate) fn listed(&self) -> Vec<(JobId, String)> {
        let state = self.lock();
        let all = state.entries.iter();
        all.map(|(job, entry)| (*job, entry.queue.clone()))
            .collect()
    }

    /// Where a job waits that was found with an entry.
    pub(crate) fn know(&self, job: JobId, lane: Lane) {
        if let Some(entry) = self.lock().entries.get_mut(&job) {
            entry.lane = lane;
        }
    }

    /// The job is to have no entry any more.
    pub(crate) fn leave(&self, job: JobId) {
        self.lock().left.insert(job);
    }

    /// Entries to remove.
    pub(crate) fn take_left(&self) -> Vec<Place> {
        let mut state = self.lock();
        let mut places = Vec::new();
        for job in std::mem::take(&mut state.left) {
            match state.entries.remove(&job) {
                Some(Entry {
                    place: Some(place), ..
                }) => places.push(place),
                // On its way: looked at again when it has arrived.
                Some(entry) => {
                    state.entries.insert(job, entry);
                    state.left.insert(job);
                }
                None => {}
            }
        }
        places
    }

    /// The queues in which jobs may wait that have no entry. They are forgotten here; who
    /// can't give them all an entry says so ([`unlisted`](Self::unlisted)).
    pub(crate) fn take_unlisted(&self) -> Vec<(String, Since)> {
        self.lock().unlisted.drain().collect()
    }

    /// There may be more that wait without an entry.
    pub(crate) fn unlisted(&self, queue: &str, since: Since) {
        self.lock().unlist(queue, since);
    }

    /// What ceases to wait from here on is known to [`send`](Self::send): begin with this
    /// before the store is asked.
    pub(crate) fn watch(&self) {
        self.lock().moves = Some(HashSet::new());
    }

    /// Of jobs that waited: those that are to get an entry now, `room` at most. They count as
    /// having one.
    pub(crate) fn send(
        &self,
        waiting: Vec<Waiting>,
        (queues, room): (&Queues, usize),
    ) -> Vec<Waiting> {
        let mut state = self.lock();
        let Some(moves) = state.moves.take() else {
            // Too much moved: whoever asks again gets a better answer.
            for it in &waiting {
                state.unlist(&it.lane.queue, Since::Ever);
            }
            return Vec::new();
        };
        let is_new = |it: &Waiting, state: &Inner| {
            !moves.contains(&it.job) && !state.entries.contains_key(&it.job)
        };
        let mut new: Vec<Waiting> = waiting
            .into_iter()
            .filter(|it| is_new(it, &state))
            .collect();
        if new.len() > room {
            state.unlist(&new[room].lane.queue, Since::Ever);
            new.truncate(room);
        }
        for it in &new {
            let stream = queues.of(&it.lane.queue).name.clone();
            state.enter(it.job, (stream, it.lane.clone()), None);
        }
        new
    }

    /// The entries that were sent are there.
    pub(crate) fn sent(&self, jobs: impl Iterator<Item = (JobId, Place)>) {
        let mut state = self.lock();
        for (job, place) in jobs {
            if let Some(entry) = state.entries.get_mut(&job) {
                entry.place = Some(place);
            }
        }
    }

    /// How many entries there should be in a queue's stream at least.
    pub(crate) fn count(&self, queue: &str) -> usize {
        let state = self.lock();
        let entries = state.entries.values();
        entries.filter(|it| it.queue == queue).count()
    }

    /// How many entries there are beside those of this lane in a queue's stream.
    pub(crate) fn beside(&self, queue: &str, lane: &Lane) -> Beside {
        let state = self.lock();
        let mut beside = Beside::default();
        for entry in state.entries.values() {
            let is_here = entry.queue == queue;
            let is_own = entry.lane.pipeline == lane.pipeline;
            beside.queue += usize::from(is_here);
            beside.team += usize::from(is_here && entry.lane.team == lane.team);
            beside.lane += usize::from(entry.lane == *lane);
            beside.pipeline += usize::from(is_own && !lane.pipeline.is_empty());
        }
        beside
    }

    /// The teams that have entries in a queue's stream, with how many.
    pub(crate) fn teams(&self, queue: &str) -> HashMap<String, usize> {
        let state = self.lock();
        let mut teams = HashMap::new();
        for entry in state.entries.values().filter(|it| it.queue == queue) {
            match teams.get_mut(&entry.lane.team) {
                Some(count) => *count += 1,
                None => drop(teams.insert(entry.lane.team.clone(), 1)),
            }
        }
        teams
    }

    /// Takes the last entries of each team away that has more than so many in a queue's stream.
    /// A worker that has one of them all the same asks for a job that waits, and gets it.
    pub(crate) fn trim(&self, queue: &str, most: usize) -> Vec<Place> {
        let mut state = self.lock();
        let mut of_team: HashMap<&str, Vec<(u64, JobId)>> = HashMap::new();
        for (job, entry) in &state.entries {
            if entry.queue == queue && entry.place.is_some() && !state.left.contains(job) {
                let team = of_team.entry(&entry.lane.team).or_default();
                team.push((entry.made, *job));
            }
        }
        let mut last: Vec<JobId> = Vec::new();
        for mut jobs in of_team.into_values().filter(|it| it.len() > most) {
            jobs.sort_unstable();
            last.extend(jobs[most..].iter().map(|it| it.1));
        }
        let mut places = Vec::with_capacity(last.len());
        for job in last {
            if let Some(entry) = state.entries.remove(&job) {
                state.unlist(&entry.lane.queue, Since::Ever);
                places.extend(entry.place);
            }
        }
        places
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whole after every line that changes it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Entries that what is to be listed shares room with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Beside {
    /// In the same queue's stream.
    pub(crate) queue: usize,
    /// Of the same team there.
    pub(crate) team: usize,
    /// Of the same lane.
    pub(crate) lane: usize,
    /// Of the same pipeline, in all streams; 0 where that isn't bounded.
    pub(crate) pipeline: usize,
}

impl Inner {
    fn enter(&mut self, job: JobId, (queue, lane): (String, Lane), place: Option<Place>) {
        self.made += 1;
        let entry = Entry {
            queue,
            lane,
            made: self.made,
            place,
        };
        self.entries.insert(job, entry);
    }

    fn moved(&mut self, moved: &Moved) {
        if moved.to == State::Pending {
            let since = match moved.from {
                None => Since::Last,
                Some(_) => Since::Ever,
            };
            self.unlist(&moved.queue, since);
        }
        if moved.from != Some(State::Pending) {
            return;
        }
        if self.entries.contains_key(&moved.job) {
            self.left.insert(moved.job);
        }
        if let Some(moves) = &mut self.moves {
            moves.insert(moved.job);
            if moves.len() > MOVES_MAX {
                self.moves = None;
            }
        }
    }

    fn unlist(&mut self, queue: &str, since: Since) {
        match self.unlisted.get_mut(queue) {
            Some(known) => *known = since.max(*known),
            None => {
                self.unlisted.insert(queue.to_owned(), since);
            }
        }
    }
}

/// How many more entries a lane may have: as many jobs as may begin in its queue and of its
/// pipeline, and no more than its stream may hold, and its team there.
pub(crate) fn room(
    (in_queue, of_pipeline): (usize, usize),
    beside: Beside,
    of_team: usize,
) -> usize {
    let in_stream = in_queue.min(ENTRIES_MAX).saturating_sub(beside.queue);
    let of_pipeline = of_pipeline.saturating_sub(beside.pipeline);
    let of_team = of_team.saturating_sub(beside.team);
    in_stream.min(of_pipeline).min(of_team)
}

#[cfg(test)]
mod tests {
    use danube_model::Kind;

    use super::*;

    fn desk() -> Desk {
        let desk = Desk::default();
        desk.turn_on();
        desk
    }

    fn moved(job: JobId, from: Option<State>, to: State) -> Moved {
        Moved {
            job,
            pipeline: "p".to_owned(),
            kind: Kind::Pipeline,
            queue: "default".to_owned(),
            from,
            to,
        }
    }

    fn waiting(job: JobId, seq: i64) -> Waiting {
        Waiting {
            seq,
            job,
            lane: lane(""),
            concurrency: None,
            traceparent: String::new(),
        }
    }

    fn lane(team: &str) -> Lane {
        Lane {
            queue: "default".to_owned(),
            team: team.to_owned(),
            pipeline: String::new(),
        }
    }

    fn place(id: &str) -> Place {
        Place {
            queue: "default".to_owned(),
            id: id.to_owned(),
        }
    }

    fn listed(job: JobId, id: &str) -> Listed {
        Listed {
            place: place(id),
            job: Some(job),
        }
    }

    /// The job gets the entry.
    fn lists(desk: &Desk, job: JobId, id: &str) {
        desk.watch();
        let sent = desk.send(vec![waiting(job, 1)], (&Queues::default(), 9));
        assert_eq!(sent.len(), 1);
        desk.sent([(job, place(id))].into_iter());
    }

    #[test]
    fn a_job_gets_one_entry_and_it_goes_when_the_job_waits_no_more() {
        let (desk, job) = (desk(), JobId::new());
        desk.moved(&moved(job, None, State::Pending));
        assert_eq!(desk.take_unlisted(), [("default".to_owned(), Since::Last)]);
        lists(&desk, job, "1-0");
        desk.watch();
        assert_eq!(
            desk.send(vec![waiting(job, 1)], (&Queues::default(), 9)),
            []
        );
        assert_eq!((desk.count("default"), desk.take_left()), (1, vec![]));
        desk.moved(&moved(job, Some(State::Pending), State::Scheduling));
        assert_eq!(desk.take_left(), [place("1-0")]);
        assert_eq!((desk.count("default"), desk.take_left()), (0, vec![]));
        // It comes back, with its old number.
        desk.moved(&moved(job, Some(State::Scheduling), State::Pending));
        assert_eq!(desk.take_unlisted(), [("default".to_owned(), Since::Ever)]);
    }

    #[test]
    fn a_job_that_is_taken_while_its_entry_is_made_leaves_none_behind() {
        let (desk, job) = (desk(), JobId::new());
        // While the store is asked.
        desk.watch();
        desk.moved(&moved(job, Some(State::Pending), State::Scheduling));
        assert_eq!(
            desk.send(vec![waiting(job, 1)], (&Queues::default(), 9)),
            []
        );
        // While the entry is on its way.
        desk.watch();
        desk.send(vec![waiting(job, 1)], (&Queues::default(), 9));
        desk.moved(&moved(job, Some(State::Pending), State::Cancelled));
        assert_eq!(desk.take_left(), []);
        desk.sent([(job, place("2-0"))].into_iter());
        assert_eq!(desk.take_left(), [place("2-0")]);
    }

    #[test]
    fn what_is_found_replaces_what_was_known() {
        let (desk, old, new) = (desk(), JobId::new(), JobId::new());
        lists(&desk, old, "1-0");
        let broken = Listed {
            place: place("2-0"),
            job: None,
        };
        let removed = desk.found(
            vec![listed(new, "1-0"), broken, listed(new, "3-0")],
            &["night".to_owned()],
        );
        assert_eq!(removed, [place("2-0"), place("3-0")]);
        assert_eq!(desk.listed(), [(new, "default".to_owned())]);
        assert_eq!(desk.take_unlisted(), [("night".to_owned(), Since::Ever)]);
    }

    #[test]
    fn a_refused_job_gets_another_entry_later() {
        let (desk, job) = (desk(), JobId::new());
        lists(&desk, job, "1-0");
        desk.refused(job);
        assert_eq!(desk.count("default"), 0);
        assert_eq!(desk.take_unlisted(), [("default".to_owned(), Since::Ever)]);
        desk.refused(job);
        assert_eq!(desk.take_unlisted(), []);
        // Somebody else has it by now: its own entry is still to be removed.
        lists(&desk, job, "2-0");
        desk.moved(&moved(job, Some(State::Pending), State::Scheduling));
        desk.refused(job);
        assert_eq!(desk.take_left(), [place("2-0")]);
    }

    #[test]
    fn too_many_moves_during_one_question_make_it_be_asked_again() {
        let (desk, job) = (desk(), JobId::new());
        desk.watch();
        for _ in 0..=MOVES_MAX {
            desk.moved(&moved(
                JobId::new(),
                Some(State::Pending),
                State::Scheduling,
            ));
        }
        assert_eq!(
            desk.send(vec![waiting(job, 1)], (&Queues::default(), 9)),
            []
        );
        assert_eq!(desk.take_unlisted(), [("default".to_owned(), Since::Ever)]);
    }

    #[test]
    fn a_stream_holds_what_may_begin_and_no_more_than_it_may() {
        let beside = |queue, team, pipeline| Beside {
            queue,
            team,
            pipeline,
            lane: 0,
        };
        let (any, all) = (usize::MAX, ENTRIES_MAX);
        assert_eq!(room((3, any), beside(1, 1, 0), all), 2);
        assert_eq!(room((3, any), beside(4, 1, 0), all), 0);
        assert_eq!(room((any, any), beside(1, 1, 0), all), ENTRIES_MAX - 1);
        assert_eq!(room((any, 3), beside(9, 1, 2), all), 1);
        assert_eq!(room((any, any), beside(9, 4, 0), TEAM_ENTRIES_MAX), 12);
    }

    #[test]
    fn a_team_that_has_many_entries_gives_the_last_ones_back() {
        let (desk, jobs) = (desk(), [JobId::new(), JobId::new(), JobId::new()]);
        for (job, place) in jobs.iter().zip(["1-0", "2-0", "3-0"]) {
            lists(&desk, *job, place);
        }
        let other = JobId::new();
        desk.watch();
        let waits = Waiting {
            lane: lane("web"),
            ..waiting(other, 9)
        };
        desk.send(vec![waits], (&Queues::default(), 9));
        desk.sent([(other, place("4-0"))].into_iter());
        let teams = HashMap::from([(String::new(), 3), ("web".to_owned(), 1)]);
        assert_eq!(desk.teams("default"), teams);
        assert_eq!(desk.trim("default", 3), []);
        let mut removed = desk.trim("default", 1);
        removed.sort_by(|a, b| a.id.cmp(&b.id));
        assert_eq!(removed, [place("2-0"), place("3-0")]);
        let beside = desk.beside("default", &lane("web"));
        assert_eq!((beside.queue, beside.team, beside.lane), (2, 1, 1));
        assert_eq!(desk.take_unlisted(), [("default".to_owned(), Since::Ever)]);
    }
}
