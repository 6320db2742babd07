//! Which tunnel a message belongs to: receiver index -> (tenant, tunnel), and public key -> (tenant, tunnel).
//!
//! This is the one place where a datagram gets its tenant. Each session has an index of its own. One that was given back is not given out
//! again soon, so that delayed datagrams of a removed tenant never reach a successor's tunnel.

use std::collections::VecDeque;

use foldhash::quality::RandomState;
use hashbrown::{HashMap, HashSet};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::router_config::{EndpointId, TunnelId};
use crate::time::{Duration, Instant};
use crate::tunnel::IndexSpace;

/// Number of a tenant's place in its worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TenantId(pub u32);

/// One tunnel of one tenant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TunnelKey {
    /// The tenant.
    pub tenant: TenantId,
    /// Which of its tunnels.
    pub tunnel: TunnelId,
}

/// Our own bound: tunnels of one worker. Each has seven indices at most, five at work and two to be returned: of 16 workers, all theirs
/// together are 3% of one's.
pub const CAPACITY: usize = 1 << 20;

/// How long an index rests before it may be used again: three times the 180 s after which no key of a session is accepted.
const REST: Duration = Duration::from_secs(540);
/// Resting indices that are remembered; with more, the oldest rely on chance (1 in 2^28 or less) alone.
const MAX_RESTING: usize = 1 << 16;

/// Why a tunnel got no place in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TableError {
    /// The endpoint has this peer already.
    #[error("another tunnel of this endpoint has the same public key; give each municipal router its own")]
    PeerTaken,
    /// All places are taken.
    #[error("{CAPACITY} tunnels are the most that one worker holds; start another relay")]
    Full,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    endpoint: EndpointId,
    key: TunnelKey,
}

/// The tunnels of a worker. Looking one up takes no memory; only handshakes and the configuration change it.
#[derive(Debug)]
pub struct TunnelTable {
    /// Small entries: four to a line of cache, found for every packet.
    by_index: HashMap<u32, Entry, RandomState>,
    /// Strangers choose the keys that are looked up here, so the hash is a cipher.
    by_peer: HashMap<(EndpointId, [u8; 32]), TunnelKey, std::hash::RandomState>,
    /// Apart from those in use, which stay close together.
    resting: HashSet<u32, RandomState>,
    /// In the order of their ends.
    ends: VecDeque<(u32, Instant)>,
    /// A cipher (ChaCha): whoever sees indices on the wire learns nothing about those to come.
    random: StdRng,
    indices: IndexSpace,
}

impl TunnelTable {
    /// An empty table; `indices` are those that it may give out, and `seed` decides which.
    #[must_use]
    pub fn new(indices: IndexSpace, seed: u64) -> Self {
        Self {
            indices,
            by_index: HashMap::with_hasher(RandomState::default()),
            by_peer: HashMap::with_hasher(std::hash::RandomState::new()),
            resting: HashSet::with_hasher(RandomState::default()),
            ends: VecDeque::new(),
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Enter a tunnel by its peer's public key.
    ///
    /// # Errors
    /// [`TableError::PeerTaken`] when the endpoint has a tunnel with this public key, [`TableError::Full`] at [`CAPACITY`].
    pub fn insert(&mut self, endpoint: EndpointId, peer: [u8; 32], key: TunnelKey) -> Result<(), TableError> {
        if self.by_peer.contains_key(&(endpoint, peer)) {
            return Err(TableError::PeerTaken);
        }
        if self.len() >= CAPACITY {
            return Err(TableError::Full);
        }
        self.by_peer.insert((endpoint, peer), key);
        Ok(())
    }

    /// Take a tunnel out; its indices are released one by one. Returns what the public key led to.
    pub fn remove(&mut self, endpoint: EndpointId, peer: [u8; 32]) -> Option<TunnelKey> {
        self.by_peer.remove(&(endpoint, peer))
    }

    /// An index for a session of this tunnel, drawn at random.
    pub fn lend(&mut self, endpoint: EndpointId, key: TunnelKey, now: Instant) -> u32 {
        while self.ends.front().is_some_and(|(_, until)| *until <= now) {
            self.wake_oldest();
        }
        loop {
            let index = self.indices.draw(&mut self.random);
            if !self.by_index.contains_key(&index) && !self.resting.contains(&index) {
                self.by_index.insert(index, Entry { endpoint, key });
                return index;
            }
        }
    }

    /// A session has ended: its index leads to nobody, and rests for nine minutes. Returns what it led to.
    pub fn release(&mut self, index: u32, now: Instant) -> Option<TunnelKey> {
        let entry = self.by_index.remove(&index)?;
        if self.ends.len() == MAX_RESTING {
            self.wake_oldest();
        }
        self.resting.insert(index);
        self.ends.push_back((index, now + REST));
        Some(entry.key)
    }

    /// The tunnel with this index, if it belongs to the endpoint that the message came to.
    #[must_use]
    pub fn by_index(&self, endpoint: EndpointId, index: u32) -> Option<TunnelKey> {
        self.by_index.get(&index).filter(|entry| entry.endpoint == endpoint).map(|entry| entry.key)
    }

    /// The tunnel whose peer has this public key.
    #[must_use]
    pub fn by_peer(&self, endpoint: EndpointId, peer: &[u8; 32]) -> Option<TunnelKey> {
        self.by_peer.get(&(endpoint, *peer)).copied()
    }

    /// How many tunnels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_peer.len()
    }

    /// True where there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_peer.is_empty()
    }

