//! Large transfers: every byte arrives, over both NIC drivers.

use netns_tests::plan::{SHARED_GLOBAL, three_municipalities};
use netns_tests::relay::{Driver, relay_among};
use netns_tests::topology::sha256;

const HUNDRED_MEGABYTES: usize = 100_000_000;

fn a_hundred_megabytes_arrive_whole_both_ways(driver: Driver) {
    let (lab, relay) = relay_among(three_municipalities(), driver);
    let town = &lab.towns[0];
    let (path, whole) = lab.file("body", HUNDRED_MEGABYTES);

    let download = town.counter().download(&format!("http://{SHARED_GLOBAL}/files/body"));
    assert_eq!((download.body.len(), download.sha256.as_str(), download.connections), (HUNDRED_MEGABYTES, whole.as_str(), 1));
    let upload = town.counter().upload(&path, &format!("http://{SHARED_GLOBAL}/upload/body"));
    assert_eq!((sha256(&town.servers.uploaded("body")), upload.connections), (whole, 1));

    let row = relay.tenant(&town.plan.tenant);
    for direction in ["office_to_cloud", "cloud_to_office"] {
        assert!(row[direction]["bytes"].as_u64() > Some(HUNDRED_MEGABYTES as u64), "{row}");
    }
    println!("{driver:?}: down {:.1} s, up {:.1} s, lost {:?}", download.seconds, upload.seconds, relay.drops(&town.plan.tenant));
}

#[test]
fn a_hundred_megabytes_arrive_whole_both_ways_over_af_packet() {
    a_hundred_megabytes_arrive_whole_both_ways(Driver::AfPacket);
}

#[test]
fn a_hundred_megabytes_arrive_whole_both_ways_over_af_xdp() {
    a_hundred_megabytes_arrive_whole_both_ways(Driver::AfXdp);
}

fn iperf3_measures_tcp_and_udp_both_ways(driver: Driver) {
    let (lab, _relay) = relay_among(three_municipalities(), driver);
    let town = &lab.towns[1];
    for reverse in [&[][..], &["--reverse"]] {
        let tcp = town.iperf3(2, reverse);
        let received = tcp["end"]["sum_received"]["bits_per_second"].as_f64().expect("a rate");
        assert!(received > 10e6, "only {received} bit/s over TCP with {reverse:?}");
        let udp = town.iperf3(2, &[&["--udp", "--bitrate", "10M", "--length", "1200"], reverse].concat());
        let lost = udp["end"]["sum"]["lost_percent"].as_f64().expect("a percentage");
        assert!(lost < 2.0, "{lost}% of 10 Mbit/s lost over UDP with {reverse:?}");
        println!("{driver:?} {reverse:?}: TCP {:.0} Mbit/s, UDP lost {lost:.2}%", received / 1e6);
    }
}

#[test]
fn iperf3_measures_tcp_and_udp_both_ways_over_af_packet() {
    iperf3_measures_tcp_and_udp_both_ways(Driver::AfPacket);
}

#[test]
fn iperf3_measures_tcp_and_udp_both_ways_over_af_xdp() {
    iperf3_measures_tcp_and_udp_both_ways(Driver::AfXdp);
}
