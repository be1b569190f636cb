//! How fast webhooks may come: strangers may call, so each address has its share.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use danube_model::ForgeKind;

/// Webhooks that may come at once from one address to forges of one kind: a push to many
/// branches, or of many repositories, is one webhook each.
pub(crate) const BURST_MAX: u32 = 300;

/// How many more each second.
const PER_SECOND: f64 = 5.0;

/// Addresses that are counted at once; beyond that, all further ones share one count.
const ADDRESSES_MAX: usize = 4_096;

/// Who is counted; none for all who find no place.
type Whose = Option<(Option<ForgeKind>, IpAddr)>;

/// What may still come, and as of when.
struct Left {
    count: f64,
    at: Instant,
}

/// What came lately.
#[derive(Default)]
pub(crate) struct Rates(Mutex<HashMap<Whose, Left>>);

impl Rates {
    /// Whether one more may come.
    pub(crate) fn take(&self, kind: Option<ForgeKind>, peer: IpAddr, now: Instant) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut whose = Some((kind, network(peer)));
        if !all.contains_key(&whose) && all.len() >= ADDRESSES_MAX {
            all.retain(|_, it| it.now(now) < f64::from(BURST_MAX));
            if all.len() >= ADDRESSES_MAX {
                whose = None;
            }
        }
        let left = all.entry(whose).or_insert(Left {
            count: f64::from(BURST_MAX),
            at: now,
        });
        left.count = left.now(now);
        left.at = now;
        if left.count < 1.0 {
            return false;
        }
        left.count -= 1.0;
        true
    }
}

impl Left {
    fn now(&self, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        (self.count + since * PER_SECOND).min(f64::from(BURST_MAX))
    }
}

/// Whoever has one address of IPv6 has all of its network.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(it) => {
            let [a, b, c, d, ..] = it.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_address_has_its_share_and_gets_more_with_time() {
        let (rates, now) = (Rates::default(), Instant::now());
        let take =
            |peer: &str, now| rates.take(Some(ForgeKind::GitHub), peer.parse().unwrap(), now);
        for _ in 0..BURST_MAX {
            assert!(take("192.0.2.1", now));
        }
        assert!(!take("192.0.2.1", now) && !take("::ffff:192.0.2.1", now));
        assert!(take("192.0.2.2", now));
        assert!(rates.take(None, "192.0.2.1".parse().unwrap(), now));
        let later = now + Duration::from_secs(1);
        assert!((0..5).all(|_| take("192.0.2.1", later)) && !take("192.0.2.1", later));
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_no_flood_of_addresses_takes_more_room() {
        let (rates, now) = (Rates::default(), Instant::now());
        for it in 0..BURST_MAX {
            assert!(rates.take(None, format!("2001:db8::{it:x}").parse().unwrap(), now));
        }
        assert!(!rates.take(None, "2001:db8::ffff".parse().unwrap(), now));
        for it in 0..2 * ADDRESSES_MAX {
            let peer = format!("2001:db8:1:{it:x}::1").parse().unwrap();
            rates.take(None, peer, now);
        }
        assert!(rates.0.lock().unwrap().len() <= ADDRESSES_MAX + 1);
    }
}
