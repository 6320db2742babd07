//! Handshakes, roaming and cookies as the worker carries them.

use dataplane::drop_reason::DropReason;
use dataplane::router_config::TrafficClass;
use dataplane::simulation::packets::udp;
use dataplane::simulation::{Counts, Dimensions, World, at, municipality};
use dataplane::time::Duration;
use dataplane::worker::control::Event;

use crate::one;
use TrafficClass::MyNumber;

const INITIATION: usize = 148;
const RESPONSE: usize = 92;
const COOKIE: usize = 64;
const KEEPALIVE: usize = 32;

fn job(world: &mut World) -> Vec<u8> {
    udp(at("10.10.0.20:50000"), at("10.254.1.30:9100"), &world.office("a").payload(MyNumber, 64))
}

/// "Host unreachable" about a packet this long.
fn unreachable(packet: &[u8]) -> usize {
    28 + packet.len()
}

#[test]
fn a_router_that_starts_again_makes_a_new_handshake_and_goes_on() {
    let mut world = World::new(50, [municipality("a", 2_101), municipality("b", 2_102)]);
    let handshake = Counts::new().datagram(INITIATION).absorbed().generated().datagram_sent(RESPONSE);
    let proved = Counts::new().datagram(KEEPALIVE).absorbed().add("a/main.handshakes", 1);
    world.expect(&handshake.and(&proved), |world| {
        world.office("a").restart();
        world.office("a").connect();
    });
    let job = job(&mut world);
    world.expect(&Counts::new().from_cloud(&job).to_office("a", &job).opened("a"), |world| world.cloud("a").send(&job));
    one(world.office("a").received());
}

#[test]
fn an_office_that_moves_is_followed_at_its_first_authentic_packet_and_reported() {
    let mut world = World::new(51, [municipality("a", 2_101)]);
    while world.event().is_some() {}
    let moved = at("198.18.0.7:4500");
    let payload = world.office("a").payload(MyNumber, 64);
    let packet = udp(at("198.51.100.17:40000"), at("203.0.113.10:443"), &payload);
    let counts = Counts::new().from_office("a", &packet).to_cloud("a", &packet).opened("a").add("a/main.roams", 1);
    world.expect(&counts, |world| {
        world.office("a").outer = moved;
        world.office("a").send(&packet);
    });
    let seen = one(world.cloud("a").received());
    let answer = udp(seen.destination, seen.source, &payload);
    world.expect(&Counts::new().from_cloud(&answer).to_office("a", &answer), |world| world.cloud("a").send(&answer));
    assert_eq!(one(world.office("a").received()).payload, payload, "at its new address");
    world.run(Duration::from_millis(250));
    let Some(Event::PeerMoved { tenant, peer, .. }) = world.event() else { panic!("the move is reported") };
    assert_eq!((&*tenant, peer), ("a", moved.into()));
}

#[test]
fn an_office_that_moves_with_every_packet_does_not_fill_the_ring_that_others_are_reported_over() {
    let mut world = World::new(56, [municipality("a", 2_101), municipality("b", 2_102)]);
    while world.event().is_some() {}
    let move_with_every_packet = |world: &mut World| {
        let packet = udp(at("198.51.100.17:40000"), at("203.0.113.10:443"), &world.office("a").payload(MyNumber, 64));
        for port in 0..1_500 {
            world.office("a").outer = at(&format!("198.18.0.7:{}", 10_000 + port));
            world.office("a").send(&packet);
            world.settle();
        }
    };
    move_with_every_packet(&mut world);
    let elsewhere = at("198.18.0.8:4500");
    let packet = udp(at("198.51.100.17:40000"), at("203.0.113.10:443"), &world.office("b").payload(MyNumber, 64));
    world.office("b").outer = elsewhere;
    world.office("b").send(&packet);
    world.run(Duration::from_millis(250));
    let told: Vec<_> = std::iter::from_fn(|| world.event()).collect();
    let of = |name: &str| {
        let peer = |event: &Event| match event {
            Event::PeerMoved { tenant, peer, .. } if **tenant == *name => Some(*peer),
            _ => None,
        };
        told.iter().filter_map(peer).collect::<Vec<_>>()
    };
    assert_eq!((of("a"), of("b")), (vec![at("198.18.0.7:11499").into()], vec![elsewhere.into()]));
    assert_eq!(world.counts().get("a/main.roams"), 1_501);
}

