//! A configured peer as the engine remembers it beyond any SA: where it was seen, when to try again, what failed last.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use rand::RngCore;

use crate::config::{Initiate, NatT, PeerAddress, PeerConfig, PeerName};
use crate::counters::FailureCounts;
use crate::effect::LocalPort;
use crate::exchange::auth;
use crate::identity::Identity;
use crate::message::IkeSpi;
use crate::policy::CryptoPolicy;
use crate::proposals::Proposals;
use crate::status::{LastError, Negotiation, PeerState};
use crate::time::Instant;
use crate::transforms::Group;

use super::allowance::Allowance;

/// The first pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// No pause is longer: a router that is switched on again waits this long at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// Between the first tries of two peers: 2,000 of them are begun within 20 s.
pub(crate) const PACE: Duration = Duration::from_millis(10);
/// IKE SAs of one peer, those included that were replaced and wait for their Delete.
const MAX_SUCCESSORS: usize = 16;
/// Pairs that linger for one peer.
const MAX_LINGERING: usize = 16;

/// RFC 7296 section 3.7: a SHA-1 hash of each authority's key.
const AUTHORITY_HASH_OCTETS: usize = 20;
/// Authorities named in one IKE_SA_INIT answer, so that it stays short. A router whose authority is left out is still asked for its
/// certificate, and most send the one they have.
const MOST_REQUESTED: usize = 4;

/// Names a peer within the engine; never used again for another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct PeerId(pub(crate) u64);

/// One configured peer.
pub(crate) struct Peer {
    pub(crate) config: Arc<PeerConfig>,
    /// Its IKE SAs: authenticated ones, and those that we are about to make.
    pub(crate) sas: Vec<IkeSpi>,
    /// What it may use: the choice of its configuration, or everything that its policy allows.
    pub(crate) proposals: Proposals,
    /// What it wants of perfect forward secrecy, once that is learnt.
    #[expect(clippy::option_option, reason = "that it wants none is not that nothing is known")]
    pub(crate) pfs: Option<Option<Group>>,
    /// Pairs that stand, under all of its IKE SAs.
    pub(crate) pairs: usize,
    /// Pairs that were deleted but take late packets until then.
    pub(crate) lingering: Vec<(Instant, u32)>,
    /// From where it was last authenticated.
    pub(crate) seen: Option<(LocalPort, SocketAddrV4)>,
    /// Tries in a row that failed.
    pub(crate) attempts: u32,
    /// When we try (again).
    pub(crate) next_try: Option<Instant>,
    /// The group that it asked for by INVALID_KE_PAYLOAD.
    pub(crate) wants_group: Option<Group>,
    pub(crate) state: PeerState,
    pub(crate) since: Instant,
    /// How often it may still have something rekeyed.
    pub(crate) allowance: Allowance,
    /// When its ESP or IKE was last authenticated.
    pub(crate) heard: Instant,
    pub(crate) last_error: Option<LastError>,
    pub(crate) failures: FailureCounts,
    pub(crate) negotiation: Option<Negotiation>,
}

impl Peer {
    fn new(config: Arc<PeerConfig>, now: Instant) -> Self {
        Self {
            config,
            sas: Vec::new(),
            proposals: Proposals::union([]),
            pfs: None,
            pairs: 0,
            lingering: Vec::new(),
            seen: None,
            attempts: 0,
            next_try: None,
            wants_group: None,
            state: PeerState::Down,
            since: now,
            allowance: Allowance::default(),
            heard: now,
            last_error: None,
            failures: FailureCounts::default(),
            negotiation: None,
        }
    }

    /// Where it can be reached, if that is known.
    pub(crate) fn address(&self) -> Option<(LocalPort, SocketAddrV4)> {
        match (self.config.address, self.seen) {
            (PeerAddress::Fixed(address), Some(seen)) if *seen.1.ip() == address => Some(seen),
            (PeerAddress::Fixed(address), _) => Some((LocalPort::P500, SocketAddrV4::new(address, 500))),
            (PeerAddress::Any, seen) => seen,
        }
    }

    /// The group for a Child SA that we ask for, if any.
    pub(crate) fn pfs_group(&self) -> Option<Group> {
        self.pfs.unwrap_or_else(|| self.proposals.demanded_pfs_group())
    }

    /// Whether it may have an IKE SA rekeyed: it makes no long row of those that were replaced.
    pub(crate) fn may_replace_ike(&mut self, now: Instant) -> bool {
        self.sas.len() < MAX_SUCCESSORS && self.allowance.take(now)
    }

