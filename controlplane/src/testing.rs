//! What the tests of several rooms share: small compiled configurations and a worker of memory.

use std::num::NonZeroU32;
use std::sync::Arc;

use dataplane::counters::WorkerCounters;
use dataplane::publish::Reader;
use dataplane::router_config::{
    AttachmentConfig, AttachmentId, EndpointId, Filtering, Limits, PortConfig, PortId, RateConfig, Redundancy, RouterConfig, RuleState,
    ServiceConfig, TenantConfig, TenantEntry, TrafficClass, TunnelConfig, TunnelKind, Vlan, VlanId,
};
use dataplane::tenant::Carries;
use dataplane::time::{Duration, Instant};
use dataplane::worker::control::{Command, Event, NeighborRow, SessionRow, SnapshotRequest, SnapshotRows, TunnelRow};

use crate::relay::{Relay, State};
use crate::setup::Setup;
use crate::workers::{NoAnswer, WorkerLink, Workers};

/// A router with one port and these tenants.
pub fn router(tenants: impl IntoIterator<Item = TenantConfig>) -> RouterConfig {
    let port = PortConfig {
        name: "access".into(),
        address: Some("192.0.2.1/24".parse().expect("a prefix")),
        gateway: None,
        address6: None,
        gateway6: None,
        mtu: 1500,
        counters: Arc::default(),
    };
    let entry = |config: TenantConfig| TenantEntry {
        tunnel_counters: config.tunnels.iter().map(|_| Arc::default()).collect(),
        config: Arc::new(config),
        counters: Arc::default(),
    };
    RouterConfig {
        ports: vec![port],
        endpoints: Vec::new(),
        conventional_lgwan: Vec::new(),
        reserved_ports: Vec::new(),
        tenants: tenants.into_iter().map(entry).collect(),
    }
}

/// A tenant with one tunnel, one attachment and the service `税`.
pub fn tenant(name: &str) -> TenantConfig {
    let kind = TunnelKind::WireGuard { public_key: [1; 32], preshared_key: None, peer_address: None, persistent_keepalive: None };
    let prefix = |text: &str| text.parse().expect("a prefix");
    TenantConfig {
        name: name.into(),
        tunnels: vec![TunnelConfig { name: "main".into(), endpoint: EndpointId(0), mtu: 1420, kind }],
        redundancy: Redundancy::Prefer,
        office: Vec::new(),
        attachments: vec![AttachmentConfig {
            name: "aws".into(),
            port: PortId(0),
            vlan: Vlan::Single(VlanId::new(2101).expect("usable")),
            address: prefix("10.254.1.2/30"),
            gateway: [10, 254, 1, 1].into(),
            address6: None,
            mtu: 1500,
        }],
        services: vec![ServiceConfig {
            name: "税".into(),
            class: TrafficClass::MyNumber,
            attachment: AttachmentId(0),
            office_side: prefix("203.0.113.10/32"),
            cloud_side: prefix("10.10.0.10/32"),
            allow: Vec::new(),
            filtering: Filtering::default(),
            state: RuleState::Open,
        }],
        sources: Vec::new(),
        callbacks: Vec::new(),
        limits: Limits { sessions: NonZeroU32::MIN, ports: NonZeroU32::MIN, new_sessions_per_second: NonZeroU32::MIN },
        rate: RateConfig::default(),
        isolated: false,
        isolated_classes: [false; TrafficClass::COUNT],
    }
}

/// A worker that adopts configurations and answers snapshots with one row for each tenant, two rows at a time.
pub struct FakeWorker {
    config: Reader<RouterConfig>,
    router: Option<Arc<RouterConfig>>,
    counters: Arc<WorkerCounters>,
    events: Vec<Event>,
}

impl FakeWorker {
    pub fn new(config: Reader<RouterConfig>) -> Self {
        Self { config, router: None, counters: Arc::default(), events: Vec::new() }
    }

    fn adopt(&mut self) {
        self.counters.polls.add(1);
        if let Some((generation, router)) = self.config.changed() {
            self.counters.generation.set(generation);
            self.router = Some(router);
        }
    }

    fn answer(&self, request: &SnapshotRequest) -> (SnapshotRows, Option<u64>) {
        let router = self.router.as_ref().expect("adopted");
        let (wanted, from) = match request {
            SnapshotRequest::Tunnels { tenant, from } | SnapshotRequest::Neighbors { tenant, from } => (tenant.clone(), *from),
            SnapshotRequest::Sessions { tenant, from } => (Some(Arc::clone(tenant)), *from),
        };
        let names: Vec<Arc<str>> = router.tenants.iter().map(|entry| Arc::clone(&entry.config.name)).collect();
        let names: Vec<_> = names.into_iter().filter(|name| wanted.as_ref().is_none_or(|wanted| wanted == name)).collect();
        let start = usize::try_from(from).expect("small");
        let part = names.iter().skip(start).take(2);
        let next = (names.len() > start + 2).then_some(from + 2);
        let rows = match request {
            SnapshotRequest::Tunnels { .. } => SnapshotRows::Tunnels(part.map(tunnel_row).collect()),
            SnapshotRequest::Sessions { .. } => SnapshotRows::Sessions(part.map(|_| session_row()).collect()),
            SnapshotRequest::Neighbors { .. } => SnapshotRows::Neighbors(part.map(neighbor_row).collect()),
        };
        (rows, next)
    }
}

