//! The master's door: says which jobs wait.

use danube_model::JobId;
use danube_signals::{RedisCommand, Signals};
use redis::streams::{StreamInfoStreamReply, StreamRangeReply};
use redis::{Pipeline, pipe};

use crate::call::Calls;
use crate::names::Names;
use crate::{Address, GROUP, Message, QueueError};

/// Entries that are listed at once.
const PAGE: usize = 1_000;

/// Where an entry stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// In which queue's stream.
    pub queue: String,
    /// Its id there.
    pub id: String,
}

/// An entry that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Where.
    pub place: Place,
    /// Which job it names; none for what can't be read.
    pub job: Option<JobId>,
}

/// Whether what was written is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wholeness {
    /// As far as can be told: so many entries in each stream, in the order of the queues.
    Whole(Vec<usize>),
    /// Redis has lost something, or another master writes under our names.
    Lost,
}

/// Fills the streams of one master.
pub struct Feed {
    calls: Calls,
    names: Names,
}

impl Feed {
    /// Nothing is connected yet.
    #[must_use]
    pub fn new(address: Address, prefix: &str, signals: Signals) -> Self {
        Self {
            calls: Calls::new(address, signals),
            names: Names::new(prefix),
        }
    }

    /// Makes the streams and their groups where they are missing, removes those of queues
    /// that aren't any more, signs with `epoch`, and lists what is there.
    ///
    /// # Errors
    /// When Redis can't be used.
    pub fn take_over(&mut self, queues: &[&str], epoch: &str) -> Result<Vec<Listed>, QueueError> {
        let known: Vec<String> = self
            .calls
            .call(RedisCommand::Prepare, pipe().smembers(self.names.queues()))
            .map(|(it,): (Vec<String>,)| it)?;
        let mut prepare = pipe();
        for gone in known.iter().filter(|it| !queues.contains(&it.as_str())) {
            prepare.del(self.names.stream(gone)).ignore();
            prepare.srem(self.names.queues(), gone).ignore();
        }
        for queue in queues {
            prepare.sadd(self.names.queues(), *queue).ignore();
        }
        prepare.set(self.names.epoch(), epoch).ignore();
        let () = self.calls.call(RedisCommand::Prepare, &prepare)?;
        let mut listed = Vec::new();
        for queue in queues {
            self.make_group(queue)?;
            listed.extend(self.list(queue)?);
        }
        Ok(listed)
    }

    /// Makes a stream and its group. One that is there stays.
    fn make_group(&mut self, queue: &str) -> Result<(), QueueError> {
        let stream = self.names.stream(queue);
        // Asked before, because Redis answers with an error where the group is there, which
        // would look like a failure. An empty stream is made by an entry that goes again.
        let (exists,): (bool,) = self
            .calls
            .call(RedisCommand::Prepare, pipe().exists(&stream))?;
        if exists {
            let (groups,): (redis::streams::StreamInfoGroupsReply,) = self
                .calls
                .call(RedisCommand::Prepare, pipe().xinfo_groups(&stream))?;
            if groups.groups.iter().any(|it| it.name == GROUP) {
                return Ok(());
            }
        }
        // From the first entry on: what nobody was given yet is still to be given.
        let mut make = pipe();
        make.xgroup_create_mkstream(&stream, GROUP, "0").ignore();
        self.calls.call(RedisCommand::Prepare, &make)
    }

    fn list(&mut self, queue: &str) -> Result<Vec<Listed>, QueueError> {
        let stream = self.names.stream(queue);
        let mut listed = Vec::new();
        let mut from = "-".to_owned();
        loop {
            let page = pipe().xrange_count(&stream, &from, "+", PAGE).to_owned();
            let (page,): (StreamRangeReply,) = self.calls.call(RedisCommand::List, &page)?;
            let count = page.ids.len();
            if let Some(last) = page.ids.last() {
                // Exclusive (Redis 6.2).
                from = format!("({}", last.id);
            }
            listed.extend(page.ids.into_iter().map(|it| Listed {
                job: Message::of(&it.map).map(|it| it.job),
                place: Place {
                    queue: queue.to_owned(),
                    id: it.id,
                },
            }));
            if count < PAGE {
                return Ok(listed);
            }
        }
    }

    /// Adds an entry for each job to its queue's stream. Where each stands, in order.
    ///
    /// # Errors
    /// When Redis can't be used, or is full; some of them may be there then.
    pub fn add(&mut self, messages: &[(&str, Message)]) -> Result<Vec<Place>, QueueError> {
        let mut add = pipe();
        for (queue, message) in messages {
            add.xadd(self.names.stream(queue), "*", &message.fields());
        }
        let ids: Vec<String> = self.calls.call(RedisCommand::Add, &add)?;
        let places = messages.iter().zip(ids);
        let places = places.map(|((queue, _), id)| Place {
            queue: (*queue).to_owned(),
            id,
        });
        Ok(places.collect())
    }

    /// Removes entries, whoever holds them.
    ///
    /// # Errors
    /// When Redis can't be used.
    pub fn remove(&mut self, places: &[Place]) -> Result<(), QueueError> {
        let mut remove = Pipeline::new();
        remove.atomic();
        for Place { queue, id } in places {
            let stream = self.names.stream(queue);
            remove.xack(&stream, GROUP, &[id]).ignore();
            remove.xdel(&stream, &[id]).ignore();
        }
        self.calls.call(RedisCommand::Remove, &remove)
    }

    /// Looks whether everything is still there: the signature, and each stream with its
    /// group. A group that is gone is made anew.
    ///
    /// # Errors
    /// When Redis can't be used.
    pub fn check(&mut self, queues: &[&str], epoch: &str) -> Result<Wholeness, QueueError> {
        let mut signed = pipe();
        signed.get(self.names.epoch());
        for queue in queues {
            signed.exists(self.names.stream(queue));
        }
        let (found, exist): (Option<String>, Vec<bool>) = {
            let answers: Vec<redis::Value> = self.calls.call(RedisCommand::Check, &signed)?;
            let mut answers = answers.into_iter();
            let found = answers
                .next()
                .map(redis::from_redis_value::<Option<String>>);
            let exist = answers.map(redis::from_redis_value::<bool>);
            (
                found.and_then(Result::ok).flatten(),
                exist.map(|it| it.unwrap_or(false)).collect(),
            )
        };
        if found.as_deref() != Some(epoch) || exist.contains(&false) {
            return Ok(Wholeness::Lost);
        }
        let mut look = pipe();
        for queue in queues {
            look.xinfo_stream(self.names.stream(queue));
        }
        let streams: Vec<StreamInfoStreamReply> = self.calls.call(RedisCommand::Check, &look)?;
        if streams.iter().any(|it| it.groups == 0) {
            return Ok(Wholeness::Lost);
        }
        Ok(Wholeness::Whole(
            streams.into_iter().map(|it| it.length).collect(),
        ))
    }
}
