//! ESP without UDP, as two routers speak it that have no NAT between them: IKE, workers, extended sequence numbers and protocol 50 at once.

use std::time::Duration;

use netns_tests::canary;
use netns_tests::capture::Capture;
use netns_tests::hall::{self, COUNTER, SERVICES, TENANT};
use netns_tests::plan::{Municipality, RELAY_IDENTITY};
use netns_tests::process::wait_until;
use netns_tests::relay::{Driver, Drops, Files, Relay};
use netns_tests::topology::{Lab, RELAY_CABLE};
use netns_tests::traffic::Host;

const SECONDS: u32 = 26;
const BYTES_PER_SECOND: u32 = 500_000;
/// What the access network carries, in bytes.
const LARGEST_PACKET: u32 = 1_500;
/// Who the relay says it is in its second tunnel.
const BACKUP_IDENTITY: &str = "backup.relay.example.jp";
/// IP protocol numbers.
const ESP: u8 = 50;
const UDP: u8 = 17;

fn rekeys(relay: &Relay, kind: &str) -> f64 {
    relay.metric(&format!("chukei_ike_rekeys_total{{kind=\"{kind}\"}}")).expect("a metric")
}

/// IPv4 packets of a protocol on the cable, and the UDP ones between these ports on both sides.
fn frames(frames: &[Vec<u8>], protocol: u8, port: Option<u16>) -> usize {
    let is_it = |frame: &&Vec<u8>| {
        let of_protocol = frame[12..14] == [8, 0] && frame[23] == protocol;
        of_protocol && port.is_none_or(|port| frame[34..36] == port.to_be_bytes() && frame[36..38] == port.to_be_bytes())
    };
    frames.iter().filter(is_it).count()
}

fn two_relays_speak_protocol_50_and_replace_their_keys_under_a_download(driver: Driver) {
    let mut town = Municipality::new("131016-chiyoda", "千代田区", 1).with_ipsec();
    // The relay replaces Child SAs, and the hall the IKE SA.
    town.ipsec.as_mut().expect("IPsec").more.push("lifetimes: {ike: 28800, child: 6}".to_owned());
    let tenant = town.tenant.clone();
    let mut lab = Lab::new(vec![town]);
    let files = Files::write(&lab, driver, 1500);
    files.put(&lab.towns[0].plan);
    let relay = Relay::start_with(&lab, files);
    let capture = Capture::start(&lab.access, lab.directory(), RELAY_CABLE);
    let identity = lab.towns[0].plan.ipsec.as_ref().expect("IPsec").identity.clone();
    let hall = hall::in_place_of_the_router(
        &mut lab,
        driver,
        &[hall::tunnel("main", (&identity, RELAY_IDENTITY), ", lifetimes: {ike: 10, child: 3600}")],
    );
    relay.wait_for_tunnels(1);
    hall.wait_for_tunnels(1);

    let row = &relay.show("tunnels")[0]["ipsec"];
    assert_eq!((&row["nat"], &row["opened_by"]), (&"none".into(), &"peer".into()), "{row}");
    assert_eq!((&row["sas"][0]["encapsulation"], &row["sas"][0]["suite"]), (&"esp".into(), &"aes256gcm16-esn".into()), "{row}");

    let office = &lab.towns[0].office;
    let counter = Host::new(office, COUNTER);
    assert_eq!(counter.query((SERVICES, 53), "who?"), Some(format!("who?{}", canary::mynumber(&tenant))));
    let before = (relay.drops(&tenant), hall.drops(TENANT), relay.port_drops(), hall.port_drops());
    let (_, whole) = lab.file("body", (SECONDS * BYTES_PER_SECOND) as usize);
    let (child, ike) = (rekeys(&relay, "child"), rekeys(&relay, "ike"));
    let download = counter.start_download(lab.directory(), &tenant, &format!("http://{SERVICES}/files/body"), BYTES_PER_SECOND).finish();
    assert_eq!((download.sha256.as_str(), download.connections), (whole.as_str(), 1));
    let (child, ike) = (rekeys(&relay, "child") - child, rekeys(&relay, "ike") - ike);
    println!("{driver:?}: {child} Child SAs and {ike} IKE SAs replaced in {:.0} s", download.seconds);
    assert!(child >= 3.0 && ike >= 2.0, "{child} Child SAs and {ike} IKE SAs replaced");
    assert_eq!(relay.drops(&tenant).since(&before.0), Drops::default());
    assert_eq!(hall.drops(TENANT).since(&before.1), Drops::default());
    for (relay, before) in [(&relay, &before.2), (&hall, &before.3)] {
        let mut at_ports = relay.port_drops().since(before);
        // Each asks for its gateway by broadcast, which the other one hears.
        at_ports.0.remove("arp_not_for_us");
        assert_eq!(at_ports, Drops::default());
    }
    let captured = capture.stop().frames;
    let (carried, least) = (frames(&captured, ESP, None), SECONDS * BYTES_PER_SECOND / LARGEST_PACKET);
    assert!(carried > least as usize, "{carried} packets of protocol 50 cannot have carried the file: that takes {least}");
    assert_eq!(frames(&captured, UDP, Some(4500)), 0, "nothing goes by UDP but key exchange, on port 500");
    assert!(frames(&captured, UDP, Some(500)) > 10);
    wait_until("old SAs are gone", Duration::from_secs(15), || {
        relay.show("tunnels")[0]["ipsec"]["sas"].as_array().is_some_and(|sas| sas.len() <= 2)
    });
}

