//! The whole packet path: NIC of memory -> worker -> NIC of memory.

use std::time::Duration;

use serde::Serialize;

use crate::cipher::BareCipher;
use crate::world::{Direction, World};

/// Inner packets, in bytes: an acknowledgement, a small answer, the largest that the tunnel carries.
const SIZES: [usize; 3] = [64, 512, 1_420];
/// One, which shows the code; and all local governments in turn, which shows the cache misses.
const TENANTS: [usize; 2] = [1, 1_788];
/// Packets between two looks at the bare cipher: 0.3 to 4 ms, shorter than the machine's moods last.
const SLICE: usize = 28 * dataplane::nic::BATCH;
const WARM_UP: usize = 4;
/// Odd, so that there is a middle one.
const ROUNDS: usize = 61;

/// One case's medians.
#[derive(Serialize)]
pub(crate) struct Row {
    case: &'static str,
    pub(crate) direction: &'static str,
    /// Length of the inner IP packet.
    pub(crate) size: usize,
    pub(crate) tenants: usize,
    pub(crate) sessions: usize,
    pub(crate) ns_per_packet: f64,
    pub(crate) aead_ns_per_packet: f64,
    /// Median of the rounds' ratios, which is steadier than the ratio of the medians.
    pub(crate) ratio: f64,
}

/// Run every case.
pub(crate) fn run() -> Vec<Row> {
    let mut rows = Vec::new();
    for tenants in TENANTS {
        let mut world = World::new(tenants);
        for direction in [Direction::OfficeToCloud, Direction::CloudToOffice] {
            for size in SIZES {
                rows.push(measure(&mut world, direction, size));
            }
        }
    }
    rows
}

/// # Panics
/// When a packet was not forwarded: a number about lost packets would be worse than none.
fn measure(world: &mut World, direction: Direction, size: usize) -> Row {
    let mut cipher = BareCipher::new(size);
    let (mut path, mut bare, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
    let before = world.forwarded(direction);
    for round in 0..WARM_UP + ROUNDS {
        let load = world.load(direction, size, SLICE);
        let ours = per_packet(world.forward(direction, &load));
        let theirs = per_packet(cipher.spend(direction, SLICE));
        if round >= WARM_UP {
            path.push(ours);
            bare.push(theirs);
            ratio.push(ours / theirs);
        }
    }
    let sent = ((WARM_UP + ROUNDS) * SLICE) as u64;
    assert_eq!(world.forwarded(direction) - before, sent, "{direction:?}, {size} bytes: every packet is forwarded");
    assert_eq!(world.lost(), 0, "{direction:?}, {size} bytes: nothing is lost");
    Row {
        case: "path",
        direction: direction.label(),
        size,
        tenants: world.tenants(),
        sessions: world.sessions(),
        ns_per_packet: median(path),
        aead_ns_per_packet: median(bare),
        ratio: median(ratio),
    }
}

fn per_packet(spent: Duration) -> f64 {
    spent.as_secs_f64() * 1e9 / SLICE as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
