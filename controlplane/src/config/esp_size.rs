//! What ESP in UDP takes from a packet.

use super::algorithms::{Kind, Proposal};

/// RFC 3948 over IPv4: IPv4 header 20, UDP header 8; then SPI and sequence number of ESP, 8.
const HEADERS_BYTES: u16 = 36;
/// Pad Length and Next Header: RFC 4303 section 2.
const TRAILER_BYTES: u16 = 2;

/// A cipher as a packet's size sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CipherSize {
    initialization_vector: u16,
    integrity_value: u16,
    /// What the padded packet is a multiple of.
    block: u16,
}

/// The largest of all that any policy allows: AES-CBC with HMAC-SHA-512-256.
const LARGEST: CipherSize = CipherSize { initialization_vector: 16, integrity_value: 32, block: 16 };
/// RFC 4106.
const GCM: CipherSize = CipherSize { initialization_vector: 8, integrity_value: 16, block: 4 };

impl CipherSize {
    /// The largest inner packet whose ESP in UDP fits `outer` bytes.
    fn room(self, outer: u16) -> u16 {
        let ciphertext = outer.saturating_sub(HEADERS_BYTES + self.initialization_vector + self.integrity_value);
        (ciphertext / self.block * self.block).saturating_sub(TRAILER_BYTES)
    }
}

/// The largest inner packet in bytes that fits a port of `outer` bytes whichever of `children` is negotiated; none stands for all that a
/// policy allows.
pub(super) fn room<'a>(outer: u16, children: impl Iterator<Item = &'a Proposal>) -> u16 {
    children.map(|child| largest_of(child).room(outer)).min().unwrap_or_else(|| LARGEST.room(outer))
}

fn largest_of(child: &Proposal) -> CipherSize {
    let integrity_values =
        child.algorithms().iter().filter(|algorithm| algorithm.kind == Kind::Integrity).map(|algorithm| match algorithm.transform_id {
            // AUTH_HMAC_SHA1_96, AUTH_HMAC_SHA2_256_128, _384_192, _512_256
            2 => 12,
            12 => 16,
            13 => 24,
            _ => 32,
        });
    integrity_values.max().map_or(GCM, |integrity_value| CipherSize { integrity_value, ..LARGEST })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_1500_bytes_leaves_what_the_cipher_leaves() {
        let sizes = [(16, 1_422), (24, 1_422), (32, 1_406), (12, 1_422)]
            .map(|(integrity_value, room)| (CipherSize { integrity_value, ..LARGEST }, room));
        for (cipher, room) in sizes.into_iter().chain([(GCM, 1_438)]) {
            assert_eq!(cipher.room(1_500), room, "{cipher:?}");
            // RFC 4303 section 2.4: what the packet of that size becomes, and one byte more.
            let outer = |inner: u16| {
                let padded = (inner + TRAILER_BYTES).next_multiple_of(cipher.block);
                HEADERS_BYTES + cipher.initialization_vector + padded + cipher.integrity_value
            };
            assert!(outer(room) <= 1_500 && outer(room + 1) > 1_500, "{cipher:?}");
        }
    }
}
