//! A router of which every octet is ours: it speaks to a relay's engine exactly as a test wants it to. Diffie-Hellman is a fake (the
//! secret is both public values), and installing succeeds at once.

#![allow(dead_code, reason = "each test uses a part of it")]

#[path = "../world/pairs.rs"]
mod pairs;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ike::auth::{SignedOctets, prove_by_psk};
use ike::cipher::{Opener, Sealer};
use ike::dh::DhPrivate;
use ike::key_schedule::{IkeKeys, KeyInput, Role};
use ike::message::{
    ExchangeType, Header, Id, IkeSpi, Ipv4Selector, Message, Notify, Payload, Payloads, TrafficSelector, write, write_protected,
};
use ike::proposals::Proposals;
use ike::transforms::Group;
use ike::*;
use pairs::Pairs;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// The relay, with office 1 and office 2 as tenants.
pub struct Relay {
    pub engine: Engine,
    pub now: Instant,
    pub sent: VecDeque<(SocketAddrV4, Vec<u8>)>,
    pub installed: Vec<(PeerName, ChildSa)>,
    /// What a worker makes of it.
    pub pairs: Pairs,
    pub removed: Vec<u32>,
    /// What becomes of each Diffie-Hellman with a value of the router's, where that is no secret.
    pub no_secret: Option<fn() -> DhOutcome>,
    /// What a worker says to each pair.
    pub install_outcome: Result<(), InstallRefused>,
    publics: u8,
}

pub fn name(office: u8) -> PeerName {
    PeerName { tenant: format!("office-{office}").into(), tunnel: "main".into() }
}

pub fn office(office: u8) -> PeerConfig {
    let networks = |text: &str| vec![text.parse().expect("a network")];
    PeerConfig {
        name: name(office),
        endpoint: 0,
        local_id: Identity::Fqdn("relay".into()),
        remote_id: Identity::Fqdn(format!("office-{office}")),
        authentication: Authentication::Psk { keys: vec![Psk::new(format!("secret of {office}").into_bytes())] },
        address: PeerAddress::Any,
        initiate: Initiate::Never,
        policy: CryptoPolicy::Modern,
        proposals: None,
        office: networks("10.1.0.0/16"),
        far: networks("203.0.113.0/26"),
        dpd: Duration::ZERO,
        ike_lifetime: Duration::from_secs(28_800),
        child_lifetime: Duration::from_secs(3_600),
        encapsulation: NatT::Auto,
        spi_space: SpiSource { prefix: 0, prefix_bits: 0 },
    }
}

impl Relay {
    pub fn new(peers: Vec<PeerConfig>) -> Self {
        let endpoints = vec![Endpoint { address: Ipv4Addr::new(192, 0, 2, 1) }];
        let config = Config { endpoints, peers: peers.into_iter().map(Arc::new).collect() };
        let engine = Engine::new(config, Box::new(StdRng::seed_from_u64(1)), Instant::ZERO);
        Self {
            engine,
            now: Instant::ZERO,
            sent: VecDeque::new(),
            installed: Vec::new(),
            pairs: Pairs::default(),
            removed: Vec::new(),
            no_secret: None,
            install_outcome: Ok(()),
            publics: 0,
        }
    }

    pub fn with_two_offices() -> Self {
        Self::new(vec![office(1), office(2)])
    }

    /// What the relay answers to one datagram.
    pub fn hear(&mut self, from: SocketAddrV4, message: &[u8]) -> Vec<Vec<u8>> {
        let local = if from.port() == 500 { LocalPort::P500 } else { LocalPort::P4500 };
        self.engine.datagram(0, local, from, message, self.now);
        self.carry_out();
        self.sent.drain(..).filter(|(to, _)| *to == from).map(|(_, message)| message).collect()
    }

