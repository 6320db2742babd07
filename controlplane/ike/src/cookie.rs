//! Stateless cookies (RFC 7296 section 2.6): a request is repeated with a cookie by whoever receives at the address it came from, so a
//! forged source costs us one small answer and no memory.

use std::net::Ipv4Addr;

use aws_lc_rs::{constant_time, hmac};
use rand::CryptoRng;

use crate::message::IkeSpi;
use crate::time::{Duration, Instant};

/// A cookie is made with one secret for so long, and taken for as long again: 60 to 120 s, while initiators repeat within seconds.
pub const SECRET_PERIOD: Duration = Duration::from_secs(60);
/// Octets of a cookie, which may be 1 to 64: the number of its secret and a MAC.
pub const COOKIE_OCTETS: usize = 1 + MAC_OCTETS;
/// 128 bits of HMAC-SHA-256.
const MAC_OCTETS: usize = 16;

/// Makes cookies and knows them again.
pub struct Cookies {
    /// The secret of each period is this key and the period's number, so that rotation needs neither state nor randomness.
    key: hmac::Key,
}

impl Cookies {
    /// With secrets of its own.
    #[must_use]
    pub fn new(random: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut secret = zeroize::Zeroizing::new([0; 32]);
        random.fill_bytes(&mut *secret);
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &*secret) }
    }

    /// The cookie of a request: of the initiator's SPI, nonce and address. Its port is left out, as a NAT may change it.
    #[must_use]
    pub fn make(&self, spi: IkeSpi, nonce: &[u8], from: Ipv4Addr, now: Instant) -> [u8; COOKIE_OCTETS] {
        self.of_period(period(now), spi, nonce, from)
    }

    /// Whether `cookie` was made by [`Cookies::make`] for this request, in this period or the one before. In constant time.
    #[must_use]
    pub fn is_ours(&self, cookie: &[u8], spi: IkeSpi, nonce: &[u8], from: Ipv4Addr, now: Instant) -> bool {
        let Some(number) = cookie.first() else { return false };
        let candidates = [Some(period(now)), period(now).checked_sub(1)];
        let made_in = candidates.into_iter().flatten().find(|period| period.to_be_bytes()[7] == *number);
        made_in.is_some_and(|period| constant_time::verify_slices_are_equal(&self.of_period(period, spi, nonce, from), cookie).is_ok())
    }

    fn of_period(&self, period: u64, spi: IkeSpi, nonce: &[u8], from: Ipv4Addr) -> [u8; COOKIE_OCTETS] {
        let mut mac = hmac::Context::with_key(&self.key);
        mac.update(&period.to_be_bytes());
        mac.update(&spi.octets());
        mac.update(&from.octets());
        // Last, because it alone has no fixed length.
        mac.update(nonce);
        let mut cookie = [0; COOKIE_OCTETS];
        cookie[0] = period.to_be_bytes()[7];
        cookie[1..].copy_from_slice(&mac.sign().as_ref()[..MAC_OCTETS]);
        cookie
    }
}

const fn period(now: Instant) -> u64 {
    now.as_nanos() / (SECRET_PERIOD.as_secs() * 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::message::{ExchangeType, Header, Notify, NotifyType, Payload, Proposal, Protects, write};

    const FROM: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
    const NONCE: [u8; 32] = [7; 32];

    fn cookies(seed: u64) -> Cookies {
        Cookies::new(&mut StdRng::seed_from_u64(seed))
    }

    fn spi(value: u64) -> IkeSpi {
        IkeSpi::new(value).unwrap()
    }

    #[test]
    fn a_cookie_is_good_for_its_request_and_for_nothing_else() {
        let (ours, now) = (cookies(1), Instant::from_secs(90));
        let cookie = ours.make(spi(1), &NONCE, FROM, now);
        assert!(ours.is_ours(&cookie, spi(1), &NONCE, FROM, now));
        assert!(!ours.is_ours(&cookie, spi(2), &NONCE, FROM, now), "another SPI");
        assert!(!ours.is_ours(&cookie, spi(1), &NONCE[..31], FROM, now), "another nonce");
        assert!(!ours.is_ours(&cookie, spi(1), &NONCE, Ipv4Addr::new(192, 0, 2, 12), now), "another address");
        assert!(!cookies(2).is_ours(&cookie, spi(1), &NONCE, FROM, now), "another relay");
    }

    #[test]
    fn the_previous_secret_is_good_for_a_while_and_older_ones_never() {
        let ours = cookies(1);
        let cookie = ours.make(spi(1), &NONCE, FROM, Instant::from_secs(59));
        for (seconds, good) in [(59, true), (60, true), (119, true), (120, false), (60 * 256 + 59, false), (60 * 257 + 59, false)] {
            assert_eq!(ours.is_ours(&cookie, spi(1), &NONCE, FROM, Instant::from_secs(seconds)), good, "{seconds} s");
        }
    }

    #[test]
    fn no_changed_cut_or_lengthened_cookie_is_taken() {
        let (ours, now) = (cookies(1), Instant::from_secs(1));
        let cookie = ours.make(spi(1), &NONCE, FROM, now);
        for length in 0..COOKIE_OCTETS {
            assert!(!ours.is_ours(&cookie[..length], spi(1), &NONCE, FROM, now));
            let mut flipped = cookie;
            flipped[length] ^= 1;
            assert!(!ours.is_ours(&flipped, spi(1), &NONCE, FROM, now));
        }
        assert!(!ours.is_ours(&[&cookie[..], &[0]].concat(), spi(1), &NONCE, FROM, now));
    }

    #[test]
    fn the_demand_for_a_cookie_is_smaller_than_any_request_it_answers() {
        let header = Header {
            initiator_spi: spi(1),
            responder_spi: None,
            exchange: ExchangeType::IkeSaInit,
            from_initiator: true,
            response: false,
            message_id: 0,
        };
        let cookie = cookies(1).make(spi(1), &NONCE, FROM, Instant::ZERO);
        let demand = write(&header, &[Payload::Notify(Notify::new(NotifyType::COOKIE, &cookie))]).unwrap();
        let proposal = Proposal { number: 1, protects: Protects::Ike(None), transforms: Vec::new() };
        let smallest =
            [Payload::SecurityAssociation(vec![proposal]), Payload::KeyExchange { group: 31, data: &[0; 32] }, Payload::Nonce(&[0; 16])];
        assert!(demand.len() < write(&header, &smallest).unwrap().len());
    }
}
