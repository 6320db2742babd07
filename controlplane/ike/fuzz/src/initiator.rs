//! The engine as the one who begins, against a router that has its key and answers what it likes: nothing, garbage, cookies, other groups,
//! proper exchanges with anything inside; then it asks by itself, answers rekeyings, and time passes. Diffie-Hellman is a fake.
//!
//! Whatever happens: nothing panics, nothing is done to another tenant, and the router gets no more than its tenant's prefixes.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU32;
use std::time::Duration;

use ike::auth::{SignedOctets, prove_by_psk};
use ike::cipher::{Opener, Sealer};
use ike::key_schedule::{IkeKeys, KeyInput, Role};
use ike::message::{Delete, ExchangeType, Header, Id, IkeSpi, Message, Notify, NotifyType, Payload, Payloads, write, write_protected};
use ike::proposals::{KeyExchange, Proposals};
use ike::{CryptoPolicy, InstallRefused, LocalPort};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::Input;
use crate::responder::relay::{Relay, identity, psk, shared};
use crate::responder::session::{sealed, selectors};

/// Operations of one input.
const MAX_OPERATIONS: usize = 40;
/// Where the router is that tenant 3 is configured with.
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 13);

/// One octet for each operation, then what it needs.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let mut relay = Relay::with_victim();
    let mut router = Router::default();
    relay.call();
    for _ in 0..MAX_OPERATIONS {
        if input.is_empty() {
            break;
        }
        router.listen(&mut relay);
        operate(&mut relay, &mut router, &mut input);
        relay.carry_out();
    }
    relay.settle();
    relay.victim_stands();
}

fn operate(relay: &mut Relay, router: &mut Router, input: &mut Input<'_>) {
    match input.u8() % 16 {
        0 => relay.call(),
        1 => relay.datagram(router.from(), input.short()),
        2..=4 => router.answer_init(relay, input),
        5..=7 => router.answer_auth(relay, input),
        8..=9 => router.answer_child(relay, input),
        10 => router.answer_anything(relay, input),
        11 => router.ask(relay, input),
        12 => relay.replay(router.from(), usize::from(input.u8()), input.u16(), input.u8()),
        13 => relay.pass(Duration::from_millis(u64::from(input.u16()))),
        14 => relay.worker_says(input),
        _ => {
            let outcomes = [Ok(()), Err(InstallRefused::SpiTaken), Err(InstallRefused::TooManyPairs), Err(InstallRefused::Busy)];
            relay.install_outcome = outcomes[usize::from(input.u8() % 4)];
            relay.hold_back = input.u8() & 1 == 1;
        }
    }
}

/// What the router knows.
#[derive(Default)]
struct Router {
    /// The relay has gone over to port 4500.
    floated: bool,
    /// The relay's last IKE_SA_INIT.
    called: Option<Vec<u8>>,
    session: Option<Session>,
}

/// An IKE SA that the relay has begun.
struct Session {
    relay_spi: IkeSpi,
    spi: IkeSpi,
    keys: IkeKeys,
    sealer: Sealer,
    opener: Opener,
    answer: Vec<u8>,
    relay_nonce: Vec<u8>,
    next_id: u32,
    /// The relay's last request: its header and what was in it.
    asked: Option<(Header, u8, Vec<u8>)>,
}

impl Router {
    fn from(&self) -> (LocalPort, SocketAddrV4) {
        let (local, port) = if self.floated { (LocalPort::P4500, 4500) } else { (LocalPort::P500, 500) };
        (local, SocketAddrV4::new(ROUTER, port))
    }

    /// Take what the relay says, which can always be read.
    fn listen(&mut self, relay: &mut Relay) {
        while let Some((to, octets)) = relay.sent.pop_front() {
            let message = Message::parse(&octets).expect("the relay writes what can be read");
            if *to.ip() != ROUTER {
                continue;
            }
            self.floated = to.port() == 4500;
            if message.header.exchange == ExchangeType::IkeSaInit {
                self.called = Some(octets);
            } else if let Some(session) = &mut self.session {
                session.hear(&message, &octets);
            }
        }
    }

