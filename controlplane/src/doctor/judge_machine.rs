//! Facts about the machine -> findings.

use super::machine::{HugePages, LockedMemory, MachineFacts};
use super::request::Needs;
use super::{Finding, Verdict};

/// Linux 5.12: nf_tables can drop what arrives on a port, and an XDP program is held by a link that ends with the process (5.9).
const OLDEST_KERNEL: (u32, u32) = (5, 12);
/// One frame of memory.
const FRAME_KIB: u64 = 2;
/// Enough beside the frames for 2,000 tenants with their sessions.
const OTHER_MEMORY_BYTES: u64 = 512 << 20;
/// With fewer, setting one apart takes too much from everybody else.
const CPUS_TO_SHARE: usize = 4;
/// 1%: from here on a worker visibly stands still.
const STEAL_BASIS_POINTS: u64 = 100;
/// Clocks that are read without a system call. `arch_sys_counter` is ARM's.
const FAST_CLOCKS: [&str; 4] = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];
/// linux/capability.h; without CAP_BPF of Linux 5.8, CAP_SYS_ADMIN does as well.
const CAPABILITIES: [(u32, &str, &str); 3] = [
    (12, "CAP_NET_ADMIN", "the relay cannot take ports over"),
    (13, "CAP_NET_RAW", "the relay cannot open its ports"),
    (39, "CAP_BPF", "only AF_PACKET works"),
];
const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_ADMIN: u32 = 21;

/// All verdicts about the machine.
#[must_use]
pub fn judge(facts: &MachineFacts, needs: &Needs) -> Vec<Finding> {
    vec![
        kernel(facts),
        af_xdp(facts.has_af_xdp),
        nf_tables(facts.has_nf_tables),
        privileges(facts.capabilities),
        confinement("landlock", facts.confinement.as_ref().map(|tried| tried.landlock.as_deref())),
        confinement("seccomp", facts.confinement.as_ref().map(|tried| tried.seccomp.as_deref())),
        cpus(facts),
        steal(facts),
        clock(facts.clocksource.as_deref()),
        bpf_jit(facts.bpf_jit),
        huge_pages(facts, needs),
        locked_memory(facts, needs),
        memory_limit(facts.memory_limit_bytes, needs),
    ]
}

fn finding(about: &'static str, verdict: Verdict, found: impl Into<String>) -> Finding {
    Finding::new("machine", about, verdict, found)
}

fn kernel(facts: &MachineFacts) -> Finding {
    let Some(release) = &facts.kernel else { return finding("kernel", Verdict::Unseen, "/proc/sys/kernel/osrelease cannot be read") };
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let Some(version) = numbers.next().zip(numbers.next()) else {
        return finding("kernel", Verdict::Unseen, format!("{release}, a version that says nothing"));
    };
    if version < OLDEST_KERNEL {
        let (major, minor) = OLDEST_KERNEL;
        return finding("kernel", Verdict::Problem, release.as_str())
            .advice(format!("the relay needs Linux {major}.{minor}: install a newer kernel (Debian 12 has 6.1)"));
    }
    finding("kernel", Verdict::Ok, release.as_str())
}

fn af_xdp(present: Option<bool>) -> Finding {
    match present {
        Some(true) => finding("af_xdp", Verdict::Ok, "in the kernel"),
        Some(false) => finding("af_xdp", Verdict::Warning, "not in the kernel")
            .advice("every port gets AF_PACKET; a kernel with CONFIG_XDP_SOCKETS=y would bring AF_XDP"),
        None => finding("af_xdp", Verdict::Unseen, "not tried").advice("only root may ask for it:").command("sudo chukei doctor"),
    }
}

fn nf_tables(present: Option<bool>) -> Finding {
    match present {
        Some(true) => finding("nf_tables", Verdict::Ok, "in the kernel"),
        Some(false) => finding("nf_tables", Verdict::Problem, "not in the kernel")
            .advice("it keeps the kernel silent on ports, and AF_PACKET does not start without it; if the kernel has it as a module:")
            .command("modprobe nf_tables"),
        None => finding("nf_tables", Verdict::Unseen, "not tried").advice("only root may ask for it:").command("sudo chukei doctor"),
    }
}

fn privileges(capabilities: Option<u64>) -> Finding {
    let Some(capabilities) = capabilities else { return finding("privileges", Verdict::Unseen, "/proc/self/status cannot be read") };
    let has = |number: u32| capabilities & 1 << number != 0;
    let granted = |number: u32, name: &str| has(number) || name == "CAP_BPF" && has(CAP_SYS_ADMIN);
    let missing: Vec<_> = CAPABILITIES.iter().filter(|(number, name, _)| !granted(*number, name)).collect();
    let Some((_, _, consequence)) = missing.first() else {
        return finding("privileges", Verdict::Ok, "CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF");
    };
    let names: Vec<_> = missing.iter().map(|(_, name, _)| *name).collect();
    // Whoever looks without privileges may well start the relay with them.
    finding("privileges", Verdict::Unseen, format!("this process lacks {}", names.join(", ")))
        .advice(format!("started like this, {consequence}; the service unit in configs/systemd grants them, and to see everything:"))
        .command("sudo chukei doctor")
}

/// Why the kernel lacks it, if it was tried and does.
fn confinement(about: &'static str, lacking: Option<Option<&str>>) -> Finding {
    match lacking {
        None => finding(about, Verdict::Unseen, "not tried"),
        Some(None) => finding(about, Verdict::Ok, "confines the relay"),
        Some(Some(lacking)) => finding(about, Verdict::Problem, lacking)
            .advice("the relay does not start without it, unless relay.yaml says that less protection is enough:")
            .command("echo 'hardening: best-effort' >> /etc/chukei/relay.yaml"),
    }
}

