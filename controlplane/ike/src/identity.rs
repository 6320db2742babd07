//! Identities as the ID payloads carry them (RFC 7296 section 3.5).

use std::fmt;
use std::net::Ipv4Addr;

/// Who one side is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// `ID_FQDN`: `chiyoda` or `relay.example.jp`, without a trailing dot.
    Fqdn(String),
    /// `ID_RFC822_ADDR`: `router@town.example.jp`.
    Email(String),
    /// `ID_IPV4_ADDR`.
    Ipv4(Ipv4Addr),
    /// `ID_KEY_ID`: opaque bytes; what Yamaha and NEC call "key-id".
    KeyId(Vec<u8>),
    /// `ID_DER_ASN1_DN`: the DER encoding of a certificate's subject.
    DistinguishedName(Vec<u8>),
}

/// ID types of RFC 7296 section 3.5.
mod id_type {
    pub(super) const IPV4_ADDR: u8 = 1;
    pub(super) const FQDN: u8 = 2;
    pub(super) const RFC822_ADDR: u8 = 3;
    pub(super) const DER_ASN1_DN: u8 = 9;
    pub(super) const KEY_ID: u8 = 11;
}

/// Longer identities are nobody's: RFC 1035 ends names at 255 octets, and distinguished names get the rest.
const LONGEST_IDENTITY: usize = 1_024;

impl Identity {
    /// The identity with this ID type and these identification data, as an ID payload carries them; `None` for a type that is not
    /// supported and for data that cannot be of that type.
    #[must_use]
    pub fn from_wire(id_type: u8, data: &[u8]) -> Option<Self> {
        if data.is_empty() || data.len() > LONGEST_IDENTITY {
            return None;
        }
        let text = || std::str::from_utf8(data).ok().filter(|text| !text.chars().any(char::is_control)).map(str::to_owned);
        match id_type {
            id_type::IPV4_ADDR => <[u8; 4]>::try_from(data).ok().map(|octets| Self::Ipv4(Ipv4Addr::from(octets))),
            id_type::FQDN => text().map(Self::Fqdn),
            id_type::RFC822_ADDR => text().map(Self::Email),
            id_type::DER_ASN1_DN => Some(Self::DistinguishedName(data.to_vec())),
            id_type::KEY_ID => Some(Self::KeyId(data.to_vec())),
            _ => None,
        }
    }

    /// What identities have in common exactly when they are the same: names are in any case of their letters (RFC 4343, RFC 5321
    /// section 2.4 as everybody reads it).
    #[must_use]
    pub fn folded(&self) -> Self {
        match self {
            Self::Fqdn(name) => Self::Fqdn(name.to_lowercase()),
            Self::Email(name) => Self::Email(name.to_lowercase()),
            Self::Ipv4(_) | Self::KeyId(_) | Self::DistinguishedName(_) => self.clone(),
        }
    }

    /// ID type (RFC 7296 section 3.5).
    #[must_use]
    pub fn id_type(&self) -> u8 {
        match self {
            Self::Fqdn(_) => id_type::FQDN,
            Self::Email(_) => id_type::RFC822_ADDR,
            Self::Ipv4(_) => id_type::IPV4_ADDR,
            Self::KeyId(_) => id_type::KEY_ID,
            Self::DistinguishedName(_) => id_type::DER_ASN1_DN,
        }
    }

    /// Identification data, as the ID payload carries them.
    #[must_use]
    pub fn data(&self) -> Vec<u8> {
        match self {
            Self::Fqdn(text) | Self::Email(text) => text.as_bytes().to_vec(),
            Self::Ipv4(address) => address.octets().to_vec(),
            Self::KeyId(bytes) | Self::DistinguishedName(bytes) => bytes.clone(),
        }
    }

    /// What stands in an ID payload behind its generic header: type, three reserved octets, data. This is also what AUTH covers
    /// (`RestOfInitIDPayload`, RFC 7296 section 2.15).
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut body = vec![self.id_type(), 0, 0, 0];
        body.extend_from_slice(&self.data());
        body
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fqdn(text) | Self::Email(text) => f.write_str(text),
            Self::Ipv4(address) => write!(f, "{address}"),
            Self::KeyId(bytes) => write!(f, "key-id {}", bytes.escape_ascii()),
            Self::DistinguishedName(bytes) => {
                f.write_str("distinguished name ")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_the_wire() {
        let all = [
            Identity::Fqdn("chiyoda".into()),
            Identity::Email("router@town.example".into()),
            Identity::Ipv4(Ipv4Addr::new(192, 0, 2, 1)),
            Identity::KeyId(vec![0, 255]),
            Identity::DistinguishedName(vec![0x30, 0]),
        ];
        for identity in all {
            assert_eq!(Identity::from_wire(identity.id_type(), &identity.data()), Some(identity.clone()));
        }
    }

    #[test]
    fn names_are_the_same_in_any_case_and_nothing_else_is() {
        let same = |one: &Identity, other: &Identity| one.folded() == other.folded();
        assert!(same(&Identity::Fqdn("Chiyoda.example".into()), &Identity::Fqdn("CHIYODA.EXAMPLE".into())));
        assert!(same(&Identity::Email("Router@Town.example".into()), &Identity::Email("router@town.example".into())));
        assert!(!same(&Identity::KeyId(b"Minato".to_vec()), &Identity::KeyId(b"minato".to_vec())), "bytes are bytes");
        assert!(!same(&Identity::Fqdn("a@b".into()), &Identity::Email("a@b".into())), "of another kind");
    }

    #[test]
    fn data_that_cannot_be_of_their_type_are_nobodys_identity() {
        for (id_type, data) in [(1, &[1, 2, 3][..]), (2, b""), (2, b"a\nb"), (2, &[0xff]), (5, &[0; 16]), (11, &[7; 1_025])] {
            assert_eq!(Identity::from_wire(id_type, data), None);
        }
    }
}
