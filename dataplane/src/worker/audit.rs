//! What the simulation may see of a worker besides its counters: where every frame of memory is.

use crate::worker::Worker;

/// Where the frames are. No packet is on its way while anybody can ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameAudit {
    /// Frames in the pool.
    pub free: usize,
    /// Frames that NICs hold.
    pub with_nics: usize,
    /// Frames whose packets wait: for their next hop, or for their turn.
    pub waiting: usize,
    /// All frames.
    pub total: usize,
    /// The frame that was taken last for a packet to be written into.
    pub last_blank: Option<u32>,
}

impl Worker {
    /// Count the frames.
    #[must_use]
    pub fn audit(&self) -> FrameAudit {
        let interfaces = self.access.iter().flatten().chain(self.tenants.iter().flatten().flat_map(|tenant| &tenant.attachments));
        FrameAudit {
            free: self.ledger.frames.free(),
            with_nics: self.ports.iter().map(|port| port.nic.held()).sum(),
            waiting: interfaces.map(|interface| interface.neighbors.holding()).sum::<usize>() + self.handshakes.len() + self.turns.len(),
            total: self.ledger.frames.total(),
            last_blank: self.ledger.last_blank,
        }
    }
}
