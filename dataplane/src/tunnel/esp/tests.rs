//! Two tunnels that talk to each other, and what each suite is given to do.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use super::sa::{AesKey, Encapsulation, EspCipher, Integrity, IntegrityKey, Lifetime, OutboundUse, SaPair, SaRow, Selector, Spi};
use super::*;

mod forgery;
mod overlap;
mod tunnel;
mod vectors;

pub(super) const ROUTER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 11), 4_500);
const OFFICE: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 51, 100, 16), Ipv4Addr::new(198, 51, 100, 31)];
const FAR: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 0), Ipv4Addr::new(203, 0, 113, 63)];

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).expect("a digit")).expect("below 16");
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

pub(super) fn gcm(bits: usize, fill: u8) -> EspCipher {
    EspCipher::AesGcm16 { key: AesKey::new(&vec![fill; bits / 8]).expect("a length of AES"), salt: [fill, 1, 2, 3] }
}

pub(super) fn cbc(bits: usize, integrity: Integrity, fill: u8) -> EspCipher {
    let key = AesKey::new(&vec![fill; bits / 8]).expect("a length of AES");
    EspCipher::AesCbc { key, integrity: IntegrityKey::new(integrity, &vec![fill ^ 0x55; integrity.key_len()]).expect("its length") }
}

/// Every suite, with keys that `fill` makes.
pub(super) fn suites(fill: u8) -> Vec<EspCipher> {
    let mut suites = vec![gcm(128, fill), gcm(256, fill)];
    for bits in [128, 192, 256] {
        for integrity in [Integrity::HmacSha1_96, Integrity::HmacSha256_128, Integrity::HmacSha384_192, Integrity::HmacSha512_256] {
            suites.push(cbc(bits, integrity, fill));
        }
    }
    suites
}

pub(super) fn any_of(office: [Ipv4Addr; 2], far: [Ipv4Addr; 2]) -> Selector {
    let ports = 0..=u16::MAX;
    Selector { office: office[0]..=office[1], far: far[0]..=far[1], protocol: 0, office_ports: ports.clone(), far_ports: ports }
}

/// A pair of the relay: SPI `spi` from the router, `spi + 1` to it.
pub(super) fn pair(spi: u32, suite: impl Fn(u8) -> EspCipher) -> SaPair {
    SaPair {
        inbound_spi: Spi::new(spi).expect("not reserved"),
        outbound_spi: spi + 1,
        inbound: suite(1),
        outbound: suite(2),
        esn: false,
        encapsulation: Encapsulation::Udp { peer: ROUTER },
        selectors: Box::new([any_of(OFFICE, FAR)]),
        soft: Lifetime::UNBOUNDED,
        outbound_use: OutboundUse::Now,
    }
}

/// The same pair, as the router has it.
pub(super) fn mirrored(pair: &SaPair) -> SaPair {
    let turned = |selector: &Selector| Selector {
        office: selector.far.clone(),
        far: selector.office.clone(),
        office_ports: selector.far_ports.clone(),
        far_ports: selector.office_ports.clone(),
        ..selector.clone()
    };
    SaPair {
        inbound_spi: Spi::new(pair.outbound_spi).expect("not reserved"),
        outbound_spi: pair.inbound_spi.get(),
        inbound: pair.outbound.clone(),
        outbound: pair.inbound.clone(),
        selectors: pair.selectors.iter().map(turned).collect(),
        outbound_use: OutboundUse::Now,
        ..pair.clone()
    }
}

/// An IPv4 packet of `len` bytes, UDP from `source` to `destination`.
pub(super) fn packet(source: Ipv4Addr, destination: Ipv4Addr, len: usize) -> Vec<u8> {
    let mut packet = vec![0x5a; len];
    packet[..20].fill(0);
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&u16::try_from(len).expect("a packet").to_be_bytes());
    packet[8..10].copy_from_slice(&[64, 17]);
    packet[12..16].copy_from_slice(&source.octets());
    packet[16..20].copy_from_slice(&destination.octets());
    packet
}

pub(super) fn from_office(len: usize) -> Vec<u8> {
    packet(OFFICE[0], FAR[1], len)
}

pub(super) fn to_office(len: usize) -> Vec<u8> {
    packet(FAR[1], OFFICE[0], len)
}

/// The relay's tunnel and the router's.
pub(super) struct Two {
    pub(super) relay: EspTunnel,
    pub(super) router: EspTunnel,
    pub(super) now: Instant,
}

impl Two {
    /// With this pair on both sides.
    pub(super) fn with(pair: &SaPair) -> Self {
        let mut two = Self { relay: EspTunnel::default(), router: EspTunnel::default(), now: Instant::from_secs(1) };
        two.install(pair);
        two
    }

    pub(super) fn install(&mut self, pair: &SaPair) {
        self.relay.install(pair, self.now).expect("room");
        self.router.install(&mirrored(pair), self.now).expect("room");
    }

    /// What the router makes of a packet from the office.
    pub(super) fn datagram(&mut self, packet: &[u8]) -> Vec<u8> {
        sealed(&mut self.router, packet, self.now).expect("the router sends it")
    }

    /// What the relay takes out of a datagram from `source`.
    pub(super) fn opened_from(&mut self, datagram: &[u8], source: SocketAddr) -> Result<(Vec<u8>, Decapsulated), DropReason> {
        opened(&mut self.relay, datagram, source, self.now)
    }

    pub(super) fn opened(&mut self, datagram: &[u8]) -> Result<Vec<u8>, DropReason> {
        self.opened_from(datagram, ROUTER.into()).map(|(packet, _)| packet)
    }

    /// A packet for the office through the relay and out at the router. Also the SPI under which it travelled.
    pub(super) fn through_relay(&mut self, packet: &[u8]) -> Result<(Vec<u8>, u32), DropReason> {
        let datagram = sealed(&mut self.relay, packet, self.now)?;
        let (spi, _) = packet::header(&datagram).expect("a header");
        opened(&mut self.router, &datagram, ROUTER.into(), self.now).map(|(packet, _)| (packet, spi))
    }

    pub(super) fn row(&self, spi: u32) -> SaRow {
        self.relay.rows().into_iter().find(|row| row.inbound_spi == spi).expect("a pair with this SPI")
    }
}

pub(super) fn sealed(tunnel: &mut EspTunnel, packet: &[u8], now: Instant) -> Result<Vec<u8>, DropReason> {
    let mut frame = [packet, &[0xcc; 32]].concat();
    let mut out = vec![0; packet.len() + tunnel.overhead()];
    let len = tunnel.encapsulate(&mut frame, packet.len(), &mut out, now)?;
    out.truncate(len);
    Ok(out)
}

pub(super) fn opened(
    tunnel: &mut EspTunnel,
    datagram: &[u8],
    source: SocketAddr,
    now: Instant,
) -> Result<(Vec<u8>, Decapsulated), DropReason> {
    let mut out = vec![0; datagram.len().max(crate::tunnel::MIN_OUT)];
    let done = tunnel.decapsulate(datagram, source, &mut out, now)?;
    let Content::Inner { len } = done.content else { panic!("ESP carries packets, not {:?}", done.content) };
    out.truncate(len);
    Ok((out, done))
}
