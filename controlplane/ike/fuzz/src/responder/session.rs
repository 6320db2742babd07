//! One who speaks IKE properly as far as it wants to, and holds the pre-shared key of tenant 1 (or 3).

use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU32;

use ike::auth::{SignedOctets, prove_by_psk};
use ike::cipher::{Opener, Sealer};
use ike::key_schedule::{IkeKeys, KeyInput, Role};
use ike::message::protect::Seal;
use ike::message::{
    Delete, EspSpis, ExchangeType, HEADER_OCTETS, Header, Id, IkeSpi, Ipv4Selector, Message, Notify, NotifyType, Payload, Payloads,
    TrafficSelector, payload_type, write, write_protected,
};
use ike::proposals::Proposals;
use ike::{CryptoPolicy, LocalPort};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::relay::{Relay, identity, psk, shared};
use crate::Input;

type From = (LocalPort, SocketAddrV4);

pub(super) struct Session {
    spi: IkeSpi,
    relay_spi: IkeSpi,
    keys: IkeKeys,
    sealer: Sealer,
    opener: Opener,
    first_message: Vec<u8>,
    nonce: Vec<u8>,
    relay_nonce: Vec<u8>,
    next_id: u32,
    /// The message ID of the relay's last request.
    asked: Option<u32>,
}

const NONCES: [u8; 3] = [16, 32, 255];

impl Session {
    /// IKE_SA_INIT, with a cookie where one is demanded. `None` where the relay does not want to.
    pub(super) fn begin(relay: &mut Relay, from: From, input: &mut Input<'_>) -> Option<Self> {
        let (flavour, number) = (input.u8(), input.u8());
        let spi = IkeSpi::new(0x1000 + u64::from(number))?;
        let ours = Proposals::of_policy([CryptoPolicy::Cryptrec, CryptoPolicy::Modern, CryptoPolicy::Legacy][usize::from(flavour % 3)]);
        let group = [20, 31, 14, 2][usize::from(flavour >> 6)];
        let public = vec![flavour; 32 + usize::from(flavour & 8 != 0)];
        let nonce = vec![number; usize::from(NONCES[usize::from(flavour >> 2) % 3])];
        let extra = input.short();
        let mut cookie: Option<Vec<u8>> = None;
        for _ in 0..2 {
            let mut payloads = Vec::new();
            payloads.extend(cookie.as_deref().map(|cookie| Payload::Notify(Notify::new(NotifyType::COOKIE, cookie))));
            payloads.push(Payload::SecurityAssociation(ours.offer_ike(None)));
            payloads.push(Payload::KeyExchange { group, data: &public });
            payloads.push(Payload::Nonce(&nonce));
            payloads.push(Payload::Notify(Notify::new(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, &[])));
            payloads.push(Payload::Notify(Notify::new(NotifyType(40_000), extra)));
            let header = header(spi, None, ExchangeType::IkeSaInit, 0, false);
            let request = write(&header, &payloads).ok()?;
            relay.sent.clear();
            relay.datagram(from, &request);
            relay.carry_out();
            let (_, answer) = relay.sent.pop_back()?;
            let message = Message::parse(&answer).expect("the relay writes what can be read");
            if let Some(demanded) = message.payloads.notify(NotifyType::COOKIE) {
                assert!(answer.len() <= request.len(), "a demand for a cookie is no larger than what it answers");
                cookie = Some(demanded.data.to_vec());
                continue;
            }
            return Self::agree(&ours, spi, (&nonce, &public), request, &message);
        }
        None
    }

    fn agree(ours: &Proposals, spi: IkeSpi, (nonce, public): (&[u8], &[u8]), request: Vec<u8>, answer: &Message<'_>) -> Option<Self> {
        let payloads = &answer.payloads;
        let (group, relay_public) = payloads.key_exchange()?;
        let suite = ours.answered_ike(payloads.proposals()?, ike::transforms::Group::from_number(group)?)?.suite;
        let (relay_nonce, relay_spi) = (payloads.nonce()?.to_vec(), answer.header.responder_spi?);
        let shared = shared(public, relay_public);
        let (spi_i, spi_r) = (spi.octets(), relay_spi.octets());
        let keys = IkeKeys::initial(suite, &KeyInput { shared: &shared, nonce_i: nonce, nonce_r: &relay_nonce, spi_i, spi_r });
        let (sealer, opener) = keys.protection(Role::Initiator);
        Some(Self {
            spi,
            relay_spi,
            keys,
            sealer,
            opener,
            first_message: request,
            nonce: nonce.to_vec(),
            relay_nonce,
            next_id: 1,
            asked: None,
        })
    }