fn cpus(facts: &MachineFacts) -> Finding {
    let isolated = facts.isolated_cpus.as_deref();
    let found = match isolated {
        Some("") => format!("{}, none isolated", facts.cpus),
        Some(list) => format!("{}, isolated: {list}", facts.cpus),
        None => facts.cpus.to_string(),
    };
    match isolated {
        _ if facts.cpus < 2 => finding("cpus", Verdict::Warning, found)
            .advice("the worker, the control plane and the kernel take turns on one CPU; give the machine a second one"),
        Some("") if facts.cpus >= CPUS_TO_SHARE => finding("cpus", Verdict::Warning, found)
            .advice("other programs take turns with the workers; to keep two CPUs free of them from the next boot on:")
            .command("sed -i 's/^GRUB_CMDLINE_LINUX=\"/&isolcpus=2,3 /' /etc/default/grub && update-grub"),
        _ => finding("cpus", Verdict::Ok, found),
    }
}

fn steal(facts: &MachineFacts) -> Finding {
    let found = match facts.hypervisor.as_deref() {
        Some("") => return finding("hypervisor", Verdict::Ok, "none"),
        Some(name) => name.to_owned(),
        None => "unknown".to_owned(),
    };
    let Some(steal) = facts.steal_basis_points else {
        return finding("hypervisor", Verdict::Unseen, format!("{found}; /proc/stat says no steal"));
    };
    let found = format!("{found}, {}.{:02}% of the time given to others", steal / 100, steal % 100);
    if steal > STEAL_BASIS_POINTS {
        return finding("hypervisor", Verdict::Warning, found).advice(
            "a worker stands still while others run, and its rings overflow: reserve CPUs for this machine on the host (pin its vCPUs)",
        );
    }
    finding("hypervisor", Verdict::Ok, found)
}

fn clock(source: Option<&str>) -> Finding {
    let Some(source) = source else { return finding("clocksource", Verdict::Unseen, "the kernel does not say") };
    if FAST_CLOCKS.contains(&source) {
        return finding("clocksource", Verdict::Ok, source);
    }
    finding("clocksource", Verdict::Warning, source)
        .advice("each look at the clock is a system call, one a batch; where available_clocksource beside it lists tsc:")
        .command("echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource")
}

fn bpf_jit(enabled: Option<bool>) -> Finding {
    match enabled {
        Some(true) => finding("bpf_jit", Verdict::Ok, "on"),
        Some(false) => finding("bpf_jit", Verdict::Warning, "off")
            .advice("the XDP program is interpreted for each frame; for good, write it to /etc/sysctl.d/chukei.conf, and now:")
            .command("sysctl -w net.core.bpf_jit_enable=1"),
        None => finding("bpf_jit", Verdict::Unseen, "net.core.bpf_jit_enable cannot be read")
            .advice("root sees it, in the machine's first network namespace:")
            .command("sudo sysctl net.core.bpf_jit_enable"),
    }
}

/// All frames together: one page table entry covers a thousand of them, where they lie in huge pages.
fn huge_pages(facts: &MachineFacts, needs: &Needs) -> Finding {
    let Some(HugePages { total, free, size_kib }) = facts.huge_pages else {
        return finding("huge_pages", Verdict::Unseen, "/proc/meminfo names none");
    };
    let needed = (u64::from(needs.frames) * FRAME_KIB).div_ceil(size_kib.max(1));
    let transparent = facts.transparent_huge_pages.as_deref().unwrap_or("unknown");
    let found = format!("{free} of {total} free, {size_kib} KiB each; transparent: {transparent}");
    if total >= needed || matches!(transparent, "always" | "madvise") {
        return finding("huge_pages", Verdict::Ok, found);
    }
    finding("huge_pages", Verdict::Warning, found)
        .advice(format!(
            "{} frames lie on small pages, which costs a look-up each; for good, write it to /etc/sysctl.d/chukei.conf, and now:",
            needs.frames
        ))
        .command(format!("sysctl -w vm.nr_hugepages={needed}"))
}

/// AF_XDP pins all frames, and each port counts them anew.
fn locked_memory(facts: &MachineFacts, needs: &Needs) -> Finding {
    let needed_kib = u64::from(needs.frames) * FRAME_KIB * needs.ports.max(1) as u64;
    let LockedMemory::Bytes(limit) = facts.locked_memory else { return finding("memlock", Verdict::Ok, "unlimited") };
    let found = format!("{} KiB, {needed_kib} KiB needed", limit / 1024);
    if limit / 1024 >= needed_kib || facts.capabilities.is_some_and(|capabilities| capabilities & 1 << CAP_IPC_LOCK != 0) {
        return finding("memlock", Verdict::Ok, found);
    }
    finding("memlock", Verdict::Warning, found)
        .advice("started from here, AF_XDP cannot pin its frames; the service unit has LimitMEMLOCK=infinity, and for this shell:")
        .command("ulimit -l unlimited")
}

fn memory_limit(limit: Option<u64>, needs: &Needs) -> Finding {
    let Some(limit) = limit else { return finding("memory_limit", Verdict::Ok, "none") };
    let needed = u64::from(needs.frames) * FRAME_KIB * 1024 + OTHER_MEMORY_BYTES;
    let found = format!("{} MiB", limit >> 20);
    if limit >= needed {
        return finding("memory_limit", Verdict::Ok, found);
    }
    finding("memory_limit", Verdict::Warning, found)
        .advice(format!("with many tenants the kernel ends the relay; its control group should grant {} MiB:", needed >> 20))
        .command(format!("systemctl set-property chukei.service MemoryMax={}M", needed >> 20))
}
