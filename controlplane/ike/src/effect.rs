//! What the engine wants done. Effects are carried out in the order in which they come.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;

use crate::config::PeerName;
use crate::dh::DhTask;
use crate::failure::Failure;
use crate::secret::Secret;

/// The relay's port that a datagram came to or goes from. On 4500 the caller adds and removes the non-ESP marker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LocalPort {
    /// UDP 500.
    P500,
    /// UDP 4500 (RFC 7296 section 2.23).
    P4500,
}

/// Names one Diffie-Hellman job until [`crate::Engine::dh_done`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DhJobId(pub u64);

/// Names one installation until [`crate::Engine::sa_installed`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct InstallId(pub u64);

/// One thing to do.
#[derive(Debug)]
pub enum Effect {
    /// Send an IKE message from an endpoint.
    Send {
        /// Index in [`crate::Config::endpoints`].
        endpoint: usize,
        /// Port to send from.
        local: LocalPort,
        /// Where to.
        to: SocketAddrV4,
        /// The message, without a non-ESP marker.
        message: Vec<u8>,
    },
    /// Send a NAT keepalive (one octet 0xFF, without a marker: RFC 3948 section 2.3) from port 4500.
    SendKeepalive {
        /// Index in [`crate::Config::endpoints`].
        endpoint: usize,
        /// Where to.
        to: SocketAddrV4,
    },
    /// Run a task elsewhere and call [`crate::Engine::dh_done`] with its outcome. It is always called, in any order.
    DiffieHellman {
        /// To be named in `dh_done`.
        job: DhJobId,
        /// What to run.
        task: DhTask,
    },
    /// Install a Child SA and call [`crate::Engine::sa_installed`]: nothing that announces it leaves before.
    Install {
        /// To be named in `sa_installed`.
        id: InstallId,
        /// Whose it is.
        peer: PeerName,
        /// Both directions.
        sa: Box<ChildSa>,
    },
    /// Send on this pair from now on: the peer has shown that it knows the pair, or we know that it does.
    SwitchOutbound {
        /// Whose it is.
        peer: PeerName,
        /// Names the pair.
        inbound_spi: u32,
    },
    /// Send nothing more on this pair: the peer has deleted it. It goes on receiving what is still under way, until it is removed.
    CloseOutbound {
        /// Whose it is.
        peer: PeerName,
        /// Names the pair.
        inbound_spi: u32,
    },
    /// Remove a pair, both directions.
    Remove {
        /// Whose it is.
        peer: PeerName,
        /// Names the pair.
        inbound_spi: u32,
    },
    /// The peer's authenticated IKE messages come from elsewhere now: send its ESP there too.
    MovePeer {
        /// Whose it is.
        peer: PeerName,
        /// Names the pair.
        inbound_spi: u32,
        /// Where to send from now on.
        to: Encapsulation,
    },
    /// Something that people want to know: for the log.
    Report(Report),
}

/// One CHILD_SA: both directions. Tunnel mode always.
#[derive(Clone, Debug)]
pub struct ChildSa {
    /// Drawn by us: the peer sends with it.
    pub inbound_spi: u32,
    /// Drawn by the peer: we send with it.
    pub outbound_spi: u32,
    /// Peer to relay.
    pub inbound: EspCipher,
    /// Relay to peer.
    pub outbound: EspCipher,
    /// Extended sequence numbers (RFC 4303 section 2.2.1).
    pub esn: bool,
    /// How ESP travels.
    pub encapsulation: Encapsulation,
    /// What may go through, never wider than the peer's prefixes; at most 32.
    pub selectors: Vec<Selector>,
    /// When to call [`crate::Engine::sa_expiring`].
    pub soft: Lifetime,
    /// When the outbound direction is first used.
    pub outbound_use: OutboundUse,
}

/// A cipher with its keys (RFC 4303).
#[derive(Clone)]
pub enum EspCipher {
    /// AES-GCM with a 16-octet ICV (RFC 4106). Length of the key: 16 or 32 octets.
    AesGcm16 {
        /// 16 or 32 octets.
        key: Secret,
        /// The implicit part of the nonce.
        salt: [u8; 4],
    },
    /// AES-CBC (RFC 3602) with a HMAC.
    AesCbc {
        /// 16, 24 or 32 octets.
        key: Secret,
        /// Which HMAC.
        integrity: EspIntegrity,
        /// Key of the HMAC: as long as its hash.
        integrity_key: Secret,
    },
}

impl fmt::Debug for EspCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AesGcm16 { key, .. } => write!(f, "AES-GCM-16, {} bits", key.expose().len() * 8),
            Self::AesCbc { key, integrity, .. } => write!(f, "AES-CBC, {} bits, {integrity:?}", key.expose().len() * 8),
        }
    }
}

