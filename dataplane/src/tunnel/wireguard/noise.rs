//! Noise_IKpsk2 as WireGuard has it (whitepaper sections 5.4.2 and 5.4.3): the middle of an initiation and of its response, without
//! their MACs. Pure functions of keys and bytes; no clock, no randomness, no state that outlives a handshake.
//!
//! ```text
//! initiation  type | sender   | ephemeral 32 | static 32+16 | timestamp 12+16 | mac1 | mac2
//! response    type | sender   | receiver     | ephemeral 32 | nothing 0+16    | mac1 | mac2
//! ```

use blake2::{Blake2s256, Digest};
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::aead::{self, TAG};
use super::keys::{Identity, Peer};
use super::timestamp::Tai64n;

/// Where a message's MACs begin.
pub(super) const INITIATION_BODY: usize = 116;
pub(super) const RESPONSE_BODY: usize = 60;

const CONSTRUCTION: &[u8] = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const IDENTIFIER: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";

type Key = Zeroizing<[u8; 32]>;

/// It does not verify.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Refused;

/// The keys of a session, from where one stands.
pub(super) struct SessionKeys {
    pub(super) sending: Key,
    pub(super) receiving: Key,
}

/// A handshake that we started: what its response will be read with.
pub(super) struct Initiator {
    noise: Noise,
    ephemeral: StaticSecret,
}

impl Initiator {
    /// Write the body of an initiation, all but its type and sender.
    pub(super) fn start(
        own: &Identity,
        peer: &Peer,
        ephemeral: StaticSecret,
        timestamp: Tai64n,
        message: &mut [u8; INITIATION_BODY],
    ) -> Result<Self, Refused> {
        let mut noise = Noise::new(&peer.public);
        let public = PublicKey::from(&ephemeral);
        noise.mix_ephemeral(public.as_bytes());
        message[8..40].copy_from_slice(public.as_bytes());
        let key = noise.mix_key_and_draw(&ephemeral.diffie_hellman(&PublicKey::from(peer.public)))?;
        noise.seal(&key, own.public(), &mut message[40..88])?;
        let key = noise.mix_key_and_draw(&peer.static_static)?;
        noise.seal(&key, &timestamp.to_bytes(), &mut message[88..])?;
        Ok(Self { noise, ephemeral })
    }

    /// Read the body of a response. One that does not verify changes nothing.
    pub(super) fn finish(&self, own: &Identity, peer: &Peer, message: &[u8; RESPONSE_BODY]) -> Result<SessionKeys, Refused> {
        let mut noise = self.noise.clone();
        let theirs = array(&message[12..44]);
        noise.mix_ephemeral(&theirs);
        let theirs = PublicKey::from(theirs);
        noise.mix_key(&self.ephemeral.diffie_hellman(&theirs))?;
        noise.mix_key(&own.private().diffie_hellman(&theirs))?;
        let key = noise.mix_preshared(&peer.preshared.0);
        noise.open(&key, &message[44..], &mut [])?;
        let [sending, receiving] = noise.split();
        Ok(SessionKeys { sending, receiving })
    }
}

/// A handshake that somebody else started.
pub(super) struct Responder {
    noise: Noise,
    theirs: PublicKey,
}

impl Responder {
    /// Read whom an initiation is from, so far as it says. Costs a Diffie-Hellman.
    pub(super) fn read(own: &Identity, message: &[u8; INITIATION_BODY]) -> Result<(Self, [u8; 32]), Refused> {
        let mut noise = Noise::new(own.public());
        let theirs = array(&message[8..40]);
        noise.mix_ephemeral(&theirs);
        let theirs = PublicKey::from(theirs);
        let key = noise.mix_key_and_draw(&own.private().diffie_hellman(&theirs))?;
        let mut public = [0; 32];
        noise.open(&key, &message[40..88], &mut public)?;
        Ok((Self { noise, theirs }, public))
    }

    /// Read when it was made: if that opens, whoever it says it is from made it.
    pub(super) fn timestamp(&mut self, peer: &Peer, message: &[u8; INITIATION_BODY]) -> Result<Tai64n, Refused> {
        let key = self.noise.mix_key_and_draw(&peer.static_static)?;
        let mut timestamp = [0; 12];
        self.noise.open(&key, &message[88..], &mut timestamp)?;
        Ok(Tai64n::from_bytes(timestamp))
    }

