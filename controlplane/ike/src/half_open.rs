//! Limits on negotiations of which nobody has proven anything yet (RFC 8019): when a cookie is demanded, and when there is silence.
//! The owner ends each of them after 30 s (section 4.1).

use std::collections::HashMap;
use std::net::Ipv4Addr;

use rand::CryptoRng;

use crate::cookie::Cookies;
use crate::message::IkeSpi;
use crate::time::Instant;

/// With more half-open IKE SAs than this, everybody has to show a cookie.
pub const COOKIES_ABOVE: usize = 30;
/// With more half-open IKE SAs of one source than this, that source has to show a cookie.
pub const COOKIES_ABOVE_OF_SOURCE: usize = 3;
/// One source gets no more half-open IKE SAs than this, cookie or not.
pub const MOST_OF_SOURCE: usize = 5;
/// All sources together, each of which has shown a cookie: four times as many as there are tenants, about 20 MB.
pub const MOST: usize = 8_192;

/// What to do with a first request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Negotiate.
    Accept,
    /// Answer with a cookie and forget the request.
    DemandCookie,
    /// Say nothing: a bound is reached.
    Drop,
}

/// Counts half-open IKE SAs by source. There are never more sources in it than half-open IKE SAs.
pub struct HalfOpenLimits {
    of_source: HashMap<Ipv4Addr, usize>,
    half_open: usize,
    cookies: Cookies,
}

impl HalfOpenLimits {
    /// None is open.
    #[must_use]
    pub fn new(random: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self { of_source: HashMap::new(), half_open: 0, cookies: Cookies::new(random) }
    }

    /// May one more be opened from `from`, which has `shown` a cookie of ours or not?
    #[must_use]
    pub fn admit(&self, from: Ipv4Addr, shown: bool) -> Admission {
        let of_source = self.of_source.get(&from).copied().unwrap_or(0);
        if of_source >= MOST_OF_SOURCE || self.half_open >= MOST {
            return Admission::Drop;
        }
        // A forger of addresses never gets beyond this, so it cannot use up what its victim may have.
        if !shown && (self.half_open >= COOKIES_ABOVE || of_source >= COOKIES_ABOVE_OF_SOURCE) {
            return Admission::DemandCookie;
        }
        Admission::Accept
    }

    /// A negotiation was begun.
    pub fn opened(&mut self, from: Ipv4Addr) {
        *self.of_source.entry(from).or_default() += 1;
        self.half_open += 1;
    }

    /// A negotiation has become an IKE SA, has failed, or has taken too long. Once for each [`HalfOpenLimits::opened`].
    pub fn closed(&mut self, from: Ipv4Addr) {
        let Some(of_source) = self.of_source.get_mut(&from) else { return };
        *of_source -= 1;
        self.half_open -= 1;
        if *of_source == 0 {
            self.of_source.remove(&from);
        }
    }

    /// How many are open.
    #[must_use]
    pub fn half_open(&self) -> u64 {
        self.half_open as u64
    }

    /// The cookie that `from` has to show.
    #[must_use]
    pub fn cookie(&self, spi: IkeSpi, nonce: &[u8], from: Ipv4Addr, now: Instant) -> Vec<u8> {
        self.cookies.make(spi, nonce, from, now).to_vec()
    }

    /// Whether `cookie` is the one that [`HalfOpenLimits::cookie`] demanded.
    #[must_use]
    pub fn is_our_cookie(&self, cookie: &[u8], spi: IkeSpi, nonce: &[u8], from: Ipv4Addr, now: Instant) -> bool {
        self.cookies.is_ours(cookie, spi, nonce, from, now)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn limits() -> HalfOpenLimits {
        HalfOpenLimits::new(&mut StdRng::seed_from_u64(1))
    }

    fn source(number: u32) -> Ipv4Addr {
        Ipv4Addr::from(0xc612_0000 + number)
    }

    #[test]
    fn thirty_negotiations_go_without_a_cookie_and_the_next_does_not() {
        let mut limits = limits();
        for number in 0..30 {
            assert_eq!(limits.admit(source(number), false), Admission::Accept, "{number}");
            limits.opened(source(number));
        }
        assert_eq!(limits.admit(source(30), false), Admission::DemandCookie);
        assert_eq!(limits.admit(source(30), true), Admission::Accept);
        limits.closed(source(0));
        assert_eq!(limits.admit(source(30), false), Admission::Accept);
    }

    #[test]
    fn the_fourth_of_one_source_shows_a_cookie_and_the_sixth_gets_nothing() {
        let mut limits = limits();
        let mut outcomes = Vec::new();
        for _ in 0..7 {
            let without = limits.admit(source(1), false);
            outcomes.push((without, limits.admit(source(1), true)));
            if limits.admit(source(1), true) == Admission::Accept {
                limits.opened(source(1));
            }
        }
        use Admission::{Accept, DemandCookie, Drop};
        let expected = [
            (Accept, Accept),
            (Accept, Accept),
            (Accept, Accept),
            (DemandCookie, Accept),
            (DemandCookie, Accept),
            (Drop, Drop),
            (Drop, Drop),
        ];
        assert_eq!(outcomes, expected);
        assert_eq!(limits.admit(source(2), false), Accept, "another source has its own");
    }

    #[test]
    fn a_flood_of_forged_sources_leaves_no_memory_and_shuts_nobody_out() {
        let mut limits = limits();
        for number in 0..100_000 {
            if limits.admit(source(number % 10_000), false) == Admission::Accept {
                limits.opened(source(number % 10_000));
            }
        }
        assert_eq!((limits.half_open(), limits.of_source.len()), (30, 30));
        assert_eq!(limits.admit(source(5), true), Admission::Accept, "whose address was forged gets through with a cookie");
    }

    #[test]
    fn sources_that_receive_are_bounded_as_well() {
        let mut limits = limits();
        for number in 0..100_000 {
            if limits.admit(source(number % 10_000), true) == Admission::Accept {
                limits.opened(source(number % 10_000));
            }
        }
        assert_eq!(limits.half_open(), MOST as u64);
        assert_eq!(limits.admit(source(20_000), true), Admission::Drop);
    }

    #[test]
    fn what_is_closed_leaves_nothing_behind_and_closing_twice_takes_nothing_from_others() {
        let mut limits = limits();
        limits.opened(source(1));
        limits.opened(source(2));
        limits.closed(source(1));
        limits.closed(source(1));
        assert_eq!((limits.half_open(), limits.of_source.len()), (1, 1));
        limits.closed(source(2));
        assert_eq!((limits.half_open(), limits.of_source.len()), (0, 0));
    }

    #[test]
    fn a_demanded_cookie_is_known_again() {
        let limits = limits();
        let (spi, now) = (IkeSpi::new(9).unwrap(), Instant::from_secs(3));
        let cookie = limits.cookie(spi, &[1; 16], source(1), now);
        assert!(limits.is_our_cookie(&cookie, spi, &[1; 16], source(1), now));
        assert!(!limits.is_our_cookie(&cookie, spi, &[1; 16], source(2), now));
    }
}
