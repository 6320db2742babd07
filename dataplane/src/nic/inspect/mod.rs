//! Looking at interfaces without touching them: what `chukei doctor` judges. Needs no privilege.
//!
//! One function here does touch an interface, and says so: [`probe_af_xdp`].

mod ethtool;
mod xdp_features;

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use super::af_xdp::{AfXdpSocket, Attached, Place, new_socket};
use super::error::NicError;
use super::interface::Interface;
use super::netlink::{Attributes, Message, Netlink};
use super::sys;
use crate::packet::FramePool;

pub use ethtool::{Feature, Queues, Rings};
pub use xdp_features::XdpFeatures;

const IFLA_MTU_MAX: u16 = 51;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_PROMISCUITY: u16 = 30;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
/// Frames that a probe registers: more than a ring lends, and only 2 MiB.
const PROBE_FRAMES: u32 = 1024;

/// What the kernel tells about an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceFacts {
    /// Its name.
    pub name: String,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Largest IP packet it carries, in bytes.
    pub mtu: u32,
    /// Largest MTU that its driver accepts, in bytes.
    pub most_mtu: Option<u32>,
    /// Administratively up.
    pub is_up: bool,
    /// Up and with a cable.
    pub is_running: bool,
    /// The kind of a virtual interface: `veth`, `bridge`, `bond`.
    pub kind: Option<String>,
    /// The bridge or bond it belongs to.
    pub master: Option<String>,
    /// The first address a person gave it.
    pub address: Option<IpAddr>,
    /// The first route over it that a person made.
    pub route: Option<String>,
    /// Programs that receive all its frames: a running relay, a capture.
    pub listeners: u32,
    /// An XDP program is attached: a running relay's with AF_XDP, or another's.
    pub has_xdp_program: bool,
    /// The kernel's driver; `None` where it does not say.
    pub driver: Option<String>,
    /// Version of its firmware, where it has one.
    pub firmware: Option<String>,
    /// Link speed in Mbit/s; `None` without a link, and for a NIC that knows none.
    pub speed_mbit: Option<u32>,
    /// Its queues; `None` for a NIC that has no setting for them.
    pub queues: Option<Queues>,
    /// Its descriptor rings; `None` for a NIC that has no setting for them.
    pub rings: Option<Rings>,
    /// All its features, as `ethtool -k` calls them in the kernel's own names.
    pub features: Vec<Feature>,
    /// What XDP its driver offers; `None` before Linux 6.3, which cannot be asked.
    pub xdp: Option<XdpFeatures>,
}

impl InterfaceFacts {
    /// The feature of this name.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<&Feature> {
        self.features.iter().find(|feature| feature.name == name)
    }

    /// The feature is on.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.feature(name).is_some_and(|feature| feature.on)
    }
}

/// How AF_XDP works on an interface, tried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AfXdpProbe {
    /// `zero-copy`, `copy (native)` or `copy (generic)`.
    pub mode: String,
    /// Why it is no better mode.
    pub reason: String,
}

/// Names of all Ethernet interfaces of this network namespace.
///
/// # Errors
/// When the kernel cannot be asked.
pub fn interfaces() -> io::Result<Vec<String>> {
    let all = Interface::all(&mut Netlink::open(libc::NETLINK_ROUTE)?)?;
    Ok(all.into_iter().map(|interface| interface.name).collect())
}

/// All that can be seen of an interface.
///
/// # Errors
/// When there is no such Ethernet interface, or the kernel cannot be asked.
pub fn interface(name: &str) -> Result<InterfaceFacts, NicError> {
    let failed = |source| NicError::io("ask the kernel about the interface", name, source);
    let mut netlink = Netlink::open(libc::NETLINK_ROUTE).map_err(failed)?;
    let found = Interface::find(&mut netlink, name)?;
    let link = Link::of(&mut netlink, found.index).map_err(failed)?;
    let control = control().map_err(failed)?;
    let flags = i32::from(sys::interface_flags(&control, name).map_err(failed)?);
    let driver = ethtool::driver(&control, name);
    Ok(InterfaceFacts {
        mac: found.mac,
        mtu: found.mtu,
        most_mtu: link.most_mtu,
        is_up: flags & libc::IFF_UP != 0,
        is_running: flags & libc::IFF_RUNNING != 0,
        kind: link.kind,
        master: found.master.map(|master| Interface::name_of(&mut netlink, master)),
        address: found.address(&mut netlink).map_err(failed)?,
        route: found.route(&mut netlink).map_err(failed)?,
        listeners: link.listeners,
        has_xdp_program: link.has_xdp_program,
        driver: driver.as_ref().map(|driver| driver.name.clone()),
        firmware: driver.map(|driver| driver.firmware).filter(|version| !version.is_empty()),
        speed_mbit: ethtool::speed(&control, name),
        queues: ethtool::queues(&control, name),
        rings: ethtool::rings(&control, name),
        features: ethtool::features(&control, name),
        xdp: xdp_features::of(found.index),
        name: found.name,
    })
}