    /// Write the body of the response, all but its type and indices.
    pub(super) fn respond(self, peer: &Peer, ephemeral: &StaticSecret, message: &mut [u8; RESPONSE_BODY]) -> Result<SessionKeys, Refused> {
        let Self { mut noise, theirs } = self;
        let public = PublicKey::from(ephemeral);
        noise.mix_ephemeral(public.as_bytes());
        message[12..44].copy_from_slice(public.as_bytes());
        noise.mix_key(&ephemeral.diffie_hellman(&theirs))?;
        noise.mix_key(&ephemeral.diffie_hellman(&PublicKey::from(peer.public)))?;
        let key = noise.mix_preshared(&peer.preshared.0);
        noise.seal(&key, &[], &mut message[44..])?;
        let [receiving, sending] = noise.split();
        Ok(SessionKeys { sending, receiving })
    }
}

/// Chaining key and transcript hash.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
struct Noise {
    chaining_key: [u8; 32],
    hash: [u8; 32],
}

impl Noise {
    fn new(responder: &[u8; 32]) -> Self {
        let chaining_key = hash(&[CONSTRUCTION]);
        let mut noise = Self { hash: hash(&[&chaining_key, IDENTIFIER]), chaining_key };
        noise.mix_hash(responder);
        noise
    }

    fn mix_hash(&mut self, bytes: &[u8]) {
        self.hash = hash(&[&self.hash, bytes]);
    }

    /// With a preshared key, an ephemeral public key goes into both.
    fn mix_ephemeral(&mut self, public: &[u8; 32]) {
        [self.chaining_key] = *derive(&self.chaining_key, public);
        self.mix_hash(public);
    }

    /// A result of zero is known to everybody, whoever has which key (RFC 7748 section 6.1).
    fn mix_key(&mut self, shared: &SharedSecret) -> Result<(), Refused> {
        [self.chaining_key] = *derive(&self.chaining_key, contributory(shared)?);
        Ok(())
    }

    fn mix_key_and_draw(&mut self, shared: &SharedSecret) -> Result<Key, Refused> {
        let derived: Zeroizing<[_; 2]> = derive(&self.chaining_key, contributory(shared)?);
        self.chaining_key = derived[0];
        Ok(Zeroizing::new(derived[1]))
    }

    fn mix_preshared(&mut self, preshared: &[u8; 32]) -> Key {
        let derived: Zeroizing<[_; 3]> = derive(&self.chaining_key, preshared);
        self.chaining_key = derived[0];
        self.mix_hash(&derived[1]);
        Zeroizing::new(derived[2])
    }

    fn seal(&mut self, key: &[u8; 32], plain: &[u8], out: &mut [u8]) -> Result<(), Refused> {
        debug_assert_eq!(out.len(), plain.len() + TAG);
        aead::seal(key, 0, &self.hash, plain, out).ok_or(Refused)?;
        self.mix_hash(out);
        Ok(())
    }

    fn open(&mut self, key: &[u8; 32], sealed: &[u8], out: &mut [u8]) -> Result<(), Refused> {
        aead::open(key, 0, &self.hash, sealed, out).ok_or(Refused)?;
        self.mix_hash(sealed);
        Ok(())
    }

    /// The initiator's sending key, and the responder's.
    fn split(self) -> [Key; 2] {
        let derived: Zeroizing<[_; 2]> = derive(&self.chaining_key, &[]);
        [Zeroizing::new(derived[0]), Zeroizing::new(derived[1])]
    }
}

fn contributory(shared: &SharedSecret) -> Result<&[u8; 32], Refused> {
    if shared.was_contributory() { Ok(shared.as_bytes()) } else { Err(Refused) }
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    parts.iter().fold(Blake2s256::new(), |hash, part| hash.chain_update(part)).finalize().into()
}

/// HKDF (RFC 5869) with HMAC-BLAKE2s and without info: `N` keys of 32 bytes.
fn derive<const N: usize>(chaining_key: &[u8; 32], input: &[u8]) -> Zeroizing<[[u8; 32]; N]> {
    let extracted = Zeroizing::new(hmac(chaining_key, &[input]));
    let mut keys = Zeroizing::new([[0; 32]; N]);
    for (index, number) in (0..N).zip(1u8..) {
        let (done, rest) = keys.split_at_mut(index);
        let previous = done.last().map_or(&[][..], |key| key);
        rest[0] = hmac(&extracted, &[previous, &[number]]);
    }
    keys
}

