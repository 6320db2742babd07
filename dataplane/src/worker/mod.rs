//! The worker: the loop that owns NICs, tenants and tables.
//!
//! [`Worker::poll`] does one round: adopt a new configuration, obey commands, receive a batch from each port, send each frame
//! through its route, let time pass for what is due, transmit. It reads no clock.

mod adopt;
#[cfg(feature = "simulation")]
mod audit;
pub mod control;
mod housekeeping;
mod ledger;
mod port;
mod snapshots;
pub mod steering;
pub mod thread;

use std::net::SocketAddrV4;
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use rtrb::{Consumer, Producer};

use crate::counters::WorkerCounters;
use crate::drop_reason::DropReason;
use crate::link::{self, ArpOutcome, Interface};
use crate::nic::{BATCH, Nic};
use crate::packet::{FramePool, Packet};
use crate::publish::Reader;
use crate::rate::TokenBucket;
use crate::route::{self, Datagram, TunnelNews, Verdict};
use crate::router_config::{AttachmentId, EndpointId, PortId, RouterConfig, TunnelId, Vlan};
use crate::tenant::Tenant;
use crate::time::Instant;
use crate::tunnel::wireguard::{Inspected, WireGuardListener};
use crate::tunnel::{TenantId, TunnelKey, TunnelTable};
use crate::wire::arp::Arp;
use crate::wire::ethernet::{self, Ethernet, MacAddr};
use crate::wire::underlay::{self, Outer};
#[cfg(feature = "simulation")]
pub use audit::FrameAudit;
use control::{Command, Event};
use ledger::Ledger;
use port::Port;

/// Commands and events that may wait on their rings.
pub const RING: usize = 1024;

/// Both tables are changed together with the tenants, between two batches.
const LIVING: &str = "the tables of tunnels and attachments name living tenants only";

/// One of the relay's own ends of tunnels.
struct Endpoint {
    port: PortId,
    local: SocketAddrV4,
    listener: WireGuardListener,
}

/// Everything that one worker thread owns.
pub struct Worker {
    reader: Reader<RouterConfig>,
    config: Arc<RouterConfig>,
    ledger: Ledger,
    ports: Vec<Port>,
    /// The access network of each port that has an address.
    access: Vec<Option<Interface>>,
    endpoints: Vec<Endpoint>,
    tenants: Vec<Option<Box<Tenant>>>,
    names: HashMap<Arc<str>, TenantId, RandomState>,
    tunnels: TunnelTable,
    attachments: HashMap<(PortId, Vlan), (TenantId, AttachmentId), RandomState>,
    commands: Consumer<Command>,
    events: Producer<Event>,
    batch: Vec<Packet>,
    housekeeping: housekeeping::Schedule,
    echoes: TokenBucket,
    seed: u64,
}

/// What a worker is made of.
pub struct WorkerParts {
    /// The opened NICs, in the order of [`RouterConfig::ports`].
    pub ports: Vec<Box<dyn Nic>>,
    /// The frames.
    pub pool: FramePool,
    /// Where configurations come from; one must have been published.
    pub config: Reader<RouterConfig>,
    /// The worker's counters.
    pub counters: Arc<WorkerCounters>,
    /// A secret random number: ports, receiver indices and hash seeds are drawn from it.
    pub seed: u64,
    /// The processor to stay on.
    pub cpu: Option<usize>,
}

