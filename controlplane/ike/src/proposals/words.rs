//! What a peer offers, in words: also what is too weak to have a type.

use crate::message::{Proposal, Transform, TransformType};

/// A transform as people know it: `3DES`, `MODP-1024 (group 2)`, `AES-CBC-256`.
#[must_use]
pub fn transform_words(transform: &Transform) -> String {
    let bits = transform.key_bits.map_or_else(String::new, |bits| format!("-{bits}"));
    match transform.kind {
        TransformType::Encryption => format!("{}{bits}", name(&ENCRYPTION, transform.id, "cipher")),
        TransformType::PseudoRandomFunction => name(&PRF, transform.id, "PRF"),
        TransformType::Integrity => name(&INTEGRITY, transform.id, "integrity"),
        TransformType::KeyExchange => group_words(transform.id),
        TransformType::ExtendedSequenceNumbers if transform.id == 0 => "no ESN".to_owned(),
        TransformType::ExtendedSequenceNumbers => "ESN".to_owned(),
        TransformType::Other(kind) => format!("transform type {kind}"),
    }
}

/// A group by its name and number.
pub(super) fn group_words(number: u16) -> String {
    match GROUP.iter().find(|(id, _)| *id == number) {
        Some((0, name)) => (*name).to_owned(),
        Some((_, name)) => format!("{name} (group {number})"),
        None => format!("group {number}"),
    }
}

/// All transforms of a proposal, in their order.
#[must_use]
pub fn proposal_words(proposal: &Proposal) -> String {
    proposal.transforms.iter().map(transform_words).collect::<Vec<_>>().join(", ")
}

fn name(names: &[(u16, &str)], id: u16, kind: &str) -> String {
    names.iter().find(|(number, _)| *number == id).map_or_else(|| format!("{kind} {id}"), |(_, name)| (*name).to_owned())
}

const ENCRYPTION: [(u16, &str); 15] = [
    (1, "DES-IV64"),
    (2, "DES"),
    (3, "3DES"),
    (5, "IDEA"),
    (6, "CAST"),
    (7, "Blowfish"),
    (11, "NULL"),
    (12, "AES-CBC"),
    (13, "AES-CTR"),
    (16, "AES-CCM-16"),
    (18, "AES-GCM-8"),
    (19, "AES-GCM-12"),
    (20, "AES-GCM-16"),
    (23, "Camellia-CBC"),
    (28, "ChaCha20-Poly1305"),
];
const PRF: [(u16, &str); 8] = [
    (1, "PRF MD5"),
    (2, "PRF SHA-1"),
    (3, "PRF Tiger"),
    (4, "PRF AES-XCBC"),
    (5, "PRF SHA-256"),
    (6, "PRF SHA-384"),
    (7, "PRF SHA-512"),
    (8, "PRF AES-CMAC"),
];
const INTEGRITY: [(u16, &str); 8] =
    [(0, "no integrity"), (1, "MD5"), (2, "SHA-1"), (5, "AES-XCBC"), (8, "AES-CMAC"), (12, "SHA-256"), (13, "SHA-384"), (14, "SHA-512")];
const GROUP: [(u16, &str); 16] = [
    (0, "no PFS"),
    (1, "MODP-768"),
    (2, "MODP-1024"),
    (5, "MODP-1536"),
    (14, "MODP-2048"),
    (15, "MODP-3072"),
    (16, "MODP-4096"),
    (17, "MODP-6144"),
    (18, "MODP-8192"),
    (19, "ECP-256"),
    (20, "ECP-384"),
    (21, "ECP-521"),
    (22, "MODP-1024-160"),
    (24, "MODP-2048-256"),
    (31, "X25519"),
    (32, "X448"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_and_unknown_algorithms_have_words_too() {
        let words = |kind, id, key_bits| transform_words(&Transform { kind, id, key_bits, understood: true });
        assert_eq!(words(TransformType::KeyExchange, 2, None), "MODP-1024 (group 2)");
        assert_eq!(words(TransformType::KeyExchange, 999, None), "group 999");
        assert_eq!(words(TransformType::Encryption, 12, Some(256)), "AES-CBC-256");
        assert_eq!(words(TransformType::Encryption, 3, None), "3DES");
        assert_eq!(words(TransformType::Encryption, 1_000, Some(128)), "cipher 1000-128");
        assert_eq!(words(TransformType::Other(6), 1, None), "transform type 6");
    }
}