    pub fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        while self.engine.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.engine.tick(self.now);
            self.carry_out();
        }
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.engine.next_effect() {
            match effect {
                Effect::Send { to, message, .. } => self.sent.push_back((to, message)),
                Effect::DiffieHellman { job, task } => {
                    let outcome = self.fake(task);
                    self.engine.dh_done(job, outcome, self.now);
                }
                Effect::Install { id, peer, sa } => {
                    let outcome = self.install_outcome.and_then(|()| self.pairs.install(&peer, (*sa).clone()));
                    self.installed.push((peer, *sa));
                    self.engine.sa_installed(id, outcome, self.now);
                }
                Effect::SwitchOutbound { peer, inbound_spi } => self.pairs.switch(&peer, inbound_spi),
                Effect::CloseOutbound { peer, inbound_spi } => self.pairs.close(&peer, inbound_spi),
                Effect::Remove { peer, inbound_spi } => {
                    self.pairs.remove(&peer, inbound_spi);
                    self.removed.push(inbound_spi);
                }
                _ => {}
            }
        }
    }

    fn fake(&mut self, task: DhTask) -> DhOutcome {
        self.publics += 1;
        let public = |octets| vec![self.publics; octets];
        if let (Some(outcome), DhTask::Agree { .. } | DhTask::Respond { .. }) = (self.no_secret, &task) {
            return outcome();
        }
        match task {
            DhTask::Generate { group } => {
                let public = public(group.public_octets());
                DhOutcome::Generated { private: DhPrivate::new(Secret::new(public.clone())), public }
            }
            DhTask::Agree { private, peer_public, .. } => DhOutcome::Agreed { shared: shared(private.expose(), &peer_public) },
            DhTask::Respond { group, peer_public } => {
                let public = public(group.public_octets());
                DhOutcome::Responded { shared: shared(&public, &peer_public), public }
            }
        }
    }

    /// The SPI that a packet of the cloud's to a host of `office` leaves with.
    pub fn leaves_with(&self, office: u8, host: [u8; 4]) -> Option<u32> {
        self.pairs.outbound(&name(office), (host.into(), Ipv4Addr::new(203, 0, 113, 10))).map(|(spi, _)| spi)
    }

    pub fn state(&self, office: u8) -> (PeerState, usize) {
        let status = self.engine.status(&name(office)).expect("configured");
        (status.state, status.children.len())
    }
}

fn shared(one: &[u8], other: &[u8]) -> Secret {
    Secret::new([one.min(other), one.max(other)].concat())
}

/// What routers receive with in the Child SA of IKE_AUTH, unless they choose another SPI.
pub const FIRST_CHILD: u32 = 0xa000_0001;

/// A router that has done IKE_SA_INIT.
pub struct Router {
    pub address: SocketAddrV4,
    pub spi: IkeSpi,
    pub relay_spi: IkeSpi,
    pub next_id: u32,
    /// What it receives with in the Child SA of IKE_AUTH.
    pub child_spi: u32,
    pub init: (Vec<u8>, Vec<u8>),
    keys: IkeKeys,
    sealer: Sealer,
    opener: Opener,
    relay_nonce: Vec<u8>,
}

pub fn address(office: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 10 + office), 500)
}

pub fn header(spi: IkeSpi, relay: Option<IkeSpi>, exchange: ExchangeType, message_id: u32) -> Header {
    Header { initiator_spi: spi, responder_spi: relay, exchange, from_initiator: true, response: false, message_id }
}

