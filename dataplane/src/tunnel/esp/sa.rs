//! Security associations as plain data: what the control plane negotiates and a worker installs.
//!
//! Keys are erased when dropped and never printed.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use rand::Rng;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::router_config::{MAX_WORKERS, WorkerId};
use crate::time::Instant;

/// RFC 4303 section 2.1: 1 to 255 are reserved, 0 never stands on the wire.
pub const FIRST_SPI: u32 = 256;
/// Our own bound: SA pairs of one tunnel. A rekey needs two, a collision of rekeys four; a router that makes a pair for each of eight pairs
/// of prefixes has sixteen while it replaces all of them.
pub const MAX_PAIRS: usize = 16;
/// Our own bound: selectors of one SA pair.
pub const MAX_SELECTORS: usize = 32;

/// Security parameters index of an inbound SA (RFC 4303 section 2.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Spi(NonZeroU32);

impl Spi {
    /// `spi`, unless it is one of the reserved values below 256.
    #[must_use]
    pub const fn new(spi: u32) -> Option<Self> {
        match NonZeroU32::new(spi) {
            Some(spi) if spi.get() >= FIRST_SPI => Some(Self(spi)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// The SPIs that one worker's tenants have: the owner's number stands in the top bits, so that whoever receives a packet knows where
/// it belongs without a table. One worker has all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpiSpace {
    worker: WorkerId,
    /// Bits below the owner's number.
    free_bits: u32,
}

impl SpiSpace {
    /// The SPIs of `worker`, which is one of `workers`.
    ///
    /// # Panics
    /// For a worker that is none of them, or more workers than [`MAX_WORKERS`].
    #[must_use]
    pub fn of(worker: WorkerId, workers: usize) -> Self {
        assert!(worker.index() < workers && workers <= MAX_WORKERS, "{worker:?} is one of {workers} workers");
        Self { worker, free_bits: u32::BITS - workers.next_power_of_two().trailing_zeros() }
    }

    /// The worker whose number stands in `spi`; there may be none of this number.
    #[must_use]
    pub fn owner_of(self, spi: u32) -> WorkerId {
        WorkerId(u8::try_from(u64::from(spi) >> self.free_bits).unwrap_or(u8::MAX))
    }

    /// Whether `spi` is one of this worker's.
    #[must_use]
    pub fn holds(self, spi: Spi) -> bool {
        self.owner_of(spi.get()) == self.worker
    }

    /// An SPI of this worker, drawn from `random`.
    #[must_use]
    pub fn draw(self, random: &mut impl Rng) -> Spi {
        let owner = u64::from(self.worker.0) << self.free_bits;
        let below = random.random_range(u64::from(FIRST_SPI)..1 << self.free_bits);
        let spi = u32::try_from(owner | below).expect("owner and free bits are 32");
        Spi::new(spi).expect("not below the first SPI")
    }
}

/// A key for AES: 16, 24 or 32 bytes.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct AesKey {
    bytes: [u8; 32],
    len: u8,
}

impl AesKey {
    /// The key, where `key` has one of the three lengths.
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        let len = u8::try_from(key.len()).ok().filter(|len| matches!(len, 16 | 24 | 32))?;
        let mut bytes = [0; 32];
        bytes[..key.len()].copy_from_slice(key);
        Some(Self { bytes, len })
    }

    /// The key's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Length in bits.
    #[must_use]
    pub fn bits(&self) -> u16 {
        u16::from(self.len) * 8
    }
}

impl std::fmt::Debug for AesKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AesKey({} bits)", self.bits())
    }
}

/// Integrity algorithms of ESP (RFC 2404, RFC 4868).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Integrity {
    /// HMAC-SHA-1-96: a dated exception of one tenant only.
    HmacSha1_96,
    /// HMAC-SHA-256-128.
    HmacSha256_128,
    /// HMAC-SHA-384-192.
    HmacSha384_192,
    /// HMAC-SHA-512-256.
    HmacSha512_256,
}

impl Integrity {
    /// Length of the key in bytes: the hash's output (RFC 2404 section 3, RFC 4868 section 2.1.1).
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::HmacSha1_96 => 20,
            Self::HmacSha256_128 => 32,
            Self::HmacSha384_192 => 48,
            Self::HmacSha512_256 => 64,
        }
    }

    /// Length of the integrity check value in bytes.
    #[must_use]
    pub const fn icv_len(self) -> usize {
        match self {
            Self::HmacSha1_96 => 12,
            Self::HmacSha256_128 => 16,
            Self::HmacSha384_192 => 24,
            Self::HmacSha512_256 => 32,
        }
    }
}