/// Integrity of ESP with AES-CBC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EspIntegrity {
    /// Legacy exception only (RFC 2404).
    HmacSha1_96,
    /// RFC 4868.
    HmacSha256_128,
    /// RFC 4868.
    HmacSha384_192,
    /// RFC 4868.
    HmacSha512_256,
}

/// How ESP travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encapsulation {
    /// In UDP from the relay's port 4500 (RFC 3948).
    Udp {
        /// Where to.
        peer: SocketAddrV4,
    },
    /// As IP protocol 50.
    Ip {
        /// Where to.
        peer: Ipv4Addr,
    },
}

/// Traffic that a Child SA carries (RFC 7296 section 2.9), seen from the relay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selector {
    /// Addresses on the peer's side.
    pub office: RangeInclusive<Ipv4Addr>,
    /// Addresses on our side.
    pub far: RangeInclusive<Ipv4Addr>,
    /// IP protocol, 0 is any.
    pub protocol: u8,
    /// Ports on the peer's side.
    pub office_ports: RangeInclusive<u16>,
    /// Ports on our side.
    pub far_ports: RangeInclusive<u16>,
}

impl Selector {
    /// True where some packet lies within both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        fn meet<T: PartialOrd>(one: &RangeInclusive<T>, other: &RangeInclusive<T>) -> bool {
            one.start() <= other.end() && other.start() <= one.end()
        }
        meet(&self.office, &other.office)
            && meet(&self.far, &other.far)
            && (self.protocol == other.protocol || self.protocol == 0 || other.protocol == 0)
            && meet(&self.office_ports, &other.office_ports)
            && meet(&self.far_ports, &other.far_ports)
    }
}

/// Traffic after which a Child SA is replaced before its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lifetime {
    /// Octets in one direction.
    pub bytes: u64,
    /// Packets in one direction.
    pub packets: u64,
}

/// When the outbound direction of a new pair is first used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutboundUse {
    /// At once: the peer has it already, or there is no older pair.
    Now,
    /// When the inbound direction has authenticated a packet, or by [`Effect::SwitchOutbound`]: older pairs go on until then. Traffic that
    /// none of them carries uses it at once: it has nothing to lose.
    WhenHeard,
}

/// Why an installation was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InstallRefused {
    /// The tunnel does not exist (any more).
    NoSuchTunnel,
    /// The tunnel holds as many pairs as it may.
    TooManyPairs,
    /// Another SA has this SPI.
    SpiTaken,
    /// The SPI belongs to another worker.
    NotMine,
    /// The command could not be handed over.
    Busy,
}

/// Something that people want to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// A peer has proven who it is.
    IkeEstablished {
        /// Which peer.
        peer: PeerName,
        /// Where it is.
        address: SocketAddrV4,
        /// Suite in the field's notation (`aes256gcm16-prfsha384-ecp384`).
        suite: String,
        /// True when we started.
        initiator: bool,
        /// True when it replaced an older one (RFC 7296 section 2.8).
        rekey: bool,
    },
    /// An IKE SA is gone, with all its children.
    IkeClosed {
        /// Which peer.
        peer: PeerName,
        /// Why.
        why: Closed,
    },
    /// Traffic may flow.
    ChildEstablished {
        /// Which peer.
        peer: PeerName,
        /// SPI that the peer sends with.
        inbound_spi: u32,
        /// SPI that we send with.
        outbound_spi: u32,
        /// Suite (`aes256gcm16`).
        suite: String,
        /// True when it replaced an older one.
        rekey: bool,
    },
    /// A pair is gone.
    ChildClosed {
        /// Which peer.
        peer: PeerName,
        /// Which pair.
        inbound_spi: u32,
    },
    /// The peer is elsewhere now.
    PeerMoved {
        /// Which peer.
        peer: PeerName,
        /// Its new address.
        to: SocketAddrV4,
    },
    /// A negotiation failed.
    Failed {
        /// Which peer, where that is known or said.
        peer: Option<PeerName>,
        /// The peer has proven who it is, or we have called it. Otherwise it may have been anybody.
        proven: bool,
        /// Where the other end is.
        address: SocketAddrV4,
        /// Why; its words are for people.
        failure: Failure,
        /// What exactly, for instance what was offered.
        detail: String,
        /// What to do about it.
        remedy: String,
    },
}

/// Why an IKE SA ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closed {
    /// The peer said so.
    ByPeer,
    /// We said so.
    ByUs,
    /// Replaced by a newer one.
    Replaced,
    /// The peer did not answer any more.
    DeadPeer,
    /// A reload took the peer away or changed it.
    Reconfigured,
    /// The peer began again (RFC 7296 section 2.4, INITIAL_CONTACT).
    PeerRestarted,
    /// The exchange failed.
    Failed,
}