impl Worker {
    /// A worker, and the control plane's ends of its rings.
    ///
    /// # Panics
    /// When no configuration was published, or not one NIC for each configured port was opened.
    #[must_use]
    pub fn new(parts: WorkerParts, now: Instant) -> (Self, Producer<Command>, Consumer<Event>) {
        let (commands_in, commands) = rtrb::RingBuffer::new(RING);
        let (events, events_out) = rtrb::RingBuffer::new(RING);
        let mut reader = parts.config;
        let (generation, config) = reader.changed().expect("a configuration is published before its worker starts");
        assert_eq!(parts.ports.len(), config.ports.len(), "one NIC for each configured port");
        let ports = parts.ports.into_iter().zip(&config.ports);
        let mut worker = Self {
            reader,
            config: Arc::clone(&config),
            ledger: Ledger::new(parts.pool, parts.counters),
            ports: ports.map(|(nic, port)| Port::new(nic, Arc::clone(&port.counters))).collect(),
            access: adopt::access_interfaces(&config),
            endpoints: Vec::new(),
            tenants: Vec::new(),
            names: HashMap::with_hasher(RandomState::default()),
            tunnels: TunnelTable::new(parts.seed),
            attachments: HashMap::with_hasher(RandomState::default()),
            commands,
            events,
            batch: Vec::with_capacity(BATCH),
            housekeeping: housekeeping::Schedule::new(now),
            echoes: TokenBucket::FULL,
            seed: parts.seed,
        };
        worker.adopt(generation, config, now);
        (worker, commands_in, events_out)
    }

    /// One round. Returns how many frames it received: with none, there is time to sleep until [`Self::next_deadline`].
    pub fn poll(&mut self, now: Instant) -> usize {
        self.ledger.counters.polls.add(1);
        if let Some((generation, config)) = self.reader.changed() {
            self.adopt(generation, config, now);
        }
        while let Ok(command) = self.commands.pop() {
            self.obey(command, now);
        }
        let mut received = 0;
        for index in 0..self.ports.len() {
            received += self.receive(index, now);
        }
        self.keep_house(now);
        for port in &mut self.ports {
            port.flush(&mut self.ledger);
        }
        received
    }

