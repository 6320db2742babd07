//! MODP groups: exponentiation modulo the safe primes of RFC 3526, in constant time, with fixed Montgomery parameters.
//!
//! The private exponent is short, as RFC 3526 section 8 allows: twice the estimated strength of the group, in its larger estimate,
//! rounded up to whole limbs. That costs a sixth of an exponent as long as the modulus, and loses nothing against a safe prime.
//!
//! Gap: what crypto-bigint leaves on the stack (its window tables, which do not hold the exponent) is not wiped.

use std::sync::LazyLock;

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Encoding, MultiExponentiateBoundedExp, Odd, Uint};
use zeroize::{Zeroize, Zeroizing};

use super::primes;
use crate::secret::Secret;

/// RFC 3526 section 8: 120 bits of strength, so at least 240 of exponent.
pub(super) static GROUP_5: LazyLock<Modp<24, 4>> = LazyLock::new(|| Modp::new(primes::MODP_1536));
/// 160 bits of strength: 320 of exponent.
pub(super) static GROUP_14: LazyLock<Modp<32, 5>> = LazyLock::new(|| Modp::new(primes::MODP_2048));
/// 210 bits of strength: at least 420 of exponent.
pub(super) static GROUP_15: LazyLock<Modp<48, 7>> = LazyLock::new(|| Modp::new(primes::MODP_3072));
/// 240 bits of strength: at least 480 of exponent.
pub(super) static GROUP_16: LazyLock<Modp<64, 8>> = LazyLock::new(|| Modp::new(primes::MODP_4096));

/// The generator of every group of RFC 3526.
const GENERATOR: u64 = 2;
/// Bits of one limb.
const LIMB_BITS: u32 = 64;

/// A group whose modulus has `LIMBS` limbs and whose private exponents have `EXPONENT` limbs.
pub(super) struct Modp<const LIMBS: usize, const EXPONENT: usize> {
    params: FixedMontyParams<LIMBS>,
    /// `g^(2^(64 i))`: with them a key pair costs the squarings of one limb instead of those of the whole exponent.
    powers: [FixedMontyForm<LIMBS>; EXPONENT],
    /// The largest public value that is allowed: `p - 2`.
    largest: Uint<LIMBS>,
}

impl<const LIMBS: usize, const EXPONENT: usize> Modp<LIMBS, EXPONENT>
where
    Uint<LIMBS>: Encoding,
    Uint<EXPONENT>: Encoding,
{
    fn new(modulus: &str) -> Self {
        let modulus = Odd::<Uint<LIMBS>>::from_be_hex(modulus);
        let largest = modulus.as_ref().wrapping_sub(&Uint::from_u64(2));
        let params = FixedMontyParams::new_vartime(modulus);
        let mut power = FixedMontyForm::new(&Uint::from_u64(GENERATOR), &params);
        let powers = std::array::from_fn(|_| {
            let this = power;
            for _ in 0..LIMB_BITS {
                power = power.square();
            }
            this
        });
        Self { params, powers, largest }
    }

    /// A random exponent, and the power of the generator that belongs to it.
    pub(super) fn generate(&self) -> (Secret, Vec<u8>) {
        let mut exponent = vec![0; EXPONENT * 8];
        aws_lc_rs::rand::fill(&mut exponent).expect("the system has random numbers");
        let public = self.public(&exponent);
        (Secret::new(exponent), public)
    }

    /// `g^exponent`, padded to the length of the modulus (RFC 7296 section 3.4).
    pub(super) fn public(&self, exponent: &[u8]) -> Vec<u8> {
        let exponent = Zeroizing::new(Uint::<EXPONENT>::from_be_slice(exponent));
        let mut limbs: [(FixedMontyForm<LIMBS>, Uint<1>); EXPONENT] =
            std::array::from_fn(|index| (self.powers[index], Uint::new([exponent.as_limbs()[index]])));
        let power = FixedMontyForm::multi_exponentiate_bounded_exp(&limbs, LIMB_BITS);
        for (_, limb) in &mut limbs {
            limb.zeroize();
        }
        power.retrieve().to_be_bytes().as_ref().to_vec()
    }

    /// `peer_public^exponent`, padded to the length of the modulus (RFC 7296 section 2.14).
    pub(super) fn agree(&self, exponent: &[u8], peer_public: &[u8]) -> Option<Secret> {
        if exponent.len() != EXPONENT * 8 || peer_public.len() != LIMBS * 8 {
            return None;
        }
        let peer_public = Uint::<LIMBS>::from_be_slice(peer_public);
        // RFC 6989 section 2.1: 1 < y < p - 1. With a safe prime no further test is needed: what is left has a large order.
        if peer_public <= Uint::ONE || peer_public > self.largest {
            return None;
        }
        let exponent = Zeroizing::new(Uint::<EXPONENT>::from_be_slice(exponent));
        let power = FixedMontyForm::new(&peer_public, &self.params).pow(&exponent);
        let shared = Zeroizing::new(power.retrieve());
        Some(Secret::new(shared.to_be_bytes().as_ref().to_vec()))
    }
}
