//! Files of certificates: missing, expired, with the wrong key, and not the endpoint's.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd};

use super::super::*;
use super::fixture::{Fixture, NOTHING};
use super::ipsec_rules::ipsec;

const RELAY: &str = "local_id: relay.example.jp, certificate_file: relay.pem, private_key_file: keys/relay.pem, authorities_file: ca.pem";

/// Chuo's tunnel has certificates; the relay's is valid through `last` and for `name`.
fn fixture(name: &str, last: i32) -> Fixture {
    let fixture = ipsec(RELAY, "certificate: true");
    let issuer = authority(2099);
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "relay");
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(last, 1, 1));
    fixture.write("relay.pem", params.signed_by(&key, &issuer).expect("a certificate").pem());
    fixture.write_key("keys/relay.pem", &key.serialize_pem(), 0o600);
    fixture.write("ca.pem", issuer.pem());
    fixture
}

fn authority(last: i32) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(last, 1, 1));
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

fn found(fixture: &Fixture) -> Vec<String> {
    let lines = fixture.problems();
    lines.iter().map(|line| line.split_once("endpoints[1].ipsec.").map_or(line.clone(), |(_, rest)| rest.to_owned())).collect()
}

#[test]
fn a_certificate_with_its_key_and_an_authority_are_accepted_and_stay_the_same_until_they_change() {
    let fixture = fixture("relay.example.jp", 2099);
    assert_eq!(found(&fixture), NOTHING);
    let mut loader = Loader::new(&fixture.path("relay.yaml"), Purpose::Run);
    let files = CertificateFiles { certificate: fixture.path("relay.pem"), private_key: fixture.path("keys/relay.pem") };
    assert!(loader.load().relay.is_some());
    let first = loader.keys().own_certificate(&files).expect("good");
    assert!(loader.load().relay.is_some());
    assert!(Arc::ptr_eq(&first, &loader.keys().own_certificate(&files).expect("good")), "a reload disturbs nobody");
}

#[test]
fn a_missing_certificate_is_a_warning_to_check_and_an_error_to_run() {
    for (file, path) in [("relay.pem", "certificate_file"), ("keys/relay.pem", "private_key_file"), ("ca.pem", "authorities_file")] {
        let fixture = fixture("relay.example.jp", 2099);
        std::fs::remove_file(fixture.path(file)).expect("there");
        assert_eq!(found(&fixture), [format!("{path}: {file}: the file does not exist")]);
        assert!(fixture.load(Purpose::Check).relay.is_some() && fixture.load(Purpose::Run).relay.is_none());
    }
}

#[test]
fn the_key_of_another_certificate_and_one_that_others_may_read() {
    let fixture = fixture("relay.example.jp", 2099);
    fixture.write_key("keys/relay.pem", &KeyPair::generate().expect("a key").serialize_pem(), 0o600);
    let message = "the private key does not belong to the certificate; give the key that the certificate was requested with";
    assert_eq!(found(&fixture), [format!("certificate_file: relay.pem: {message}")]);
    fixture.write_key("keys/relay.pem", "x", 0o640);
    assert_eq!(found(&fixture), ["private_key_file: keys/relay.pem: has mode 0640: others than its owner may use it"]);
}

#[test]
fn expired_certificates_are_named_but_keep_no_other_change_out() {
    let expired = fixture("relay.example.jp", 2024);
    expired.write("ca.pem", authority(2023).pem());
    assert_eq!(
        found(&expired),
        ["certificate_file: relay.pem: has expired on 2024-01-01", "authorities_file: ca.pem: has expired on 2023-01-01"]
    );
    assert!(expired.load(Purpose::Run).relay.is_some());
}

#[test]
fn a_certificate_that_names_another_relay_would_be_refused_by_every_router() {
    let found = found(&fixture("other.example.jp", 2099));
    assert_eq!(found, ["local_id: the certificate of CN=relay does not name `relay.example.jp`: routers refuse it"]);
}

#[test]
fn a_peers_certificate_is_no_authority_and_text_is_no_certificate() {
    let fixture = fixture("relay.example.jp", 2099);
    fixture.write("ca.pem", "hunter2");
    let message = "no certificate in PEM form was found; the file must have a block that begins with -----BEGIN CERTIFICATE-----";
    assert_eq!(found(&fixture), [format!("authorities_file: ca.pem: {message}")]);
    fixture.write("ca.pem", std::fs::read(fixture.path("relay.pem")).expect("there"));
    assert!(found(&fixture)[0].starts_with("authorities_file: ca.pem: CN=relay is not an authority"), "{:?}", found(&fixture));
}