    /// A cookie, another group, an error, or a choice: the relay's best, or anything.
    fn answer_init(&mut self, relay: &mut Relay, input: &mut Input<'_>) {
        let Some(request) = self.called.clone() else { return };
        let message = Message::parse(&request).expect("read before");
        let (flavour, number) = (input.u8(), input.u8());
        let header = Header { response: true, from_initiator: false, responder_spi: IkeSpi::new(u64::from(number)), ..message.header };
        let notify = match flavour % 8 {
            0 => Some(Notify::new(NotifyType::COOKIE, input.short())),
            1 => Some(Notify::new(NotifyType::INVALID_KE_PAYLOAD, input.take(2))),
            2 => Some(Notify::new(NotifyType(input.u16()), &[])),
            _ => None,
        };
        if let Some(notify) = notify {
            let answer = write(&header, &[Payload::Notify(notify)]);
            return answer.map_or((), |answer| relay.datagram(self.from(), &answer));
        }
        let payloads = &message.payloads;
        let (Some((group, relay_public)), Some(offer), Some(relay_nonce)) =
            (payloads.key_exchange(), payloads.proposals(), payloads.nonce())
        else {
            panic!("the relay's first message is whole")
        };
        let Ok(chosen) = Proposals::of_policy(CryptoPolicy::Legacy).choose_ike(offer, group) else { return };
        // An odd length is no public value.
        let public = vec![number; 32 + usize::from(flavour & 0x10 != 0)];
        let nonce = vec![flavour; 32];
        let hash = [flavour; 20];
        let answered_group = if flavour & 0x20 == 0 { group } else { u16::from(number) };
        let answer = [
            Payload::SecurityAssociation(vec![chosen.answer(None)]),
            Payload::KeyExchange { group: answered_group, data: &public },
            Payload::Nonce(&nonce),
            Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_SOURCE_IP, &hash)),
            Payload::Notify(Notify::new(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, &[])),
        ];
        let Ok(answer) = write(&header, &answer) else { return };
        if let Some(spi) = header.responder_spi {
            let shared = shared(&public, relay_public);
            let (spi_i, spi_r) = (header.initiator_spi.octets(), spi.octets());
            let secrets = KeyInput { shared: &shared, nonce_i: relay_nonce, nonce_r: &nonce, spi_i, spi_r };
            let keys = IkeKeys::initial(chosen.suite, &secrets);
            let (sealer, opener) = keys.protection(Role::Responder);
            let (relay_spi, relay_nonce) = (header.initiator_spi, relay_nonce.to_vec());
            let answer = answer.clone();
            self.session = Some(Session { relay_spi, spi, keys, sealer, opener, answer, relay_nonce, next_id: 0, asked: None });
        }
        relay.datagram(self.from(), &answer);
    }

    /// IKE_AUTH: an identity, a key that may be another's, a choice, selectors that may be too wide.
    fn answer_auth(&mut self, relay: &mut Relay, input: &mut Input<'_>) {
        let from = self.from();
        let Some(session) = &mut self.session else { return };
        let (who, with_key, wishes) =
            (if input.u8().is_multiple_of(4) { 2 } else { 3 }, if input.u8().is_multiple_of(4) { 1 } else { 3 }, input.u8());
        let identity = identity(who);
        let body = identity.body();
        let sk_p = session.keys.sk_p(Role::Responder);
        let octets = SignedOctets::new(session.keys.prf(), &session.answer, &session.relay_nonce, sk_p, &identity);
        let proof = prove_by_psk(session.keys.prf(), &psk(with_key), &octets);
        let mut payloads = vec![
            Payload::IdResponder(Id::parse(&body).expect("our own")),
            Payload::Authentication { method: proof.method, data: &proof.data },
        ];
        payloads.extend(session.child(wishes, input));
        session.reply(relay, from, &payloads);
    }

    /// CREATE_CHILD_SA that the relay has asked for: a choice, or an error.
    fn answer_child(&mut self, relay: &mut Relay, input: &mut Input<'_>) {
        let from = self.from();
        let Some(session) = &mut self.session else { return };
        let wishes = input.u8();
        let nonce = [wishes; 32];
        let mut payloads = session.child(wishes, input);
        payloads.push(Payload::Nonce(&nonce));
        if wishes & 0x40 != 0 {
            payloads.push(Payload::KeyExchange { group: session.group().unwrap_or(31), data: &nonce });
        }
        session.reply(relay, from, &payloads);
    }

    /// Whatever the relay has asked, this is the answer.
    fn answer_anything(&mut self, relay: &mut Relay, input: &mut Input<'_>) {
        let from = self.from();
        let Some(session) = &mut self.session else { return };
        let Some((header, ..)) = session.asked else { return };
        let header = Header { response: true, from_initiator: false, ..header };
        let (first, chain) = (input.u8(), input.short());
        if let Some(message) = sealed(&mut session.sealer, &header, first, chain) {
            relay.datagram(from, &message);
        }
    }

    /// A request of the router's own: a Delete, or anything.
    fn ask(&mut self, relay: &mut Relay, input: &mut Input<'_>) {
        let from = self.from();
        let Some(session) = &mut self.session else { return };
        let kind = input.u8();
        let exchange = [ExchangeType::Informational, ExchangeType::CreateChildSa][usize::from(kind & 1)];
        let header = session.header(exchange, session.next_id, false);
        session.next_id += 1;
        if kind & 0x80 == 0 {
            let (first, chain) = (input.u8(), input.short());
            let message = sealed(&mut session.sealer, &header, first, chain);
            return message.map_or((), |message| relay.datagram(from, &message));
        }
        session.send(relay, from, &header, &[Payload::Delete(Delete::Ike)]);
    }
}

