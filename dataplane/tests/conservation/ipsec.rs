//! What happens to municipalities with IPsec: rekeys at any moment, SAs that only one end knows, routers that move or forget, and
//! strangers who speak IKE or ESP.

use std::net::{Ipv4Addr, SocketAddrV4};

use dataplane::simulation::key_exchange::everything;
use dataplane::simulation::{at, municipality::IPSEC};
use dataplane::tunnel::esp::sa::{Encapsulation, Lifetime, OutboundUse, SaPair};
use dataplane::worker::control::{Command, Event, IkePort};
use rand::Rng;
use rand::seq::IndexedRandom;

use crate::chaos::{Chaos, NAMES};

impl Chaos {
    /// One of the municipalities with IPsec that are there.
    fn ipsec_name(&mut self) -> Option<&'static str> {
        let there: Vec<&'static str> =
            NAMES.into_iter().filter(|name| self.world.office(name).is_ipsec() && !self.world.is_gone(name)).collect();
        there.choose(&mut self.random).copied()
    }

    /// Something of key exchange, as it should be or as it should not.
    pub(crate) fn keys_change(&mut self) {
        let Some(name) = self.ipsec_name() else { return };
        let spis = self.world.office(name).esp().relay_spis();
        let spi = spis.choose(&mut self.random).copied();
        match (self.random.random_range(0..12), spi) {
            (0..5, _) | (_, None) => self.rekey(name),
            (5, Some(spi)) => {
                self.world.remove_sa(name, spi);
                self.world.office(name).esp().remove(spi);
            }
            (6, Some(spi)) => self.world.remove_sa(name, spi),
            (7, Some(spi)) => self.world.office(name).esp().remove(spi),
            (8, Some(spi)) => self.world.switch_outbound(name, spi),
            (9, Some(spi)) => {
                let own = self.world.office(name).encapsulation();
                let udp = Encapsulation::Udp { peer: at("198.18.3.4:4500") };
                let to = self.one_of(&[own, udp, Encapsulation::Ip { peer: Ipv4Addr::new(198, 18, 3, 4) }]);
                self.world.move_peer(name, spi, to);
            }
            (10, _) => self.world.office(name).restart(),
            (_, Some(spi)) => self.somebody_else_names(name, spi),
        }
    }

    /// Key exchange of another tenant names an SPI of this one: nothing may come of it.
    fn somebody_else_names(&mut self, name: &str, spi: dataplane::tunnel::esp::sa::Spi) {
        let other = self.one_of(&NAMES);
        if other != name {
            self.world.remove_sa(other, spi);
            self.world.switch_outbound(other, spi);
            self.world.close_outbound(other, spi);
        }
    }

    /// A rekey with packets between its steps, or one that breaks off.
    fn rekey(&mut self, name: &'static str) {
        let esn = self.random.random_ratio(1, 2);
        let outbound_use = self.one_of(&[OutboundUse::Now, OutboundUse::WhenHeard]);
        let agreement = self.world.agree(name, esn);
        let pair = self.world.pair(name, &agreement, outbound_use);
        let pair = self.perhaps_odd(pair);
        if outbound_use == OutboundUse::Now {
            self.world.office(name).esp().add_inbound(agreement.clone());
        }
        // Where the tunnel has too many, the oldest ones go.
        if self.world.install(name, pair).is_err() {
            for spi in self.world.office(name).esp().relay_spis() {
                self.world.remove_sa(name, spi);
                self.world.office(name).esp().remove(spi);
            }
            return;
        }
        for _ in 0..self.random.random_range(0..3) {
            self.office_sends();
            self.world.step();
        }
        match outbound_use {
            OutboundUse::WhenHeard => self.world.office(name).esp().add(agreement),
            OutboundUse::Now => self.world.office(name).esp().switch(agreement.relay_spi),
        }
    }

    fn perhaps_odd(&mut self, pair: SaPair) -> SaPair {
        match self.random.random_range(0..6) {
            0 => SaPair { selectors: everything().into(), ..pair },
            1 => SaPair { selectors: pair.selectors[..1].into(), ..pair },
            2 => SaPair { soft: Lifetime { packets: self.random.random_range(1..20), bytes: u64::MAX }, ..pair },
            _ => pair,
        }
    }

    /// The control plane takes its events, and does what they ask for.
    pub(crate) fn control_plane_listens(&mut self) {
        while let Some(event) = self.world.event() {
            match event {
                Event::Acquire { tenant, .. } => {
                    if let Some(name) = NAMES.into_iter().find(|name| **name == *tenant && !self.world.is_gone(name)) {
                        self.rekey(name);
                    }
                }
                Event::SasLost { tenant, inbound_spis, .. } if self.random.random_ratio(1, 2) => {
                    inbound_spis.iter().for_each(|spi| self.world.office(&tenant).esp().remove(*spi));
                }
                Event::Ike { endpoint, local_port, from, message } => {
                    self.world.command(Command::SendIke { endpoint, local_port, to: from, message });
                    self.world.step();
                }
                _ => {}
            }
        }
    }

    /// A router with IPsec gets another address, or its NAT goes away, or it says something odd.
    pub(crate) fn ipsec_router_moves(&mut self, name: &str, outer: SocketAddrV4) {
        match self.random.random_range(0..4) {
            0 => self.world.office(name).in_udp ^= true,
            1 if !self.world.office(name).esp().relay_spis().is_empty() => {
                let oddities = [(59, 42, None), (41, 42, None), (17, 42, None), (4, 41, Some(&[9, 1][..])), (4, 42, Some(&[255][..]))];
                let (next_header, len, padding) = self.one_of(&oddities);
                let odd = self.world.office(name).esp().seal_oddly(next_header, &vec![0x45; len], padding);
                let source = self.world.office(name).outer;
                self.world.office(name).send_datagram(source, odd);
            }
            2 if !self.world.office(name).esp().relay_spis().is_empty() => {
                let numbers = self.one_of(&[1, 100, 2_000, 1 << 31]);
                self.world.office(name).esp().skip(numbers);
            }
            _ => self.world.office(name).outer = outer,
        }
    }

    /// Strangers at the IPsec endpoint, a few or a flood.
    pub(crate) fn stranger_speaks_ipsec(&mut self) {
        let messages = self.one_of(&[1, 1, 5, 40, 400]);
        for number in 0..messages {
            let source =
                SocketAddrV4::new(Ipv4Addr::new(198, 19, 0, self.one_of(&[1, 1, 2, u8::try_from(number % 250).expect("small")])), 500);
            let port = self.one_of(&[500, 500, 4_500, 0]);
            let mut payload = vec![0; self.one_of(&[0, 1, 4, 27, 28, 60, 300])];
            let from = self.one_of(&[0, 4, 8, 16]).min(payload.len());
            payload[from..].fill_with(|| self.random.random());
            let name = self.one_of(&NAMES);
            self.world.office(name).send_to_port(source, port, payload);
            if number % 8 == 7 {
                self.world.step();
            }
        }
        if self.random.random_ratio(1, 8) {
            let to = self.world.office("a").outer;
            let message = vec![7; self.one_of(&[28, 600, 3_000])].into();
            self.world.command(Command::SendIke { endpoint: IPSEC, local_port: IkePort::P4500, to, message });
            self.world.command(Command::SendKeepalive { endpoint: IPSEC, to });
        }
    }
}
