//! The clients that have not logged in yet. When there are too many, the oldest one of the address that has most of
//! them has to go: so a flood from one address ends its own connections, not those of others.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::broker::queue::ConnectionId;

/// The bits of an IPv6 address that the other side cannot choose.
const NETWORK: u128 = !0 << 64;

/// The waiting clients, by the order in which they came, and by address.
#[derive(Debug, Default)]
pub(super) struct WaitingClients {
    all: BTreeMap<ConnectionId, (IpAddr, CancellationToken)>,
    of_address: HashMap<IpAddr, BTreeSet<ConnectionId>>,
    /// How many each address has.
    counts: BTreeSet<(usize, IpAddr)>,
}

/// A client that has not logged in yet.
#[derive(Debug)]
pub(in crate::broker::server) struct WaitingClient {
    id: ConnectionId,
    waiting: Arc<Mutex<WaitingClients>>,
    /// It has to go.
    pub(in crate::broker::server) evicted: CancellationToken,
}

impl Drop for WaitingClient {
    fn drop(&mut self) {
        self.waiting.lock().remove(self.id);
    }
}

impl WaitingClients {
    /// A client has connected; with more than `max` one is evicted.
    pub(super) fn arrive(
        waiting: &Arc<Mutex<Self>>,
        (id, address): (ConnectionId, IpAddr),
        max: usize,
    ) -> WaitingClient {
        let evicted = CancellationToken::new();
        let mut guard = waiting.lock();
        guard.add(id, origin(address), evicted.clone());
        let surplus = (guard.all.len() > max).then(|| guard.evict()).flatten();
        drop(guard);
        if let Some(surplus) = surplus {
            surplus.cancel();
        }
        WaitingClient {
            id,
            waiting: Arc::clone(waiting),
            evicted,
        }
    }

    fn add(&mut self, id: ConnectionId, address: IpAddr, evicted: CancellationToken) {
        self.all.insert(id, (address, evicted));
        let ids = self.of_address.entry(address).or_default();
        self.counts.remove(&(ids.len(), address));
        ids.insert(id);
        self.counts.insert((ids.len(), address));
    }

    fn remove(&mut self, id: ConnectionId) -> Option<CancellationToken> {
        let (address, evicted) = self.all.remove(&id)?;
        if let Some(ids) = self.of_address.get_mut(&address) {
            self.counts.remove(&(ids.len(), address));
            ids.remove(&id);
            match ids.len() {
                0 => drop(self.of_address.remove(&address)),
                count => drop(self.counts.insert((count, address))),
            }
        }
        Some(evicted)
    }

    /// Removes the one that has to go: while no address has several, the oldest of all.
    fn evict(&mut self) -> Option<CancellationToken> {
        let (count, address) = *self.counts.last()?;
        let id = match count {
            1 => *self.all.first_key_value()?.0,
            _ => *self.of_address.get(&address)?.first()?,
        };
        self.remove(id)
    }
}

/// The address, or the network where a client has many of them.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients arrive in this order, at most `max` wait: which of them are evicted.
    #[track_caller]
    fn check(max: usize, addresses: &[&str], expected: &[ConnectionId]) {
        let waiting = Arc::default();
        let clients: Vec<_> = (0..)
            .zip(addresses)
            .map(|(id, address)| {
                WaitingClients::arrive(&waiting, (id, address.parse().unwrap()), max)
            })
            .collect();
        let evicted = clients.iter().filter(|one| one.evicted.is_cancelled());
        let evicted: Vec<_> = evicted.map(|one| one.id).collect();
        assert_eq!(evicted, expected);
        drop(clients);
        let left = waiting.lock();
        assert!(left.all.is_empty() && left.of_address.is_empty() && left.counts.is_empty());
    }

    #[test]
    fn a_flood_from_one_address_evicts_its_own() {
        let (a, b, c) = ("10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1");
        check(3, &[a, a, a], &[]);
        check(3, &[b, a, a, a, a], &[1, 2]);
        check(3, &[a, a, a, b], &[0]);
        check(3, &[c, a, a, b], &[0]);
        // Addresses with one client each: the oldest has to go.
        check(2, &[a, b, "10.0.0.3"], &[0]);
        // One network of a client counts as one.
        check(2, &["2001:db8::9:1:1", b, "2001:db8::9:2:2"], &[0]);
        check(
            3,
            &[b, "2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:5::3"],
            &[1],
        );
    }
}