impl Session {
    fn header(&self, exchange: ExchangeType, message_id: u32, response: bool) -> Header {
        let (initiator_spi, responder_spi) = (self.relay_spi, Some(self.spi));
        Header { initiator_spi, responder_spi, exchange, from_initiator: false, response, message_id }
    }

    fn hear(&mut self, message: &Message<'_>, octets: &[u8]) {
        let (header, Some(protected)) = (message.header, message.protected) else { return };
        if header.initiator_spi != self.relay_spi || header.response {
            return;
        }
        let mut octets = octets.to_vec();
        if let Ok(opened) = protected.open(&mut octets, &self.opener)
            && opened.fragment.is_none()
        {
            assert!(Payloads::parse(opened.first, opened.plaintext).is_ok(), "the relay writes what can be read");
            self.asked = Some((header, opened.first, opened.plaintext.to_vec()));
        }
    }

    fn group(&self) -> Option<u16> {
        let (_, first, chain) = self.asked.as_ref()?;
        Payloads::parse(*first, chain).ok()?.key_exchange().map(|(group, _)| group)
    }

    /// What the relay's last request asks for, granted: a Child SA or an IKE SA, with selectors of the fuzzer's.
    fn child(&self, wishes: u8, input: &mut Input<'_>) -> Vec<Payload<'static>> {
        let Some((_, first, chain)) = &self.asked else { return Vec::new() };
        let Ok(asked) = Payloads::parse(*first, chain) else { return Vec::new() };
        let ours = Proposals::of_policy(CryptoPolicy::Legacy);
        let Some(offer) = asked.proposals().filter(|_| wishes & 0xf != 0) else {
            return vec![Payload::Notify(Notify::new(NotifyType(u16::from(wishes)), &[]))];
        };
        let exchange = self.group().map_or(KeyExchange::Absent, KeyExchange::Group);
        let spi = NonZeroU32::new(0xa000_0000 | u32::from(input.u8())).expect("not zero");
        if let Ok(chosen) = ours.choose_child(offer, exchange) {
            let (tsi, tsr) = (selectors(input), selectors(input));
            let choice = Payload::SecurityAssociation(vec![chosen.answer(spi)]);
            return vec![choice, Payload::TrafficSelectorsInitiator(tsi), Payload::TrafficSelectorsResponder(tsr)];
        }
        let chosen = ours.choose_ike(offer, self.group().unwrap_or_default());
        chosen.map_or_else(
            |_| Vec::new(),
            |chosen| vec![Payload::SecurityAssociation(vec![chosen.answer(IkeSpi::new(u64::from(spi.get())))])],
        )
    }

    fn reply(&mut self, relay: &mut Relay, from: (LocalPort, SocketAddrV4), payloads: &[Payload<'_>]) {
        if let Some((header, ..)) = self.asked {
            let header = self.header(header.exchange, header.message_id, true);
            self.send(relay, from, &header, payloads);
        }
    }

    fn send(&mut self, relay: &mut Relay, from: (LocalPort, SocketAddrV4), header: &Header, payloads: &[Payload<'_>]) {
        let messages = write_protected(header, payloads, true, &mut self.sealer, &mut SmallRng::seed_from_u64(7));
        messages.into_iter().flatten().for_each(|message| relay.datagram(from, &message));
    }
}