/// A key for an integrity algorithm, of that algorithm's length.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct IntegrityKey {
    #[zeroize(skip)]
    algorithm: Integrity,
    bytes: [u8; 64],
}

impl IntegrityKey {
    /// The key, where `key` has the algorithm's length.
    #[must_use]
    pub fn new(algorithm: Integrity, key: &[u8]) -> Option<Self> {
        if key.len() != algorithm.key_len() {
            return None;
        }
        let mut bytes = [0; 64];
        bytes[..key.len()].copy_from_slice(key);
        Some(Self { algorithm, bytes })
    }

    /// What the key is for.
    #[must_use]
    pub fn algorithm(&self) -> Integrity {
        self.algorithm
    }

    /// The key's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.key_len()]
    }
}

impl std::fmt::Debug for IntegrityKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IntegrityKey({:?})", self.algorithm)
    }
}

/// Cipher and keys of one SA, which is one direction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EspCipher {
    /// AES-GCM with a 16-byte ICV (RFC 4106).
    AesGcm16 {
        /// 128 or 256 bits (192 are refused when the SA is installed).
        key: AesKey,
        /// RFC 4106 section 4: the nonce is this and the packet's IV.
        salt: [u8; 4],
    },
    /// AES-CBC (RFC 3602) with an integrity algorithm beside it.
    AesCbc {
        /// 128, 192 or 256 bits.
        key: AesKey,
        /// Integrity algorithm and its key.
        integrity: IntegrityKey,
    },
}

impl EspCipher {
    /// The suite as `show tunnels` spells it.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::AesGcm16 { key, .. } => match key.bits() {
                128 => "aes128gcm16",
                192 => "aes192gcm16",
                _ => "aes256gcm16",
            },
            Self::AesCbc { key, integrity } => match (key.bits(), integrity.algorithm()) {
                (128, Integrity::HmacSha1_96) => "aes128-sha1",
                (128, Integrity::HmacSha256_128) => "aes128-sha256",
                (128, Integrity::HmacSha384_192) => "aes128-sha384",
                (128, Integrity::HmacSha512_256) => "aes128-sha512",
                (192, Integrity::HmacSha1_96) => "aes192-sha1",
                (192, Integrity::HmacSha256_128) => "aes192-sha256",
                (192, Integrity::HmacSha384_192) => "aes192-sha384",
                (192, Integrity::HmacSha512_256) => "aes192-sha512",
                (_, Integrity::HmacSha1_96) => "aes256-sha1",
                (_, Integrity::HmacSha256_128) => "aes256-sha256",
                (_, Integrity::HmacSha384_192) => "aes256-sha384",
                (_, Integrity::HmacSha512_256) => "aes256-sha512",
            },
        }
    }
}

/// How ESP packets travel, and where to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encapsulation {
    /// In UDP from the relay's port 4500 (RFC 3948).
    Udp {
        /// The peer's address and port.
        peer: SocketAddrV4,
    },
    /// As IP protocol 50.
    Ip {
        /// The peer's address.
        peer: Ipv4Addr,
    },
}

/// What an SA carries (RFC 4301 section 4.4.2), seen from the relay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selector {
    /// Addresses at the municipality's end.
    pub office: RangeInclusive<Ipv4Addr>,
    /// Addresses behind the relay, as the office sees them.
    pub far: RangeInclusive<Ipv4Addr>,
    /// IP protocol; 0 is any.
    pub protocol: u8,
    /// Ports at the municipality's end.
    pub office_ports: RangeInclusive<u16>,
    /// Ports behind the relay.
    pub far_ports: RangeInclusive<u16>,
}

/// What an SA may carry before its successor is asked for. `u64::MAX` is no bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lifetime {
    /// Bytes of inner packets, one direction.
    pub bytes: u64,
    /// Packets, one direction.
    pub packets: u64,
}

impl Lifetime {
    /// No bound but that of the sequence number.
    pub const UNBOUNDED: Self = Self { bytes: u64::MAX, packets: u64::MAX };
}

/// When the outbound SA of a new pair is used first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutboundUse {
    /// At once: the peer has its inbound SA already.
    Now,
    /// When the inbound SA has authenticated a packet, or `Command::SwitchOutbound` says so. The pairs before it go on until then; what
    /// none of them carries uses it at once.
    WhenHeard,
}

