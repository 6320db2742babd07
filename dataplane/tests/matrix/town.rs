//! One municipality: its office with the tunnel's far end, its cloud, and the few addresses that nobody else has.

use std::net::{Ipv4Addr, SocketAddrV4};

use dataplane::router_config::{OfficePrefix, PortId, TenantConfig, TenantEntry, TrafficClass, Vlan};
use dataplane::simulation::municipality::{ACCESS, AWS, office_key, service};
use dataplane::simulation::office::{Office, Outgoing};
use dataplane::simulation::stations::{frame, relay_mac};
use dataplane::simulation::{Owner, ipsec_municipality, municipality};
use dataplane::wire::ethernet::{self, MacAddr};

/// The relay on the access network.
pub(crate) const RELAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Whoever is not the relay.
pub(crate) const STATION: MacAddr = MacAddr([6, 0, 0, 0, 0, 126]);
/// VLANs below belong to nobody, and so do those above the tenants'.
const FIRST_VLAN: usize = 100;

// The same flows in every town.
pub(crate) const RESIDENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 17), 40_000);
pub(crate) const CLERK: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 25), 5_000);
pub(crate) const REGISTER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 10), 443);
pub(crate) const REGISTER_INSIDE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 10, 0, 10), 443);
pub(crate) const DOCUMENTS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 10, 4, 7), 443);
pub(crate) const CLERK_IN_CLOUD: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 254, 1, 20), 5_000);
pub(crate) const JOB: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 10, 0, 20), 50_000);
pub(crate) const PRINTER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 254, 1, 30), 9_100);
/// The relay on every VLAN.
pub(crate) const RELAY_ON_VLAN: Ipv4Addr = Ipv4Addr::new(10, 254, 1, 2);

pub(crate) struct Town {
    pub(crate) office: Office,
    pub(crate) entry: TenantEntry,
    pub(crate) vlan: Vlan,
    /// An office host that no other town has.
    pub(crate) host: SocketAddrV4,
    /// A service that no other town has, as its office knows it.
    pub(crate) global: SocketAddrV4,
    /// The same, as its cloud knows it.
    pub(crate) private: SocketAddrV4,
    /// How the cloud sees the flow from `host` to `global`.
    pub(crate) host_in_cloud: SocketAddrV4,
    /// How the cloud sees the flow from [`RESIDENT`] to [`REGISTER`].
    pub(crate) resident_in_cloud: SocketAddrV4,
    /// How the office's printer sees [`JOB`].
    pub(crate) job_at_office: SocketAddrV4,
    /// A datagram that was delivered some time ago.
    pub(crate) recorded: Vec<u8>,
    canaries: [Vec<u8>; TrafficClass::COUNT],
}

fn own_addresses(number: usize) -> [Ipv4Addr; 3] {
    let number = u32::try_from(number + 1).expect("a few thousand towns");
    [[172, 16, 0, 0], [100, 64, 0, 0], [10, 64, 0, 0]].map(|base| Ipv4Addr::from_bits(u32::from_be_bytes(base) + number))
}

/// The town that this VLAN is of, if it is any's.
pub(crate) fn number_of(vlan: Vlan) -> Option<usize> {
    match vlan {
        Vlan::Single(id) => usize::from(id.get()).checked_sub(FIRST_VLAN),
        Vlan::Untagged | Vlan::Double { .. } => None,
    }
}

/// The tenant of this number: every second one speaks IPsec.
pub(crate) fn config(number: usize) -> TenantConfig {
    let make = if number % 2 == 1 { ipsec_municipality } else { municipality };
    let mut tenant = make(&format!("{number:06}-town"), u16::try_from(FIRST_VLAN + number).expect("few enough for one trunk"));
    let [host, global, private] = own_addresses(number);
    tenant.office.push(OfficePrefix { prefix: host.into(), class: TrafficClass::MyNumber });
    tenant.services.push(service("own", TrafficClass::MyNumber, &global.to_string(), &private.to_string()));
    tenant
}

impl Town {
    pub(crate) fn new(number: usize, entry: &TenantEntry, relay_key: [u8; 32]) -> Self {
        let (name, id) = (&*entry.config.name, u16::try_from(number).expect("few"));
        let [high, low] = id.to_be_bytes();
        let outer = |port| SocketAddrV4::new(Ipv4Addr::new(198, 18, high, low), port);
        let office = if number % 2 == 1 {
            Office::ipsec(name, outer(4_500))
        } else {
            Office::wireguard(name, &office_key(name), relay_key, outer(51_820), u32::from(id) + 1)
        };
        let nobody = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        let [host, global, private] = own_addresses(number);
        Self {
            office,
            entry: entry.clone(),
            vlan: entry.config.attachments[0].vlan,
            host: SocketAddrV4::new(host, 40_000),
            global: SocketAddrV4::new(global, 443),
            private: SocketAddrV4::new(private, 443),
            host_in_cloud: nobody,
            resident_in_cloud: nobody,
            job_at_office: nobody,
            recorded: Vec::new(),
            canaries: TrafficClass::ALL.map(|class| Owner::new(name, class).payload(32)),
        }
    }

    /// A payload that says whose it is.
    pub(crate) fn canary(&self, class: TrafficClass) -> &[u8] {
        &self.canaries[class as usize]
    }

    /// The datagram around a packet of the office, in its frame.
    pub(crate) fn sealed(&mut self, packet: &[u8]) -> Vec<u8> {
        self.office.send(packet);
        self.sent().pop().expect("the tunnel is up")
    }

    /// Bytes in the place of a datagram, from any address, in their frame.
    pub(crate) fn datagram(&mut self, source: SocketAddrV4, bytes: Vec<u8>) -> Vec<u8> {
        self.office.send_datagram(source, bytes);
        self.sent().pop().expect("sent right above")
    }

    /// What the router sends, in frames.
    pub(crate) fn sent(&mut self) -> Vec<Vec<u8>> {
        self.office.outgoing().iter().map(|outgoing: &Outgoing| on_access(&outgoing.packet(RELAY))).collect()
    }

    /// A packet from this town's gateway, in its frame.
    pub(crate) fn on_vlan(&self, packet: &[u8]) -> Vec<u8> {
        to_relay(AWS, self.vlan, ethernet::IPV4, packet)
    }
}

/// An outer packet, in its frame.
pub(crate) fn on_access(packet: &[u8]) -> Vec<u8> {
    to_relay(ACCESS, Vlan::Untagged, ethernet::IPV4, packet)
}

/// A frame from the one station there is.
pub(crate) fn to_relay(port: PortId, vlan: Vlan, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    frame(vlan, STATION, relay_mac(port), ethertype, payload)
}
