//! The engine: the tables of peers and SAs; every way in and the one way out.

mod allowance;
pub(crate) mod core;
mod deferred;
pub(crate) mod negotiations;
pub(crate) mod peer;
mod receive;
mod spis;
mod timers;
pub(crate) mod upkeep;
mod view;

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use rand::CryptoRng;

use crate::config::{Authentication, Config, Initiate, PeerAddress, PeerConfig, PeerName};
use crate::counters::Counters;
use crate::dh::DhOutcome;
use crate::effect::{Closed, DhJobId, Effect, Encapsulation, InstallId, InstallRefused, LocalPort};
use crate::exchange::{self, Task, Wanted, child, create_child_sa, delete, ike_sa_init, informational, rekey_ike};
use crate::half_open::HalfOpenLimits;
use crate::message::{Delete, IkeSpi, Payload};
use crate::sa::child::ChildState;
use crate::sa::{IkeSa, Path, Phase};
use crate::selectors;
use crate::time::Instant;

use self::core::Core;
use peer::PeerId;
use timers::Timer;

/// IKE SAs that one peer may have: the one in use, its successor, both sides' at once, and what it began anew.
const MAX_SAS_OF_A_PEER: usize = 8;

/// A Child SA is replaced no sooner, however soon it is used up.
const SHORTEST_LIFE: Duration = Duration::from_secs(5);

/// All IKE SAs of one relay. Whatever is called, look at [`Engine::next_effect`] until it is `None`, then at [`Engine::deadline`].
pub struct Engine {
    core: Core,
    sas: HashMap<IkeSpi, Box<IkeSa>>,
    /// Strangers' IKE_SA_INIT requests that are answered or about to be: by where they came from and the initiator's SPI.
    strangers: HashMap<(SocketAddrV4, IkeSpi), IkeSpi>,
    limits: HalfOpenLimits,
}

impl Engine {
    /// An engine without SAs. Peers with [`crate::Initiate::Always`] are started by [`Engine::tick`], paced.
    #[must_use]
    pub fn new(config: Config, random: Box<dyn CryptoRng + Send>, now: Instant) -> Self {
        let mut core = Core::new(random);
        let limits = HalfOpenLimits::new(&mut core.random);
        let mut engine = Self { core, sas: HashMap::new(), strangers: HashMap::new(), limits };
        engine.configure(config, now);
        engine
    }

    /// What time it is, as Unix time: certificates are valid from when to when. Call it now and then, as clocks are set.
    pub fn set_unix_time(&mut self, unix_time: Duration, now: Instant) {
        self.core.started_at = unix_time.saturating_sub(now.since(Instant::ZERO));
    }

    /// A reload: peers that are gone, or are somebody else now, lose their SAs, told by a Delete. Those whose networks changed get other
    /// Child SAs, make before break; the others notice nothing.
    #[expect(clippy::needless_pass_by_value, reason = "the engine takes the configuration over")]
    pub fn configure(&mut self, config: Config, now: Instant) {
        let changed: Vec<PeerId> = config.peers.iter().filter_map(|new| self.changed_by(new)).collect();
        self.core.endpoints.clone_from(&config.endpoints);
        for id in changed {
            self.close_all(id, now);
        }
        config.peers.iter().for_each(|new| self.renumber_keys(new, now));
        config.peers.iter().for_each(|new| self.renegotiate_selectors(new, now));
        let gone = self.core.peers.gone(&config.peers);
        for id in gone {
            self.close_all(id, now);
            self.core.timers.set(Timer::Peer(id), None);
        }
        self.core.peers.configure(&config.peers, config.endpoints.len(), now);
        self.pace_first_tries(now);
    }

    /// The peer that `new` changes so much that its SAs cannot stay.
    fn changed_by(&self, new: &PeerConfig) -> Option<PeerId> {
        let id = self.core.peers.by_name(&new.name)?;
        let old = &self.core.peers.get(id)?.config;
        (!old.keeps_sas_under(new)).then_some(id)
    }

