//! A worker's view of Child SAs, as far as IKE is concerned: which pair takes a packet, and which SPI is known.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ike::{ChildSa, Encapsulation, EspCipher, InstallRefused, OutboundUse, PeerName};

/// Pairs of one tunnel at most.
const MAX_PAIRS: usize = 16;

/// A packet's ends as a node's selectors see it: (at the peer, at this node).
pub type Hosts = (Ipv4Addr, Ipv4Addr);

/// What becomes of packets to the peer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outbound {
    Closed,
    /// Used where nothing in use carries them.
    Waiting,
    InUse,
}

struct Pair {
    owner: PeerName,
    sa: ChildSa,
    outbound: Outbound,
    heard: bool,
    /// When it was installed, or switched to.
    order: u64,
}

impl Pair {
    fn carries(&self, (office, far): Hosts) -> bool {
        self.sa.selectors.iter().any(|selector| selector.office.contains(&office) && selector.far.contains(&far))
    }
}

#[derive(Default)]
pub struct Pairs {
    by_spi: BTreeMap<u32, Pair>,
    order: u64,
}

impl Pairs {
    pub fn install(&mut self, owner: &PeerName, sa: ChildSa) -> Result<(), InstallRefused> {
        if self.of(owner).count() >= MAX_PAIRS {
            return Err(InstallRefused::TooManyPairs);
        }
        if self.by_spi.contains_key(&sa.inbound_spi) {
            return Err(InstallRefused::SpiTaken);
        }
        self.order += 1;
        let outbound = if sa.outbound_use == OutboundUse::Now { Outbound::InUse } else { Outbound::Waiting };
        let pair = Pair { owner: owner.clone(), outbound, heard: false, order: self.order, sa };
        self.by_spi.insert(pair.sa.inbound_spi, pair);
        Ok(())
    }

    pub fn remove(&mut self, owner: &PeerName, spi: u32) {
        let removed = self.by_spi.remove(&spi).expect("only what was installed is removed, once");
        assert_eq!(&removed.owner, owner, "a pair is removed by its own tenant");
    }

    pub fn switch(&mut self, owner: &PeerName, spi: u32) {
        let pair = self.by_spi.get_mut(&spi).expect("only what stands is switched to");
        assert_eq!(&pair.owner, owner);
        self.order += 1;
        (pair.outbound, pair.order) = (Outbound::InUse, self.order);
    }

    pub fn close(&mut self, owner: &PeerName, spi: u32) {
        let pair = self.by_spi.get_mut(&spi).expect("only what stands is closed");
        assert_eq!(&pair.owner, owner);
        pair.outbound = Outbound::Closed;
    }

    pub fn move_peer(&mut self, owner: &PeerName, spi: u32, to: Encapsulation) {
        if let Some(pair) = self.by_spi.get_mut(&spi) {
            assert_eq!(&pair.owner, owner);
            pair.sa.encapsulation = to;
        }
    }

    /// What a packet to a peer is sent with: of the pairs that carry it, the last one in use, or else the first that waits.
    pub fn outbound(&self, owner: &PeerName, hosts: Hosts) -> Option<(u32, Vec<u8>)> {
        let open = self.by_spi.values().filter(|pair| pair.owner == *owner && pair.outbound != Outbound::Closed && pair.carries(hosts));
        let preference = |pair: &&Pair| match pair.outbound {
            Outbound::InUse => (2, pair.order),
            // The peer most probably has the one that has waited longest.
            Outbound::Waiting | Outbound::Closed => (1, u64::MAX - pair.order),
        };
        open.max_by_key(preference).map(|pair| (pair.sa.outbound_spi, keys(&pair.sa.outbound)))
    }

    /// A packet came: whose is it, and is it the first?
    pub fn receive(&mut self, spi: u32, with: &[u8], hosts: Hosts) -> Option<(PeerName, bool)> {
        let pair = self.by_spi.get_mut(&spi).filter(|pair| keys(&pair.sa.inbound) == with && pair.carries(hosts))?;
        let first = !std::mem::replace(&mut pair.heard, true);
        if pair.outbound == Outbound::Waiting && first {
            pair.outbound = Outbound::InUse;
        }
        Some((pair.owner.clone(), first))
    }

    pub fn of<'a>(&'a self, owner: &'a PeerName) -> impl Iterator<Item = &'a ChildSa> {
        self.by_spi.values().filter(move |pair| pair.owner == *owner).map(|pair| &pair.sa)
    }

    pub fn all(&self) -> impl Iterator<Item = (&PeerName, &ChildSa)> {
        self.by_spi.values().map(|pair| (&pair.owner, &pair.sa))
    }

    pub fn len(&self) -> usize {
        self.by_spi.len()
    }

    /// The worker forgets everything, as after a reload that made the tunnel anew.
    pub fn lose_all(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.by_spi).into_keys().collect()
    }
}

fn keys(cipher: &EspCipher) -> Vec<u8> {
    match cipher {
        EspCipher::AesGcm16 { key, salt } => [key.expose(), salt].concat(),
        EspCipher::AesCbc { key, integrity_key, .. } => [key.expose(), integrity_key.expose()].concat(),
    }
}
