//! ESP between the relay's tunnel and a router's, with every suite: nothing comes out that was not put in, and nothing twice.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use dataplane::drop_reason::DropReason;
use dataplane::time::{Duration, Instant};
use dataplane::tunnel::esp::EspTunnel;
use dataplane::tunnel::esp::sa::{
    AesKey, Encapsulation, EspCipher, Integrity, IntegrityKey, Lifetime, MAX_PAIRS, OutboundUse, SaPair, Selector, Spi,
};
use dataplane::tunnel::{Content, MIN_OUT, Tunnel};

use crate::Input;
use crate::plain::mended;

const ROUTER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 11), 4_500);
const OFFICE: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 51, 100, 16), Ipv4Addr::new(198, 51, 100, 31)];
const FAR: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 0), Ipv4Addr::new(203, 0, 113, 63)];
const FIRST_SPI: u32 = 0x1000;
const LONGEST: usize = 1_420;
const MOST_STEPS: usize = 100;

/// The suite, and what happens under it.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let (relay, router) = (EspTunnel::default(), EspTunnel::default());
    let mut line = Line { relay, router, now: Instant::from_secs(1), installed: 0, sent: Vec::new() };
    line.install(input.u8());
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        line.step(&mut input);
    }
    line.still_works();
}

/// Both ends of a tunnel.
struct Line {
    relay: EspTunnel,
    router: EspTunnel,
    now: Instant,
    installed: u32,
    /// What the router sent: the packet, its datagram, and whether the relay has taken it.
    sent: Vec<(Vec<u8>, Vec<u8>, bool)>,
}

impl Line {
    fn install(&mut self, how: u8) {
        if self.relay.rows().len() == MAX_PAIRS {
            return;
        }
        let pair = pair(FIRST_SPI + 2 * self.installed, how);
        self.installed += 1;
        self.relay.install(&pair, self.now).expect("room");
        self.router.install(&mirrored(&pair), self.now).expect("room");
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 10 {
            0..3 => self.router_sends(input),
            3 => self.bent(input),
            4 => self.again(input.u8()),
            5 => self.strange(input),
            6 | 7 => self.relay_sends(input),
            8 => self.install(input.u8()),
            _ => {
                self.now = self.now + Duration::from_millis(u64::from(input.u16()));
                let mut out = [0; MIN_OUT];
                let len = self.relay.tick(&mut out, self.now);
                assert!(len.is_none_or(|len| out[..len] == [0xff]), "a keepalive and nothing else");
            }
        }
    }

    /// The packet between the right ends of the tunnel, or, one time in four, between any.
    fn packet(input: &mut Input<'_>, [from, to]: [[Ipv4Addr; 2]; 2]) -> (Vec<u8>, bool) {
        let (len, which) = (usize::from(input.u16()) % LONGEST, input.u8());
        let mut bytes = input.take(len).to_vec();
        bytes.resize(len.max(20), 0);
        let right = which & 3 != 0;
        if right {
            bytes[12..16].copy_from_slice(&from[usize::from((which >> 2) & 1)].octets());
            bytes[16..20].copy_from_slice(&to[usize::from((which >> 3) & 1)].octets());
        }
        (mended(&bytes), right)
    }

    fn router_sends(&mut self, input: &mut Input<'_>) {
        let (packet, right) = Self::packet(input, [OFFICE, FAR]);
        match sealed(&mut self.router, &packet, self.now) {
            Ok(datagram) => {
                self.sent.push((packet, datagram.clone(), false));
                let arrived = self.arrives(&datagram).expect("what was sealed opens");
                assert_eq!(arrived, self.sent.len() - 1);
            }
            Err(reason) => assert!(!right && reason == DropReason::TunnelSelectorMismatch, "{reason:?}"),
        }
    }

    /// A datagram reaches the relay. Returned is which of those sent it was.
    fn arrives(&mut self, datagram: &[u8]) -> Result<usize, DropReason> {
        let opened = opened(&mut self.relay, datagram, self.now)?;
        let whose = self.sent.iter().position(|(packet, sealed, taken)| !taken && *packet == opened && sealed == datagram);
        let place = whose.unwrap_or_else(|| panic!("nobody sent this, or it came twice: {opened:02x?}"));
        self.sent[place].2 = true;
        Ok(place)
    }

    /// What was sealed and not yet heard of, with some octets that are others now.
    fn bent(&mut self, input: &mut Input<'_>) {
        let (packet, _) = Self::packet(input, [OFFICE, FAR]);
        let Ok(mut datagram) = sealed(&mut self.router, &packet, self.now) else { return };
        let before = datagram.clone();
        for _ in 0..input.u8() % 4 + 1 {
            let at = usize::from(input.u16()) % datagram.len();
            datagram[at] ^= input.u8();
        }
        let keep = usize::from(input.u16());
        if keep & 0x8000 != 0 {
            datagram.truncate(keep % (datagram.len() + 1));
        }
        if datagram != before {
            assert!(self.arrives(&datagram).is_err(), "bent: {datagram:02x?} of {before:02x?}");
        }
    }

