//! Answering the control plane: commands, and the rows of `show`.

use std::net::IpAddr;
use std::sync::Arc;

use crate::link::Interface;
use crate::nat::{RuleId, Session};
use crate::router_config::{PortId, TenantConfig, TunnelId};
use crate::tenant::Tenant;
use crate::time::Instant;
use crate::tunnel::{AnyTunnel, TenantId, Tunnel};
use crate::worker::Worker;
use crate::worker::control::{Command, Event, NeighborRow, ROWS, SessionRow, SnapshotRequest, SnapshotRows, TunnelRow};

impl Worker {
    /// Do what the control plane asks for.
    pub(super) fn obey(&mut self, command: Command, now: Instant) {
        match command {
            Command::Initiate { tenant, tunnel, peer, timestamp } => {
                let Some(key) = self.tunnel_named(&tenant, &tunnel) else { return };
                let Some(tenant) = self.tenants[key.tenant.0 as usize].as_deref_mut() else { return };
                let tunnel = &mut tenant.tunnels[usize::from(key.tunnel.0)].tunnel;
                tunnel.remember_peer(peer);
                if let (AnyTunnel::WireGuard(tunnel), Some(timestamp)) = (tunnel, timestamp) {
                    tunnel.remember_timestamp(timestamp);
                }
                self.initiate(key, now);
            }
            Command::Snapshot { id, request } => {
                let (rows, next) = self.snapshot(&request, now);
                // Nobody waits for an answer that found the ring full: the request times out.
                let _ = self.tell_control_plane(Event::Snapshot { id, now, rows, next });
            }
            Command::SendIke { .. }
            | Command::SendKeepalive { .. }
            | Command::InstallSa { .. }
            | Command::SwitchOutbound { .. }
            | Command::CloseOutbound { .. }
            | Command::RemoveSa { .. }
            | Command::MovePeer { .. } => self.obey_key_exchange(command, now),
        }
    }

    fn snapshot(&self, request: &SnapshotRequest, now: Instant) -> (SnapshotRows, Option<u64>) {
        match request {
            SnapshotRequest::Tunnels { tenant, from } => {
                let (rows, next) = page(self.tenants_named(tenant.as_deref()).flat_map(|tenant| tunnel_rows(tenant, now)), *from);
                (SnapshotRows::Tunnels(rows), next)
            }
            SnapshotRequest::Sessions { tenant, from } => {
                let tenant = self.tenants_named(Some(tenant)).next();
                let (rows, next) = tenant.map_or((Vec::new(), None), |tenant| session_rows(tenant, *from, now));
                (SnapshotRows::Sessions(rows), next)
            }
            SnapshotRequest::Neighbors { tenant, from } => {
                let access = self.access.iter().flatten().filter(|_| tenant.is_none()).map(|interface| (interface, None));
                let tenants = self.tenants_named(tenant.as_deref());
                let attachments = tenants.flat_map(|tenant| tenant.attachments.iter().map(move |interface| (interface, Some(tenant))));
                let interfaces = access.chain(attachments);
                let (rows, next) = page(interfaces.flat_map(|(interface, tenant)| self.neighbor_rows(interface, tenant, now)), *from);
                (SnapshotRows::Neighbors(rows), next)
            }
        }
    }

