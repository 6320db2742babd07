//! The relay among all its tenants. Time stands still while one of them attacks, so that only its packets change anything.

use std::net::SocketAddrV4;

use dataplane::counters::PortShare;
use dataplane::publish::Publisher;
use dataplane::router_config::{PortConfig, PortId, RouterConfig, TrafficClass, Vlan, WorkerId};
use dataplane::simulation::canary::owners;
use dataplane::simulation::esp_router::Agreement;
use dataplane::simulation::key_exchange::everything;
use dataplane::simulation::municipality::{ACCESS, AWS};
use dataplane::simulation::packets::{self, udp};
use dataplane::simulation::plan::{Plan, compile, ports};
use dataplane::simulation::relay::{Relay, Start};
use dataplane::simulation::stations::{answer_arp, relay_mac};
use dataplane::simulation::{Dimensions, Owner, advance_clock};
use dataplane::time::{Duration, Instant};
use dataplane::tunnel::esp::sa::{OutboundUse, Spi};
use dataplane::tunnel::wireguard;
use dataplane::wire::ethernet::{self, Ethernet};
use dataplane::wire::underlay;
use dataplane::worker::control::Command;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::attempts::{Attempt, Class, Outcome, Pair};
use crate::books::{Line, Page};
use crate::town::{self, CLERK, DOCUMENTS, JOB, PRINTER, REGISTER, RESIDENT, STATION, Town};
use TrafficClass::{LgwanConnected, MyNumber};

/// Bytes of a frame before the datagram in it: Ethernet, IPv4, UDP.
const OUTER: usize = 14 + 20 + 8;
/// Ethernet header with one tag.
const TAGGED: usize = 18;
/// What freed frames are overwritten with: so many of them in a row are a leftover.
const POISON: [u8; 8] = [0xdb; 8];
/// The first SPI; each tenant has one more.
const FIRST_SPI: u32 = 0x1000;

/// Something left the relay.
enum Sent {
    /// On a tenant's VLAN.
    ToCloud { town: usize, packet: Vec<u8> },
    /// Into a tenant's tunnel; the packet as its router decrypted it, where there was one.
    ToOffice { town: usize, packet: Option<Vec<u8>>, len: usize },
}

pub(crate) struct Country {
    now: Instant,
    relay: Relay,
    /// Published once, and kept.
    _publisher: Publisher<RouterConfig>,
    ports: Vec<PortConfig>,
    towns: Vec<Town>,
    /// What the counters must be: of the towns, of the ports, of the worker.
    books: Vec<Page>,
    port_books: [Page; 2],
    worker_book: Page,
}

impl Country {
    /// Every tunnel is up, every gateway is known, and every town has the same sessions open, and one more.
    pub(crate) fn new(tenants: usize) -> Self {
        let plan = Plan::new((0..tenants).map(town::config).collect());
        let ports = ports(1_500);
        let config = compile(&plan, &ports, &[]);
        let relay_key = wireguard::public_key(&plan.relay_key);
        let mut towns: Vec<Town> = config.tenants.iter().enumerate().map(|(number, entry)| Town::new(number, entry, relay_key)).collect();
        towns.iter_mut().for_each(|town| town.office.answers = false);
        let publisher = Publisher::new(config);
        let now = Instant::from_secs(1_000);
        let dimensions = Dimensions { frames: 1_024, ring: 128, ..Dimensions::default() };
        let relay = Relay::new(&ports, dimensions, &publisher, Start::default(), &mut SmallRng::seed_from_u64(7), now);
        let blank = || Page::of_port(&PortShare::default());
        let mut country = Self {
            now,
            relay,
            _publisher: publisher,
            ports,
            towns,
            books: Vec::new(),
            port_books: [blank(), blank()],
            worker_book: blank(),
        };
        // Gateways are found a sixteenth of the tenants at a time.
        for _ in 0..64 {
            country.pass(Duration::from_millis(16));
        }
        (0..tenants).for_each(|number| country.settle_in(number));
        country.open_books();
        country
    }

