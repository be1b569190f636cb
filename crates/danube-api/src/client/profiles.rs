//! Calls that look into the server itself.

use std::io::Read;

use ureq::SendBody;
use ureq::http::Method;

use super::{Client, ClientError, with_query};
use crate::{CPU_PROFILE_PATH, HEAP_PROFILE_PATH, TASKS_PATH, TaskList};

/// Bytes of a profile: the server bounds the stacks that it counts, and an SVG has 20,000 frames at most.
const PROFILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Client {
    /// What uses the server's processor: `query` holds `seconds`, `hz` and `format`. It takes as long as
    /// was asked for.
    ///
    /// # Errors
    /// [`ClientError`]; `profile_busy` while another profile is being taken.
    pub fn cpu_profile(&self, query: &[(&str, Option<&str>)]) -> Result<Vec<u8>, ClientError> {
        self.profile(&with_query(CPU_PROFILE_PATH, query))
    }

    /// Who holds the memory that is allocated meanwhile: `query` holds `seconds` and `format`.
    ///
    /// # Errors
    /// [`ClientError`]; `profile_busy` while another profile is being taken.
    pub fn heap_profile(&self, query: &[(&str, Option<&str>)]) -> Result<Vec<u8>, ClientError> {
        self.profile(&with_query(HEAP_PROFILE_PATH, query))
    }

    /// What each loop of the server does.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn tasks(&self) -> Result<TaskList, ClientError> {
        self.json(Method::GET, TASKS_PATH, None, None)
    }

    /// Its head comes at once and its body when it is done, so it has no deadline of its own.
    fn profile(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        let request = self.request(Method::GET, path).body(SendBody::none());
        let request = request.map_err(|error| self.away(&error.into()))?;
        let answer = self.send(request)?;
        let mut bytes = Vec::new();
        let mut body = answer.into_body().into_reader().take(PROFILE_BYTES_MAX);
        let read = body.read_to_end(&mut bytes);
        read.map_err(|error| ClientError::Away {
            server: self.server().to_owned(),
            why: error.to_string(),
        })?;
        Ok(bytes)
    }
}
