use super::*;
use crate::transforms::{AesKeyLength, Encryption, Group, Integrity, Prf};

fn header(exchange: ExchangeType) -> Header {
    let initiator_spi = IkeSpi::new(0x0102_0304_0506_0708).unwrap();
    Header { initiator_spi, responder_spi: None, exchange, from_initiator: true, response: false, message_id: 0 }
}

/// Header, then payloads of type and body, each naming the next.
fn message_of(payloads: &[(u8, u8, Vec<u8>)]) -> Vec<u8> {
    let mut message = Vec::new();
    header(ExchangeType::IkeSaInit).write(payloads.first().map_or(0, |payload| payload.0), &mut message);
    for (index, (_, flags, body)) in payloads.iter().enumerate() {
        let length = u16::try_from(body.len() + 4).unwrap().to_be_bytes();
        message.extend_from_slice(&[payloads.get(index + 1).map_or(0, |payload| payload.0), *flags, length[0], length[1]]);
        message.extend_from_slice(body);
    }
    header::set_length(&mut message);
    message
}

#[test]
fn a_first_request_is_written_and_read_back() {
    let transforms: Vec<Transform> = vec![
        Encryption::AesCbc(AesKeyLength::Aes256).into(),
        Prf::HmacSha256.into(),
        Integrity::HmacSha256_128.into(),
        Group::Modp2048.into(),
    ];
    let payloads = [
        Payload::SecurityAssociation(vec![Proposal { number: 1, protects: Protects::Ike(None), transforms }]),
        Payload::KeyExchange { group: 14, data: &[7; 256] },
        Payload::Nonce(&[9; 32]),
        Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_SOURCE_IP, &[1; 20])),
        Payload::VendorId(b"vendor"),
    ];
    let octets = write(&header(ExchangeType::IkeSaInit), &payloads).unwrap();
    assert_eq!(octets.len(), 28 + 48 + 264 + 36 + 28 + 10);
    let message = Message::parse(&octets).unwrap();
    assert!(message.payloads.iter().eq(&payloads));
    assert_eq!((message.payloads.key_exchange(), message.payloads.nonce()), (Some((14, &[7; 256][..])), Some(&[9; 32][..])));
    assert!(message.payloads.notify(NotifyType::NAT_DETECTION_SOURCE_IP).is_some() && message.payloads.error().is_none());
    for length in 0..octets.len() {
        assert!(Message::parse(&octets[..length]).is_err(), "{length}");
    }
}

#[test]
fn an_unknown_payload_is_skipped_unless_it_is_critical() {
    let nonce = |kind| message_of(&[(kind, 0, vec![1, 2, 3]), (40, 0, vec![5; 16])]);
    assert_eq!(Message::parse(&nonce(200)).unwrap().payloads.nonce(), Some(&[5; 16][..]));
    assert_eq!(Message::parse(&nonce(48)).unwrap().payloads.iter().count(), 1, "EAP is unknown here");
    let critical = message_of(&[(200, 0x80, vec![1, 2, 3]), (40, 0, vec![5; 16])]);
    let error = Message::parse(&critical).unwrap_err();
    assert_eq!(error, ParseError::UnsupportedCritical(200));
    assert_eq!((error.notification(), error.notification_data()), (NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![200]));
    let known = message_of(&[(40, 0x80, vec![5; 16])]);
    assert!(Message::parse(&known).is_ok(), "the bit says nothing about a payload that is known");
}

#[test]
fn nonces_have_sixteen_to_256_octets() {
    for (octets, good) in [(15, false), (16, true), (256, true), (257, false), (0, false)] {
        assert_eq!(Message::parse(&message_of(&[(40, 0, vec![5; octets])])).is_ok(), good, "{octets}");
    }
}

#[test]
fn what_may_stand_once_stands_once() {
    let twice = message_of(&[(40, 0, vec![5; 16]), (40, 0, vec![6; 16])]);
    assert_eq!(Message::parse(&twice), Err(ParseError::Twice(40)));
    let notifies = message_of(&[(41, 0, vec![0, 0, 0, 14]), (41, 0, vec![0, 0, 0, 14])]);
    assert_eq!(Message::parse(&notifies).unwrap().payloads.notifies().count(), 2);
}