    /// When [`Self::poll`] has something to do although no frame arrives.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        self.housekeeping.next()
    }

    /// The NICs, for asking what there is to wait for.
    pub fn nics(&mut self) -> impl Iterator<Item = &mut Box<dyn Nic>> {
        self.ports.iter_mut().map(|port| &mut port.nic)
    }

    /// Book that the worker goes to sleep.
    pub fn count_sleep(&self) {
        self.ledger.counters.sleeps.add(1);
    }

    /// End the worker and keep the NICs.
    #[must_use]
    pub fn into_nics(self) -> Vec<Box<dyn Nic>> {
        self.ports.into_iter().map(|port| port.nic).collect()
    }

    fn receive(&mut self, index: usize, now: Instant) -> usize {
        let mut batch = std::mem::take(&mut self.batch);
        let port = &mut self.ports[index];
        let outcome = port.nic.receive(&mut self.ledger.frames, &mut batch);
        for (lost, reason) in [(outcome.too_big, DropReason::FrameTooBig), (outcome.no_frame, DropReason::NoFreeFrame)] {
            if lost > 0 {
                self.ledger.received(lost as u64);
                self.ledger.lost(lost as u64, reason, &port.counters.drops);
            }
        }
        let id = PortId(u8::try_from(index).expect("ports are numbered by bytes"));
        for packet in batch.drain(..) {
            self.route(id, packet, now);
        }
        self.batch = batch;
        outcome.packets
    }

    /// Find whose frame this is, and send it that way. From here on each packet ends in exactly one place.
    fn route(&mut self, id: PortId, mut packet: Packet, now: Instant) {
        let port = &mut self.ports[usize::from(id.0)];
        self.ledger.received(packet.segments());
        port.counters.received.add(packet.segments(), packet.len());
        debug_assert_eq!(steering::owner(id, packet.bytes()), steering::WorkerId(0), "one worker owns everything");

        let header = match link::accept(packet.bytes(), port.mac) {
            Ok(header) => header,
            Err(reason) => return self.ledger.dropped(packet, reason, &port.counters.drops),
        };
        let payload = packet.len() - header.header_len;
        let inside = packet.set_range(header.header_len, payload);
        debug_assert!(inside, "the header lies inside the frame");

        let tenant = self.attachments.get(&(id, header.vlan)).copied();
        match (tenant, header.ethertype) {
            (Some((tenant, attachment)), ethernet::ARP) => self.arp_from_cloud(tenant, attachment, packet, &header, now),
            (Some((tenant, attachment)), _) => self.arrive_from_cloud(tenant, attachment, packet, header.source, now),
            (None, ethertype) if header.vlan == Vlan::Untagged && self.access[usize::from(id.0)].is_some() => {
                if ethertype == ethernet::ARP {
                    self.arp_from_access(id, packet, &header, now);
                } else {
                    self.arrive_from_office(id, packet, header.source, now);
                }
            }
            (None, _) if header.vlan == Vlan::Untagged => self.ledger.dropped(packet, DropReason::UntaggedUnexpected, &port.counters.drops),
            (None, _) => self.ledger.dropped(packet, DropReason::VlanUnknown, &port.counters.drops),
        }
    }

    /// A packet on an access port: a tunnel's datagram, or an echo request to the relay.
    fn arrive_from_office(&mut self, id: PortId, mut packet: Packet, station: MacAddr, now: Instant) {
        let Some(interface) = &self.access[usize::from(id.0)] else { return self.drop_at_port(id, packet, DropReason::UntaggedUnexpected) };
        let datagram = match underlay::parse(packet.bytes(), interface.address()) {
            Ok(Outer::Udp(datagram)) => datagram,
            Ok(Outer::Icmp(len)) => return self.echo_from_access(id, packet, len, station, now),
            Err(reason) => return self.drop_at_port(id, packet, reason),
        };
        let listens = |endpoint: &Endpoint| endpoint.port == id && endpoint.local == datagram.destination;
        let Some(endpoint) = self.endpoints.iter().position(listens) else {
            return self.drop_at_port(id, packet, DropReason::NoListener);
        };
        let inside = packet.set_range(underlay::HEADERS_LEN, datagram.payload_len);
        debug_assert!(inside, "the payload lies inside the packet it was read from");
        let Some(mut out) = self.ledger.blank() else { return self.drop_at_port(id, packet, DropReason::NoFreeFrame) };
        let datagram = Datagram { source: datagram.source, ecn: datagram.ecn, payload: packet.bytes() };
        let source = datagram.source;
        match find_tunnel(&mut self.endpoints[endpoint], endpoint_id(endpoint), &self.tunnels, datagram, &mut out, now) {
            Ok(Found::Tunnel(key)) => {
                let Some(tenant) = self.tenants[key.tenant.0 as usize].as_deref_mut() else { unreachable!("{}", LIVING) };
                let mut news = TunnelNews::default();
                let lgwan = &self.config.conventional_lgwan;
                let verdict = route::office_to_cloud(tenant, key.tunnel, datagram, lgwan, &mut out, &mut news, now);
                self.finish_from_office(key, endpoint, verdict, packet, source, out, now);
                self.tell(key, news);
            }
            Ok(Found::Reply) => {
                self.ledger.absorbed(packet);
                self.ledger.generated();
                self.send_datagram(endpoint, source, 0, out, now);
            }
            Err(reason) => {
                self.ledger.release(out);
                self.drop_at_port(id, packet, reason);
            }
        }
    }

    /// Do what the route said with the datagram and with what came out of it.
    #[expect(clippy::too_many_arguments, reason = "both frames, both ends and the verdict; a struct would only be taken apart again")]
    fn finish_from_office(
        &mut self,
        key: TunnelKey,
        endpoint: usize,
        verdict: Result<Verdict, DropReason>,
        packet: Packet,
        source: SocketAddrV4,
        out: Packet,
        now: Instant,
    ) {
        match verdict {
            Ok(Verdict::ToCloud { attachment, next_hop }) => {
                self.ledger.release(packet);
                self.send_to_cloud(key.tenant, attachment, next_hop, out, now);
            }
            Ok(Verdict::ToSource) => {
                self.ledger.absorbed(packet);
                self.ledger.generated();
                self.send_datagram(endpoint, source, 0, out, now);
            }
            Ok(Verdict::Absorbed | Verdict::EchoReply | Verdict::ToOffice { .. }) => {
                self.ledger.absorbed(packet);
                self.ledger.release(out);
            }
            Err(reason) => {
                self.explain_to_office(key, reason, &out, now);
                self.ledger.release(out);
                self.drop_at_tenant(key.tenant, packet, reason);
            }
        }
    }

    /// A packet on a tenant's VLAN.
    fn arrive_from_cloud(&mut self, id: TenantId, attachment: AttachmentId, mut packet: Packet, station: MacAddr, now: Instant) {
        let Some(mut out) = self.ledger.blank() else { return self.drop_at_tenant(id, packet, DropReason::NoFreeFrame) };
        let Some(tenant) = self.tenants[id.0 as usize].as_deref_mut() else { unreachable!("{}", LIVING) };
        let verdict = route::cloud_to_office(tenant, attachment, &mut packet, &self.config.conventional_lgwan, &mut out, now);
        match verdict {
            Ok(Verdict::ToOffice { tunnel }) => {
                let ecn = crate::wire::ecn::encapsulate(packet.bytes());
                self.ledger.release(packet);
                self.send_to_peer(TunnelKey { tenant: id, tunnel }, ecn, out, now);
            }
            Ok(Verdict::EchoReply) => {
                self.ledger.release(out);
                let interface = &tenant.attachments[usize::from(attachment.0)];
                port::reflect(&mut self.ports[usize::from(interface.port.0)], interface, station, packet, &mut self.ledger);
            }
            Ok(_) => {
                self.ledger.release(out);
                self.ledger.absorbed(packet);
            }
            Err(reason) => {
                self.ledger.release(out);
                if matches!(reason, DropReason::TunnelDown | DropReason::TunnelPeerAddressUnknown) {
                    self.initiate(TunnelKey { tenant: id, tunnel: TunnelId(0) }, now);
                }
                self.explain_to_cloud(id, attachment, reason, &packet, now);
                self.drop_at_tenant(id, packet, reason);
            }
        }
    }

    fn arp_from_cloud(&mut self, id: TenantId, attachment: AttachmentId, packet: Packet, header: &Ethernet, now: Instant) {
        let Some(tenant) = self.tenants[id.0 as usize].as_deref_mut() else { unreachable!("{}", LIVING) };
        let interface = &mut tenant.attachments[usize::from(attachment.0)];
        let port = &mut self.ports[usize::from(interface.port.0)];
        match answer_arp(port, interface, packet.bytes(), header, &mut self.ledger, now) {
            Ok(()) => self.ledger.absorbed(packet),
            Err(reason) => self.ledger.dropped(packet, reason, &tenant.counters.drops),
        }
    }

    fn arp_from_access(&mut self, id: PortId, packet: Packet, header: &Ethernet, now: Instant) {
        let port = &mut self.ports[usize::from(id.0)];
        let outcome = match &mut self.access[usize::from(id.0)] {
            Some(interface) => answer_arp(port, interface, packet.bytes(), header, &mut self.ledger, now),
            None => Err(DropReason::UntaggedUnexpected),
        };
        match outcome {
            Ok(()) => self.ledger.absorbed(packet),
            Err(reason) => self.drop_at_port(id, packet, reason),
        }
    }

    /// Send a translated packet to the cloud.
    fn send_to_cloud(&mut self, id: TenantId, attachment: AttachmentId, next_hop: std::net::Ipv4Addr, packet: Packet, now: Instant) {
        let Some(tenant) = self.tenants[id.0 as usize].as_deref_mut() else { unreachable!("{}", LIVING) };
        let interface = &mut tenant.attachments[usize::from(attachment.0)];
        let port = &mut self.ports[usize::from(interface.port.0)];
        port::deliver(port, interface, next_hop, packet, &tenant.counters.drops, &mut self.ledger, now);
    }

    /// Send a tunnel's datagram to where its peer is.
    fn send_to_peer(&mut self, key: TunnelKey, ecn: u8, packet: Packet, now: Instant) {
        use crate::tunnel::Tunnel;
        let Some(tenant) = self.tenants[key.tenant.0 as usize].as_deref() else { unreachable!("{}", LIVING) };
        let endpoint = usize::from(tenant.config.tunnels[usize::from(key.tunnel.0)].endpoint.0);
        match tenant.tunnels[usize::from(key.tunnel.0)].tunnel.peer() {
            Some(std::net::SocketAddr::V4(peer)) => self.send_datagram(endpoint, peer, ecn, packet, now),
            _ => self.drop_at_tenant(key.tenant, packet, DropReason::TunnelPeerAddressUnknown),
        }
    }

    /// Put the outer headers around `packet` and send it over the endpoint's access network.
    fn send_datagram(&mut self, endpoint: usize, peer: SocketAddrV4, ecn: u8, mut packet: Packet, now: Instant) {
        let Endpoint { port: id, local, .. } = self.endpoints[endpoint];
        let port = &mut self.ports[usize::from(id.0)];
        let counters = Arc::clone(&port.counters);
        let reason = match &mut self.access[usize::from(id.0)] {
            _ if !underlay::push(&mut packet, local, peer, ecn) => DropReason::FrameTooBig,
            None => DropReason::NextHopUnresolved,
            Some(interface) => match interface.next_hop(*peer.ip()) {
                None => DropReason::NextHopUnresolved,
                Some(next_hop) => return port::deliver(port, interface, next_hop, packet, &counters.drops, &mut self.ledger, now),
            },
        };
        self.ledger.dropped(packet, reason, &counters.drops);
    }

    fn drop_at_port(&mut self, id: PortId, packet: Packet, reason: DropReason) {
        self.ledger.dropped(packet, reason, &self.ports[usize::from(id.0)].counters.drops);
    }

    fn drop_at_tenant(&mut self, id: TenantId, packet: Packet, reason: DropReason) {
        match self.tenants[id.0 as usize].as_deref() {
            Some(tenant) => self.ledger.dropped(packet, reason, &tenant.counters.drops),
            None => unreachable!("{}", LIVING),
        }
    }
}

