//! Which tunnel a message belongs to: receiver index -> (tenant, tunnel), and public key -> (tenant, tunnel).
//!
//! This is the one place where a datagram gets its tenant. An index that was given back is not given out again soon, so that
//! delayed datagrams of a removed tenant never reach a successor's tunnel.

use std::collections::VecDeque;

use foldhash::quality::RandomState;
use hashbrown::HashMap;
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

/// A tunnel's receiver index: 24 bits, the upper three bytes of the 32 bits in a message. The tunnel numbers its sessions with the last one.
pub const INDEX_BITS: u32 = 24;

/// Our own bound with one worker; with several, see [`IndexSpace::capacity`].
pub const CAPACITY: usize = 1 << 22;

/// How long an index rests before it may be used again: three times the 180 s after which no key of a session is accepted.
const REST: Duration = Duration::from_secs(540);
/// Resting indices that are remembered; with more, the oldest rely on chance (1 in 2^24) alone.
const MAX_RESTING: usize = 1 << 16;

/// Why a tunnel got no place in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TableError {
    /// The endpoint has this peer already.
    #[error("another tunnel of this endpoint has the same public key; give each municipal router its own")]
    PeerTaken,
    /// All places are taken.
    #[error("{CAPACITY} tunnels are the most that one relay holds; start another relay")]
    Full,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    endpoint: EndpointId,
    key: TunnelKey,
}

/// The tunnels of a worker. Looking one up takes no memory; only the configuration changes it.
#[derive(Debug)]
pub struct TunnelTable {
    /// Small entries: four to a line of cache, found for every packet.
    by_index: HashMap<u32, Entry, RandomState>,
    peers: HashMap<u32, [u8; 32], RandomState>,
    /// Strangers choose the keys that are looked up here, so the hash is a cipher.
    by_peer: HashMap<(EndpointId, [u8; 32]), TunnelKey, std::hash::RandomState>,
    resting: VecDeque<(u32, Instant)>,
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
            peers: HashMap::with_hasher(RandomState::default()),
            by_peer: HashMap::with_hasher(std::hash::RandomState::new()),
            resting: VecDeque::new(),
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Enter a tunnel and return its index.
    ///
    /// # Errors
    /// [`TableError::PeerTaken`] when the endpoint has a tunnel with this public key, [`TableError::Full`] at [`CAPACITY`].
    pub fn insert(&mut self, endpoint: EndpointId, peer: [u8; 32], key: TunnelKey, now: Instant) -> Result<u32, TableError> {
        if self.by_peer.contains_key(&(endpoint, peer)) {
            return Err(TableError::PeerTaken);
        }
        if self.by_index.len() >= self.indices.capacity() {
            return Err(TableError::Full);
        }
        let index = self.free_index(now);
        self.by_index.insert(index, Entry { endpoint, key });
        self.peers.insert(index, peer);
        self.by_peer.insert((endpoint, peer), key);
        Ok(index)
    }

    /// Take a tunnel out; its index rests for nine minutes. Returns what it led to.
    pub fn remove(&mut self, index: u32, now: Instant) -> Option<TunnelKey> {
        let entry = self.by_index.remove(&index)?;
        if let Some(peer) = self.peers.remove(&index) {
            self.by_peer.remove(&(entry.endpoint, peer));
        }
        if self.resting.len() == MAX_RESTING {
            self.resting.pop_front();
        }
        self.resting.push_back((index, now + REST));
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
        self.by_index.len()
    }

    /// True where there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_index.is_empty()
    }

    fn free_index(&mut self, now: Instant) -> u32 {
        while self.resting.front().is_some_and(|(_, until)| *until <= now) {
            self.resting.pop_front();
        }
        loop {
            let index = self.indices.draw(&mut self.random);
            let rests = || self.resting.iter().any(|(resting, _)| *resting == index);
            if !self.by_index.contains_key(&index) && !rests() {
                return index;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let index = table.insert(HERE, peer(7), key(3), Instant::ZERO).expect("room");
        assert!(index > 0 && index < 1 << 24);
        assert_eq!(table.by_index(HERE, index), Some(key(3)));
        assert_eq!(table.by_peer(HERE, &peer(7)), Some(key(3)));
        assert_eq!(table.by_index(EndpointId(1), index), None);
        assert_eq!(table.by_peer(EndpointId(1), &peer(7)), None);
        assert_eq!(table.by_index(HERE, index ^ 1), None);
    }

    #[test]
    fn one_public_key_leads_to_one_tenant() {
        let mut table = TunnelTable::new(ALL, 1);
        table.insert(HERE, peer(7), key(3), Instant::ZERO).expect("room");
        assert_eq!(table.insert(HERE, peer(7), key(4), Instant::ZERO), Err(TableError::PeerTaken));
        assert_eq!((table.by_peer(HERE, &peer(7)), table.len()), (Some(key(3)), 1));
        table.insert(EndpointId(1), peer(7), key(3), Instant::ZERO).expect("another endpoint is another key pair");
    }

    #[test]
    fn a_delayed_message_of_a_removed_tenant_reaches_nobody() {
        let mut table = TunnelTable::new(ALL, 1);
        let old = table.insert(HERE, peer(1), key(1), Instant::ZERO).expect("room");
        assert_eq!(table.remove(old, Instant::from_secs(10)), Some(key(1)));
        assert_eq!(table.remove(old, Instant::from_secs(10)), None);
        for number in 2..20_000 {
            let index = table.insert(HERE, peer(number), key(number), Instant::from_secs(11)).expect("room");
            assert_ne!(index, old);
        }
        assert_eq!(table.by_index(HERE, old), None);
        assert_eq!(table.by_peer(HERE, &peer(1)), None);
    }

    #[test]
    fn an_index_rests_for_nine_minutes_and_what_is_remembered_of_it_is_bounded() {
        let mut table = TunnelTable::new(ALL, 1);
        let index = table.insert(HERE, peer(1), key(1), Instant::ZERO).expect("room");
        table.remove(index, Instant::ZERO);
        // The same seed draws the same index first.
        table.random = StdRng::seed_from_u64(1);
        assert_ne!(table.insert(HERE, peer(1), key(1), Instant::from_secs(539)), Ok(index));
        table.random = StdRng::seed_from_u64(1);
        assert_eq!(table.insert(HERE, peer(2), key(2), Instant::from_secs(540)), Ok(index));
        assert!(table.resting.is_empty());
        table.resting.extend((10..).map(|number| (number, Instant::FAR_FUTURE)).take(MAX_RESTING));
        table.remove(index, Instant::from_secs(541));
        assert_eq!(table.resting.len(), MAX_RESTING);
    }

    #[test]
    fn indices_tell_nothing_about_each_other() {
        let mut table = TunnelTable::new(ALL, 5);
        let indices: Vec<u32> = (0..1_000).map(|n| table.insert(HERE, peer(n), key(n), Instant::ZERO).expect("room")).collect();
        let ascending = indices.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((400..600).contains(&ascending), "{ascending} of 999 steps go up");
        assert!(indices.iter().any(|index| *index > 1 << 23), "the upper half is used");
    }
}
