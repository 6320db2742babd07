//! Cables, routes and neighbours between real namespaces.

use std::net::UdpSocket;
use std::os::fd::AsFd;

use super::*;
use crate::demo::raw_socket::{RawSocket, wait_readable};
use crate::demo::test_support::{as_root, cable};

const SECOND: Duration = Duration::from_secs(1);

fn udp(namespace: &Namespace, address: &str) -> UdpSocket {
    let socket = in_namespace(namespace, || UdpSocket::bind(address).unwrap()).unwrap();
    socket.set_read_timeout(Some(SECOND)).unwrap();
    socket
}

#[test]
fn routes_lead_over_a_gateway_whose_address_nobody_had_to_ask_for() {
    as_root("demo::links::tests::routes_lead_over_a_gateway_whose_address_nobody_had_to_ask_for", || {
        let [left, right] = cable("hop", 1500);
        let (from, to) = (Links::of(&left).unwrap(), Links::of(&right).unwrap());
        let mac = MacAddress::local(7, 1);
        to.set_mac("hop1", mac).unwrap();
        to.add_address("hop1", "203.0.113.10/32".parse().unwrap()).unwrap();
        // Neither end answers ARP, so only what is written down here can work.
        from.silence("hop0").unwrap();
        to.silence("hop1").unwrap();
        from.add_neighbor("hop0", Ipv4Addr::new(10, 0, 0, 254), mac).unwrap();
        from.add_route("203.0.113.0/24".parse().unwrap(), Some(Ipv4Addr::new(10, 0, 0, 254)), "hop0").unwrap();
        let receiver = udp(&right, "203.0.113.10:53");
        udp(&left, "10.0.0.1:0").send_to(b"question", "203.0.113.10:53").unwrap();
        let mut buffer = [0; 32];
        assert_eq!(receiver.recv(&mut buffer).unwrap(), 8);
    });
}

#[test]
fn a_kernel_frame_has_its_checksum_finished() {
    as_root("demo::links::tests::a_kernel_frame_has_its_checksum_finished", || {
        let [left, right] = cable("sum", 1500);
        let mut tap = RawSocket::open(&right, "sum1").unwrap();
        let mac = MacAddress::local(7, 2);
        Links::of(&left).unwrap().add_neighbor("sum0", Ipv4Addr::new(10, 0, 0, 77), mac).unwrap();
        udp(&left, "10.0.0.1:0").send_to(b"question", "10.0.0.77:53").unwrap();
        wait_readable(&[tap.as_fd()], SECOND).unwrap();
        let frame = tap.receive().unwrap().expect("the frame to 10.0.0.77").to_vec();
        assert_eq!(frame[..6], mac.0);
        assert_eq!(tap.unfinished_checksums(), 0);
    });
}

#[test]
fn a_silenced_interface_says_nothing_by_itself() {
    as_root("demo::links::tests::a_silenced_interface_says_nothing_by_itself", || {
        let [left, right] = cable("hush", 1500);
        let links = Links::of(&left).unwrap();
        links.silence("hush0").unwrap();
        let mut tap = RawSocket::open(&right, "hush1").unwrap();
        links.down("hush0").unwrap();
        links.up("hush0").unwrap();
        // Without the switch an ARP request for 10.0.0.9 would follow at once.
        let _ = udp(&left, "10.0.0.1:0").send_to(b"anyone?", "10.0.0.9:9");
        wait_readable(&[tap.as_fd()], Duration::from_millis(300)).unwrap();
        let heard = tap.receive().unwrap().map(|frame| u16::from_be_bytes([frame[12], frame[13]]));
        assert!(!matches!(heard, Some(0x0806 | 0x86dd)), "EtherType {heard:04x?}");
    });
}

#[test]
fn errors_name_the_interface_and_the_namespace() {
    as_root("demo::links::tests::errors_name_the_interface_and_the_namespace", || {
        let [left, _right] = cable("err", 1500);
        let links = Links::of(&left).unwrap();
        let missing = links.up("nothing0").unwrap_err().to_string();
        assert!(missing.contains("nothing0") && missing.contains("err0"), "{missing}");
        let twice = links.add_address("err0", "10.0.0.1/24".parse().unwrap()).unwrap_err().to_string();
        assert!(twice.contains("10.0.0.1/24") && twice.contains("exists"), "{twice}");
        let long = links.index("a-name-too-long-for-linux").unwrap_err().to_string();
        assert!(long.contains("15 bytes"), "{long}");
        links.delete("err0").unwrap();
        assert!(links.index("err0").is_err());
    });
}

#[test]
fn a_vlan_that_ends_in_the_kernel_loses_its_tag_on_receipt_and_gets_it_when_sending() {
    as_root("demo::links::tests::a_vlan_that_ends_in_the_kernel_loses_its_tag_on_receipt_and_gets_it_when_sending", || {
        let [left, right] = cable("end", 1500);
        let (from, to) = (Links::of(&left).unwrap(), Links::of(&right).unwrap());
        let (left_mac, right_mac) = (MacAddress::local(8, 0), MacAddress::local(8, 1));
        from.silence("end0").unwrap();
        to.set_mac("end1", right_mac).unwrap();
        match to.end_vlan("end1", 2101) {
            // Loading a program takes more than a user namespace's root may do.
            Err(DemoError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => return,
            outcome => outcome.unwrap(),
        }
        let here = Ipv4Addr::new(10, 0, 0, 1);
        to.add_neighbor("end1", here, left_mac).unwrap();
        let mut cable = RawSocket::open(&left, "end0").unwrap();

        udp(&right, "10.0.0.2:53").send_to(b"answer", (here, 53)).unwrap();
        assert!(wait_readable(&[cable.as_fd()], SECOND).unwrap()[0]);
        let tagged = cable.receive().unwrap().unwrap().to_vec();
        assert_eq!(tagged[12..18], [0x81, 0x00, 0x08, 0x35, 0x08, 0x00], "{tagged:02x?}");

        // The same packet back: addresses and ports are turned around, the sums of both stay right.
        let receiver = udp(&right, "10.0.0.2:53");
        let mut back = tagged.clone();
        back[..6].copy_from_slice(&right_mac.0);
        back[6..12].copy_from_slice(&left_mac.0);
        back[30..34].copy_from_slice(&[10, 0, 0, 1]);
        back[34..38].copy_from_slice(&[10, 0, 0, 2]);
        assert!(cable.send(&back).unwrap());
        let mut buffer = [0; 32];
        let (length, sender) = receiver.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], sender.ip()), (&b"answer"[..], here.into()));
    });
}
