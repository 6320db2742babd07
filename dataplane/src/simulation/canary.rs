//! Canaries: every payload names the tenant and the class it belongs to, so that a single foreign byte run betrays a leak.

use crate::router_config::TrafficClass;

/// Before the tenant's number and the class.
const MAGIC: [u8; 8] = *b"~canary~";
/// Length of a canary in bytes.
pub const LEN: usize = 16;

/// Whose a payload is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Owner {
    /// Hash of the tenant's name.
    pub tenant: u32,
    /// Its class.
    pub class: TrafficClass,
}

impl Owner {
    /// The tenant called `name`, and one of its classes.
    #[must_use]
    pub fn new(name: &str, class: TrafficClass) -> Self {
        // FNV-1a: names of one test differ, that is all that is asked for.
        let tenant = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Self { tenant, class }
    }

    /// `len` bytes that say so, over and over; at least one whole canary.
    #[must_use]
    pub fn payload(self, len: usize) -> Vec<u8> {
        let [a, b, c, d] = self.tenant.to_be_bytes();
        let canary = [&MAGIC[..], &[a, b, c, d, self.class as u8, b'.', b'.', b'.']].concat();
        canary.into_iter().cycle().take(len.max(LEN)).collect()
    }
}

/// Whose canaries are in these bytes.
pub fn owners(bytes: &[u8]) -> impl Iterator<Item = Owner> + '_ {
    bytes.windows(MAGIC.len() + 5).filter(|window| window[0] == MAGIC[0] && window.starts_with(&MAGIC)).map(|window| Owner {
        tenant: u32::from_be_bytes([window[8], window[9], window[10], window[11]]),
        class: if window[12] == 0 { TrafficClass::MyNumber } else { TrafficClass::LgwanConnected },
    })
}
