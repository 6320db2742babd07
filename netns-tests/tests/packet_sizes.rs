//! Sizes around the MTU: what fits passes, what does not is told so, and TCP never gets that far.

use netns_tests::capture::Capture;
use netns_tests::cloud::Printer;
use netns_tests::plan::{INNER_MTU, PRINT_SERVER, PRINTER_INSIDE, SHARED_GLOBAL, three_municipalities};
use netns_tests::relay::{Driver, Drops, Files, Relay, relay_among};
use netns_tests::topology::{Lab, TRUNK};
use netns_tests::traffic::Ping;

/// IPv4 and ICMP headers of an echo request.
const ECHO_HEADERS: u16 = 28;
/// IPv4 and TCP headers without options.
const TCP_HEADERS: u16 = 40;

fn pings_pass_up_to_the_inner_mtu_and_larger_ones_are_told_it(driver: Driver) {
    let (lab, relay) = relay_among(three_municipalities(), driver);
    let town = &lab.towns[0];
    let (counter, print_server) = (town.counter(), town.cloud_host(PRINT_SERVER));
    for payload in [0, 56, 1000, INNER_MTU - ECHO_HEADERS - 1, INNER_MTU - ECHO_HEADERS] {
        assert_eq!(counter.ping(SHARED_GLOBAL, payload), Ping::Answered, "{payload} bytes from the office");
        assert_eq!(print_server.ping(PRINTER_INSIDE, payload), Ping::Answered, "{payload} bytes from the cloud");
    }
    let drops = relay.drops_during(&town.plan.tenant, || {
        assert_eq!(print_server.ping(PRINTER_INSIDE, INNER_MTU - ECHO_HEADERS + 1), Ping::TooBig { mtu: INNER_MTU });
    });
    assert_eq!(drops, Drops::of(&[("packet_too_big", 1)]));
}

#[test]
fn pings_pass_up_to_the_inner_mtu_and_larger_ones_are_told_it_over_af_packet() {
    pings_pass_up_to_the_inner_mtu_and_larger_ones_are_told_it(Driver::AfPacket);
}

#[test]
fn pings_pass_up_to_the_inner_mtu_and_larger_ones_are_told_it_over_af_xdp() {
    pings_pass_up_to_the_inner_mtu_and_larger_ones_are_told_it(Driver::AfXdp);
}

#[test]
fn an_office_is_told_when_the_way_to_the_cloud_is_narrower_than_its_tunnel() {
    let lab = Lab::new(three_municipalities());
    let files = Files::write(&lab, Driver::AfXdp, 1400);
    let town = &lab.towns[0];
    files.put(&town.plan);
    let relay = Relay::start_with(&lab, files);
    town.router.call_relay();
    relay.wait_for_tunnels(1);
    assert_eq!(town.counter().ping(SHARED_GLOBAL, 1400 - ECHO_HEADERS), Ping::Answered);
    let drops = relay.drops_during(&town.plan.tenant, || {
        assert_eq!(town.counter().ping(SHARED_GLOBAL, 1401 - ECHO_HEADERS), Ping::TooBig { mtu: 1400 });
    });
    assert_eq!(drops, Drops::of(&[("packet_too_big", 1)]));
}

#[test]
fn the_segment_size_in_every_syn_fits_the_tunnel_whatever_the_hosts_say() {
    let (lab, _relay) = relay_among(three_municipalities(), Driver::AfPacket);
    let town = &lab.towns[0];
    // Both hosts believe in 1,500 bytes, so their SYNs say 1,460.
    town.wireguard().set_mtu(1500);
    let trunk = Capture::start(&lab.trunk, lab.directory(), TRUNK);
    let office = Capture::start(&town.office, lab.directory(), town.wireguard().interface());
    town.counter().fetch(&format!("http://{SHARED_GLOBAL}/who")).expect("an answer");
    let printer = Printer::start(&town.office, town.plan.counter());
    town.cloud_host(PRINT_SERVER).say((PRINTER_INSIDE, 9100), b"a page").expect("a printer");
    let _ = printer.printed();

    let sizes = |captured: &netns_tests::capture::Captured, filter: &str| -> Vec<String> {
        let text = captured.tshark(&["-Y", filter, "-T", "fields", "-e", "tcp.options.mss_val"]);
        text.lines().map(str::to_owned).collect()
    };
    let (trunk, office) = (trunk.stop(), office.stop());
    let clamped = (INNER_MTU - TCP_HEADERS).to_string();
    // On the trunk: the office's SYN and its SYN-ACK; in the office: the cloud's SYN-ACK and its SYN.
    assert_eq!(sizes(&trunk, "tcp.flags.syn == 1 && ip.dst == 10.10.0.0/16"), [clamped.clone(), clamped.clone()]);
    assert_eq!(sizes(&office, "tcp.flags.syn == 1 && ip.src == 203.0.113.0/24"), [clamped.clone(), clamped]);
    trunk.assert_checksums();
}
