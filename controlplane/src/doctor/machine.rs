//! What there is to see of the machine. Reads files below /proc and /sys, asks for three things by sockets, and confines
//! two threads that end at once; changes nothing.

use std::fs;
use std::path::Path;

use dataplane::nic::inspect;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use crate::hardening::files::{self, Reach};
use crate::hardening::system_calls;

/// The machine as this process sees it. `None` is what could not be seen, unless a field says otherwise.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct MachineFacts {
    /// `6.1.0-21-amd64`
    pub kernel: Option<String>,
    /// The kernel was built with AF_XDP.
    pub has_af_xdp: Option<bool>,
    /// The kernel has nf_tables.
    pub has_nf_tables: Option<bool>,
    /// CPUs this process may run on.
    pub cpus: usize,
    /// CPUs that the kernel keeps free of other work; empty for none.
    pub isolated_cpus: Option<String>,
    /// Time that the hypervisor gave to others since the boot, in hundredths of a percent.
    pub steal_basis_points: Option<u64>,
    /// Manufacturer and product of a virtual machine; empty on hardware.
    pub hypervisor: Option<String>,
    /// Where the kernel reads the time.
    pub clocksource: Option<String>,
    /// Reserved huge pages.
    pub huge_pages: Option<HugePages>,
    /// `always`, `madvise` or `never`.
    pub transparent_huge_pages: Option<String>,
    /// Memory that a process may lock.
    pub locked_memory: LockedMemory,
    /// The least memory limit of the process's control groups, in bytes; `None` for none.
    pub memory_limit_bytes: Option<u64>,
    /// Effective capabilities, one bit each.
    pub capabilities: Option<u64>,
    /// `net.core.bpf_jit_enable` is not 0.
    pub bpf_jit: Option<bool>,
    /// What confines the relay's process.
    pub confinement: Option<Confinement>,
}

/// Why the kernel does not confine the relay's process; `None` where it does.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Confinement {
    /// Files out of its reach.
    pub landlock: Option<String>,
    /// System calls that it does not need.
    pub seccomp: Option<String>,
}

impl Confinement {
    /// Do to a thread that ends what the relay does to itself.
    fn tried() -> Self {
        let tried = |confine: fn() -> Result<(), String>| std::thread::spawn(confine).join().unwrap_or_else(|_| Err("it panics".into()));
        Self {
            landlock: tried(|| files::confine(&Reach::default()).map(drop).map_err(|lacking| lacking.to_string())).err(),
            seccomp: tried(|| system_calls::confine().map_err(|lacking| lacking.to_string())).err(),
        }
    }
}

/// Reserved huge pages of the default size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct HugePages {
    /// Reserved.
    pub total: u64,
    /// Not in use.
    pub free: u64,
    /// Size of one, in KiB.
    pub size_kib: u64,
}

/// `RLIMIT_MEMLOCK`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LockedMemory {
    /// No limit.
    #[default]
    Unlimited,
    /// So many bytes.
    Bytes(u64),
}

impl MachineFacts {
    /// Read all of it.
    #[must_use]
    pub fn read() -> Self {
        let own_status = line("/proc/self/status");
        let mut facts = Self {
            kernel: word("/proc/sys/kernel/osrelease"),
            has_af_xdp: inspect::kernel_has_af_xdp(),
            has_nf_tables: inspect::kernel_has_nf_tables(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            isolated_cpus: word("/sys/devices/system/cpu/isolated"),
            steal_basis_points: line("/proc/stat").as_deref().and_then(steal),
            hypervisor: hypervisor(),
            clocksource: word("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            huge_pages: line("/proc/meminfo").as_deref().and_then(huge_pages),
            transparent_huge_pages: word("/sys/kernel/mm/transparent_hugepage/enabled").as_deref().and_then(chosen),
            locked_memory: getrlimit(Resource::Memlock).current.map_or(LockedMemory::Unlimited, LockedMemory::Bytes),
            memory_limit_bytes: line("/proc/self/cgroup").as_deref().and_then(memory_limit),
            capabilities: own_status.as_deref().and_then(capabilities),
            bpf_jit: word("/proc/sys/net/core/bpf_jit_enable").map(|value| value != "0"),
            confinement: Some(Confinement::tried()),
        };
        if facts.isolated_cpus.is_none() && Path::new("/sys/devices/system/cpu").exists() {
            facts.isolated_cpus = Some(String::new());
        }
        facts
    }
}

/// A whole file.
fn line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// A file of one line.
fn word(path: &str) -> Option<String> {
    line(path).map(|text| text.trim().to_owned())
}

/// Steal as a share of all time since the boot. proc_stat(5): user nice system idle iowait irq softirq steal; guest times lie in user.
pub(super) fn steal(stat: &str) -> Option<u64> {
    let times: Vec<u64> = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8).filter_map(|n| n.parse().ok()).collect();
    let all = times.iter().fold(0_u64, |sum, time| sum.saturating_add(*time));
    (times.len() == 8 && all > 0).then(|| times[7].saturating_mul(10_000) / all)
}

pub(super) fn huge_pages(meminfo: &str) -> Option<HugePages> {
    let value = |key: &str| meminfo.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok());
    Some(HugePages { total: value("HugePages_Total:")?, free: value("HugePages_Free:")?, size_kib: value("Hugepagesize:")? })
}

/// `always [madvise] never` -> `madvise`
pub(super) fn chosen(choices: &str) -> Option<String> {
    Some(choices.split_once('[')?.1.split_once(']')?.0.to_owned())
}

pub(super) fn capabilities(status: &str) -> Option<u64> {
    let digits = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(digits.trim(), 16).ok()
}

/// A virtual machine's name of itself. The processor says that there is a hypervisor, the firmware mostly which.
fn hypervisor() -> Option<String> {
    let flags = line("/proc/cpuinfo")?;
    if !flags.split_whitespace().any(|flag| flag == "hypervisor") {
        return Some(String::new());
    }
    let names = ["sys_vendor", "product_name"].map(|name| word(&format!("/sys/class/dmi/id/{name}")));
    let name = names.into_iter().flatten().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" ");
    Some(if name.is_empty() { "unnamed".to_owned() } else { name })
}

/// The least limit on the way from the process's group to the root; groups above the mount are not seen.
fn memory_limit(groups: &str) -> Option<u64> {
    let (directory, file, group) = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        match (fields.next()?, fields.next()?) {
            ("", group) => Some(("/sys/fs/cgroup", "memory.max", group)),
            (controllers, group) if controllers.split(',').any(|name| name == "memory") => {
                Some(("/sys/fs/cgroup/memory", "memory.limit_in_bytes", group))
            }
            _ => None,
        }
    })?;
    let limits = Path::new(group).ancestors().filter_map(|group| {
        let path = Path::new(directory).join(group.strip_prefix("/").ok()?).join(file);
        fs::read_to_string(path).ok()?.trim().parse().ok()
    });
    // Version 1 writes "none" as a number near 2^63.
    limits.min().filter(|bytes| *bytes < 1 << 60)
}
