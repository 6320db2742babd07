//! The ethtool ioctls that taking a port over needs.

use std::io;
use std::os::fd::OwnedFd;

use super::sys::{self, Plain};

/// `ETH_FLAG_LRO`, `ETH_FLAG_TXVLAN`, `ETH_FLAG_RXVLAN` of `ETHTOOL_GFLAGS`.
const FLAG_TXVLAN: u32 = 1 << 7;
const FLAG_RXVLAN: u32 = 1 << 8;
const FLAG_LRO: u32 = 1 << 15;
const GFLAGS: u32 = 0x25;
const SFLAGS: u32 = 0x26;
const GCHANNELS: u32 = 0x3c;
const SCHANNELS: u32 = 0x3d;

/// Work that a NIC does behind the relay's back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Offload {
    /// As `ethtool -K` calls it.
    pub(super) name: &'static str,
    access: Access,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Access {
    /// Commands of its own: get, set.
    Own(u32, u32),
    /// A bit of `ETHTOOL_GFLAGS`.
    Flag(u32),
}

/// All that are switched off, in the order in which they can be switched on again (TSO needs checksums).
pub(super) const OFFLOADS: [Offload; 7] = [
    Offload { name: "tx", access: Access::Own(0x16, 0x17) },
    Offload { name: "tso", access: Access::Own(0x1e, 0x1f) },
    Offload { name: "gso", access: Access::Own(0x23, 0x24) },
    Offload { name: "gro", access: Access::Own(0x2b, 0x2c) },
    Offload { name: "lro", access: Access::Flag(FLAG_LRO) },
    Offload { name: "rxvlan", access: Access::Flag(FLAG_RXVLAN) },
    Offload { name: "txvlan", access: Access::Flag(FLAG_TXVLAN) },
];

/// `struct ethtool_value`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// `struct ethtool_channels`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct RawChannels {
    command: u32,
    most_rx: u32,
    most_tx: u32,
    most_other: u32,
    most_combined: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

#[expect(unsafe_code, reason = "promises that these structures are plain integers")]
mod plain {
    use super::{Plain, RawChannels, Value};
    // SAFETY: a structure of integers.
    unsafe impl Plain for Value {}
    // SAFETY: a structure of integers.
    unsafe impl Plain for RawChannels {}
}

/// How many queues a NIC uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Channels {
    /// Queues that only receive.
    pub(super) rx: u32,
    /// Queues that only transmit.
    pub(super) tx: u32,
    /// Queue pairs.
    pub(super) combined: u32,
}

fn value(control: &OwnedFd, interface: &str, command: u32, data: u32) -> io::Result<u32> {
    let mut value = Value { command, data };
    sys::ioctl_ethtool(control, interface, &mut value)?;
    Ok(value.data)
}

impl Offload {
    /// The one with this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        OFFLOADS.into_iter().find(|offload| offload.name == name)
    }

    /// Whether it is on; a NIC that does not know it does not do it.
    pub(super) fn is_on(self, control: &OwnedFd, interface: &str) -> bool {
        match self.access {
            Access::Own(get, _) => value(control, interface, get, 0).is_ok_and(|on| on != 0),
            Access::Flag(flag) => value(control, interface, GFLAGS, 0).is_ok_and(|flags| flags & flag != 0),
        }
    }

    /// Switch it; an error where it is fixed.
    pub(super) fn set(self, control: &OwnedFd, interface: &str, on: bool) -> io::Result<()> {
        match self.access {
            Access::Own(_, set) => value(control, interface, set, u32::from(on))?,
            Access::Flag(flag) => {
                let flags = value(control, interface, GFLAGS, 0)?;
                value(control, interface, SFLAGS, if on { flags | flag } else { flags & !flag })?
            }
        };
        Ok(())
    }
}

impl Channels {
    /// The queues in use; `None` for a NIC that has but one and no setting for it.
    pub(super) fn of(control: &OwnedFd, interface: &str) -> io::Result<Option<Self>> {
        Ok(raw_channels(control, interface)?.map(|raw| Self { rx: raw.rx, tx: raw.tx, combined: raw.combined }))
    }

    /// Queues that receive.
    pub(super) fn receiving(self) -> u32 {
        self.rx + self.combined
    }

    /// As many queues as the NIC can have, but no more than `wanted`, of the kind that it has; each receives and transmits.
    pub(super) fn up_to(self, control: &OwnedFd, interface: &str, wanted: u32) -> io::Result<Self> {
        let Some(raw) = raw_channels(control, interface)? else { return Ok(self) };
        if self.combined > 0 {
            return Ok(Self { rx: 0, combined: raw.most_combined.min(wanted), ..self });
        }
        let rx = raw.most_rx.min(raw.most_tx).min(wanted);
        Ok(Self { rx, tx: self.tx.max(rx), combined: 0 })
    }

    /// Use this many.
    pub(super) fn set(self, control: &OwnedFd, interface: &str) -> io::Result<()> {
        let mut raw = raw_channels(control, interface)?.ok_or(io::ErrorKind::Unsupported)?;
        (raw.command, raw.rx, raw.tx, raw.combined) = (SCHANNELS, self.rx, self.tx, self.combined);
        sys::ioctl_ethtool(control, interface, &mut raw)
    }
}

fn raw_channels(control: &OwnedFd, interface: &str) -> io::Result<Option<RawChannels>> {
    let mut raw = RawChannels { command: GCHANNELS, ..RawChannels::default() };
    match sys::ioctl_ethtool(control, interface, &mut raw) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
        other => other.map(|()| Some(raw)),
    }
}