/// HMAC (RFC 2104) with BLAKE2s, whose blocks have 64 bytes.
fn hmac(key: &[u8; 32], message: &[&[u8]]) -> [u8; 32] {
    let mut pad = Zeroizing::new([0x36; 64]);
    pad.iter_mut().zip(key).for_each(|(pad, key)| *pad ^= key);
    let inner = message.iter().fold(Blake2s256::new_with_prefix(pad.as_slice()), |hash, part| hash.chain_update(part)).finalize();
    pad.iter_mut().for_each(|pad| *pad ^= 0x36 ^ 0x5c);
    Blake2s256::new_with_prefix(pad.as_slice()).chain_update(inner).finalize().into()
}

/// The bytes of a place in a message whose length is fixed.
fn array(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().expect("the place has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router_config::SecretKey;
    use crate::tunnel::wireguard::keys::ephemeral;

    const TIME: Tai64n = Tai64n::from_bytes([0x40; 12]);

    fn identity(byte: u8) -> Identity {
        Identity::new(&SecretKey([byte; 32]))
    }

    fn fresh() -> StaticSecret {
        ephemeral().expect("random bytes")
    }

    #[test]
    fn both_ends_draw_the_same_keys_crosswise_and_the_responder_reads_who_and_when() {
        let (one, two) = (identity(1), identity(2));
        let (to_two, to_one) = (Peer::new(&one, *two.public(), None), Peer::new(&two, *one.public(), None));
        let (mut initiation, mut response) = ([0; INITIATION_BODY], [0; RESPONSE_BODY]);
        let initiator = Initiator::start(&one, &to_two, fresh(), TIME, &mut initiation).expect("sound keys");
        let (mut responder, public) = Responder::read(&two, &initiation).expect("for us");
        assert_eq!((public, responder.timestamp(&to_one, &initiation)), (*one.public(), Ok(TIME)));
        let of_two = responder.respond(&to_one, &fresh(), &mut response).expect("sound keys");
        let of_one = initiator.finish(&one, &to_two, &response).expect("from two");
        assert_eq!((*of_one.sending, *of_one.receiving), (*of_two.receiving, *of_two.sending));
        assert_ne!(*of_one.sending, *of_one.receiving);
        for at in 12..RESPONSE_BODY {
            let mut broken = response;
            broken[at] ^= 1;
            assert!(initiator.finish(&one, &to_two, &broken).is_err(), "byte {at}");
        }
    }

    #[test]
    fn an_initiation_with_any_byte_changed_is_refused_before_its_time_is_believed() {
        let (one, two) = (identity(1), identity(2));
        let (to_two, to_one) = (Peer::new(&one, *two.public(), None), Peer::new(&two, *one.public(), None));
        let mut initiation = [0; INITIATION_BODY];
        Initiator::start(&one, &to_two, fresh(), TIME, &mut initiation).expect("sound keys");
        for at in 8..INITIATION_BODY {
            let mut broken = initiation;
            broken[at] ^= 1;
            let read = Responder::read(&two, &broken).and_then(|(mut responder, _)| responder.timestamp(&to_one, &broken));
            assert_eq!(read, Err(Refused), "byte {at}");
        }
        assert!(Responder::read(&identity(3), &initiation).is_err(), "for somebody else");
    }

    #[test]
    fn a_result_of_zero_is_refused_in_either_role() {
        let (one, two) = (identity(1), identity(2));
        let mut initiation = [0; INITIATION_BODY];
        let nobody = Peer::new(&one, [0; 32], None);
        assert!(Initiator::start(&one, &nobody, fresh(), TIME, &mut initiation).is_err(), "a peer of low order");
        // The ephemeral key is still zero.
        assert!(Responder::read(&two, &initiation.map(|_| 0)).is_err());
        let to_two = Peer::new(&one, *two.public(), None);
        let initiator = Initiator::start(&one, &to_two, fresh(), TIME, &mut initiation).expect("sound keys");
        assert!(initiator.finish(&one, &to_two, &[0; RESPONSE_BODY]).is_err());
    }
}
