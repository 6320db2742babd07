//! Facts about one interface -> findings, and the driver it would get.

use std::fmt::Write as _;

use dataplane::nic::inspect::{InterfaceFacts, Queues};
use dataplane::nic::{Driver, MAX_MTU, NicError};

use super::machine::MachineFacts;
use super::request::WantedPort;
use super::{Choice, Finding, Probe, Verdict};

/// The second tag of QinQ, which the kernel counts into the MTU; it grants the first by itself.
const SECOND_TAG: u32 = 4;
/// A burst of this many frames between two polls is lost in nobody's ring.
const GOOD_RING: u32 = 1024;
/// Work that hides from AF_XDP what it needs to see.
const HIDES_FRAMES: [(&str, &str); 2] = [("rx-lro", "lro"), ("rx-vlan-hw-parse", "rxvlan")];
/// Offloads that matter: the kernel's name, and what `ethtool -K` calls it.
const OFFLOADS: [(&str, &str); 9] = [
    ("rx-checksum", "rx"),
    ("tx-checksum-ip-generic", "tx"),
    ("tx-tcp-segmentation", "tso"),
    ("tx-udp-segmentation", "tx-udp-segmentation"),
    ("tx-generic-segmentation", "gso"),
    ("rx-gro", "gro"),
    ("rx-lro", "lro"),
    ("rx-vlan-hw-parse", "rxvlan"),
    ("tx-vlan-hw-insert", "txvlan"),
];

/// All verdicts about an interface but that on its driver.
#[must_use]
pub fn judge(facts: &InterfaceFacts, wanted: &WantedPort, probe: &Probe) -> Vec<Finding> {
    let mut findings = vec![usage(facts, wanted), device(facts), link(facts, wanted)];
    if wanted.as_port {
        findings.push(mtu(facts, wanted));
    }
    findings.extend([queues(facts), rings(facts, wanted), offloads(facts, wanted), xdp(facts, probe)]);
    findings
}

fn finding(facts: &InterfaceFacts, about: &'static str, verdict: Verdict, found: impl Into<String>) -> Finding {
    Finding::new(&facts.name, about, verdict, found)
}

/// Why an interface must be left alone even for a moment, if it must.
#[must_use]
pub fn why_not_to_touch(facts: &InterfaceFacts) -> Option<&'static str> {
    if facts.address.is_some() {
        return Some("it carries an address");
    }
    if facts.route.is_some() {
        return Some("a route leaves by it");
    }
    if facts.master.is_some() {
        return Some("it belongs to a bridge or bond");
    }
    if facts.has_xdp_program {
        return Some("an XDP program is attached: a relay runs there, or another program");
    }
    if facts.listeners > 0 {
        return Some("a program receives all its frames: a relay, or a capture");
    }
    (!facts.is_up).then_some("it is down")
}

/// The kernel's own use, which the relay refuses in the same words.
fn refusal(facts: &InterfaceFacts) -> Option<NicError> {
    let interface = || facts.name.clone();
    if let Some(master) = &facts.master {
        return Some(NicError::Slave { interface: interface(), master: master.clone() });
    }
    if let Some(address) = facts.address {
        return Some(NicError::HasAddress { interface: interface(), address });
    }
    facts.route.as_ref().map(|route| NicError::HasRoute { interface: interface(), route: route.clone() })
}

fn usage(facts: &InterfaceFacts, wanted: &WantedPort) -> Finding {
    let used = match (&facts.master, facts.address, &facts.route) {
        (Some(master), ..) => format!("belongs to {master}"),
        (_, Some(address), _) => format!("carries {address}"),
        (.., Some(route)) => format!("the route {route} leaves by it"),
        _ if facts.has_xdp_program || facts.listeners > 0 => {
            return finding(facts, "use", Verdict::Ok, "in the hands of a program that reads frames")
                .advice("if that is the relay, all is well: `chukei show ports` tells its driver; if not, end the other one first");
        }
        _ => return finding(facts, "use", Verdict::Ok, "free"),
    };
    match refusal(facts).filter(|_| wanted.as_port) {
        Some(refused) => {
            let finding = finding(facts, "use", Verdict::Problem, used).advice(refused.to_string());
            match refused {
                NicError::Slave { .. } => finding.command(format!("ip link set dev {} nomaster", facts.name)),
                // An address or a route may be how whoever reads this came here: nothing to paste takes it away.
                _ => finding,
            }
        }
        None => finding(facts, "use", Verdict::Ok, format!("{used}: the kernel's, such as for management")),
    }
}

fn device(facts: &InterfaceFacts) -> Finding {
    let mut found = facts.driver.clone().or_else(|| facts.kind.clone()).unwrap_or_else(|| "unknown".into());
    if let Some(firmware) = &facts.firmware {
        let _ = write!(found, ", firmware {firmware}");
    }
    if facts.driver.is_none() && facts.kind.is_none() {
        return finding(facts, "device", Verdict::Unseen, found).advice("its driver does not say who it is");
    }
    finding(facts, "device", Verdict::Ok, found)
}

