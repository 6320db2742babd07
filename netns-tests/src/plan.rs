//! What a municipality looks like: addresses, rules and keys, and the YAML that says so.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use controlplane::demo::vlan::VlanTag;
use ipnetwork::Ipv4Network;

use crate::keys::{KeyPair, preshared_key};

/// The relay's address on the access network; all municipal routers have it as their endpoint.
pub const RELAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Its IPv6 address there, where it has one.
pub const RELAY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc0, 0, 0, 0, 0, 1);
/// The relay's WireGuard port.
pub const LISTEN: u16 = 51820;
/// Who the relay says it is on its IPsec endpoint.
pub const RELAY_IDENTITY: &str = "relay.example.jp";
/// Largest inner packet in WireGuard: 1,500 bytes less IPv4 (20), UDP (8) and WireGuard's header and tag (32).
pub const INNER_MTU: u16 = 1440;

/// The one global address behind which every tenant's services stand.
pub const SHARED_GLOBAL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// The global address as which the office sees the cloud's print server.
pub const PRINT_SERVER_GLOBAL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 20);

/// 住民記録: the resident register, of class `mynumber`.
pub const RESIDENTS: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 10);
/// 税: behind the same global address as the resident register, told apart by its port.
pub const TAX: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 11);
/// The print server, which opens connections to the office's printer.
pub const PRINT_SERVER: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 20);
/// 文書管理: document management, of class `lgwan-connected`; its address is kept.
pub const DOCUMENTS: Ipv4Addr = Ipv4Addr::new(10, 10, 4, 10);

/// The cloud's router on every VLAN, and the relay's address there: the same for all tenants.
pub const CLOUD_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 254, 1, 1);
/// The relay's own address on every VLAN.
pub const RELAY_ON_VLAN: Ipv4Addr = Ipv4Addr::new(10, 254, 1, 2);
/// The pool from which office hosts of class `mynumber` get their cloud-side source.
pub const NAPT_POOL: &str = "10.254.1.8/30";
/// The cloud-side source of the one office host of class `lgwan-connected`.
pub const STATIC_SOURCE: Ipv4Addr = Ipv4Addr::new(10, 254, 1, 20);
/// The private address with which the print server calls the printer.
pub const PRINTER_INSIDE: Ipv4Addr = Ipv4Addr::new(10, 254, 1, 30);

/// One municipality. All of it may be changed before (and, for reloads, after) it is built.
#[derive(Clone, Debug)]
pub struct Municipality {
    /// The tenant's unique name.
    pub tenant: String,
    /// Its name for people.
    pub name: String,
    /// Tells the municipalities' routers apart on the access network: 192.0.2.(10 + number).
    pub number: u8,
    /// Its virtual circuit.
    pub vlan: VlanTag,
    /// Office network of class `mynumber`.
    pub mynumber: Ipv4Network,
    /// Office network of class `lgwan-connected`.
    pub lgwan_connected: Ipv4Network,
    /// Rules office -> cloud, one YAML mapping each.
    pub services: Vec<String>,
    /// How the cloud sees office addresses, a YAML value for each class.
    pub source_mynumber: String,
    /// The same for `lgwan-connected`.
    pub source_lgwan_connected: String,
    /// Rules cloud -> office, one YAML mapping each.
    pub callbacks: Vec<String>,
    /// `limits:` as a YAML mapping.
    pub limits: String,
    /// Prefixes that the cloud routes to the relay, beside the VLAN's own subnet.
    pub cloud_routes: Vec<Ipv4Network>,
    /// The municipal router's WireGuard key.
    pub keys: KeyPair,
    /// Its router speaks IPsec, by this agreement, and not WireGuard.
    pub ipsec: Option<Ipsec>,
}

/// What the operator and an IPsec municipality have agreed on.
#[derive(Clone)]
pub struct Ipsec {
    /// Who the router says it is.
    pub identity: String,
    /// Who the relay says it is.
    pub relay_identity: String,
    /// The preshared key. It is never printed.
    pub psk: String,
    /// What the router proposes for the IKE SA, as strongSwan spells it.
    pub ike: String,
    /// What the router proposes for Child SAs.
    pub esp: String,
    /// More of the tenant's `ipsec:` mapping, such as `crypto_policy: modern`.
    pub more: Vec<String>,
}

impl std::fmt::Debug for Ipsec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ipsec({} -> {}, {}, {})", self.identity, self.relay_identity, self.ike, self.esp)
    }
}

impl Municipality {
    /// A municipality with one service in each class, a second one on another port of the shared address, and a printer.
    #[must_use]
    pub fn new(tenant: &str, name: &str, number: u8) -> Self {
        let mynumber = network(Ipv4Addr::new(198, 51, 100, 16 + 32 * (number - 1)), 29);
        let lgwan_connected = network(Ipv4Addr::new(198, 51, 100, 24 + 32 * (number - 1)), 29);
        let mut town = Self {
            tenant: tenant.to_owned(),
            name: name.to_owned(),
            number,
            vlan: VlanTag::Single(2100 + u16::from(number)),
            mynumber,
            lgwan_connected,
            services: vec![
                format!(
                    "{{name: 住民記録, class: mynumber, global: {SHARED_GLOBAL}, private: {RESIDENTS}, allow: [tcp/80, tcp/443, tcp/5201, udp/53, udp/5201, icmp]}}"
                ),
                format!("{{name: 税, class: mynumber, global: {SHARED_GLOBAL}, private: {TAX}, allow: [\"tcp/10443:443\"]}}"),
                "{name: 文書管理, class: lgwan-connected, private: [10.10.4.0/24], allow: [tcp/80, udp/53, icmp]}".to_owned(),
            ],
            source_mynumber: format!("{{napt: [{NAPT_POOL}]}}"),
            source_lgwan_connected: String::new(),
            callbacks: Vec::new(),
            limits: "{sessions: 20000, new_sessions_per_second: 500}".to_owned(),
            cloud_routes: vec![NAPT_POOL.parse().expect("a prefix"), Ipv4Network::from(STATIC_SOURCE), Ipv4Network::from(PRINTER_INSIDE)],
            keys: KeyPair::generate(),
            ipsec: None,
        };
        town.follow_offices();
        town
    }

