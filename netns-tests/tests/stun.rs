//! Somebody else's judge of the NAT: Debian's STUN client (RFC 3489) at an office's counter, and its server with two addresses in the
//! cloud, find out for themselves what stands between them.

use std::net::Ipv4Addr;
use std::time::Duration;

use controlplane::demo::in_namespace;
use netns_tests::plan::{NAPT_POOL, RESIDENTS, TAX, three_municipalities};
use netns_tests::process::{Running, output, wait_until};
use netns_tests::relay::{Driver, relay_among};
use netns_tests::topology::Town;

/// The server's ports.
const PORTS: [u16; 2] = [3_478, 3_479];
/// The client gives every question 5 seconds, and has a dozen.
const CLASSIFICATION: Duration = Duration::from_secs(90);

/// What the client says about the NAT of a relay whose service filters so, and whose hosts may or may not reach each other.
fn classified(filtering: &str, hairpin: bool) -> String {
    let mut plan = three_municipalities().remove(0);
    // RFC 3489: the server names its other address itself, so that both have to be those that the office knows.
    let allow = format!("udp/{}-{}", PORTS[0], PORTS[1]);
    plan.services.push(format!("{{name: STUN, class: mynumber, private: [{RESIDENTS}, {TAX}], allow: [{allow}], filtering: {filtering}}}"));
    if hairpin {
        let pool = format!("private: [{NAPT_POOL}], allow: [udp/1024-65535], hairpin: true, filtering: {filtering}");
        plan.services.push(format!("{{name: 庁内相互, class: mynumber, {pool}}}"));
    }
    let (lab, _relay) = relay_among(vec![plan], Driver::AfPacket);
    let town = &lab.towns[0];
    let (first, second) = (RESIDENTS.to_string(), TAX.to_string());
    let (port, other_port) = (PORTS[0].to_string(), PORTS[1].to_string());
    let arguments = ["-h", &first, "-a", &second, "-p", &port, "-o", &other_port];
    let _server = Running::start(&town.cloud, lab.directory(), "stund", "stund", &arguments);
    wait_until("the STUN server listens", Duration::from_secs(10), || listens(town));
    let client = town.plan.counter().to_string();
    let output = output(&town.office, CLASSIFICATION, "stun", &[&format!("{RESIDENTS}:{port}"), "-i", &client]);
    // Its exit status is the verdict, too.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let verdict = text.lines().find_map(|line| line.strip_prefix("Primary:"));
    verdict.unwrap_or_else(|| panic!("no verdict: {text}{}", String::from_utf8_lossy(&output.stderr))).trim().to_owned()
}

/// The server has all four of its sockets.
fn listens(town: &Town) -> bool {
    let read = || std::fs::read_to_string("/proc/thread-self/net/udp").expect("the kernel lists sockets");
    let table = in_namespace(&town.cloud, read).expect("enter the cloud");
    // proc_net(5): an address is written as the machine reads its bytes.
    let socket = |address: Ipv4Addr, port: u16| format!(" {:08X}:{port:04X} ", u32::from_ne_bytes(address.octets()));
    [RESIDENTS, TAX].into_iter().all(|address| PORTS.into_iter().all(|port| table.contains(&socket(address, port))))
}

#[test]
fn debians_stun_client_finds_what_the_service_says() {
    assert_eq!(classified("endpoint-independent", false), "Independent Mapping, Independent Filter, random port, no hairpin");
    assert_eq!(classified("address-dependent", false), "Independent Mapping, Address Dependent Filter, random port, no hairpin");
    assert_eq!(classified("address-and-port-dependent", false), "Independent Mapping, Port Dependent Filter, random port, no hairpin");
    assert_eq!(classified("endpoint-independent", true), "Independent Mapping, Independent Filter, random port, will hairpin");
}
