//! Where a tunnel's message came from.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::packet::Packet;
use crate::wire::underlay6;

/// The outer source of a message that waits. Every packet that waits has one, so it is small: an address of IPv6 is read again from the
/// headers, which still stand in front of the message in its frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    V4(SocketAddrV4),
    V6,
}

impl Source {
    /// That of a message from `address`.
    pub(super) const fn of(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self::V4(address),
            SocketAddr::V6(_) => Self::V6,
        }
    }

    /// The address of the sender of `message`.
    pub(super) fn address(self, message: &mut Packet) -> SocketAddr {
        const NOWHERE: SocketAddrV6 = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0);
        match self {
            Self::V4(address) => SocketAddr::V4(address),
            // A message that came over IPv6 has its headers in front of it, so there is room.
            Self::V6 => SocketAddr::V6(underlay6::source_in_front_of(message).unwrap_or(NOWHERE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_hardly_larger_than_an_address_of_ipv4_and_a_port() {
        assert_eq!(size_of::<Source>(), 8);
    }
}