    /// A try failed: when is the next one? Half of each pause is drawn by lot, so that a thousand peers do not come back together.
    pub(crate) fn plan_retry(&mut self, random: &mut dyn RngCore, now: Instant) {
        if self.config.initiate != Initiate::Always || self.address().is_none() {
            self.next_try = None;
            return;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.attempts.min(10)).min(LONGEST_PAUSE);
        self.attempts = self.attempts.saturating_add(1);
        self.next_try = Some(now + jitter(pause, 50, random));
    }

    /// A pair takes late packets until `until`. More than [`MAX_LINGERING`] push out the oldest, which is returned.
    pub(crate) fn linger(&mut self, inbound_spi: u32, until: Instant) -> Option<u32> {
        let oldest = (self.lingering.len() == MAX_LINGERING).then(|| self.lingering.remove(0).1);
        self.lingering.push((until, inbound_spi));
        oldest
    }

    /// When something about it is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.lingering.iter().map(|&(until, _)| until).chain(self.next_try).min()
    }
}

/// `whole`, shortened by up to `percent` of itself.
pub(crate) fn jitter(whole: Duration, percent: u32, random: &mut dyn RngCore) -> Duration {
    let most = whole.saturating_mul(percent) / 100;
    let share = most.as_nanos().min(u128::from(u64::MAX));
    let less = (u128::from(random.next_u64()) * share) >> 64;
    whole.saturating_sub(Duration::from_nanos(u64::try_from(less).unwrap_or(0)))
}

/// All peers, by everything by which they are looked up.
#[derive(Default)]
pub(crate) struct Peers {
    peers: HashMap<PeerId, Peer>,
    by_name: HashMap<PeerName, PeerId>,
    /// By identities in one case of their letters.
    by_identity: HashMap<(usize, Identity), PeerId>,
    by_address: HashMap<(usize, Ipv4Addr), Vec<PeerId>>,
    /// By the address from which they were last authenticated.
    by_seen: HashMap<(usize, Ipv4Addr), Vec<PeerId>>,
    /// By endpoint: what peers that may come from anywhere may use, never anything legacy.
    anybody: Vec<Proposals>,
    /// By endpoint: whether a peer that may come from anywhere is to believe in a NAT.
    anybody_pretends: Vec<bool>,
    /// By endpoint: the authorities that its peers' certificates may come from, as a CERTREQ payload carries them.
    requests: Vec<Vec<u8>>,
    /// In the order of the configuration.
    order: Vec<PeerId>,
    next_id: u64,
}

impl Peers {
    pub(crate) fn get(&self, id: PeerId) -> Option<&Peer> {
        self.peers.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(&id)
    }

    pub(crate) fn by_name(&self, name: &PeerName) -> Option<PeerId> {
        self.by_name.get(name).copied()
    }

    /// Who proves to have this identity at this endpoint.
    pub(crate) fn by_identity(&self, endpoint: usize, identity: &Identity) -> Option<PeerId> {
        self.by_identity.get(&(endpoint, identity.folded())).copied()
    }

    /// Who is configured with this fixed address at this endpoint.
    pub(crate) fn by_address(&self, endpoint: usize, address: Ipv4Addr) -> &[PeerId] {
        self.by_address.get(&(endpoint, address)).map_or(&[], Vec::as_slice)
    }

    /// Whose router probably has this address: the only one that is configured with it, or that was last authenticated from there.
    pub(crate) fn probably_at(&self, endpoint: usize, address: Ipv4Addr) -> Option<PeerId> {
        let seen = self.by_seen.get(&(endpoint, address)).map_or(&[][..], Vec::as_slice);
        match (self.by_address(endpoint, address), seen) {
            ([one], _) | ([], [one]) => Some(*one),
            _ => None,
        }
    }

