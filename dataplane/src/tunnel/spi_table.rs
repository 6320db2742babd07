//! Which tunnel an ESP packet belongs to: SPI -> (tenant, tunnel).
//!
//! This is the one place where an ESP packet gets its tenant; no address has a say in it. An SPI that was given back rests: a delayed
//! packet of an old SA never reaches a successor's.

use std::collections::VecDeque;

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use crate::router_config::EndpointId;
use crate::time::{Duration, Instant};
use crate::tunnel::TunnelKey;
use crate::tunnel::esp::sa::{SaRefused, Spi};

/// Our own bound, for one worker: 64 times what 2,000 tenants with two tunnels have in the middle of a rekey.
pub const CAPACITY: usize = 1 << 19;
/// How long an SPI rests before another SA may have it: as long as a receiver index.
const REST: Duration = Duration::from_secs(540);
/// Resting SPIs that are remembered; with more, the oldest rely on chance (1 in 2^28 or less) alone.
const MAX_RESTING: usize = 1 << 16;

/// What is known of an SPI. Small: four to a line of cache.
#[derive(Clone, Copy, Debug)]
enum Place {
    Taken { endpoint: EndpointId, key: TunnelKey },
    Resting,
}

/// The inbound SAs of a worker. Looking one up takes no memory; only commands and the configuration change it.
#[derive(Debug)]
pub struct SpiTable {
    /// Hashed with a secret of its own.
    places: HashMap<u32, Place, RandomState>,
    /// In the order of their ends.
    resting: VecDeque<(Spi, Instant)>,
}

impl Default for SpiTable {
    fn default() -> Self {
        Self { places: HashMap::with_hasher(RandomState::default()), resting: VecDeque::new() }
    }
}

impl SpiTable {
    /// Enter an inbound SA.
    ///
    /// # Errors
    /// [`SaRefused::SpiTaken`] while another one has the SPI, or it rests; [`SaRefused::TableFull`] at [`CAPACITY`].
    pub fn insert(&mut self, endpoint: EndpointId, spi: Spi, key: TunnelKey, now: Instant) -> Result<(), SaRefused> {
        self.wake(now);
        if self.places.contains_key(&spi.get()) {
            return Err(SaRefused::SpiTaken);
        }
        if self.len() >= CAPACITY {
            return Err(SaRefused::TableFull);
        }
        self.places.insert(spi.get(), Place::Taken { endpoint, key });
        Ok(())
    }

    /// Take an inbound SA out; its SPI rests for nine minutes. Returns what it led to.
    pub fn remove(&mut self, spi: Spi, now: Instant) -> Option<TunnelKey> {
        let place = self.places.get_mut(&spi.get())?;
        let Place::Taken { key, .. } = *place else { return None };
        *place = Place::Resting;
        if self.resting.len() == MAX_RESTING {
            self.forget_oldest();
        }
        self.resting.push_back((spi, now + REST));
        Some(key)
    }

    /// Take an inbound SA out that nobody was told of: its SPI is free at once.
    pub fn take_back(&mut self, spi: Spi) {
        if let Some(Place::Taken { .. }) = self.places.get(&spi.get()) {
            self.places.remove(&spi.get());
        }
    }

    /// The tunnel whose inbound SA has this SPI, if it belongs to the endpoint that the packet came to.
    #[must_use]
    pub fn find(&self, at: EndpointId, spi: u32) -> Option<TunnelKey> {
        match self.places.get(&spi) {
            Some(Place::Taken { endpoint, key }) if *endpoint == at => Some(*key),
            _ => None,
        }
    }

    /// Inbound SAs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len() - self.resting.len()
    }

    /// True where there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn wake(&mut self, now: Instant) {
        while self.resting.front().is_some_and(|(_, until)| *until <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((spi, _)) = self.resting.pop_front() {
            self.places.remove(&spi.get());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router_config::TunnelId;
    use crate::tunnel::TenantId;

    const HERE: EndpointId = EndpointId(0);

    fn key(tenant: u32) -> TunnelKey {
        TunnelKey { tenant: TenantId(tenant), tunnel: TunnelId(0) }
    }

    fn spi(number: u32) -> Spi {
        Spi::new(number + 0x1000).expect("not reserved")
    }

    #[test]
    fn an_sa_is_found_by_its_spi_at_its_own_endpoint_only() {
        let mut table = SpiTable::default();
        table.insert(HERE, spi(1), key(3), Instant::ZERO).expect("room");
        assert_eq!(table.find(HERE, spi(1).get()), Some(key(3)));
        assert_eq!(table.find(EndpointId(1), spi(1).get()), None);
        assert_eq!(table.find(HERE, spi(2).get()), None);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn one_spi_leads_to_one_tenant() {
        let mut table = SpiTable::default();
        table.insert(HERE, spi(1), key(3), Instant::ZERO).expect("room");
        assert_eq!(table.insert(HERE, spi(1), key(4), Instant::ZERO), Err(SaRefused::SpiTaken));
        assert_eq!(
            table.insert(EndpointId(1), spi(1), key(4), Instant::ZERO),
            Err(SaRefused::SpiTaken),
            "SPIs are the relay's, not an endpoint's"
        );
        assert_eq!((table.find(HERE, spi(1).get()), table.len()), (Some(key(3)), 1));
    }

    #[test]
    fn a_delayed_packet_of_a_removed_sa_reaches_nobody_for_nine_minutes() {
        let mut table = SpiTable::default();
        table.insert(HERE, spi(1), key(1), Instant::ZERO).expect("room");
        assert_eq!(table.remove(spi(1), Instant::from_secs(10)), Some(key(1)));
        assert_eq!((table.remove(spi(1), Instant::from_secs(10)), table.find(HERE, spi(1).get()), table.len()), (None, None, 0));
        assert_eq!(table.insert(HERE, spi(1), key(2), Instant::from_secs(549)), Err(SaRefused::SpiTaken));
        assert_eq!(table.insert(HERE, spi(1), key(2), Instant::from_secs(550)), Ok(()));
    }

    #[test]
    fn what_nobody_was_told_of_does_not_rest() {
        let mut table = SpiTable::default();
        table.insert(HERE, spi(1), key(1), Instant::ZERO).expect("room");
        table.take_back(spi(1));
        assert_eq!((table.find(HERE, spi(1).get()), table.len()), (None, 0));
        table.insert(HERE, spi(1), key(2), Instant::ZERO).expect("free at once");
        table.remove(spi(1), Instant::ZERO);
        table.take_back(spi(1));
        assert_eq!(table.insert(HERE, spi(1), key(2), Instant::ZERO), Err(SaRefused::SpiTaken), "it rests, whoever takes it back");
    }

    #[test]
    fn what_is_remembered_of_resting_spis_is_bounded() {
        let mut table = SpiTable::default();
        let many = u32::try_from(MAX_RESTING).expect("few") + 1_000;
        for number in 0..many {
            table.insert(HERE, spi(number), key(number), Instant::ZERO).expect("room");
            table.remove(spi(number), Instant::ZERO);
        }
        assert_eq!((table.resting.len(), table.places.len(), table.len()), (MAX_RESTING, MAX_RESTING, 0));
        assert_eq!(table.insert(HERE, spi(0), key(0), Instant::ZERO), Ok(()), "the oldest is forgotten");
        assert_eq!(table.insert(HERE, spi(many - 1), key(0), Instant::ZERO), Err(SaRefused::SpiTaken));
    }
}
