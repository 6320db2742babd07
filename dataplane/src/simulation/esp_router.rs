//! The municipality's end of an IPsec tunnel: ESP with AES-256-GCM, written down once more from RFC 4303 and RFC 4106 and independent
//! of the relay's. It also does what a router must not do, where a test asks for it.

use std::collections::BTreeMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::tunnel::esp::sa::{AesKey, Encapsulation, EspCipher, Lifetime, OutboundUse, SaPair, Selector, Spi};

/// RFC 4303 section 2.6: IPv4 in tunnel mode.
const IPV4: u8 = 4;
/// Sequence numbers that are remembered: more than the cables can repeat.
const REMEMBERED: usize = 8_192;

/// Cipher keys of one direction.
#[derive(Clone)]
struct Keys {
    key: [u8; 32],
    salt: [u8; 4],
}

impl Keys {
    /// The same for the same number: keys need not be secret here, but never the same twice.
    fn new(number: u32, direction: u8) -> Self {
        let mut key = [direction; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        Self { key, salt: number.to_le_bytes() }
    }

    fn cipher(&self) -> EspCipher {
        EspCipher::AesGcm16 { key: AesKey::new(&self.key).expect("256 bits"), salt: self.salt }
    }

    fn aead(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.key).expect("256 bits"))
    }

    /// RFC 4106 section 4: salt and IV.
    fn nonce(&self, iv: &[u8]) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.salt);
        nonce[4..].copy_from_slice(iv);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// What both ends agree on for one CHILD_SA.
#[derive(Clone)]
pub struct Agreement {
    /// Of packets to the relay.
    pub relay_spi: Spi,
    /// Of packets from the relay.
    pub own_spi: u32,
    /// Extended sequence numbers.
    pub esn: bool,
    to_relay: Keys,
    from_relay: Keys,
}

impl Agreement {
    /// With keys that no other SPI has.
    #[must_use]
    pub fn new(relay_spi: Spi, own_spi: u32, esn: bool) -> Self {
        Self { relay_spi, own_spi, esn, to_relay: Keys::new(relay_spi.get(), 1), from_relay: Keys::new(own_spi ^ relay_spi.get(), 2) }
    }

    /// The relay's half.
    #[must_use]
    pub fn pair(&self, encapsulation: Encapsulation, selectors: Vec<Selector>, outbound_use: OutboundUse) -> SaPair {
        SaPair {
            inbound_spi: self.relay_spi,
            outbound_spi: self.own_spi,
            inbound: self.to_relay.cipher(),
            outbound: self.from_relay.cipher(),
            esn: self.esn,
            encapsulation,
            selectors: selectors.into(),
            soft: Lifetime::UNBOUNDED,
            outbound_use,
        }
    }
}

/// One CHILD_SA at the municipality's end.
struct Pair {
    agreement: Agreement,
    sent: u64,
    newest: u64,
    /// What came under each number lately: the same number twice is the same packet, or the relay used a nonce twice.
    came: BTreeMap<u64, [u8; 16]>,
}

/// The ESP of a municipal router.
#[derive(Default)]
pub struct EspRouter {
    /// The last one sends.
    pairs: Vec<Pair>,
}

impl EspRouter {
    /// Receive and send with this CHILD_SA.
    pub fn add(&mut self, agreement: Agreement) {
        self.pairs.push(Pair { agreement, sent: 0, newest: 0, came: BTreeMap::new() });
    }

    /// Receive with this CHILD_SA, and go on sending with the one before it.
    pub fn add_inbound(&mut self, agreement: Agreement) {
        self.add(agreement);
        let last = self.pairs.len() - 1;
        if last > 0 {
            self.pairs.swap(last - 1, last);
        }
    }

    /// Send with this CHILD_SA from now on.
    pub fn switch(&mut self, relay_spi: Spi) {
        if let Some(place) = self.pairs.iter().position(|pair| pair.agreement.relay_spi == relay_spi) {
            let pair = self.pairs.remove(place);
            self.pairs.push(pair);
        }
    }

    /// Forget this CHILD_SA.
    pub fn remove(&mut self, relay_spi: Spi) {
        self.pairs.retain(|pair| pair.agreement.relay_spi != relay_spi);
    }

    /// SPIs of the relay, that which sends last.
    #[must_use]
    pub fn relay_spis(&self) -> Vec<Spi> {
        self.pairs.iter().map(|pair| pair.agreement.relay_spi).collect()
    }

    /// Leave out sequence numbers.
    ///
    /// # Panics
    /// Without a CHILD_SA.
    pub fn skip(&mut self, numbers: u64) {
        self.pairs.last_mut().expect("an SA to send with").sent += numbers;
    }

