//! The ciphers of ESP over whole packets: header, IV, ciphertext and integrity check value. The payload moves once, inside the cipher.
//!
//! AES-GCM and HMAC are aws-lc's, which works from one buffer into another and erases its keys when they are dropped; it offers no CBC
//! without padding of its own, so that is RustCrypto's, which decrypts eight and more blocks at a time. None of them allocates.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroize;

use super::cbc::{CbcOpener, CbcSealer};
use super::packet::{BLOCK, HEADER, TRAILER, Trailer};
use super::sa::{EspCipher, Integrity};

/// RFC 4106 section 3.1.
const GCM_IV: usize = 8;
const GCM_ICV: usize = 16;

/// What an ESP packet needs around the ciphertext.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Geometry {
    /// Length of the IV in bytes.
    pub(super) iv: usize,
    /// The ciphertext is a multiple of this many bytes.
    pub(super) align: usize,
    /// Length of the integrity check value in bytes.
    pub(super) icv: usize,
}

impl Geometry {
    /// RFC 4106: the ciphertext needs the alignment of ESP only.
    const GCM: Self = Self { iv: GCM_IV, align: 4, icv: GCM_ICV };

    /// That of AES-CBC with `integrity` (RFC 3602 section 3, RFC 4868 section 2.3).
    pub(super) const fn cbc(integrity: Integrity) -> Self {
        Self { iv: BLOCK, align: BLOCK, icv: integrity.icv_len() }
    }

    /// Bytes more than the inner packet, at most.
    pub(super) const fn overhead(self) -> usize {
        HEADER + self.iv + (self.align - 1) + TRAILER + self.icv
    }

    /// Where the parts of `datagram` begin: ciphertext, integrity check value. `None` where it cannot be a packet of this suite.
    pub(super) fn parts(self, datagram: &[u8]) -> Option<(usize, usize)> {
        let ciphertext = HEADER + self.iv;
        let icv = datagram.len().checked_sub(self.icv)?;
        let len = icv.checked_sub(ciphertext)?;
        (len >= TRAILER && len.is_multiple_of(self.align)).then_some((ciphertext, icv))
    }
}

/// The number of a packet in its SA, and what of it is authenticated without being sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sequence {
    pub(super) number: u64,
    /// Extended sequence numbers (RFC 4303 section 2.2.1).
    pub(super) extended: bool,
}

impl Sequence {
    /// Upper half.
    pub(super) fn upper(self) -> Option<[u8; 4]> {
        let [a, b, c, d, ..] = self.number.to_be_bytes();
        self.extended.then_some([a, b, c, d])
    }

    /// Lower half, as it is sent.
    pub(super) fn lower(self) -> [u8; 4] {
        let [.., a, b, c, d] = self.number.to_be_bytes();
        [a, b, c, d]
    }
}

/// Associated data of RFC 4106 section 5: SPI and sequence number, in full where it is extended.
struct AssociatedData {
    bytes: [u8; 12],
    len: usize,
}

impl AssociatedData {
    fn new(spi: [u8; 4], sequence: Sequence) -> Self {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&spi);
        let len = if let Some(upper) = sequence.upper() {
            bytes[4..8].copy_from_slice(&upper);
            bytes[8..].copy_from_slice(&sequence.lower());
            12
        } else {
            bytes[4..8].copy_from_slice(&sequence.lower());
            8
        };
        Self { bytes, len }
    }
}

impl AsRef<[u8]> for AssociatedData {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// AES-GCM with its salt; erased when dropped.
pub(super) struct Gcm {
    key: LessSafeKey,
    salt: [u8; 4],
}

impl Gcm {
    fn new(key: &[u8], salt: [u8; 4]) -> Option<Self> {
        let algorithm = match key.len() {
            16 => &AES_128_GCM,
            32 => &AES_256_GCM,
            _ => return None,
        };
        Some(Self { key: LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?), salt })
    }