    /// A peer was authenticated from there.
    pub(crate) fn saw(&mut self, id: PeerId, local: LocalPort, remote: SocketAddrV4) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let endpoint = peer.config.endpoint;
        let before = peer.seen.replace((local, remote)).map(|(_, before)| *before.ip());
        if before == Some(*remote.ip()) {
            return;
        }
        if let Some(before) = before
            && let Some(there) = self.by_seen.get_mut(&(endpoint, before))
        {
            there.retain(|other| *other != id);
            if there.is_empty() {
                self.by_seen.remove(&(endpoint, before));
            }
        }
        self.by_seen.entry((endpoint, *remote.ip())).or_default().push(id);
    }

    /// In the order of the configuration.
    pub(crate) fn order(&self) -> &[PeerId] {
        &self.order
    }

    /// Peers that `configs` has no more.
    pub(crate) fn gone(&self, configs: &[Arc<PeerConfig>]) -> Vec<PeerId> {
        let kept: HashSet<&PeerName> = configs.iter().map(|config| &config.name).collect();
        self.order.iter().filter(|id| self.get(**id).is_some_and(|peer| !kept.contains(&peer.config.name))).copied().collect()
    }

    /// Take over a configuration: peers that keep their names keep what is remembered of them.
    pub(crate) fn configure(&mut self, configs: &[Arc<PeerConfig>], endpoints: usize, now: Instant) {
        let mut old = std::mem::take(self);
        self.next_id = old.next_id;
        for config in configs {
            let kept = old.by_name.get(&config.name).and_then(|id| old.peers.remove(id).map(|peer| (*id, peer)));
            let (id, peer) = kept.unwrap_or_else(|| {
                self.next_id += 1;
                (PeerId(self.next_id), Peer::new(Arc::clone(config), now))
            });
            let proposals = config.proposals.clone().unwrap_or_else(|| Proposals::of_policy(config.policy));
            self.add(id, Peer { config: Arc::clone(config), proposals, ..peer });
        }
        self.collect_acceptable(endpoints);
        self.collect_requests(endpoints);
    }

    /// What is acceptable in IKE_SA_INIT from an address: what peers with this fixed address may use, and what any peer may.
    pub(crate) fn acceptable_from(&self, endpoint: usize, address: Ipv4Addr) -> Proposals {
        let fixed = self.by_address(endpoint, address).iter().filter_map(|id| self.get(*id)).map(|peer| &peer.proposals);
        Proposals::union(fixed.chain(self.anybody.get(endpoint)))
    }

    /// Whether somebody at this address is to believe in a NAT.
    pub(crate) fn pretends_nat(&self, endpoint: usize, address: Ipv4Addr) -> bool {
        match self.by_address(endpoint, address) {
            [] => self.anybody_pretends.get(endpoint).copied().unwrap_or(false),
            fixed => fixed.iter().filter_map(|id| self.get(*id)).any(|peer| peer.config.encapsulation == NatT::Always),
        }
    }

    /// Certification Authority field of the CERTREQ in our IKE_SA_INIT answers at `endpoint`; `None` where nobody uses certificates.
    /// Many routers send their certificate only when they are asked for it, and who comes is not known yet.
    pub(crate) fn certificate_request(&self, endpoint: usize) -> Option<&[u8]> {
        self.requests.get(endpoint).map(Vec::as_slice).filter(|request| !request.is_empty())
    }

    fn collect_requests(&mut self, endpoints: usize) {
        let mut requests = vec![Vec::new(); endpoints];
        for config in self.order.iter().filter_map(|id| self.get(*id)).map(|peer| &peer.config) {
            let Some(request) = requests.get_mut(config.endpoint) else { continue };
            for hash in auth::request(&config.authentication).unwrap_or_default().chunks(AUTHORITY_HASH_OCTETS) {
                let known = request.chunks(AUTHORITY_HASH_OCTETS).any(|known| known == hash);
                if !known && request.len() < MOST_REQUESTED * AUTHORITY_HASH_OCTETS {
                    request.extend_from_slice(hash);
                }
            }
        }
        self.requests = requests;
    }

    fn collect_acceptable(&mut self, endpoints: usize) {
        let of = |endpoint: usize| {
            let here = self.order.iter().filter_map(|id| self.get(*id)).filter(move |peer| peer.config.endpoint == endpoint);
            here.filter(|peer| peer.config.address == PeerAddress::Any)
        };
        let modern = |peer: &&Peer| peer.config.policy != CryptoPolicy::Legacy;
        let anybody = (0..endpoints).map(|endpoint| Proposals::union(of(endpoint).filter(modern).map(|peer| &peer.proposals))).collect();
        let pretends = |endpoint| of(endpoint).any(|peer| peer.config.encapsulation == NatT::Always);
        let anybody_pretends = (0..endpoints).map(pretends).collect();
        (self.anybody, self.anybody_pretends) = (anybody, anybody_pretends);
    }

    fn add(&mut self, id: PeerId, peer: Peer) {
        let config = &peer.config;
        self.by_name.insert(config.name.clone(), id);
        self.by_identity.insert((config.endpoint, config.remote_id.folded()), id);
        if let PeerAddress::Fixed(address) = config.address {
            self.by_address.entry((config.endpoint, address)).or_default().push(id);
        }
        if let Some((_, seen)) = peer.seen {
            self.by_seen.entry((config.endpoint, *seen.ip())).or_default().push(id);
        }
        self.order.push(id);
        self.peers.insert(id, peer);
    }
}
