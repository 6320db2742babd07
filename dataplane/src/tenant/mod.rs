//! [`Tenant`]: one municipality, with everything of its own: tunnels, rules, NAT, cloud networks.
//!
//! There is no table in which two tenants' flows meet. Whoever holds `&mut Tenant` can reach this tenant's state and no other's.

mod ceiling;
mod fragments;
mod interfaces;
mod policy;
mod prefetch;
mod redundancy;

use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnetwork::Ipv4Network;

use crate::counters::{TenantCounters, TunnelCounters};
use crate::drop_reason::DropReason;
use crate::link::Interface;
use crate::nat::{Direction, Endpoint, Nat, NewFlow, PortHalf, SessionId};
use crate::rate::{Rate, TokenBucket};
use crate::router_config::{AttachmentId, CallbackConfig, EndpointId, Redundancy, TenantConfig, TenantEntry, TrafficClass, TunnelId};
use crate::time::Instant;
use crate::tunnel::{AnyTunnel, Tunnel};
use crate::wire::inner::Inner;

use ceiling::Ceiling;
pub use fragments::{FragmentOrigin, Fragments, Passing, Places};
use interfaces::{interface, owned};
pub use policy::{Opening, Policy};
pub use redundancy::Carries;

/// Next hops of one VLAN: the gateway and the hosts beside it.
const NEIGHBORS: usize = 64;

/// ICMP errors that the relay sends on a tenant's account (RFC 1812 section 4.3.2.8).
const ICMP_ERRORS: Rate = Rate::per_second(100);

/// One tunnel of a tenant, with the counters that outlive it.
pub struct TenantTunnel {
    /// The tunnel.
    pub tunnel: AnyTunnel,
    /// The relay's end, as configured.
    pub endpoint: EndpointId,
    /// Largest inner packet in bytes, as configured.
    pub mtu: u16,
    /// Its counters.
    pub counters: Arc<TunnelCounters>,
    /// The peer moved, and the control plane has not been told yet.
    pub moved: bool,
}

/// What a packet belongs to.
#[derive(Clone, Copy, Debug)]
pub enum Flow {
    /// A session.
    Known(SessionId),
    /// None yet, but the rules would open it.
    New(NewFlow),
}

impl Flow {
    /// The session, if there is one yet.
    #[must_use]
    pub const fn session(&self) -> Option<SessionId> {
        match self {
            Self::Known(session) => Some(*session),
            Self::New(_) => None,
        }
    }
}

/// One municipality.
pub struct Tenant {
    /// Its configuration.
    pub config: Arc<TenantConfig>,
    /// What is counted for it.
    pub counters: Arc<TenantCounters>,
    /// Its tunnels, in the order of the configuration.
    pub tunnels: Vec<TenantTunnel>,
    /// Its cloud networks, in the order of the configuration.
    pub attachments: Vec<Interface>,
    /// Its sessions and mappings.
    pub nat: Nat,
    /// Its datagrams that come in fragments.
    pub fragments: Fragments,
    policy: Policy,
    /// Counts the tenant's configurations; a session of an older one is checked against the new rules.
    generation: u32,
    inner_mtu: u16,
    /// What of the configuration every packet asks for stands here, so that none has to go and look there.
    isolated: bool,
    isolated_classes: [bool; TrafficClass::COUNT],
    redundancy: Redundancy,
    icmp_errors: TokenBucket,
    /// What of IPv6 is refused by word, and pings to the relay under it: they must not silence the errors that path MTUs hang on.
    icmpv6: TokenBucket,
    ceiling: Ceiling,
    /// What the last packet to each side went over: prefetching takes it that the next one does so too.
    last_tunnel: TunnelId,
    last_attachment: AttachmentId,
}

impl Tenant {
    /// A tenant without state. `seed` makes its random choices its own; `own_ports` are the relay's, which no pool gives out; of the
    /// others this run of the relay gives out `port_half` first.
    #[must_use]
    pub fn new(entry: &TenantEntry, tunnels: Vec<TenantTunnel>, own_ports: &[u16], port_half: PortHalf, seed: u64, now: Instant) -> Self {
        let config = Arc::clone(&entry.config);
        let mut nat = Nat::new(config.limits, seed);
        nat.set_reserved_ports(own_ports);
        nat.set_port_half(port_half);
        let policy = Policy::new(&config, &mut nat, now);
        let attachments = config.attachments.iter().map(|attachment| interface(&config, attachment)).collect();
        Self {
            counters: Arc::clone(&entry.counters),
            tunnels,
            attachments,
            nat,
            fragments: Fragments::new(seed.rotate_left(16)),
            policy,
            generation: 0,
            inner_mtu: smallest_mtu(&config),
            isolated: config.isolated,
            isolated_classes: config.isolated_classes,
            redundancy: config.redundancy,
            icmp_errors: TokenBucket::FULL,
            icmpv6: TokenBucket::FULL,
            ceiling: Ceiling::new(config.rate),
            last_tunnel: TunnelId(0),
            last_attachment: AttachmentId(0),
            config,
        }
    }

