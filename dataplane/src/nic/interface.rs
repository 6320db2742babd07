//! What the kernel knows about an interface, asked over route netlink in the caller's network namespace.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::NicError;
use super::netlink::{Attribute, Attributes, Message, Netlink};
use super::sys;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_MULTIPATH: u16 = 9;

/// An interface as it was when it was looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Largest IP packet the kernel sends on it, in bytes.
    pub mtu: u32,
    /// Index of the bridge or bond it belongs to; a port belongs to none.
    pub master: Option<u32>,
}

impl Interface {
    /// Look an interface up by its name.
    pub(super) fn find(netlink: &mut Netlink, name: &str) -> Result<Self, NicError> {
        let missing = || NicError::Missing { interface: name.into() };
        // The kernel answers a name that is too long with ERANGE.
        sys::ifreq(name).map_err(|_| missing())?;
        let mut message = Message::new(libc::RTM_GETLINK, 0, &[0; 16]);
        message.string(IFLA_IFNAME, name);
        let mut found = None;
        match netlink.request(message, |_, body| found = parse_link(body)) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Err(missing()),
            other => other.map_err(|source| NicError::io("ask the kernel about the interface", name, source))?,
        }
        found.ok_or_else(|| NicError::NotEthernet { interface: name.into() })
    }

    /// All Ethernet interfaces, in the order of their numbers.
    pub(super) fn all(netlink: &mut Netlink) -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        netlink.dump(Message::new(libc::RTM_GETLINK, 0, &[0; 16]), |_, body| found.extend(parse_link(body)))?;
        Ok(found)
    }

    /// The name of the bridge or bond with this index, or the index in digits.
    pub(super) fn name_of(netlink: &mut Netlink, index: u32) -> String {
        let mut header = [0; 16];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        let mut name = None;
        let asked = netlink.request(Message::new(libc::RTM_GETLINK, 0, &header), |_, body| {
            name = Attributes::behind(body, 16).find(|attribute| attribute.kind == IFLA_IFNAME).map(|attribute| attribute.string());
        });
        asked.ok().and(name).unwrap_or_else(|| index.to_string())
    }

    /// The first IP address a person gave it. An IPv6 link-local address is the kernel's own and does not count.
    pub(super) fn address(&self, netlink: &mut Netlink) -> io::Result<Option<IpAddr>> {
        let mut found = None;
        netlink.dump(Message::new(libc::RTM_GETADDR, 0, &[0; 8]), |_, body| {
            let index = body.get(4..8).map(|index| u32::from_ne_bytes(index.try_into().expect("four bytes")));
            if index != Some(self.index) || found.is_some() {
                return;
            }
            let attributes = || Attributes::behind(body, 8);
            // On a point-to-point link IFA_ADDRESS is the other end's.
            let own = attributes().find(|a| a.kind == IFA_LOCAL).or_else(|| attributes().find(|a| a.kind == IFA_ADDRESS));
            found = own.and_then(|address| ip(address.value)).filter(|address| !is_link_local(*address));
        })?;
        Ok(found)
    }

    /// The first route over it that a person made, as `destination/length`.
    pub(super) fn route(&self, netlink: &mut Netlink) -> io::Result<Option<String>> {
        let mut found = None;
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut header = [0; 12];
            header[0] = u8::try_from(family).expect("a small number");
            let result = netlink.dump(Message::new(libc::RTM_GETROUTE, 0, &header), |_, body| {
                if found.is_none() {
                    found = route_over(body, self.index);
                }
            });
            match result {
                // A kernel without IPv6.
                Err(error) if family == libc::AF_INET6 && error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                other => other?,
            }
        }
        Ok(found)
    }
}

fn parse_link(body: &[u8]) -> Option<Interface> {
    let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let (mut name, mut mac, mut mtu, mut master) = (None, None, None, None);
    for attribute in Attributes::behind(body, 16) {
        match attribute.kind {
            IFLA_IFNAME => name = Some(attribute.string()),
            IFLA_ADDRESS => mac = attribute.value.try_into().ok(),
            IFLA_MTU => mtu = attribute.number(),
            IFLA_MASTER => master = attribute.number(),
            _ => {}
        }
    }
    // ARPHRD_ETHER: anything else (a tunnel, loopback) has no Ethernet header.
    let is_ethernet = body.get(2..4)? == libc::ARPHRD_ETHER.to_ne_bytes();
    is_ethernet.then_some(Interface { index, name: name?, mac: mac?, mtu: mtu?, master })
}

fn route_over(body: &[u8], interface: u32) -> Option<String> {
    let [family, length] = *body.get(..2)? else { return None };
    let attributes = || Attributes::behind(body, 12);
    let leaves_here = attributes().any(|attribute| match attribute.kind {
        RTA_OIF => attribute.number() == Some(interface),
        RTA_MULTIPATH => has_next_hop(attribute, interface),
        _ => false,
    });
    let destination = attributes().find(|attribute| attribute.kind == RTA_DST).and_then(|attribute| ip(attribute.value));
    // fe80::/64 and ff00::/8 are the kernel's own on every interface.
    let own = destination.is_some_and(|address| is_link_local(address) || address.is_multicast());
    let any = if family == 2 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    (leaves_here && !own).then(|| format!("{}/{length}", destination.unwrap_or(any)))
}

/// `RTA_MULTIPATH` is a list of `struct rtnexthop`: length (u16), flags, hops, interface (i32), attributes.
fn has_next_hop(attribute: Attribute<'_>, interface: u32) -> bool {
    let mut rest = attribute.value;
    while let Some(hop) = rest.get(..8) {
        if hop[4..8] == interface.to_ne_bytes() {
            return true;
        }
        let length = usize::from(u16::from_ne_bytes([hop[0], hop[1]])).max(8).next_multiple_of(4);
        rest = rest.get(length..).unwrap_or_default();
    }
    false
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_over_several_next_hops_counts_for_each_of_their_interfaces() {
        // rtmsg of 0.0.0.0/0, then RTA_MULTIPATH with two next hops of 8 bytes, over interfaces 3 and 9.
        let mut body = vec![2, 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
        body.extend(20u16.to_ne_bytes());
        body.extend(RTA_MULTIPATH.to_ne_bytes());
        for interface in [3u32, 9] {
            body.extend(8u16.to_ne_bytes());
            body.extend([0, 0]);
            body.extend(interface.to_ne_bytes());
        }
        assert_eq!(route_over(&body, 9).as_deref(), Some("0.0.0.0/0"));
        assert_eq!(route_over(&body, 4), None);
    }
}
