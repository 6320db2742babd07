//! Hand-off for transmission: how a frame with all its headers gets to a worker that can transmit on its port, where its own worker has
//! no queue there.
//!
//! There is one bounded ring for each port and worker without a queue, in order, to one worker that has one. What a full ring has no
//! room for is lost, as on a NIC. Each frame says under which configuration it was made: one that carries a tag is not
//! transmitted under a later one, which may have given the VLAN to somebody else.

use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::nic::{BATCH, Nic};
use crate::packet::Packet;
use crate::wire::ethernet::MacAddr;
use crate::worker::handoff::{self, Links};
use crate::worker::sleep_state::SleepState;

/// What one worker has of a port: its queues, or a ring to a worker that has some.
pub struct PortQueues {
    /// The first one transmits.
    pub(super) nics: Vec<Box<dyn Nic>>,
    pub(super) mac: MacAddr,
    /// The way out where there is no queue.
    pub(super) to_other: Option<TransmitHandoff>,
    /// From workers without a queue.
    pub(super) from_others: Vec<Consumer<Finished>>,
}

/// A frame with all its headers.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) packet: Packet,
    /// Of the configuration under which it was made.
    pub(super) generation: u64,
}

/// The ring to the worker that transmits for this one on a port.
pub(super) struct TransmitHandoff {
    ring: Producer<Finished>,
    staged: Vec<Finished>,
    sleep_state: Arc<SleepState>,
}

impl From<Box<dyn Nic>> for PortQueues {
    /// The one queue of a port that a single worker has.
    fn from(nic: Box<dyn Nic>) -> Self {
        let mac = MacAddr(nic.description().mac);
        Self { nics: vec![nic], mac, to_other: None, from_others: Vec::new() }
    }
}

impl PortQueues {
    /// Deal out ports to the workers that `links` join: `ports` has for each port and each worker the queues it is to have. Returns for
    /// each worker what it has of each port.
    ///
    /// # Panics
    /// When a port has no queue at all, or not a place for each worker.
    #[must_use]
    pub fn deal(ports: Vec<Vec<Vec<Box<dyn Nic>>>>, links: &[Links]) -> Vec<Vec<Self>> {
        let mut dealt: Vec<Vec<Self>> = links.iter().map(|_| Vec::new()).collect();
        for port in ports {
            assert_eq!(port.len(), links.len(), "each worker has a place at each port");
            let mac = MacAddr(port.iter().flatten().next().expect("a port has a queue").description().mac);
            let with_queues: Vec<usize> = (0..port.len()).filter(|worker| !port[*worker].is_empty()).collect();
            for (workers, nics) in dealt.iter_mut().zip(port) {
                workers.push(Self { nics, mac, to_other: None, from_others: Vec::new() });
            }
            let number = dealt[0].len() - 1;
            for worker in (0..dealt.len()).filter(|worker| !with_queues.contains(worker)) {
                let through = with_queues[worker % with_queues.len()];
                let (ring, far) = RingBuffer::new(links[worker].slots());
                dealt[worker][number].to_other = Some(TransmitHandoff {
                    ring,
                    staged: Vec::with_capacity(BATCH),
                    sleep_state: Arc::clone(links[through].sleep_state()),
                });
                dealt[through][number].from_others.push(far);
            }
        }
        dealt
    }
}

impl TransmitHandoff {
    /// Push packets from the front of `queue`, as many as there is room for, and wake who takes them; returns how many went.
    pub(super) fn push(&mut self, queue: &mut Vec<Packet>, generation: u64) -> u64 {
        self.staged.extend(queue.drain(..).map(|packet| Finished { packet, generation }));
        let pushed = handoff::push_all(&mut self.ring, &mut self.staged, |finished| finished.packet.segments());
        queue.extend(self.staged.drain(..).map(|finished| finished.packet));
        if pushed > 0 {
            self.sleep_state.rouse(false);
        }
        pushed
    }
}
