//! What a test says to a world, and asks it.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddrV4};
use std::sync::Arc;

use crate::counters::{PortShare, WorkerCounters};
use crate::drop_reason::DropReason;
use crate::router_config::{TenantEntry, WorkerId};
use crate::simulation::cable::Weather;
use crate::simulation::counts::Counts;
use crate::simulation::municipality::{ACCESS, listen};
use crate::simulation::office::Office;
use crate::simulation::plan::{self, Plan};
use crate::simulation::stations::Cloud;
use crate::simulation::world::{Recorded, World};
use crate::time::Instant;
use crate::worker::control::{Command, Event};
use crate::worker::{FrameAudit, Worker, steering};

impl World {
    /// Change the configuration; the worker meets it at its next poll. Tenants that are new get an office and a cloud.
    pub fn reload(&mut self, change: impl FnOnce(&mut Plan)) {
        if self.down.iter().any(Option::is_some) {
            // What they have taken is what the old configuration sent.
            self.empty_rings();
        }
        change(&mut self.plan);
        let mut known = self.tenants.clone();
        known.extend(self.former.iter().cloned());
        let config = plan::compile(&self.plan, &self.ports, &known);
        let stays = |entry: &TenantEntry| config.tenants.iter().any(|tenant| tenant.config.name == entry.config.name);
        self.former = known.into_iter().filter(|entry| !stays(entry)).collect();
        self.tenants.clone_from(&config.tenants);
        self.publisher.publish(config);
        self.settle_in();
    }

    /// The office of a tenant, also of one that is gone.
    ///
    /// # Panics
    /// Where there never was one of this name.
    pub fn office(&mut self, tenant: &str) -> &mut Office {
        self.offices.iter_mut().find(|office| office.name == tenant).expect("an office")
    }

    /// The office of a tenant, behind the router at the end of this tunnel (see [`World::add_router`]).
    ///
    /// # Panics
    /// Where there is none.
    pub fn office_by(&mut self, tenant: &str, tunnel: &str) -> &mut Office {
        self.offices.iter_mut().find(|office| office.name == tenant && office.tunnel == tunnel).expect("a router of this tunnel")
    }

    /// The first cloud network that the configuration gives to a tenant.
    pub fn cloud(&mut self, tenant: &str) -> &mut Cloud {
        self.cloud_at(tenant, 0)
    }

    /// A cloud network that the configuration gives to a tenant.
    ///
    /// # Panics
    /// Where it gives none.
    pub fn cloud_at(&mut self, tenant: &str, attachment: usize) -> &mut Cloud {
        let attachment = &self.plan.tenant(tenant).attachments[attachment];
        let (port, vlan) = (attachment.port, attachment.vlan);
        self.clouds.iter_mut().find(|cloud| cloud.port == port && cloud.vlan == vlan).expect("a network for each VLAN")
    }

    /// Whether the configuration has no tenant of this name any more.
    #[must_use]
    pub fn is_gone(&self, tenant: &str) -> bool {
        !self.plan.tenants.iter().any(|other| &*other.name == tenant)
    }

    /// Sessions of a tenant, as its gauge said last.
    ///
    /// # Panics
    /// Where there is no such tenant.
    #[must_use]
    pub fn sessions(&self, tenant: &str) -> u64 {
        let entry = self.tenants.iter().find(|entry| &*entry.config.name == tenant);
        entry.expect("a tenant").counters.sessions.get()
    }

    /// Packets that wait for a tenant's turn, as its gauge said last.
    ///
    /// # Panics
    /// Where there is no such tenant.
    #[must_use]
    pub fn queued(&self, tenant: &str) -> u64 {
        let entry = self.tenants.iter().find(|entry| &*entry.config.name == tenant);
        entry.expect("a tenant").counters.queued.get()
    }