    /// One attempt, after which everything is looked at that it may have touched. Returns what became of it, which is what had to.
    pub(crate) fn attempt(&mut self, class: &Class, attacker: usize, victim: usize) -> Outcome {
        let [of_attacker, of_victim] = self.towns.get_disjoint_mut([attacker, victim]).expect("two towns");
        let attempt = (class.make)(&mut Pair { attacker: of_attacker, victim: of_victim });
        let Attempt { port, frame, inner, outcome } = &attempt;
        self.inject(*port, frame);
        self.poll();
        let sent = self.collect();

        self.port_books[usize::from(port.0)].packet(Line::Received, frame.len());
        self.worker_book.add(Line::Received, 1);
        if let Some(len) = inner {
            self.books[attacker].packet(Line::Received, *len);
        }
        self.enter(*outcome, attacker, victim, port.0, &sent);
        if let Err(fault) = self.audit(attacker, victim).and_then(|()| only_to(attacker, *outcome, &sent)) {
            let (a, v) = (&self.towns[attacker].office.name, &self.towns[victim].office.name);
            panic!("attempt {}, {}: {a} against {v}: {outcome} was expected: {fault}", class.attempt, class.what);
        }
        // An old number falls out of the window some day: where it is extended, it is then taken for one to come (RFC 4303 A2.2).
        if (*port, *outcome) == (ACCESS, Outcome::AttackersCloud) {
            self.towns[attacker].recorded = frame[OUTER..].to_vec();
        }
        *outcome
    }

    /// Nobody's counters changed but those that were looked at.
    pub(crate) fn check_everybody(&self) {
        for (town, book) in self.towns.iter().zip(&self.books) {
            let differences = Page::of_tenant(&town.entry).differences(book);
            assert!(differences.is_empty(), "{}: {differences}", town.office.name);
        }
    }

    /// What tunnels and neighbours have to say goes its way. Nothing is lost by it.
    pub(crate) fn let_time_pass(&mut self) {
        let lost = self.worker_book.clone();
        self.pass(Duration::from_millis(1));
        self.open_books();
        assert!(lost.get(Line::Dropped) == self.worker_book.get(Line::Dropped), "time alone loses no packet");
    }

    /// What `outcome` changes beside what was received.
    fn enter(&mut self, outcome: Outcome, attacker: usize, victim: usize, port: u8, sent: &[Sent]) {
        let page = match outcome {
            Outcome::OfAttacker(_) => &mut self.books[attacker],
            Outcome::OfVictim(_) => &mut self.books[victim],
            Outcome::OfPort(_) => &mut self.port_books[usize::from(port)],
            Outcome::AttackersCloud | Outcome::AttackersOffice => return self.enter_forwarded(attacker, sent),
        };
        let (Outcome::OfAttacker(reason) | Outcome::OfVictim(reason) | Outcome::OfPort(reason)) = outcome else { return };
        page.lost(reason);
        self.worker_book.add(Line::Dropped, 1);
    }

    fn enter_forwarded(&mut self, attacker: usize, sent: &[Sent]) {
        self.worker_book.add(Line::Transmitted, 1);
        match sent {
            [Sent::ToCloud { packet, .. }] => {
                self.books[attacker].packet(Line::OfficeToCloud, packet.len());
                self.port_books[1].packet(Line::Transmitted, packet.len() + TAGGED);
            }
            [Sent::ToOffice { packet: Some(packet), len, .. }] => {
                self.books[attacker].packet(Line::CloudToOffice, packet.len());
                self.books[attacker].packet(Line::Transmitted, packet.len());
                self.port_books[0].packet(Line::Transmitted, *len);
            }
            _ => {}
        }
    }

    /// The counters of both towns, of both ports and of the worker are what they must be.
    fn audit(&self, attacker: usize, victim: usize) -> Result<(), String> {
        let compare = |place: &str, page: &Page, book: &Page| {
            if page == book { Ok(()) } else { Err(format!("{place}: {}", page.differences(book))) }
        };
        compare("the worker", &Page::of_worker(&self.relay.counters[0]), &self.worker_book)?;
        compare("the attacker", &Page::of_tenant(&self.towns[attacker].entry), &self.books[attacker])?;
        compare("the victim", &Page::of_tenant(&self.towns[victim].entry), &self.books[victim])?;
        compare("the access port", &Page::of_port(self.port_counters(ACCESS)), &self.port_books[0])?;
        compare("the trunk", &Page::of_port(self.port_counters(AWS)), &self.port_books[1])
    }

