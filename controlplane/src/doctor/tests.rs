//! Facts -> verdicts, the worst machines first.

use dataplane::nic::Driver;
use dataplane::nic::inspect::{AfXdpProbe, Feature, InterfaceFacts, Queues, Rings, XdpFeatures};

use super::machine::{Confinement, HugePages, LockedMemory, MachineFacts, capabilities, chosen, huge_pages, steal};
use super::request::{Needs, WantedPort};
use super::{Finding, Probe, Verdict, judge_interface, judge_machine};

const NEEDS: Needs = Needs { frames: 16_384, ports: 2 };
/// CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF.
const ENOUGH: u64 = 1 << 12 | 1 << 13 | 1 << 39;

/// A machine without fault.
fn good_machine() -> MachineFacts {
    MachineFacts {
        kernel: Some("6.1.0-21-amd64".into()),
        has_af_xdp: Some(true),
        has_nf_tables: Some(true),
        cpus: 8,
        isolated_cpus: Some("2-3".into()),
        steal_basis_points: Some(0),
        hypervisor: Some(String::new()),
        clocksource: Some("tsc".into()),
        huge_pages: Some(HugePages { total: 16, free: 16, size_kib: 2048 }),
        transparent_huge_pages: Some("never".into()),
        locked_memory: LockedMemory::Unlimited,
        memory_limit_bytes: None,
        capabilities: Some(ENOUGH),
        bpf_jit: Some(true),
        confinement: Some(Confinement::default()),
    }
}

/// A port without fault.
fn good_nic() -> InterfaceFacts {
    let names = ["rx-checksum", "rx-gro", "rx-lro", "rx-vlan-hw-parse", "tx-tcp-segmentation"];
    let features = names.map(|name| Feature { name: name.into(), on: name != "rx-lro", fixed: false }).to_vec();
    InterfaceFacts {
        name: "ens4".into(),
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1504,
        most_mtu: Some(9000),
        is_up: true,
        is_running: true,
        kind: None,
        master: None,
        address: None,
        route: None,
        listeners: 0,
        has_xdp_program: false,
        driver: Some("ice".into()),
        firmware: Some("4.40".into()),
        speed_mbit: Some(25_000),
        queues: Some(Queues { receiving: 8, transmitting: 8, most_receiving: 64, most_transmitting: 64, combined: true }),
        rings: Some(Rings { receive: 2048, transmit: 512, most_receive: 8160, most_transmit: 8160 }),
        features,
        xdp: Some(XdpFeatures { native: true, zero_copy: true }),
    }
}

fn port(driver: Driver, two_tags: bool) -> WantedPort {
    WantedPort { interface: "ens4".into(), as_port: true, mtu: 1500, two_tags: Some(two_tags), driver }
}

fn works() -> Probe {
    Probe::Tried(Ok(AfXdpProbe { mode: "zero-copy".into(), reason: "the best there is".into() }))
}

/// What is not ok, as `about: verdict`.
fn faults(findings: &[Finding]) -> Vec<String> {
    let bad = findings.iter().filter(|finding| finding.verdict != Verdict::Ok);
    let fault = |finding: &Finding| {
        assert!(!finding.advice.is_empty(), "{finding:?} says nothing about it");
        format!("{}: {}", finding.about, finding.verdict.label())
    };
    bad.map(fault).collect()
}

fn machine_faults(change: impl FnOnce(&mut MachineFacts)) -> Vec<String> {
    let mut facts = good_machine();
    change(&mut facts);
    faults(&judge_machine::judge(&facts, &NEEDS))
}

fn nic_faults(driver: Driver, change: impl FnOnce(&mut InterfaceFacts)) -> Vec<String> {
    let mut facts = good_nic();
    change(&mut facts);
    faults(&judge_interface::judge(&facts, &port(driver, true), &works()))
}

fn command(findings: &[Finding], about: &str) -> String {
    findings.iter().find(|finding| finding.about == about).and_then(|finding| finding.command.clone()).unwrap_or_default()
}