    /// One tenant, or all of them, by name.
    fn tenants_named<'a>(&'a self, name: Option<&str>) -> impl Iterator<Item = &'a Tenant> {
        let one: Option<TenantId> = name.and_then(|name| self.names.get(name).copied());
        let all = name.is_none();
        let tenants = self.tenants.iter().zip(0u32..);
        tenants.filter(move |(_, id)| all || one == Some(TenantId(*id))).filter_map(|(tenant, _)| tenant.as_deref())
    }

    fn port_name(&self, port: PortId) -> Arc<str> {
        Arc::clone(&self.config.ports[usize::from(port.0)].name)
    }

    fn neighbor_rows<'a>(
        &'a self,
        interface: &'a Interface,
        tenant: Option<&'a Tenant>,
        now: Instant,
    ) -> impl Iterator<Item = NeighborRow> {
        let of_ipv4 = interface.neighbors.rows().map(|(address, mac, state, at)| (IpAddr::V4(address), mac, state, at));
        let ipv6 = interface.ipv6.iter().flat_map(|ipv6| ipv6.neighbors.rows());
        let of_ipv6 = ipv6.map(|(address, mac, state, at)| (IpAddr::V6(address), mac, state, at));
        of_ipv4.chain(of_ipv6).map(move |(address, mac, state, confirmed_at)| NeighborRow {
            port: self.port_name(interface.port),
            vlan: interface.vlan,
            tenant: tenant.map(|tenant| Arc::clone(&tenant.config.name)),
            address,
            mac: mac.map(|mac| mac.0),
            state: state.label(),
            age: confirmed_at.map(|at| now - at),
        })
    }
}

/// The rows from number `from` on, as many as fit into one answer, and where to go on.
fn page<T>(rows: impl Iterator<Item = T>, from: u64) -> (Vec<T>, Option<u64>) {
    let skip = usize::try_from(from).unwrap_or(usize::MAX);
    let mut rows = rows.skip(skip);
    let taken: Vec<T> = rows.by_ref().take(ROWS).collect();
    let next = rows.next().map(|_| from + taken.len() as u64);
    (taken, next)
}

fn tunnel_rows(tenant: &Tenant, now: Instant) -> impl Iterator<Item = TunnelRow> + '_ {
    tenant.tunnels.iter().zip(&tenant.config.tunnels).zip(0u8..).map(move |((slot, config), number)| {
        let state = slot.tunnel.state(now);
        TunnelRow {
            tenant: Arc::clone(&tenant.config.name),
            tunnel: Arc::clone(&config.name),
            kind: slot.tunnel.kind(),
            up: state.up,
            peer: slot.tunnel.peer(),
            changed_at: state.changed_at,
            handshake_at: state.handshake_at,
            heard_at: state.heard_at,
            down_reason: state.down_reason,
            carries: tenant.carries(TunnelId(number), now),
            sas: match &slot.tunnel {
                AnyTunnel::Esp(tunnel) => tunnel.rows(),
                AnyTunnel::WireGuard(_) => Vec::new(),
            },
        }
    })
}

fn session_rows(tenant: &Tenant, from: u64, now: Instant) -> (Vec<SessionRow>, Option<u64>) {
    let from = u32::try_from(from).unwrap_or(u32::MAX);
    let mut sessions = tenant.nat.rows(from);
    let rows = sessions.by_ref().take(ROWS).map(|(_, session)| session_row(&tenant.config, session, now)).collect();
    (rows, sessions.next().map(|(id, _)| u64::from(id.index())))
}

fn session_row(config: &TenantConfig, session: &Session, now: Instant) -> SessionRow {
    let rule = match session.rule() {
        RuleId::Service(index) => config.services.get(usize::from(index)).map(|service| &service.name),
        RuleId::Callback(index) => config.callbacks.get(usize::from(index)).map(|callback| &callback.name),
    };
    let ends = [session.office, session.office_remote, session.cloud_local, session.cloud_remote];
    let [office, office_remote, cloud_local, cloud_remote] = ends.map(|end| (end.addr, end.port));
    SessionRow {
        class: session.class,
        protocol: session.protocol.label(),
        opened_by: session.begun_by().label(),
        // A rule that a reload moved or removed: the session's next packet finds out.
        rule: rule.map_or_else(|| Arc::from("-"), Arc::clone),
        attachment: config.attachments.get(usize::from(session.attachment.0)).map_or_else(|| Arc::from("-"), |a| Arc::clone(&a.name)),
        office,
        office_remote,
        cloud_local,
        cloud_remote,
        state: session.state_label(),
        age: session.age(now),
        expires_in: session.expires_in(now),
        packets: session.packets(),
        bytes: session.bytes(),
    }
}
