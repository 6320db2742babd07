//! Interfaces of one namespace: veth pairs, addresses, routes, neighbours, offloads.
//!
//! Written on rtnetlink(7) and netdevice(7) directly: about a dozen requests, where the netlink crates bring an async
//! runtime or a hundred times the code. No program such as `ip` or `ethtool` has to be installed.

use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use ipnetwork::Ipv4Network;

use super::error::{Context, DemoError, checked};
use super::ethtool::{has_carrier, interface_request, switch_offloads_off};
use super::namespaces::{Namespace, in_namespace};
use super::netlink::{NetlinkSocket, Request};
use super::untag;

/// linux/veth.h: the attribute that describes a pair's other end.
const VETH_INFO_PEER: u16 = 1;
/// How long an interface may take to start. The kernel's own delay is a second at most.
const RUNNING_WITHIN: Duration = Duration::from_secs(3);
/// The kernel's own default. A veth has no queue, so the value means nothing there; only changing it does.
const QUEUE_LENGTH: u32 = 1000;
/// linux/socket.h: `AF_UNSPEC` and `AF_INET`, in the width that netlink gives them.
const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;

/// An Ethernet address (EUI-48).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// A unicast address from the locally administered range, told apart by two numbers of the caller's.
    #[must_use]
    pub const fn local(kind: u8, number: u8) -> Self {
        Self([0x02, 0, 0, 0, kind, number])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The handle with which one namespace's interfaces are made and set up, from any thread.
pub struct Links {
    namespace: Namespace,
    netlink: NetlinkSocket,
    /// Carries the interface ioctls.
    control: OwnedFd,
}

impl Links {
    /// Opens the namespace's control sockets.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the kernel refuses the sockets.
    pub fn of(namespace: &Namespace) -> Result<Self, DemoError> {
        let open = || -> io::Result<_> {
            // SAFETY: socket takes numbers only; the descriptor it returns is new and owned by nobody else.
            let control = unsafe { OwnedFd::from_raw_fd(checked(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?) };
            Ok((NetlinkSocket::open_here()?, control))
        };
        let (netlink, control) =
            in_namespace(namespace, open)?.doing(|| format!("open control sockets in namespace {}", namespace.name()))?;
        Ok(Self { namespace: namespace.clone(), netlink, control })
    }

    /// Makes a cable: `name` here and `peer_name` in `peer`. Both ends are down, with offloads off and the MTU in bytes.
    ///
    /// # Errors
    /// When a name is taken or the kernel has no veth.
    pub fn veth_pair(&self, name: &str, peer: &Links, peer_name: &str, mtu: u32) -> Result<(), DemoError> {
        let peer_fd = u32::try_from(peer.namespace.as_raw_fd()).expect("descriptors are not negative");
        let describe_peer = |request: Request| {
            request.nested(VETH_INFO_PEER, &interface_header(0, 0, 0), |end| {
                end.text(libc::IFLA_IFNAME, peer_name).number(libc::IFLA_MTU, mtu).number(libc::IFLA_NET_NS_FD, peer_fd)
            })
        };
        let request = Request::new(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &interface_header(0, 0, 0))
            .text(libc::IFLA_IFNAME, name)
            .number(libc::IFLA_MTU, mtu)
            .nested(libc::IFLA_LINKINFO, &[], |info| {
                info.text(libc::IFLA_INFO_KIND, "veth").nested(libc::IFLA_INFO_DATA, &[], describe_peer)
            });
        self.netlink
            .transact(request)
            .doing(|| format!("make veth pair {name} in {} and {peer_name} in {}", self.namespace.name(), peer.namespace.name()))?;
        self.offloads_off(name)?;
        peer.offloads_off(peer_name)
    }

    /// The interface's number.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn index(&self, name: &str) -> Result<u32, DemoError> {
        let look_up = || -> io::Result<i32> {
            let mut request = interface_request(name)?;
            // SAFETY: SIOCGIFINDEX reads the name in `request` and writes the index into it; it lives across the call.
            checked(unsafe { libc::ioctl(self.control.as_raw_fd(), libc::SIOCGIFINDEX as _, &mut request) })?;
            // SAFETY: the call succeeded, so the kernel filled in this member of the union.
            Ok(unsafe { request.ifr_ifru.ifru_ifindex })
        };
        let index = look_up().doing(|| self.about("find", name))?;
        Ok(u32::try_from(index).expect("interface numbers are positive"))
    }

    /// Brings an interface up.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel refuses.
    pub fn up(&self, name: &str) -> Result<(), DemoError> {
        self.change("bring up", name, libc::IFF_UP as u32, libc::IFF_UP as u32, |request| request)
    }

    /// Waits until an interface carries frames; call it on both ends of a cable that was just brought up. The end that came
    /// up first would otherwise silently drop what is sent in the next second: the kernel starts its queue at leisure.
    ///
    /// # Errors
    /// When its other end does not come up within three seconds.
    pub fn wait_running(&self, name: &str) -> Result<(), DemoError> {
        let deadline = Instant::now() + RUNNING_WITHIN;
        while !has_carrier(&self.control, name).doing(|| self.about("read the state of", name))? {
            if Instant::now() > deadline {
                return Err(DemoError::Invalid(format!("{} (is its other end up?)", self.about("no carrier on", name))));
            }
            thread::sleep(Duration::from_millis(1));
        }
        // A queue of another length is stopped and started before the call returns, so there is no later to wait for.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let length = QUEUE_LENGTH + NUMBER.fetch_add(1, Ordering::Relaxed) % QUEUE_LENGTH;
        self.change("start the queue of", name, 0, 0, |request| request.number(libc::IFLA_TXQLEN, length))
    }

    /// Takes an interface down; its addresses stay, its routes go.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel refuses.
    pub fn down(&self, name: &str) -> Result<(), DemoError> {
        self.change("take down", name, 0, libc::IFF_UP as u32, |request| request)
    }

    /// Sets the MTU in bytes.
    ///
    /// # Errors
    /// When there is no such interface, or the value is out of its range.
    pub fn set_mtu(&self, name: &str, mtu: u32) -> Result<(), DemoError> {
        self.change("set the MTU of", name, 0, 0, |request| request.number(libc::IFLA_MTU, mtu))
    }

    /// Sets the Ethernet address.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel refuses.
    pub fn set_mac(&self, name: &str, mac: MacAddress) -> Result<(), DemoError> {
        self.change("set the Ethernet address of", name, 0, 0, |request| request.attribute(libc::IFLA_ADDRESS, &mac.0))
    }

    /// Removes an interface; of a veth pair both ends go.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn delete(&self, name: &str) -> Result<(), DemoError> {
        let request = Request::new(libc::RTM_DELLINK, 0, &interface_header(self.index(name)?, 0, 0));
        self.netlink.transact(request).doing(|| self.about("delete", name))
    }

    /// Gives the interface an address; `address` carries the host's own address and the subnet's prefix length.
    ///
    /// # Errors
    /// When it has the address already, or there is no such interface.
    pub fn add_address(&self, name: &str, address: Ipv4Network) -> Result<(), DemoError> {
        let octets = address.ip().octets();
        let [i0, i1, i2, i3] = self.index(name)?.to_ne_bytes();
        // struct ifaddrmsg: family, prefix length, flags, scope, index.
        let body = [AF_INET, address.prefix(), 0, libc::RT_SCOPE_UNIVERSE, i0, i1, i2, i3];
        let request = Request::new(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body)
            .attribute(libc::IFA_LOCAL, &octets)
            .attribute(libc::IFA_ADDRESS, &octets);
        self.netlink.transact(request).doing(|| self.about(&format!("add address {address} to"), name))
    }

    /// Adds or replaces a route to `destination` (0.0.0.0/0 is the default route) over `name`, through `gateway` or,
    /// without one, straight onto the cable.
    ///
    /// # Errors
    /// When the interface is down or the gateway is not on its subnet.
    pub fn add_route(&self, destination: Ipv4Network, gateway: Option<Ipv4Addr>, name: &str) -> Result<(), DemoError> {
        let scope = if gateway.is_some() { libc::RT_SCOPE_UNIVERSE } else { libc::RT_SCOPE_LINK };
        // struct rtmsg: family, destination and source prefix lengths, TOS, table, protocol, scope, type, flags.
        let (table, protocol) = (libc::RT_TABLE_MAIN, libc::RTPROT_STATIC);
        let body = [AF_INET, destination.prefix(), 0, 0, table, protocol, scope, libc::RTN_UNICAST, 0, 0, 0, 0];
        let mut request = Request::new(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, &body)
            .attribute(libc::RTA_DST, &destination.network().octets())
            .number(libc::RTA_OIF, self.index(name)?);
        if let Some(gateway) = gateway {
            request = request.attribute(libc::RTA_GATEWAY, &gateway.octets());
        }
        self.netlink.transact(request).doing(|| self.about(&format!("add a route to {destination} over"), name))
    }

    /// Tells the kernel a neighbour's Ethernet address for good, so that it never asks by ARP.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn add_neighbor(&self, name: &str, address: Ipv4Addr, mac: MacAddress) -> Result<(), DemoError> {
        // struct ndmsg: family, padding (3), index, state (2), flags, type.
        let mut body = vec![AF_INET, 0, 0, 0];
        body.extend(self.index(name)?.to_ne_bytes());
        body.extend(libc::NUD_PERMANENT.to_ne_bytes());
        body.extend([0, 0]);
        let request = Request::new(libc::RTM_NEWNEIGH, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, &body)
            .attribute(libc::NDA_DST, &address.octets())
            .attribute(libc::NDA_LLADDR, &mac.0);
        self.netlink.transact(request).doing(|| self.about(&format!("add neighbour {address} {mac} on"), name))
    }

    /// Switches off everything that makes veth hand over frames unlike those on a cable: unfinished checksums,
    /// segmentation, receive aggregation, VLAN tags beside the frame. [`Links::veth_pair`] has done it already.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn offloads_off(&self, name: &str) -> Result<(), DemoError> {
        switch_offloads_off(&self.control, name).doing(|| self.about("switch the offloads off on", name))
    }

    /// Makes an interface the end of the VLAN `vlan` (802.1Q) inside the kernel: the tag of what arrives is taken off, what is sent
    /// gets it. Frames of other VLANs are not told apart, so this is for trunks that carry one.
    ///
    /// # Errors
    /// When the process may not load BPF programs (root may, a user namespace's root may not), or the interface has a `clsact` already.
    pub fn end_vlan(&self, name: &str, vlan: u16) -> Result<(), DemoError> {
        untag::attach(&self.netlink, self.index(name)?, vlan).doing(|| self.about(&format!("end VLAN {vlan} on"), name))
    }

    /// Keeps the kernel from speaking on an interface by itself: no ARP, no IPv6.
    ///
    /// # Errors
    /// When there is no such interface, or `/proc/sys` is read-only.
    pub fn silence(&self, name: &str) -> Result<(), DemoError> {
        let no_arp = libc::IFF_NOARP as u32;
        self.change("switch ARP off on", name, no_arp, no_arp, |request| request)?;
        self.ipv6_off(name)
    }

    /// Switches IPv6 off on an interface, so that the kernel sends no router solicitations and no MLD reports there.
    ///
    /// # Errors
    /// When there is no such interface, or `/proc/sys` is read-only.
    pub fn ipv6_off(&self, name: &str) -> Result<(), DemoError> {
        self.index(name)?;
        // A kernel without IPv6 has no such file and nothing to switch off.
        let key = format!("net/ipv6/conf/{name}/disable_ipv6");
        let exists = in_namespace(&self.namespace, || fs::exists(format!("/proc/sys/{key}")).unwrap_or(false))?;
        if exists { self.namespace.set_sysctl(&key, "1") } else { Ok(()) }
    }

    fn change(&self, doing: &str, name: &str, flags: u32, mask: u32, add: impl FnOnce(Request) -> Request) -> Result<(), DemoError> {
        let request = Request::new(libc::RTM_NEWLINK, 0, &interface_header(self.index(name)?, flags, mask));
        self.netlink.transact(add(request)).doing(|| self.about(doing, name))
    }

    fn about(&self, doing: &str, interface: &str) -> String {
        format!("{doing} interface {interface} in namespace {}", self.namespace.name())
    }
}

/// `struct ifinfomsg`: family, padding, type (2), index, flags, mask of the flags to change.
fn interface_header(index: u32, flags: u32, mask: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[0] = AF_UNSPEC;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&mask.to_ne_bytes());
    header
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
