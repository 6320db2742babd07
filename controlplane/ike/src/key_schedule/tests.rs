use super::*;
use crate::test_hex::{hex, unhex};
use crate::transforms::{Aead, AesKeyLength, Group, Integrity};

const CBC256: Cipher = Cipher::AesCbc { key: AesKeyLength::Aes256, integrity: Integrity::HmacSha256_128 };
const GCM256: Cipher = Cipher::Aead(Aead::Aes256Gcm16);
const FLOOR: IkeSuite = IkeSuite { cipher: CBC256, prf: Prf::HmacSha256, group: Group::Modp2048 };
const PREFERRED: IkeSuite = IkeSuite { cipher: GCM256, prf: Prf::HmacSha384, group: Group::Ecp384 };

fn secret(from: u8) -> Secret {
    Secret::new((from..from + 32).collect())
}

/// The IKE SA that the calculated values below belong to.
fn floor_keys() -> IkeKeys {
    IkeKeys::initial(
        FLOOR,
        &KeyInput {
            shared: &secret(1),
            nonce_i: b"initiator nonce.initiator nonce.",
            nonce_r: b"responder nonce!responder nonce!",
            spi_i: 0x0123_4567_89ab_cdef_u64.to_be_bytes(),
            spi_r: 0xfedc_ba98_7654_3210_u64.to_be_bytes(),
        },
    )
}

/// All keys of an IKE SA in the order of RFC 7296 section 2.14.
fn all(keys: &IkeKeys) -> Vec<String> {
    let IkeKeys { d, initiator: i, responder: r, pi, pr, .. } = keys;
    [d, &i.integrity, &r.integrity, &i.encryption, &r.encryption, pi, pr].map(|key| hex(key.expose())).to_vec()
}

/// First vector with HMAC-SHA-1 of NIST's CAVP for the key derivation of IKEv2 (SP 800-135 section 4.1.2). Its 132 octets of key
/// material are exactly those of AES-128-CBC with HMAC-SHA-1-96. It was the only one of that set at hand; for SHA-2 see below.
#[test]
fn the_key_schedule_agrees_with_nists_vector() {
    let suite = IkeSuite {
        cipher: Cipher::AesCbc { key: AesKeyLength::Aes128, integrity: Integrity::HmacSha1_96 },
        prf: Prf::HmacSha1,
        group: Group::Modp2048,
    };
    let shared = Secret::new(unhex("4b2c1f971981a8ad8d0abeafabf38cf75fc8349c148142465ed9c8b516b8be52"));
    let (nonce_i, nonce_r) = (unhex("32b50d5f4a3763f3"), unhex("9206a04b26564cb1"));
    let input = KeyInput {
        shared: &shared,
        nonce_i: &nonce_i,
        nonce_r: &nonce_r,
        spi_i: 0x34c9_e7c1_8886_8785_u64.to_be_bytes(),
        spi_r: 0x3ff7_7d76_0d2b_2199_u64.to_be_bytes(),
    };
    let keys = IkeKeys::initial(suite, &input);
    assert_eq!(
        all(&keys).concat(),
        "a14293677cc80ff8f9cc0eee30d895da9d8f405666e30ef0dfcb63c634a46002a2a63080e514a062768b76606f9fa5e992204fc5a670bde3f10d6b027113936a\
         5c55b648a194ae587b0088d52204b702c979fa280870d2ed41efa9c549fd11198af1670b143d384bd275c5f594cf266b05ebadca855e4249520a441a81157435\
         a7a56cc4"
    );
    // DKM (Child SA) and DKM (Child SA D-H): a Child SA of the same cipher takes their first 72 octets.
    let child = |shared: Option<&Secret>| {
        let ChildKeys { initiator: i, responder: r } = keys.child(suite.cipher, shared, &nonce_i, &nonce_r);
        [i.encryption(), i.integrity(), r.encryption(), r.integrity()].map(hex).concat()
    };
    assert_eq!(
        child(None),
        "8059e3ee8810e6c3a91bc8bcd2a7a41151b8d0e6ae239c7b38093ad85ef4c5811a8e7b5d1cdabd9560b2d5e092d1f24e2d4b85eccdf0ad0dc9abd94b51ee7181\
         4ca6dbc8bb51b630"
    );
    let shared_new = Secret::new(unhex("863f3c9d06efd39d2b907b97f8699e5dd5251ef64a2a176f36ee40c87d4f9330"));
    assert_eq!(
        child(Some(&shared_new)),
        "bb43244c1860ad65ee1e211ffe8bb3661750c8f89cb9f547df7f4fa61d37301628190e38c66232eab4b3ab14c400a5197dd3730ed4820a8a10394d51e1c04000\
         52f63ebd36b0e7ef"
    );
    // SKEYSEED (rekey), of which the new keys are expanded.
    let seed = unhex("63e81194946ebd05df7df5ebf5d8750056bf1f1d");
    let rekeyed = keys.rekeyed(suite, &KeyInput { shared: &shared_new, ..input });
    assert_eq!(all(&rekeyed), all(&IkeKeys::expand(suite, &Secret::new(seed), &input)));
}