    /// IKE_AUTH: an identity, a key that may be another's, selectors that may be too wide, and anything behind.
    pub(super) fn authenticate(&mut self, relay: &mut Relay, from: From, input: &mut Input<'_>) {
        let (who, with_key, wishes) = (input.u8() % 4, if input.u8() & 3 == 3 { 3 } else { 1 }, input.u8());
        let identity = identity(who);
        let body = identity.body();
        let octets = SignedOctets::new(self.keys.prf(), &self.first_message, &self.relay_nonce, self.keys.sk_p(Role::Initiator), &identity);
        let proof = prove_by_psk(self.keys.prf(), &psk(with_key), &octets);
        let spi = NonZeroU32::new(0xa000_0000 | u32::from(input.u8())).expect("not zero");
        let mut payloads = vec![
            Payload::IdInitiator(Id::parse(&body).expect("our own")),
            Payload::Authentication { method: proof.method, data: &proof.data },
        ];
        if wishes & 1 == 0 {
            payloads.push(Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT, &[])));
        }
        if wishes & 2 == 0 {
            payloads.push(Payload::SecurityAssociation(Proposals::of_policy(CryptoPolicy::Modern).offer_child(spi, None)));
            payloads.push(Payload::TrafficSelectorsInitiator(selectors(input)));
            payloads.push(Payload::TrafficSelectorsResponder(selectors(input)));
        }
        self.ask(relay, from, ExchangeType::IkeAuth, &payloads, wishes);
        let _ = &self.nonce;
    }

    /// A proper CREATE_CHILD_SA: a new Child SA, a rekey of any SPI, or a rekey of the IKE SA.
    pub(super) fn create_child(&mut self, relay: &mut Relay, from: From, input: &mut Input<'_>) {
        let (wishes, low) = (input.u8(), input.u8());
        let spi = NonZeroU32::new(0xa000_0100 | u32::from(low)).expect("not zero");
        let ours = Proposals::of_policy(CryptoPolicy::Modern);
        let group = (wishes & 4 == 0).then(|| ours.first_group()).flatten();
        let nonce = [low; 32];
        let mut payloads = Vec::new();
        if wishes & 1 == 0 {
            payloads.push(Payload::SecurityAssociation(ours.offer_ike(IkeSpi::new(0x2000 + u64::from(low)))));
        } else {
            if wishes & 2 == 0 {
                payloads.push(Payload::Notify(Notify::of_child(NotifyType::REKEY_SA, spi, &[])));
            }
            payloads.push(Payload::SecurityAssociation(ours.offer_child(spi, group)));
            payloads.push(Payload::TrafficSelectorsInitiator(selectors(input)));
            payloads.push(Payload::TrafficSelectorsResponder(selectors(input)));
        }
        payloads.push(Payload::Nonce(&nonce));
        payloads.extend(group.map(|group| Payload::KeyExchange { group: group.number(), data: &[7; 32] }));
        self.ask(relay, from, ExchangeType::CreateChildSa, &payloads, wishes);
    }

    /// An exchange with a chain of payloads that the fuzzer wrote, or with Deletes.
    pub(super) fn exchange(&mut self, relay: &mut Relay, from: From, input: &mut Input<'_>) {
        let (kind, flags) = (input.u8(), input.u8());
        let exchange = [ExchangeType::IkeAuth, ExchangeType::CreateChildSa, ExchangeType::Informational, ExchangeType::Other(kind)];
        let exchange = exchange[usize::from(kind & 3)];
        let spis: [[u8; 4]; 2] = [input.u32().to_be_bytes(), [0xa0, 0, 0, input.u8()]];
        let delete = match flags >> 6 {
            0 => Payload::Delete(Delete::Ike),
            1 => Payload::Delete(Delete::Esp(EspSpis::new(&spis))),
            2 => Payload::Notify(Notify::new(NotifyType(input.u16()), &[])),
            _ => return self.raw(relay, from, exchange, input),
        };
        self.ask(relay, from, exchange, &[delete], flags);
    }

    /// A chain written by the fuzzer, under the right keys.
    fn raw(&mut self, relay: &mut Relay, from: From, exchange: ExchangeType, input: &mut Input<'_>) {
        let (first, id) = (input.u8(), input.u8());
        let header = header(self.spi, Some(self.relay_spi), exchange, self.next_id.wrapping_add(u32::from(id & 3)), id & 0x80 != 0);
        let chain = input.short();
        // A message around one opaque payload, whose header is then taken for the chain's own.
        let Some(message) = sealed(&mut self.sealer, &header, first, chain) else { return };
        self.next_id = self.next_id.wrapping_add(u32::from(id & 3 == 0));
        relay.datagram(from, &message);
    }

    /// An answer to the relay's own last request: an acknowledgement, an error, or what the fuzzer wrote.
    pub(super) fn answer(&mut self, relay: &mut Relay, from: From, input: &mut Input<'_>) {
        self.listen(relay);
        let Some(id) = self.asked else { return };
        let exchange = [ExchangeType::Informational, ExchangeType::CreateChildSa][usize::from(input.u8() & 1)];
        let header = header(self.spi, Some(self.relay_spi), exchange, id, true);
        let (first, chain) = (input.u8(), input.short());
        if let Some(message) = sealed(&mut self.sealer, &header, first, chain) {
            relay.datagram(from, &message);
        }
    }

    /// What the relay asks by itself, and its answers open.
    fn listen(&mut self, relay: &mut Relay) {
        while let Some((_, mut octets)) = relay.sent.pop_front() {
            let Ok(message) = Message::parse(&octets) else { panic!("the relay writes what can be read") };
            let (header, Some(protected)) = (message.header, message.protected) else { continue };
            if header.initiator_spi != self.spi || header.responder_spi != Some(self.relay_spi) {
                continue;
            }
            if let Ok(opened) = protected.open(&mut octets, &self.opener) {
                if opened.fragment.is_none() {
                    assert!(Payloads::parse(opened.first, opened.plaintext).is_ok(), "the relay writes what can be read");
                }
                if !header.response {
                    self.asked = Some(header.message_id);
                }
            }
        }
    }

    fn ask(&mut self, relay: &mut Relay, from: From, exchange: ExchangeType, payloads: &[Payload<'_>], flags: u8) {
        // Sometimes the same message ID again, with something else in it.
        let repeated = flags & 0x30 == 0x30;
        let id = if repeated { self.next_id.saturating_sub(1) } else { self.next_id };
        let header = header(self.spi, Some(self.relay_spi), exchange, id, false);
        let sealed = write_protected(&header, payloads, true, &mut self.sealer, &mut SmallRng::seed_from_u64(7));
        let Ok(messages) = sealed else { return };
        if !repeated {
            self.next_id = self.next_id.wrapping_add(1);
        }
        messages.iter().for_each(|message| relay.datagram(from, message));
        relay.carry_out();
        self.listen(relay);
    }
}

