//! Two ends meet that prove themselves by certificates.

mod world;

use std::sync::Arc;
use std::time::Duration;

use ike::certificate::{Authorities, OwnCertificate, X509_SIGNATURE};
use ike::message::{Message, Payload};
use ike::{Authentication, Failure, Identity, PeerState};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
    RsaKeySize, date_time_ymd,
};
use world::*;

/// 2026-11-22.
const NOW: Duration = Duration::from_secs(1_795_305_600);

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(vec![]).expect("no names");
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, ecdsa()).expect("an authority")
}

fn ecdsa() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key")
}

fn rsa() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key")
}

/// `name`'s certificate until the end of 2027, from `of`, for a peer that `trusted` vouches for.
fn certificate(name: &str, key: &KeyPair, of: &Authority, trusted: &Authority) -> Authentication {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.not_after = date_time_ymd(2028, 1, 1);
    let pem = params.signed_by(key, of).expect("a certificate").pem();
    let own = OwnCertificate::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes()).expect("a certificate with its key");
    let authorities = Authorities::from_pem(trusted.pem().as_bytes()).expect("an authority");
    Authentication::Certificate { own: Arc::new(own), authorities: Arc::new(authorities) }
}

/// The relay and office 1, at `unix_time`.
fn world_of(of_relay: Authentication, of_office: Authentication, unix_time: Duration) -> World {
    let mut at_relay = office_at_relay(1);
    at_relay.authentication = of_relay;
    let mut at_office = relay_at_office(1);
    at_office.authentication = of_office;
    let mut world = World::new(1, config(0, vec![at_relay]), vec![config(1, vec![at_office])]);
    for node in &mut world.nodes {
        node.engine.set_unix_time(unix_time, ike::Instant::ZERO);
    }
    world
}

fn state(world: &World) -> (PeerState, String) {
    let status = world.nodes[0].engine.status(&office_name(1)).expect("configured");
    (status.state, status.last_error.map(|error| error.words).unwrap_or_default())
}

#[test]
fn both_sides_prove_themselves_with_each_kind_of_key_and_messages_are_cut_where_chains_are_long() {
    let ca = authority("CA");
    let keys: [fn() -> KeyPair; 3] = [ecdsa, || KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key"), rsa];
    for key in keys {
        let of_relay = certificate("relay.example", &key(), &ca, &ca);
        let mut world = world_of(of_relay, certificate("office-1", &key(), &ca, &ca), NOW);
        world.run(Duration::from_secs(2));
        assert_eq!(state(&world), (PeerState::Up, String::new()), "{:?}", world.nodes[1].reports);
        assert_eq!((world.nodes[0].pairs.len(), world.nodes[1].pairs.len()), (1, 1));
    }
}

/// Most routers send their certificate only when they are asked for it.
#[test]
fn the_relay_asks_for_certificates_in_its_first_answer_where_a_peer_has_one_and_nowhere_else() {
    let ca = authority("CA");
    let asked = |mut world: World| {
        world.run(Duration::from_secs(2));
        let answers = world.captured.iter().filter_map(|(_, _, _, octets)| Message::parse(octets).ok());
        let first = answers.into_iter().find(|message| message.header.response).expect("an answer to IKE_SA_INIT");
        first.payloads.iter().find_map(|payload| match payload {
            Payload::CertificateRequest { encoding, data } => Some((*encoding, data.to_vec())),
            _ => None,
        })
    };
    let world = world_of(certificate("relay.example", &ecdsa(), &ca, &ca), certificate("office-1", &ecdsa(), &ca, &ca), NOW);
    let wanted = Authorities::from_pem(ca.pem().as_bytes()).expect("an authority").request();
    assert_eq!(asked(world), Some((X509_SIGNATURE, wanted)));
    let with_keys = World::new(1, config(0, vec![office_at_relay(1)]), vec![config(1, vec![relay_at_office(1)])]);
    assert_eq!(asked(with_keys), None);
}

/// The relay refuses, says why to its operator, and no SA stands anywhere.
fn refused(of_office: Authentication, of_relay: Authentication, unix_time: Duration) -> String {
    let mut world = world_of(of_relay, of_office, unix_time);
    world.run(Duration::from_secs(2));
    assert!(world.failures(0, Failure::AuthenticationFailed) > 0, "{:?}", world.nodes[0].reports);
    assert_eq!((world.nodes[0].pairs.len(), world.nodes[1].pairs.len()), (0, 0));
    let (state, words) = state(&world);
    assert_ne!(state, PeerState::Up);
    words
}

#[test]
fn a_certificate_that_another_tenants_authority_made_out_in_this_tenants_name_opens_nothing() {
    let (ours, theirs) = (authority("CA of office 1"), authority("CA of office 2"));
    let of_relay = certificate("relay.example", &ecdsa(), &ours, &ours);
    let words = refused(certificate("office-1", &ecdsa(), &theirs, &ours), of_relay, NOW);
    assert!(words.contains("was not signed by an authority of this tenant"), "{words}");
}

#[test]
fn a_certificate_in_another_name_opens_nothing() {
    let ca = authority("CA");
    let of_relay = certificate("relay.example", &ecdsa(), &ca, &ca);
    let words = refused(certificate("office-2", &ecdsa(), &ca, &ca), of_relay, NOW);
    assert!(words.contains("does not name the identity office-1"), "{words}");
}

#[test]
fn an_expired_certificate_opens_nothing_and_the_operator_is_told() {
    let ca = authority("CA");
    let of_relay = certificate("relay.example", &ecdsa(), &ca, &ca);
    let next_year = NOW + Duration::from_secs(2 * 365 * 86_400);
    let words = refused(certificate("office-1", &ecdsa(), &ca, &ca), of_relay, next_year);
    assert!(words.contains("has expired; renew it"), "{words}");
}

#[test]
fn a_pre_shared_key_is_no_certificate_and_a_certificate_no_key() {
    let ca = authority("CA");
    let of_relay = || certificate("relay.example", &ecdsa(), &ca, &ca);
    let words = refused(psk("secret of 1"), of_relay(), NOW);
    assert!(words.contains("sent no certificate"), "{words}");
    let words = refused(certificate("office-1", &ecdsa(), &ca, &ca), psk("secret of 1"), NOW);
    assert!(words.contains("it signs, and a pre-shared key is configured"), "{words}");
}

#[test]
fn the_relay_too_must_be_who_it_says() {
    let (ca, other) = (authority("CA"), authority("Other"));
    let of_relay = certificate("relay.example", &ecdsa(), &other, &ca);
    let mut world = world_of(of_relay, certificate("office-1", &ecdsa(), &ca, &ca), NOW);
    world.run(Duration::from_secs(2));
    assert!(world.failures(1, Failure::AuthenticationFailed) > 0, "{:?}", world.nodes[1].reports);
    assert_eq!(world.nodes[1].pairs.len(), 0);
    assert_eq!(office_at_relay(1).local_id, Identity::Fqdn("relay.example".into()));
}