    /// Why packets were lost so far.
    #[must_use]
    pub fn reasons(&self) -> BTreeSet<DropReason> {
        let of_ports: Vec<PortShare> = self.ports.iter().map(|port| port.counters.sum()).collect();
        let of_tenants = self.tenants.iter().chain(&self.former).map(|tenant| &tenant.counters.drops);
        let drops = of_ports.iter().map(|port| &port.drops).chain(of_tenants);
        let now = drops.flat_map(|drops| drops.occurred().map(|(reason, _)| reason));
        now.chain(self.past_reasons.iter().copied()).collect()
    }

    /// Take the IPv6 packets that the relay sent on the access network, and nobody answers.
    pub fn strays6(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.strays6)
    }

    /// The relay's end of all tunnels.
    #[must_use]
    pub fn relay(&self) -> SocketAddrV4 {
        let address = self.ports[usize::from(ACCESS.0)].address.expect("the access port has one");
        SocketAddrV4::new(address.ip(), listen().get())
    }

    /// The relay's IPv6 address on the access network, where it has one.
    #[must_use]
    pub fn relay6(&self) -> Option<Ipv6Addr> {
        self.ports[usize::from(ACCESS.0)].address6.map(|address| address.ip())
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The cable of a port, as it is from now on: to the relay, and from it.
    pub fn weather(&mut self, port: usize, to_relay: Weather, from_relay: Weather) {
        self.to_relay[port].weather = to_relay;
        self.from_relay[port].weather = from_relay;
    }

    /// Send any frame into a port.
    pub fn inject(&mut self, port: usize, frame: Vec<u8>) {
        self.to_relay[port].put(frame, self.now, &mut self.random);
    }

    /// Ask the worker that owns the tenant for something; the first one where no tenant is named.
    pub fn command(&mut self, command: Command) {
        let worker = command.tenant().map_or(WorkerId(0), |tenant| steering::owner(tenant, self.workers.len()));
        assert!(self.commands[worker.index()].push(command).is_ok(), "the ring has room");
    }

    /// The next event of any worker.
    pub fn event(&mut self) -> Option<Event> {
        self.take_events();
        self.told.pop_front()
    }

    /// The worker that owns a tenant.
    #[must_use]
    pub fn owner(&self, tenant: &str) -> WorkerId {
        steering::owner(tenant, self.workers.len())
    }

    /// Where the frames of each worker are.
    #[must_use]
    pub fn audits(&self) -> Vec<FrameAudit> {
        self.workers.iter().map(Worker::audit).collect()
    }

    /// What each worker counts about itself.
    #[must_use]
    pub fn worker_counters(&self) -> &[Arc<WorkerCounters>] {
        &self.counters
    }

    /// Take the datagrams, and other IPv4 packets, that the relay sent to where no office is.
    pub fn strays(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.strays)
    }

    /// Record every frame that the relay transmits from now on.
    pub fn record(&mut self) {
        self.recorded = Some(Vec::new());
    }

    /// Take the frames that were recorded until now.
    pub fn recorded(&mut self) -> Vec<Recorded> {
        self.recorded.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The frame of memory that the last frame sent over a port lay in, and the address of its first byte.
    #[must_use]
    pub fn last_transmitted(&self, port: usize) -> Option<(u32, usize)> {
        self.last_transmitted[port]
    }

    /// The frame that the worker took last to write a packet into.
    #[must_use]
    pub fn last_blank(&self) -> Option<u32> {
        self.workers[0].audit().last_blank
    }

    /// All counters.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::new();
        self.ports.iter().for_each(|port| counts.read_port(&port.name, &port.counters.sum()));
        self.tenants.iter().chain(&self.former).for_each(|tenant| counts.read_tenant(tenant));
        self.counters.iter().for_each(|worker| counts.read_worker(worker));
        counts
    }

    /// Do something, let everything come to rest at this moment, and demand that exactly these counters changed by exactly so much.
    ///
    /// # Panics
    /// With one line for each counter that went another way.
    #[track_caller]
    pub fn expect(&mut self, expected: &Counts, act: impl FnOnce(&mut Self)) {
        let before = self.counts();
        act(self);
        self.settle();
        let changes = self.counts().since(&before);
        let differences = changes.differences(expected);
        assert!(differences.is_empty(), "seed {}: counters went another way\n  {}", self.seed, differences.join("\n  "));
    }
}