fn link(facts: &InterfaceFacts, wanted: &WantedPort) -> Finding {
    if !facts.is_up {
        return finding(facts, "link", Verdict::Ok, "down").advice(if wanted.as_port {
            "the relay brings it up; before that neither its cable nor its XDP modes can be seen"
        } else {
            ""
        });
    }
    if !facts.is_running {
        let verdict = if wanted.as_port { Verdict::Problem } else { Verdict::Ok };
        return finding(facts, "link", verdict, "up, no carrier").advice(if wanted.as_port {
            "plug the cable in, or switch its other end on"
        } else {
            ""
        });
    }
    finding(facts, "link", Verdict::Ok, facts.speed_mbit.map_or_else(|| "up, speed unknown".into(), |speed| format!("up, {speed} Mbit/s")))
}

fn mtu(facts: &InterfaceFacts, wanted: &WantedPort) -> Finding {
    let least = u32::from(wanted.mtu);
    let needed = least + if wanted.two_tags == Some(true) { SECOND_TAG } else { 0 };
    let found = facts.mtu.to_string();
    let set = |mtu: u32| format!("ip link set dev {} mtu {mtu}", facts.name);
    if let Some(most) = facts.most_mtu.filter(|most| *most < needed) {
        return finding(facts, "mtu", Verdict::Problem, format!("{found}, {most} at most")).advice(format!(
            "packets of full size take {needed}, and the driver carries no more: lower `mtu` of the port to {}",
            most - (needed - least).min(most)
        ));
    }
    if facts.mtu < least {
        return finding(facts, "mtu", Verdict::Problem, found)
            .advice(format!("the port is to carry {least} bytes; raise it, or lower `mtu` of the port"))
            .command(set(needed));
    }
    if facts.mtu > u32::from(MAX_MTU) {
        return finding(facts, "mtu", Verdict::Warning, found)
            .advice(format!("AF_XDP carries {MAX_MTU} at most, so this port gets AF_PACKET, or none with `driver: af_xdp`"))
            .command(set(needed));
    }
    if facts.mtu < needed {
        return finding(facts, "mtu", Verdict::Problem, found)
            .advice("tenants of this port have two VLAN tags (QinQ), and the kernel grants one: packets of full size are lost")
            .command(set(needed));
    }
    let finding = finding(facts, "mtu", Verdict::Ok, found);
    if wanted.two_tags.is_none() && facts.mtu < least + SECOND_TAG {
        let command = set(least + SECOND_TAG);
        return finding.advice(format!("enough for one VLAN tag; with two (QinQ) packets of full size need: `{command}`"));
    }
    finding
}

fn queues(facts: &InterfaceFacts) -> Finding {
    let Some(Queues { receiving, transmitting, most_receiving, most_transmitting, .. }) = facts.queues else {
        return finding(facts, "queues", Verdict::Ok, "one, without a setting");
    };
    let found = format!("receive {receiving} of {most_receiving}, transmit {transmitting} of {most_transmitting}");
    finding(facts, "queues", Verdict::Ok, found)
}

fn rings(facts: &InterfaceFacts, wanted: &WantedPort) -> Finding {
    let Some(rings) = facts.rings else { return finding(facts, "rings", Verdict::Ok, "without a setting") };
    let found = format!("receive {} of {}, transmit {} of {}", rings.receive, rings.most_receive, rings.transmit, rings.most_transmit);
    let better = rings.most_receive.min(2 * GOOD_RING);
    if wanted.as_port && rings.receive < GOOD_RING && rings.most_receive > rings.receive {
        return finding(facts, "rings", Verdict::Warning, found)
            .advice("a burst that arrives while the worker is busy overflows so short a ring:")
            .command(format!("ethtool -G {} rx {better}", facts.name));
    }
    finding(facts, "rings", Verdict::Ok, found)
}

/// Offloads that hide frames and cannot be switched off.
fn in_the_way(facts: &InterfaceFacts) -> Vec<&'static str> {
    let stuck = |name: &str| facts.feature(name).is_some_and(|feature| feature.on && feature.fixed);
    HIDES_FRAMES.iter().filter(|(kernel, _)| stuck(kernel)).map(|(_, name)| *name).collect()
}

fn offloads(facts: &InterfaceFacts, wanted: &WantedPort) -> Finding {
    if facts.features.is_empty() {
        return finding(facts, "offloads", Verdict::Unseen, "the kernel does not say")
            .advice("see for yourself what is on, most of all lro and rxvlan, which AF_XDP cannot live with:")
            .command(format!("ethtool -k {}", facts.name));
    }
    let on: Vec<&str> = OFFLOADS.iter().filter(|(kernel, _)| facts.is_on(kernel)).map(|(_, name)| *name).collect();
    let found = if on.is_empty() { "all off".to_owned() } else { format!("on: {}", on.join(" ")) };
    let stuck = in_the_way(facts);
    if !stuck.is_empty() && wanted.as_port {
        let verdict = if wanted.driver == Driver::AfXdp { Verdict::Problem } else { Verdict::Warning };
        return finding(facts, "offloads", verdict, found).advice(format!(
            "{} cannot be switched off and hides from AF_XDP what it needs to see: this port works with AF_PACKET only",
            stuck.join(" and ")
        ));
    }
    finding(facts, "offloads", Verdict::Ok, found)
}

