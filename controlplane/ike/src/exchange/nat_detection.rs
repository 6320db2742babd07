//! NAT detection (RFC 7296 section 2.23): hashes of addresses and ports, which a NAT on the way makes wrong.

use std::net::{Ipv4Addr, SocketAddrV4};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::message::{IkeSpi, NotifyType, Payloads};
use crate::sa::Nat;

/// `SHA-1(SPIs | IP | Port)`. SHA-1 is what the RFC says, and nothing rests on it: it hides addresses, no more.
pub(crate) fn hash(initiator: Option<IkeSpi>, responder: Option<IkeSpi>, end: SocketAddrV4) -> [u8; 20] {
    let mut data = Vec::with_capacity(22);
    data.extend_from_slice(&initiator.map_or([0; 8], IkeSpi::octets));
    data.extend_from_slice(&responder.map_or([0; 8], IkeSpi::octets));
    data.extend_from_slice(&end.ip().octets());
    data.extend_from_slice(&end.port().to_be_bytes());
    let mut hash = [0; 20];
    hash.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, &data).as_ref());
    hash
}

/// The hash of an address that nobody has: whoever gets it as our source believes that we stand behind a NAT, and uses UDP.
pub(crate) fn hash_of_nobody() -> [u8; 20] {
    hash(None, None, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))
}

/// What the peer's hashes say: `theirs` is where its message came from, `ours` where it came to. A peer that sends none knows nothing
/// of NATs, and gets none.
pub(crate) fn detect(payloads: &Payloads<'_>, spis: (Option<IkeSpi>, Option<IkeSpi>), theirs: SocketAddrV4, ours: SocketAddrV4) -> Nat {
    let of = |kind| payloads.notifies().filter(move |notify| notify.kind == kind);
    let differs = |kind, end| {
        let expected = hash(spis.0, spis.1, end);
        of(kind).next().is_some() && !of(kind).any(|notify| notify.data == expected)
    };
    Nat {
        peer_behind: differs(NotifyType::NAT_DETECTION_SOURCE_IP, theirs),
        we_behind: differs(NotifyType::NAT_DETECTION_DESTINATION_IP, ours),
        pretended: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{ExchangeType, Header, Message, Notify, Payload, write};

    fn spis() -> (Option<IkeSpi>, Option<IkeSpi>) {
        (IkeSpi::new(0x1122_3344_5566_7788), None)
    }

    fn detected(source: Option<&[u8]>, destination: Option<&[u8]>) -> Nat {
        let mut payloads = Vec::new();
        payloads.extend(source.map(|data| Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_SOURCE_IP, data))));
        payloads.extend(destination.map(|data| Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_DESTINATION_IP, data))));
        let header = Header {
            initiator_spi: spis().0.unwrap(),
            responder_spi: None,
            exchange: ExchangeType::IkeSaInit,
            from_initiator: true,
            response: false,
            message_id: 0,
        };
        let message = write(&header, &payloads).unwrap();
        let message = Message::parse(&message).unwrap();
        detect(&message.payloads, spis(), end(11), end(1))
    }

    fn end(host: u8) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, host), 500)
    }

    #[test]
    fn a_wrong_hash_tells_on_whose_side_the_nat_is() {
        let (theirs, ours) = (hash(spis().0, None, end(11)), hash(spis().0, None, end(1)));
        assert_eq!(detected(Some(&theirs), Some(&ours)), Nat::default());
        assert_eq!(detected(Some(&[0; 20]), Some(&ours)), Nat { peer_behind: true, ..Nat::default() });
        assert_eq!(detected(Some(&theirs), Some(&[])), Nat { we_behind: true, ..Nat::default() });
        assert_eq!(detected(Some(&hash_of_nobody()), None), Nat { peer_behind: true, ..Nat::default() });
        assert_eq!(detected(None, None), Nat::default(), "a peer without NAT traversal");
    }
}
