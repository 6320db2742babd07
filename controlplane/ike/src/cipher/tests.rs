use aws_lc_rs::digest::{SHA256, digest};

use super::*;
use crate::test_hex::{hex, unhex};

const HEADER_OCTETS: usize = 32;

/// "Random" octets that are always the same.
struct Always(u8);

impl RngCore for Always {
    fn next_u32(&mut self) -> u32 {
        u32::from_be_bytes([self.0; 4])
    }

    fn next_u64(&mut self) -> u64 {
        u64::from_be_bytes([self.0; 8])
    }

    fn fill_bytes(&mut self, octets: &mut [u8]) {
        octets.fill(self.0);
    }
}

/// Every cipher that can be negotiated.
fn all() -> Vec<Cipher> {
    let cbc = Integrity::ALL.into_iter().flat_map(|integrity| AesKeyLength::ALL.map(|key| Cipher::AesCbc { key, integrity }));
    cbc.chain([Cipher::Aead(Aead::Aes256Gcm16), Cipher::Aead(Aead::Aes128Gcm16)]).collect()
}

/// 10, 11, 12, ... as key of AES (and its salt); 80, 81, ... as key of the MAC.
fn keys(cipher: Cipher) -> DirectionKeys {
    let octets = |from: u8, count: usize| (from..).take(count).collect::<Vec<u8>>();
    let aes = cipher.encryption().key_length().octets();
    match cipher {
        Cipher::Aead(_) => DirectionKeys::of(cipher, octets(0x10, aes + SALT_OCTETS), Vec::new()),
        Cipher::AesCbc { integrity, .. } => DirectionKeys::of(cipher, octets(0x10, aes), octets(0x80, integrity.key_octets())),
    }
}

/// A header of 32 octets in front of room for `text` octets.
fn message(overhead: Overhead, text: usize) -> (Vec<u8>, Layout) {
    let iv = HEADER_OCTETS..HEADER_OCTETS + overhead.iv;
    let text = iv.end..iv.end + text;
    let icv = text.end..text.end + overhead.icv;
    let mut message = vec![0; icv.end];
    for (octet, value) in message.iter_mut().zip(0..32) {
        *octet = value;
    }
    for (octet, value) in message[text.clone()].iter_mut().zip((64..).cycle()) {
        *octet = value;
    }
    (message, Layout { associated: 0..HEADER_OCTETS, iv, text, icv })
}

fn sealed(cipher: Cipher, text: usize) -> (Vec<u8>, Layout) {
    let mut sealer = Sealer::new(&keys(cipher));
    let (mut message, layout) = message(Seal::overhead(&sealer), text);
    sealer.seal(&mut message, &layout, &mut Always(0xa5)).expect("a first message");
    (message, layout)
}

/// Made with the `cryptography` package of Python (OpenSSL): `AES(key).CBC(iv)` over 48 octets, then `hmac` over header, IV and
/// ciphertext; and `AESGCM(key).encrypt(salt + iv, text, header)`. Written as SHA-256 of the whole message.
#[test]
fn messages_are_those_that_openssl_makes() {
    let cbc = |key, integrity| Cipher::AesCbc { key, integrity };
    use AesKeyLength::{Aes128, Aes192, Aes256};
    use Integrity::{HmacSha1_96, HmacSha256_128, HmacSha384_192, HmacSha512_256};
    for (cipher, expected) in [
        (cbc(Aes256, HmacSha256_128), "3f0dfaf0b2c0350442fa2c40f32cca026b3a6e5b91fdef13971fbb6d8c7f4c1b"),
        (cbc(Aes192, HmacSha256_128), "65943a5f532b1990dded64a26ff43a2e26afa75e8d0be21d9a3a81baae4b6f9e"),
        (cbc(Aes128, HmacSha256_128), "f4cde2bb1c9baec5f0d669c81e79ecf27638f8815a8178531f85512f283aba64"),
        (cbc(Aes256, HmacSha384_192), "62054ac6977992a3299f797fb9bc0c20096be63684ddc196347321857f4ba868"),
        (cbc(Aes256, HmacSha512_256), "cdb9dc67958e89edf486460cca521ea849851c3dca121b80f5dc8e69ce0a8a69"),
        (cbc(Aes128, HmacSha1_96), "3e75196d0f3967c9db7cfca4f15024acf636398f147a62472edff0ef1d0c006b"),
        (Cipher::Aead(Aead::Aes256Gcm16), "ed614f5d9d5d2c5c743ecf6de0af5dabaa01497465d2216dfe7647772ee664e4"),
        (Cipher::Aead(Aead::Aes128Gcm16), "ae1525d7dc06efccb3293ab712719077afda21449be80972dbab7e046fdde871"),
    ] {
        let (message, _) = sealed(cipher, 48);
        assert_eq!(hex(digest(&SHA256, &message).as_ref()), expected, "{cipher}");
    }
}

