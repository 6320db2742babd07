//! Which of a tenant's tunnels carries a packet to the office, where it has several.
//!
//! ```text
//!              prefer                          both
//!   main    <== everything            main    <== answers to what came by main, and all that the cloud begins
//!   backup  <-- (stands by)           backup  <== answers to what came by backup
//! ```
//! A tunnel is passed over when it has no keys, or nobody answers at its other end; with it goes whatever was bound to it, until it is back
//! or, for a session, until the office sends by another.

use crate::drop_reason::DropReason;
use crate::nat::SessionId;
use crate::router_config::{Redundancy, TenantConfig, TunnelId};
use crate::tenant::{Tenant, TenantTunnel};
use crate::time::Instant;
use crate::tunnel::{AnyTunnel, Tunnel};

/// What goes to the office by a tunnel at present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carries {
    /// All that goes to the office.
    Everything,
    /// Answers of sessions whose office last sent over it, and all that has no such tunnel.
    AnswersAndRest,
    /// Answers of sessions whose office last sent over it.
    Answers,
    /// Nothing, while another one is up that comes before it.
    Standby,
    /// Nothing: it is down, or nobody answers at its other end.
    Nothing,
}

impl Carries {
    /// As tables and the API spell it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::AnswersAndRest => "answers+rest",
            Self::Answers => "answers",
            Self::Standby => "standby",
            Self::Nothing => "nothing",
        }
    }
}

impl Tenant {
    /// Whether `tunnel` can carry a packet now.
    ///
    /// # Errors
    /// [`DropReason::TunnelDown`] or [`DropReason::TunnelPeerAddressUnknown`].
    pub fn ready(&self, tunnel: TunnelId, now: Instant) -> Result<(), DropReason> {
        match &self.tunnels[usize::from(tunnel.0)].tunnel {
            AnyTunnel::WireGuard(tunnel) if tunnel.peer().is_none() => Err(DropReason::TunnelPeerAddressUnknown),
            tunnel if tunnel.is_up(now) => Ok(()),
            _ => Err(DropReason::TunnelDown),
        }
    }

    /// A packet of the office went through this session, and had come by `tunnel`.
    pub fn hear_over(&mut self, session: SessionId, tunnel: TunnelId) {
        if self.redundancy == Redundancy::Both {
            self.nat.set_tunnel(session, tunnel);
        }
    }

    /// Which tunnel carries a packet to the office. `session`: the one that it belongs to, if there is one yet.
    #[must_use]
    pub fn return_tunnel(&mut self, session: Option<SessionId>, now: Instant) -> TunnelId {
        // There is nothing to choose from one.
        if self.tunnels.len() > 1 {
            self.last_tunnel = self.choose(session, now);
        }
        self.last_tunnel
    }

    /// Whether another tunnel should be called: the one in use has keys, but nobody at its other end, and the others sleep.
    #[must_use]
    pub fn wants_another_tunnel(&self, now: Instant) -> bool {
        let is_dead = |slot: &TenantTunnel| slot.tunnel.is_silent() && slot.tunnel.is_up(now);
        self.tunnels.len() > 1 && self.tunnels.iter().any(is_dead) && !self.ids().any(|tunnel| self.is_usable(tunnel, now))
    }

    /// What goes to the office by `tunnel` at present.
    #[must_use]
    pub fn carries(&self, tunnel: TunnelId, now: Instant) -> Carries {
        let shares = self.redundancy == Redundancy::Both;
        let another_is_usable = || self.ids().any(|other| other != tunnel && self.is_usable(other, now));
        let is_chosen = self.choose(None, now) == tunnel && self.ready(tunnel, now).is_ok();
        match (is_chosen, self.is_usable(tunnel, now)) {
            (true, _) if shares && another_is_usable() => Carries::AnswersAndRest,
            (true, _) => Carries::Everything,
            (false, true) if shares => Carries::Answers,
            (false, true) => Carries::Standby,
            (false, false) => Carries::Nothing,
        }
    }

    fn choose(&self, session: Option<SessionId>, now: Instant) -> TunnelId {
        if self.redundancy == Redundancy::Both
            && let Some(session) = session
        {
            let tunnel = self.nat.session(session).tunnel();
            if self.is_usable(tunnel, now) {
                return tunnel;
            }
        }
        let usable = self.ids().find(|tunnel| self.is_usable(*tunnel, now));
        // Where nobody answers, one that has keys is better than none: the silence may be on the way here alone.
        usable.or_else(|| self.ids().find(|tunnel| self.ready(*tunnel, now).is_ok())).unwrap_or(TunnelId(0))
    }

    fn ids(&self) -> impl Iterator<Item = TunnelId> {
        (0u8..).map(TunnelId).take(self.tunnels.len())
    }

    /// Whether `tunnel` has keys and its router is not silent. A number that a reload left behind is of none.
    fn is_usable(&self, tunnel: TunnelId, now: Instant) -> bool {
        self.tunnels.get(usize::from(tunnel.0)).is_some_and(|slot| slot.tunnel.is_up(now) && !slot.tunnel.is_silent())
    }

    /// Sessions remember a tunnel by its number: where a reload gave it another one, they follow. One that is gone leaves its sessions to the
    /// first.
    pub(super) fn follow_tunnels_from(&mut self, old: &TenantConfig) {
        let new = &self.config.tunnels;
        let number = |tunnel: TunnelId| {
            let name = old.tunnels.get(usize::from(tunnel.0)).map(|tunnel| &tunnel.name);
            let found = (0u8..).zip(new).find(|(_, tunnel)| Some(&tunnel.name) == name);
            TunnelId(found.map_or(0, |(number, _)| number))
        };
        if (0u8..).map(TunnelId).take(old.tunnels.len()).any(|tunnel| number(tunnel) != tunnel) {
            self.nat.renumber_tunnels(number);
        }
    }
}