/// Calculated with Python's hmac, from the formulas of RFC 7296 section 2.14 alone:
/// `prf = lambda k, d: hmac.new(k, d, "sha256").digest()`, `seed = prf(ni + nr, g)`, then `t = prf(seed, t + ni + nr + spi_i + spi_r +
/// bytes([i]))` for i = 1, 2, ...
#[test]
fn the_floor_profiles_keys_agree_with_an_independent_calculation() {
    assert_eq!(
        all(&floor_keys()),
        [
            "52cf780f4d75a69ec98db785d6bc12e35446e2c669dfe4f7078712a22183baf4",
            "3c2b02b758be698e0846100ebeb2d2091ff28dd1ffb4fc6b0a385cc6a05211e0",
            "ea0b0c8744e7a49edf2715413c7f1a8791f7de154d45be44526c7a5be308d743",
            "e7a3482f33deaf836ff14683b5465cc12858d2dfe685f9eadce5f8f7db963501",
            "a25a58bad25dc11331edd8c0527ddd030f7639d9bc15b7491dc2cfd6923ee319",
            "ffb0db944eef73f565fe7ea938db055a8cee9969d6de04a18257d8319f84d31d",
            "1e4f543b85e78450a8671159fecc16a55e4984a904e7135bea8c0b643ff04261",
        ]
    );
}

/// From HMAC-SHA-256 to AES-256-GCM with HMAC-SHA-384: SKEYSEED with the old PRF, the rest with the new one, no integrity keys, salts
/// behind the keys. Calculated as above.
#[test]
fn a_rekey_may_change_every_algorithm() {
    let keys = floor_keys().rekeyed(
        PREFERRED,
        &KeyInput {
            shared: &secret(101),
            nonce_i: b"new nonce of i..",
            nonce_r: b"new nonce of r..",
            spi_i: 0x1111_1111_2222_2222_u64.to_be_bytes(),
            spi_r: 0x3333_3333_4444_4444_u64.to_be_bytes(),
        },
    );
    assert_eq!(
        all(&keys),
        [
            "d2a31816d6d96e611fd180801f2e826eabdc292dbd4c42e5b1f5e7834a4ced6a8627ccabca65633e4a4dac199d196ee6",
            "",
            "",
            "fdeb43470fde01f235022949271b23bc4430f1bd905c74ef5d2bbb187072845487a9c5ca",
            "1362699f474b0ed4f000f9fbdcfd8508b41ebc7e791dc8753dc673a3f3483aa2026a4c92",
            "5dc05b3e66b754fbd2bee90e5245a8be28b477f2f3847887b5ceb8b3de5d7d05dd249510be321ef4f2ed646844f45539",
            "6a0b7c164287b829cce82c5cbbe33e839b4ae38bea23b50287b2eca3cff75c75a03142e789c5479650be386f456dd125",
        ]
    );
    assert_eq!(keys.initiator.salt(), Some([0x87, 0xa9, 0xc5, 0xca]));
    assert_eq!(keys.initiator.encryption().len(), 32, "the salt is no part of the key of AES");
    assert_eq!((keys.prf(), floor_keys().prf()), (Prf::HmacSha384, Prf::HmacSha256));
}

