//! Ports of several workers: each has queues of its own, and no frame is lost or seen twice.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use dataplane::nic::{BATCH, Driver, OpenPort, PortSpec, open_ports};
use dataplane::packet::{FramePool, Packet};

use crate::support::{in_own_network, plain_frame, sh, state_directory, wait_for_cable};

const FLOWS: u16 = 64;

/// A veth pair with queues, and a host at its far end that sends `FLOWS` datagrams, each of its own flow.
fn host_with_flows(queues: usize) {
    let numbers = format!("numrxqueues {queues} numtxqueues {queues}");
    sh(&format!("ip link add port {numbers} type veth peer name host {numbers}; sysctl -qw net.ipv6.conf.host.disable_ipv6=1"));
    sh("ip link set host up; ethtool -K host tx off txvlan off 2>/dev/null; ip address add 192.0.2.1/24 dev host");
    sh("ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev host");
}

fn send_flows() {
    // Taking the port over changed its channels, and with them the carrier for a moment.
    wait_for_cable("host");
    let socket = UdpSocket::bind("192.0.2.1:0").expect("a socket");
    for flow in 0..FLOWS {
        socket.send_to(&flow.to_be_bytes(), (Ipv4Addr::new(192, 0, 2, 2), 1_000 + flow)).expect("sent");
    }
}

fn open(driver: Driver, pools: &mut [FramePool]) -> OpenPort {
    let spec = PortSpec { name: "port".into(), interface: "port".into(), mtu: 1500, driver };
    open_ports(&[spec], &state_directory(), pools).expect("opens").remove(0)
}

/// The flows that each worker gets.
fn arrived(port: &mut OpenPort, pools: &mut [FramePool]) -> Vec<Vec<u16>> {
    let mut flows = vec![Vec::new(); pools.len()];
    for _ in 0..200 {
        for (worker, (queues, pool)) in port.queues.iter_mut().zip(&mut *pools).enumerate() {
            for nic in queues {
                let mut batch = Vec::with_capacity(BATCH);
                nic.receive(pool, &mut batch);
                for packet in batch {
                    if packet.len() >= 44 && packet.bytes()[23] == 17 {
                        flows[worker].push(u16::from_be_bytes([packet.bytes()[42], packet.bytes()[43]]));
                    }
                    pool.put(packet.into_frame());
                }
            }
        }
        if flows.iter().map(Vec::len).sum::<usize>() >= usize::from(FLOWS) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    flows
}

fn every_flow_arrives_once_and_at_every_worker(driver: Driver) {
    host_with_flows(4);
    let mut pools = FramePool::shared(8_192, 2).expect("frames");
    let mut port = open(driver, &mut pools);
    assert_eq!(port.queues.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
    send_flows();
    let flows = arrived(&mut port, &mut pools);
    let distinct: BTreeSet<u16> = flows.iter().flatten().copied().collect();
    assert_eq!((distinct.len(), flows.concat().len()), (usize::from(FLOWS), usize::from(FLOWS)), "each once: {flows:?}");
    assert!(flows.iter().all(|flows| !flows.is_empty()), "both workers have a share: {flows:?}");
}

#[test]
fn af_packet_deals_the_flows_out_to_the_workers() {
    in_own_network("queues::af_packet_deals_the_flows_out_to_the_workers", false, || {
        every_flow_arrives_once_and_at_every_worker(Driver::AfPacket);
    });
}

#[test]
fn af_xdp_gives_each_worker_a_queue() {
    in_own_network("queues::af_xdp_gives_each_worker_a_queue", true, || {
        every_flow_arrives_once_and_at_every_worker(Driver::AfXdp);
        let channels = crate::support::output("ethtool -l port | tail -n 5");
        assert!(channels.contains("4"), "the NIC has its four queues back: {channels}");
    });
}

/// A frame of one worker's memory goes out through the queue of another, and comes back as a stray that knows its home.
#[test]
fn a_frame_sent_by_another_worker_is_kept_apart_until_it_goes_home() {
    in_own_network("queues::a_frame_sent_by_another_worker_is_kept_apart_until_it_goes_home", true, || {
        host_with_flows(1);
        let mut pools = FramePool::shared(8_192, 2).expect("frames");
        let mut port = open(Driver::AfXdp, &mut pools);
        assert_eq!(port.queues.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0], "the second worker has no queue");
        let foreign = pools[1].take().expect("a frame");
        let index = foreign.index();
        let mut batch = vec![Packet::copied(foreign, &plain_frame(1, 60)).expect("fits")];
        let mut received = Vec::with_capacity(BATCH);
        for _ in 0..200 {
            port.queues[0][0].transmit(&mut pools[0], &mut batch);
            port.queues[0][0].receive(&mut pools[0], &mut received);
            if !pools[0].strays().is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        received.into_iter().for_each(|packet| pools[0].put(packet.into_frame()));
        let stray = pools[0].strays().pop().expect("the frame is back");
        assert_eq!((stray.index(), pools[0].home_of(&stray)), (index, 1));
        pools[1].put(stray);
        assert_eq!(pools[1].free(), pools[1].total());
    });
}
