//! Three circuits with identical addresses inside must not meet.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::demo::links::{Links, MacAddress};
use crate::demo::namespaces::in_namespace;
use crate::demo::test_support::as_root;

const TAGS: [VlanTag; 3] = [VlanTag::Single(2101), VlanTag::Single(2102), VlanTag::Double { outer: 100, inner: 2101 }];
/// Every cloud has this one address, and every cable's cloud end this one Ethernet address.
const CLOUD: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 10);
const CLOUD_MAC: MacAddress = MacAddress::local(2, 1);
const RELAY: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 1);
const RELAY_MAC: MacAddress = MacAddress::local(2, 2);
const SECOND: Duration = Duration::from_secs(1);

type Seen = (Direction, Option<VlanTag>, Vec<u8>);

struct World {
    relay_end: RawSocket,
    /// One UDP socket a cloud, all bound to the same address.
    clouds: Vec<UdpSocket>,
    splitter: Splitter,
    seen: mpsc::Receiver<Seen>,
    _namespaces: Vec<Namespace>,
}

fn world() -> World {
    let carrier = Namespace::create("carrier").unwrap();
    let relay = Namespace::create("relay").unwrap();
    let links = Links::of(&carrier).unwrap();
    let relay_links = Links::of(&relay).unwrap();
    relay_links.veth_pair("cloud0", &links, "trunk", QINQ_TRUNK_MTU).unwrap();
    relay_links.silence("cloud0").unwrap();
    links.silence("trunk").unwrap();
    relay_links.up("cloud0").unwrap();
    links.up("trunk").unwrap();
    relay_links.wait_running("cloud0").unwrap();
    let mut namespaces = vec![relay.clone(), carrier.clone()];
    let mut clouds = Vec::new();
    for number in 0..TAGS.len() {
        let cloud = Namespace::create(&format!("cloud{number}")).unwrap();
        let cloud_links = Links::of(&cloud).unwrap();
        links.veth_pair(&format!("vlan{number}"), &cloud_links, "eth0", 1500).unwrap();
        links.silence(&format!("vlan{number}")).unwrap();
        links.up(&format!("vlan{number}")).unwrap();
        cloud_links.set_mac("eth0", CLOUD_MAC).unwrap();
        cloud_links.silence("eth0").unwrap();
        cloud_links.add_address("eth0", "10.10.0.10/24".parse().unwrap()).unwrap();
        cloud_links.up("eth0").unwrap();
        links.wait_running(&format!("vlan{number}")).unwrap();
        cloud_links.add_neighbor("eth0", RELAY, RELAY_MAC).unwrap();
        let socket = in_namespace(&cloud, || UdpSocket::bind((CLOUD, 53)).unwrap()).unwrap();
        socket.set_read_timeout(Some(SECOND)).unwrap();
        clouds.push(socket);
        namespaces.push(cloud);
    }
    let (sender, seen) = mpsc::channel();
    let observer = Box::new(move |sighting: &Sighting<'_>| {
        sender.send((sighting.direction, sighting.tag, sighting.frame.to_vec())).unwrap();
    });
    let circuits: Vec<_> = TAGS.into_iter().zip(["vlan0", "vlan1", "vlan2"]).collect();
    let splitter = Splitter::start(&carrier, "trunk", &circuits, observer).unwrap();
    World { relay_end: RawSocket::open(&relay, "cloud0").unwrap(), clouds, splitter, seen, _namespaces: namespaces }
}

/// An Ethernet, IPv4 and UDP frame from the relay to the cloud's port 53. UDP over IPv4 may leave its checksum out.
fn question(body: &[u8]) -> Vec<u8> {
    let length = |more: usize| u16::try_from(body.len() + more).unwrap().to_be_bytes();
    let mut ip = [&[0x45, 0][..], &length(28), &[0, 0, 0x40, 0, 64, 17, 0, 0], &RELAY.octets(), &CLOUD.octets()].concat();
    let sum: u32 = ip.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let folded = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    ip[10..12].copy_from_slice(&folded.to_be_bytes());
    [&CLOUD_MAC.0[..], &RELAY_MAC.0, &[8, 0], &ip, &[0x30, 0x39, 0, 53], &length(8), &[0, 0], body].concat()
}

fn send(world: &World, tag: VlanTag, body: &[u8]) {
    let mut tagged = Vec::new();
    push_tag(tag, &question(body), &mut tagged).unwrap();
    assert!(world.relay_end.send(&tagged).unwrap());
}