    /// Take over a changed configuration. Sessions stay, and are checked against the new rules at their next packet;
    /// attachments that did not change keep their neighbours. Returns the attachments that went away.
    pub fn reconfigure(&mut self, entry: &TenantEntry, tunnels: Vec<TenantTunnel>, now: Instant) -> Vec<Interface> {
        let old = std::mem::replace(&mut self.config, Arc::clone(&entry.config));
        let mut interfaces: Vec<Option<Interface>> = std::mem::take(&mut self.attachments).into_iter().map(Some).collect();
        for (index, attachment) in self.config.attachments.iter().enumerate() {
            let same = old.attachments.get(index).is_some_and(|old| old == attachment)
                && owned(&old, attachment) == owned(&self.config, attachment);
            let kept = if same { interfaces[index].take() } else { None };
            self.attachments.push(kept.unwrap_or_else(|| interface(&self.config, attachment)));
        }
        self.counters = Arc::clone(&entry.counters);
        self.tunnels = tunnels;
        (self.last_tunnel, self.last_attachment) = (TunnelId(0), AttachmentId(0));
        self.nat.set_limits(self.config.limits);
        self.ceiling.change(self.config.rate);
        self.policy = Policy::new(&self.config, &mut self.nat, now);
        self.doubt_sessions();
        self.inner_mtu = smallest_mtu(&self.config);
        (self.isolated, self.isolated_classes) = (self.config.isolated, self.config.isolated_classes);
        self.redundancy = self.config.redundancy;
        self.follow_tunnels_from(&old);
        interfaces.into_iter().flatten().collect()
    }

