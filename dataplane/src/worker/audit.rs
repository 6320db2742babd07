//! What the simulation may see of a worker besides its counters: where every frame of memory is.

use crate::worker::Worker;
use crate::worker::port::Port;

/// Where the frames are. No packet is on its way while anybody can ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameAudit {
    /// Frames in the pool.
    pub free: usize,
    /// Frames that NICs hold.
    pub with_nics: usize,
    /// Frames whose packets wait: for their next hop, for their turn, or for the first fragment of their datagram.
    pub waiting: usize,
    /// Frames whose packets are on rings from other workers, and frames on their way home.
    pub under_way: usize,
    /// Packets on rings from other workers.
    pub packets_under_way: usize,
    /// All frames that have their home here.
    pub total: usize,
    /// The frame that was taken last for a packet to be written into.
    pub last_blank: Option<u32>,
}

impl Worker {
    /// Count the frames.
    #[must_use]
    pub fn audit(&self) -> FrameAudit {
        let interfaces = self.access.iter().flatten().chain(self.tenants.iter().flatten().flat_map(|tenant| &tenant.attachments));
        let (crossing, home) = self.links.under_way();
        let packets = crossing + self.ports.iter().map(Port::under_way).sum::<usize>();
        FrameAudit {
            free: self.ledger.frames.free(),
            with_nics: self.ports.iter().flat_map(|port| &port.nics).map(|nic| nic.held()).sum(),
            waiting: interfaces.map(|interface| interface.holding()).sum::<usize>()
                + self.handshakes.len()
                + self.tenants.iter().flatten().map(|tenant| tenant.fragments.waiting()).sum::<usize>()
                + self.tenant_queues.len(),
            under_way: packets + home,
            packets_under_way: packets,
            total: self.ledger.frames.total(),
            last_blank: self.ledger.last_blank,
        }
    }
}