#[test]
fn handshakes_from_a_stranger_s_address_move_nobody_and_soon_cost_it_a_cookie() {
    let mut world = World::new(52, [municipality("a", 2_101)]);
    let stranger = at("198.18.0.99:1000");
    let initiation = world.office("a").initiation();
    let send = |world: &mut World| world.office("a").send_datagram(stranger, initiation.clone());
    let answered = Counts::new().datagram(INITIATION).absorbed().generated().datagram_sent(RESPONSE);
    world.expect(&answered, send);
    let too_soon = Counts::new().datagram(INITIATION).lost("a", DropReason::TunnelHandshakeLimited);
    for _ in 0..4 {
        world.expect(&too_soon, send);
    }
    let challenged = Counts::new().datagram(INITIATION).absorbed().generated().datagram_sent(COOKIE);
    for _ in 0..3 {
        world.expect(&challenged, send);
    }
    assert_eq!(world.strays().len(), 4, "one response and three cookies, for whoever is there");
    let job = job(&mut world);
    world.expect(&Counts::new().from_cloud(&job).to_office("a", &job).opened("a"), |world| world.cloud("a").send(&job));
    one(world.office("a").received());
}

#[test]
fn towards_an_office_that_was_never_heard_packets_are_refused_with_a_word() {
    let mut world = World::cold(53, [municipality("a", 2_101)], Dimensions::default());
    world.run(Duration::from_millis(600));
    world.cloud("a").received();
    let job = job(&mut world);
    let counts = Counts::new().from_cloud(&job).lost("a", DropReason::TunnelPeerAddressUnknown).error_to_cloud("a", unreachable(&job));
    // The rules allow the flow, but a packet that goes nowhere costs no state.
    world.expect(&counts, |world| world.cloud("a").send(&job));
    assert_eq!(one(world.cloud("a").received()).icmp, Some((3, 1, [0; 4])));
}

#[test]
fn a_tunnel_that_slept_is_woken_by_the_first_packet_and_carries_the_second() {
    let mut world = World::new(54, [municipality("a", 2_101)]);
    world.run(Duration::from_secs(200));
    let job = job(&mut world);
    let refused = Counts::new().from_cloud(&job).lost("a", DropReason::TunnelDown).error_to_cloud("a", unreachable(&job));
    let woken = refused.generated().datagram_sent(INITIATION).datagram(RESPONSE).absorbed();
    let proved = woken.generated().datagram_sent(KEEPALIVE).add("a/main.handshakes", 1);
    world.expect(&proved, |world| world.cloud("a").send(&job));
    world.expect(&Counts::new().from_cloud(&job).opened("a").to_office("a", &job), |world| world.cloud("a").send(&job));
    one(world.office("a").received());
}

#[test]
fn an_office_stays_connected_for_an_hour_of_traffic_through_every_rekey() {
    let mut world = World::new(55, [municipality("a", 2_101)]);
    world.cloud("a").answers = true;
    let payload = world.office("a").payload(MyNumber, 64);
    let packet = udp(at("198.51.100.17:40000"), at("203.0.113.10:443"), &payload);
    for _ in 0..360 {
        world.office("a").send(&packet);
        world.run(Duration::from_secs(10));
    }
    assert_eq!(world.office("a").received().len(), 360, "every answer came");
    let rekeys = world.counts().get("a/main.handshakes");
    assert!((29..=32).contains(&rekeys), "one each two minutes: {rekeys}");
    assert_eq!(world.counts().get("a.sessions_opened"), 1);
}