/// A message around a chain of payloads that anybody wrote, `first` being the type of its first one.
pub(crate) fn sealed(sealer: &mut Sealer, header: &Header, first: u8, chain: &[u8]) -> Option<Vec<u8>> {
    let overhead = sealer.overhead();
    let empty = write(header, &[]).ok()?;
    let mut message = empty;
    message[16] = payload_type::SK;
    let iv = HEADER_OCTETS + 4..HEADER_OCTETS + 4 + overhead.iv;
    let padding = (chain.len() + 1).next_multiple_of(overhead.block) - chain.len() - 1;
    message.extend_from_slice(&[first, 0, 0, 0]);
    message.resize(iv.end, 0);
    message.extend_from_slice(chain);
    message.resize(message.len() + padding, 0);
    message.push(u8::try_from(padding).ok()?);
    let text = iv.end..message.len();
    message.resize(message.len() + overhead.icv, 0);
    let length = u16::try_from(message.len() - HEADER_OCTETS).ok()?.to_be_bytes();
    message[HEADER_OCTETS + 2..HEADER_OCTETS + 4].copy_from_slice(&length);
    let total = u32::try_from(message.len()).ok()?.to_be_bytes();
    message[24..28].copy_from_slice(&total);
    let layout = ike::message::protect::Layout { associated: 0..iv.start, iv, icv: text.end..message.len(), text };
    sealer.seal(&mut message, &layout, &mut SmallRng::seed_from_u64(5)).ok()?;
    Some(message)
}

fn header(spi: IkeSpi, relay: Option<IkeSpi>, exchange: ExchangeType, message_id: u32, response: bool) -> Header {
    Header { initiator_spi: spi, responder_spi: relay, exchange, from_initiator: true, response, message_id }
}

/// The tenant's own, everything, the victim's, and what the fuzzer writes.
pub(crate) fn selectors(input: &mut Input<'_>) -> Vec<TrafficSelector> {
    let choice = input.u8();
    let range = |start: [u8; 4], end: [u8; 4]| Ipv4Selector::addresses(Ipv4Addr::from(start), Ipv4Addr::from(end));
    let selector = match choice & 7 {
        0 | 1 => range([0; 4], [255; 4]),
        2 => range([10, 1, 0, 0], [10, 1, 255, 255]),
        3 => range([203, 0, 113, 0], [203, 0, 113, 63]),
        4 => range([10, 2, 0, 0], [10, 2, 255, 255]),
        5 => range([10, 3, 0, 0], [10, 3, 0, 255]),
        _ => {
            let (one, other) = (input.u32(), input.u32());
            Ipv4Selector { protocol: choice >> 4, ..Ipv4Selector::addresses(one.min(other).into(), one.max(other).into()) }
        }
    };
    vec![TrafficSelector::Ipv4(selector); 1 + usize::from(choice >> 6)]
}
