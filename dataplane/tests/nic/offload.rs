//! Super-frames: what the kernel of this machine makes of many frames, and takes for many.
#![expect(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::Duration;

use dataplane::nic::{Driver, SuperFrames};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

use crate::support::{Station, in_own_network, sh, tagged, veth};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The tag stacks of the three kinds of attachments.
const STACKS: [&[(u16, u16)]; 3] = [&[], &[(0x8100, 2101)], &[(0x88a8, 100), (0x8100, 2101)]];

/// One segment of a transfer from 192.0.2.1 to 192.0.2.2.
fn segment(sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], MAC).ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64);
    builder.tcp(40_000, 443, sequence, 500).ack(1).write(&mut frame, payload).expect("a frame");
    frame
}

fn datagram(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], MAC).ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64);
    builder.udp(51_820, 5_000).write(&mut frame, payload).expect("a frame");
    frame
}

/// Bytes that differ from frame to frame.
fn payload(number: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + number * 13) as u8).collect()
}

/// Right checksums, and the frame with identification and IPv4 checksum taken out: with DF set they may be made anew.
fn checked(frame: &[u8], tags: usize) -> Vec<u8> {
    let plain = [&frame[..12], &frame[12 + 4 * tags..]].concat();
    let sliced = SlicedPacket::from_ethernet(&plain).expect("an IPv4 packet");
    let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("IPv4, got {sliced:?}") };
    let header = ip.header().to_header();
    assert_eq!(header.calc_header_checksum(), header.header_checksum);
    match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            assert_eq!(tcp.to_header().calc_checksum_ipv4(&header, tcp.payload()).expect("short"), tcp.checksum());
        }
        Some(TransportSlice::Udp(udp)) => {
            assert_eq!(udp.to_header().calc_checksum_ipv4(&header, udp.payload()).expect("short"), udp.checksum());
        }
        other => panic!("TCP or UDP, got {other:?}"),
    }
    let mut frame = frame.to_vec();
    let ip = 14 + 4 * tags;
    frame[ip + 4..ip + 6].fill(0);
    frame[ip + 10..ip + 12].fill(0);
    frame
}

/// Bulk crosses a cable as super-frames, also behind one and two tags, and is at the other end what it was.
fn crosses_as_super_frames(frames: &[Vec<u8>], at_most: u64) {
    for tags in STACKS {
        veth("port", "far");
        sh("ip link set port mtu 1508; ip link set far mtu 1508");
        let mut relay = Station::new("port", Driver::AfPacket);
        let mut far = Station::new("far", Driver::AfPacket);
        let sent: Vec<Vec<u8>> = frames.iter().map(|frame| tagged(frame, tags)).collect();
        relay.send(&sent);
        let arrived = far.receive_until(sent.len());
        let (sent, arrived) = [sent, arrived].map(|all| all.iter().map(|frame| checked(frame, tags.len())).collect::<Vec<_>>()).into();
        assert_eq!(arrived.len(), sent.len());
        assert!(arrived == sent, "with {} tags", tags.len());
        let crossed = relay.port.queues[0][0].super_frames();
        assert!((1..=at_most).contains(&crossed.transmitted), "{crossed:?}");
        assert_eq!(far.port.queues[0][0].super_frames(), SuperFrames { received: crossed.transmitted, transmitted: 0 });
        assert_eq!((relay.port.queues[0][0].transmit_refused(), far.port.queues[0][0].receive_lost()), (0, 0));
        relay.assert_no_frame_lost();
        far.assert_no_frame_lost();
        drop((relay, far));
        sh("ip link del port");
    }
}

#[test]
fn tcp_crosses_as_super_frames() {
    in_own_network("offload::tcp_crosses_as_super_frames", false, || {
        let frames: Vec<Vec<u8>> = (0..1000).map(|number| segment(number as u32 * 1_400, &payload(number, 1_400))).collect();
        crosses_as_super_frames(&frames, 2 * 1000u64.div_ceil(64));
    });
}

#[test]
fn datagrams_cross_as_super_frames() {
    in_own_network("offload::datagrams_cross_as_super_frames", false, || {
        let frames: Vec<Vec<u8>> = (0..1000).map(|number| datagram(&payload(number, 1_200))).collect();
        crosses_as_super_frames(&frames, 2 * 1000u64.div_ceil(64));
        let frames: Vec<Vec<u8>> = (0..1000).map(|number| datagram(&payload(number, 64))).collect();
        crosses_as_super_frames(&frames, 1000u64.div_ceil(64));
    });
}