    /// Check every session against the rules anew, each at its next packet: something outside the tenant's own configuration changed.
    pub fn doubt_sessions(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// The class of an inner packet that left a tunnel.
    ///
    /// # Errors
    /// [`DropReason::TenantIsolated`], [`DropReason::SourceNotAdmitted`], [`DropReason::ClassIsolated`].
    pub fn admit(&self, inner: &Inner) -> Result<TrafficClass, DropReason> {
        self.admit_tenant()?;
        let class = self.policy.class_of(inner.source)?;
        self.admit_class(class)?;
        Ok(class)
    }

    /// Refuse everything of a tenant that an operator cut off.
    ///
    /// # Errors
    /// [`DropReason::TenantIsolated`].
    pub fn admit_tenant(&self) -> Result<(), DropReason> {
        if self.isolated { Err(DropReason::TenantIsolated) } else { Ok(()) }
    }

    fn admit_class(&self, class: TrafficClass) -> Result<(), DropReason> {
        if self.isolated_classes[class as usize] { Err(DropReason::ClassIsolated) } else { Ok(()) }
    }

    /// The flow of a packet that left a tunnel: a session, or what the rules would open.
    ///
    /// # Errors
    /// Reasons of the policy stage.
    pub fn flow_from_office(
        &mut self,
        class: TrafficClass,
        inner: &Inner,
        conventional_lgwan: &[Ipv4Network],
        now: Instant,
    ) -> Result<Flow, DropReason> {
        if let Some(session) = self.nat.find_from_office(inner) {
            self.check_generation(session, conventional_lgwan, now)?;
            return Ok(Flow::Known(session));
        }
        self.policy.open_to_cloud(&self.config, conventional_lgwan, class, opening(inner)).map(Flow::New)
    }

    /// The flow of a packet from a cloud network: a session, or what a callback would open.
    ///
    /// # Errors
    /// Reasons of the policy stage, and [`DropReason::NoSession`].
    pub fn flow_from_cloud(
        &mut self,
        attachment: AttachmentId,
        inner: &Inner,
        conventional_lgwan: &[Ipv4Network],
        now: Instant,
    ) -> Result<Flow, DropReason> {
        if let Some(session) = self.nat.find_from_cloud(attachment, inner) {
            self.check_generation(session, conventional_lgwan, now)?;
            self.admit_class(self.nat.session(session).class)?;
            return Ok(Flow::Known(session));
        }
        let flow = match self.policy.open_to_office(&self.config, attachment, opening(inner)) {
            // To a translated office address it was meant as an answer; to anything else it never had a chance.
            Err(DropReason::CallbackNotAllowed) if self.is_source_in_cloud(attachment, inner.destination) => {
                self.let_in(attachment, inner, conventional_lgwan)?
            }
            outcome => outcome?,
        };
        self.admit_class(flow.class)?;
        Ok(Flow::New(flow))
    }

    /// What a packet from the cloud begins under a mapping: the flow that the office could open itself, where filtering lets the cloud go
    /// first.
    fn let_in(&self, attachment: AttachmentId, inner: &Inner, conventional_lgwan: &[Ipv4Network]) -> Result<NewFlow, DropReason> {
        let (class, inside) = self.nat.inside_of(attachment, inner).ok_or(DropReason::NoSession)?;
        if self.policy.class_of(inside.addr) != Ok(class) {
            // A reload gave the host to the other class, whose packets a pool of this one never carries.
            return Err(DropReason::NoSession);
        }
        let remote = Endpoint::new(inner.source, inner.source_port);
        let flow = self.policy.flow_towards(&self.config, conventional_lgwan, (class, attachment, inner.protocol), inside, remote)?;
        if self.nat.lets_in(&flow) { Ok(flow) } else { Err(DropReason::NoSession) }
    }

    /// Let an inner packet of `bytes` pass the tenant's `rate.ceiling`.
    ///
    /// # Errors
    /// [`DropReason::RateCeiling`].
    pub fn admit_rate(&mut self, direction: Direction, class: TrafficClass, bytes: usize, now: Instant) -> Result<(), DropReason> {
        self.ceiling.admit(direction, class, bytes, now)
    }

    /// The class of a flow.
    #[must_use]
    pub fn class_of(&self, flow: &Flow) -> TrafficClass {
        match flow {
            Flow::Known(session) => self.nat.session(*session).class,
            Flow::New(flow) => flow.class,
        }
    }

    /// The attachment that a flow goes over.
    #[must_use]
    pub fn attachment_of(&self, flow: &Flow) -> AttachmentId {
        match flow {
            Flow::Known(session) => self.nat.session(*session).attachment,
            Flow::New(flow) => flow.attachment,
        }
    }

    /// The flow's session, opened where there is none: the last step before the packet goes on, so that a loss costs no state.
    ///
    /// # Errors
    /// Reasons of the NAT stage.
    pub fn session_of(&mut self, flow: Flow, inner: &Inner, now: Instant) -> Result<SessionId, DropReason> {
        match flow {
            Flow::Known(session) => Ok(session),
            Flow::New(flow) => self.open(&flow, inner, now),
        }
    }

    /// Whether the cloud knows office hosts by `address` here: one of a pool or of a static translation, and no callback's.
    fn is_source_in_cloud(&self, attachment: AttachmentId, address: Ipv4Addr) -> bool {
        let is_callback = |callback: &CallbackConfig| callback.attachment == attachment && callback.to == address;
        self.attachments[usize::from(attachment.0)].owns(address) && !self.config.callbacks.iter().any(is_callback)
    }

    fn open(&mut self, flow: &NewFlow, inner: &Inner, now: Instant) -> Result<SessionId, DropReason> {
        let session = self.nat.open(flow, self.generation, inner, now)?;
        self.counters.sessions_opened.add(1);
        Ok(session)
    }

    /// A session of an older configuration lives on only if the present rules would open the very same one.
    pub fn check_generation(&mut self, id: SessionId, conventional_lgwan: &[Ipv4Network], now: Instant) -> Result<(), DropReason> {
        let session = self.nat.session(id);
        if session.generation == self.generation {
            return Ok(());
        }
        let permitted = match session.opened_by() {
            Direction::OfficeToCloud => {
                let opening = Opening { protocol: session.protocol, source: session.office, destination: session.office_remote };
                let class = self.policy.class_of(session.office.addr);
                class.and_then(|class| self.policy.open_to_cloud(&self.config, conventional_lgwan, class, opening))
            }
            Direction::CloudToOffice => {
                let opening = Opening { protocol: session.protocol, source: session.cloud_remote, destination: session.cloud_local };
                self.policy.open_to_office(&self.config, session.attachment, opening)
            }
        };
        match permitted {
            Ok(flow) if self.nat.is_of_flow(id, &flow) => {
                self.nat.confirm(id, &flow, self.generation);
                Ok(())
            }
            // An operator's cut-off and a date are told by their names; the session waits for its end, or for its rule.
            Err(reason @ (DropReason::ServiceIsolated | DropReason::RuleNotValidNow)) => Err(reason),
            _ => {
                self.nat.remove(id, now);
                Err(DropReason::SessionRevoked)
            }
        }
    }

    /// Translate an office host's ICMP error about a packet that the cloud sent.
    ///
    /// # Errors
    /// Reasons of the NAT stage; [`DropReason::IcmpErrorUnmatched`] also where the sender is of another class than the flow.
    pub fn icmp_error_to_cloud(
        &mut self,
        class: TrafficClass,
        packet: &mut [u8],
        inner: &Inner,
        conventional_lgwan: &[Ipv4Network],
        now: Instant,
    ) -> Result<SessionId, DropReason> {
        let session = self.nat.icmp_error_to_cloud(packet, inner)?;
        if self.nat.session(session).class != class {
            return Err(DropReason::IcmpErrorUnmatched);
        }
        self.check_generation(session, conventional_lgwan, now)?;
        Ok(session)
    }

    /// Translate an ICMP error from a cloud network about a packet that the office sent.
    ///
    /// # Errors
    /// Reasons of the NAT stage, and [`DropReason::ClassIsolated`].
    pub fn icmp_error_to_office(
        &mut self,
        attachment: AttachmentId,
        packet: &mut [u8],
        inner: &Inner,
        conventional_lgwan: &[Ipv4Network],
        now: Instant,
    ) -> Result<SessionId, DropReason> {
        let session = self.nat.icmp_error_to_office(attachment, packet, inner)?;
        self.admit_class(self.nat.session(session).class)?;
        self.check_generation(session, conventional_lgwan, now)?;
        Ok(session)
    }

    /// Largest inner packet that every one of its tunnels carries, in bytes.
    #[must_use]
    pub fn inner_mtu(&self) -> u16 {
        self.inner_mtu
    }

    /// Largest packet that an attachment's port carries, in bytes.
    #[must_use]
    pub fn cloud_mtu(&self, attachment: AttachmentId) -> u16 {
        self.attachments[usize::from(attachment.0)].mtu
    }

    /// Largest packet that every one of its attachments carries, in bytes.
    #[must_use]
    pub fn smallest_cloud_mtu(&self) -> u16 {
        self.attachments.iter().map(|attachment| attachment.mtu).min().unwrap_or(u16::MAX)
    }

    /// Where a packet to the cloud goes next over `attachment`.
    ///
    /// # Errors
    /// [`DropReason::NextHopUnresolved`].
    pub fn next_hop(&mut self, attachment: AttachmentId, destination: Ipv4Addr) -> Result<Ipv4Addr, DropReason> {
        self.last_attachment = attachment;
        self.attachments[usize::from(attachment.0)].next_hop(destination).ok_or(DropReason::NextHopUnresolved)
    }

    /// Whether the relay may send one more ICMP error on this tenant's account.
    pub fn may_send_icmp_error(&mut self, now: Instant) -> bool {
        self.icmp_errors.take(ICMP_ERRORS, now)
    }

    /// Whether one more ICMPv6 message may be sent on the tenant's account, as many as ICMP errors.
    pub fn may_send_icmpv6(&mut self, now: Instant) -> bool {
        self.icmpv6.take(ICMP_ERRORS, now)
    }

    /// Bring the gauges up to date.
    pub fn publish_gauges(&self, now: Instant) {
        self.counters.sessions.set(self.nat.sessions_alive() as u64);
        self.counters.mappings.set(self.nat.mappings_alive() as u64);
        for slot in &self.tunnels {
            let state = slot.tunnel.state(now);
            slot.counters.up.set(u64::from(state.up));
            slot.counters.changed_at_nanos.set(state.changed_at.map_or(0, Instant::as_nanos));
            slot.counters.handshake_at_nanos.set(state.handshake_at.map_or(0, Instant::as_nanos));
            slot.counters.heard_at_nanos.set(state.heard_at.map_or(0, Instant::as_nanos));
        }
    }
}

fn smallest_mtu(config: &TenantConfig) -> u16 {
    config.tunnels.iter().map(|tunnel| tunnel.mtu).min().unwrap_or(u16::MAX)
}

fn opening(inner: &Inner) -> Opening {
    Opening {
        protocol: inner.protocol,
        source: Endpoint { addr: inner.source, port: inner.source_port },
        destination: Endpoint { addr: inner.destination, port: inner.destination_port },
    }
}
