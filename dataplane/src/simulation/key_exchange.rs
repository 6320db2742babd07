//! The control plane's key exchange, played by hand: what both ends agree on goes to the worker by commands and to the office at once.

use std::net::Ipv4Addr;

use ipnetwork::Ipv4Network;
use rand::Rng;

use crate::router_config::TenantConfig;
use crate::simulation::esp_router::Agreement;
use crate::simulation::faults;
use crate::simulation::municipality::IPSEC;
use crate::simulation::world::World;
use crate::tunnel::esp::sa::{Encapsulation, OutboundUse, SaPair, SaRefused, Selector, Spi, SpiSpace};
use crate::worker::control::{Command, Event};

/// The one IPsec tunnel that every office of a world has.
pub const TUNNEL: &str = "main";

/// A selector with all protocols and ports.
#[must_use]
pub fn selector(office: Ipv4Network, far: Ipv4Network) -> Selector {
    let range = |network: Ipv4Network| network.network()..=network.broadcast();
    Selector { office: range(office), far: range(far), protocol: 0, office_ports: 0..=u16::MAX, far_ports: 0..=u16::MAX }
}

/// Everything: the tenant's own rules still hold.
#[must_use]
pub fn everything() -> Vec<Selector> {
    let all = Ipv4Network::new(Ipv4Addr::UNSPECIFIED, 0).expect("a prefix");
    vec![selector(all, all)]
}

/// The tenant's office prefixes, towards each of its globals.
#[must_use]
pub fn selectors(tenant: &TenantConfig) -> Vec<Selector> {
    let services = tenant.services.iter().map(|service| service.office_side);
    let far: Vec<Ipv4Network> = services.chain(tenant.callbacks.iter().map(|callback| callback.source.into())).collect();
    tenant.office.iter().flat_map(|office| far.iter().map(|far| selector(office.prefix, *far))).collect()
}

impl World {
    /// What a key exchange with the office of `tenant` would agree on.
    pub fn agree(&mut self, tenant: &str, esn: bool) -> Agreement {
        let space = SpiSpace::of(self.owner(tenant), self.workers.len());
        let relay_spi = space.draw(&mut self.random);
        Agreement::new(relay_spi, self.random.random_range(256..=u32::MAX), esn)
    }

    /// The relay's half of `agreement`, for where the office is now.
    ///
    /// # Panics
    /// Where there is no such tenant.
    pub fn pair(&mut self, tenant: &str, agreement: &Agreement, outbound_use: OutboundUse) -> SaPair {
        let selectors = selectors(self.plan.tenant(tenant));
        let encapsulation = self.office(tenant).encapsulation();
        agreement.pair(encapsulation, selectors, outbound_use)
    }

    /// Have the worker install an SA pair, and wait for its word.
    ///
    /// # Errors
    /// The worker's.
    ///
    /// # Panics
    /// When it says nothing.
    pub fn install(&mut self, tenant: &str, pair: SaPair) -> Result<(), SaRefused> {
        self.last_install += 1;
        let id = self.last_install;
        self.command(Command::InstallSa { id, tenant: tenant.into(), tunnel: TUNNEL.into(), pair: Box::new(pair) });
        // Where the ring is full its word waits for room.
        for _ in 0..4 {
            self.step();
            self.take_events();
            let answer = |event: &Event| matches!(event, Event::SaInstalled { id: answered, .. } if *answered == id);
            if let Some(place) = self.told.iter().position(answer)
                && let Some(Event::SaInstalled { outcome, .. }) = self.told.remove(place)
            {
                return outcome;
            }
        }
        panic!("seed {}: the worker does not say whether the SA of {tenant} stands", self.seed);
    }

    /// A key exchange that the relay began: its outbound SA is used at once.
    ///
    /// # Panics
    /// Where the worker refuses.
    pub fn exchange_keys(&mut self, tenant: &str) -> Agreement {
        let agreement = self.agree(tenant, false);
        let pair = self.pair(tenant, &agreement, OutboundUse::Now);
        self.install(tenant, pair).unwrap_or_else(|refused| panic!("seed {}: {refused}", self.seed));
        self.office(tenant).esp().add(agreement.clone());
        agreement
    }

    /// Have the worker forget an SA pair.
    pub fn remove_sa(&mut self, tenant: &str, inbound_spi: Spi) {
        self.command(Command::RemoveSa { tenant: tenant.into(), tunnel: TUNNEL.into(), inbound_spi });
    }

    /// Have the worker send with this pair.
    pub fn switch_outbound(&mut self, tenant: &str, inbound_spi: Spi) {
        self.command(Command::SwitchOutbound { tenant: tenant.into(), tunnel: TUNNEL.into(), inbound_spi });
    }

    /// Have the worker send nothing more with this pair.
    pub fn close_outbound(&mut self, tenant: &str, inbound_spi: Spi) {
        self.command(Command::CloseOutbound { tenant: tenant.into(), tunnel: TUNNEL.into(), inbound_spi });
    }

    /// Tell the worker where the peer of a pair is.
    pub fn move_peer(&mut self, tenant: &str, inbound_spi: Spi, to: Encapsulation) {
        self.command(Command::MovePeer { tenant: tenant.into(), tunnel: TUNNEL.into(), inbound_spi, to });
    }

    /// Have the owner of `tenant` send its office a NAT keepalive: then it knows the router's MAC address.
    ///
    /// # Panics
    /// Where the ring has no room.
    pub fn send_keepalive(&mut self, tenant: &str) {
        let (owner, to) = (self.owner(tenant), self.office(tenant).outer);
        assert!(self.commands[owner.index()].push(Command::SendKeepalive { endpoint: IPSEC, to }).is_ok(), "the ring has room");
    }

    /// Take events off the rings; they wait for [`World::event`].
    pub(super) fn take_events(&mut self) {
        for events in &mut self.events {
            while let Ok(event) = events.pop() {
                faults::write_down(&mut self.peers, &event);
                self.told.push_back(event);
            }
        }
    }
}
