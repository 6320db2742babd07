//! ARP for IPv4 over Ethernet (RFC 826), and which of its messages are acceptable (RFC 5227).

use std::net::Ipv4Addr;

use crate::drop_reason::DropReason;
use crate::wire::ethernet::MacAddr;

/// Length of a message in bytes.
pub const LEN: usize = 28;

/// Hardware type Ethernet, protocol IPv4, address lengths 6 and 4.
const PREFIX: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// Request or reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Who has this address?
    Request,
    /// I have it.
    Reply,
}

/// One ARP message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// Request or reply.
    pub operation: Operation,
    /// The sender's station address.
    pub sender_mac: MacAddr,
    /// The sender's IPv4 address; unspecified in a probe.
    pub sender: Ipv4Addr,
    /// The target's station address; zero in a request.
    pub target_mac: MacAddr,
    /// The IPv4 address asked for, or answered to.
    pub target: Ipv4Addr,
}

impl Arp {
    /// Read a message that arrived in a frame sent by `frame_source`.
    ///
    /// # Errors
    /// [`DropReason::ArpMalformed`] for anything but Ethernet/IPv4, for a sender that is no single station or not the
    /// frame's sender, and for addresses no host may have.
    pub fn parse(payload: &[u8], frame_source: MacAddr) -> Result<Self, DropReason> {
        let message: &[u8; LEN] = payload.first_chunk().ok_or(DropReason::ArpMalformed)?;
        let operation = match message[6..8] {
            [0, 1] => Operation::Request,
            [0, 2] => Operation::Reply,
            _ => return Err(DropReason::ArpMalformed),
        };
        let arp = Self {
            operation,
            sender_mac: MacAddr(std::array::from_fn(|i| message[8 + i])),
            sender: address_at(message, 14),
            target_mac: MacAddr(std::array::from_fn(|i| message[18 + i])),
            target: address_at(message, 24),
        };
        let sound = message[..6] == PREFIX
            && arp.sender_mac == frame_source
            && arp.sender_mac.is_station()
            && !is_impossible(arp.sender)
            && !is_impossible(arp.target);
        if sound { Ok(arp) } else { Err(DropReason::ArpMalformed) }
    }

    /// The message's bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; LEN] {
        let mut message = [0; LEN];
        message[..6].copy_from_slice(&PREFIX);
        message[7] = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        message[8..14].copy_from_slice(&self.sender_mac.0);
        message[14..18].copy_from_slice(&self.sender.octets());
        message[18..24].copy_from_slice(&self.target_mac.0);
        message[24..28].copy_from_slice(&self.target.octets());
        message
    }
}

fn address_at(message: &[u8; LEN], at: usize) -> Ipv4Addr {
    Ipv4Addr::from(std::array::from_fn::<u8, 4, _>(|i| message[at + i]))
}

fn is_impossible(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_multicast() || address.is_broadcast()
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEM: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn request() -> Arp {
        Arp {
            operation: Operation::Request,
            sender_mac: THEM,
            sender: Ipv4Addr::new(10, 0, 0, 1),
            target_mac: MacAddr::default(),
            target: Ipv4Addr::new(10, 0, 0, 2),
        }
    }

    #[test]
    fn short_or_foreign_messages_are_malformed() {
        let bytes = request().bytes();
        for len in 0..LEN {
            assert_eq!(Arp::parse(&bytes[..len], THEM), Err(DropReason::ArpMalformed));
        }
        for at in 0..8 {
            let mut broken = bytes;
            broken[at] ^= 0x40;
            assert_eq!(Arp::parse(&broken, THEM), Err(DropReason::ArpMalformed), "byte {at}");
        }
    }

    #[test]
    fn a_sender_that_is_not_the_frames_sender_or_no_station_is_refused() {
        assert!(Arp::parse(&request().bytes(), MacAddr([2, 0, 0, 0, 0, 3])).is_err());
        let group = MacAddr([3, 0, 0, 0, 0, 2]);
        assert!(Arp::parse(&Arp { sender_mac: group, ..request() }.bytes(), group).is_err());
        let loopback = Arp { sender: Ipv4Addr::LOCALHOST, ..request() };
        assert!(Arp::parse(&loopback.bytes(), THEM).is_err());
    }

    #[test]
    fn a_message_reads_back_as_it_was_even_with_ethernet_padding() {
        let mut padded = request().bytes().to_vec();
        padded.resize(46, 0);
        assert_eq!(Arp::parse(&padded, THEM), Ok(request()));
    }
}
