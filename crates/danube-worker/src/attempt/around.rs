//! What is around a step: its environment, and its way to the server where it has no network.

use std::io;

use super::{Running, number};
use crate::dispatch::{Door, Opened};
use crate::environment::{StepOwn, Surroundings, environment};
use crate::place::Place;
use crate::token::JobToken;
use crate::tools::Tools;

impl Running<'_> {
    pub(super) fn environment(
        &self,
        place: &Place,
        index: usize,
        step: Option<&StepOwn<'_>>,
    ) -> Vec<(String, String)> {
        self.environment_with((place, index), step, (&self.own.token, None))
    }

    pub(super) fn environment_with(
        &self,
        (place, index): (&Place, usize),
        step: Option<&StepOwn<'_>>,
        (token, tools): (&JobToken, Option<&Tools>),
    ) -> Vec<(String, String)> {
        let around = Surroundings {
            work: self.work,
            path: &self.inner.settings.path,
            home: &place.home().to_string_lossy(),
            workspace: &place.source().to_string_lossy(),
            server: &self.inner.settings.server,
            socket: self.socket.as_deref(),
            token: token.text(),
            tools,
            commit: self.commit.as_deref(),
            context: self.ids.step(self.work.attempt.number, number(index)),
        };
        environment(&around, step)
    }

    /// Opens a socket that leads to the server, where the job's steps have no network. It is
    /// served until what is returned is dropped.
    pub(super) fn open_socket(&mut self, place: &Place) -> io::Result<Option<Opened>> {
        if self.inner.settings.server.is_empty() {
            return Ok(None);
        }
        let Some((listener, path)) = place.socket(&self.inner.walls)? else {
            return Ok(None);
        };
        let token = &self.own.token;
        let mut tokens = vec![token.hash()];
        if self.own.calls.is_some() {
            tokens.push(token.of_steps().hash());
        }
        let attempt = self.work.attempt;
        let opened = self.inner.dispatch.relay(Door {
            listener,
            attempt,
            tokens,
        })?;
        self.socket = Some(path);
        Ok(Some(opened))
    }
}
