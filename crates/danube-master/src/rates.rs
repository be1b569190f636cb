//! How fast somebody may send: so many at once, and so many more each second.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How many are counted at once; beyond that, all further ones share one count.
const COUNTED_MAX: usize = 4_096;

/// A bound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// How many may come at once.
    pub(crate) burst: u32,
    /// How many more each second.
    pub(crate) per_second: f64,
}

/// What may still come, and as of when.
struct Left {
    count: f64,
    at: Instant,
}

/// What came lately of each `K`.
pub(crate) struct Rates<K> {
    rate: Rate,
    /// The entry without a key is of all who found no place.
    left: Mutex<HashMap<Option<K>, Left>>,
}

impl<K: Eq + Hash> Rates<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            left: Mutex::default(),
        }
    }

    /// Whether one more may come.
    pub(crate) fn take(&self, whose: K, now: Instant) -> bool {
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let mut whose = Some(whose);
        if !all.contains_key(&whose) && all.len() >= COUNTED_MAX {
            all.retain(|_, it| self.now(it, now) < f64::from(self.rate.burst));
            if all.len() >= COUNTED_MAX {
                whose = None;
            }
        }
        let left = all.entry(whose).or_insert(Left {
            count: f64::from(self.rate.burst),
            at: now,
        });
        left.count = self.now(left, now);
        left.at = now;
        if left.count < 1.0 {
            return false;
        }
        left.count -= 1.0;
        true
    }

    fn now(&self, left: &Left, now: Instant) -> f64 {
        let since = now.saturating_duration_since(left.at).as_secs_f64();
        (left.count + since * self.rate.per_second).min(f64::from(self.rate.burst))
    }
}

/// What an address is counted as: whoever has one address of IPv6 has all of its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Network(IpAddr);

impl Network {
    pub(crate) fn of(peer: IpAddr) -> Self {
        Self(match peer.to_canonical() {
            IpAddr::V6(it) => {
                let [a, b, c, d, ..] = it.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RATE: Rate = Rate {
        burst: 200,
        per_second: 20.0,
    };

    #[test]
    fn a_burst_is_taken_and_then_so_many_a_second() {
        let (rates, now) = (Rates::new(RATE), Instant::now());
        let taken = |whose: u32, now| (0..1_000).filter(|_| rates.take(whose, now)).count();
        assert_eq!(taken(1, now), 200);
        assert_eq!(taken(1, now + Duration::from_secs(1)), 20);
        assert_eq!(taken(1, now + Duration::from_secs(3_600)), 200);
        assert_eq!(taken(2, now), 200, "another one's own");
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_an_address_of_ipv4_is_itself_however_it_is_written() {
        let of = |it: &str| Network::of(it.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1:2:3"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn no_flood_of_addresses_takes_more_room() {
        let (rates, now) = (Rates::new(RATE), Instant::now());
        for it in 0..2 * COUNTED_MAX {
            rates.take(it, now);
        }
        assert!(rates.left.lock().unwrap().len() <= COUNTED_MAX + 1);
    }
}
