//! Browsers: a one-time link, a key or a sign-in becomes a cookie.
//!
//! A session says who somebody is, never what they may do: that is asked of the key or the
//! user at each request. It lies in the store, as the hash of its token, and is durable before the
//! browser hears of it, so a restart ends none. Links are in memory: a start prints a new one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use danube_model::Timestamp;
use danube_store::{KeyId, SessionOf, SessionRecord, Store, StoreError};

use super::hash;

/// The cookie's name. `__Host-` would need TLS, which loopback hasn't.
pub(crate) const SESSION_COOKIE: &str = "danube_session";

/// How long a browser stays signed in: a working day.
const SESSION_LIFE: Duration = Duration::from_secs(12 * 3_600);

/// How long one stays signed in that asks for nothing: a page with a running job asks by itself.
const IDLE_MAX: Duration = Duration::from_secs(2 * 3_600);

/// How often it is written down that somebody was seen.
const SEEN_EVERY: Duration = Duration::from_secs(60);

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
    sessions: HashMap<[u8; 32], Live>,
    links: HashMap<[u8; 32], Instant>,
}

struct Live {
    of: SessionOf,
    /// When it ends at the latest.
    until: Timestamp,
    seen: Timestamp,
    /// When it was last written down that they were seen.
    told: Timestamp,
}

impl Live {
    fn is_good(&self, now: Timestamp) -> bool {
        now < self.until && now < after(self.seen, IDLE_MAX)
    }
}

/// Who was seen, and whether that is to be written down.
pub(crate) struct Seen {
    pub(crate) of: SessionOf,
    /// Then by this hash.
    pub(crate) to_tell: Option<[u8; 32]>,
}

impl Sessions {
    /// Reads the sessions of the store, and forgets those there that are over.
    pub(crate) fn load(store: &Store, now: Timestamp) -> Result<Self, StoreError> {
        let sessions = Self::default();
        let mut gone = Vec::new();
        let mut state = sessions.lock();
        for it in store.sessions()? {
            let live = Live {
                of: it.of,
                until: it.expires_at,
                seen: it.seen_at,
                told: it.seen_at,
            };
            if live.is_good(now) {
                state.sessions.insert(it.sha256, live);
            } else {
                gone.push(it.sha256);
            }
        }
        drop(state);
        if !gone.is_empty() {
            store.end_sessions(gone).wait()?;
        }
        Ok(sessions)
    }

    /// A link's token: logs in as admin, once.
    pub(crate) fn new_link(&self, now: Instant) -> String {
        let token = super::token();
        let mut state = self.lock();
        state.links.retain(|_, until| *until >= now);
        if state.links.len() >= SESSIONS_MAX
            && let Some(oldest) = state.links.iter().min_by_key(|(_, it)| **it)
        {
            let oldest = *oldest.0;
            state.links.remove(&oldest);
        }
        state.links.insert(hash(&token), now + LINK_LIFE);
        token
    }

    /// Whether a link's token is good; the link is used up.
    pub(crate) fn follow_link(&self, token: &str, now: Instant) -> bool {
        let until = self.lock().links.remove(&hash(token));
        until.is_some_and(|it| it >= now)
    }

    /// Begins a session; its token. Always a fresh one: what a browser showed before it
    /// signed in is worth nothing.
    pub(crate) async fn begin(
        &self,
        store: &Store,
        of: SessionOf,
        now: Timestamp,
    ) -> Result<String, StoreError> {
        let token = super::token();
        let record = SessionRecord {
            sha256: hash(&token),
            of,
            created_at: now,
            seen_at: now,
            expires_at: after(now, SESSION_LIFE),
        };
        let gone = self.make_room(now);
        store.begin_session(record.clone(), gone).await?;
        let live = Live {
            of: record.of,
            until: record.expires_at,
            seen: now,
            told: now,
        };
        self.lock().sessions.insert(record.sha256, live);
        Ok(token)
    }

    /// Who has this session.
    pub(crate) fn seen(&self, token: &str, now: Timestamp) -> Option<Seen> {
        let sha256 = hash(token);
        let mut state = self.lock();
        let live = state.sessions.get_mut(&sha256)?;
        if !live.is_good(now) {
            return None;
        }
        live.seen = live.seen.max(now);
        let is_to_tell = now >= after(live.told, SEEN_EVERY);
        if is_to_tell {
            live.told = now;
        }
        Some(Seen {
            of: live.of.clone(),
            to_tell: is_to_tell.then_some(sha256),
        })
    }

