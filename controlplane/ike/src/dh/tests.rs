use aws_lc_rs::digest::{SHA256, digest};

use super::*;
use crate::test_hex::{hex, unhex};

/// (group, private and public value of one side and of the other, shared secret).
type Published = (Group, [&'static str; 5]);

/// RFC 5903 sections 8.1 to 8.3, RFC 7748 section 6.1.
const PUBLISHED: [Published; 4] = [
    (
        Group::Ecp256,
        [
            "C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433",
            "DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180
             5271A0461CDB8252D61F1C456FA3E59AB1F45B33ACCF5F58389E0577B8990BB3",
            "C6EF9C5D78AE012A011164ACB397CE2088685D8F06BF9BE0B283AB46476BEE53",
            "D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63
             56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB",
            "D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE",
        ],
    ),
    (
        Group::Ecp384,
        [
            "099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655E35B538041E649EE3FAEF896783AB194",
            "667842D7D180AC2CDE6F74F37551F55755C7645C20EF73E31634FE72B4C55EE6DE3AC808ACB4BDB4C88732AEE95F41AA
             9482ED1FC0EEB9CAFC4984625CCFC23F65032149E0E144ADA024181535A0F38EEB9FCFF3C2C947DAE69B4C634573A81C",
            "41CB0779B4BDB85D47846725FBEC3C9430FAB46CC8DC5060855CC9BDA0AA2942E0308312916B8ED2960E4BD55A7448FC",
            "E558DBEF53EECDE3D3FCCFC1AEA08A89A987475D12FD950D83CFA41732BC509D0D1AC43A0336DEF96FDA41D0774A3571
             DCFBEC7AACF3196472169E838430367F66EEBE3C6E70C416DD5F0C68759DD1FFF83FA40142209DFF5EAAD96DB9E6386C",
            "11187331C279962D93D604243FD592CB9D0A926F422E47187521287E7156C5C4D603135569B9E9D09CF5D4A270F59746",
        ],
    ),
    (
        Group::Ecp521,
        [
            "0037ADE9319A89F4DABDB3EF411AACCCA5123C61ACAB57B5393DCE47608172A0
             95AA85A30FE1C2952C6771D937BA9777F5957B2639BAB072462F68C27A57382D4A52",
            "0015417E84DBF28C0AD3C278713349DC7DF153C897A1891BD98BAB4357C9ECBE
             E1E3BF42E00B8E380AEAE57C2D107564941885942AF5A7F4601723C4195D176CED3E
             017CAE20B6641D2EEB695786D8C946146239D099E18E1D5A514C739D7CB4A10A
             D8A788015AC405D7799DC75E7B7D5B6CF2261A6A7F1507438BF01BEB6CA3926F9582",
            "0145BA99A847AF43793FDD0E872E7CDFA16BE30FDC780F97BCCC3F078380201E
             9C677D600B343757A3BDBF2A3163E4C2F869CCA7458AA4A4EFFC311F5CB151685EB9",
            "00D0B3975AC4B799F5BEA16D5E13E9AF971D5E9B984C9F39728B5E5739735A21
             9B97C356436ADC6E95BB0352F6BE64A6C2912D4EF2D0433CED2B6171640012D9460F
             015C68226383956E3BD066E797B623C27CE0EAC2F551A10C2C724D9852077B87
             220B6536C5C408A1D2AEBB8E86D678AE49CB57091F4732296579AB44FCD17F0FC56A",
            "01144C7D79AE6956BC8EDB8E7C787C4521CB086FA64407F97894E5E6B2D79B04
             D1427E73CA4BAA240A34786859810C06B3C715A3A8CC3151F2BEE417996D19F3DDEA",
        ],
    ),
    (
        Group::Curve25519,
        [
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
            "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
        ],
    ),
];

/// The exponents are the SHA-256 digests of the side's name with one octet behind it (0, then 1), cut to the group's length. What is
/// expected was calculated with the `pow` of Python, and is written as SHA-256 of both public values and of the secret.
const CALCULATED: [(Group, [&str; 3]); 4] = [
    (
        Group::Modp1536,
        [
            "2a8e31c6ad603cc0b06d85a3fab96c1765be2f6686af1d9f60696dbe8f18d130",
            "057944442b10acdfc7f4ac6f00b893913702961fd9e3ee4834527695990b0670",
            "a4979a45b297ac9c37b25f8474cb80a2c31a3e4dcf569bb0565443e6d7abbd24",
        ],
    ),
    (
        Group::Modp2048,
        [
            "3d2a73acd851da15d887784a3bca6b43d6b93ef304756be586ffcb5648ccf5be",
            "2e712745b7b905e0354a8c8553b053e85d4fc28b0ec8fbd3f65d4b55b2d517ec",
            "558daec7b234ea5bf3df8f8bc274a99a27a50638b82ef950dd4785aed495f94c",
        ],
    ),
    (
        Group::Modp3072,
        [
            "f94dc328d50afc3db867d07240aafb7045eaa7969042b2546850374311ca3526",
            "c277b9352ed9397f3dbc880113f6ba77504022211e48ae451def495854db1a3c",
            "17df0726fc9c36a1a598326c1ba11701ef880d30aa9dc18f1004816f0b556940",
        ],
    ),
    (
        Group::Modp4096,
        [
            "1901ab88b631c4f8644cccae1f9af03c7d4b00bf53498a33006c01d950c8bffa",
            "a5b53b6634fbba60d8700244630d2f69ede17f6511ded643af417fcf5c2901eb",
            "2a66bc3a2eac050ecdf3d9985281175433b46af47055f30f0d5c74ecd2ae8e4b",
        ],
    ),
];

fn public_of(group: Group, private: &[u8]) -> Vec<u8> {
    match group {
        Group::Modp1536 => modp::GROUP_5.public(private),
        Group::Modp2048 => modp::GROUP_14.public(private),
        Group::Modp3072 => modp::GROUP_15.public(private),
        Group::Modp4096 => modp::GROUP_16.public(private),
        Group::Ecp256 => curve::P256.public_of(private),
        Group::Ecp384 => curve::P384.public_of(private),
        Group::Ecp521 => curve::P521.public_of(private),
        Group::Curve25519 => curve::X25519.public_of(private),
    }
}

fn private(bytes: &[u8]) -> DhPrivate {
    DhPrivate::new(Secret::new(bytes.to_vec()))
}

fn refuses(group: Group, peer_public: &[u8]) -> bool {
    let DhOutcome::Generated { private, .. } = (DhTask::Generate { group }).run() else { panic!("a key pair") };
    let agree = DhTask::Agree { group, private, peer_public: peer_public.to_vec() }.run();
    let respond = DhTask::Respond { group, peer_public: peer_public.to_vec() }.run();
    matches!(agree, DhOutcome::Refused) && matches!(respond, DhOutcome::Refused)
}

#[test]
fn curves_agree_with_the_published_vectors() {
    for (group, texts) in PUBLISHED {
        let [private_i, public_i, private_r, public_r, shared] = texts.map(unhex);
        assert_eq!(hex(&public_of(group, &private_i)), hex(&public_i), "{group}");
        assert_eq!(hex(&public_of(group, &private_r)), hex(&public_r), "{group}");
        for (own, peer) in [(&private_i, &public_r), (&private_r, &public_i)] {
            let DhOutcome::Agreed { shared: ours } = (DhTask::Agree { group, private: private(own), peer_public: peer.clone() }).run()
            else {
                panic!("{group} refused a published value")
            };
            assert_eq!(hex(ours.expose()), hex(&shared), "{group}");
        }
    }
}

#[test]
fn modp_groups_agree_with_an_independent_calculation() {
    let exponent = |side: &str, octets: usize| {
        let half = |index: u8| digest(&SHA256, &[side.as_bytes(), &[index]].concat()).as_ref().to_vec();
        [half(0), half(1)].concat()[..octets].to_vec()
    };
    for ((group, expected), octets) in CALCULATED.into_iter().zip([32, 40, 56, 64]) {
        let (i, r) = (exponent("initiator", octets), exponent("responder", octets));
        let (public_i, public_r) = (public_of(group, &i), public_of(group, &r));
        let shared = agree(group, &private(&i), &public_r).expect("a good public value");
        assert_eq!(shared.expose(), agree(group, &private(&r), &public_i).expect("a good public value").expose());
        let found = [&public_i[..], &public_r, shared.expose()].map(|bytes| hex(digest(&SHA256, bytes).as_ref()));
        assert_eq!(found, expected, "{group}");
    }
}

#[test]
fn both_sides_of_every_group_find_the_same_secret_and_never_the_same_twice() {
    for group in Group::ALL {
        let DhOutcome::Generated { private, public } = (DhTask::Generate { group }).run() else { panic!("a key pair") };
        assert_eq!(public.len(), group.public_octets(), "{group}");
        let DhOutcome::Responded { public: peer_public, shared } = (DhTask::Respond { group, peer_public: public.clone() }).run() else {
            panic!("{group} refused its own public value")
        };
        assert_eq!(peer_public.len(), group.public_octets(), "{group}");
        let DhOutcome::Agreed { shared: ours } = (DhTask::Agree { group, private, peer_public }).run() else {
            panic!("{group} refused its own public value")
        };
        assert_eq!(ours.expose(), shared.expose(), "{group}");
        let DhOutcome::Responded { shared: another, .. } = (DhTask::Respond { group, peer_public: public }).run() else {
            panic!("{group} refused its own public value")
        };
        assert_ne!(another.expose(), shared.expose(), "{group}: every key pair is new");
    }
}

/// RFC 6989 section 2.1: 0, 1 and p - 1 generate nothing, or two elements; p and above are no elements.
#[test]
fn modp_values_that_give_the_secret_away_are_refused() {
    for (group, modulus) in [
        (Group::Modp1536, primes::MODP_1536),
        (Group::Modp2048, primes::MODP_2048),
        (Group::Modp3072, primes::MODP_3072),
        (Group::Modp4096, primes::MODP_4096),
    ] {
        let p = unhex(modulus);
        let octets = p.len();
        let with_last = |last: u8| [&p[..octets - 1], &[last]].concat();
        let small = |value: u8| [vec![0; octets - 1], vec![value]].concat();
        // p ends with 0xff.
        for bad in [small(0), small(1), with_last(0xfe), p.clone(), vec![0xff; octets]] {
            assert!(refuses(group, &bad), "{group} {}", hex(&bad));
        }
        for good in [small(2), with_last(0xfd)] {
            assert!(!refuses(group, &good), "{group} {}", hex(&good));
        }
    }
}

/// RFC 6989 section 2.3. With the coordinates of a point off the curve a private key can be found bit by bit.
#[test]
fn points_off_the_curve_and_coordinates_out_of_range_are_refused() {
    for (group, texts) in PUBLISHED.into_iter().take(3) {
        let good = unhex(texts[1]);
        assert!(!refuses(group, &good), "{group}");
        let mut off = good.clone();
        *off.last_mut().expect("a coordinate") ^= 1;
        let swapped = [&good[good.len() / 2..], &good[..good.len() / 2]].concat();
        let no_y = [&good[..good.len() / 2], &vec![0; good.len() / 2]].concat();
        for bad in [off, swapped, no_y, vec![0; good.len()], vec![0xff; good.len()]] {
            assert!(refuses(group, &bad), "{group} {}", hex(&bad));
        }
    }
}

/// RFC 7748 section 6.1: with a point of small order the secret is zero, whatever the private key.
#[test]
fn curve25519_points_of_small_order_are_refused() {
    let low = |text: &str| unhex(text);
    for bad in [
        vec![0; 32],
        low("0100000000000000000000000000000000000000000000000000000000000000"),
        low("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        low("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        low("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        low("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        low("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ] {
        assert!(refuses(Group::Curve25519, &bad), "{}", hex(&bad));
    }
}

#[test]
fn a_value_of_the_wrong_length_is_refused_before_anything_is_computed() {
    for group in Group::ALL {
        let DhOutcome::Generated { public, .. } = (DhTask::Generate { group }).run() else { panic!("a key pair") };
        let too_long = [&[0][..], &public].concat();
        for bad in [&[][..], &public[1..], &public[..public.len() - 1], &too_long] {
            assert!(refuses(group, bad), "{group} {}", bad.len());
        }
    }
}

/// `p = 2^n - 2^(n-64) - 1 + 2^64 * ([2^(n-130) pi] + k)`: the definition in RFC 3526, with pi from its series.
#[test]
fn the_primes_are_made_of_the_digits_of_pi() {
    use crypto_bigint::{U6144, Uint};
    /// Bits behind the point; the rest of `U6144` holds what stands before it.
    const SCALE: u32 = 4_600;
    // Machin: pi = 16 arctan(1/5) - 4 arctan(1/239).
    let arctan_of_inverse = |x: u64| {
        let divide = |a: &U6144, b: u64| a.wrapping_div_vartime(&U6144::from_u64(b).to_nz().expect("not zero"));
        let mut power = divide(&U6144::ONE.shl_vartime(SCALE), x);
        let mut sum = U6144::ZERO;
        for n in 0_u64.. {
            let term = divide(&power, 2 * n + 1);
            sum = if n % 2 == 0 { sum.wrapping_add(&term) } else { sum.wrapping_sub(&term) };
            power = divide(&power, x * x);
            if power == U6144::ZERO {
                break;
            }
        }
        sum
    };
    let pi = arctan_of_inverse(5).shl_vartime(4).wrapping_sub(&arctan_of_inverse(239).shl_vartime(2));
    for (modulus, bits, offset) in [
        (primes::MODP_1536, 1_536, 741_804_u64),
        (primes::MODP_2048, 2_048, 124_476),
        (primes::MODP_3072, 3_072, 1_690_314),
        (primes::MODP_4096, 4_096, 240_904),
    ] {
        let power = |exponent: u32| U6144::ONE.shl_vartime(exponent);
        let middle = pi.shr_vartime(SCALE - (bits - 130)).wrapping_add(&Uint::from_u64(offset)).shl_vartime(64);
        let prime = power(bits).wrapping_sub(&power(bits - 64)).wrapping_sub(&Uint::ONE).wrapping_add(&middle);
        let found = hex(prime.to_be_bytes().as_ref());
        assert_eq!(found.trim_start_matches('0'), modulus.to_lowercase(), "{bits}");
    }
}