/// Attach the relay's XDP program and bind an AF_XDP socket to queue 0, then undo both.
///
/// For that moment the interface receives nothing, and some drivers restart its queues: only for an interface that nobody uses. It has to be up.
///
/// # Errors
/// Why AF_XDP does not work there.
pub fn probe_af_xdp(name: &str) -> Result<AfXdpProbe, NicError> {
    let failed = |source| NicError::io("open AF_XDP", name, source);
    let mut netlink = Netlink::open(libc::NETLINK_ROUTE).map_err(failed)?;
    let interface = Interface::find(&mut netlink, name)?;
    let attached = Attached::best(interface.index, 1).map_err(failed)?;
    let pool = FramePool::new(PROBE_FRAMES).map_err(failed)?;
    let place = Place { interface: interface.index, queue: 0, attachment: attached.attachment, reason: &attached.reason };
    let (socket, _) = AfXdpSocket::bind(place, pool.umem(), &mut Vec::new(), new_socket, true).map_err(failed)?;
    attached.program.insert(0, socket.fd()).map_err(failed)?;
    Ok(AfXdpProbe { mode: socket.mode(), reason: socket.reason().to_owned() })
}

/// Whether this kernel was built with AF_XDP; `None` where this process may not ask.
#[must_use]
pub fn kernel_has_af_xdp() -> Option<bool> {
    known(sys::socket(libc::AF_XDP, libc::SOCK_RAW, 0))
}

/// Whether this kernel has nf_tables, by which it is kept silent on a port; `None` where this process may not ask.
#[must_use]
pub fn kernel_has_nf_tables() -> Option<bool> {
    let subsystem = u16::try_from(libc::NFNL_SUBSYS_NFTABLES).expect("a small constant") << 8;
    let get_generation = subsystem | u16::try_from(libc::NFT_MSG_GETGEN).expect("a small constant");
    // `struct nfgenmsg`: family, version, resource.
    let ask = |mut netlink: Netlink| netlink.request(Message::new(get_generation, 0, &[0; 4]), |_, _| {});
    known(Netlink::open(libc::NETLINK_NETFILTER).and_then(ask))
}

fn known<T>(answer: io::Result<T>) -> Option<bool> {
    match answer {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES)) => None,
        answer => Some(answer.is_ok()),
    }
}

/// A socket that carries interface ioctls.
fn control() -> io::Result<OwnedFd> {
    sys::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)
}

/// What `RTM_GETLINK` says beyond [`Interface`].
#[derive(Default)]
struct Link {
    most_mtu: Option<u32>,
    kind: Option<String>,
    listeners: u32,
    has_xdp_program: bool,
}

impl Link {
    fn of(netlink: &mut Netlink, index: u32) -> io::Result<Self> {
        let mut header = [0; 16];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        let mut link = Self::default();
        netlink.request(Message::new(libc::RTM_GETLINK, 0, &header), |_, body| link = Self::parse(body))?;
        Ok(link)
    }

    fn parse(body: &[u8]) -> Self {
        let mut link = Self::default();
        for attribute in Attributes::behind(body, 16) {
            let inside = |kind: u16| Attributes::behind(attribute.value, 0).find(|inner| inner.kind == kind);
            match attribute.kind {
                // 0 means that the driver sets no limit.
                IFLA_MTU_MAX => link.most_mtu = attribute.number().filter(|mtu| *mtu > 0),
                IFLA_PROMISCUITY => link.listeners = attribute.number().unwrap_or(0),
                IFLA_LINKINFO => link.kind = inside(IFLA_INFO_KIND).map(|kind| kind.string()),
                IFLA_XDP => link.has_xdp_program = inside(IFLA_XDP_ATTACHED).is_some_and(|attached| attached.value != [0]),
                _ => {}
            }
        }
        link
    }
}
