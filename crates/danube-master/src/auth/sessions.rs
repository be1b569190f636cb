//! Browsers: a one-time link or a key becomes a cookie.
//!
//! In memory only: a restart ends every session, and a key opens a new one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use danube_store::Role;
use sha2::{Digest, Sha256};

use super::{Caller, random};

/// The cookie's name. `__Host-` would need TLS, which loopback hasn't.
pub(crate) const SESSION_COOKIE: &str = "danube_session";

/// How long a browser stays logged in: a working day.
const SESSION_LIFE: Duration = Duration::from_secs(12 * 3_600);

/// How long a login link is good for.
const LINK_LIFE: Duration = Duration::from_secs(15 * 60);

/// Sessions and links that are kept at once; the oldest goes first.
const SESSIONS_MAX: usize = 1_000;

/// Live sessions and unused links, by the hash of their token.
#[derive(Default)]
pub(crate) struct Sessions {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sessions: HashMap<[u8; 32], (Caller, Instant)>,
    links: HashMap<[u8; 32], Instant>,
}

impl Sessions {
    /// A link's token: logs in as admin, once.
    pub(crate) fn new_link(&self, now: Instant) -> String {
        let token = token();
        let mut state = self.lock();
        make_room(&mut state.links, now, |it| *it);
        state.links.insert(hash(&token), now + LINK_LIFE);
        token
    }

    /// Turns a link's token into a session's; the link is used up.
    pub(crate) fn follow_link(&self, token: &str, now: Instant) -> Option<String> {
        let until = self.lock().links.remove(&hash(token))?;
        if until < now {
            return None;
        }
        let caller = Caller {
            name: "login link".to_owned(),
            owner: "login-link".to_owned(),
            role: Role::Admin,
            by_session: true,
        };
        Some(self.begin(caller, now))
    }

    /// Begins a session for somebody who showed a key.
    pub(crate) fn begin(&self, caller: Caller, now: Instant) -> String {
        // Always a fresh token: one from before the login is worth nothing.
        let token = token();
        let mut state = self.lock();
        make_room(&mut state.sessions, now, |(_, until)| *until);
        let caller = Caller {
            by_session: true,
            ..caller
        };
        state
            .sessions
            .insert(hash(&token), (caller, now + SESSION_LIFE));
        token
    }

    /// Who has this session.
    pub(crate) fn caller(&self, token: &str, now: Instant) -> Option<Caller> {
        let state = self.lock();
        let (caller, until) = state.sessions.get(&hash(token))?;
        (*until >= now).then(|| caller.clone())
    }

    /// How many sessions are open.
    pub(crate) fn count(&self, now: Instant) -> usize {
        let state = self.lock();
        state
            .sessions
            .values()
            .filter(|(_, until)| *until >= now)
            .count()
    }

    /// Ends a session.
    pub(crate) fn end(&self, token: &str) {
        self.lock().sessions.remove(&hash(token));
    }

    /// Ends every session of this owner.
    pub(crate) fn end_all(&self, owner: &str) {
        self.lock()
            .sessions
            .retain(|_, (caller, _)| caller.owner != owner);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole after every line that changes it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room<T>(map: &mut HashMap<[u8; 32], T>, now: Instant, until: impl Fn(&T) -> Instant) {
    map.retain(|_, it| until(it) >= now);
    if map.len() < SESSIONS_MAX {
        return;
    }
    if let Some(oldest) = map
        .iter()
        .min_by_key(|(_, it)| until(it))
        .map(|(key, _)| *key)
    {
        map.remove(&oldest);
    }
}

fn token() -> String {
    URL_SAFE_NO_PAD.encode(random::<32>())
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_works_once_and_not_for_ever() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let link = sessions.new_link(now);
        let session = sessions.follow_link(&link, now).unwrap();
        assert_eq!(sessions.caller(&session, now).unwrap().role, Role::Admin);
        assert_eq!(sessions.follow_link(&link, now), None);
        let late = sessions.new_link(now);
        assert_eq!(
            sessions.follow_link(&late, now + LINK_LIFE + Duration::from_secs(1)),
            None
        );
    }

    #[test]
    fn a_session_ends_by_time_and_by_logout() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let session = sessions.follow_link(&sessions.new_link(now), now).unwrap();
        let late = now + SESSION_LIFE + Duration::from_secs(1);
        assert_eq!(sessions.caller(&session, late), None);
        assert_eq!((sessions.count(now), sessions.count(late)), (1, 0));
        sessions.end(&session);
        assert_eq!(sessions.count(now), 0);
        assert_eq!(sessions.caller(&session, now), None);
    }

    #[test]
    fn sessions_are_bounded() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        for _ in 0..SESSIONS_MAX + 10 {
            sessions.new_link(now);
        }
        assert_eq!(sessions.lock().links.len(), SESSIONS_MAX);
    }
}
