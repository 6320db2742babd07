//! Super-frames end to end: every cable with the kernel's own offloads, as on virtual machines.

use controlplane::demo::Namespace;
use netns_tests::plan::{SHARED_GLOBAL, three_municipalities};
use netns_tests::process::must;
use netns_tests::relay::{Driver, Relay};
use netns_tests::topology::{Lab, TRUNK, sha256};

const FIFTY_MEGABYTES: usize = 50_000_000;
/// More than any plain frame.
const LONGER_THAN_A_FRAME: u64 = 1_600;

/// Bytes and frames that an interface has received.
fn received(namespace: &Namespace, interface: &str) -> (u64, u64) {
    let text = must(namespace, "ip", &["-statistics", "-json", "link", "show", "dev", interface]);
    let link: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let read = |what: &str| link[0]["stats64"]["rx"][what].as_u64().expect("a counter");
    (read("bytes"), read("packets"))
}

/// Mean length of the frames that arrive while something happens.
fn mean_length(namespace: &Namespace, interface: &str, story: impl FnOnce()) -> u64 {
    let before = received(namespace, interface);
    story();
    let after = received(namespace, interface);
    (after.0 - before.0) / (after.1 - before.1).max(1)
}

#[test]
fn bulk_crosses_as_super_frames_and_arrives_whole_both_ways() {
    let lab = Lab::with_offloads(three_municipalities().remove(0));
    // What `auto` takes where the kernel copies anyway.
    let relay = Relay::start(&lab, Driver::Auto);
    for port in relay.show("ports") {
        assert_eq!((port["driver"].as_str(), port["mode"].as_str()), (Some("af_packet"), Some("copy (offload)")), "{port}");
        assert!(port["reason"].as_str().is_some_and(|reason| reason.contains("super-frames carry more")), "{port}");
    }
    let town = &lab.towns[0];
    let (path, whole) = lab.file("body", FIFTY_MEGABYTES);

    let down = mean_length(&town.office, "wan0", || {
        let download = town.counter().download(&format!("http://{SHARED_GLOBAL}/files/body"));
        assert_eq!((download.body.len(), download.sha256.as_str(), download.connections), (FIFTY_MEGABYTES, whole.as_str(), 1));
    });
    assert!(down > LONGER_THAN_A_FRAME, "the tunnel's datagrams leave together, not {down} bytes at a time");
    let up = mean_length(&town.cloud, TRUNK, || {
        let upload = town.counter().upload(&path, &format!("http://{SHARED_GLOBAL}/upload/body"));
        assert_eq!((sha256(&town.servers.uploaded("body")), upload.connections), (whole, 1));
    });
    assert!(up > LONGER_THAN_A_FRAME, "segments reach the cloud together, not {up} bytes at a time");

    let row = relay.tenant(&town.plan.tenant);
    for direction in ["office_to_cloud", "cloud_to_office"] {
        let packets = row[direction]["packets"].as_u64();
        assert!(packets > Some(FIFTY_MEGABYTES as u64 / 1_440), "segments are counted, not super-frames: {row}");
    }
    assert_eq!((relay.port_drops().count("frame_too_big"), relay.port_drops().count("super_frame_malformed")), (0, 0));
    println!("mean frame towards the office {down} bytes, towards the cloud {up} bytes");
}
