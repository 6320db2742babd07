//! Frames on the wrong VLAN, from the wrong station, or of the wrong kind.

use dataplane::drop_reason::DropReason;
use dataplane::router_config::{TrafficClass, Vlan};
use dataplane::simulation::municipality::AWS;
use dataplane::simulation::packets::{self, udp};
use dataplane::simulation::stations::{frame, relay_mac};
use dataplane::simulation::{Counts, Owner, World, at, ip, municipality, network};
use dataplane::wire::arp::{Arp, Operation};
use dataplane::wire::ethernet::{self, MacAddr};

use crate::{cloud_fails, cloud_reaches, frame_fails, office_reaches, silence, twins};
use TrafficClass::MyNumber;

const EVIL: MacAddr = MacAddr([6, 6, 6, 6, 6, 6]);

fn job() -> Vec<u8> {
    udp(at("10.10.0.20:50000"), at("10.254.1.30:9100"), &Owner::new("a", MyNumber).payload(64))
}

/// A frame to the relay with these tags, each TPID and TCI.
fn tagged(tags: &[(u16, u16)], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [relay_mac(AWS).0, EVIL.0].concat();
    for (tpid, tci) in tags {
        bytes.extend([tpid.to_be_bytes(), tci.to_be_bytes()].concat());
    }
    bytes.extend(ethertype.to_be_bytes());
    bytes.extend(payload);
    bytes
}

#[test]
fn attempts_19_20_21_tags_that_name_no_attachment() {
    let mut world = twins(300);
    let (c, s) = (ethernet::TPID_CUSTOMER, ethernet::TPID_SERVICE);
    for (tags, reason) in [
        (&[][..], DropReason::UntaggedUnexpected),
        (&[(c, 0)], DropReason::VlanTagInvalid),
        (&[(c, 4_095)], DropReason::VlanTagInvalid),
        (&[(c, 2_103)], DropReason::VlanUnknown),
        (&[(c, 2_101), (c, 2_101)], DropReason::VlanTagInvalid),
        (&[(s, 2_101)], DropReason::VlanTagInvalid),
        (&[(s, 2_101), (s, 2_101)], DropReason::VlanTagInvalid),
        (&[(s, 2_102), (c, 2_101)], DropReason::VlanUnknown),
        (&[(s, 1), (c, 2_101), (c, 2_101)], DropReason::VlanTagInvalid),
        (&[(0x9100, 2_101)], DropReason::EtherTypeUnsupported),
    ] {
        frame_fails(&mut world, tagged(tags, ethernet::IPV4, &job()), "aws", reason);
    }
    // LLC/SNAP: a length in the EtherType's place, then an encapsulated EtherType.
    let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &job()].concat();
    frame_fails(
        &mut world,
        tagged(&[(c, 2_101)], u16::try_from(snap.len()).expect("short"), &snap),
        "aws",
        DropReason::EtherTypeUnsupported,
    );
    frame_fails(&mut world, tagged(&[(c, 0)], u16::try_from(snap.len()).expect("short"), &snap), "aws", DropReason::VlanTagInvalid);
    // Priority bits are no part of the VLAN's number.
    let counts = Counts::new().frame("aws", job().len() + 18).to_office("a", &job()).opened("a");
    world.expect(&counts, |world| world.inject(1, tagged(&[(c, 0xe000 | 2_101)], ethernet::IPV4, &job())));
    assert_eq!(world.office("a").received().len(), 1);
}

#[test]
fn attempt_22_the_right_packet_on_the_wrong_vlan() {
    let mut world = twins(301);
    let packet = udp(at("198.51.100.17:40000"), at("203.0.113.10:443"), &Owner::new("a", MyNumber).payload(64));
    let seen = packets::read(&office_reaches(&mut world, "a", &packet, Counts::new().opened("a"))).expect("sound");
    let answer = udp(seen.destination, seen.source, &seen.payload);
    cloud_fails(&mut world, "b", &answer, DropReason::NoSession);
    cloud_reaches(&mut world, "a", &answer, Counts::new());
}

#[test]
fn attempt_23_a_gratuitous_arp_for_the_gateway_moves_nothing_and_makes_the_relay_ask() {
    let mut world = twins(302);
    let gateway = ip("10.254.1.1");
    for operation in [Operation::Request, Operation::Reply] {
        let claim = Arp { operation, sender_mac: EVIL, sender: gateway, target_mac: MacAddr::BROADCAST, target: gateway };
        // The question goes to the station that is known, by unicast, with the next visit.
        world.expect(&Counts::new().frame("aws", 46).lost("a", DropReason::ArpNotForUs), |world| {
            world.cloud("a").send_arp(&claim, MacAddr::BROADCAST);
        });
        let asked = Counts::new().generated().sent("aws", 46).frame("aws", 46).absorbed();
        world.cloud("a").arps();
        world.expect(&asked, |world| world.run(dataplane::time::Duration::from_millis(260)));
        assert_eq!(world.cloud("a").arps().len(), 1);
        world.run(dataplane::time::Duration::from_secs(2));
    }
    silence(&mut world);
}

