//! What the control plane's key exchange asks of a worker, and what tunnels have to tell it.

use std::net::SocketAddrV4;
use std::sync::Arc;

use crate::drop_reason::DropReason;
use crate::router_config::{EndpointId, TunnelId};
use crate::tenant::{Tenant, TenantTunnel};
use crate::time::Instant;
use crate::tunnel::esp::sa::{Encapsulation, SaPair, SaRefused, Spi};
use crate::tunnel::esp::{EspTunnel, Notice};
use crate::tunnel::{AnyTunnel, TunnelKey};
use crate::worker::Worker;
use crate::worker::control::{Command, Event, IkePort};
use crate::worker::ipsec::{NAT_KEEPALIVE, NON_ESP_MARKER};

impl Worker {
    /// Tell the control plane something, and have it woken.
    ///
    /// # Errors
    /// Gives the event back where the ring is full.
    pub(super) fn tell_control_plane(&mut self, event: Event) -> Result<(), Event> {
        self.told = true;
        self.events.push(event).map_err(|rtrb::PushError::Full(event)| event)
    }

    /// Tell the control plane something that it must not miss: it waits where the ring is full. Commands wait behind it, so no more
    /// than a configuration's worth of events ever does.
    pub(super) fn tell_for_certain(&mut self, event: Event) {
        if self.untold.is_empty() {
            if let Err(event) = self.tell_control_plane(event) {
                self.untold.push_back(event);
            }
        } else {
            self.untold.push_back(event);
        }
    }

    /// Tell what waited; true where nothing does any longer.
    pub(super) fn tell_what_waited(&mut self) -> bool {
        while let Some(event) = self.untold.pop_front() {
            if let Err(event) = self.tell_control_plane(event) {
                self.untold.push_front(event);
                return false;
            }
        }
        true
    }

    /// Whether anything was told since the last call: the control plane is to be woken.
    pub fn has_told(&mut self) -> bool {
        std::mem::take(&mut self.told)
    }

    /// Do what key exchange asks for.
    pub(super) fn obey_key_exchange(&mut self, command: Command, now: Instant) {
        match command {
            Command::SendIke { endpoint, local_port, to, message } => {
                let marker: &[u8] = if local_port == IkePort::P4500 { &NON_ESP_MARKER } else { &[] };
                self.send_from_endpoint(endpoint, local_port, to, [marker, &message], now);
            }
            Command::SendKeepalive { endpoint, to } => self.send_from_endpoint(endpoint, IkePort::P4500, to, [&NAT_KEEPALIVE, &[]], now),
            Command::InstallSa { id, tenant, tunnel, pair } => {
                let outcome = self.install_sa(&tenant, &tunnel, &pair, now);
                self.tell_for_certain(Event::SaInstalled { id, outcome });
            }
            Command::SwitchOutbound { tenant, tunnel, inbound_spi } => {
                if let Some((_, tunnel)) = self.esp_tunnel(&tenant, &tunnel) {
                    tunnel.switch_outbound(inbound_spi);
                }
            }
            Command::CloseOutbound { tenant, tunnel, inbound_spi } => {
                if let Some((_, tunnel)) = self.esp_tunnel(&tenant, &tunnel) {
                    tunnel.close_outbound(inbound_spi, now);
                }
            }
            Command::RemoveSa { tenant, tunnel, inbound_spi } => self.remove_sa(&tenant, &tunnel, inbound_spi, now),
            Command::MovePeer { tenant, tunnel, inbound_spi, to } => self.move_peer(&tenant, &tunnel, inbound_spi, to),
            Command::Initiate { .. } | Command::Snapshot { .. } => debug_assert!(false, "not of key exchange"),
        }
    }

    /// A datagram of key exchange, of two parts. It counts as one of the relay's own.
    fn send_from_endpoint(&mut self, endpoint: EndpointId, local_port: IkePort, to: SocketAddrV4, parts: [&[u8]; 2], now: Instant) {
        let is_ipsec = |id: &EndpointId| self.ipsec_at.contains(&Some(*id));
        // A reload may have taken the endpoint meanwhile.
        let Some(at) = Some(endpoint).filter(is_ipsec) else { return };
        let port = &self.ports[usize::from(self.endpoints[usize::from(at.0)].port.0)];
        self.ledger.generated();
        let Some(mut packet) = self.ledger.blank() else {
            return self.ledger.lost(1, DropReason::NoFreeFrame, &port.counters.drops);
        };
        let len = parts.iter().map(|part| part.len()).sum();
        if !packet.set_range(0, len) {
            return self.ledger.dropped(packet, DropReason::FrameTooBig, &port.counters.drops);
        }
        let (front, rest) = packet.bytes_mut().split_at_mut(parts[0].len());
        front.copy_from_slice(parts[0]);
        rest.copy_from_slice(parts[1]);
        self.send_datagram_from(at, local_port.number(), to.into(), 0, packet, now);
    }

