//! The kernel's NAT: nftables and conntrack between two veth pairs, in a namespace of the test's own. Their far ends are two ports of the
//! relay's AF_PACKET driver, which hides whatever arrives there from the kernel.

use dataplane::nic::Driver;
use dataplane::simulation::at;
use dataplane::simulation::packets::udp;

use crate::support::{Station, output, sh, veth, wait_for_cable};
use crate::witness::{Nat, Side};

/// What the tenant file of `ours.rs` says, for nftables. Marks (port 9) pass by untracked: behind one nothing of a step is left.
const RULES: &str = r#"
table ip judge {
    chain untracked {
        type filter hook prerouting priority raw; policy accept;
        udp dport 9 ip saddr { 198.51.100.99, 10.10.9.9 } notrack
    }
    chain destinations {
        type nat hook prerouting priority dstnat; policy accept;
        iifname "office" ip saddr 198.51.100.16/29 ip daddr 203.0.113.10 meta l4proto { tcp, udp } th dport 443 dnat to 10.10.0.10
        iifname "office" ip saddr 198.51.100.16/29 ip daddr 203.0.113.10 icmp type echo-request dnat to 10.10.0.10
        iifname "office" ip saddr 198.51.100.16/29 ip daddr 203.0.113.11 meta l4proto { tcp, udp } th dport 2000-2099 dnat to 10.10.0.11
        iifname "cloud" ip saddr 10.10.0.20 ip daddr 10.254.1.30 tcp dport 9100 dnat to 198.51.100.17
        iifname "cloud" ip saddr 10.10.0.20 ip daddr 10.254.1.30 udp dport 9100 dnat to 198.51.100.17:19100
        iifname "cloud" ip saddr 10.10.0.20 ip daddr 10.254.1.30 udp dport 9101 dnat to 198.51.100.17:19101
        iifname "cloud" ip saddr 10.10.0.20 ip daddr 10.254.1.30 icmp type echo-request dnat to 198.51.100.17
    }
    chain sources {
        type nat hook postrouting priority srcnat; policy accept;
        oifname "cloud" ip saddr 198.51.100.16/29 snat to 10.254.1.8-10.254.1.11 fully-random,persistent
        oifname "cloud" ip saddr 198.51.100.25 snat to 10.254.1.20
        oifname "cloud" ip saddr 198.51.100.26 snat to 10.254.1.21
        oifname "office" ip saddr 10.10.0.20 snat to 203.0.113.20 fully-random
    }
    chain opens {
        iifname "office" ct status dnat accept
        iifname "office" ip saddr 198.51.100.25-198.51.100.26 ip daddr 10.10.4.0/24 meta l4proto { tcp, udp } th dport 443 accept
        iifname "office" ip saddr 198.51.100.25-198.51.100.26 ip daddr 10.10.4.0/24 icmp type echo-request accept
        iifname "office" ip saddr 198.51.100.16/29 ip daddr 10.254.1.8/30 udp dport 1024-65535 accept
        iifname "cloud" ct status dnat accept
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        udp dport 9 ct state untracked accept
        ct state invalid drop
        tcp flags syn tcp option maxseg size set rt mtu
        icmp type { redirect, source-quench } drop
        ct state { established, related } accept
        ct status confirmed accept
        ip protocol tcp tcp flags & (fin | syn | rst | ack) == syn jump opens
        meta l4proto { udp, icmp } jump opens
    }
    chain input {
        type filter hook input priority filter; policy drop;
        iifname "cloud" ip daddr 10.254.1.2 icmp type echo-request accept
    }
}
"#;

/// Addresses, routes, and nothing of its own that a NAT need not do.
const SETTINGS: &str = "
    sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.icmp_ratelimit=0 net.ipv4.conf.all.send_redirects=0
    for end in office cloud; do
        sysctl -qw net.ipv4.conf.$end.rp_filter=0 net.ipv4.conf.$end.send_redirects=0
    done
    ip link set office mtu 1420
    ip address add 203.0.113.1/32 dev office
    ip address add 10.254.1.2/32 dev cloud
    ip route add 198.51.100.0/24 dev office
    ip route add 203.0.113.20/32 dev office
    ip route add default dev cloud
";

pub(crate) struct Kernel {
    office: (Station, [u8; 6]),
    cloud: (Station, [u8; 6]),
    marks: u32,
}

impl Kernel {
    pub(crate) fn new() -> Self {
        for (far, near) in [("judge0", "office"), ("judge1", "cloud")] {
            veth(far, near);
        }
        sh(SETTINGS);
        let rules = std::env::temp_dir().join(format!("chukei-judge-{}.nft", std::process::id()));
        std::fs::write(&rules, RULES).expect("a temporary file");
        sh(&format!("nft --file {}", rules.display()));
        std::fs::remove_file(rules).expect("the same file");
        let stations = [("judge0", "office"), ("judge1", "cloud")].map(|(far, near)| {
            let station = Station::new(far, Driver::AfPacket);
            wait_for_cable(far);
            wait_for_cable(near);
            (station, mac(near))
        });
        let [office, cloud] = stations;
        Self { office, cloud, marks: 0 }
    }

    fn transmit(&mut self, from: Side, packet: &[u8]) {
        let (station, mac) = if from == Side::Office { &mut self.office } else { &mut self.cloud };
        let frame = [&mac[..], &[2, 0, 0, 0, 0, 9, 8, 0], packet].concat();
        station.send(&[frame]);
    }

    /// What has arrived at both sides, without Ethernet headers.
    fn take(&mut self) -> Vec<(Side, Vec<u8>)> {
        let stations = [(Side::Office, &mut self.office.0), (Side::Cloud, &mut self.cloud.0)];
        let packets = stations.into_iter().flat_map(|(side, station)| station.receive().into_iter().map(move |frame| (side, frame)));
        packets.filter(|(_, frame)| frame[12..14] == [8, 0]).map(|(side, frame)| (side, frame[14..].to_vec())).collect()
    }
}

impl Nat for Kernel {
    fn pass(&mut self, from: Side, packets: &[Vec<u8>]) -> Vec<(Side, Vec<u8>)> {
        packets.iter().for_each(|packet| self.transmit(from, packet));
        self.marks += 1;
        let (source, destination) = if from == Side::Office { (OFFICE_MARK, CLOUD_MARK) } else { (CLOUD_MARK, OFFICE_MARK) };
        self.transmit(from, &udp(at(source), at(destination), &self.marks.to_be_bytes()));
        let mut out = Vec::new();
        let mark = self.marks;
        let is_mark = |(_, packet): &(Side, Vec<u8>)| packet.len() == 32 && packet[22..24] == [0, 9] && packet[28..] == mark.to_be_bytes();
        for _ in 0..2_000 {
            out.extend(self.take());
            if out.iter().any(is_mark) {
                // Whatever else is on its way, should the two ends be looked at in the wrong moment.
                std::thread::sleep(std::time::Duration::from_millis(2));
                out.extend(self.take());
                out.retain(|packet| !is_mark(packet));
                return out;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("mark {mark} did not pass the kernel: {}", output("nft list ruleset; ip -s link"));
    }
}

const OFFICE_MARK: &str = "198.51.100.99:9";
const CLOUD_MARK: &str = "10.10.9.9:9";

fn mac(interface: &str) -> [u8; 6] {
    let text = output(&format!("ip -brief link show dev {interface}"));
    let address = text.split_whitespace().nth(2).expect("name, state, address");
    let bytes: Vec<u8> = address.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal")).collect();
    bytes.try_into().expect("six bytes")
}