    /// Pre-shared keys have other places in their list now, or are withdrawn: whoever proved itself with one of those does it anew.
    fn renumber_keys(&mut self, new: &PeerConfig, now: Instant) {
        let Some(peer) = self.core.peers.by_name(&new.name).and_then(|id| self.core.peers.get(id)) else { return };
        let (Authentication::Psk { keys: old }, Authentication::Psk { keys: new }) = (&peer.config.authentication, &new.authentication)
        else {
            return;
        };
        if old == new {
            return;
        }
        let places: Vec<Option<usize>> = old.iter().map(|key| new.iter().position(|new| new == key)).collect();
        for spi in peer.sas.clone() {
            self.with_sa(spi, now, |core, sa| {
                let Some(index) = sa.psk_index else { return };
                sa.psk_index = places.get(index).copied().flatten();
                if sa.psk_index.is_none() {
                    close(core, sa, now);
                }
            });
        }
    }

    /// The tenant may say other things to other hosts now: its Child SAs are rekeyed, with selectors that cover what they may.
    fn renegotiate_selectors(&mut self, new: &PeerConfig, now: Instant) {
        let Some(peer) = self.core.peers.by_name(&new.name).and_then(|id| self.core.peers.get(id)) else { return };
        if peer.config.covers_the_same_as(new) {
            return;
        }
        for spi in peer.sas.clone() {
            self.with_sa(spi, now, |_, sa| {
                for child in &mut sa.children {
                    child.agreed = (selectors::of_networks(&new.office), selectors::of_networks(&new.far));
                    child.rekey_at = child.rekey_at.min(now);
                }
            });
        }
    }

    /// Peers that we start: a few at a time, so that a restart is no flood.
    fn pace_first_tries(&mut self, now: Instant) {
        let waiting: Vec<PeerId> = self.core.peers.order().to_vec();
        let mut started: u32 = 0;
        for id in waiting {
            let Some(peer) = self.core.peers.get_mut(id) else { continue };
            if peer.config.initiate == Initiate::Always && peer.sas.is_empty() && peer.next_try.is_none() && peer.address().is_some() {
                peer.next_try = Some(now + peer::PACE * started);
                started += 1;
            }
            self.core.arm_peer(id);
        }
    }

    fn close_all(&mut self, id: PeerId, now: Instant) {
        let sas = self.core.peers.get(id).map(|peer| peer.sas.clone()).unwrap_or_default();
        for spi in sas {
            self.with_sa(spi, now, |core, sa| close(core, sa, now));
        }
        let lingering = self.core.peers.get_mut(id).map(|peer| (peer.config.name.clone(), std::mem::take(&mut peer.lingering)));
        if let Some((name, pairs)) = lingering {
            pairs.into_iter().for_each(|(_, spi)| self.core.remove_pair(&name, spi, now));
        }
    }

    /// Start a negotiation: by hand, or because a packet wants to go ([`crate::Initiate::OnDemand`]). `to` is where the peer is, for
    /// one that may be anywhere; `None` takes the configured address or the one it was last seen at. Nothing happens while one stands
    /// or goes on, or where [`crate::Initiate::Never`] is configured.
    pub fn initiate(&mut self, peer: &PeerName, to: Option<SocketAddrV4>, now: Instant) {
        let Some(id) = self.core.peers.by_name(peer) else { return };
        self.start(id, to, now);
        self.run_deferred(now);
    }

