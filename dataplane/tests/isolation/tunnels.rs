//! Datagrams under another's index, from another's address, or from another time.

use dataplane::drop_reason::DropReason;
use dataplane::router_config::TrafficClass;
use dataplane::simulation::packets::udp;
use dataplane::simulation::{Counts, Dimensions, Owner, World, at, municipality};
use dataplane::time::Duration;

use crate::{cloud_reaches, office_reaches, silence, twins};
use TrafficClass::MyNumber;

fn packet(name: &str) -> Vec<u8> {
    udp(at("198.51.100.17:40000"), at("203.0.113.10:443"), &Owner::new(name, MyNumber).payload(64))
}

fn sealed(world: &mut World, name: &str) -> Vec<u8> {
    world.office(name).seal(&packet(name)).expect("a session")
}

/// The tunnel follows nobody: a callback still finds its office.
fn still_reaches_a(world: &mut World) {
    let job = udp(at("10.10.0.20:50000"), at("10.254.1.30:9100"), &Owner::new("a", MyNumber).payload(64));
    let counts = if world.counts().get("a.sessions_opened") < 2 { Counts::new().opened("a") } else { Counts::new() };
    cloud_reaches(world, "a", &job, counts);
}

#[test]
fn attempt_9_ciphertext_of_one_tenant_under_the_index_of_another() {
    let mut world = twins(400);
    let (mut of_a, of_b) = (sealed(&mut world, "a"), sealed(&mut world, "b"));
    of_a[4..8].copy_from_slice(&of_b[4..8]);
    let source = world.office("a").outer;
    let counts = Counts::new().datagram(of_a.len()).lost("b", DropReason::TunnelDataRejected);
    world.expect(&counts, |world| world.office("a").send_datagram(source, of_a));
    silence(&mut world);
}

#[test]
fn attempts_10_11_a_datagram_replayed_from_another_office_and_across_a_rekey() {
    let mut world = twins(401);
    let datagram = sealed(&mut world, "a");
    let (of_a, of_b) = (world.office("a").outer, world.office("b").outer);
    let first = Counts::new().from_office("a", &packet("a")).to_cloud("a", &packet("a")).opened("a");
    world.expect(&first, |world| world.office("a").send_datagram(of_a, datagram.clone()));
    assert_eq!(world.cloud("a").received().len(), 1);
    let again = Counts::new().datagram(datagram.len()).lost("a", DropReason::TunnelDataReplayed);
    world.expect(&again, |world| world.office("b").send_datagram(of_b, datagram.clone()));
    still_reaches_a(&mut world);
    world.run(Duration::from_secs(5));
    world.office("a").connect();
    world.run(Duration::from_secs(1));
    world.expect(&again, |world| world.office("b").send_datagram(of_b, datagram.clone()));
    still_reaches_a(&mut world);
    world.run(Duration::from_secs(180));
    // The session has ended, and its index leads to nobody.
    let expired = Counts::new().datagram(datagram.len()).lost("access", DropReason::TunnelReceiverUnknown);
    world.expect(&expired, |world| world.office("b").send_datagram(of_b, datagram));
    silence(&mut world);
}

#[test]
fn attempt_12_what_was_recorded_before_a_restart_moves_no_tunnel_after_it() {
    let mut before = twins(402);
    let (initiation, data) = (before.office("a").initiation(), sealed(&mut before, "b"));
    let tenants = [municipality("a", 2_101), municipality("b", 2_102)];
    let mut world = World::cold(403, tenants, Dimensions::default());
    world.run(Duration::from_millis(600));
    let thief = at("198.18.0.66:9");
    // The new relay has never seen this handshake; it answers, and believes nothing until the peer proves that it is there.
    let answered = Counts::new().datagram(148).absorbed().generated().datagram_sent(92);
    world.expect(&answered, |world| world.office("a").send_datagram(thief, initiation.clone()));
    let unknown = Counts::new().datagram(data.len()).lost("access", DropReason::TunnelReceiverUnknown);
    world.expect(&unknown, |world| world.office("a").send_datagram(thief, data));
    assert_eq!((world.counts().get("a/main.handshakes"), world.counts().get("a/main.roams")), (0, 0));
    assert_eq!(world.strays().len(), 1, "the answer, for whoever is there");
    world.run(Duration::from_secs(2));
    world.office("a").connect();
    world.run(Duration::from_secs(1));
    let older = Counts::new().datagram(148).lost("a", DropReason::TunnelHandshakeRejected);
    world.expect(&older, |world| world.office("a").send_datagram(thief, initiation));
    still_reaches_a(&mut world);
}

