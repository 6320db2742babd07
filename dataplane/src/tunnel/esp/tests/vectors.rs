//! Packets that others made: the test cases of draft-mcgrew-gcm-test-01, and scapy 2.5.0's IPsec layer, both ways.

use super::super::suite::{Opener, Sealer, Sequence};
use super::*;

fn aes(key: &str) -> AesKey {
    AesKey::new(&hex(key)).expect("a length of AES")
}

fn aes_gcm(key: &str, salt: &str) -> EspCipher {
    EspCipher::AesGcm16 { key: aes(key), salt: hex(salt).try_into().expect("four bytes") }
}

fn open(cipher: &EspCipher, sequence: Sequence, datagram: &[u8]) -> Vec<u8> {
    let mut out = vec![0; datagram.len()];
    let opened = Opener::new(cipher).expect("a suite").open(sequence, datagram, &mut out);
    let len = opened.unwrap_or_else(|why| panic!("{why:?}: {sequence:?}, {}", cipher.label()));
    out.truncate(len);
    out
}

#[test]
fn test_cases_of_mcgrew_for_gcm_in_esp_open_with_and_without_extended_sequence_numbers() {
    let with_extension = hex("00004321 00000000 4956ed7e3b244cfe
        fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce
        61bc17d768fd9732 459018148f6cbe722fd04796562dfdb4");
    let sequence = Sequence { number: 0x8765_4321_0000_0000, extended: true };
    let plain = open(&aes_gcm("4c80cdefbb5d10da906ac73c3613a634", "2e443b68"), sequence, &with_extension);
    let expected = hex("45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000
        00000000045f736970045f756470037369700963796265726369747902646b000021000101020201");
    assert_eq!(plain, expected);
    // That case pads with 1, 2 and has the next header 1: an inner ICMP, which a tunnel refuses.
    assert_eq!(super::super::packet::payload_len(&plain), Err(DropReason::TunnelNextHeaderUnsupported));

    let without = hex("4a2cbfe3 00000002 0102030405060708
        ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763748a637985771d347f0545659f14e99def842d8e
        b335f4eecfdbf831824b4c4915956c96");
    let key = "abbccddef00112233445566778899aababbccddef00112233445566778899aab";
    let plain = open(&aes_gcm(key, "11223344"), Sequence { number: 2, extended: false }, &without);
    let expected = hex("4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee0000000007002400020bf0000020405b40101040201020201");
    assert_eq!(plain, expected);
}

/// `IP(src='198.51.100.17', dst='203.0.113.10', id=1, ttl=64)/UDP(sport=40000, dport=443)/Raw(b'resident record no. 1')`.
const INNER: &str = "45000031000100004011146cc6336411cb00710a9c4001bb001d1bc87265736964656e74207265636f7264206e6f2e2031";

/// `SecurityAssociation(ESP, spi=0x12345678, ...)` with AES key bytes 0, 1, 2 ..., salt a0a1a2a3, integrity key bytes 40, 41, 42 ...; ESN:
/// upper half 3, `seq_num` 7, else 0 and 1. IVs: the sequence number (GCM), or that encrypted with the key (CBC). The last one's ICV is Python's
/// `hmac` over scapy's packet and the upper half, which scapy leaves out with a separate integrity algorithm (RFC 4303 section 2.8).
const OF_SCAPY: [(&str, u64, Option<Integrity>, usize); 8] = [
    ("12345678000000010000000000000001f5afb8bf6c75c6b45bcbb906bd58699b861ae857f4201d96a9c896965c9b54fa8f9b456a45c9dfb50f27846b6107a63716c0e9
      15dc081876d630398067287d889eb51019", 1, None, 256),
    ("1234567800000001000000000000000103711cc36c857750c77d527b1d37f077daf268890ab581196dec90d86ec32c7b8f9ea0df0543f5b45f788098a1439134835
      3ecd2141ea02672b6bd3c5c51750df07cf573", 1, None, 128),
    ("123456780000000700000003000000074b2f853c20b00bf5a329d7b1e40e16a9fb46904e75a3c963f37958823110ad49adf31389899547998fc5fdca01679906
      4c46c0299874a4fe9a4a07d789d6a95333640263", 3 << 32 | 7, None, 256),
    ("1234567800000001f05d76ae4ab99fe5a6f69b3148c2363db6470089e69920aec9318a67ba3f301efbc702e1f328e24d234bd5d54dfe1bb6f07bc3dbe6e0433c
      0161cb928124ffa78c8e3ca9d55f871fed8a5b12f9f952e96d1264ef9894b789ee50fe6cce745266", 1, Some(Integrity::HmacSha256_128), 256),
    ("12345678000000017346139595c0b41e497bbde365f42d0a36443044a613623657341233e90a70590488b5e57e0064d9ebdf5b4bc53e469b392337a3fdb44650
      50981e8c6aeb04cb18e609ee87daf9ca79cef1476307a35271dcbffe0ee67591840fcac1", 1, Some(Integrity::HmacSha1_96), 128),
    ("1234567800000001494e385a4b3fafb713eaeca8086267176f55b11a023b4ab80f0399c2c845450672397c9ce39df751d557eecd5117c9d7a456abe5940e885e
      e137cf250d6b24ade75d5a8fafb544628ec660812207c02ff10183a7fd485c84026b93aa099c439993fb0bd35714b095", 1, Some(Integrity::HmacSha384_192), 192),
    ("1234567800000001f05d76ae4ab99fe5a6f69b3148c2363db6470089e69920aec9318a67ba3f301efbc702e1f328e24d234bd5d54dfe1bb6f07bc3dbe6e0433c
      0161cb928124ffa78c8e3ca9d55f871fed8a5b12f9f952e91fd39c399a1930ac22dab97abdd15314c7ea30ae51981e2506ecafe76385ef3e", 1, Some(Integrity::HmacSha512_256), 256),
    ("1234567800000007f160911581e9a8ef7517ea9fbb9175d537e06d689ade6bbe94ee024e226c53818f785223b94c55cfcbf3aae581c050abda6424711a5436c2
      73346960c99722611b26ced7406879474cd45aed4854acc678c39f96fd9cce6ad35868707aa3bcfd", 3 << 32 | 7, Some(Integrity::HmacSha256_128), 256),
];

fn counting(from: u8, len: usize) -> Vec<u8> {
    (from..).take(len).collect()
}

#[test]
fn packets_of_scapy_open_and_the_same_packets_are_made() {
    for (datagram, number, integrity, bits) in OF_SCAPY {
        let key = AesKey::new(&counting(0, bits / 8)).expect("a length of AES");
        let cipher = match integrity {
            None => EspCipher::AesGcm16 { key, salt: [0xa0, 0xa1, 0xa2, 0xa3] },
            Some(integrity) => EspCipher::AesCbc {
                key,
                integrity: IntegrityKey::new(integrity, &counting(0x40, integrity.key_len())).expect("its length"),
            },
        };
        let (datagram, inner) = (hex(datagram), hex(INNER));
        let sequence = Sequence { number, extended: number > 1 };
        let plain = open(&cipher, sequence, &datagram);
        let len = super::super::packet::payload_len(&plain).expect("IPv4");
        assert_eq!(plain[..len], inner, "{}", cipher.label());

        // With room for the trailer behind the packet, and without.
        for room in [32, 0] {
            let mut frame = [&inner[..], &vec![0xcc; room]].concat();
            let mut out = vec![0; 200];
            let total = Sealer::new(&cipher).expect("a suite").seal(0x1234_5678, sequence, &mut frame, inner.len(), &mut out);
            assert_eq!(total.map(|total| &out[..total]), Some(&datagram[..]), "{} with room for {room}", cipher.label());
        }
    }
}

#[test]
fn iv_of_other_implementations_are_taken_as_they_come() {
    let datagram = hex("1234567800000001808182838485868788898a8b8c8d8e8fd7e09d268477cc8e7af0981f2777d556ac3ab047a0ca81df9be5faef8ad4fc55
        edccd8267be0ff573e6a06ad17239c2c345ac0de9a84f8999c97d6df90f4d077062f62a7cafd8a816cf414cf36efbbf5");
    let integrity = IntegrityKey::new(Integrity::HmacSha256_128, &counting(0x40, 32)).expect("its length");
    let cipher = EspCipher::AesCbc { key: AesKey::new(&counting(0, 32)).expect("256 bits"), integrity };
    assert!(open(&cipher, Sequence { number: 1, extended: false }, &datagram).starts_with(&hex(INNER)));
}