/// One CHILD_SA: an SA each way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SaPair {
    /// Of packets from the peer; drawn from the owning worker's [`SpiSpace`].
    pub inbound_spi: Spi,
    /// Of packets to the peer, which chose it.
    pub outbound_spi: u32,
    /// From the peer.
    pub inbound: EspCipher,
    /// To the peer.
    pub outbound: EspCipher,
    /// Extended sequence numbers (RFC 4303 section 2.2.1).
    pub esn: bool,
    /// How packets reach the peer.
    pub encapsulation: Encapsulation,
    /// At most [`MAX_SELECTORS`]; one of them has to match.
    pub selectors: Box<[Selector]>,
    /// What it carries before `Event::SaExpiring`.
    pub soft: Lifetime,
    /// When its outbound SA takes over.
    pub outbound_use: OutboundUse,
}

/// Why an SA pair was not installed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SaRefused {
    /// No such tenant here, or it has no such IPsec tunnel: a reload took it away.
    #[error("the relay has no such IPsec tunnel any more")]
    NoSuchTunnel,
    /// The tunnel has [`MAX_PAIRS`].
    #[error("the tunnel has {MAX_PAIRS} SA pairs already; its peer does not delete the old ones")]
    TooManyPairs,
    /// Another SA has this SPI, or had it within the last nine minutes.
    #[error("the SPI is in use or was a short while ago; draw another one")]
    SpiTaken,
    /// The SPI is of another worker.
    #[error("the SPI is not one of the worker that owns the tenant")]
    NotMine,
    /// Something the data plane does not do: AES-GCM with 192 bits, no selector, or more than [`MAX_SELECTORS`].
    #[error("the data plane has no such suite, or not room for so many selectors")]
    Unsupported,
    /// All places in the worker's table are taken.
    #[error("the worker's table of SPIs is full; start another relay")]
    TableFull,
}

/// An SA pair as `show` has it.
#[derive(Clone, Debug)]
pub struct SaRow {
    /// SPI of packets from the peer.
    pub inbound_spi: u32,
    /// SPI of packets to the peer.
    pub outbound_spi: u32,
    /// As [`EspCipher::label`].
    pub suite: &'static str,
    /// Extended sequence numbers.
    pub esn: bool,
    /// How packets reach the peer.
    pub encapsulation: Encapsulation,
    /// Whether packets to the peer use it now.
    pub in_use: bool,
    /// When it was installed.
    pub installed_at: Instant,
    /// When its inbound SA last authenticated a packet.
    pub heard_at: Option<Instant>,
    /// Packets and bytes of inner packets from the peer.
    pub received: (u64, u64),
    /// Packets and bytes of inner packets to the peer.
    pub transmitted: (u64, u64),
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn every_spi_names_its_owner_and_none_is_reserved() {
        for workers in 1..=MAX_WORKERS {
            for worker in (0u8..).take(workers).map(WorkerId) {
                let space = SpiSpace::of(worker, workers);
                let mut random = StdRng::seed_from_u64(u64::from(worker.0));
                for _ in 0..400 {
                    let spi = space.draw(&mut random);
                    assert!(spi.get() >= FIRST_SPI && space.holds(spi), "{worker:?} of {workers}: {spi:?}");
                    assert_eq!(space.owner_of(spi.get()), worker);
                }
            }
        }
        assert_eq!(SpiSpace::of(WorkerId(0), 1).owner_of(u32::MAX), WorkerId(0), "one worker owns all");
        assert_eq!(SpiSpace::of(WorkerId(0), 3).owner_of(u32::MAX), WorkerId(3), "an owner that does not exist");
        assert_eq!((Spi::new(255), Spi::new(256).map(Spi::get)), (None, Some(256)));
    }

    #[test]
    fn keys_have_the_lengths_of_their_algorithms_and_print_nothing_of_themselves() {
        assert!([0, 15, 17, 31, 33].iter().all(|len| AesKey::new(&vec![0xab; *len]).is_none()));
        let key = AesKey::new(&[0xab; 24]).expect("192 bits");
        assert_eq!((key.bytes(), key.bits()), (&[0xab; 24][..], 192));
        assert!(IntegrityKey::new(Integrity::HmacSha256_128, &[0xab; 20]).is_none());
        let integrity = IntegrityKey::new(Integrity::HmacSha256_128, &[0xab; 32]).expect("256 bits");
        assert_eq!(integrity.bytes(), [0xab; 32]);
        let printed = format!("{:?} {:?}", EspCipher::AesCbc { key: key.clone(), integrity }, EspCipher::AesGcm16 { key, salt: [0xab; 4] });
        assert!(!printed.contains("171, 171, 171, 171, 171"), "{printed}");
        assert!(!printed.to_lowercase().contains("abab"), "{printed}");
    }
}