/// Test case 16 of McGrew and Viega, "The Galois/Counter Mode of Operation", cut into salt and IV as RFC 5282 does.
#[test]
fn aes_gcm_opens_the_published_vector() {
    let key = unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308 cafebabe");
    let opener = Opener::new(&DirectionKeys::of(Cipher::Aead(Aead::Aes256Gcm16), key, Vec::new()));
    let mut message = unhex(
        "feedfacedeadbeeffeedfacedeadbeefabaddad2 facedbaddecaf888
         522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662
         76fc6ece0f4e1768cddf8853bb2d551b",
    );
    let layout = Layout { associated: 0..20, iv: 20..28, text: 28..88, icv: 88..104 };
    opener.open(&mut message, &layout).expect("the published tag");
    assert_eq!(
        hex(&message[28..88]),
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    );
}

#[test]
fn what_is_sealed_can_be_opened_in_every_cipher_and_length() {
    for cipher in all() {
        let opener = Opener::new(&keys(cipher));
        let overhead = Open::overhead(&opener);
        for text in (1..=130).filter(|octets| octets % overhead.block == 0) {
            let (mut message, layout) = sealed(cipher, text);
            let (plain, _) = super::tests::message(overhead, text);
            assert_ne!(message[layout.text.clone()], plain[layout.text.clone()], "{cipher}");
            opener.open(&mut message, &layout).expect("our own message");
            assert_eq!(message[layout.text.clone()], plain[layout.text.clone()], "{cipher} {text}");
        }
    }
}

#[test]
fn one_bit_changed_anywhere_is_a_forgery() {
    for cipher in all() {
        let opener = Opener::new(&keys(cipher));
        let (message, layout) = sealed(cipher, 32);
        for octet in 0..message.len() {
            let mut changed = message.clone();
            changed[octet] ^= 1 << (octet % 8);
            let seen = changed.clone();
            assert_eq!(opener.open(&mut changed, &layout), Err(Forged), "{cipher} {octet}");
            // With a MAC of its own the text is not even decrypted: nothing could be learned from what would come out.
            if cipher.integrity().is_some() {
                assert_eq!(changed, seen, "{cipher} {octet}");
            }
        }
    }
}

#[test]
fn another_directions_keys_open_nothing() {
    for cipher in all() {
        let (mut message, layout) = sealed(cipher, 32);
        let mut other = keys(cipher);
        if let Cipher::AesCbc { integrity, .. } = cipher {
            other = DirectionKeys::of(cipher, other.encryption().to_vec(), vec![7; integrity.key_octets()]);
        } else {
            // Only the salt differs.
            other = DirectionKeys::of(cipher, [other.encryption(), &[7; 4]].concat(), Vec::new());
        }
        assert_eq!(Opener::new(&other).open(&mut message, &layout), Err(Forged), "{cipher}");
    }
}

#[test]
fn two_messages_of_gcm_never_share_an_iv_and_the_last_iv_ends_the_sa() {
    let mut sealer = Sealer::new(&keys(Cipher::Aead(Aead::Aes256Gcm16)));
    let (mut first, layout) = message(Seal::overhead(&sealer), 5);
    let mut second = first.clone();
    sealer.seal(&mut first, &layout, &mut Always(1)).expect("room");
    sealer.seal(&mut second, &layout, &mut Always(1)).expect("room");
    assert_eq!(
        (hex(&first[layout.iv.clone()]).as_str(), hex(&second[layout.iv.clone()]).as_str()),
        ("0000000000000000", "0000000000000001")
    );
    if let Sealing::Gcm { next_iv, .. } = &mut sealer.0 {
        *next_iv = u64::MAX;
    }
    let untouched = second.clone();
    assert_eq!(sealer.seal(&mut second, &layout, &mut Always(1)), Err(Exhausted));
    assert_eq!(second, untouched, "nothing of it may be sent");
}

#[test]
fn every_message_of_cbc_takes_a_fresh_iv_from_the_random_numbers() {
    let mut sealer = Sealer::new(&keys(Cipher::AesCbc { key: AesKeyLength::Aes256, integrity: Integrity::HmacSha256_128 }));
    let (mut message, layout) = message(Seal::overhead(&sealer), 32);
    sealer.seal(&mut message, &layout, &mut Always(0x5a)).expect("room");
    assert_eq!(message[layout.iv.clone()], [0x5a; 16]);
    sealer.seal(&mut message, &layout, &mut Always(0x5b)).expect("room");
    assert_eq!(message[layout.iv], [0x5b; 16]);
}