    /// RFC 4106 section 4.
    fn nonce(&self, iv: [u8; GCM_IV]) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[..4].copy_from_slice(&self.salt);
        nonce[4..].copy_from_slice(&iv);
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&self, spi: u32, sequence: Sequence, inner: &mut [u8], len: usize, trailer: &Trailer, out: &mut [u8]) -> Option<()> {
        let (head, body) = out.split_at_mut_checked(HEADER + GCM_IV)?;
        // The sequence number in full is what never comes twice under a key.
        let iv = sequence.number.to_be_bytes();
        head[HEADER..].copy_from_slice(&iv);
        let aad = Aad::from(AssociatedData::new(spi.to_be_bytes(), sequence));
        let plain = len + trailer.bytes().len();
        // In one piece, where there is room for the trailer behind the packet: that is a little faster.
        if let Some(inner) = inner.get_mut(..plain) {
            inner[len..].copy_from_slice(trailer.bytes());
            let (ciphertext, icv) = body.split_at_mut_checked(plain)?;
            self.key.seal_out_of_place_scatter(self.nonce(iv), aad, inner, ciphertext, &[], icv).ok()
        } else {
            let (ciphertext, rest) = body.split_at_mut_checked(len)?;
            self.key.seal_out_of_place_scatter(self.nonce(iv), aad, &inner[..len], ciphertext, trailer.bytes(), rest).ok()
        }
    }

    fn open(&self, sequence: Sequence, datagram: &[u8], (ciphertext, icv): (usize, usize), out: &mut [u8]) -> Option<()> {
        let spi = <[u8; 4]>::try_from(&datagram[..4]).ok()?;
        let iv = <[u8; GCM_IV]>::try_from(&datagram[HEADER..ciphertext]).ok()?;
        let aad = Aad::from(AssociatedData::new(spi, sequence));
        self.key.open_separate_gather(self.nonce(iv), aad, &datagram[ciphertext..icv], &datagram[icv..], out).ok()
    }
}

impl Drop for Gcm {
    fn drop(&mut self) {
        self.salt.zeroize();
    }
}

/// The outbound half of a suite. A kilobyte of AES-CBC and HMAC lies apart, so that a pair with AES-GCM stays small.
pub(super) enum Sealer {
    Gcm(Gcm),
    Cbc(Box<CbcSealer>),
}

/// The inbound half of a suite.
pub(super) enum Opener {
    Gcm(Gcm),
    Cbc(Box<CbcOpener>),
}

impl Sealer {
    /// `None`: AES-GCM with 192 bits, which nobody asks for.
    pub(super) fn new(cipher: &EspCipher) -> Option<Self> {
        match cipher {
            EspCipher::AesGcm16 { key, salt } => Gcm::new(key.bytes(), *salt).map(Self::Gcm),
            EspCipher::AesCbc { key, integrity } => Some(Self::Cbc(Box::new(CbcSealer::new(key, integrity)))),
        }
    }

    pub(super) fn geometry(&self) -> Geometry {
        match self {
            Self::Gcm(_) => Geometry::GCM,
            Self::Cbc(cbc) => cbc.geometry(),
        }
    }

    /// Write the ESP packet of `inner[..len]` into `out` and return its length. Where there is room behind `len` in `inner`, it may be
    /// written to. The caller never gives the same sequence number twice. `None`: `out` is too short.
    pub(super) fn seal(&self, spi: u32, sequence: Sequence, inner: &mut [u8], len: usize, out: &mut [u8]) -> Option<usize> {
        let geometry = self.geometry();
        let trailer = Trailer::new(len, geometry.align);
        let total = HEADER + geometry.iv + len + trailer.bytes().len() + geometry.icv;
        let out = out.get_mut(..total)?;
        out[..4].copy_from_slice(&spi.to_be_bytes());
        out[4..HEADER].copy_from_slice(&sequence.lower());
        match self {
            Self::Gcm(gcm) => gcm.seal(spi, sequence, inner, len, &trailer, out)?,
            Self::Cbc(cbc) => cbc.seal(sequence, inner.get(..len)?, &trailer, out)?,
        }
        Some(total)
    }
}

/// Why a packet was not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotOpened {
    /// Its length is impossible, or `out` too short.
    Malformed,
    /// It is not from whoever has the key.
    Forged,
}

impl Opener {
    /// As [`Sealer::new`].
    pub(super) fn new(cipher: &EspCipher) -> Option<Self> {
        match cipher {
            EspCipher::AesGcm16 { key, salt } => Gcm::new(key.bytes(), *salt).map(Self::Gcm),
            EspCipher::AesCbc { key, integrity } => Some(Self::Cbc(Box::new(CbcOpener::new(key, integrity)))),
        }
    }

    pub(super) fn geometry(&self) -> Geometry {
        match self {
            Self::Gcm(_) => Geometry::GCM,
            Self::Cbc(cbc) => cbc.geometry(),
        }
    }

    /// Authenticate `datagram` and decrypt it into the front of `out`: payload and trailer, whose length together is returned. What is
    /// in `out` after a failure is of no use.
    pub(super) fn open(&self, sequence: Sequence, datagram: &[u8], out: &mut [u8]) -> Result<usize, NotOpened> {
        let parts = self.geometry().parts(datagram).ok_or(NotOpened::Malformed)?;
        let len = parts.1 - parts.0;
        let out = out.get_mut(..len).ok_or(NotOpened::Malformed)?;
        let opened = match self {
            Self::Gcm(gcm) => gcm.open(sequence, datagram, parts, out),
            Self::Cbc(cbc) => cbc.open(sequence, datagram, parts, out),
        };
        opened.map(|()| len).ok_or(NotOpened::Forged)
    }
}
