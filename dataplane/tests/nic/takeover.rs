//! Taking ports over and giving them back.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use dataplane::nic::{Driver, NicError};
use dataplane::packet::FramePool;
use etherparse::PacketBuilder;

use crate::support::{Station, in_own_network, open, output, sh, state_directory, veth, wait_for_cable};

/// Wait until the kernel sends what it is given for an interface.
fn wait_until_up(interface: &str) {
    let mut tries = 0;
    while !output(&format!("ip -o link show {interface}")).contains("state UP") {
        assert!(tries < 500, "{interface} stays down");
        tries += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// All that a takeover may change, as the usual tools show it.
fn settings(interface: &str) -> String {
    output(&format!(
        "ip -o link show dev {interface} | grep -o '<.*>' | sed 's/LOWER_UP//;s/NO-CARRIER//;s/,M-DOWN//'; \
         ethtool -k {interface}; cat /proc/sys/net/ipv6/conf/{interface}/disable_ipv6"
    ))
}

fn refused(interface: &str) -> NicError {
    refused_for(interface, Driver::AfPacket)
}

fn refused_for(interface: &str, driver: Driver) -> NicError {
    let mut pool = FramePool::new(64).expect("frames");
    match open(interface, driver, &mut pool) {
        Ok(_) => panic!("{interface} must be refused"),
        Err(error) => error,
    }
}

#[test]
fn what_the_kernel_uses_is_refused_with_a_remedy() {
    in_own_network("takeover::what_the_kernel_uses_is_refused_with_a_remedy", false, || {
        assert!(matches!(refused("nothing"), NicError::Missing { .. }));
        assert!(matches!(refused("a-name-that-is-too-long"), NicError::Missing { .. }));
        assert!(matches!(refused("lo"), NicError::NotEthernet { .. }));
        veth("port", "far");
        let before = settings("port");
        sh("ip address add 198.51.100.1/24 dev port");
        let error = refused("port");
        assert!(matches!(error, NicError::HasAddress { .. }), "{error}");
        assert!(error.to_string().contains("198.51.100.1") && error.to_string().contains("ip address flush dev port"), "{error}");
        sh("ip address flush dev port; ip link set port up; ip address add 2001:db8::1/64 dev port nodad");
        assert!(refused("port").to_string().contains("2001:db8::1"));
        sh("ip address flush dev port; ip route add 203.0.113.0/24 dev port");
        assert!(refused("port").to_string().contains("203.0.113.0/24"));
        sh("ip route flush dev port; ip link add bridge type bridge; ip link set port master bridge");
        assert!(refused("port").to_string().contains("`bridge`"));
        sh("ip link set port nomaster; ip link set port mtu 1400");
        let error = refused("port");
        assert!(error.to_string().contains("ip link set dev port mtu 1500"), "{error}");
        sh("ip link set port down mtu 1500");
        assert_eq!(settings("port"), before, "a refusal changes nothing");
    });
}

#[test]
fn a_port_is_given_back_as_it_was_and_only_one_relay_has_it() {
    in_own_network("takeover::a_port_is_given_back_as_it_was_and_only_one_relay_has_it", false, || {
        // AF_PACKET deals in super-frames, where whoever set the port up wants them.
        let of_frames = ["tx-checksumming", "tx-tcp-segmentation", "generic-segmentation-offload", "tx-udp-segmentation"];
        is_given_back(Driver::AfPacket, &of_frames.map(|name| format!("{name}: on")));
    });
}

#[test]
fn a_port_of_af_xdp_is_given_back_as_it_was_and_has_no_offloads_meanwhile() {
    in_own_network("takeover::a_port_of_af_xdp_is_given_back_as_it_was_and_has_no_offloads_meanwhile", true, || {
        let of_frames = ["tx-checksumming", "tx-tcp-segmentation", "generic-receive-offload", "tx-udp-segmentation"];
        is_given_back(Driver::AfXdp, &of_frames.map(|name| format!("{name}: off")));
    });
}

fn is_given_back(driver: Driver, expected: &[String]) {
    for up in ["down", "up"] {
        veth("port", "far");
        sh(&format!("ip link set port {up}"));
        let before = settings("port");
        let relay = Station::new("port", driver);
        let during = settings("port");
        assert_ne!(during, before);
        for text in expected.iter().map(String::as_str).chain(["rx-vlan-offload: off", "tx-vlan-offload: off", "NOARP"]) {
            assert!(during.contains(text), "{text} is missing in {during}");
        }
        assert!(during.ends_with("1\n"), "IPv6 is off");
        assert!(matches!(refused("port"), NicError::Taken { .. }));
        let Station { port, .. } = relay;
        drop(port.queues);
        port.taken.restore().expect("restored");
        assert_eq!(settings("port"), before);
        assert!(!state_directory().join("port").exists());
        sh("ip link del port");
    }
}

/// The process to be killed: it takes the port and waits.
#[test]
fn holder_of_a_port() {
    let driver = match std::env::var("CHUKEI_NIC_TEST_HOLD").as_deref() {
        Ok("af_xdp") => Driver::AfXdp,
        Ok(_) => Driver::AfPacket,
        Err(_) => return,
    };
    let mut pool = FramePool::new(1024).expect("frames");
    let port = open("port", driver, &mut pool).expect("opens");
    println!("\nholding {}", state_directory().display());
    let _ = std::io::stdin().read_line(&mut String::new());
    assert_eq!(port.name, "port-port");
}

/// Take the port in a second process, kill that, and take it over again in this one.
fn heals_what_a_killed_run_left(driver: Driver, name: &str) {
    veth("port", "far");
    let before = settings("port");
    let program = std::env::current_exe().expect("this test");
    let mut child = Command::new(program)
        .args(["takeover::holder_of_a_port", "--exact", "--nocapture"])
        .env("CHUKEI_NIC_TEST_HOLD", name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a second process");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let directory = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("holding ").map(String::from)).expect("it holds");
    assert_eq!(output("ip link show port").contains("xdp"), driver == Driver::AfXdp);
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert_ne!(settings("port"), before, "kill -9 leaves its traces");
    assert!(!output("ip link show port").contains("xdp"), "the program ends with its process");
    assert!(!output("nft list ruleset").contains("chukei"), "and so does the drop");
    std::fs::rename(directory, state_directory()).expect("the next run looks in the same place");

    let Station { port, .. } = Station::new("port", driver);
    drop(port.queues);
    port.taken.restore().expect("restored");
    assert_eq!(settings("port"), before, "the second run gives back what the first one found");
}

#[test]
fn what_a_killed_run_left_is_healed() {
    in_own_network("takeover::what_a_killed_run_left_is_healed", false, || heals_what_a_killed_run_left(Driver::AfPacket, "af_packet"));
}

#[test]
fn what_a_killed_af_xdp_run_left_is_healed() {
    in_own_network("takeover::what_a_killed_af_xdp_run_left_is_healed", true, || heals_what_a_killed_run_left(Driver::AfXdp, "af_xdp"));
}

#[test]
fn af_xdp_reads_one_queue_and_gives_the_others_back() {
    in_own_network("takeover::af_xdp_reads_one_queue_and_gives_the_others_back", true, || {
        sh("ip link add port numrxqueues 4 numtxqueues 4 type veth peer name far; ethtool -L port rx 4; ip link set far up");
        let queues = || output("ethtool -l port | sed -n '/Current/,$p' | grep RX").trim().to_string();
        assert_eq!(queues(), "RX:\t\t4");
        let Station { port, .. } = Station::new("port", Driver::AfXdp);
        assert_eq!(queues(), "RX:\t\t1");
        drop(port.queues);
        port.taken.restore().expect("restored");
        assert_eq!(queues(), "RX:\t\t4");
    });
}

#[test]
fn what_af_xdp_cannot_do_is_refused_with_a_remedy() {
    in_own_network("takeover::what_af_xdp_cannot_do_is_refused_with_a_remedy", true, || {
        veth("port", "far");
        let before = settings("port");
        let error = refused_for("port", Driver::AfXdp);
        assert!(matches!(error, NicError::FewFrames { frames: 32, needed: 128, .. }), "{error}");
        sh("ip link set port mtu 9000");
        let error = refused_for("port", Driver::AfXdp).to_string();
        assert!(error.contains("9000") && error.contains("ip link set dev port mtu 1500"), "{error}");
        sh("ip link set port mtu 1500");
        assert_eq!(settings("port"), before, "a refusal changes nothing");
    });
}

/// A closed UDP port, an unreachable host: the kernel answers them on its own interfaces, and never on one that the relay has.
fn kernel_is_silent_while_the_relay_has_the_port(driver: Driver) {
    // What arrives on `port` for the kernel's address 10.9.9.9 would be answered through `answers`.
    veth("port", "far");
    veth("answers", "answers-far");
    sh("ip address add 10.9.9.9/32 dev lo; ip link set answers up; ip address add 10.8.0.1/24 dev answers; \
            ip neighbour add 10.8.0.5 lladdr 02:00:00:00:00:05 dev answers; \
            sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.port.rp_filter=0; ip link set port address 02:00:00:00:00:01");
    let mut far = Station::new("far", Driver::AfPacket);
    let mut answers = Station::new("answers-far", Driver::AfPacket);
    let mut question = Vec::new();
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 5], [2, 0, 0, 0, 0, 1]).ipv4([10, 8, 0, 5], [10, 9, 9, 9], 64).udp(9, 9);
    builder.write(&mut question, b"anybody there?").expect("a frame");
    let mut answered = |far: &mut Station| {
        answers.receive();
        far.send(&[question.clone()]);
        std::thread::sleep(Duration::from_millis(200));
        answers.receive().iter().any(|frame| frame.get(23) == Some(&1) && frame.get(34..36) == Some(&[3, 3]))
    };

    sh("ip link set port up");
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!far.receive().is_empty(), "a kernel with IPv6 speaks by itself (multicast reports, solicitations)");
    assert!(answered(&mut far), "the kernel answers with port unreachable before");
    sh("ip link set port down");
    far.receive();

    let mut relay = Station::new("port", driver);
    // What is sent before the other end has noticed its carrier is thrown away.
    wait_until_up("far");
    assert!(!answered(&mut far), "and is silent while the relay has the port");
    assert_eq!(relay.receive_until(1), [question.clone()], "though the relay gets the frame");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(far.receive(), Vec::<Vec<u8>>::new(), "nothing the kernel made left the port");

    let Station { port, .. } = relay;
    drop(port.queues);
    port.taken.restore().expect("restored");
    sh("ip link set port up");
    wait_for_cable("far");
    assert!(answered(&mut far), "and answers again afterwards");
}

#[test]
fn the_kernel_is_silent_while_af_packet_has_the_port() {
    in_own_network("takeover::the_kernel_is_silent_while_af_packet_has_the_port", false, || {
        kernel_is_silent_while_the_relay_has_the_port(Driver::AfPacket);
    });
}

#[test]
fn the_kernel_is_silent_while_af_xdp_has_the_port() {
    in_own_network("takeover::the_kernel_is_silent_while_af_xdp_has_the_port", true, || {
        kernel_is_silent_while_the_relay_has_the_port(Driver::AfXdp);
    });
}
