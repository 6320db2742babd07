//! What is due: retransmissions, rekeying, silence, ends of lives, the next try.

use std::time::Duration;

use crate::config::Initiate;
use crate::effect::{Closed, Effect, LocalPort};
use crate::exchange::{Ours, Wanted};
use crate::failure::Failure;
use crate::message::IkeSpi;
use crate::sa::child::{Child, ChildState};
use crate::sa::requests::Due;
use crate::sa::{IkeSa, Phase};
use crate::time::Instant;

use super::Engine;
use super::core::Core;
use super::peer::PeerId;
use super::timers::Timer;

/// RFC 3948 section 4: at most 20 s between keepalives of who stands behind a NAT.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(20);

impl Engine {
    /// Do what is due. Call it at [`Engine::deadline`]; more often does no harm.
    pub fn tick(&mut self, now: Instant) {
        while let Some(timer) = self.core.timers.pop(now) {
            match timer {
                Timer::Sa(spi) => self.sa_due(spi, now),
                Timer::Peer(id) => self.peer_due(id, now),
            }
            self.run_deferred(now);
        }
    }

    /// When to call [`Engine::tick`] at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.core.timers.next()
    }

    fn sa_due(&mut self, spi: IkeSpi, now: Instant) {
        self.with_sa(spi, now, |core, sa| {
            retransmit(core, sa, now);
            if sa.fate.is_none() {
                lives(core, sa, now);
            }
            if sa.fate.is_none() && sa.is_established() {
                children(core, sa, now);
                ask(core, sa, now);
            }
        });
    }

    fn peer_due(&mut self, id: PeerId, now: Instant) {
        let Some(peer) = self.core.peers.get_mut(id) else { return };
        let name = peer.config.name.clone();
        let gone: Vec<u32> = peer.lingering.iter().filter(|&&(until, _)| until <= now).map(|&(_, spi)| spi).collect();
        peer.lingering.retain(|&(until, _)| until > now);
        let due = peer.next_try.is_some_and(|at| at <= now);
        gone.into_iter().for_each(|spi| self.core.remove_pair(&name, spi, now));
        if due {
            self.start(id, None, now);
        }
        self.core.arm_peer(id);
    }
}

fn retransmit(core: &mut Core, sa: &mut IkeSa, now: Instant) {
    match sa.requests.due(now) {
        Due::Nothing => {}
        Due::Again(packets) => {
            let packets = packets.to_vec();
            core.counters.retransmissions += 1;
            core.send(sa.path.endpoint, sa.path.local, sa.path.remote, &packets);
            sa.last_sent = now;
        }
        Due::GiveUp => give_up(core, sa, now),
    }
}

/// The peer does not answer.
fn give_up(core: &mut Core, sa: &mut IkeSa, now: Instant) {
    if matches!(sa.requests.exchange(), Some(Ours::DeleteIke)) {
        return crate::exchange::delete::ike_answered(sa);
    }
    let hint = match sa.requests.exchange_mut() {
        Some(Ours::Init(draft)) => draft.hint.take(),
        _ => None,
    };
    let stood = matches!(sa.phase, Phase::Established | Phase::Replaced);
    let (failure, detail) = hint.unwrap_or((if stood { Failure::DeadPeer } else { Failure::Timeout }, String::new()));
    if !matches!(sa.phase, Phase::Replaced) {
        core.failed(sa, failure, detail, now);
    }
    sa.fate = Some(if stood { Closed::DeadPeer } else { Closed::Failed });
}

/// Lives that end.
fn lives(core: &mut Core, sa: &mut IkeSa, now: Instant) {
    for reassembly in &mut sa.reassembly {
        if reassembly.deadline().is_some_and(|at| at <= now) {
            reassembly.clear();
        }
    }
    if sa.give_up.is_some_and(|at| at <= now) {
        sa.give_up = None;
        return match sa.phase {
            Phase::Replaced | Phase::Established => sa.fate = Some(Closed::Replaced),
            // Our own beginning that was refused by somebody; a stranger that never came back.
            _ if sa.peer.is_some() => give_up(core, sa, now),
            _ => sa.fate = Some(Closed::Failed),
        };
    }
    if sa.is_established() && (sa.expires_at <= now || sa.retire_at.is_some_and(|at| at <= now)) {
        sa.expires_at = Instant::FAR_FUTURE;
        sa.retire_at = None;
        sa.requests.want_first(Wanted::DeleteIke);
    }
}

/// Child SAs whose time has come.
fn children(core: &mut Core, sa: &mut IkeSa, now: Instant) {
    let name = core.name(sa);
    let mut wanted = Vec::new();
    for child in &mut sa.children {
        if child.switch_at.is_some_and(|at| at <= now) {
            child.switch_at = None;
            let switch = name.clone().map(|peer| Effect::SwitchOutbound { peer, inbound_spi: child.inbound_spi });
            core.effects.extend(switch);
        }
        if child.expires_at <= now {
            child.expires_at = Instant::FAR_FUTURE;
            wanted.push(Wanted::DeleteChild(child.inbound_spi));
        } else if child.rekey_at <= now && child.state == ChildState::Live {
            child.rekey_at = Instant::FAR_FUTURE;
            // An SA that is one too many is not replaced.
            if sa.retire_at.is_none() {
                wanted.push(Wanted::RekeyChild(child.inbound_spi));
            }
        }
    }
    wanted.into_iter().for_each(|wanted| sa.requests.want(wanted));
}

/// What we ask of our own accord.
fn ask(core: &mut Core, sa: &mut IkeSa, now: Instant) {
    if sa.rekey_at <= now {
        sa.rekey_at = Instant::FAR_FUTURE;
        if sa.retire_at.is_none() {
            sa.requests.want(Wanted::RekeyIke);
        }
    }
    if sa.another_at.is_some_and(|at| at <= now) {
        sa.another_at = None;
        let always = core.config(sa).is_some_and(|config| config.initiate == Initiate::Always);
        if always && !sa.children.iter().any(Child::serves) {
            sa.requests.want(Wanted::NewChild);
        }
    }
    let dpd = sa.peer.and_then(|id| core.peers.get(id)).map(|peer| (peer.config.dpd, peer.heard));
    if sa.probe_at(dpd).is_some_and(|at| at <= now) {
        sa.requests.want(Wanted::Probe);
    }
    if sa.nat.we_behind && sa.path.local == LocalPort::P4500 && sa.last_sent + KEEPALIVE <= now {
        sa.last_sent = now;
        core.effects.push_back(Effect::SendKeepalive { endpoint: sa.path.endpoint, to: sa.path.remote });
    }
}

/// A replaced IKE SA, or one that is one too many, is gone at `at` at the latest.
pub(super) fn replaced_until(sa: &mut IkeSa, at: Instant) {
    sa.phase = Phase::Replaced;
    sa.give_up = Some(at);
}