    fn again(&mut self, which: u8) {
        let Some((_, datagram, _)) = self.sent.get(usize::from(which) % self.sent.len().max(1)) else { return };
        let datagram = datagram.clone();
        assert!(self.arrives(&datagram).is_err(), "a second time");
    }

    fn strange(&mut self, input: &mut Input<'_>) {
        let spi = FIRST_SPI + 2 * (u32::from(input.u8()) % self.installed);
        let len = usize::from(input.u16()) % LONGEST;
        let bytes = input.take(len);
        assert!(self.arrives(bytes).is_err() && self.arrives(&[&spi.to_be_bytes(), bytes].concat()).is_err());
    }

    fn relay_sends(&mut self, input: &mut Input<'_>) {
        let (packet, right) = Self::packet(input, [FAR, OFFICE]);
        match sealed(&mut self.relay, &packet, self.now) {
            Ok(datagram) => assert_eq!(opened(&mut self.router, &datagram, self.now), Ok(packet)),
            Err(reason) => assert!(!right && reason == DropReason::TunnelSelectorMismatch, "{reason:?}"),
        }
    }

    /// Whatever strangers sent, the router's next packet goes through.
    fn still_works(&mut self) {
        let packet = mended(&[&[0; 12][..], &OFFICE[0].octets(), &FAR[1].octets(), &[1; 40]].concat());
        let datagram = sealed(&mut self.router, &packet, self.now).expect("a pair stands");
        self.sent.push((packet, datagram.clone(), false));
        assert_eq!(self.arrives(&datagram), Ok(self.sent.len() - 1));
    }
}

fn sealed(tunnel: &mut EspTunnel, packet: &[u8], now: Instant) -> Result<Vec<u8>, DropReason> {
    let mut frame = [packet, &[0xcc; 32]].concat();
    let mut out = vec![0; packet.len() + tunnel.overhead()];
    let len = tunnel.encapsulate(&mut frame, packet.len(), &mut out, now)?;
    out.truncate(len);
    Ok(out)
}

fn opened(tunnel: &mut EspTunnel, datagram: &[u8], now: Instant) -> Result<Vec<u8>, DropReason> {
    let mut out = vec![0; datagram.len().max(MIN_OUT)];
    let done = tunnel.decapsulate(datagram, SocketAddr::from(ROUTER), &mut out, now)?;
    let Content::Inner { len } = done.content else { panic!("ESP carries packets, not {:?}", done.content) };
    out.truncate(len);
    Ok(out)
}

/// A pair of the relay: `spi` from the router, the next one to it.
fn pair(spi: u32, how: u8) -> SaPair {
    let ports = 0..=u16::MAX;
    let (office, far) = (OFFICE[0]..=OFFICE[1], FAR[0]..=FAR[1]);
    SaPair {
        inbound_spi: Spi::new(spi).expect("not reserved"),
        outbound_spi: spi + 1,
        inbound: cipher(how, 1),
        outbound: cipher(how, 2),
        esn: how & 0x80 != 0,
        encapsulation: Encapsulation::Udp { peer: ROUTER },
        selectors: Box::new([Selector { office, far, protocol: 0, office_ports: ports.clone(), far_ports: ports }]),
        soft: Lifetime::UNBOUNDED,
        outbound_use: OutboundUse::Now,
    }
}

/// The same pair, as the router has it.
fn mirrored(pair: &SaPair) -> SaPair {
    let turned = |selector: &Selector| Selector { office: selector.far.clone(), far: selector.office.clone(), ..selector.clone() };
    SaPair {
        inbound_spi: Spi::new(pair.outbound_spi).expect("not reserved"),
        outbound_spi: pair.inbound_spi.get(),
        inbound: pair.outbound.clone(),
        outbound: pair.inbound.clone(),
        selectors: pair.selectors.iter().map(turned).collect(),
        ..pair.clone()
    }
}

/// One of all suites.
fn cipher(how: u8, fill: u8) -> EspCipher {
    let key = |len: usize| AesKey::new(&vec![fill; len]).expect("a length of AES");
    let integrities = [Integrity::HmacSha1_96, Integrity::HmacSha256_128, Integrity::HmacSha384_192, Integrity::HmacSha512_256];
    match how & 0x0f {
        0 => EspCipher::AesGcm16 { key: key(16), salt: [fill; 4] },
        1..4 => EspCipher::AesGcm16 { key: key(32), salt: [fill; 4] },
        other => {
            let integrity = integrities[usize::from(other & 3)];
            let key = key([16, 24, 32][usize::from(other / 4 - 1)]);
            EspCipher::AesCbc { key, integrity: IntegrityKey::new(integrity, &vec![fill; integrity.key_len()]).expect("its length") }
        }
    }
}