#[test]
fn identical_addresses_on_three_circuits_reach_three_different_clouds() {
    as_root("demo::trunk::tests::identical_addresses_on_three_circuits_reach_three_different_clouds", || {
        let mut world = world();
        for (number, tag) in TAGS.into_iter().enumerate() {
            send(&world, tag, format!("canary of tenant {number}").as_bytes());
        }
        let mut buffer = [0; 64];
        for (number, cloud) in world.clouds.iter().enumerate() {
            let (length, from) = cloud.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..length], *format!("canary of tenant {number}").as_bytes());
            cloud.send_to(format!("answer of cloud {number}").as_bytes(), from).unwrap();
            cloud.set_nonblocking(true).unwrap();
            assert!(cloud.recv(&mut buffer).is_err(), "cloud {number} received a second frame");
        }
        for expected in TAGS {
            wait_readable(&[world.relay_end.as_fd()], SECOND).unwrap();
            let mut plain = Vec::new();
            let tag = pop_tag(world.relay_end.receive().unwrap().unwrap(), &mut plain).unwrap().unwrap();
            let number = TAGS.iter().position(|own| *own == tag).unwrap();
            assert!(plain.ends_with(format!("answer of cloud {number}").as_bytes()), "{expected}: {plain:02x?}");
        }
        let seen: Vec<Seen> = world.seen.try_iter().collect();
        assert_eq!(seen.len(), 6, "{seen:?}");
        for (number, tag) in TAGS.into_iter().enumerate() {
            let canary = format!("canary of tenant {number}");
            let on: Vec<_> = seen.iter().filter(|(_, _, frame)| frame.ends_with(canary.as_bytes())).collect();
            assert_eq!(on.len(), 1);
            assert_eq!((on[0].0, on[0].1), (Direction::OfficeToCloud, Some(tag)));
        }
        let counts = world.splitter.counts();
        assert_eq!((counts.malformed, counts.not_sent, counts.unfinished_checksums), (0, 0, 0));
        for circuit in counts.circuits.values() {
            assert_eq!((circuit.to_cloud_frames, circuit.to_office_frames), (1, 1), "{counts:?}");
        }
    });
}

#[test]
fn frames_with_a_tag_that_nobody_owns_are_counted_and_go_nowhere() {
    as_root("demo::trunk::tests::frames_with_a_tag_that_nobody_owns_are_counted_and_go_nowhere", || {
        let world = world();
        let foreign = [VlanTag::Single(100), VlanTag::Double { outer: 100, inner: 2102 }, VlanTag::Single(2103)];
        for tag in foreign {
            send(&world, tag, b"stray");
        }
        assert!(world.relay_end.send(&question(b"untagged")).unwrap());
        send(&world, TAGS[0], b"owned");
        let mut buffer = [0; 64];
        let length = world.clouds[0].recv(&mut buffer).unwrap();
        assert_eq!(buffer[..length], *b"owned");
        let counts = world.splitter.counts();
        let expected = foreign.map(Some).into_iter().chain([None]).map(|tag| (tag, 1)).collect();
        assert_eq!(counts.unowned, expected);
        assert!(world.splitter.is_running());
    });
}

#[test]
fn a_full_frame_fits_under_two_tags() {
    as_root("demo::trunk::tests::a_full_frame_fits_under_two_tags", || {
        let world = world();
        send(&world, TAGS[2], &[7; 1472]);
        let mut buffer = [0; 1500];
        assert_eq!(world.clouds[2].recv(&mut buffer).unwrap(), 1472);
        assert_eq!(world.splitter.counts().not_sent, 0);
    });
}

#[test]
fn one_tag_cannot_lead_to_two_clouds() {
    as_root("demo::trunk::tests::one_tag_cannot_lead_to_two_clouds", || {
        let namespace = Namespace::create("twice").unwrap();
        let links = Links::of(&namespace).unwrap();
        links.veth_pair("a", &links, "b", 1500).unwrap();
        let circuits = [(VlanTag::Single(7), "a"), (VlanTag::Single(7), "b")];
        let error = Splitter::start(&namespace, "lo", &circuits, Box::new(|_| ())).unwrap_err();
        assert!(error.to_string().contains("VLAN 7 is given twice"), "{error}");
    });
}