impl WorkerLink for FakeWorker {
    fn send(&mut self, command: Command) -> Result<(), NoAnswer> {
        self.adopt();
        if let Command::Snapshot { id, request } = command {
            let (rows, next) = self.answer(&request);
            self.events.push(Event::Snapshot { id, now: self.now(), rows, next });
        }
        Ok(())
    }

    fn next_event(&mut self) -> Option<Event> {
        self.adopt();
        self.events.pop()
    }

    fn now(&self) -> Instant {
        Instant::from_secs(1_000)
    }

    fn counters(&self) -> &Arc<WorkerCounters> {
        &self.counters
    }
}

fn tunnel_row(tenant: &Arc<str>) -> TunnelRow {
    TunnelRow {
        tenant: Arc::clone(tenant),
        tunnel: "main".into(),
        kind: "wireguard",
        up: false,
        peer: None,
        changed_at: None,
        handshake_at: None,
        heard_at: None,
        down_reason: "The municipality's router has never called.",
        carries: Carries::Nothing,
        sas: Vec::new(),
    }
}

fn session_row() -> SessionRow {
    let host = |last, port| (std::net::Ipv4Addr::new(10, 0, 0, last), port);
    SessionRow {
        class: TrafficClass::MyNumber,
        protocol: "tcp",
        opened_by: "office-to-cloud",
        rule: "税".into(),
        attachment: "aws".into(),
        office: host(1, 40_000),
        office_remote: host(2, 443),
        cloud_local: host(3, 50_000),
        cloud_remote: host(4, 443),
        state: "established",
        age: Duration::from_secs(61),
        expires_in: Duration::from_secs(7_440),
        packets: [3, 2],
        bytes: [300, 200],
    }
}

fn neighbor_row(tenant: &Arc<str>) -> NeighborRow {
    NeighborRow {
        port: "access".into(),
        vlan: Vlan::Single(VlanId::new(2101).expect("usable")),
        tenant: Some(Arc::clone(tenant)),
        address: std::net::IpAddr::from([10, 254, 1, 1]),
        mac: Some([2, 0, 0, 0, 0, 1]),
        state: "reachable",
        age: Some(Duration::from_secs(5)),
    }
}

fn base64(key: [u8; 32]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(key)
}

/// A directory with a relay's configuration, its keys and two tenants, `131016-chiyoda` and `131024-chuo`, alike but for their VLAN.
pub struct Site(tempfile::TempDir);

const RELAY: &str = "relay: test
ports:
  access: {interface: ens4, address: 192.0.2.1/24, gateway: 192.0.2.254, mtu: 1500}
  aws: {interface: ens5, mtu: 1500}
endpoints:
  - {name: tokyo-a, port: access, wireguard: {listen: 51820, private_key_file: keys/relay.key}}
shared_addresses: [203.0.113.0/26]
api:
  socket: api.sock
  viewers:
    - {name: chiyoda, uid: 2001, tenants: [131016-chiyoda]}
    - {name: audit, uid: 2002, role: auditor}
state: state
tenants: tenants/*.yaml
";

impl Site {
    #[allow(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        let site = Self(tempfile::tempdir().expect("a directory"));
        for name in ["keys", "tenants"] {
            std::fs::create_dir(site.path(name)).expect("made");
        }
        crate::durable_file::create(&site.path("keys/relay.key"), base64([0x55; 32]).as_bytes(), 0o600).expect("written");
        site.write("relay.yaml", RELAY);
        site.tenant("131016-chiyoda", 2101, "");
        site.tenant("131024-chuo", 2102, "");
        site
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).expect("written");
    }

    /// Change relay.yaml.
    pub fn replace_in_relay(&self, old: &str, new: &str) {
        assert!(RELAY.contains(old));
        self.write("relay.yaml", &RELAY.replace(old, new));
    }

    /// Write a tenant's file; `rule` goes into its service.
    pub fn tenant(&self, name: &str, vlan: u16, rule: &str) {
        let mut key = [9; 32];
        key[..2].copy_from_slice(&vlan.to_be_bytes());
        let key = base64(key);
        let yaml = format!(
            "tenant: {name}
name: {name}
tunnels:
  main: {{endpoint: tokyo-a, wireguard: {{public_key: \"{key}\"}}}}
office:
  mynumber: [198.51.100.16/29]
clouds:
  aws: {{port: aws, vlan: {vlan}, address: 10.254.1.2/30, gateway: 10.254.1.1}}
services:
  - {{name: 税, class: mynumber, global: 203.0.113.10, private: 10.10.0.10, allow: [tcp/443]{rule}}}
source:
  mynumber: keep
"
        );
        self.write(&format!("tenants/{name}.yaml"), &yaml);
    }

    /// A relay on this site with a fake worker, at `now`. It needs a runtime; its worker is alive while the runtime turns.
    pub fn start(&self, now: time::OffsetDateTime) -> Arc<Relay> {
        let path = self.path("relay.yaml");
        let mut loader = Setup::loader(&path);
        let setup = Setup::load(&mut loader).unwrap_or_else(|problems| panic!("{problems:?}")).setup;
        let state = State::start(setup, now).expect("a state directory");
        let worker = FakeWorker::new(state.reader());
        let relay = Arc::new(Relay::new(loader, state, Workers::new(vec![Box::new(worker)]), Vec::new()));
        let pumped = Arc::clone(&relay);
        tokio::spawn(async move { pumped.workers.pump(|_| {}).await });
        relay
    }
}