    fn start(&mut self, id: PeerId, to: Option<SocketAddrV4>, now: Instant) {
        let Some(peer) = self.core.peers.get_mut(id) else { return };
        peer.next_try = None;
        // A fixed address is the only one that is called, wherever the peer seemed to be.
        let to = to.filter(|to| !matches!(peer.config.address, PeerAddress::Fixed(fixed) if fixed != *to.ip()));
        let (local, remote) = match (to, peer.address()) {
            (Some(to), _) => (if to.port() == 500 { LocalPort::P500 } else { LocalPort::P4500 }, to),
            (None, Some(address)) => address,
            (None, None) => return self.core.arm_peer(id),
        };
        if peer.config.initiate == Initiate::Never || peer.sas.len() >= MAX_SAS_OF_A_PEER {
            return self.core.arm_peer(id);
        }
        let (endpoint, sas, pairs) = (peer.config.endpoint, peer.sas.clone(), peer.pairs);
        self.core.arm_peer(id);
        if sas.is_empty() {
            if let Some(sa) = ike_sa_init::begin(&mut self.core, id, Path { endpoint, local, remote }, now) {
                if let Some(peer) = self.core.peers.get_mut(id) {
                    peer.sas.push(sa.spi);
                }
                self.put_back(sa, now);
            }
        } else if pairs == 0 {
            let wanting = sas.into_iter().rev().find(|spi| self.sas.get(spi).is_some_and(|sa| sa.is_established()));
            if let Some(spi) = wanting {
                self.with_sa(spi, now, |_, sa| {
                    if !sa.is_busy_with_children() {
                        sa.requests.want(Wanted::NewChild);
                    }
                });
            }
        }
    }

    /// A Diffie-Hellman job is done.
    pub fn dh_done(&mut self, job: DhJobId, outcome: DhOutcome, now: Instant) {
        let Some((spi, task)) = self.core.take_job(job.0) else { return };
        self.with_sa(spi, now, |core, sa| match task {
            Task::OurKeyPair => exchange::our_key_pair(core, sa, outcome, now),
            Task::OurSecret => exchange::our_secret(core, sa, outcome, now),
            Task::TheirInit(theirs) => ike_sa_init::respond(core, sa, *theirs, outcome, now),
            Task::TheirChild(theirs) => child::agreed_theirs(core, sa, *theirs, outcome, now),
            Task::TheirIke(theirs) => rekey_ike::respond(core, sa, *theirs, outcome, now),
            Task::InstallOurs(_) | Task::InstallTheirs(_) => {}
        });
        self.run_deferred(now);
    }

    /// An installation is done.
    pub fn sa_installed(&mut self, id: InstallId, outcome: Result<(), InstallRefused>, now: Instant) {
        let Some((spi, task)) = self.core.take_job(id.0) else { return };
        let (inbound_spi, name) = match &task {
            Task::InstallOurs(made) => (made.inbound_spi, made.name.clone()),
            Task::InstallTheirs(made) => (made.inbound_spi, made.name.clone()),
            _ => return,
        };
        // Another IKE SA may have inherited it meanwhile; or it is nobody's any more, and has to go.
        let owner = self.core.spis.owner(inbound_spi).unwrap_or(spi);
        let stands = self.sas.get(&owner).is_some_and(|sa| sa.children.iter().any(|child| child.inbound_spi == inbound_spi));
        if !stands {
            return match outcome {
                Ok(()) => self.core.remove_pair(&name, inbound_spi, now),
                Err(_) => self.core.spis.retire(inbound_spi, now),
            };
        }
        self.with_sa(owner, now, |core, sa| match task {
            Task::InstallOurs(made) => child::installed_ours(core, sa, &made, outcome, now),
            Task::InstallTheirs(made) => child::installed_theirs(core, sa, *made, outcome, now),
            _ => {}
        });
        self.run_deferred(now);
    }

    /// A pair has reached its soft lifetime: replace it.
    pub fn sa_expiring(&mut self, inbound_spi: u32, now: Instant) {
        let Some(spi) = self.core.spis.owner(inbound_spi) else { return };
        self.with_sa(spi, now, |_, sa| {
            if let Some(child) = sa.child_by_inbound(inbound_spi) {
                // The peer chooses the numbers that use an SA up, with one packet if it likes: that buys no row of rekeyings.
                child.rekey_at = child.rekey_at.min(now.max(child.made + SHORTEST_LIFE));
            }
        });
        self.run_deferred(now);
    }

    /// The first packet was authenticated on this inbound SA.
    pub fn sa_heard(&mut self, inbound_spi: u32, now: Instant) {
        let Some(spi) = self.core.spis.owner(inbound_spi) else { return };
        self.with_sa(spi, now, |core, sa| {
            if let Some(child) = sa.child_by_inbound(inbound_spi) {
                child.switch_at = None;
                child.confirmed = true;
            }
            if let Some(peer) = sa.peer.and_then(|id| core.peers.get_mut(id)) {
                peer.heard = peer.heard.max(now);
            }
        });
        self.run_deferred(now);
    }

