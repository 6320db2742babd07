//! Why a port could not be opened, and what to do about it.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

/// The largest MTU a port can have: two VLAN tags and the Ethernet header come on top of it, and all of it lies behind the headroom.
pub const MAX_MTU: u16 = 1770;

/// Why a port could not be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum NicError {
    /// No such interface.
    #[error("there is no interface `{interface}` in this network namespace; `ip link` lists those there are")]
    Missing {
        /// Its name.
        interface: String,
    },
    /// Loopback, a tunnel, or anything else without MAC addresses.
    #[error("`{interface}` is not an Ethernet interface; give the relay a NIC or a veth")]
    NotEthernet {
        /// Its name.
        interface: String,
    },
    /// The kernel uses the interface for itself.
    #[error(
        "`{interface}` carries the address {address}, and the relay takes its ports wholly over; if it is not the management NIC: `ip address flush dev {interface}`"
    )]
    HasAddress {
        /// Its name.
        interface: String,
        /// An address on it.
        address: IpAddr,
    },
    /// The kernel routes over the interface.
    #[error(
        "the route {route} leaves by `{interface}`, and the relay takes its ports wholly over; if it is not the management NIC: `ip route flush dev {interface}`"
    )]
    HasRoute {
        /// Its name.
        interface: String,
        /// A route over it.
        route: String,
    },
    /// The interface belongs to a bridge or bond.
    #[error("`{interface}` belongs to `{master}`; take it out first: `ip link set dev {interface} nomaster`")]
    Slave {
        /// Its name.
        interface: String,
        /// The bridge or bond.
        master: String,
    },
    /// The interface carries less than the configuration promises.
    #[error(
        "`{interface}` has MTU {present}, the configuration says {mtu}: `ip link set dev {interface} mtu {mtu}`, or lower `mtu` of the port"
    )]
    MtuTooSmall {
        /// Its name.
        interface: String,
        /// The interface's MTU.
        present: u32,
        /// The configured MTU.
        mtu: u16,
    },
    /// More than a frame of memory holds.
    #[error(
        "MTU {mtu} of `{interface}` is more than a frame of memory holds; the most is {MAX_MTU}: `ip link set dev {interface} mtu 1500`"
    )]
    MtuTooLarge {
        /// Its name.
        interface: String,
        /// The MTU.
        mtu: u32,
    },
    /// Another process has the port.
    #[error("another relay has taken `{interface}` over (it holds {}); stop that one first", lock.display())]
    Taken {
        /// Its name.
        interface: String,
        /// The file that is locked.
        lock: PathBuf,
    },
    /// AF_XDP reads one queue a worker, and the NIC spreads frames over more.
    #[error(
        "`{interface}` has {queues} receive queues and AF_XDP reads one a worker: `ethtool -L {interface} {parameter} {wanted}`, or `driver: af_packet`"
    )]
    Queues {
        /// Its name.
        interface: String,
        /// Its receive queues.
        queues: u32,
        /// How many it should have.
        wanted: u32,
        /// `combined` or `rx`.
        parameter: &'static str,
    },
    /// An offload hides from the driver what it needs to see.
    #[error("`{interface}` cannot switch {offload} off, which AF_XDP needs; use `driver: af_packet` for this port")]
    Offload {
        /// Its name.
        interface: String,
        /// As ethtool calls it.
        offload: &'static str,
    },
    /// The memory of frames is too small for the ports.
    #[error("`{interface}` would get only {frames} frames of memory, and needs {needed}; raise `frames` in relay.yaml")]
    FewFrames {
        /// Its name.
        interface: String,
        /// Frames it would get.
        frames: usize,
        /// Frames it needs.
        needed: usize,
    },
    /// The kernel refused.
    #[error("cannot {doing} on `{interface}`: {source}{}", remedy(source))]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The process that opens ports for this one refused.
    #[error("{0}")]
    Launcher(String),
    /// The file that remembers what was changed cannot be written.
    #[error("cannot keep {}: {source}; the relay needs a directory that it may write and that a restart keeps", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

impl NicError {
    pub(super) fn io(doing: &'static str, interface: &str, source: io::Error) -> Self {
        Self::Io { doing, interface: interface.into(), source }
    }
}

/// What helps against the usual refusals.
fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "; it needs CAP_NET_ADMIN and CAP_NET_RAW (AF_XDP: CAP_BPF, too): start it as root",
        Some(libc::ENOBUFS | libc::ENOMEM) => {
            "; the locked memory or the kernel's memory is used up: raise LimitMEMLOCK, or take fewer frames"
        }
        Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT) => "; this kernel was built without it",
        Some(libc::EROFS) => {
            "; /proc/sys is read-only here: `sysctl -w net.ipv6.conf.INTERFACE.disable_ipv6=1` before the start, or ProtectKernelTunables=no"
        }
        _ => "",
    }
}
