//! The Internet checksum: in full (RFC 1071) and by what changed (RFC 1624, equation 3).

use std::net::Ipv4Addr;

/// A one's-complement sum under way. It takes more than 2^47 words before the 64 bits could overflow.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sum(u64);

impl Sum {
    /// Add one 16-bit word.
    #[must_use]
    pub const fn word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// Add an IPv4 address.
    #[must_use]
    pub const fn address(self, address: Ipv4Addr) -> Self {
        let bits = address.to_bits();
        Self(self.0 + (bits >> 16) as u64 + (bits & 0xffff) as u64)
    }

    /// Add bytes; an odd last byte counts as if a zero followed it, so only the last call may have an odd length.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        // RFC 1071 section 2 (B): words may be added in the machine's own order, which vector instructions can, and the result turned
        // once. Two words at a time: their carry goes to the upper half, which `folded` brings back.
        let mut chunks = bytes.chunks_exact(4);
        let sum: u64 = (&mut chunks).map(|chunk| u64::from(u32::from_ne_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]))).sum();
        let mut last = [0; 4];
        last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
        let native = Self(sum + u64::from(u32::from_ne_bytes(last))).folded();
        Self(self.0 + u64::from(u16::from_be(native)))
    }

    /// The sum as 16 bits, carries added back in.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "four folds of 64 bits leave 16")]
    pub const fn folded(self) -> u16 {
        let mut sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        sum = (sum >> 32) + (sum & 0xffff_ffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        ((sum >> 16) + (sum & 0xffff)) as u16
    }

    /// The checksum that belongs into the header over which the sum was taken with a zero in its place.
    #[must_use]
    pub const fn checksum(self) -> u16 {
        !self.folded()
    }

    /// True where the sum was taken over bytes that hold their own, right, checksum.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.folded() == 0xffff
    }

    /// Add what every transport checksum covers besides its own bytes: addresses, protocol number and length (RFC 768, RFC 9293 3.1).
    #[must_use]
    pub const fn pseudo_header(self, source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, length: u16) -> Self {
        self.address(source).address(destination).word(protocol as u16).word(length)
    }
}

/// What a change of some header fields does to any checksum over them: the sum of `~m + m'` of RFC 1624.
///
/// A session computes it once for each direction and applies it to every packet.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Delta(u16);

impl Delta {
    /// Nothing changes.
    pub const NONE: Self = Self(0);

    /// A 16-bit field becomes another value.
    #[must_use]
    pub const fn word(self, old: u16, new: u16) -> Self {
        Self(Sum(self.0 as u64).word(!old).word(new).folded())
    }

    /// An address becomes another.
    #[must_use]
    pub const fn address(self, old: Ipv4Addr, new: Ipv4Addr) -> Self {
        let (old, new) = (Ipv4Addr::from_bits(!old.to_bits()), new);
        Self(Sum(self.0 as u64).address(old).address(new).folded())
    }

    /// The checksum after the change: `~(~HC + ~m + m')`.
    #[must_use]
    pub const fn apply(self, checksum: u16) -> u16 {
        // The carry of two words is one bit, which is added back in.
        let (sum, carry) = self.0.overflowing_add(!checksum);
        !(sum + carry as u16)
    }

    /// Like [`Delta::apply`] for UDP: zero means "no checksum" and stays, and a checksum that comes out as zero is sent as
    /// 0xffff (RFC 768).
    #[must_use]
    pub const fn apply_udp(self, checksum: u16) -> u16 {
        if checksum == 0 {
            return 0;
        }
        match self.apply(checksum) {
            0 => 0xffff,
            changed => changed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 to the letter, as an independent judge.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(!sum & 0xffff).expect("16 bits")
    }

    #[test]
    fn the_example_of_rfc_1071_section_3_comes_out() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().bytes(&bytes).folded(), 0xddf2);
    }

    #[test]
    fn the_example_of_rfc_1624_section_4_where_equation_2_fails_comes_out() {
        // HC = 0xdd2f, m = 0x5555, m' = 0x3285: equation 3 gives 0x0000, equation 2 would give 0xffff.
        assert_eq!(Delta::default().word(0x5555, 0x3285).apply(0xdd2f), 0x0000);
    }

    #[test]
    fn a_udp_datagram_without_checksum_keeps_none_and_a_computed_zero_is_sent_as_ones() {
        let delta = Delta::default().word(0x5555, 0x3285);
        assert_eq!(delta.apply_udp(0), 0);
        assert_eq!(delta.apply_udp(0xdd2f), 0xffff);
    }

    proptest! {
        #[test]
        fn the_fast_sum_equals_the_letter_of_the_rfc(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Sum::default().bytes(&bytes).checksum(), naive(&bytes));
        }

        #[test]
        fn an_incremental_change_equals_a_full_recomputation(
            mut words in proptest::collection::vec(prop_oneof![any::<u16>(), Just(0), Just(0xffff)], 3..40),
            new in prop_oneof![any::<u16>(), Just(0), Just(0xffff)],
            at in any::<proptest::sample::Index>(),
        ) {
            // Word 0 is the checksum; some other word is never zero, as the version nibble of a header never is.
            words.push(0x4500);
            let bytes = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
            words[0] = 0;
            words[0] = naive(&bytes(&words));
            let at = 1 + at.index(words.len() - 2);
            words[0] = Delta::default().word(words[at], new).apply(words[0]);
            words[at] = new;
            let incremental = words[0];
            words[0] = 0;
            prop_assert_eq!(incremental, naive(&bytes(&words)));
        }

        #[test]
        fn an_address_counts_as_its_two_words(old: u32, new: u32, checksum: u16) {
            let word = |bits: u32| [(bits >> 16) as u16, (bits & 0xffff) as u16];
            let by_words = Delta::default().word(word(old)[0], word(new)[0]).word(word(old)[1], word(new)[1]);
            prop_assert_eq!(Delta::default().address(old.into(), new.into()).apply(checksum), by_words.apply(checksum));
        }
    }
}
