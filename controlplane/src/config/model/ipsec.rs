//! IPsec: identities, how the two ends prove them, and what may be negotiated.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use time::Date;

use super::super::algorithms::Proposal;
use super::super::distinguished_name::DistinguishedName;
use super::Validity;

/// The relay's end of IPsec tunnels: UDP ports 500 and 4500 and IP protocol 50 on its port's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpsecEndpoint {
    /// As whom the relay presents itself; the port's own address where the file names nothing.
    pub local_id: Identity,
    /// What proves it to tenants with certificates.
    pub certificate: Option<CertificateFiles>,
    /// PEM; whose certificates are believed, unless a tunnel names authorities of its own.
    pub authorities_file: Option<PathBuf>,
}

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// The certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// PKCS#8, SEC1 or PKCS#1, not encrypted.
    pub private_key: PathBuf,
}

/// One tunnel of a tenant, as key exchange knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpsecTunnel {
    pub local_id: Identity,
    /// Names this tunnel and no other of the endpoint.
    pub remote_id: Identity,
    pub authentication: Authentication,
    pub peer: PeerAddress,
    pub initiate: Initiate,
    pub policy: CryptoPolicy,
    /// Narrower than the policy; `None` is all that it allows.
    pub proposals: Option<Proposals>,
    /// A silent peer is asked after this time whether it is alive.
    pub dpd: Duration,
    pub ike_lifetime: Duration,
    pub child_lifetime: Duration,
    pub encapsulation: Encapsulation,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// Files of text; while both stand, both are valid.
    Psk {
        file: PathBuf,
        previous: Option<PathBuf>,
    },
    Certificate {
        own: CertificateFiles,
        authorities_file: PathBuf,
    },
}

/// RFC 7296 section 3.5: the kinds of identities that routers present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// `relay.example.jp`, or a single word.
    Fqdn(String),
    /// `router@chiyoda.example.jp`: ID_RFC822_ADDR.
    Email(String),
    Ipv4(Ipv4Addr),
    /// `keyid:TEXT` or `keyid:0xHEX`; never empty.
    KeyId(Vec<u8>),
    /// `C=JP, O=千代田区, CN=router`, as certificates have it.
    DistinguishedName(DistinguishedName),
}

impl Identity {
    /// What two identities have in common exactly when they are one: names are the same in any case of their letters.
    pub fn folded(&self) -> String {
        match self {
            Identity::Fqdn(_) | Identity::Email(_) => self.to_string().to_lowercase(),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Fqdn(name) | Identity::Email(name) => f.write_str(name),
            Identity::Ipv4(address) => address.fmt(f),
            Identity::KeyId(bytes) => {
                let plain = bytes.iter().all(u8::is_ascii_graphic) && !bytes.starts_with(b"0x");
                match std::str::from_utf8(bytes) {
                    Ok(text) if plain => write!(f, "keyid:{text}"),
                    _ => {
                        f.write_str("keyid:0x")?;
                        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
                    }
                }
            }
            Identity::DistinguishedName(name) => name.fmt(f),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerAddress {
    /// Wherever the identity calls from.
    Any,
    Fixed(Ipv4Addr),
}

/// When the relay opens the tunnel by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initiate {
    /// When a packet wants to go, and after a restart where it was up.
    OnDemand,
    /// Whenever it is down and the peer's address is known.
    Always,
    Never,
}

impl Initiate {
    pub fn as_str(self) -> &'static str {
        match self {
            Initiate::OnDemand => "on-demand",
            Initiate::Always => "always",
            Initiate::Never => "never",
        }
    }
}

/// How ESP travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encapsulation {
    /// In UDP where there is address translation on the way, else as IP protocol 50.
    Auto,
    /// Always in UDP.
    Udp,
}

/// Which algorithms may be negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CryptoPolicy {
    /// CRYPTREC's list; no WireGuard.
    Cryptrec,
    Modern,
    /// Besides, through this day in Japan, what old routers have.
    LegacyUntil(Date),
}

impl CryptoPolicy {
    /// Whether the exceptions hold at the Unix time `now`.
    pub fn is_legacy_at(self, now: i64) -> bool {
        self.legacy_ends_at_unix().is_some_and(|end| now < end)
    }

    /// The Unix time from which the exceptions hold no more.
    pub fn legacy_ends_at_unix(self) -> Option<i64> {
        match self {
            CryptoPolicy::LegacyUntil(day) => Validity { from: None, until: Some(day) }.ends_at_unix(),
            CryptoPolicy::Cryptrec | CryptoPolicy::Modern => None,
        }
    }
}

impl fmt::Display for CryptoPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CryptoPolicy::Cryptrec => f.write_str("cryptrec"),
            CryptoPolicy::Modern => f.write_str("modern"),
            CryptoPolicy::LegacyUntil(day) => write!(f, "legacy-until {day}"),
        }
    }
}

/// In the order of preference.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proposals {
    /// Empty: what the policy allows.
    pub ike: Vec<Proposal>,
    /// Empty: what the policy allows.
    pub child: Vec<Proposal>,
}