/// An IKE_SA_INIT request with everything that is needed, and `more` in front and behind.
pub fn init(spi: u64, group: Group, offer: &Proposals, cookie: Option<&[u8]>, more: &[Payload<'_>]) -> Vec<u8> {
    let public = vec![0x55; group.public_octets()];
    let mut payloads: Vec<Payload<'_>> = Vec::new();
    payloads.extend(cookie.map(|data| Payload::Notify(Notify::new(ike::message::NotifyType::COOKIE, data))));
    payloads.push(Payload::SecurityAssociation(offer.offer_ike(None)));
    payloads.push(Payload::KeyExchange { group: group.number(), data: &public });
    payloads.push(Payload::Nonce(&[0x66; 32]));
    payloads.extend(more.iter().cloned());
    write(&header(IkeSpi::new(spi).expect("not zero"), None, ExchangeType::IkeSaInit, 0), &payloads).expect("short")
}

impl Router {
    /// IKE_SA_INIT as `office` of the relay's own policy.
    pub fn meet(relay: &mut Relay, address: SocketAddrV4, spi: u64) -> Self {
        let offer = Proposals::of_policy(CryptoPolicy::Modern);
        let padding = [Payload::VendorId(&[0; 200])];
        let request = init(spi, Group::Ecp384, &offer, None, &padding);
        let answers = relay.hear(address, &request);
        Self::agree(&offer, address, request, &answers[0])
    }

    pub fn agree(offer: &Proposals, address: SocketAddrV4, request: Vec<u8>, answer: &[u8]) -> Self {
        let message = Message::parse(answer).expect("a message");
        let spi = message.header.initiator_spi;
        let payloads = &message.payloads;
        let (group, public) = payloads.key_exchange().expect("KE");
        let group = Group::from_number(group).expect("ours");
        let suite = offer.answered_ike(payloads.proposals().expect("SA"), group).expect("a choice").suite;
        let (relay_nonce, relay_spi) = (payloads.nonce().expect("Nr").to_vec(), message.header.responder_spi.expect("SPI"));
        let shared = shared(&vec![0x55; group.public_octets()], public);
        let (spi_i, spi_r) = (spi.octets(), relay_spi.octets());
        let keys = IkeKeys::initial(suite, &KeyInput { shared: &shared, nonce_i: &[0x66; 32], nonce_r: &relay_nonce, spi_i, spi_r });
        let (sealer, opener) = keys.protection(Role::Initiator);
        let init = (request, answer.to_vec());
        Self { address, spi, relay_spi, next_id: 1, child_spi: FIRST_CHILD, init, keys, sealer, opener, relay_nonce }
    }

    /// A request, sealed; several datagrams where it is long.
    pub fn seal(&mut self, exchange: ExchangeType, payloads: &[Payload<'_>]) -> Vec<u8> {
        let header = header(self.spi, Some(self.relay_spi), exchange, self.next_id);
        self.next_id += 1;
        let sealed = write_protected(&header, payloads, false, &mut self.sealer, &mut StdRng::seed_from_u64(9));
        sealed.expect("short").remove(0)
    }

    /// Ask, and read the answer: its notifications, and whether there was any.
    pub fn ask(&mut self, relay: &mut Relay, exchange: ExchangeType, payloads: &[Payload<'_>]) -> Option<Vec<ike::message::NotifyType>> {
        let request = self.seal(exchange, payloads);
        let answers = relay.hear(self.address, &request);
        self.open(answers.first()?).map(|opened| opened.1)
    }

    /// The types of the payloads and of the notifications of an answer.
    pub fn open(&self, answer: &[u8]) -> Option<(Vec<u8>, Vec<ike::message::NotifyType>)> {
        let mut octets = answer.to_vec();
        let protected = Message::parse(answer).ok()?.protected?;
        let opened = protected.open(&mut octets, &self.opener).ok()?;
        let payloads = Payloads::parse(opened.first, opened.plaintext).ok()?;
        Some((payloads.iter().map(Payload::kind).collect(), payloads.notifies().map(|notify| notify.kind).collect()))
    }

    /// What the relay sent to us: its header, the type of the first payload, and the chain.
    pub fn read(&self, octets: &[u8]) -> (Header, u8, Vec<u8>) {
        let (header, protected) = Message::parse(octets).map(|message| (message.header, message.protected)).expect("a message");
        let mut octets = octets.to_vec();
        let opened = protected.expect("protected").open(&mut octets, &self.opener).expect("ours");
        (header, opened.first, opened.plaintext.to_vec())
    }

    /// An answer to a request of the relay's, sealed.
    pub fn seal_answer(&mut self, request: &Header, payloads: &[Payload<'_>]) -> Vec<u8> {
        let header = Header { response: true, from_initiator: true, ..*request };
        let sealed = write_protected(&header, payloads, false, &mut self.sealer, &mut StdRng::seed_from_u64(9));
        sealed.expect("short").remove(0)
    }

    /// Answer a request of the relay's: what it sends then.
    pub fn answer(&mut self, relay: &mut Relay, request: &Header, payloads: &[Payload<'_>]) -> Vec<Vec<u8>> {
        let answer = self.seal_answer(request, payloads);
        relay.hear(self.address, &answer)
    }

    /// IKE_AUTH as `who`, with the key of `key`.
    pub fn authenticate(
        &mut self,
        relay: &mut Relay,
        (who, key): (u8, u8),
        selectors: (TrafficSelector, TrafficSelector),
        more: &[Payload<'_>],
    ) -> Option<Vec<ike::message::NotifyType>> {
        let identity = Identity::Fqdn(format!("office-{who}"));
        let body = identity.body();
        let octets = SignedOctets::new(self.keys.prf(), &self.init.0, &self.relay_nonce, self.keys.sk_p(Role::Initiator), &identity);
        let proof = prove_by_psk(self.keys.prf(), &Psk::new(format!("secret of {key}").into_bytes()), &octets);
        let spi = NonZeroU32::new(self.child_spi).expect("not zero");
        let mut payloads = vec![
            Payload::IdInitiator(Id::parse(&body).expect("an identity")),
            Payload::Authentication { method: proof.method, data: &proof.data },
            Payload::SecurityAssociation(Proposals::of_policy(CryptoPolicy::Modern).offer_child(spi, None)),
            Payload::TrafficSelectorsInitiator(vec![selectors.0]),
            Payload::TrafficSelectorsResponder(vec![selectors.1]),
        ];
        payloads.extend(more.iter().cloned());
        self.ask(relay, ExchangeType::IkeAuth, &payloads)
    }

    /// A router that has both SAs.
    pub fn established(relay: &mut Relay, office: u8) -> Self {
        let mut router = Self::meet(relay, address(office), u64::from(office) << 32 | 7);
        let answer = router.authenticate(relay, (office, office), (own(), far()), &[]);
        assert!(answer.is_some_and(|notifies| notifies.iter().all(|kind| !kind.is_error())));
        assert_eq!(relay.state(office), (PeerState::Up, 1));
        router
    }
}

pub fn range(start: [u8; 4], end: [u8; 4]) -> TrafficSelector {
    TrafficSelector::Ipv4(Ipv4Selector::addresses(start.into(), end.into()))
}

pub fn own() -> TrafficSelector {
    range([10, 1, 0, 0], [10, 1, 255, 255])
}

pub fn far() -> TrafficSelector {
    range([203, 0, 113, 0], [203, 0, 113, 63])
}

pub fn everything() -> TrafficSelector {
    range([0; 4], [255; 4])
}
