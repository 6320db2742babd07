//! A tenant's `rate.ceiling`: what is more is lost (policing), and nothing is delayed.
//!
//! Each direction has a bucket of its own. In both the last quarter of the burst is for `mynumber` alone: as long as `mynumber` itself
//! stays below the ceiling it loses nothing, however much `lgwan-connected` sends. From the office that shows only after decryption,
//! so what is too much has cost its tenant a turn by then, and nobody else anything.

use crate::drop_reason::DropReason;
use crate::nat::Direction;
use crate::rate::{BitRate, TokenBucket};
use crate::router_config::{RateConfig, TrafficClass};
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct Ceiling {
    rate: Option<BitRate>,
    to_cloud: TokenBucket,
    to_office: TokenBucket,
}

impl Ceiling {
    pub(super) fn new(config: RateConfig) -> Self {
        Self { rate: config.ceiling.map(BitRate::per_second), to_cloud: TokenBucket::FULL, to_office: TokenBucket::FULL }
    }

    /// Another rate from now on; what was used stays used.
    pub(super) fn change(&mut self, config: RateConfig) {
        self.rate = config.ceiling.map(BitRate::per_second);
    }

    pub(super) fn admit(&mut self, direction: Direction, class: TrafficClass, bytes: usize, now: Instant) -> Result<(), DropReason> {
        let Some(rate) = self.rate else { return Ok(()) };
        let bucket = match direction {
            Direction::OfficeToCloud => &mut self.to_cloud,
            Direction::CloudToOffice => &mut self.to_office,
        };
        let spare = class != TrafficClass::MyNumber;
        if bucket.take_bytes(rate, bytes, spare, now) { Ok(()) } else { Err(DropReason::RateCeiling) }
    }
}