    fn wake_oldest(&mut self) {
        if let Some((index, _)) = self.ends.pop_front() {
            self.resting.remove(&index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const HERE: EndpointId = EndpointId(0);

    const ALL: IndexSpace = IndexSpace::ALL;

    fn key(tenant: u32) -> TunnelKey {
        TunnelKey { tenant: TenantId(tenant), tunnel: TunnelId(0) }
    }

    fn peer(number: u32) -> [u8; 32] {
        let mut peer = [0; 32];
        peer[..4].copy_from_slice(&number.to_be_bytes());
        peer
    }

    #[test]
    fn a_tunnel_is_found_by_its_index_and_its_key_at_its_own_endpoint_only() {
        let mut table = TunnelTable::new(ALL, 1);
        table.insert(HERE, peer(7), key(3)).expect("room");
        let index = table.lend(HERE, key(3), Instant::ZERO);
        assert!(index > 0);
        assert_eq!(table.by_index(HERE, index), Some(key(3)));
        assert_eq!(table.by_peer(HERE, &peer(7)), Some(key(3)));
        assert_eq!(table.by_index(EndpointId(1), index), None);
        assert_eq!(table.by_peer(EndpointId(1), &peer(7)), None);
        assert_eq!(table.by_index(HERE, index ^ 1), None);
    }

    #[test]
    fn every_session_of_a_tunnel_has_an_index_of_its_own() {
        let mut table = TunnelTable::new(ALL, 1);
        let indices: BTreeSet<u32> = (0..100_000).map(|_| table.lend(HERE, key(3), Instant::ZERO)).collect();
        assert_eq!(indices.len(), 100_000);
        let ended = *indices.first().expect("many");
        assert_eq!(table.release(ended, Instant::ZERO), Some(key(3)));
        assert_eq!(table.by_index(HERE, ended), None);
        assert!(indices.iter().skip(1).all(|index| table.by_index(HERE, *index) == Some(key(3))));
    }

    #[test]
    fn one_public_key_leads_to_one_tenant() {
        let mut table = TunnelTable::new(ALL, 1);
        table.insert(HERE, peer(7), key(3)).expect("room");
        assert_eq!(table.insert(HERE, peer(7), key(4)), Err(TableError::PeerTaken));
        assert_eq!((table.by_peer(HERE, &peer(7)), table.len()), (Some(key(3)), 1));
        table.insert(EndpointId(1), peer(7), key(3)).expect("another endpoint is another key pair");
    }

    #[test]
    fn a_delayed_message_of_a_removed_tenant_reaches_nobody() {
        let mut table = TunnelTable::new(ALL, 1);
        table.insert(HERE, peer(1), key(1)).expect("room");
        let old = table.lend(HERE, key(1), Instant::ZERO);
        assert_eq!(table.remove(HERE, peer(1)), Some(key(1)));
        assert_eq!(table.release(old, Instant::from_secs(10)), Some(key(1)));
        assert_eq!((table.remove(HERE, peer(1)), table.release(old, Instant::from_secs(10))), (None, None));
        for number in 2..20_000 {
            table.insert(HERE, peer(number), key(number)).expect("room");
            assert_ne!(table.lend(HERE, key(number), Instant::from_secs(11)), old);
        }
        assert_eq!(table.by_index(HERE, old), None);
        assert_eq!(table.by_peer(HERE, &peer(1)), None);
    }

    #[test]
    fn an_index_rests_for_nine_minutes_and_what_is_remembered_of_it_is_bounded() {
        let mut table = TunnelTable::new(ALL, 1);
        let index = table.lend(HERE, key(1), Instant::ZERO);
        table.release(index, Instant::ZERO);
        // The same seed draws the same index first.
        table.random = StdRng::seed_from_u64(1);
        let another = table.lend(HERE, key(1), Instant::from_secs(539));
        assert_ne!(another, index);
        table.release(another, Instant::from_secs(539));
        table.random = StdRng::seed_from_u64(1);
        assert_eq!(table.lend(HERE, key(2), Instant::from_secs(540)), index);
        for _ in 0..MAX_RESTING + 1_000 {
            let index = table.lend(HERE, key(1), Instant::from_secs(541));
            table.release(index, Instant::from_secs(541));
        }
        assert_eq!((table.ends.len(), table.resting.len()), (MAX_RESTING, MAX_RESTING));
        table.lend(HERE, key(1), Instant::from_secs(2_000));
        assert_eq!((table.ends.len(), table.resting.len()), (0, 0));
    }

    #[test]
    fn indices_tell_nothing_about_each_other() {
        let mut table = TunnelTable::new(ALL, 5);
        let indices: Vec<u32> = (0..1_000).map(|number| table.lend(HERE, key(number), Instant::ZERO)).collect();
        let ascending = indices.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((400..600).contains(&ascending), "{ascending} of 999 steps go up");
        for bit in 0..32 {
            let set = indices.iter().filter(|index| *index >> bit & 1 == 1).count();
            assert!((400..600).contains(&set), "bit {bit} is set in {set} of 1,000");
        }
    }
}