#[test]
fn a_chain_of_more_payloads_than_anybody_sends_is_refused() {
    let vendors = |count| message_of(&vec![(43, 0, vec![1]); count]);
    assert_eq!(Message::parse(&vendors(MAX_PAYLOADS)).unwrap().payloads.vendor_ids().count(), MAX_PAYLOADS);
    assert!(matches!(Message::parse(&vendors(MAX_PAYLOADS + 1)), Err(ParseError::Bound(_))));
    let unknown = message_of(&vec![(200, 0, vec![]); MAX_PAYLOADS + 1]);
    assert!(matches!(Message::parse(&unknown), Err(ParseError::Bound(_))), "what is skipped counts as well");
}

#[test]
fn a_chain_ends_exactly_with_the_datagram() {
    let mut short = message_of(&[(40, 0, vec![5; 16])]);
    short[28 + 3] = 21;
    assert!(Message::parse(&short).is_err(), "a payload that reaches beyond the message");
    short[28 + 3] = 19;
    assert!(Message::parse(&short).is_err(), "octets behind the last payload");
    short[28 + 3] = 3;
    assert!(Message::parse(&short).is_err(), "shorter than its own header");
    let mut dangling = message_of(&[(40, 0, vec![5; 16])]);
    dangling[28] = 41;
    assert!(Message::parse(&dangling).is_err(), "a next payload that is not there");
}

#[test]
fn a_message_longer_than_any_is_refused_both_ways() {
    let vendor = vec![1; MAX_MESSAGE_OCTETS - 32];
    let longest = message_of(&[(43, 0, vendor.clone())]);
    assert!(Message::parse(&longest).is_ok());
    let longer = message_of(&[(43, 0, [vendor.as_slice(), &[1]].concat())]);
    assert!(matches!(Message::parse(&longer), Err(ParseError::Bound(_))));
    let payload = [vendor.as_slice(), &[1]].concat();
    assert_eq!(write(&header(ExchangeType::IkeSaInit), &[Payload::VendorId(&payload)]), Err(WriteError::TooLong));
}

#[test]
fn nothing_stands_behind_an_encrypted_payload_and_none_inside_another() {
    let behind = message_of(&[(46, 0, vec![0; 64]), (41, 0, vec![0, 0, 0, 14])]);
    assert!(Message::parse(&behind).is_err());
    assert!(matches!(Payloads::parse(46, &[0, 0, 0, 5, 1]), Err(ParseError::Malformed(_))));
    assert!(matches!(Payloads::parse(53, &[0, 0, 0, 5, 1]), Err(ParseError::Malformed(_))));
}

#[test]
fn the_payloads_of_an_authentication_are_written_and_read_back() {
    let id = crate::Identity::Fqdn("chiyoda".into()).body();
    let selector = TrafficSelector::Ipv4(Ipv4Selector::addresses([198, 51, 100, 16].into(), [198, 51, 100, 31].into()));
    let payloads = [
        Payload::IdInitiator(Id::parse(&id).unwrap()),
        Payload::IdResponder(Id::parse(&id).unwrap()),
        Payload::Certificate { encoding: 4, data: b"certificate" },
        Payload::CertificateRequest { encoding: 4, data: &[3; 20] },
        Payload::Authentication { method: 2, data: &[8; 32] },
        Payload::TrafficSelectorsInitiator(vec![selector]),
        Payload::TrafficSelectorsResponder(vec![selector]),
        Payload::Configuration(&[1, 0, 0, 0]),
        Payload::Delete(Delete::Ike),
    ];
    let mut chain = Vec::new();
    write_chain(&payloads, &mut chain);
    let read = Payloads::parse(payload_type::IDI, &chain).unwrap();
    assert!(read.iter().eq(&payloads));
    assert_eq!(read.id_initiator().map(|id| (id.kind, id.data)), Some((2, &b"chiyoda"[..])));
    assert_eq!((read.authentication(), read.certificates().count(), read.deletes().count()), (Some((2, &[8; 32][..])), 1, 1));
    assert_eq!(Payloads::parse(payload_type::NONE, &[]), Ok(Payloads::default()));
    assert!(Payloads::parse(payload_type::NONE, &[0]).is_err());
}

#[test]
fn payloads_without_their_fixed_part_are_refused() {
    for (kind, body) in
        [(34, vec![0, 14, 0]), (34, vec![0, 14, 0, 0]), (35, vec![2, 0, 0, 0]), (37, vec![]), (38, vec![]), (39, vec![2, 0, 0])]
    {
        assert!(Message::parse(&message_of(&[(kind, 0, body)])).is_err(), "payload {kind}");
    }
    assert!(Message::parse(&message_of(&[(34, 0, vec![0; 4 + 2_049])])).is_err(), "a public value longer than any group's");
}