    fn port_counters(&self, port: PortId) -> &PortShare {
        self.ports[usize::from(port.0)].counters.share(WorkerId(0))
    }

    /// The counters are right as they stand.
    fn open_books(&mut self) {
        self.books = self.towns.iter().map(|town| Page::of_tenant(&town.entry)).collect();
        self.port_books = [ACCESS, AWS].map(|port| Page::of_port(self.port_counters(port)));
        self.worker_book = Page::of_worker(&self.relay.counters[0]);
        let lost = self.books.iter().chain(&self.port_books).map(Page::losses_of_all).sum::<u64>();
        assert_eq!(lost, self.worker_book.get(Line::Dropped), "every lost packet has a reason, at one place");
    }
}

/// Nothing left the relay but what `outcome` says, and that for nobody but the attacker.
fn only_to(attacker: usize, outcome: Outcome, sent: &[Sent]) -> Result<(), String> {
    let as_it_must = match (outcome, sent) {
        (Outcome::AttackersCloud, [Sent::ToCloud { town, .. }])
        | (Outcome::AttackersOffice, [Sent::ToOffice { town, packet: Some(_), .. }]) => *town == attacker,
        (Outcome::AttackersCloud | Outcome::AttackersOffice, _) => false,
        _ => sent.is_empty(),
    };
    if as_it_must { Ok(()) } else { Err(format!("{} frames left, or for somebody else", sent.len())) }
}

/// What moves: frames, time, and the towns at the beginning.
impl Country {
    fn inject(&mut self, port: PortId, frame: &[u8]) {
        self.relay.wires[usize::from(port.0)][0].inject(frame).expect("the ring has room");
    }

    fn poll(&mut self) {
        self.relay.workers[0].poll(self.now);
    }

    /// Let time pass, and everybody answer.
    fn pass(&mut self, time: Duration) -> Vec<Sent> {
        self.now = self.now + time;
        advance_clock(time);
        let mut sent = Vec::new();
        loop {
            self.poll();
            let now = self.collect();
            let mut frames: Vec<Vec<u8>> = self.towns.iter_mut().flat_map(Town::sent).collect();
            if now.is_empty() && frames.is_empty() {
                return sent;
            }
            sent.extend(now);
            for frame in frames.drain(..) {
                self.inject(ACCESS, &frame);
            }
        }
    }

    /// Take what left the relay; whatever it is, it is its owner's.
    fn collect(&mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        for port in [ACCESS, AWS] {
            while let Some(frame) = self.relay.wires[usize::from(port.0)][0].with_transmitted(|bytes, _| bytes.to_vec()) {
                all.extend(self.judge(port, &frame));
            }
        }
        all
    }

    /// A frame leaves the relay: may it, there?
    fn judge(&mut self, port: PortId, frame: &[u8]) -> Option<Sent> {
        let header = Ethernet::parse(frame).expect("the relay sends whole headers");
        assert_eq!(header.source, relay_mac(port));
        assert!(!frame.windows(POISON.len()).any(|window| window == POISON), "bytes of a freed frame: {frame:02x?}");
        let payload = &frame[header.header_len..];
        if header.ethertype == ethernet::ARP {
            if let Some(answer) = answer_arp(payload, &header, STATION, |_| true) {
                self.inject(port, &answer);
            }
            return None;
        }
        if port == ACCESS { self.judge_access(frame, payload) } else { Some(self.judge_trunk(header.vlan, payload)) }
    }

    fn judge_trunk(&self, vlan: Vlan, packet: &[u8]) -> Sent {
        let town = town::number_of(vlan).filter(|number| *number < self.towns.len()).expect("a VLAN of a town");
        let seen = packets::read(packet).unwrap_or_else(|error| panic!("{error}: {packet:02x?}"));
        let class = if seen.destination == DOCUMENTS { LgwanConnected } else { MyNumber };
        self.judge_canaries(town, class, packet);
        Sent::ToCloud { town, packet: packet.to_vec() }
    }

