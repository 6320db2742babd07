//! What the two routes do to packets, told as stories of a simulated world. Every test demands the exact change of all counters.
#![cfg(feature = "simulation")]

mod attachments;
mod filtering;
mod fragments;
mod icmp;
mod ipv6;
mod neighbor_discovery;
mod redundancy;
mod relay_itself;
mod translation;
mod tunnels;
mod underlay6;

use dataplane::simulation::packets::{self, Seen};

/// The only packet that was received, read and judged.
fn one(mut received: Vec<Vec<u8>>) -> Seen {
    assert_eq!(received.len(), 1, "one packet");
    packets::read(&received.remove(0)).expect("a sound packet")
}