/// A host that leaves segmentation to its NIC: more segments than a batch has room for are handed out over several calls.
#[test]
fn what_a_host_leaves_to_its_nic_is_cut_into_frames() {
    in_own_network("offload::what_a_host_leaves_to_its_nic_is_cut_into_frames", false, || {
        veth("port", "host");
        let mut relay = Station::new("port", Driver::AfPacket);
        sh("ip link set host arp on; ip address add 192.0.2.1/24 dev host; ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev host");
        let socket = UdpSocket::bind("192.0.2.1:0").expect("a socket");
        for (segment, length) in [(1_000u16, 45_500usize), (16, 16 * 63 + 3), (700, 700), (1_472, 60_000)] {
            sends_segments(&socket, segment);
            let sent = payload(segment.into(), length);
            socket.send_to(&sent, "192.0.2.2:53").expect("sent");
            let frames = relay.receive_until(length.div_ceil(segment.into()));
            let bytes: Vec<u8> = frames.iter().flat_map(|frame| checked(frame, 0)[42..].to_vec()).collect();
            assert!(bytes == sent, "{length} bytes in segments of {segment}");
        }
        assert_eq!(relay.port.queues[0][0].super_frames().received, 3, "a single segment is a plain frame");
        // Neither super-frames that no frame of memory can hold, nor those that find none, are lost without a name.
        sh("ip link set host mtu 9000");
        sends_segments(&socket, 4_000);
        socket.send_to(&[0; 12_000], "192.0.2.2:53").expect("sent");
        assert!(relay.receive_until(1).is_empty());
        let taken: Vec<_> = std::iter::from_fn(|| relay.pool.take()).collect();
        sends_segments(&socket, 1_000);
        socket.send_to(&[0; 12_000], "192.0.2.2:53").expect("sent");
        assert!(relay.receive_until(1).is_empty());
        assert_eq!((relay.lost.malformed, relay.lost.no_frame, relay.lost.too_big), (1, 12, 0));
        taken.into_iter().for_each(|frame| relay.pool.put(frame));
        relay.assert_no_frame_lost();
    });
}

/// `UDP_SEGMENT`: the kernel takes many datagrams of this length at a time.
fn sends_segments(socket: &UdpSocket, length: u16) {
    let length = i32::from(length);
    // SAFETY: the pointer and length describe `length`, which outlives the call.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, (&raw const length).cast(), 4) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// The host's own UDP takes the datagrams of a super-frame one by one: this is how a router of a municipality gets them.
#[test]
fn a_socket_that_knows_nothing_of_super_frames_gets_every_datagram() {
    in_own_network("offload::a_socket_that_knows_nothing_of_super_frames_gets_every_datagram", false, || {
        veth("port", "host");
        let mut relay = Station::new("port", Driver::AfPacket);
        sh("ip link set host address 02:00:00:00:00:02 arp on; ip address add 192.0.2.2/24 dev host");
        let socket = UdpSocket::bind("192.0.2.2:5000").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        // As the relay sends them: without a checksum.
        let without_checksum = |number: usize| {
            let mut frame = datagram(&payload(number, 1_000 - number / 63 * 9));
            frame[40..42].fill(0);
            frame
        };
        relay.send(&(0..64).map(without_checksum).collect::<Vec<_>>());
        let mut buffer = [0; 2_000];
        for number in 0..64 {
            let (length, from) = socket.recv_from(&mut buffer).unwrap_or_else(|error| panic!("datagram {number}: {error}"));
            assert_eq!((&buffer[..length], from.port()), (&payload(number, 1_000 - number / 63 * 9)[..], 51_820));
        }
        assert_eq!(relay.port.queues[0][0].super_frames().transmitted, 1);
    });
}

/// A port whose segmentation offload is off carries plain frames only, and takes the super-frames that come all the same.
#[test]
fn a_port_without_segmentation_offload_sends_plain_frames() {
    in_own_network("offload::a_port_without_segmentation_offload_sends_plain_frames", false, || {
        veth("port", "far");
        sh("ethtool -K port tso off");
        let mut relay = Station::new("port", Driver::AfPacket);
        let mut far = Station::new("far", Driver::AfPacket);
        assert_eq!(relay.port.queues[0][0].description().mode, "copy");
        let frames: Vec<Vec<u8>> = (0..64).map(|number| segment(number as u32 * 1_000, &payload(number, 1_000))).collect();
        relay.send(&frames);
        assert!(far.receive_until(64) == frames);
        far.send(&frames);
        assert_eq!(relay.receive_until(64).len(), 64);
        let [near, far] = [&relay, &far].map(|station| station.port.queues[0][0].super_frames());
        assert_eq!([near, far], [SuperFrames { received: 1, transmitted: 0 }, SuperFrames { received: 0, transmitted: 1 }]);
    });
}
