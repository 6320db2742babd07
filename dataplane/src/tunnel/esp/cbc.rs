//! AES-CBC (RFC 3602) with HMAC over header, IV and ciphertext (RFC 2404, RFC 4868): encrypt, then authenticate.

use aes::cipher::array::Array;
use aes::cipher::consts::U16;
use aes::cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use aes::{Aes128Dec, Aes128Enc, Aes192Dec, Aes192Enc, Aes256Dec, Aes256Enc};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

use super::packet::{BLOCK, HEADER, Trailer};
use super::sa::{AesKey, Integrity, IntegrityKey};
use super::suite::{Geometry, Sequence};

/// A key schedule for each length; erased when dropped.
enum Schedule<A, B, C> {
    Aes128(A),
    Aes192(B),
    Aes256(C),
}

impl<A: KeyInit, B: KeyInit, C: KeyInit> Schedule<A, B, C> {
    fn new(key: &AesKey) -> Self {
        const LENGTH: &str = "the length was looked at";
        match key.bits() {
            128 => Self::Aes128(A::new_from_slice(key.bytes()).expect(LENGTH)),
            192 => Self::Aes192(B::new_from_slice(key.bytes()).expect(LENGTH)),
            _ => Self::Aes256(C::new_from_slice(key.bytes()).expect(LENGTH)),
        }
    }
}

/// HMAC, truncated; erased when dropped.
struct Icv {
    key: hmac::Key,
    algorithm: Integrity,
}

impl Icv {
    fn new(key: &IntegrityKey) -> Self {
        let hash = match key.algorithm() {
            Integrity::HmacSha1_96 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Integrity::HmacSha256_128 => hmac::HMAC_SHA256,
            Integrity::HmacSha384_192 => hmac::HMAC_SHA384,
            Integrity::HmacSha512_256 => hmac::HMAC_SHA512,
        };
        Self { key: hmac::Key::new(hash, key.bytes()), algorithm: key.algorithm() }
    }

    const fn len(&self) -> usize {
        self.algorithm.icv_len()
    }

    /// Over the packet up to its end of ciphertext, and the upper half of an extended sequence number as if it stood behind (RFC 4303
    /// section 2.8).
    fn tag(&self, packet: &[u8], sequence: Sequence) -> hmac::Tag {
        let Some(upper) = sequence.upper() else { return hmac::sign(&self.key, packet) };
        let mut context = hmac::Context::with_key(&self.key);
        context.update(packet);
        context.update(&upper);
        context.sign()
    }
}

/// The outbound half.
pub(super) struct CbcSealer {
    cipher: Schedule<Aes128Enc, Aes192Enc, Aes256Enc>,
    icv: Icv,
}

impl CbcSealer {
    pub(super) fn new(key: &AesKey, integrity: &IntegrityKey) -> Self {
        Self { cipher: Schedule::new(key), icv: Icv::new(integrity) }
    }

    pub(super) const fn geometry(&self) -> Geometry {
        Geometry::cbc(self.icv.algorithm)
    }

    /// `out` has the length of the packet, and its header is written.
    pub(super) fn seal(&self, sequence: Sequence, inner: &[u8], trailer: &Trailer, out: &mut [u8]) -> Option<()> {
        let (packet, icv) = out.split_at_mut_checked(out.len() - self.icv.len())?;
        let body = packet.get_mut(HEADER..)?;
        match &self.cipher {
            Schedule::Aes128(cipher) => encrypt(cipher, sequence.number, inner, trailer, body),
            Schedule::Aes192(cipher) => encrypt(cipher, sequence.number, inner, trailer, body),
            Schedule::Aes256(cipher) => encrypt(cipher, sequence.number, inner, trailer, body),
        }?;
        icv.copy_from_slice(&self.icv.tag(packet, sequence).as_ref()[..self.icv.len()]);
        Some(())
    }
}

/// IV and ciphertext of `inner` and `trailer` into `out`.
fn encrypt<C: BlockCipherEncrypt<BlockSize = U16>>(cipher: &C, number: u64, inner: &[u8], trailer: &Trailer, out: &mut [u8]) -> Option<()> {
    let (iv_at, ciphertext) = out.split_at_mut_checked(BLOCK)?;
    // NIST SP 800-38A appendix C: the forward cipher over what never comes twice is unpredictable.
    let mut iv = Block::<C>::default();
    iv[BLOCK - 8..].copy_from_slice(&number.to_be_bytes());
    cipher.encrypt_block(&mut iv);
    iv_at.copy_from_slice(&iv);

    let (whole, rest) = Array::slice_as_chunks(inner);
    let (blocks, _) = Array::slice_as_chunks_mut(ciphertext);
    let (first, last) = blocks.split_at_mut_checked(whole.len())?;
    let mut mode = cbc::Encryptor::inner_iv_init(cipher, &iv);
    mode.encrypt_blocks_b2b(whole, first).ok()?;
    // What is left of the packet, and the trailer: one block or two.
    let mut end = [0; 2 * BLOCK];
    let len = rest.len() + trailer.bytes().len();
    end[..rest.len()].copy_from_slice(rest);
    end[rest.len()..len].copy_from_slice(trailer.bytes());
    let (end, _) = Array::slice_as_chunks(&end[..len]);
    mode.encrypt_blocks_b2b(end, last).ok()
}

