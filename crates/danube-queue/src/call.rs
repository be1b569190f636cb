//! The one layer through which all calls of Redis go: a connection that is made anew after
//! any failure, a deadline for each call, and what is told of it.

use std::time::{Duration, Instant};

use danube_signals::{RedisCommand, Signals};
use redis::{Connection, FromRedisValue, Pipeline, RedisError};

use crate::Address;

/// How long a connection may take to be made, with its login.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// How long an answer may take.
const CALL_DEADLINE: Duration = Duration::from_secs(2);

/// Why Redis can't be used now. Says no key's content and no password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {why}")]
pub struct QueueError {
    doing: &'static str,
    why: String,
}

/// Whether a Redis answers there, within four seconds.
///
/// # Errors
/// Why not.
pub fn ping(address: &Address, signals: &Signals) -> Result<(), QueueError> {
    let mut calls = Calls::new(address.clone(), signals.clone());
    let mut ping = redis::pipe();
    ping.ping().ignore();
    calls.call(RedisCommand::Check, &ping)
}

/// A connection to one Redis.
pub(crate) struct Calls {
    address: Address,
    signals: Signals,
    connection: Option<Connection>,
}

impl Calls {
    pub(crate) fn new(address: Address, signals: Signals) -> Self {
        Self {
            address,
            signals,
            connection: None,
        }
    }

    /// Whether there was no failure since the last call.
    pub(crate) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Sends commands in one go and waits for their answers.
    ///
    /// Any failure, a refusal of one command included, ends the connection: whoever calls
    /// next begins anew, and looks first at what is there.
    pub(crate) fn call<T: FromRedisValue>(
        &mut self,
        command: RedisCommand,
        pipeline: &Pipeline,
    ) -> Result<T, QueueError> {
        self.call_waiting(command, pipeline, Duration::ZERO)
    }

    /// The same, for commands that Redis may answer so much later.
    pub(crate) fn call_waiting<T: FromRedisValue>(
        &mut self,
        command: RedisCommand,
        pipeline: &Pipeline,
        wait: Duration,
    ) -> Result<T, QueueError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let began = Instant::now();
        let answered = connection
            .set_read_timeout(Some(wait + CALL_DEADLINE))
            .and_then(|()| connection.set_write_timeout(Some(CALL_DEADLINE)))
            .and_then(|()| pipeline.query(&mut connection));
        if wait.is_zero() {
            self.took(command, began);
        }
        match answered {
            Ok(answer) => {
                self.connection = Some(connection);
                Ok(answer)
            }
            Err(error) => Err(self.failed(command, &error)),
        }
    }

    fn connect(&self) -> Result<Connection, QueueError> {
        let began = Instant::now();
        let client = &self.address.client;
        let connected = client.get_connection_with_timeout(CONNECT_DEADLINE);
        self.took(RedisCommand::Connect, began);
        connected.map_err(|error| self.failed(RedisCommand::Connect, &error))
    }

    fn took(&self, command: RedisCommand, began: Instant) {
        let duration = self.signals.redis_call_duration_seconds.at(command);
        duration.observe_duration(began.elapsed());
    }

    fn failed(&self, command: RedisCommand, error: &RedisError) -> QueueError {
        self.signals.redis_call_errors_total.at(command).inc();
        QueueError {
            doing: command.doing(),
            why: if error.is_timeout() {
                "no answer in time".to_owned()
            } else {
                error.to_string()
            },
        }
    }
}

/// What a call does, for people.
trait Doing {
    fn doing(self) -> &'static str;
}

impl Doing for RedisCommand {
    fn doing(self) -> &'static str {
        match self {
            Self::Connect => "connect to Redis",
            Self::Prepare => "prepare the streams in Redis",
            Self::List => "list a stream in Redis",
            Self::Add => "add jobs to a stream in Redis",
            Self::Remove => "remove jobs from a stream in Redis",
            Self::Check => "look after the streams in Redis",
            Self::Read => "read a stream in Redis",
            Self::Claim => "take over entries of a stream in Redis",
        }
    }
}