#[test]
fn the_worst_machine_is_told_everything_at_once_with_the_commands_that_mend_it() {
    let facts = MachineFacts {
        kernel: Some("4.18.0-553.el8".into()),
        has_af_xdp: Some(false),
        has_nf_tables: Some(false),
        cpus: 1,
        isolated_cpus: Some(String::new()),
        steal_basis_points: Some(2_345),
        hypervisor: Some("QEMU Standard PC".into()),
        clocksource: Some("hpet".into()),
        huge_pages: Some(HugePages { total: 3, free: 0, size_kib: 2048 }),
        transparent_huge_pages: Some("never".into()),
        locked_memory: LockedMemory::Bytes(64 << 10),
        memory_limit_bytes: Some(128 << 20),
        capabilities: Some(0),
        bpf_jit: Some(false),
        confinement: Some(Confinement { landlock: Some("Landlock is switched off".into()), seccomp: Some("no filter".into()) }),
    };
    let findings = judge_machine::judge(&facts, &NEEDS);
    assert_eq!(
        faults(&findings),
        [
            "kernel: PROBLEM",
            "af_xdp: warning",
            "nf_tables: PROBLEM",
            "privileges: unseen",
            "landlock: PROBLEM",
            "seccomp: PROBLEM",
            "cpus: warning",
            "hypervisor: warning",
            "clocksource: warning",
            "bpf_jit: warning",
            "huge_pages: warning",
            "memlock: warning",
            "memory_limit: warning",
        ]
    );
    assert_eq!(command(&findings, "huge_pages"), "sysctl -w vm.nr_hugepages=16");
    assert_eq!(command(&findings, "memory_limit"), "systemctl set-property chukei.service MemoryMax=544M");
    assert!(findings.iter().any(|finding| finding.found == "QEMU Standard PC, 23.45% of the time given to others"));
}

#[test]
fn a_machine_that_shows_nothing_is_unseen_and_not_praised() {
    let findings = judge_machine::judge(&MachineFacts { cpus: 2, ..MachineFacts::default() }, &NEEDS);
    let praised: Vec<_> = findings.iter().filter(|finding| finding.verdict == Verdict::Ok).map(|finding| finding.about).collect();
    // What has no value here is known to be without limit.
    assert_eq!(praised, ["cpus", "memlock", "memory_limit"]);
    assert!(findings.iter().all(|finding| finding.verdict <= Verdict::Unseen), "{findings:#?}");
}

#[test]
fn a_good_machine_is_praised_throughout_and_each_fault_of_it_is_told_alone() {
    assert_eq!(machine_faults(|_| {}), [""; 0]);
    assert_eq!(machine_faults(|facts| facts.kernel = Some("5.11.22".into())), ["kernel: PROBLEM"]);
    assert_eq!(machine_faults(|facts| facts.kernel = Some("5.12.0".into())), [""; 0]);
    assert_eq!(machine_faults(|facts| facts.kernel = Some("10.0".into())), [""; 0]);
    assert_eq!(machine_faults(|facts| facts.isolated_cpus = Some(String::new())), ["cpus: warning"]);
    assert_eq!(machine_faults(|facts| facts.steal_basis_points = Some(9_999)), [""; 0], "no hypervisor steals on hardware");
    assert_eq!(machine_faults(|facts| facts.capabilities = Some(1 << 12 | 1 << 13 | 1 << 21)), [""; 0], "CAP_SYS_ADMIN contains CAP_BPF");
    assert_eq!(machine_faults(|facts| facts.capabilities = Some(1 << 12 | 1 << 39)), ["privileges: unseen"]);
    assert_eq!(machine_faults(|facts| facts.transparent_huge_pages = Some("madvise".into())), [""; 0]);
}

#[test]
fn locked_memory_counts_the_frames_once_a_port_unless_the_process_may_lock_what_it_likes() {
    let enough = 16_384 * 2 * 1024 * 2;
    assert_eq!(machine_faults(|facts| facts.locked_memory = LockedMemory::Bytes(enough)), [""; 0]);
    assert_eq!(machine_faults(|facts| facts.locked_memory = LockedMemory::Bytes(enough - 1024)), ["memlock: warning"]);
    let locks_anything =
        |facts: &mut MachineFacts| (facts.locked_memory, facts.capabilities) = (LockedMemory::Bytes(0), Some(ENOUGH | 1 << 14));
    assert_eq!(machine_faults(locks_anything), [""; 0]);
}