/// The inbound half.
pub(super) struct CbcOpener {
    cipher: Schedule<Aes128Dec, Aes192Dec, Aes256Dec>,
    icv: Icv,
}

impl CbcOpener {
    pub(super) fn new(key: &AesKey, integrity: &IntegrityKey) -> Self {
        Self { cipher: Schedule::new(key), icv: Icv::new(integrity) }
    }

    pub(super) const fn geometry(&self) -> Geometry {
        Geometry::cbc(self.icv.algorithm)
    }

    /// `out` has the length of the ciphertext. Nothing is decrypted before the packet has authenticated: padding tells a forger nothing.
    pub(super) fn open(&self, sequence: Sequence, datagram: &[u8], (ciphertext, icv): (usize, usize), out: &mut [u8]) -> Option<()> {
        let tag = self.icv.tag(&datagram[..icv], sequence);
        verify_slices_are_equal(&tag.as_ref()[..self.icv.len()], &datagram[icv..]).ok()?;
        let (iv, ciphertext) = (&datagram[HEADER..ciphertext], &datagram[ciphertext..icv]);
        match &self.cipher {
            Schedule::Aes128(cipher) => decrypt(cipher, iv, ciphertext, out),
            Schedule::Aes192(cipher) => decrypt(cipher, iv, ciphertext, out),
            Schedule::Aes256(cipher) => decrypt(cipher, iv, ciphertext, out),
        }
    }
}

fn decrypt<C: BlockCipherDecrypt<BlockSize = U16>>(cipher: &C, iv: &[u8], ciphertext: &[u8], out: &mut [u8]) -> Option<()> {
    let iv = <&Block<C>>::try_from(iv).ok()?;
    let (from, _) = Array::slice_as_chunks(ciphertext);
    let (to, _) = Array::slice_as_chunks_mut(out);
    cbc::Decryptor::inner_iv_init(cipher, iv).decrypt_blocks_b2b(from, to).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::esp::tests::hex;

    #[test]
    fn the_tunnel_mode_packet_of_rfc_3602_section_4_case_7_decrypts() {
        let cipher = Aes128Dec::new_from_slice(&hex("0123456789abcdef0123456789abcdef")).expect("128 bits");
        let ciphertext = hex("773b5241a4c449225e4f3ce5ed611b0c237ca96cf74a93013c1b0ea1a0cf70f8e4ecaec78ac53aad7a0f022b859243c6
            47752e94a859352b8a4d4d2decd136e5c177f132ad3fbfb2201ac9904c74ee0a109e0ca1e4dfe9d5a100b842f1c22f0d");
        let mut out = vec![0; ciphertext.len()];
        decrypt(&cipher, &hex("f4e765244f6407adf13dc1380f673f37"), &ciphertext, &mut out).expect("whole blocks");
        let expected = hex("45000054090400004001f988c0a87b03c0a87bc808009f76a90a0100b49c083d02a2040008090a0b0c0d0e0f
            101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637 0102030405060708090a0a04");
        assert_eq!(out, expected);
    }

    #[test]
    fn integrity_check_values_are_those_of_rfc_2202_and_rfc_4231_cut_short() {
        // Test case 1 of RFC 2202 section 3, RFC 4231 section 4.2 with keys made as long as RFC 4868 wants them: HMAC pads keys with zeros.
        let cases = [
            (Integrity::HmacSha1_96, "b617318655057264e28bc0b6"),
            (Integrity::HmacSha256_128, "b0344c61d8db38535ca8afceaf0bf12b"),
            (Integrity::HmacSha384_192, "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec6"),
            (Integrity::HmacSha512_256, "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"),
        ];
        for (algorithm, expected) in cases {
            let mut key = vec![0; algorithm.key_len()];
            key[..20].fill(0x0b);
            let icv = Icv::new(&IntegrityKey::new(algorithm, &key).expect("its length"));
            let tag = icv.tag(b"Hi There", Sequence { number: 1, extended: false });
            assert_eq!(tag.as_ref()[..icv.len()], hex(expected), "{algorithm:?}");
        }
    }

    #[test]
    fn no_iv_comes_twice_and_none_shows_its_number() {
        let sealer = CbcSealer::new(
            &AesKey::new(&[7; 32]).expect("256 bits"),
            &IntegrityKey::new(Integrity::HmacSha256_128, &[8; 32]).expect("256 bits"),
        );
        let mut seen = std::collections::BTreeSet::new();
        for number in (1..2_000).chain((1 << 32) - 3..(1 << 32) + 3) {
            let mut out = [0; 8 + 16 + 32 + 16];
            sealer.seal(Sequence { number, extended: true }, &[0; 20], &Trailer::new(20, BLOCK), &mut out).expect("room");
            let iv: [u8; BLOCK] = out[HEADER..HEADER + BLOCK].try_into().expect("a block");
            assert!(!iv.windows(8).any(|window| window == number.to_be_bytes()));
            assert!(seen.insert(iv), "{number}");
        }
    }
}
