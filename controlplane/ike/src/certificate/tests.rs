use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize, SanType, date_time_ymd,
};

use super::*;
use crate::auth::{SignedOctets, method};
use crate::identity::Identity;
use crate::secret::Secret;
use crate::test_hex::{hex, unhex};
use crate::transforms::Prf;

/// 2026-11-22 00:00:00 UTC.
const NOW: Duration = Duration::from_secs(1_795_305_600);

type TestAuthority = CertifiedIssuer<'static, KeyPair>;

fn params(common_name: &str, alternatives: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(alternatives.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).expect("names");
    params.distinguished_name.push(DnType::CommonName, common_name);
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2028, 1, 1));
    params
}

fn authority_params(common_name: &str) -> CertificateParams {
    let mut params = params(common_name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn authority(common_name: &str) -> TestAuthority {
    CertifiedIssuer::self_signed(authority_params(common_name), ecdsa_256()).expect("an authority")
}

fn authorities(of: &TestAuthority) -> Authorities {
    Authorities::from_pem(of.pem().as_bytes()).expect("an authority's certificate")
}

fn ecdsa_256() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key")
}

fn rsa() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key")
}

/// A certificate of `params` for a new ECDSA key.
fn issue(params: &CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Vec<u8> {
    params.signed_by(&ecdsa_256(), issuer).expect("a certificate").der().to_vec()
}

fn own(params: &CertificateParams, key: &KeyPair, issuer: &Issuer<'_, KeyPair>) -> OwnCertificate {
    let certificate = params.signed_by(key, issuer).expect("a certificate");
    OwnCertificate::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).expect("a certificate with its key")
}

fn fqdn(name: &str) -> Identity {
    Identity::Fqdn(name.to_owned())
}

fn octets(message: &[u8]) -> SignedOctets {
    SignedOctets::new(Prf::HmacSha256, message, b"nonce", &Secret::new(vec![1; 32]), &fqdn("chiyoda"))
}

/// What comes of `sent` where `chiyoda` is claimed.
fn check(authorities: &Authorities, sent: &[&[u8]]) -> Result<u64, CertificateError> {
    authorities.check(sent, &fqdn("chiyoda"), NOW).map(|certificate| certificate.expires_at())
}