    fn judge_access(&mut self, frame: &[u8], payload: &[u8]) -> Option<Sent> {
        assert_eq!(owners(payload).next(), None, "payload in clear on the access line");
        let destination = payload[16..20].first_chunk::<4>().map(|address| std::net::Ipv4Addr::from(*address)).expect("an IPv4 header");
        let Ok(underlay::Outer::Udp(datagram)) = underlay::parse(payload, destination) else { panic!("neither tunnel: {payload:02x?}") };
        let number = usize::from(u16::from_be_bytes([destination.octets()[2], destination.octets()[3]]));
        let town = &mut self.towns[number];
        assert_eq!(datagram.destination, town.office.outer);
        let inside = &payload[underlay::HEADERS_LEN..][..datagram.payload_len];
        let packet = town.office.receive(datagram.source.port(), inside);
        assert_eq!(town.office.refused(), Vec::<String>::new(), "every datagram is for the router it reaches");
        drop(town.office.received());
        if let Some(packet) = &packet {
            let seen = packets::read(packet).unwrap_or_else(|error| panic!("{error}: {packet:02x?}"));
            let class = if seen.destination.ip() == CLERK.ip() { LgwanConnected } else { MyNumber };
            self.judge_canaries(number, class, packet);
        }
        Some(Sent::ToOffice { town: number, packet, len: frame.len() })
    }

    fn judge_canaries(&self, town: usize, class: TrafficClass, packet: &[u8]) {
        let owner = Owner::new(&self.towns[town].office.name, class);
        for found in owners(packet) {
            assert_eq!(found, owner, "a foreign canary at {}: {packet:02x?}", self.towns[town].office.name);
        }
    }

    /// Keys, then each flow once.
    fn settle_in(&mut self, number: usize) {
        if self.towns[number].office.is_ipsec() {
            self.exchange_keys(number);
        } else {
            self.towns[number].office.connect();
        }
        // The relay answers 500 unproved sources a second.
        self.pass(Duration::from_millis(4));
        let (host, global) = (self.towns[number].host, self.towns[number].global);
        let recorded = self.forward(number, RESIDENT, REGISTER, MyNumber);
        self.towns[number].resident_in_cloud = recorded.0;
        self.towns[number].recorded = recorded.1;
        self.forward(number, CLERK, DOCUMENTS, LgwanConnected);
        self.towns[number].host_in_cloud = self.forward(number, host, global, MyNumber).0;
        self.towns[number].job_at_office = self.call(number);
    }

    fn exchange_keys(&mut self, number: usize) {
        let spi = FIRST_SPI + u32::try_from(number).expect("few");
        let town = &mut self.towns[number];
        let agreement = Agreement::new(Spi::new(spi).expect("not reserved"), spi, true);
        let pair = agreement.pair(town.office.encapsulation(), everything(), OutboundUse::Now);
        town.office.esp().add(agreement);
        let (tenant, tunnel) = (town.entry.config.name.clone(), "main".into());
        let install = Command::InstallSa { id: u64::from(spi), tenant, tunnel, pair: Box::new(pair) };
        assert!(self.relay.commands[0].push(install).is_ok(), "the ring has room");
        while self.relay.events[0].pop().is_ok() {}
    }

    /// A packet from the office to its cloud. Returns how the cloud sees its source, and its datagram.
    fn forward(&mut self, number: usize, source: SocketAddrV4, destination: SocketAddrV4, class: TrafficClass) -> (SocketAddrV4, Vec<u8>) {
        let town = &mut self.towns[number];
        let frame = town.sealed(&udp(source, destination, town.canary(class)));
        self.inject(ACCESS, &frame);
        let sent = self.pass(Duration::ZERO);
        let [Sent::ToCloud { town, packet }] = &sent[..] else { panic!("{} frames for one packet of {number}", sent.len()) };
        assert_eq!(*town, number);
        (packets::read(packet).expect("sound").source, frame[OUTER..].to_vec())
    }

    /// A call from the cloud to its office's printer. Returns how the printer sees the caller.
    fn call(&mut self, number: usize) -> SocketAddrV4 {
        let town = &self.towns[number];
        let frame = town.on_vlan(&udp(JOB, PRINTER, town.canary(MyNumber)));
        self.inject(AWS, &frame);
        let sent = self.pass(Duration::ZERO);
        let [Sent::ToOffice { town, packet: Some(packet), .. }] = &sent[..] else {
            panic!("{} frames for one packet of {number}", sent.len())
        };
        assert_eq!(*town, number);
        packets::read(packet).expect("sound").source
    }
}
