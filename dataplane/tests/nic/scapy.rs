//! ESP against packets that scapy builds and reads, over a real driver: as IP protocol 50 and in UDP, AES-GCM and AES-CBC, with and
//! without extended sequence numbers.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::time::Duration;

use dataplane::counters::{TenantCounters, WorkerCounters};
use dataplane::nat::PortHalf;
use dataplane::nic::{Driver, PortSpec, open_ports};
use dataplane::packet::FramePool;
use dataplane::publish::Publisher;
use dataplane::router_config::{
    Allow, AttachmentConfig, AttachmentId, EndpointConfig, EndpointId, EndpointKind, Filtering, Limits, OfficePrefix, PortConfig, PortId,
    PortMap, RateConfig, Redundancy, RouterConfig, RuleState, ServiceConfig, SourceConfig, SourceTranslation, TenantConfig, TenantEntry,
    TrafficClass, TunnelConfig, TunnelKind, Vlan, VlanId,
};
use dataplane::tunnel::esp::sa::{AesKey, Encapsulation, EspCipher, Integrity, IntegrityKey, Lifetime, OutboundUse, SaPair, Selector, Spi};
use dataplane::worker::control::{Command, Event};
use dataplane::worker::thread::{Clock, WorkerHandle, spawn};
use dataplane::worker::{Links, PortQueues, WorkerParts};

use crate::support::{in_own_network, state_directory, veth};

/// Debian's, which has the packages of Debian.
const PYTHON: &str = "/usr/bin/python3";
const CLASS: TrafficClass = TrafficClass::MyNumber;

fn tenant() -> TenantConfig {
    let attachment = AttachmentConfig {
        name: "aws".into(),
        port: PortId(1),
        vlan: Vlan::Single(VlanId::new(2_101).expect("usable")),
        address: "10.254.1.2/27".parse().expect("a network"),
        gateway: Ipv4Addr::new(10, 254, 1, 1),
        address6: None,
        mtu: 1_500,
    };
    let service = ServiceConfig {
        name: "residents".into(),
        class: CLASS,
        attachment: AttachmentId(0),
        office_side: "203.0.113.10/32".parse().expect("a network"),
        cloud_side: "10.10.0.10/32".parse().expect("a network"),
        allow: vec![Allow::Udp(PortMap { from: 443..=443, to: 443 })],
        filtering: Filtering::default(),
        state: RuleState::Open,
    };
    let few = NonZeroU32::new(100).expect("not zero");
    TenantConfig {
        name: "town".into(),
        tunnels: vec![TunnelConfig { name: "main".into(), endpoint: EndpointId(0), mtu: 1_400, kind: TunnelKind::Ipsec }],
        redundancy: Redundancy::Prefer,
        office: vec![OfficePrefix { prefix: "198.51.100.16/28".parse().expect("a network"), class: CLASS }],
        attachments: vec![attachment],
        services: vec![service],
        sources: vec![SourceConfig { class: CLASS, attachment: AttachmentId(0), translation: SourceTranslation::Keep }],
        callbacks: Vec::new(),
        limits: Limits { sessions: few, ports: few, new_sessions_per_second: few },
        rate: RateConfig::default(),
        isolated: false,
        isolated_classes: [false; TrafficClass::COUNT],
    }
}

fn config(counters: &Arc<TenantCounters>) -> RouterConfig {
    let port = |name: &str, address: Option<&str>| PortConfig {
        name: name.into(),
        address: address.map(|address| address.parse().expect("a network")),
        gateway: address.map(|_| Ipv4Addr::new(192, 0, 2, 254)),
        address6: None,
        gateway6: None,
        mtu: 1_500,
        counters: Arc::default(),
    };
    RouterConfig {
        ports: vec![port("access", Some("192.0.2.1/24")), port("trunk", None)],
        endpoints: vec![EndpointConfig { name: "ipsec".into(), port: PortId(0), kind: EndpointKind::Ipsec }],
        conventional_lgwan: Vec::new(),
        reserved_ports: Vec::new(),
        tenants: vec![TenantEntry { config: Arc::new(tenant()), counters: Arc::clone(counters), tunnel_counters: vec![Arc::default()] }],
    }
}

/// As `scapy_peer.py` has it.
fn cipher(suite: &str, key: u8, salt: u8, integrity: u8) -> EspCipher {
    let key = AesKey::new(&[key; 32]).expect("256 bits");
    match suite {
        "gcm" => EspCipher::AesGcm16 { key, salt: [salt; 4] },
        _ => EspCipher::AesCbc { key, integrity: IntegrityKey::new(Integrity::HmacSha256_128, &[integrity; 32]).expect("256 bits") },
    }
}