    /// The worker has lost these pairs: tell the peer, and begin anew where that is configured.
    pub fn sas_lost(&mut self, inbound_spis: &[u32], now: Instant) {
        for inbound_spi in inbound_spis {
            let Some(spi) = self.core.spis.owner(*inbound_spi) else { continue };
            self.with_sa(spi, now, |_, sa| {
                if let Some(child) = sa.child_by_inbound(*inbound_spi) {
                    child.state = ChildState::Deleting;
                    child.lost = true;
                    sa.requests.want(Wanted::DeleteChild(*inbound_spi));
                }
            });
        }
        self.run_deferred(now);
    }

    /// Authenticated ESP in UDP came from another address or port: the worker sends there already.
    pub fn esp_moved(&mut self, peer: &PeerName, to: SocketAddrV4, now: Instant) {
        let Some(id) = self.core.peers.by_name(peer) else { return };
        let sas = self.core.peers.get(id).map(|peer| peer.sas.clone()).unwrap_or_default();
        for spi in sas {
            self.with_sa(spi, now, |core, sa| {
                if sa.is_established() && matches!(sa.encapsulation(), Encapsulation::Udp { .. }) {
                    receive::follow(core, sa, Path { local: LocalPort::P4500, remote: to, ..sa.path });
                    if sa.path.remote != to {
                        receive::call_back(core, sa);
                    }
                }
            });
        }
        self.run_deferred(now);
    }

    /// The next thing to do.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.core.effects.pop_front()
    }

    /// Numbers over all peers.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// Let `work` be done on one IKE SA, with everything but the other ones at hand.
    fn with_sa(&mut self, spi: IkeSpi, now: Instant, work: impl FnOnce(&mut Core, &mut IkeSa)) {
        let Some(mut sa) = self.sas.remove(&spi) else { return };
        work(&mut self.core, &mut sa);
        self.put_back(sa, now);
    }

    /// An IKE SA (re)enters the tables: what waits for its turn starts, and its timer is armed.
    fn put_back(&mut self, mut sa: Box<IkeSa>, now: Instant) {
        while let Some(wanted) = sa.next_wanted() {
            start_wanted(&mut self.core, &mut sa, wanted, now);
        }
        if let Some(why) = sa.fate {
            // While we were rekeying it, the peer did so too: that one goes on.
            if let Some((heir, _)) = sa.rival.take() {
                self.hand_over(&mut sa, heir, now);
            }
            return self.bury(sa, why, now);
        }
        let dpd = sa.peer.and_then(|id| self.core.peers.get(id)).map(|peer| (peer.config.dpd, peer.heard));
        self.core.timers.set(Timer::Sa(sa.spi), sa.deadline(dpd));
        let peer = sa.peer;
        self.sas.insert(sa.spi, sa);
        if let Some(id) = peer {
            self.note_state(id, now);
        }
    }
}

/// The configuration has no place for it any more.
fn close(core: &mut Core, sa: &mut IkeSa, now: Instant) {
    if sa.protection.is_some() && !matches!(sa.phase, Phase::Refused) {
        delete::say_goodbye(core, sa, &[Payload::Delete(Delete::Ike)], now);
    }
    sa.fate = Some(Closed::Reconfigured);
}

fn start_wanted(core: &mut Core, sa: &mut IkeSa, wanted: Wanted, now: Instant) {
    match wanted {
        Wanted::NewChild => create_child_sa::begin(core, sa, None, now),
        Wanted::RekeyChild(old) => create_child_sa::begin(core, sa, Some(old), now),
        Wanted::DeleteChild(spi) => delete::begin_child(core, sa, spi, now),
        Wanted::RekeyIke => rekey_ike::begin(core, sa, now),
        Wanted::DeleteIke => delete::begin_ike(core, sa, now),
        Wanted::Probe => informational::probe(core, sa, now),
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("ike_sas", &self.sas.len()).finish_non_exhaustive()
    }
}
