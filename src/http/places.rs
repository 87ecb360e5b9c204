//! Who may be connected: so many in all, so many from one peer, and some places that the network cannot
//! take from this machine's own users.
//!
//! Whoever has not said who they are yet keeps a place only as long as nobody else needs it: where a
//! limit is reached, the oldest such connection that counts towards it makes room. Otherwise strangers
//! who say nothing would lock out everybody who has something to say.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio_util::sync::CancellationToken;

use super::{Limits, peer::Origin};

/// Connections from one of these count together.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Group {
    /// All.
    Everybody,
    /// All that come over the network.
    Network,
    /// An IPv4 address, the /64 of an IPv6 host, or a local user.
    Origin(Origin),
    /// A larger IPv6 network with the length of its prefix: what one household or small site gets, and
    /// what one organisation gets.
    Site(Ipv6Addr, u8),
}

/// How many connections a group may have, as a multiple of what a single peer may have: whoever has a
/// /48 has 65536 peers.
const SITES: [(u8, usize); 2] = [(56, 1), (48, 2)];

/// The places of all connections. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    most_of_network: usize,
    most_of_peer: usize,
    table: Mutex<Table>,
    /// The end of all connections.
    kill: CancellationToken,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// In the order in which they came.
    open: BTreeMap<u64, Open>,
    counts: HashMap<Group, usize>,
}

#[derive(Debug)]
struct Open {
    origin: Origin,
    known: bool,
    evicted: CancellationToken,
}

/// The place of one connection; it is free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    id: u64,
    /// Whether the peer has said who it is.
    known: AtomicBool,
    evicted: CancellationToken,
}

impl Places {
    /// No place is taken. When `kill` is cancelled, all that are taken then are lost.
    pub(super) fn new(limits: &Limits, kill: CancellationToken) -> Self {
        let most = limits.connections.get();
        Self(Arc::new(Shared {
            most,
            // There is a place for the network, however much is reserved.
            most_of_network: most.saturating_sub(limits.local_connections.get()).max(1),
            most_of_peer: limits.connections_per_peer.get(),
            table: Mutex::default(),
            kill,
        }))
    }

    /// A place for one more connection from there, if there is one or one can be made.
    pub(super) fn take(&self, origin: Origin) -> Option<Place> {
        let mut table = self.0.lock();
        for group in groups(origin) {
            if table.count(group) >= self.0.most_of(group) && !table.make_room(group) {
                return None;
            }
        }
        for group in groups(origin) {
            *table.counts.entry(group).or_default() += 1;
        }
        let (id, evicted) = (table.next, self.0.kill.child_token());
        table.next += 1;
        table.open.insert(id, Open { origin, known: false, evicted: evicted.clone() });
        drop(table);
        Some(Place { shared: self.0.clone(), id, known: AtomicBool::new(false), evicted })
    }
}

impl Place {
    /// The peer has said who it is: from now on the place is its own.
    pub(super) fn keep(&self) {
        if self.known.swap(true, Ordering::Relaxed) {
            return; // It has said so with an earlier request.
        }
        if let Some(open) = self.shared.lock().open.get_mut(&self.id) {
            open.known = true;
        }
    }

    /// Returns when somebody else has got the place, or all places are lost.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.lock().close(self.id);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // No code panics while it holds the lock; the table is whole in any case.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn most_of(&self, group: Group) -> usize {
        match group {
            Group::Everybody => self.most,
            Group::Network => self.most_of_network,
            Group::Origin(_) => self.most_of_peer,
            Group::Site(_, length) => {
                let times = SITES.iter().find(|(site, _)| *site == length).map_or(1, |site| site.1);
                self.most_of_peer.saturating_mul(times)
            }
        }
    }
}

impl Table {
    fn count(&self, group: Group) -> usize {
        self.counts.get(&group).copied().unwrap_or_default()
    }

    /// Closes the oldest connection of a group whose peer is unknown. `false` if there is none.
    fn make_room(&mut self, group: Group) -> bool {
        let stranger = |open: &Open| !open.known && groups(open.origin).any(|it| it == group);
        let Some(id) = self.open.iter().find(|(_, open)| stranger(open)).map(|(id, _)| *id) else {
            return false;
        };
        if let Some(open) = self.close(id) {
            open.evicted.cancel();
        }
        true
    }

    fn close(&mut self, id: u64) -> Option<Open> {
        let open = self.open.remove(&id)?;
        for group in groups(open.origin) {
            if let Some(count) = self.counts.get_mut(&group) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&group);
                }
            }
        }
        Some(open)
    }
}

