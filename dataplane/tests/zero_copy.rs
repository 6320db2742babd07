//! The payload moves once, inside the crypto pass: the frame that is transmitted is the frame that was decrypted (or encrypted) into,
//! and the payload still lies where the tunnel wrote it.
#![cfg(feature = "simulation")]

use dataplane::packet::{FRAME_SIZE, HEADROOM};
use dataplane::router_config::TrafficClass;
use dataplane::simulation::packets::{self, udp};
use dataplane::simulation::{World, at, municipality};

/// Ethernet header with one tag.
const TAGGED: usize = 18;
/// Ethernet header, outer IPv4 and UDP.
const OUTER: usize = 14 + 20 + 8;

#[test]
fn the_frame_transmitted_is_the_frame_that_the_tunnel_wrote_to() {
    let mut world = World::new(700, [municipality("a", 2_101)]);
    for len in [16, 100, 1_392] {
        let payload = world.office("a").payload(TrafficClass::MyNumber, len);
        let packet = udp(at("198.51.100.17:40000"), at("203.0.113.10:443"), &payload);
        world.office("a").send(&packet);
        world.settle();
        let (frame, address) = world.last_transmitted(1).expect("forwarded");
        assert_eq!(Some(frame), world.last_blank(), "the frame that decapsulation was given");
        assert_eq!((address + TAGGED) % FRAME_SIZE, HEADROOM, "the first byte that decapsulation wrote");

        let seen = packets::read(&world.cloud("a").received()[0]).expect("sound");
        world.cloud("a").send(&udp(seen.destination, seen.source, &payload));
        world.settle();
        let (frame, address) = world.last_transmitted(0).expect("forwarded");
        assert_eq!(Some(frame), world.last_blank(), "the frame that encapsulation was given");
        assert_eq!((address + OUTER) % FRAME_SIZE, HEADROOM, "the first byte that encapsulation wrote");
        assert_eq!(world.office("a").received().len(), 1);
    }
}