fn pair(way: &str, suite: &str, esn: bool, spi: u32) -> SaPair {
    let peer = Ipv4Addr::new(192, 0, 2, 11);
    let all = Ipv4Addr::UNSPECIFIED..=Ipv4Addr::BROADCAST;
    let ports = 0..=u16::MAX;
    SaPair {
        inbound_spi: Spi::new(spi).expect("not reserved"),
        outbound_spi: spi + 1_000,
        inbound: cipher(suite, 0x11, 0x22, 0x55),
        outbound: cipher(suite, 0x33, 0x44, 0x66),
        esn,
        encapsulation: match way {
            "udp" => Encapsulation::Udp { peer: std::net::SocketAddrV4::new(peer, 4_500) },
            _ => Encapsulation::Ip { peer },
        },
        selectors: [Selector { office: all.clone(), far: all, protocol: 0, office_ports: ports.clone(), far_ports: ports }].into(),
        soft: Lifetime::UNBOUNDED,
        outbound_use: OutboundUse::Now,
    }
}

/// Have the worker install a pair, and wait for its word.
fn install(worker: &mut WorkerHandle, pair: SaPair) {
    let command = Command::InstallSa { id: 1, tenant: "town".into(), tunnel: "main".into(), pair: Box::new(pair) };
    worker.send(command).expect("the ring has room");
    for _ in 0..1_000 {
        while let Some(event) = worker.try_next() {
            if let Event::SaInstalled { outcome, .. } = event {
                return outcome.expect("it stands");
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the worker says nothing");
}

fn agrees_with_scapy(driver: Driver) {
    veth("access", "office");
    veth("trunk", "cloud");
    let mut pool = FramePool::new(4_096).expect("frames");
    let spec = |name: &str| PortSpec { name: name.into(), interface: name.into(), mtu: 1_500, driver };
    let mut ports = open_ports(&[spec("access"), spec("trunk")], &state_directory(), std::slice::from_mut(&mut pool)).expect("both open");
    let queues = ports.iter_mut().map(|port| PortQueues::from(port.queues.remove(0).remove(0))).collect();
    let (counters, of_tenant) = (Arc::new(WorkerCounters::default()), Arc::new(TenantCounters::default()));
    let publisher = Publisher::new(config(&of_tenant));
    let parts = WorkerParts {
        ports: queues,
        links: Links::alone(),
        pool,
        config: publisher.reader(),
        counters: Arc::clone(&counters),
        seed: 1,
        port_half: PortHalf::Even,
        cpu: None,
        start: Duration::ZERO,
    };
    // Before the worker, so that its first questions are answered.
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nic/scapy_peer.py");
    let mut peer = Process::new(PYTHON);
    let peer = peer.args(["-Wignore", script, "office", "cloud"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut peer = peer.spawn().expect("python3");
    let (mut cases, mut answers) = (peer.stdin.take().expect("piped"), BufReader::new(peer.stdout.take().expect("piped")).lines());
    let mut worker = spawn(parts, Clock::start()).expect("a thread");
    for (spi, (way, suite, esn)) in (0x1000..).zip(cases_of_all_kinds()) {
        install(&mut worker, pair(way, suite, esn, spi));
        writeln!(cases, "{way} {suite} {} {spi} {}", u8::from(esn), spi + 1_000).expect("it listens");
        let answer = answers.next().unwrap_or_else(|| panic!("{way} {suite} {esn}: {}", words(&of_tenant)));
        println!("{}", answer.expect("text"));
        let inbound_spi = Spi::new(spi).expect("not reserved");
        worker.send(Command::RemoveSa { tenant: "town".into(), tunnel: "main".into(), inbound_spi }).expect("room");
    }
    drop(cases);
    assert!(peer.wait().expect("it ends").success());
    assert_eq!(of_tenant.drops.total(), 0, "{}", words(&of_tenant));
    // Four times 6 and four times 10 exchanges.
    assert_eq!((of_tenant.office_to_cloud.packets.get(), of_tenant.cloud_to_office.packets.get()), (64, 64));
    assert!(worker.stop().is_some(), "the worker did not panic");
}

fn cases_of_all_kinds() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    let ways = ["ip", "udp"].into_iter();
    ways.flat_map(|way| ["gcm", "cbc"].into_iter().flat_map(move |suite| [false, true].into_iter().map(move |esn| (way, suite, esn))))
}

fn words(counters: &TenantCounters) -> String {
    format!("lost: {:?}", counters.drops.occurred().collect::<Vec<_>>())
}

fn has_scapy() -> bool {
    let found = Process::new(PYTHON).args(["-Wignore", "-c", "import scapy.layers.ipsec"]).status();
    let has = found.is_ok_and(|status| status.success());
    if !has {
        eprintln!("needs scapy for {PYTHON} (package python3-scapy): skipped");
    }
    has
}

#[test]
fn esp_over_af_packet_agrees_with_scapy_in_both_directions() {
    if has_scapy() {
        in_own_network("scapy::esp_over_af_packet_agrees_with_scapy_in_both_directions", false, || agrees_with_scapy(Driver::AfPacket));
    }
}

#[test]
fn esp_over_af_xdp_agrees_with_scapy_in_both_directions() {
    if has_scapy() {
        in_own_network("scapy::esp_over_af_xdp_agrees_with_scapy_in_both_directions", true, || agrees_with_scapy(Driver::AfXdp));
    }
}