#[test]
fn a_router_proves_its_identity_with_each_kind_of_key() {
    let ca = authority("Tokyo CA");
    for (key, rfc_4754) in [
        (ecdsa_256(), Some(method::ECDSA_256)),
        (KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key"), Some(method::ECDSA_384)),
        (rsa(), None),
    ] {
        let router = own(&params("router", &["chiyoda"]), &key, &ca);
        let sent: Vec<&[u8]> = router.chain().collect();
        let peer = authorities(&ca).check(&sent, &fqdn("chiyoda"), NOW).expect("a good chain");
        assert_eq!((peer.expires_at(), router.expires_at()), (1_830_297_600, 1_830_297_600), "2028-01-01");
        let proof = router.prove(&octets(b"message"), Some(SignatureHashes::OURS)).expect("a signature");
        assert_eq!(proof.method, method::DIGITAL_SIGNATURE);
        assert_eq!(peer.check_signature(&octets(b"message"), proof.method, &proof.data), Ok(()));
        assert!(peer.check_signature(&octets(b"another message"), proof.method, &proof.data).is_err());
        for end in [0, 1, 10, proof.data.len() - 1] {
            assert!(peer.check_signature(&octets(b"message"), proof.method, &proof.data[..end]).is_err(), "cut at {end}");
        }
        for other in [0, 1, method::SHARED_KEY, 3, method::ECDSA_256, method::ECDSA_384, 255] {
            assert!(peer.check_signature(&octets(b"message"), other, &proof.data).is_err(), "method {other}");
        }
        // A peer that does not know RFC 7427.
        let old = router.prove(&octets(b"message"), None);
        match (rfc_4754, old) {
            (Some(method), Ok(proof)) => {
                assert_eq!((proof.method, proof.data.len() % 32), (method, 0), "two numbers of the curve's length");
                assert_eq!(peer.check_signature(&octets(b"message"), proof.method, &proof.data), Ok(()));
            }
            (None, old) => assert_eq!(old, Err(CertificateError::NoCommonHash)),
            (Some(method), Err(error)) => panic!("method {method}: {error}"),
        }
    }
}

#[test]
fn another_routers_certificate_or_another_keys_signature_proves_nothing() {
    let ca = authority("Tokyo CA");
    let (chiyoda, minato) = (own(&params("a", &["chiyoda"]), &ecdsa_256(), &ca), own(&params("b", &["minato"]), &ecdsa_256(), &ca));
    let sent: Vec<&[u8]> = chiyoda.chain().collect();
    let peer = authorities(&ca).check(&sent, &fqdn("chiyoda"), NOW).expect("a good chain");
    let proof = minato.prove(&octets(b"message"), Some(SignatureHashes::OURS)).expect("a signature");
    assert!(peer.check_signature(&octets(b"message"), proof.method, &proof.data).is_err());
    let sent: Vec<&[u8]> = minato.chain().collect();
    let refused = check(&authorities(&ca), &sent).expect_err("minato's certificate does not name chiyoda");
    assert_eq!(
        refused.to_string(),
        "CN=b does not name the identity chiyoda; issue it with that name as subjectAltName, or configure its subject as the identity"
    );
}

#[test]
fn only_this_tenants_authorities_count() {
    let (ours, theirs) = (authority("Tokyo CA"), authority("Osaka CA"));
    let router = issue(&params("router", &["chiyoda"]), &theirs);
    assert!(check(&authorities(&theirs), &[&router]).is_ok());
    // The peer's own authority in its chain makes no authority of it, and neither does one with our authority's name.
    let impostor = authority("Tokyo CA");
    let forged = issue(&params("router", &["chiyoda"]), &impostor);
    assert!(matches!(check(&authorities(&ours), &[&router, theirs.der()]), Err(CertificateError::UnknownAuthority { .. })));
    assert!(check(&authorities(&ours), &[&forged, impostor.der()]).is_err());
    let self_signed = params("router", &["chiyoda"]).self_signed(&ecdsa_256()).expect("a certificate");
    assert!(matches!(check(&authorities(&ours), &[self_signed.der()]), Err(CertificateError::UnknownAuthority { .. })));
    assert_eq!(check(&authorities(&ours), &[]), Err(CertificateError::NoneSent));
}

#[test]
fn a_chain_needs_every_link_and_links_that_may_sign() {
    let root = authority("Root");
    let middle = |change: fn(&mut CertificateParams)| {
        let mut params = authority_params("Middle");
        change(&mut params);
        CertifiedIssuer::signed_by(params, ecdsa_256(), &root).expect("an authority")
    };
    let outcome = |middle: &TestAuthority, with_middle: bool| {
        let router = issue(&params("router", &["chiyoda"]), middle);
        let sent: [&[u8]; 2] = [&router, middle.der()];
        check(&authorities(&root), &sent[..if with_middle { 2 } else { 1 }])
    };
    let good = middle(|_| ());
    assert!(outcome(&good, true).is_ok());
    assert!(matches!(outcome(&good, false), Err(CertificateError::UnknownAuthority { .. })));
    let no_authority: [fn(&mut CertificateParams); 3] = [
        |params| params.is_ca = IsCa::ExplicitNoCa,
        |params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature],
        |params| params.not_after = date_time_ymd(2026, 11, 21),
    ];
    for change in no_authority {
        assert!(outcome(&middle(change), true).is_err());
    }
    // A path length of zero: the one below may sign routers only.
    let short = middle(|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let below = CertifiedIssuer::signed_by(authority_params("Below"), ecdsa_256(), &short).expect("an authority");
    let router = issue(&params("router", &["chiyoda"]), &below);
    assert!(matches!(check(&authorities(&root), &[&router, below.der(), short.der()]), Err(CertificateError::BadChain { .. })));
}

#[test]
fn a_certificate_counts_between_its_dates_only_and_so_does_its_authority() {
    let ca = authority("Tokyo CA");
    let router = issue(&params("router", &["chiyoda"]), &ca);
    let at = |unix: u64| authorities(&ca).check(&[&router], &fqdn("chiyoda"), Duration::from_secs(unix)).map(|_| ());
    assert_eq!(at(1_830_297_600), Ok(()), "the last second of 2028-01-01 00:00:00");
    assert!(matches!(at(1_830_297_601), Err(CertificateError::Expired { .. })));
    assert!(matches!(at(1_767_225_599), Err(CertificateError::NotYetValid { .. })), "the last second of 2025");
    let mut early = params("router", &["chiyoda"]);
    early.not_before = date_time_ymd(2027, 1, 1);
    assert!(matches!(check(&authorities(&ca), &[&issue(&early, &ca)]), Err(CertificateError::NotYetValid { .. })));
    let mut old = authority_params("Old CA");
    old.not_after = date_time_ymd(2026, 6, 1);
    let old = CertifiedIssuer::self_signed(old, ecdsa_256()).expect("an authority");
    let router = issue(&params("router", &["chiyoda"]), &old);
    assert!(matches!(check(&authorities(&old), &[&router]), Err(CertificateError::Expired { .. })));
    assert_eq!(authorities(&old).expires_at(), 1_780_272_000, "2026-06-01, for the metric that warns of it");
}

#[test]
fn identities_are_matched_by_kind_and_never_by_the_common_name() {
    let ca = authority("Tokyo CA");
    let mut all = params("chiyoda", &["router.chiyoda.example", "192.0.2.11"]);
    all.subject_alt_names.push(SanType::Rfc822Name("Router@Chiyoda.example".try_into().expect("a mailbox")));
    let router = issue(&all, &ca);
    let subject = |der: &[u8]| {
        use x509_cert::der::Encode;
        reading::read(der).expect("a certificate").tbs_certificate().subject().to_der().expect("a name")
    };
    let another = issue(&params("minato", &[]), &ca);
    let names = |identity: Identity| authorities(&ca).check(&[&router], &identity, NOW).is_ok();
    assert!(names(fqdn("Router.Chiyoda.example")), "names are the same in any case");
    assert!(names(Identity::Email("Router@chiyoda.EXAMPLE".into())));
    assert!(names(Identity::Ipv4([192, 0, 2, 11].into())));
    assert!(names(Identity::DistinguishedName(subject(&router))));
    for other in [
        fqdn("chiyoda"),
        fqdn("chiyoda.example"),
        fqdn("Router@Chiyoda.example"),
        fqdn("192.0.2.11"),
        fqdn(""),
        Identity::Email("router@chiyoda.example".into()),
        Identity::Ipv4([192, 0, 2, 12].into()),
        Identity::KeyId(b"router.chiyoda.example".to_vec()),
        Identity::DistinguishedName(subject(&another)),
        Identity::DistinguishedName(vec![0x30, 0]),
    ] {
        assert!(!names(other.clone()), "{other}");
    }
    let wildcard = issue(&params("router", &["*.chiyoda.example"]), &ca);
    assert!(authorities(&ca).check(&[&wildcard], &fqdn("router.chiyoda.example"), NOW).is_err());
}

#[test]
fn a_certificate_for_another_use_is_refused() {
    let ca = authority("Tokyo CA");
    let outcome = |usages: Vec<KeyUsagePurpose>, extended: Vec<ExtendedKeyUsagePurpose>| {
        let mut params = params("router", &["chiyoda"]);
        (params.key_usages, params.extended_key_usages) = (usages, extended);
        check(&authorities(&ca), &[&issue(&params, &ca)])
    };
    let ipsec_ike = ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 17]);
    for good in [ipsec_ike, ExtendedKeyUsagePurpose::Any, ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth] {
        assert!(outcome(vec![KeyUsagePurpose::DigitalSignature], vec![ExtendedKeyUsagePurpose::CodeSigning, good]).is_ok());
    }
    let encipher_only = outcome(vec![KeyUsagePurpose::KeyEncipherment], vec![]);
    assert!(matches!(encipher_only, Err(CertificateError::WrongUse { .. })));
    let code_signing = outcome(vec![], vec![ExtendedKeyUsagePurpose::CodeSigning]);
    assert!(matches!(code_signing, Err(CertificateError::WrongUse { .. })));
    // An authority is no router.
    assert!(check(&authorities(&ca), &[ca.der()]).is_err());
}

