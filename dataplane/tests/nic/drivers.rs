//! Frames in, frames out, with each driver.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use dataplane::nic::{BATCH, Driver, open_ports};
use dataplane::packet::{FramePool, HEADROOM, Packet};
use etherparse::{SlicedPacket, TransportSlice};

use crate::support::{Station, in_own_network, output, plain_frame, sh, state_directory, tagged, veth};

/// Frames of all lengths, with no, one and two tags, cross two ports of one worker in order and unchanged.
fn forwards_everything(driver: Driver, mode: &str) {
    // A kernel grants one 802.1Q tag on top of the MTU, and no second.
    sh("for end in left left-far right right-far; do ip link set $end mtu 1508; done");
    let mut pool = FramePool::new(8192).expect("frames");
    let spec = |interface: &str| dataplane::nic::PortSpec { name: interface.into(), interface: interface.into(), mtu: 1500, driver };
    let mut ports = open_ports(&[spec("left"), spec("right")], &state_directory(), std::slice::from_mut(&mut pool)).expect("both open");
    assert_eq!([ports[0].queues[0][0].description().mode.as_str(), ports[1].queues[0][0].description().mode.as_str()], [mode; 2]);
    let mut sender = Station::new("left-far", Driver::AfPacket);
    let mut receiver = Station::new("right-far", Driver::AfPacket);

    let mut frames: Vec<Vec<u8>> = (0..200).map(|number| plain_frame(number, 60 + number as usize * 7)).collect();
    frames.extend((0..50).map(|number| tagged(&plain_frame(number, 1514), &[(0x8100, 0x6000 | 2101)])));
    frames.extend((0..50).map(|number| tagged(&plain_frame(number, 1514), &[(0x88a8, 100), (0x8100, 2101)])));
    sender.send(&frames);

    let mut batch = Vec::with_capacity(BATCH);
    let mut arrived = Vec::new();
    for _ in 0..2000 {
        ports[0].queues[0][0].receive(&mut pool, &mut batch);
        assert!(batch.iter().all(|packet| packet.start() >= HEADROOM), "there is room for every header in front");
        ports[1].queues[0][0].transmit(&mut pool, &mut batch);
        arrived.extend(receiver.receive());
        if arrived.len() == frames.len() {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(arrived.len(), frames.len());
    assert!(arrived == frames, "every frame arrives as it was sent, in order");
    assert_eq!((ports[0].queues[0][0].receive_lost(), ports[1].queues[0][0].transmit_refused()), (0, 0));
    ports[1].queues[0][0].receive(&mut pool, &mut batch);
    ports[1].queues[0][0].transmit(&mut pool, &mut batch);
    let held: usize = ports.iter().map(|port| port.queues[0][0].held()).sum();
    assert_eq!(pool.free() + held + batch.len(), pool.total());
}

fn two_pairs() {
    veth("left", "left-far");
    veth("right", "right-far");
}

/// A hundred thousand frames are echoed, and every frame of memory is accounted for at every step.
fn echoes_many_without_losing_a_frame(driver: Driver) {
    const FRAMES: u32 = 100_000;
    veth("port", "far");
    let mut relay = Station::new("port", driver);
    let mut far = Station::new("far", Driver::AfPacket);
    let mut batch = Vec::with_capacity(BATCH);
    let mut returned = 0;
    for first in (0..FRAMES).step_by(BATCH) {
        let frames: Vec<Vec<u8>> = (first..FRAMES.min(first + 64)).map(|number| plain_frame(number, 100)).collect();
        far.send(&frames);
        for _ in 0..1000 {
            relay.port.queues[0][0].receive(&mut relay.pool, &mut batch);
            relay.port.queues[0][0].transmit(&mut relay.pool, &mut batch);
            assert_eq!(relay.pool.free() + relay.port.queues[0][0].held() + batch.len(), relay.pool.total());
            returned += far.receive().len();
            if returned == first as usize + frames.len() {
                break;
            }
        }
    }
    assert_eq!(returned, FRAMES as usize);
    assert_eq!((relay.port.queues[0][0].receive_lost(), relay.lost.too_big, relay.lost.no_frame), (0, 0, 0));
    far.assert_no_frame_lost();
}

/// A kernel that leaves checksums to the NIC gets them finished, also when it sends to a port of this machine.
fn finishes_checksums(driver: Driver) {
    veth("port", "host");
    let mut relay = Station::new("port", driver);
    sh("ip link set host arp on; ip address add 192.0.2.1/24 dev host; ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev host");
    let socket = UdpSocket::bind("192.0.2.1:0").expect("a socket");
    for payload in [&b"even"[..], b"odd"] {
        socket.send_to(payload, "192.0.2.2:53").expect("sent");
        let frames = relay.receive_until(1);
        let sliced = SlicedPacket::from_ethernet(&frames[0]).expect("an IPv4 packet");
        let (Some(TransportSlice::Udp(udp)), Some(etherparse::NetSlice::Ipv4(ip))) = (&sliced.transport, &sliced.net) else {
            panic!("UDP over IPv4, got {sliced:?}");
        };
        assert_eq!(udp.payload(), payload);
        let right = udp.to_header().calc_checksum_ipv4(&ip.header().to_header(), payload).expect("short");
        assert_eq!(udp.checksum(), right);
    }
    TcpStream::connect_timeout(&SocketAddr::from(([192, 0, 2, 2], 443)), Duration::from_millis(50)).expect_err("nobody answers");
    let frames = relay.receive_until(1);
    let sliced = SlicedPacket::from_ethernet(&frames[0]).expect("an IPv4 packet");
    let (Some(TransportSlice::Tcp(tcp)), Some(etherparse::NetSlice::Ipv4(ip))) = (&sliced.transport, &sliced.net) else {
        panic!("TCP over IPv4, got {sliced:?}");
    };
    let right = tcp.to_header().calc_checksum_ipv4(&ip.header().to_header(), tcp.payload()).expect("short");
    assert!(tcp.syn() && tcp.checksum() == right);
}

/// A frame longer than a frame of memory is counted, not truncated and not handed on.
#[test]
fn af_packet_counts_frames_that_are_too_big() {
    in_own_network("drivers::af_packet_counts_frames_that_are_too_big", false, || {
        veth("port", "host");
        sh("ip link set port mtu 9000; ip link set host mtu 9000 arp on");
        let mut relay = Station::new("port", Driver::AfPacket);
        sh("ip address add 192.0.2.1/24 dev host; ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev host");
        let socket = UdpSocket::bind("192.0.2.1:0").expect("a socket");
        for length in [1000, 1900, 4000, 8000, 1001] {
            socket.send_to(&vec![7; length], "192.0.2.2:53").expect("sent");
        }
        let lengths: Vec<usize> = relay.receive_until(2).iter().map(Vec::len).collect();
        assert_eq!(lengths, [1000 + 42, 1001 + 42]);
        assert_eq!((relay.lost.too_big, relay.lost.no_frame), (3, 0));
        relay.assert_no_frame_lost();
    });
}

/// A pool without frames loses by name; a frame longer than the interface sends is counted and blocks nobody.
#[test]
fn af_packet_names_what_it_loses() {
    in_own_network("drivers::af_packet_names_what_it_loses", false, || {
        veth("port", "far");
        let mut relay = Station::new("port", Driver::AfPacket);
        let mut far = Station::new("far", Driver::AfPacket);
        let taken: Vec<_> = std::iter::from_fn(|| relay.pool.take()).collect();
        far.send(&[plain_frame(1, 60), plain_frame(2, 60)]);
        assert!(relay.receive_until(1).is_empty());
        assert_eq!(relay.lost.no_frame, 2);
        taken.into_iter().for_each(|frame| relay.pool.put(frame));
        relay.send(&[plain_frame(1, 1515), tagged(&plain_frame(2, 1514), &[(0x8100, 5)]), plain_frame(3, 60)]);
        assert_eq!(far.receive_until(2).len(), 2);
        assert_eq!(relay.port.queues[0][0].transmit_refused(), 1);
        relay.assert_no_frame_lost();
    });
}

/// While the link is down the transmit ring fills (`ring` frames); what it cannot take stays with the worker, and goes out when the
/// link is back.
fn leaves_what_a_full_ring_cannot_take(driver: Driver, ring: usize) {
    veth("port", "far");
    let mut relay = Station::new("port", driver);
    let mut far = Station::new("far", Driver::AfPacket);
    sh("ip link set port down");
    let mut batch: Vec<Packet> =
        (0..2000).map(|number| Packet::copied(relay.pool.take().expect("free"), &plain_frame(number, 60)).expect("fits")).collect();
    relay.port.queues[0][0].transmit(&mut relay.pool, &mut batch);
    assert_eq!(batch.len(), 2000 - ring);
    assert_eq!(relay.pool.free() + relay.port.queues[0][0].held() + batch.len(), relay.pool.total());
    sh("ip link set port up");
    for _ in 0..1000 {
        relay.port.queues[0][0].transmit(&mut relay.pool, &mut batch);
    }
    assert!(batch.is_empty());
    let arrived = far.receive_until(2000);
    assert!(arrived == (0..2000).map(|number| plain_frame(number, 60)).collect::<Vec<_>>());
    relay.assert_no_frame_lost();
}

/// AF_PACKET sends from where the frames lie and has no ring.
#[test]
fn af_packet_leaves_what_it_cannot_send() {
    in_own_network("drivers::af_packet_leaves_what_it_cannot_send", false, || {
        leaves_what_a_full_ring_cannot_take(Driver::AfPacket, 0);
    });
}

#[test]
fn af_packet_forwards_everything() {
    in_own_network("drivers::af_packet_forwards_everything", false, || {
        two_pairs();
        forwards_everything(Driver::AfPacket, "copy (offload)");
    });
}

#[test]
fn af_packet_echoes_many_without_losing_a_frame() {
    in_own_network("drivers::af_packet_echoes_many_without_losing_a_frame", false, || {
        echoes_many_without_losing_a_frame(Driver::AfPacket);
    });
}

#[test]
fn af_packet_finishes_checksums() {
    in_own_network("drivers::af_packet_finishes_checksums", false, || finishes_checksums(Driver::AfPacket));
}

#[test]
fn af_xdp_forwards_everything() {
    in_own_network("drivers::af_xdp_forwards_everything", true, || {
        two_pairs();
        forwards_everything(Driver::AfXdp, "copy (native)");
    });
}

/// A veth that takes no program in its driver, as its peer sends on more queues than it receives on.
#[test]
fn af_xdp_forwards_everything_in_generic_mode() {
    in_own_network("drivers::af_xdp_forwards_everything_in_generic_mode", true, || {
        for near in ["left", "right"] {
            sh(&format!("ip link add {near} numrxqueues 1 numtxqueues 1 type veth peer name {near}-far numtxqueues 2 numrxqueues 2"));
            sh(&format!(
                "sysctl -qw net.ipv6.conf.{near}-far.disable_ipv6=1; ip link set {near}-far up arp off; ethtool -L {near}-far tx 2 rx 2"
            ));
        }
        forwards_everything(Driver::AfXdp, "copy (generic)");
    });
}

#[test]
fn af_xdp_echoes_many_without_losing_a_frame() {
    in_own_network("drivers::af_xdp_echoes_many_without_losing_a_frame", true, || {
        echoes_many_without_losing_a_frame(Driver::AfXdp);
    });
}

#[test]
fn af_xdp_leaves_what_a_full_ring_cannot_take() {
    in_own_network("drivers::af_xdp_leaves_what_a_full_ring_cannot_take", true, || {
        leaves_what_a_full_ring_cannot_take(Driver::AfXdp, 1024);
    });
}

/// What arrives while the worker takes nothing is lost by count once the fill ring is empty, and every frame is still accounted for.
#[test]
fn af_xdp_counts_what_an_empty_fill_ring_loses() {
    in_own_network("drivers::af_xdp_counts_what_an_empty_fill_ring_loses", true, || {
        veth("port", "far");
        let mut relay = Station::new("port", Driver::AfXdp);
        let mut far = Station::new("far", Driver::AfPacket);
        let lent = relay.port.queues[0][0].held();
        assert_eq!(lent, 2048, "half of the pool's 4096");
        far.send(&(0..3000).map(|number| plain_frame(number, 60)).collect::<Vec<_>>());
        assert_eq!(relay.receive_until(3000).len(), lent);
        assert_eq!(relay.port.queues[0][0].receive_lost(), 3000 - lent as u64);
        relay.assert_no_frame_lost();
    });
}

#[test]
fn auto_takes_the_best_driver_and_says_why() {
    in_own_network("drivers::auto_takes_the_best_driver_and_says_why", false, || {
        veth("port", "far");
        let relay = Station::new("port", Driver::Auto);
        let description = relay.port.queues[0][0].description();
        assert_eq!((description.driver, description.mode.as_str(), description.mtu), ("af_packet", "copy (offload)", 1500));
        assert!(description.reason.contains("CAP_NET_ADMIN"), "without privileges there is no AF_XDP: {}", description.reason);
    });
}

#[test]
fn auto_takes_af_xdp_that_copies_only_where_super_frames_are_off() {
    in_own_network("drivers::auto_takes_af_xdp_that_copies_only_where_super_frames_are_off", true, || {
        veth("port", "far");
        {
            let relay = Station::new("port", Driver::Auto);
            let description = relay.port.queues[0][0].description();
            assert_eq!((description.driver, description.mode.as_str()), ("af_packet", "copy (offload)"));
            assert!(description.reason.contains("super-frames carry more"), "{}", description.reason);
            assert!(output("ethtool -k port").contains("tx-tcp-segmentation: on"), "what AF_XDP had switched off is back");
        }
        sh("ethtool -K port tso off");
        sh("ip link set port address 02:00:00:00:00:01");
        let relay = Station::new("port", Driver::Auto);
        let description = relay.port.queues[0][0].description();
        assert_eq!((description.driver, description.mode.as_str(), description.mac), ("af_xdp", "copy (native)", [2, 0, 0, 0, 0, 1]));
        assert!(description.reason.contains("no zero-copy"), "{}", description.reason);
    });
}