    fn install_sa(&mut self, tenant: &str, tunnel: &str, pair: &SaPair, now: Instant) -> Result<(), SaRefused> {
        let key = self.tunnel_named(tenant, tunnel).ok_or(SaRefused::NoSuchTunnel)?;
        if !self.steering.spis().holds(pair.inbound_spi) {
            return Err(SaRefused::NotMine);
        }
        let slot = slot_of(&mut self.tenants, key).ok_or(SaRefused::NoSuchTunnel)?;
        let AnyTunnel::Esp(tunnel) = &mut slot.tunnel else { return Err(SaRefused::NoSuchTunnel) };
        self.spis.insert(slot.endpoint, pair.inbound_spi, key, now)?;
        let installed = tunnel.install(pair, now);
        match installed {
            Ok(()) => slot.counters.sa_installs.add(1),
            Err(_) => self.spis.take_back(pair.inbound_spi),
        }
        installed
    }

    /// Both directions at once, for this tenant's own SA only.
    fn remove_sa(&mut self, tenant: &str, tunnel: &str, inbound_spi: Spi, now: Instant) {
        if let Some((_, tunnel)) = self.esp_tunnel(tenant, tunnel)
            && tunnel.remove(inbound_spi, now)
        {
            self.spis.remove(inbound_spi, now);
        }
    }

    fn move_peer(&mut self, tenant: &str, tunnel: &str, inbound_spi: Spi, to: Encapsulation) {
        if let Some((_, tunnel)) = self.esp_tunnel(tenant, tunnel) {
            tunnel.move_peer(inbound_spi, to);
        }
    }

    /// The tunnel of this name, if it is of this worker's.
    pub(super) fn tunnel_named(&self, tenant: &str, tunnel: &str) -> Option<TunnelKey> {
        let id = *self.names.get(tenant)?;
        let config = &self.tenants[id.0 as usize].as_deref()?.config;
        let position = config.tunnels.iter().position(|config| *config.name == *tunnel)?;
        Some(TunnelKey { tenant: id, tunnel: TunnelId(u8::try_from(position).ok()?) })
    }

    fn esp_tunnel(&mut self, tenant: &str, tunnel: &str) -> Option<(TunnelKey, &mut EspTunnel)> {
        let key = self.tunnel_named(tenant, tunnel)?;
        match &mut slot_of(&mut self.tenants, key)?.tunnel {
            AnyTunnel::Esp(tunnel) => Some((key, tunnel)),
            AnyTunnel::WireGuard(_) => None,
        }
    }

    /// Tell the control plane what became of a tunnel's SAs. What finds the ring full is told at the next visit.
    pub(super) fn report_sas(&mut self, key: TunnelKey) {
        let Self { tenants, events, told, .. } = self;
        let Some(tenant) = tenants[key.tenant.0 as usize].as_deref_mut() else { return };
        let place = usize::from(key.tunnel.0);
        let AnyTunnel::Esp(esp) = &mut tenant.tunnels[place].tunnel else { return };
        while let Some(notice) = esp.next_notice() {
            *told = true;
            let (tenant, tunnel) = (Arc::clone(&tenant.config.name), Arc::clone(&tenant.config.tunnels[place].name));
            let event = match notice {
                Notice::Heard(inbound_spi) => Event::SaHeard { tenant, tunnel, inbound_spi },
                Notice::Expiring(inbound_spi) => Event::SaExpiring { tenant, tunnel, inbound_spi },
            };
            if events.push(event).is_err() {
                return esp.tell_again(notice);
            }
        }
    }

    /// A packet found no SA: ask the control plane for one. An Acquire that finds the ring full is lost, and the next one is 5 s away.
    pub(super) fn acquire(&mut self, key: TunnelKey, now: Instant) {
        let Some(tenant) = self.tenants[key.tenant.0 as usize].as_deref_mut() else { return };
        let place = usize::from(key.tunnel.0);
        let AnyTunnel::Esp(esp) = &mut tenant.tunnels[place].tunnel else { return };
        if esp.acquire(now) {
            let (tenant, tunnel) = (Arc::clone(&tenant.config.name), Arc::clone(&tenant.config.tunnels[place].name));
            let _ = self.tell_control_plane(Event::Acquire { tenant, tunnel });
        }
    }

    /// A tunnel of `tenant` ends with all its SAs: no packet finds it from now on, and the control plane learns of it.
    pub(super) fn lose_sas(&mut self, tenant: &Arc<str>, tunnel: &Arc<str>, slot: &TenantTunnel, now: Instant) {
        let AnyTunnel::Esp(esp) = &slot.tunnel else { return };
        let inbound_spis: Box<[Spi]> = esp.inbound_spis().collect();
        for spi in &inbound_spis {
            self.spis.remove(*spi, now);
        }
        if !inbound_spis.is_empty() {
            self.tell_for_certain(Event::SasLost { tenant: Arc::clone(tenant), tunnel: Arc::clone(tunnel), inbound_spis });
        }
    }
}

fn slot_of(tenants: &mut [Option<Box<Tenant>>], key: TunnelKey) -> Option<&mut TenantTunnel> {
    tenants.get_mut(key.tenant.0 as usize)?.as_deref_mut()?.tunnels.get_mut(usize::from(key.tunnel.0))
}