fn xdp(facts: &InterfaceFacts, probe: &Probe) -> Finding {
    match (probe, facts.xdp) {
        (Probe::Tried(Ok(got)), _) => finding(facts, "xdp", Verdict::Ok, got.mode.as_str()).advice(&*got.reason),
        (Probe::Tried(Err(error)), _) => {
            finding(facts, "xdp", Verdict::Warning, "no AF_XDP").advice(format!("AF_XDP was tried and does not work here: {error}"))
        }
        (Probe::Forbidden, _) => finding(facts, "xdp", Verdict::Unseen, "not tried")
            .advice("only root may:")
            .command(format!("sudo chukei doctor {}", facts.name)),
        (Probe::NotTried(reason), Some(xdp)) => {
            let modes = if xdp.zero_copy {
                "zero-copy, native, generic"
            } else if xdp.native {
                "native (copy), generic"
            } else {
                "generic only"
            };
            finding(facts, "xdp", Verdict::Ok, format!("{modes} (as the driver says; not tried: {reason})"))
        }
        (Probe::NotTried(reason), None) => finding(facts, "xdp", Verdict::Unseen, format!("not tried: {reason}"))
            .advice("before Linux 6.3 a driver cannot be asked; once the interface is free and up:")
            .command(format!("chukei doctor {}", facts.name)),
    }
}

/// Why AF_XDP does not work on the interface, if it does not.
fn af_xdp_fault(facts: &InterfaceFacts, probe: &Probe, machine: &MachineFacts) -> Option<String> {
    if machine.has_af_xdp == Some(false) {
        return Some("this kernel was built without AF_XDP".into());
    }
    if facts.mtu > u32::from(MAX_MTU) {
        return Some(format!("AF_XDP carries an MTU of {MAX_MTU} at most"));
    }
    if let Some(offload) = in_the_way(facts).first() {
        return Some(format!("{offload} cannot be switched off, which AF_XDP needs"));
    }
    if let Probe::Tried(Err(error)) = probe {
        return Some(format!("AF_XDP does not work here: {error}"));
    }
    None
}

/// What `driver: auto` would take, as [`dataplane::nic::open_ports`] does: AF_XDP where it does not copy; else AF_PACKET where the port
/// deals in super-frames; else AF_XDP; else AF_PACKET.
#[must_use]
pub fn choose(facts: &InterfaceFacts, probe: &Probe, machine: &MachineFacts) -> Choice {
    let af_packet = |reason: String| Choice { driver: "af_packet", reason };
    if let Some(fault) = af_xdp_fault(facts, probe, machine) {
        return af_packet(fault);
    }
    let (zero_copy, how) = match probe {
        Probe::Tried(Ok(got)) => (Some(got.mode == "zero-copy"), format!("tried: {}", got.mode)),
        Probe::Tried(Err(_)) | Probe::NotTried(_) | Probe::Forbidden => (facts.xdp.map(|xdp| xdp.zero_copy), "not tried".into()),
    };
    match zero_copy {
        Some(true) => Choice { driver: "af_xdp", reason: format!("it needs no copy here ({how})") },
        Some(false) if facts.is_on("tx-tcp-segmentation") => {
            af_packet(format!("AF_XDP would copy here ({how}), and super-frames (tso) carry more than that"))
        }
        None if facts.is_on("tx-tcp-segmentation") => {
            af_packet(format!("super-frames (tso) carry more than AF_XDP that copies; if it need not copy, it is taken ({how})"))
        }
        Some(false) | None => Choice { driver: "af_xdp", reason: format!("without super-frames (tso) it carries more ({how})") },
    }
}

/// The verdict on the driver that an interface would get.
#[must_use]
pub fn driver_finding(facts: &InterfaceFacts, wanted: &WantedPort, probe: &Probe, machine: &MachineFacts) -> Finding {
    let choice = choose(facts, probe, machine);
    let found = |asked: &str| format!("the configuration asks for {asked}; auto would take {}", choice.driver);
    match (wanted.driver, af_xdp_fault(facts, probe, machine)) {
        (Driver::Auto, _) => finding(facts, "driver", Verdict::Ok, format!("auto takes {}", choice.driver)).advice(choice.reason),
        (Driver::AfXdp, Some(fault)) => {
            finding(facts, "driver", Verdict::Problem, found("af_xdp")).advice(format!("{fault}; write `driver: auto` for this port"))
        }
        (Driver::AfXdp, None) => finding(facts, "driver", Verdict::Ok, found("af_xdp")).advice(choice.reason),
        (Driver::AfPacket, _) => finding(facts, "driver", Verdict::Ok, found("af_packet")).advice(choice.reason),
    }
}
