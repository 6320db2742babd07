//! Steering: which worker owns a tenant, and by what a frame shows its owner. Pure; it moves no frame.
//!
//! A tenant has one owner, a function of its name and the number of workers: a tenant that comes or goes moves no other. Only the
//! owner has its tunnels, sessions and counters. Every worker knows of every tenant whose it is: by the receiver index or SPI, by port
//! and VLAN, and, for a new handshake, by the public key. Nothing here is a tenant's address. With one worker all of this is empty.

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use crate::router_config::{EndpointId, PortId, RouterConfig, TunnelKind, Vlan, WorkerId};
use crate::tunnel::IndexSpace;
use crate::tunnel::esp::sa::SpiSpace;
use crate::worker::attachments::ByTags;

/// The worker, of `workers`, that owns the tenant of this name. It depends on nothing else, so every program finds the same one.
///
/// # Panics
/// Without a worker there is no owner.
#[must_use]
pub fn owner(tenant: &str, workers: usize) -> WorkerId {
    assert!(workers > 0, "somebody owns every tenant");
    if workers == 1 {
        return WorkerId(0);
    }
    // FNV-1a, then the finalizer of MurmurHash3, for names that differ in one letter; and the upper bits of a product, as fair as a
    // remainder. The hash is written out because no library promises its values for ever.
    let mut hash = tenant.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    let owner = (u128::from(hash) * workers as u128) >> 64;
    WorkerId(u8::try_from(owner).expect("smaller than the number of workers"))
}

/// What one worker knows of the tenants of the others.
#[derive(Debug)]
pub struct Steering {
    worker: WorkerId,
    workers: usize,
    indices: IndexSpace,
    spis: SpiSpace,
    vlans: ByTags<WorkerId>,
    peers: HashMap<(EndpointId, [u8; 32]), WorkerId, RandomState>,
}

impl Steering {
    /// What `worker`, one of `workers`, knows before its first configuration: nothing.
    #[must_use]
    pub fn new(worker: WorkerId, workers: usize) -> Self {
        let (indices, spis) = (IndexSpace::of(worker, workers), SpiSpace::of(worker, workers));
        Self { worker, workers, indices, spis, vlans: ByTags::default(), peers: HashMap::default() }
    }

    /// The receiver indices that this worker gives out.
    #[must_use]
    pub fn indices(&self) -> IndexSpace {
        self.indices
    }

    /// The SPIs that this worker's tenants have.
    #[must_use]
    pub fn spis(&self) -> SpiSpace {
        self.spis
    }

    /// Whether this worker owns the tenant.
    #[must_use]
    pub fn owns(&self, tenant: &str) -> bool {
        owner(tenant, self.workers) == self.worker
    }

    /// Learn whose all tenants are.
    pub fn learn(&mut self, config: &RouterConfig) {
        self.vlans.clear();
        self.peers.clear();
        if self.workers == 1 {
            return;
        }
        for entry in &config.tenants {
            let owner = owner(&entry.config.name, self.workers);
            if owner == self.worker {
                continue;
            }
            for attachment in &entry.config.attachments {
                self.vlans.insert((attachment.port, attachment.vlan), owner);
            }
            self.peers.extend(entry.config.tunnels.iter().filter_map(|tunnel| match &tunnel.kind {
                TunnelKind::WireGuard { public_key, .. } => Some(((tunnel.endpoint, *public_key), owner)),
                TunnelKind::Ipsec => None,
            }));
        }
    }

    /// The other worker that owns the tenant on this VLAN; `None` where this one does, or nobody.
    #[must_use]
    pub fn other_by_vlan(&self, port: PortId, vlan: Vlan) -> Option<WorkerId> {
        if self.workers == 1 { None } else { self.vlans.get((port, vlan)) }
    }

    /// The other worker that gave out this receiver index.
    #[must_use]
    pub fn other_by_index(&self, index: u32) -> Option<WorkerId> {
        let owner = self.indices.owner_of(index);
        (owner != self.worker && owner.index() < self.workers).then_some(owner)
    }

    /// The other worker whose tenants have this SPI.
    #[must_use]
    pub fn other_by_spi(&self, spi: u32) -> Option<WorkerId> {
        let owner = self.spis.owner_of(spi);
        (owner != self.worker && owner.index() < self.workers).then_some(owner)
    }

    /// The other worker that owns the tenant with this public key.
    #[must_use]
    pub fn other_by_peer(&self, endpoint: EndpointId, peer: &[u8; 32]) -> Option<WorkerId> {
        if self.workers == 1 { None } else { self.peers.get(&(endpoint, *peer)).copied() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn names() -> impl Iterator<Item = String> {
        (0..1_788).map(|number| format!("{:06}-town", 11_002 + number * 17))
    }

    #[test]
    fn every_worker_owns_its_share_of_the_country() {
        for workers in 1..=16 {
            let mut owned = vec![0; workers];
            names().for_each(|name| owned[owner(&name, workers).index()] += 1);
            let fair = 1_788 / workers;
            assert!(owned.iter().all(|count| (fair * 7 / 10..=fair * 13 / 10).contains(count)), "{workers} workers: {owned:?}");
        }
    }

    #[test]
    fn an_owner_depends_on_the_name_alone_and_stays_the_same_in_every_release() {
        let owners = ["131016-chiyoda", "131024-chuo", "141003-yokohama", "271004-osaka"].map(|name| owner(name, 16).0);
        assert_eq!(owners, [14, 8, 5, 11]);
    }

    #[test]
    fn one_worker_owns_everything_and_asks_no_table() {
        let steering = Steering::new(WorkerId(0), 1);
        assert!(names().all(|name| steering.owns(&name)));
        assert_eq!(steering.other_by_index(u32::MAX), None);
        assert_eq!(steering.other_by_vlan(PortId(0), Vlan::Untagged), None);
    }

    #[test]
    fn an_index_names_another_worker_or_nobody() {
        let steering = Steering::new(WorkerId(1), 3);
        let owners: BTreeSet<Option<u8>> = (0..4).map(|top| steering.other_by_index(top << 30 | 5).map(|worker| worker.0)).collect();
        assert_eq!(owners, BTreeSet::from([None, Some(0), Some(2)]), "1 is itself, 3 does not exist");
    }
}
