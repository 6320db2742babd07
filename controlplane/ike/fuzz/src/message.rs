//! Messages and chains of payloads: nothing panics, and what is written reads as what it was.

use ike::message::{Header, Message, Payload, Payloads, Proposal, TrafficSelector, write};
use ike::proposals::proposal_words;

/// The first octet chooses: a whole message, or the inside of an SK payload.
pub fn check(data: &[u8]) {
    match data.split_first() {
        Some((0, datagram)) => whole(datagram),
        Some((first, chain)) => {
            if let Ok(payloads) = Payloads::parse(*first, chain) {
                read_all(&payloads);
            }
        }
        None => {}
    }
}

fn whole(datagram: &[u8]) {
    let header = Header::parse(datagram);
    let Ok(message) = Message::parse(datagram) else { return };
    assert_eq!(header.expect("a message has a header").0, message.header);
    read_all(&message.payloads);
    let payloads: Vec<Payload<'_>> = message.payloads.iter().map(without_what_is_not_written).collect();
    let written = write(&message.header, &payloads).expect("no longer than it came");
    if message.protected.is_none() {
        let again = Message::parse(&written).expect("what we write can be read");
        assert!(again.header == message.header && again.payloads.iter().eq(&payloads), "it reads as what it was");
    }
}

/// Attributes that are not understood and selectors that are not IPv4 are read over and not written.
fn without_what_is_not_written<'a>(payload: &Payload<'a>) -> Payload<'a> {
    let ipv4 = |all: &[TrafficSelector]| {
        let kept: Vec<_> = all.iter().filter(|selector| matches!(selector, TrafficSelector::Ipv4(_))).copied().collect();
        if kept.is_empty() { vec![TrafficSelector::Ipv4(any())] } else { kept }
    };
    match payload {
        Payload::SecurityAssociation(proposals) => Payload::SecurityAssociation(proposals.iter().map(understood).collect()),
        Payload::TrafficSelectorsInitiator(all) => Payload::TrafficSelectorsInitiator(ipv4(all)),
        Payload::TrafficSelectorsResponder(all) => Payload::TrafficSelectorsResponder(ipv4(all)),
        payload => payload.clone(),
    }
}

fn any() -> ike::message::Ipv4Selector {
    ike::message::Ipv4Selector::addresses([0; 4].into(), [255; 4].into())
}

fn understood(proposal: &Proposal) -> Proposal {
    let mut proposal = proposal.clone();
    proposal.transforms.iter_mut().for_each(|transform| transform.understood = true);
    proposal
}

fn read_all(payloads: &Payloads<'_>) {
    assert!(payloads.iter().count() <= ike::message::MAX_PAYLOADS);
    assert!(payloads.nonce().is_none_or(|nonce| (16..=256).contains(&nonce.len())));
    let words: usize = payloads.proposals().unwrap_or_default().iter().map(|proposal| proposal_words(proposal).len()).sum();
    assert!(words < 100_000);
    let spis: usize =
        payloads.deletes().map(|delete| if let ike::message::Delete::Esp(spis) = delete { spis.iter().count() } else { 0 }).sum();
    assert!(spis < 65_536);
    for id in [payloads.id_initiator(), payloads.id_responder()].into_iter().flatten() {
        if let Some(identity) = ike::Identity::from_wire(id.kind, id.data) {
            assert_eq!((identity.id_type(), identity.data().as_slice()), (id.kind, id.data));
            assert!(!identity.to_string().is_empty());
        }
    }
}