#[test]
fn attempts_38_50_a_flood_of_forged_messages_costs_a_named_drop_each_while_traffic_runs() {
    let mut world = twins(404);
    office_reaches(&mut world, "a", &packet("a"), Counts::new().opened("a"));
    let message = |kind: u8, len: usize| {
        let mut message = vec![0x5a; len];
        message[..4].copy_from_slice(&[kind, 0, 0, 0]);
        message
    };
    for (forged, reason) in [
        (message(1, 148), DropReason::TunnelHandshakeMacInvalid),
        (message(2, 92), DropReason::TunnelHandshakeMacInvalid),
        (message(3, 64), DropReason::TunnelReceiverUnknown),
        (message(4, 96), DropReason::TunnelReceiverUnknown),
        (message(4, 31), DropReason::TunnelMessageMalformed),
        (message(1, 147), DropReason::TunnelMessageMalformed),
        (message(5, 148), DropReason::TunnelMessageMalformed),
        (Vec::new(), DropReason::TunnelMessageMalformed),
    ] {
        let counts = Counts::new().datagram(forged.len()).lost("access", reason).times(40);
        world.expect(&counts, |world| {
            (0..40).for_each(|number| world.office("b").send_datagram(at(&format!("198.18.7.{number}:9")), forged.clone()));
        });
        office_reaches(&mut world, "a", &packet("a"), Counts::new());
    }
}

/// How long the relay computes differs by one Diffie-Hellman: it is not told in any answer, as there is none.
#[test]
fn attempt_49_a_known_key_without_its_proof_gets_what_an_unknown_key_gets_which_is_nothing() {
    let mut world = twins(406);
    let (known, stranger) = (world.office("a").initiation(), world.office("b").initiation());
    world.run(Duration::from_secs(1));
    world.office("a").connect();
    world.run(Duration::from_secs(1));
    world.reload(|plan| plan.tenants.retain(|tenant| &*tenant.name == "a"));
    world.run(Duration::from_millis(100));
    for (message, at_whom, reason) in
        [(known, "a", DropReason::TunnelHandshakeRejected), (stranger, "access", DropReason::TunnelPeerUnknown)]
    {
        let counts = Counts::new().datagram(148).lost(at_whom, reason);
        world.expect(&counts, |world| world.office("a").send_datagram(at("198.18.0.66:9"), message));
        assert_eq!(world.strays(), Vec::<Vec<u8>>::new());
    }
}

#[test]
fn an_office_whose_key_no_tenant_has_is_nobody() {
    let mut world = twins(405);
    world.reload(|plan| plan.tenants.retain(|tenant| &*tenant.name == "a"));
    world.run(Duration::from_millis(100));
    let counts = Counts::new().datagram(148).lost("access", DropReason::TunnelPeerUnknown);
    world.expect(&counts, |world| {
        world.office("b").restart();
        world.office("b").connect();
    });
    still_reaches_a_alone(&mut world);
}

fn still_reaches_a_alone(world: &mut World) {
    let job = udp(at("10.10.0.20:50000"), at("10.254.1.30:9100"), &Owner::new("a", MyNumber).payload(64));
    world.expect(&Counts::new().from_cloud(&job).to_office("a", &job).opened("a"), |world| world.cloud("a").send(&job));
    assert_eq!(world.office("a").received().len(), 1);
}