    /// The ESP packet around an inner packet; none without a CHILD_SA.
    pub fn seal(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        self.pairs.last_mut().map(|pair| pair.seal(IPV4, packet, None))
    }

    /// As [`Self::seal`], with another next header, or other bytes for padding and its length than RFC 4303 section 2.4 asks for.
    ///
    /// # Panics
    /// Without a CHILD_SA.
    pub fn seal_oddly(&mut self, next_header: u8, packet: &[u8], padding: Option<&[u8]>) -> Vec<u8> {
        self.pairs.last_mut().expect("an SA to send with").seal(next_header, packet, padding)
    }

    /// The inner packet of an ESP packet.
    ///
    /// # Errors
    /// What is wrong with it, in words: weather, or a packet that came too late.
    ///
    /// # Panics
    /// Where the relay has used a number twice.
    pub fn open(&mut self, packet: &[u8]) -> Result<Vec<u8>, String> {
        let spi = packet.first_chunk().map(|spi| u32::from_be_bytes(*spi)).ok_or("too short")?;
        let pair = self.pairs.iter_mut().find(|pair| pair.agreement.own_spi == spi).ok_or_else(|| format!("unknown SPI {spi:#x}"))?;
        pair.open(packet)
    }
}

impl Pair {
    fn seal(&mut self, next_header: u8, inner: &[u8], padding: Option<&[u8]>) -> Vec<u8> {
        self.sent += 1;
        let low = u32::try_from(self.sent & u64::from(u32::MAX)).expect("masked");
        let spi = self.agreement.relay_spi.get().to_be_bytes();
        let iv = self.sent.to_be_bytes();
        let mut body = inner.to_vec();
        match padding {
            Some(padding) => body.extend_from_slice(padding),
            None => {
                let len = u8::try_from((4 - (inner.len() + 2) % 4) % 4).expect("below 4");
                body.extend(1..=len);
                body.push(len);
            }
        }
        body.push(next_header);
        let aad = aad(&spi, self.sent, self.agreement.esn);
        let keys = &self.agreement.to_relay;
        keys.aead().seal_in_place_append_tag(keys.nonce(&iv), Aad::from(&aad[..]), &mut body).expect("short enough");
        [&spi[..], &low.to_be_bytes(), &iv, &body].concat()
    }

    fn open(&mut self, packet: &[u8]) -> Result<Vec<u8>, String> {
        let (Some(low), Some(iv), Some(tag)) = (packet.get(4..8), packet.get(8..16), packet.last_chunk::<16>()) else {
            return Err("too short".to_owned());
        };
        let low = u32::from_be_bytes(low.try_into().expect("four bytes"));
        let number = if self.agreement.esn { nearest(self.newest, low) } else { u64::from(low) };
        let mut body = packet.get(16..).unwrap_or_default().to_vec();
        let keys = &self.agreement.from_relay;
        let aad = aad(&packet[..4], number, self.agreement.esn);
        let plain: &[u8] = keys.aead().open_in_place(keys.nonce(iv), Aad::from(&aad[..]), &mut body).map_err(|_| "not authentic")?;
        if let Some(before) = self.came.insert(number, *tag) {
            assert_eq!(before, *tag, "the relay used number {number} of SPI {:#x} twice", self.agreement.own_spi);
            return Err("repeated by the cable".to_owned());
        }
        if self.came.len() > REMEMBERED {
            self.came.pop_first();
        }
        self.newest = self.newest.max(number);
        let [.., padding, IPV4] = plain else { return Err("no IPv4 inside".to_owned()) };
        let len = plain.len().checked_sub(2 + usize::from(*padding)).ok_or("more padding than packet")?;
        let is_padding = plain[len..plain.len() - 2].iter().zip(1..).all(|(byte, number): (&u8, u8)| *byte == number);
        assert!(is_padding && plain.len().is_multiple_of(4), "padding as in RFC 4303 section 2.4");
        Ok(plain[..len].to_vec())
    }
}

/// RFC 4106 section 5.
fn aad(spi: &[u8], number: u64, esn: bool) -> Vec<u8> {
    let number = number.to_be_bytes();
    [spi, if esn { &number } else { &number[4..] }].concat()
}

/// The number that ends in `low` and is nearest to `newest`.
fn nearest(newest: u64, low: u32) -> u64 {
    let high = newest >> 32;
    let candidates = [high.saturating_sub(1), high, high + 1].map(|high| high << 32 | u64::from(low));
    candidates.into_iter().min_by_key(|number| number.abs_diff(newest)).expect("three of them")
}