/// Calculated as above: without a Diffie-Hellman of its own, with one, and in another cipher.
#[test]
fn a_child_sas_keys_agree_with_an_independent_calculation() {
    let keys = floor_keys();
    let (nonce_i, nonce_r) = (b"initiator nonce.initiator nonce.", b"responder nonce!responder nonce!");
    let ChildKeys { initiator, responder } = keys.child(CBC256, None, nonce_i, nonce_r);
    assert_eq!(hex(initiator.encryption()), "1e46503b4f8122d3284dc6896efdfca2ae594031294daf26b878eee57ad22856");
    assert_eq!(hex(initiator.integrity()), "281569251b46c3a8bd028310389e0213aaba60252acbf1344ce035305934816b");
    assert_eq!(hex(responder.encryption()), "15f4df07432f31170a560aa25e98510319b71fdd234f54a44516f0de34a75b1f");
    assert_eq!(hex(responder.integrity()), "fe8e51e25a53ca9708ab67dd7c6f1497dd79ce5ba9797dd6c7c4344dc9cb2ec9");
    assert_eq!(initiator.salt(), None);
    let pfs = keys.child(GCM256, Some(&secret(101)), b"new nonce of i..", b"new nonce of r..");
    assert_eq!(hex(pfs.initiator.encryption.expose()), "5c156a33761bfc5a4e2eb85ecf2aaf11609fb4bebc557c45a56d10021a9f23ce4a5160e3");
    assert_eq!(hex(pfs.responder.encryption.expose()), "9912367eef8a99df9e41c3459f57435a18368940631ebd7c6dc4f4e48506dcd366afe8ef");
    let small = keys.child(Cipher::Aead(Aead::Aes128Gcm16), None, b"new nonce of i..", b"new nonce of r..");
    assert_eq!(hex(small.initiator.encryption.expose()), "25da2b343eef61c32ec2b86df97381d2ac85e024");
    assert_eq!(hex(small.responder.encryption.expose()), "677bc160439730ce8c66331280a7f0766197ac13");
    assert!(small.responder.integrity().is_empty());
}

#[test]
fn each_side_sends_with_what_the_other_receives_with() {
    let child = floor_keys().child(CBC256, None, b"i", b"r");
    let (ours, theirs) = child.clone().directions(Role::Initiator);
    let (peers_ours, peers_theirs) = child.directions(Role::Responder);
    assert_eq!(ours.encryption(), peers_theirs.encryption());
    assert_eq!(theirs.integrity(), peers_ours.integrity());
    assert_ne!(ours.encryption(), theirs.encryption(), "one key never serves both directions");
    let keys = floor_keys();
    assert_ne!(keys.sk_p(Role::Initiator).expose(), keys.sk_p(Role::Responder).expose());
}

#[test]
fn no_key_is_ever_printed() {
    let keys = floor_keys();
    let child = keys.child(GCM256, None, b"i", b"r");
    let (sealer, opener) = keys.protection(Role::Responder);
    let printed = format!("{keys:?} {child:?} {sealer:?} {opener:?} {:?}", keys.sk_p(Role::Initiator));
    let [d, salt] = [keys.d.expose(), &child.initiator.salt().expect("a salt")].map(hex);
    assert!(printed.contains("Secret(32 bytes)"), "{printed}");
    assert!(!printed.contains(&d[..8]) && !printed.contains(&salt) && !printed.contains('['), "{printed}");
}
