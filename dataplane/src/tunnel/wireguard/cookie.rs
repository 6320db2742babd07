//! The two MACs of a handshake message (whitepaper sections 5.4.4 and 5.4.7): the first proves that the sender knows whom it talks
//! to, the second, asked for under load only, that it receives at the address it sends from.
//!
//! [`Cookies`] stands at the relay's end, and checks; [`Signer`] stands at a tunnel's, and signs what the relay sends.

use std::net::{IpAddr, SocketAddr};

use blake2::digest::consts::{U16, U32};
use blake2::digest::{FixedOutput, Mac};
use blake2::{Blake2s256, Blake2sMac, Digest};
use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use rand::TryRngCore;
use rand::rngs::OsRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::message::COOKIE_REPLY_LEN;
use crate::time::{Duration, Instant};

/// Whitepaper section 5.4.7: the secret changes every two minutes.
const SECRET_LIFETIME: Duration = Duration::from_secs(120);

/// Both MACs stand at the end of the message, 16 bytes each.
const MAC_LEN: usize = 16;

type Mac16 = Blake2sMac<U16>;

/// What an endpoint needs to check both MACs and to hand out cookies.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Cookies {
    mac1_key: [u8; 32],
    cookie_key: [u8; 32],
    /// The secrets are drawn from it.
    seed: [u8; 32],
    secret: [u8; 32],
    /// Which secret that is, counted from the start of the clock.
    #[zeroize(skip)]
    epoch: Option<u64>,
}

impl Cookies {
    /// What has the same `seed` and clock has the same secrets.
    pub(super) fn new(public_key: &[u8; 32], seed: &[u8; 32]) -> Self {
        Self {
            mac1_key: key_for(b"mac1----", public_key),
            cookie_key: key_for(b"cookie--", public_key),
            seed: *seed,
            secret: [0; 32],
            epoch: None,
        }
    }

    /// Whether the first MAC of a handshake message is right.
    pub(super) fn mac1_is_valid(&self, message: &[u8]) -> bool {
        let Some((covered, mac1, _)) = split(message) else { return false };
        keyed(&self.mac1_key).chain_update(covered).verify_slice(mac1).is_ok()
    }

    /// Whether the second MAC shows the cookie that this source got less than two minutes ago.
    pub(super) fn mac2_is_valid(&mut self, message: &[u8], source: SocketAddr, now: Instant) -> bool {
        let Some((covered, mac1, mac2)) = split(message) else { return false };
        if mac2 == [0; MAC_LEN] {
            return false;
        }
        self.change_secret(now);
        keyed(&self.cookie(source)).chain_update(covered).chain_update(mac1).verify_slice(mac2).is_ok()
    }

    /// Write the cookie reply to `message` into `reply`; `None` where there is no room or no randomness.
    pub(super) fn reply(&mut self, message: &[u8], source: SocketAddr, reply: &mut [u8], now: Instant) -> Option<usize> {
        let reply = reply.get_mut(..COOKIE_REPLY_LEN)?;
        let (_, mac1, _) = split(message)?;
        self.change_secret(now);
        let (header, rest) = reply.split_at_mut(8);
        let (nonce, sealed) = rest.split_at_mut(24);
        header[..4].copy_from_slice(&[3, 0, 0, 0]);
        header[4..].copy_from_slice(message.get(4..8)?);
        OsRng.try_fill_bytes(nonce).ok()?;
        let (cookie, tag) = sealed.split_at_mut(MAC_LEN);
        cookie.copy_from_slice(&self.cookie(source));
        let cipher = XChaCha20Poly1305::new(&self.cookie_key.into());
        let sealed = cipher.encrypt_in_place_detached(XNonce::from_slice(nonce), mac1, cookie).ok()?;
        tag.copy_from_slice(&sealed);
        Some(COOKIE_REPLY_LEN)
    }

    /// Whitepaper section 5.4.7 wants a random secret every two minutes. A pseudo-random function of a random seed and the number of
    /// the two minutes is one that several workers know without telling each other.
    fn change_secret(&mut self, now: Instant) {
        let epoch = now.since(Instant::ZERO).as_secs() / SECRET_LIFETIME.as_secs();
        if self.epoch != Some(epoch) {
            let mac = <Blake2sMac<U32> as Mac>::new_from_slice(&self.seed).expect("a key of 32 bytes");
            let mac = mac.chain_update(b"cookie secret").chain_update(self.mac1_key).chain_update(epoch.to_be_bytes());
            self.secret = mac.finalize_fixed().into();
            self.epoch = Some(epoch);
        }
    }