/// A NIC takes the outer tag out of a frame and tells it apart; the driver puts it back in front of whatever tags the frame still has.
#[test]
fn attempt_27_a_tag_told_by_the_nic_and_another_one_in_the_frame_make_neither_vlan() {
    let mut world = twins(305);
    let (c, s) = (ethernet::TPID_CUSTOMER, ethernet::TPID_SERVICE);
    for (told, in_frame) in [(2_101, 2_102), (2_102, 2_101), (2_101, 2_101), (0, 2_101), (2_101, 0)] {
        frame_fails(&mut world, tagged(&[(c, told), (c, in_frame)], ethernet::IPV4, &job()), "aws", DropReason::VlanTagInvalid);
        let reason = if told == 0 || in_frame == 0 { DropReason::VlanTagInvalid } else { DropReason::VlanUnknown };
        frame_fails(&mut world, tagged(&[(s, told), (c, in_frame)], ethernet::IPV4, &job()), "aws", reason);
    }
}

#[test]
fn attempt_24_an_address_of_one_tenant_asked_for_on_the_vlan_of_another() {
    let mut second = municipality("b", 2_102);
    second.attachments[0].address = network("10.254.9.2/27");
    second.attachments[0].gateway = ip("10.254.9.1");
    let mut world = World::new(303, [municipality("a", 2_101), second]);
    for target in ["10.254.1.2", "10.254.1.30", "10.254.1.8"] {
        for sender in ["10.254.9.1", "10.254.1.1", "0.0.0.0"] {
            let arp = Arp {
                operation: Operation::Request,
                sender_mac: EVIL,
                sender: ip(sender),
                target_mac: MacAddr::default(),
                target: ip(target),
            };
            let counts = Counts::new().frame("aws", 46).lost("b", DropReason::ArpNotForUs);
            world.expect(&counts, |world| world.cloud("b").send_arp(&arp, MacAddr::BROADCAST));
        }
    }
    let claim = Arp {
        operation: Operation::Request,
        sender_mac: EVIL,
        sender: ip("10.254.9.2"),
        target_mac: MacAddr::default(),
        target: ip("10.254.9.1"),
    };
    let counts = Counts::new().frame("aws", 46).lost("b", DropReason::ArpConflict);
    world.expect(&counts, |world| world.cloud("b").send_arp(&claim, MacAddr::BROADCAST));
    silence(&mut world);
}

#[test]
fn attempt_25_stations_that_nobody_can_be_and_protocols_that_nobody_asked_for() {
    let mut world = twins(304);
    let vlan = world.cloud("a").vlan;
    let us = relay_mac(AWS);
    for (source, destination, ethertype, reason) in [
        (MacAddr::BROADCAST, us, ethernet::IPV4, DropReason::EthernetSourceInvalid),
        (MacAddr([1, 0, 0x5e, 0, 0, 1]), us, ethernet::IPV4, DropReason::EthernetSourceInvalid),
        (MacAddr([0; 6]), us, ethernet::IPV4, DropReason::EthernetSourceInvalid),
        (us, us, ethernet::IPV4, DropReason::EthernetSourceInvalid),
        (EVIL, MacAddr::BROADCAST, ethernet::IPV4, DropReason::EthernetNotForUs),
        (EVIL, EVIL, ethernet::IPV4, DropReason::EthernetNotForUs),
        (EVIL, MacAddr::BROADCAST, ethernet::IPV6, DropReason::EthernetNotForUs),
        (EVIL, EVIL, ethernet::IPV6, DropReason::EthernetNotForUs),
        (us, us, ethernet::IPV6, DropReason::EthernetSourceInvalid),
        (EVIL, us, 0x88cc, DropReason::EtherTypeUnsupported),
    ] {
        frame_fails(&mut world, frame(vlan, source, destination, ethertype, &job()), "aws", reason);
    }
    frame_fails(&mut world, vec![2; 13], "aws", DropReason::EthernetMalformed);
    assert_eq!(vlan, Vlan::Single(dataplane::router_config::VlanId::new(2_101).expect("usable")));
    // The MAC address a packet comes from teaches the relay nothing: its answers go to the gateway that answered.
    let counts = Counts::new().from_cloud(&job()).to_office("a", &job()).opened("a");
    world.expect(&counts, |world| world.inject(1, frame(vlan, EVIL, us, ethernet::IPV4, &job())));
    let arrived = packets::read(&world.office("a").received()[0]).expect("sound");
    office_reaches(&mut world, "a", &udp(arrived.destination, arrived.source, &arrived.payload), Counts::new());
}