#[test]
fn the_relays_own_files_are_checked_when_they_are_loaded() {
    let ca = authority("Tokyo CA");
    let key = ecdsa_256();
    let certificate = params("relay", &["relay.example.jp"]).signed_by(&key, &ca).expect("a certificate");
    let load = |certificate: &str, key: &str| OwnCertificate::from_pem(certificate.as_bytes(), key.as_bytes()).map(|_| ());
    let good = certificate.pem();
    assert_eq!(load(&good, &key.serialize_pem()), Ok(()));
    assert_eq!(load(&good, &ecdsa_256().serialize_pem()), Err(CertificateError::KeyOfAnother));
    assert!(matches!(load(&key.serialize_pem(), &key.serialize_pem()), Err(CertificateError::NotPem { label: "CERTIFICATE", .. })));
    assert!(matches!(load(&good, &good), Err(CertificateError::NotPem { label: "PRIVATE KEY", .. })));
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let of_ed25519 = params("relay", &[]).signed_by(&ed25519, &ca).expect("a certificate");
    assert_eq!(load(&of_ed25519.pem(), &ed25519.serialize_pem()), Err(CertificateError::KeyNotSupported));
    assert_eq!(load("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ""), Err(CertificateError::NotUnderstood));
    assert_eq!(load(&good.repeat(7), &key.serialize_pem()), Err(CertificateError::TooMuch));
    let own = OwnCertificate::from_pem(good.as_bytes(), key.serialize_pem().as_bytes()).expect("it is good");
    assert!(own.names(&fqdn("relay.example.jp")) && !own.names(&fqdn("relay")));
    assert_eq!(format!("{own:?}"), "OwnCertificate(CN=relay, until 1830297600)", "and no private key");
    let not_an_authority = Authorities::from_pem(good.as_bytes()).expect_err("a relay is no authority");
    assert!(not_an_authority.to_string().starts_with("CN=relay is not an authority"), "{not_an_authority}");
    assert!(matches!(Authorities::from_pem(b""), Err(CertificateError::NotPem { .. })));
}

#[test]
fn whatever_a_stranger_sends_is_refused_in_words() {
    let ca = authority("Tokyo CA");
    let router = issue(&params("router", &["chiyoda"]), &ca);
    let authorities = authorities(&ca);
    assert_eq!(check(&authorities, &[&router[..]; 7]), Err(CertificateError::TooMuch));
    assert_eq!(check(&authorities, &[&[0x30; 8_193]]), Err(CertificateError::TooMuch));
    assert_eq!(check(&authorities, &[&router, b"no certificate"]), Err(CertificateError::NotUnderstood));
    for end in 0..router.len() {
        assert!(check(&authorities, &[&router[..end]]).is_err(), "cut at {end}");
    }
    for octet in 0..router.len() {
        let mut changed = router.clone();
        changed[octet] ^= 1 << (octet % 8);
        assert!(check(&authorities, &[&changed]).is_err(), "octet {octet}");
    }
}

/// RFC 7427 appendix A, octet by octet.
#[test]
fn algorithms_are_named_as_the_rfc_writes_them() {
    let ca = authority("Tokyo CA");
    let rsa = own(&params("router", &["chiyoda"]), &rsa(), &ca);
    let named = |own: &OwnCertificate, accepted| {
        let data = own.prove(&octets(b"message"), Some(accepted)).expect("a signature").data;
        hex(&data[1..=usize::from(data[0])])
    };
    let ecdsa = own(&params("router", &["chiyoda"]), &ecdsa_256(), &ca);
    assert_eq!(named(&ecdsa, SignatureHashes::OURS), "300a06082a8648ce3d040302");
    let pss = |hash: &str, salt: &str| {
        let hash = format!("300d060960864801650304020{hash}0500");
        format!("304106092a864886f70d01010a3034a00f{hash}a11c301a06092a864886f70d010108{hash}a2030201{salt}")
    };
    assert_eq!(named(&rsa, SignatureHashes::OURS), pss("1", "20"));
    assert_eq!(named(&rsa, SignatureHashes { sha256: false, ..SignatureHashes::OURS }), pss("2", "30"));
    assert_eq!(named(&rsa, SignatureHashes { sha512: true, ..SignatureHashes::default() }), pss("3", "40"));
    // ecdsa-with-SHA256 with a parameter that does not belong there.
    let sent: Vec<&[u8]> = ecdsa.chain().collect();
    let peer = authorities(&ca).check(&sent, &fqdn("chiyoda"), NOW).expect("a good chain");
    let good = ecdsa.prove(&octets(b"message"), Some(SignatureHashes::OURS)).expect("a signature").data;
    let padded = [&unhex("0e 300c06082a8648ce3d0403020500")[..], &good[13..]].concat();
    assert_eq!(peer.check_signature(&octets(b"message"), method::DIGITAL_SIGNATURE, &good), Ok(()));
    assert!(peer.check_signature(&octets(b"message"), method::DIGITAL_SIGNATURE, &padded).is_err());
}

/// What strongSwan does with an RSA key when nothing else is configured.
#[test]
fn a_signature_that_is_not_accepted_is_called_by_its_name() {
    let ca = authority("Tokyo CA");
    let router = own(&params("router", &["chiyoda"]), &rsa(), &ca);
    let sent: Vec<&[u8]> = router.chain().collect();
    let peer = authorities(&ca).check(&sent, &fqdn("chiyoda"), NOW).expect("a good chain");
    let words = |method, data: &str| peer.check_signature(&octets(b"message"), method, &unhex(data)).expect_err("refused").to_string();
    let pkcs1_sha256 = words(method::DIGITAL_SIGNATURE, "0f 300d06092a864886f70d01010b0500 00");
    assert!(pkcs1_sha256.starts_with("it signs with RSA PKCS#1 v1.5, which is not accepted; use"), "{pkcs1_sha256}");
    assert!(words(method::DIGITAL_SIGNATURE, "0f 300d06092a864886f70d0101050500 00").contains("v1.5 and SHA-1,"));
    assert!(words(method::DIGITAL_SIGNATURE, "07 300506032b6570 00").contains("Ed25519"));
    assert!(words(1, "00").contains("v1.5 and SHA-1,") && words(11, "00").contains("P-521"));
    assert!(words(method::DIGITAL_SIGNATURE, "").starts_with("its signature does not hold"));
}

#[test]
fn nobody_signs_with_a_hash_that_the_peer_did_not_accept() {
    let ca = authority("Tokyo CA");
    let own = own(&params("router", &["chiyoda"]), &ecdsa_256(), &ca);
    let prove = |accepted: &[u8]| own.prove(&octets(b"message"), Some(SignatureHashes::from_wire(accepted))).map(|proof| proof.method);
    assert_eq!(prove(&[0, 1, 0, 2]), Ok(method::DIGITAL_SIGNATURE));
    // SHA-1, SHA-512, Identity (of EdDSA), half a number, nothing.
    for accepted in [&[0, 1][..], &[0, 4], &[0, 5], &[0, 3, 0], &[]] {
        assert_eq!(prove(accepted), Err(CertificateError::NoCommonHash), "{accepted:?}");
    }
    assert_eq!(SignatureHashes::OURS.to_wire(), [0, 2, 0, 3, 0, 4]);
    assert_eq!(SignatureHashes::from_wire(&SignatureHashes::OURS.to_wire()), SignatureHashes::OURS);
}

#[test]
fn a_request_names_each_authority_by_the_hash_of_its_key() {
    let (one, other) = (authority("Tokyo CA"), authority("Osaka CA"));
    let both = Authorities::from_pem((one.pem() + &other.pem()).as_bytes()).expect("two authorities");
    assert_eq!(both.request().len(), 40);
    assert_eq!(both.request(), [authorities(&one).request(), authorities(&other).request()].concat());
    let key = rcgen::PublicKeyData::subject_public_key_info(one.key());
    let expected = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &key);
    assert_eq!(hex(&authorities(&one).request()), hex(expected.as_ref()));
    assert!(both == both.clone() && both != authorities(&one));
    assert!(both.include(&authorities(&one)) && both.include(&authorities(&other)) && !authorities(&one).include(&both));
}