    /// MAC(secret, address || port).
    fn cookie(&self, source: SocketAddr) -> [u8; MAC_LEN] {
        let mac = keyed(&self.secret);
        let mac = match source.ip() {
            IpAddr::V4(ip) => mac.chain_update(ip.octets()),
            IpAddr::V6(ip) => mac.chain_update(ip.octets()),
        };
        mac.chain_update(source.port().to_be_bytes()).finalize_fixed().into()
    }
}

/// Signs the handshake messages to one peer, and keeps the cookie that the peer asks for.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Signer {
    mac1_key: [u8; 32],
    cookie_key: [u8; 32],
    cookie: [u8; MAC_LEN],
    /// When the cookie came.
    #[zeroize(skip)]
    cookie_at: Option<Instant>,
    /// Of the last message that was signed: its sender index and its first MAC.
    sender: [u8; 4],
    mac1: [u8; MAC_LEN],
    /// That message was sent, and no cookie has come for it.
    expects_cookie: bool,
}

impl Signer {
    pub(super) fn new(peer: &[u8; 32]) -> Self {
        Self {
            mac1_key: key_for(b"mac1----", peer),
            cookie_key: key_for(b"cookie--", peer),
            cookie: [0; MAC_LEN],
            cookie_at: None,
            sender: [0; 4],
            mac1: [0; MAC_LEN],
            expects_cookie: false,
        }
    }

    /// Write both MACs behind the body of `message`; the second is zero without a cookie.
    pub(super) fn sign(&mut self, message: &mut [u8], now: Instant) {
        self.expire(now);
        let body = message.len() - 2 * MAC_LEN;
        let (covered, macs) = message.split_at_mut(body);
        let (mac1, mac2) = macs.split_at_mut(MAC_LEN);
        self.sender.copy_from_slice(&covered[4..8]);
        self.mac1 = keyed(&self.mac1_key).chain_update(&*covered).finalize_fixed().into();
        mac1.copy_from_slice(&self.mac1);
        match self.cookie_at {
            Some(_) => mac2.copy_from_slice(&keyed(&self.cookie).chain_update(&*covered).chain_update(&*mac1).finalize_fixed()),
            None => mac2.fill(0),
        }
        self.expects_cookie = true;
    }

    /// Take the cookie out of a reply to the last message that was signed: one reply each message, and none to another. False: it is not
    /// such a one.
    pub(super) fn take(&mut self, reply: &[u8], now: Instant) -> bool {
        let Some(reply) = reply.first_chunk::<COOKIE_REPLY_LEN>().filter(|_| self.expects_cookie) else { return false };
        let (nonce, sealed) = reply[8..].split_at(24);
        let (cookie, tag) = sealed.split_at(MAC_LEN);
        if reply[4..8] != self.sender {
            return false;
        }
        let mut cookie = <[u8; MAC_LEN]>::try_from(cookie).expect("split there");
        let cipher = XChaCha20Poly1305::new(&self.cookie_key.into());
        let opened = cipher.decrypt_in_place_detached(XNonce::from_slice(nonce), &self.mac1, &mut cookie, tag.into());
        if opened.is_err() {
            return false;
        }
        (self.cookie, self.cookie_at, self.expects_cookie) = (cookie, Some(now), false);
        true
    }

    /// A cookie is good as long as the secret it was made with.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.cookie_at.is_some_and(|at| now.since(at) >= SECRET_LIFETIME) {
            self.cookie.zeroize();
            self.cookie_at = None;
        }
    }
}

fn key_for(label: &[u8], public_key: &[u8; 32]) -> [u8; 32] {
    Blake2s256::new().chain_update(label).chain_update(public_key).finalize().into()
}

fn keyed(key: &[u8]) -> Mac16 {
    <Mac16 as Mac>::new_from_slice(key).expect("BLAKE2s takes keys of up to 32 bytes; these have 16 or 32")
}

/// What the MACs cover, the first MAC, the second.
fn split(message: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (rest, mac2) = message.split_at_checked(message.len().checked_sub(MAC_LEN)?)?;
    let (covered, mac1) = rest.split_at_checked(rest.len().checked_sub(MAC_LEN)?)?;
    Some((covered, mac1, mac2))
}