/// The groups that a connection from there counts in, the smallest first: who has taken too much makes
/// room before others have to.
fn groups(origin: Origin) -> impl Iterator<Item = Group> {
    let sites = match origin {
        Origin::Network(IpAddr::V6(ip)) if !ip.is_loopback() => SITES.map(|(length, _)| {
            let mask = u128::MAX << (128 - u32::from(length));
            Some(Group::Site(Ipv6Addr::from_bits(ip.to_bits() & mask), length))
        }),
        Origin::Network(_) | Origin::User(_) => [None, None],
    };
    let network = matches!(origin, Origin::Network(_)).then_some(Group::Network);
    let larger = sites.into_iter().flatten().chain(network).chain([Group::Everybody]);
    std::iter::once(Group::Origin(origin)).chain(larger)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::peer::Peer;

    fn places(connections: usize, local: usize, per_peer: usize) -> Places {
        let count = |n: usize| n.try_into().expect("a limit is not 0");
        let limits = Limits {
            connections: count(connections),
            local_connections: count(local),
            connections_per_peer: count(per_peer),
            ..Limits::default()
        };
        Places::new(&limits, CancellationToken::new())
    }

    fn from(ip: &str) -> Origin {
        Peer::network((ip.parse::<IpAddr>().unwrap(), 1).into()).origin
    }

    /// Takes places that are kept, one from each address, until there is no more.
    fn fill(places: &Places, ips: impl Iterator<Item = String>) -> Vec<Place> {
        let taken = ips.map_while(|ip| places.take(from(&ip)));
        taken.inspect(Place::keep).collect()
    }

    #[test]
    fn who_says_nothing_makes_room_for_who_comes_later() {
        let places = places(5, 1, 4);
        let silent: Vec<_> =
            (1..=4).map(|host| places.take(from(&format!("192.0.2.{host}"))).unwrap()).collect();
        silent[0].keep();
        let next = places.take(from("192.0.2.9")).expect("the oldest stranger goes");
        let evicted = |place: &Place| place.evicted.is_cancelled();
        assert_eq!(silent.iter().map(evicted).collect::<Vec<_>>(), [false, true, false, false]);
        // What is evicted already is not counted twice.
        drop(silent);
        next.keep();
        let filled = fill(&places, (1..9).map(|host| format!("198.51.100.{host}")));
        assert_eq!(filled.len(), 3);
        assert!(places.take(from("192.0.2.10")).is_none(), "those who are known stay");
        drop(filled);
        assert!(places.take(from("192.0.2.10")).is_some());
    }

    #[test]
    fn a_peer_that_has_too_many_pays_for_one_more_itself() {
        let places = places(100, 1, 2);
        let other = places.take(from("192.0.2.1")).unwrap();
        let first = places.take(from("192.0.2.2")).unwrap();
        let second = places.take(from("192.0.2.2")).unwrap();
        let third = places.take(from("192.0.2.2")).unwrap();
        assert!(first.evicted.is_cancelled());
        assert!(!other.evicted.is_cancelled() && !second.evicted.is_cancelled());
        second.keep();
        third.keep();
        assert!(places.take(from("192.0.2.2")).is_none());
    }

    #[test]
    fn the_network_leaves_places_to_this_machine() {
        let places = places(5, 2, 100);
        let network = fill(&places, (1..9).map(|host| format!("192.0.2.{host}")));
        assert_eq!(network.len(), 3);
        let local = [places.take(Origin::User(0)).unwrap(), places.take(Origin::User(0)).unwrap()];
        assert!(places.take(from("192.0.2.10")).is_none(), "not at the cost of a local user");
        drop(network);
        // What the network does not use is free for all.
        let more: Vec<_> = (0..3).map(|_| places.take(Origin::User(1)).unwrap()).collect();
        assert!(more.iter().chain(&local).all(|place| !place.evicted.is_cancelled()));
    }

    #[test]
    fn many_ipv6_networks_of_one_site_are_one_peer() {
        let places = places(1000, 1, 10);
        let networks = |site: &'static str| (0..99).map(move |net| format!("{site}{net:x}::1"));
        // Up to 0x63, in one /56.
        assert_eq!(fill(&places, networks("2001:db8:0:")).len(), 10);
        let places = self::places(1000, 1, 10);
        let of_two_digits = (0..99).map(|net| format!("2001:db8:0:{net:x}00::1"));
        assert_eq!(fill(&places, of_two_digits).len(), 20, "in one /48");
        let places = self::places(1000, 1, 10);
        assert_eq!(fill(&places, networks("2001:db8:")).len(), 99, "in different /48s");
        // Addresses of IPv4 have no larger network.
        let places = self::places(1000, 1, 10);
        assert_eq!(fill(&places, (0..99).map(|host| format!("192.0.2.{host}"))).len(), 99);
    }
}