    /// How many sessions are open.
    pub(crate) fn count(&self, now: Timestamp) -> usize {
        let state = self.lock();
        state.sessions.values().filter(|it| it.is_good(now)).count()
    }

    /// Ends a session, for ever: in the store first, so that none that somebody was told to have
    /// ended is back after a restart. One that isn't known costs no write.
    pub(crate) async fn end(&self, store: &Store, token: &str) -> Result<(), StoreError> {
        let sha256 = hash(token);
        if self.lock().sessions.contains_key(&sha256) {
            store.end_sessions(vec![sha256]).await?;
            self.lock().sessions.remove(&sha256);
        }
        Ok(())
    }

    /// Ends every session that this key opened; the store did so with the key.
    pub(crate) fn end_all(&self, key: KeyId) {
        self.lock()
            .sessions
            .retain(|_, live| live.of != SessionOf::Key(key));
    }

    /// Forgets sessions that are over; their hashes.
    pub(crate) fn reap(&self, now: Timestamp) -> Vec<[u8; 32]> {
        let mut state = self.lock();
        let over = state.sessions.extract_if(|_, it| !it.is_good(now));
        over.map(|(sha256, _)| sha256).collect()
    }

    /// The same, and the one that was seen least lately when there are as many as there may be.
    fn make_room(&self, now: Timestamp) -> Vec<[u8; 32]> {
        let mut gone = self.reap(now);
        let mut state = self.lock();
        while state.sessions.len() >= SESSIONS_MAX {
            let oldest = state.sessions.iter().min_by_key(|(_, it)| it.seen);
            let Some(sha256) = oldest.map(|(sha256, _)| *sha256) else {
                break;
            };
            state.sessions.remove(&sha256);
            gone.push(sha256);
        }
        gone
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole after every line that changes it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn after(at: Timestamp, time: Duration) -> Timestamp {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(at.as_millis().saturating_add(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn with(sessions: &Sessions, token: &str, of: SessionOf) {
        let live = Live {
            of,
            until: after(NOW, SESSION_LIFE),
            seen: NOW,
            told: NOW,
        };
        sessions.lock().sessions.insert(hash(token), live);
    }

    #[test]
    fn a_link_works_once_and_not_for_ever() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let link = sessions.new_link(now);
        assert!(sessions.follow_link(&link, now));
        assert!(!sessions.follow_link(&link, now));
        let late = sessions.new_link(now);
        let then = now + LINK_LIFE + Duration::from_secs(1);
        assert!(!sessions.follow_link(&late, then));
    }

    #[test]
    fn a_session_ends_by_its_time_by_silence_and_with_its_key() {
        let sessions = Sessions::default();
        with(&sessions, "a", SessionOf::Key(KeyId(1)));
        with(&sessions, "b", SessionOf::User("b".to_owned()));
        let hour = |it: u64| after(NOW, Duration::from_secs(3_600 * it));
        assert!(sessions.seen("a", hour(1)).unwrap().to_tell.is_some());
        assert!(sessions.seen("a", hour(1)).unwrap().to_tell.is_none());
        assert!(sessions.seen("b", hour(2)).is_none(), "it was silent");
        assert_eq!(sessions.count(hour(2)), 1);
        for nth in 2..12 {
            assert!(sessions.seen("a", hour(nth)).is_some(), "{nth}");
        }
        assert!(sessions.seen("a", hour(12)).is_none(), "its time is over");
        assert_eq!(sessions.reap(hour(12)).len(), 2);
        with(&sessions, "c", SessionOf::Key(KeyId(1)));
        sessions.end_all(KeyId(1));
        assert!(sessions.seen("c", NOW).is_none());
    }

    #[test]
    fn sessions_are_bounded_and_the_one_not_seen_for_longest_goes() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        for nth in 0..SESSIONS_MAX {
            sessions.new_link(now);
            with(&sessions, &nth.to_string(), SessionOf::Link);
        }
        sessions.new_link(now);
        assert_eq!(sessions.lock().links.len(), SESSIONS_MAX);
        let later = after(NOW, SEEN_EVERY);
        for nth in 1..SESSIONS_MAX {
            sessions.seen(&nth.to_string(), later);
        }
        assert_eq!(sessions.make_room(later), [hash("0")]);
    }
}