#[test]
fn an_interface_that_the_kernel_uses_is_refused_as_a_port_and_left_alone_otherwise() {
    let mut facts = good_nic();
    facts.address = Some("192.0.2.7".parse().expect("an address"));
    let findings = judge_interface::judge(&facts, &port(Driver::Auto, false), &Probe::NotTried("it carries an address"));
    assert_eq!(faults(&findings), ["use: PROBLEM"]);
    assert_eq!(findings.iter().find_map(|finding| finding.command.as_deref()), None, "nobody locks himself out by a pasted command");
    let described = WantedPort { as_port: false, ..port(Driver::Auto, false) };
    let findings = judge_interface::judge(&facts, &described, &Probe::NotTried("not named as a port"));
    assert_eq!(faults(&findings), [""; 0]);
    assert_eq!(findings[0].found, "carries 192.0.2.7: the kernel's, such as for management");
    assert_eq!(nic_faults(Driver::Auto, |facts| facts.route = Some("10.0.0.0/8".into())), ["use: PROBLEM"]);
    assert_eq!(nic_faults(Driver::Auto, |facts| facts.master = Some("br0".into())), ["use: PROBLEM"]);
}

#[test]
fn an_interface_in_use_is_never_tried() {
    type Change = fn(&mut InterfaceFacts);
    let uses: [Change; 6] = [
        |facts| facts.address = Some("fd00::1".parse().expect("an address")),
        |facts| facts.route = Some("0.0.0.0/0".into()),
        |facts| facts.master = Some("bond0".into()),
        |facts| facts.listeners = 1,
        |facts| facts.has_xdp_program = true,
        |facts| facts.is_up = false,
    ];
    for (number, change) in uses.iter().enumerate() {
        let mut facts = good_nic();
        change(&mut facts);
        assert!(judge_interface::why_not_to_touch(&facts).is_some(), "{number}");
    }
    assert_eq!(judge_interface::why_not_to_touch(&good_nic()), None);
}

#[test]
fn the_mtu_has_room_for_the_second_tag_where_there_is_one() {
    assert_eq!(nic_faults(Driver::Auto, |_| {}), [""; 0]);
    assert_eq!(nic_faults(Driver::Auto, |facts| facts.mtu = 1503), ["mtu: PROBLEM"]);
    assert_eq!(nic_faults(Driver::Auto, |facts| facts.mtu = 576), ["mtu: PROBLEM"]);
    assert_eq!(nic_faults(Driver::Auto, |facts| facts.mtu = 9000), ["mtu: warning"]);
    assert_eq!(nic_faults(Driver::Auto, |facts| (facts.mtu, facts.most_mtu) = (1500, Some(1500))), ["mtu: PROBLEM"]);
    let mut facts = good_nic();
    facts.mtu = 1500;
    let findings = judge_interface::judge(&facts, &port(Driver::Auto, true), &works());
    assert_eq!(command(&findings, "mtu"), "ip link set dev ens4 mtu 1504");
    assert_eq!(faults(&judge_interface::judge(&facts, &port(Driver::Auto, false), &works())), [""; 0]);
}

#[test]
fn links_and_rings_are_judged() {
    assert_eq!(nic_faults(Driver::Auto, |facts| facts.is_running = false), ["link: PROBLEM"]);
    let short =
        |facts: &mut InterfaceFacts| facts.rings = Some(Rings { receive: 256, transmit: 256, most_receive: 4096, most_transmit: 4096 });
    assert_eq!(nic_faults(Driver::Auto, short), ["rings: warning"]);
    let shortest =
        |facts: &mut InterfaceFacts| facts.rings = Some(Rings { receive: 256, transmit: 256, most_receive: 256, most_transmit: 256 });
    assert_eq!(nic_faults(Driver::Auto, shortest), [""; 0], "there is nothing to change");
    assert_eq!(
        nic_faults(Driver::Auto, |facts| (facts.driver, facts.features) = (None, Vec::new())),
        ["device: unseen", "offloads: unseen"]
    );
}

#[test]
fn an_offload_that_is_fixed_on_closes_af_xdp() {
    let stuck = |facts: &mut InterfaceFacts| facts.features[2] = Feature { name: "rx-lro".into(), on: true, fixed: true };
    assert_eq!(nic_faults(Driver::Auto, stuck), ["offloads: warning"]);
    assert_eq!(nic_faults(Driver::AfXdp, stuck), ["offloads: PROBLEM"]);
    let mut facts = good_nic();
    stuck(&mut facts);
    let choice = judge_interface::choose(&facts, &works(), &good_machine());
    assert_eq!((choice.driver, choice.reason.as_str()), ("af_packet", "lro cannot be switched off, which AF_XDP needs"));
    let finding = judge_interface::driver_finding(&facts, &port(Driver::AfXdp, false), &works(), &good_machine());
    assert_eq!(finding.verdict, Verdict::Problem);
}