#[test]
fn two_relays_speak_protocol_50_and_replace_their_keys_under_a_download_over_af_packet() {
    two_relays_speak_protocol_50_and_replace_their_keys_under_a_download(Driver::AfPacket);
}

#[test]
fn two_relays_speak_protocol_50_and_replace_their_keys_under_a_download_over_af_xdp() {
    two_relays_speak_protocol_50_and_replace_their_keys_under_a_download(Driver::AfXdp);
}

#[test]
fn a_download_goes_on_by_the_second_tunnel_when_the_first_one_is_gone_and_comes_back_with_it() {
    let town = Municipality::new("131016-chiyoda", "千代田区", 1).with_ipsec();
    let (tenant, identity) = (town.tenant.clone(), town.ipsec.as_ref().expect("IPsec").identity.clone());
    let mut lab = Lab::new(vec![town]);
    let files = Files::write(&lab, Driver::AfXdp, 1500);
    files.put(&lab.towns[0].plan);
    let backup = format!(
        "  backup: {{endpoint: tokyo-ipsec, ipsec: {{local_id: {BACKUP_IDENTITY}, remote_id: backup.example.jp, psk_file: keys/{tenant}.psk}}}}\noffice:\n"
    );
    files.put_text(&tenant, &lab.towns[0].plan.yaml().replacen("office:\n", &backup, 1));
    let relay = Relay::start_with(&lab, files);
    let tunnels =
        [hall::tunnel("main", (&identity, RELAY_IDENTITY), ""), hall::tunnel("backup", ("backup.example.jp", BACKUP_IDENTITY), "")];
    let hall = hall::in_place_of_the_router(&mut lab, Driver::AfXdp, &tunnels);
    relay.wait_for_tunnels(2);
    hall.wait_for_tunnels(2);

    let received = |name: &str| {
        let row = relay.show("tunnels").into_iter().find(|row| row["tunnel"] == name).expect("a tunnel");
        row["cloud_to_office"]["bytes"].as_u64().expect("a number")
    };
    let counter = Host::new(&lab.towns[0].office, COUNTER);
    let (_, whole) = lab.file("body", 8_000_000);
    let url = format!("http://{SERVICES}/files/body");
    let download = counter.start_download(lab.directory(), &tenant, &url, 1_000_000);
    wait_until("the first tunnel carries it", Duration::from_secs(10), || received("main") > 1_000_000);
    assert_eq!(received("backup"), 0);
    let reload = |tunnels: &[String]| {
        hall.files.put_text(TENANT, &hall::tenant(&lab.towns[0].plan, tunnels));
        hall.must(&["reload"]);
    };
    reload(&tunnels[1..]);
    wait_until("the second tunnel carries it", Duration::from_secs(10), || received("backup") > 1_000_000);
    let download = download.finish();
    assert_eq!((download.sha256.as_str(), download.connections), (whole.as_str(), 1));
    // The first one is back, and preferred.
    reload(&tunnels);
    relay.wait_for_tunnels(2);
    let before = received("main");
    assert_eq!(counter.download(&url).sha256, whole);
    assert!(received("main") > before + 8_000_000);
}