    /// The municipality with a router that speaks IPsec, in the preferred suite.
    #[must_use]
    pub fn with_ipsec(mut self) -> Self {
        self.ipsec = Some(Ipsec {
            identity: format!("{}.example.jp", self.tenant),
            relay_identity: RELAY_IDENTITY.to_owned(),
            psk: preshared_key(),
            ike: "aes256gcm16-prfsha384-ecp384".to_owned(),
            esp: "aes256gcm16".to_owned(),
            more: Vec::new(),
        });
        self
    }

    /// The municipality with other office networks, and the rules that name office hosts made to fit.
    #[must_use]
    pub fn with_offices(mut self, mynumber: Ipv4Network, lgwan_connected: Ipv4Network) -> Self {
        (self.mynumber, self.lgwan_connected) = (mynumber, lgwan_connected);
        self.follow_offices();
        self
    }

    fn follow_offices(&mut self) {
        self.source_lgwan_connected = format!("{{static: {{{}: {STATIC_SOURCE}}}}}", self.documents_clerk());
        self.callbacks = vec![format!(
            "{{name: 帳票印刷, class: mynumber, from: [{PRINT_SERVER}/32], as: {PRINT_SERVER_GLOBAL}, to: {PRINTER_INSIDE}, office: {}, allow: [tcp/9100, icmp]}}",
            self.counter()
        )];
    }

    /// The host at the town hall's counter, of class `mynumber`; the printer stands beside it at the same address.
    #[must_use]
    pub fn counter(&self) -> Ipv4Addr {
        self.mynumber.nth(1).expect("a network of several hosts")
    }

    /// The host of class `lgwan-connected`.
    #[must_use]
    pub fn documents_clerk(&self) -> Ipv4Addr {
        self.lgwan_connected.nth(1).expect("a network of several hosts")
    }

    /// The municipal router's address on the access network.
    #[must_use]
    pub fn router_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, 10 + self.number)
    }

    /// The tenant file.
    #[must_use]
    pub fn yaml(&self) -> String {
        let vlan = match self.vlan {
            VlanTag::Single(vlan) => vlan.to_string(),
            VlanTag::Double { outer, inner } => format!("{{outer: {outer}, inner: {inner}}}"),
        };
        let mut yaml = format!(
            "tenant: {}\nname: {}\ntunnels:\n  main: {}\n\
             office:\n  mynumber: [{}]\n  lgwan-connected: [{}]\n\
             clouds:\n  aws: {{port: aws, vlan: {vlan}, address: {RELAY_ON_VLAN}/30, gateway: {CLOUD_GATEWAY}}}\n",
            self.tenant,
            self.name,
            self.tunnel(),
            self.mynumber,
            self.lgwan_connected
        );
        write_list(&mut yaml, "services", &self.services);
        let _ = writeln!(yaml, "source:\n  mynumber: {}\n  lgwan-connected: {}", self.source_mynumber, self.source_lgwan_connected);
        write_list(&mut yaml, "callbacks", &self.callbacks);
        let _ = writeln!(yaml, "limits: {}", self.limits);
        yaml
    }

    fn tunnel(&self) -> String {
        let Some(ipsec) = &self.ipsec else {
            return format!("{{endpoint: tokyo-a, wireguard: {{public_key: \"{}\"}}}}", self.keys.public);
        };
        let more: String = ipsec.more.iter().map(|more| format!(", {more}")).collect();
        format!("{{endpoint: tokyo-ipsec, ipsec: {{remote_id: {}, psk_file: keys/{}.psk{more}}}}}", ipsec.identity, self.tenant)
    }
}

fn write_list(yaml: &mut String, key: &str, items: &[String]) {
    if !items.is_empty() {
        let _ = writeln!(yaml, "{key}:");
        for item in items {
            let _ = writeln!(yaml, "  - {item}");
        }
    }
}

fn network(address: Ipv4Addr, prefix: u8) -> Ipv4Network {
    Ipv4Network::new(address, prefix).expect("a prefix length of at most 32")
}

/// Three municipalities on one shared global address, with the same private addresses in their clouds.
#[must_use]
pub fn three_municipalities() -> Vec<Municipality> {
    vec![
        Municipality::new("131016-chiyoda", "千代田区", 1),
        Municipality::new("141003-yokohama", "横浜市", 2),
        Municipality::new("133078-hinohara", "檜原村", 3),
    ]
}

/// Has the cloud route the municipality's office networks themselves to the relay, where sources are kept.
pub fn route_offices(plan: &mut Municipality) {
    plan.cloud_routes.extend([plan.mynumber, plan.lgwan_connected]);
}