#[test]
fn auto_takes_what_carries_most_and_the_other_is_no_problem_where_it_is_asked_for() {
    let tried = |mode: &str| Probe::Tried(Ok(AfXdpProbe { mode: mode.into(), reason: String::new() }));
    let chosen = |probe: &Probe, tso: bool, xdp: Option<XdpFeatures>| {
        let mut facts = good_nic();
        facts.features[4].on = tso;
        facts.xdp = xdp;
        let asked = judge_interface::driver_finding(&facts, &port(Driver::AfXdp, false), probe, &good_machine());
        let works = !matches!(probe, Probe::Tried(Err(_)));
        assert_eq!(asked.verdict, if works { Verdict::Ok } else { Verdict::Problem });
        judge_interface::choose(&facts, probe, &good_machine()).driver
    };
    let copies = Some(XdpFeatures { native: true, zero_copy: false });
    assert_eq!(chosen(&Probe::Tried(Err("refused".into())), false, copies), "af_packet");
    assert_eq!(chosen(&tried("zero-copy"), true, None), "af_xdp");
    assert_eq!(chosen(&tried("copy (native)"), true, None), "af_packet");
    assert_eq!(chosen(&tried("copy (generic)"), false, None), "af_xdp");
    assert_eq!(chosen(&Probe::Forbidden, true, copies), "af_packet");
    assert_eq!(chosen(&Probe::Forbidden, true, None), "af_packet");
    assert_eq!(chosen(&Probe::Forbidden, true, good_nic().xdp), "af_xdp");
    assert_eq!(chosen(&Probe::Forbidden, false, None), "af_xdp");
}

#[test]
fn what_is_read_from_proc_is_read_with_care() {
    assert_eq!(steal("cpu  100 0 100 700 0 0 0 100 50 0\ncpu0 1 2"), Some(1_000));
    assert_eq!(steal("cpu  1 2 3"), None);
    assert_eq!(steal("cpu  0 0 0 0 0 0 0 0"), None);
    assert_eq!(chosen("always [madvise] never").as_deref(), Some("madvise"));
    assert_eq!(chosen("always"), None);
    assert_eq!(capabilities("Name:\tx\nCapEff:\t0000008000003000\n"), Some(ENOUGH));
    assert_eq!(capabilities("CapEff:\tzz"), None);
    let pages = huge_pages("HugePages_Total:       4\nHugePages_Free:        3\nHugepagesize:       2048 kB\n");
    assert_eq!(pages, Some(HugePages { total: 4, free: 3, size_kib: 2048 }));
    assert_eq!(huge_pages("MemTotal: 1 kB"), None);
}

#[test]
fn a_configuration_is_asked_for_its_workers_frames_its_missing_keys_and_what_ipsec_needs_on_the_way() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("relay.yaml");
    let relay = "relay: t\nports:\n  access: {interface: ens4, address: 192.0.2.1/24}\nendpoints:\n  \
                 - {name: wg, port: access, wireguard: {listen: 51820, private_key_file: relay.key}}\n  \
                 - {name: ipsec, port: access, ipsec: {}}\nworkers: 3\ntenants: '*-tenant.yaml'\n";
    std::fs::write(&path, relay).expect("written");
    let request = super::Request::of_configuration(&path);
    assert_eq!(request.needs, Needs { frames: 3 * 16_384, ports: 1 }, "each worker has frames of its own");
    let found: Vec<_> = request.findings.iter().map(|finding| (finding.subject.as_str(), finding.about, finding.verdict)).collect();
    assert_eq!(found, [("ens4", "ipsec", Verdict::Unseen), ("machine", "key_files", Verdict::Problem)]);
    let [ipsec, keys] = &request.findings[..] else { panic!("two") };
    assert!(ipsec.found.contains("192.0.2.1") && ["UDP 500", "UDP 4500", "protocol 50"].iter().all(|word| ipsec.advice.contains(word)));
    assert!(keys.advice.contains("relay.key") && keys.command.as_ref().is_some_and(|command| command.starts_with("chukei check")));
}