/// What an endpoint's listener made of a datagram.
enum Found {
    Tunnel(TunnelKey),
    Reply,
}

fn endpoint_id(index: usize) -> EndpointId {
    EndpointId(u8::try_from(index).expect("endpoints are numbered by bytes"))
}

/// Which tunnel a datagram belongs to, by receiver index or by the handshake's public key; never by an address.
fn find_tunnel(
    endpoint: &mut Endpoint,
    id: EndpointId,
    tunnels: &TunnelTable,
    datagram: Datagram<'_>,
    out: &mut Packet,
    now: Instant,
) -> Result<Found, DropReason> {
    let source = std::net::SocketAddr::V4(datagram.source);
    match endpoint.listener.inspect(datagram.payload, source, out.spare_mut(), now)? {
        Inspected::Data { index } | Inspected::HandshakeResponse { index } | Inspected::CookieReply { index } => {
            tunnels.by_index(id, index).map(Found::Tunnel).ok_or(DropReason::TunnelReceiverUnknown)
        }
        Inspected::Initiation { peer } => tunnels.by_peer(id, &peer).map(Found::Tunnel).ok_or(DropReason::TunnelPeerUnknown),
        Inspected::Reply(len) if out.set_range(0, len) => Ok(Found::Reply),
        Inspected::Reply(_) => Err(DropReason::FrameTooBig),
    }
}

fn answer_arp(
    port: &mut Port,
    interface: &mut Interface,
    payload: &[u8],
    header: &Ethernet,
    ledger: &mut Ledger,
    now: Instant,
) -> Result<(), DropReason> {
    let arp = Arp::parse(payload, header.source)?;
    match interface.receive_arp(&arp, port.mac, now)? {
        ArpOutcome::Reply(reply) => port.send_arp(&reply, header.source, interface, ledger),
        ArpOutcome::Resolved(station, held) => port::deliver_held(port, interface, station, held, ledger),
        ArpOutcome::Absorbed => {}
    }
    Ok(())
}
