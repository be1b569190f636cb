//! A worker's door: hears which jobs wait.

use std::time::{Duration, Instant};

use danube_signals::{RedisCommand, Signals};
use redis::streams::{StreamAutoClaimReply, StreamId, StreamReadOptions, StreamReadReply};
use redis::{Pipeline, pipe};

use crate::call::Calls;
use crate::names::Names;
use crate::{Address, GROUP, Message, QueueError};

/// How long [`Source::next`] waits for an entry.
pub const WAIT: Duration = Duration::from_secs(5);

/// An entry that is this worker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// In which queue's stream it stands.
    pub queue: String,
    /// Its id there.
    id: String,
    /// What it says; none when it can't be read.
    pub message: Option<Message>,
}

/// Reads the streams of a master as one of its workers.
pub struct Source {
    calls: Calls,
    names: Names,
    /// The worker's name.
    consumer: String,
    /// The highest priority first.
    queues: Vec<String>,
    /// A worker that was silent for so long is dead to everybody.
    lease: Duration,
    /// When it was last looked for what dead workers have left.
    looked_at: Option<Instant>,
}

impl Source {
    /// Nothing is connected yet. Entries of `queues` are taken, the first queue's first.
    #[must_use]
    pub fn new(
        (address, prefix): (Address, &str),
        (consumer, queues): (&str, &[String]),
        lease: Duration,
        signals: Signals,
    ) -> Self {
        Self {
            calls: Calls::new(address, signals),
            names: Names::new(prefix),
            consumer: consumer.to_owned(),
            queues: queues.to_vec(),
            lease,
            looked_at: None,
        }
    }

    /// Takes entries, `most` at most: those that are this worker's since before, those that
    /// a dead one has left, or else the next ones; of a queue with a higher priority first.
    /// Waits [`WAIT`] where there is none, and returns none then.
    ///
    /// What is taken must be kept ([`keep`](Self::keep)) until it is [`done`](Self::done) or
    /// [given back](Self::give_back). It may be more than `most`, by one a queue.
    ///
    /// # Errors
    /// When Redis can't be used.
    pub fn next(&mut self, most: usize) -> Result<Vec<Entry>, QueueError> {
        if !self.calls.is_connected() {
            let own = self.read(most, "0", Duration::ZERO)?;
            if !own.is_empty() {
                return Ok(own);
            }
        }
        let is_due = self
            .looked_at
            .is_none_or(|it| it.elapsed() >= self.lease / 3);
        if is_due {
            let left = self.take_over(most)?;
            self.looked_at = Some(Instant::now());
            if !left.is_empty() {
                return Ok(left);
            }
        }
        let new = self.read(most, ">", Duration::ZERO)?;
        if !new.is_empty() {
            return Ok(new);
        }
        self.read(1, ">", WAIT)
    }

    /// Reads the streams one after the other until there is enough; all at once where it
    /// may wait.
    fn read(&mut self, most: usize, from: &str, wait: Duration) -> Result<Vec<Entry>, QueueError> {
        if !wait.is_zero() {
            let queues = self.queues.clone();
            return self.read_some(&queues, (1, from), wait);
        }
        let mut entries = Vec::new();
        for queue in self.queues.clone() {
            let wanted = most - entries.len();
            entries.extend(self.read_some(&[queue], (wanted, from), wait)?);
            if entries.len() >= most {
                break;
            }
        }
        Ok(entries)
    }

    fn read_some(
        &mut self,
        queues: &[String],
        (most, from): (usize, &str),
        wait: Duration,
    ) -> Result<Vec<Entry>, QueueError> {
        let options = StreamReadOptions::default()
            .group(GROUP, &self.consumer)
            .count(most);
        let options = if wait.is_zero() {
            options
        } else {
            options.block(usize::try_from(wait.as_millis()).unwrap_or(usize::MAX))
        };
        let streams: Vec<String> = queues.iter().map(|it| self.names.stream(it)).collect();
        let from = vec![from; streams.len()];
        let mut read = pipe();
        read.xread_options(&streams, &from, &options);
        let answered: Result<(Option<StreamReadReply>,), _> =
            self.calls.call_waiting(RedisCommand::Read, &read, wait);
        let (found,) = answered?;
        let keys = found.map(|it| it.keys).unwrap_or_default();
        let mut entries = Vec::new();
        for key in keys {
            let queue = self.names.queue(&key.key).unwrap_or_default().to_owned();
            entries.extend(key.ids.into_iter().map(|it| entry(&queue, it)));
        }
        Ok(entries)
    }

    /// Takes what has lain with others for longer than a lease. A living worker
    /// [keeps](Self::keep) what it holds well before that.
    fn take_over(&mut self, most: usize) -> Result<Vec<Entry>, QueueError> {
        let idle_ms = u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX);
        let mut entries = Vec::new();
        for queue in self.queues.clone() {
            let stream = self.names.stream(&queue);
            let mut from = "0-0".to_owned();
            // Redis looks at ten for each that is wanted, and says where to go on: what the
            // living hold must not hide what the dead have left.
            loop {
                let wanted = most - entries.len();
                let options = redis::streams::StreamAutoClaimOptions::default().count(wanted);
                let mut claim = pipe();
                claim.xautoclaim_options(&stream, GROUP, &self.consumer, idle_ms, &from, options);
                let (left,): (StreamAutoClaimReply,) =
                    self.calls.call(RedisCommand::Claim, &claim)?;
                entries.extend(left.claimed.into_iter().map(|it| entry(&queue, it)));
                if entries.len() >= most {
                    return Ok(entries);
                }
                if left.next_stream_id == "0-0" {
                    break;
                }
                from = left.next_stream_id;
            }
        }
        Ok(entries)
    }

    /// Says that this worker still means to ask the master for these.
    ///
    /// # Errors
    /// When Redis can't be used.
    pub fn keep(&mut self, entries: &[Entry]) -> Result<(), QueueError> {
        let mut keep = pipe();
        for it in entries {
            let stream = self.names.stream(&it.queue);
            let options = redis::streams::StreamClaimOptions::default().with_justid();
            keep.xclaim_options(&stream, GROUP, &self.consumer, 0, &[&it.id], options)
                .ignore();
        }
        self.calls.call(RedisCommand::Claim, &keep)
    }

    /// Removes entries: their jobs don't wait any more, or not for us.
    ///
    /// # Errors
    /// When Redis can't be used.
    pub fn done(&mut self, entries: &[Entry]) -> Result<(), QueueError> {
        let mut done = Pipeline::new();
        done.atomic();
        for it in entries {
            let stream = self.names.stream(&it.queue);
            done.xack(&stream, GROUP, &[&it.id]).ignore();
            done.xdel(&stream, &[&it.id]).ignore();
        }
        self.calls.call(RedisCommand::Remove, &done)
    }

    /// Puts entries back for others, at the end of their streams.
    ///
    /// # Errors
    /// When Redis can't be used; then they are found with this worker a lease later.
    pub fn give_back(&mut self, entries: &[Entry]) -> Result<(), QueueError> {
        let mut back = Pipeline::new();
        back.atomic();
        for it in entries {
            let stream = self.names.stream(&it.queue);
            if let Some(message) = &it.message {
                back.xadd(&stream, "*", &message.fields()).ignore();
            }
            back.xack(&stream, GROUP, &[&it.id]).ignore();
            back.xdel(&stream, &[&it.id]).ignore();
        }
        self.calls.call(RedisCommand::Add, &back)
    }
}

fn entry(queue: &str, it: StreamId) -> Entry {
    Entry {
        queue: queue.to_owned(),
        message: Message::of(&it.map),
        id: it.id,
    }
}
