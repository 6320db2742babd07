//! The whole packet path: NIC of memory -> worker -> NIC of memory.

use std::time::Duration;

use serde::Serialize;

use crate::cipher::BareCipher;
use crate::world::{Direction, Load, World};

/// Inner packets, in bytes: an acknowledgement, a small answer, the largest that the tunnel carries.
pub(crate) const SMALL: usize = 64;
pub(crate) const MIDDLE: usize = 512;
pub(crate) const LARGE: usize = 1_420;
/// All local governments of Japan: served in turn, they show the cache misses; one alone shows the code.
pub(crate) const EVERYBODY: usize = 1_788;
pub(crate) const MANY_SESSIONS: usize = 100_000;
pub(crate) const MOST_SESSIONS: usize = 1_000_000;
/// Packets between two looks at the bare cipher: 0.3 to 4 ms, shorter than the machine's moods last.
const SLICE: usize = 28 * dataplane::nic::BATCH;
const WARM_UP: usize = 4;
/// Odd, so that there is a middle one.
const ROUNDS: usize = 61;
/// Packets that [`new_sessions`] sends.
const NEW_SESSIONS: usize = (WARM_UP + ROUNDS) * SLICE;

/// Packets of open sessions.
pub(crate) const PATH: &str = "path";
/// Packets that each open a session, tables filling up: the whole path, and then a session a packet.
pub(crate) const NEW: &str = "new_sessions";

/// One case's medians.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) case: &'static str,
    pub(crate) direction: &'static str,
    /// Length of the inner IP packet.
    pub(crate) size: usize,
    pub(crate) tenants: usize,
    /// Always one here; see the case `workers`.
    pub(crate) workers: usize,
    /// Open before the first packet of the measurement.
    pub(crate) sessions: usize,
    pub(crate) ns_per_packet: f64,
    pub(crate) aead_ns_per_packet: f64,
    /// Median of the rounds' ratios, which is steadier than the ratio of the medians.
    pub(crate) ratio: f64,
}

/// Run every case.
pub(crate) fn run() -> Vec<Row> {
    let mut rows = Vec::new();
    for tenants in [1, EVERYBODY] {
        measure_open(&mut rows, tenants, tenants, &[SMALL, MIDDLE, LARGE]);
        for sessions in [MANY_SESSIONS, MOST_SESSIONS] {
            measure_open(&mut rows, tenants, sessions, &[SMALL, LARGE]);
        }
    }
    for tenants in [1, EVERYBODY] {
        rows.push(measure(&mut World::new(tenants, tenants, NEW_SESSIONS), NEW, Load::New, SMALL, ROUNDS));
    }
    rows
}

fn measure_open(rows: &mut Vec<Row>, tenants: usize, sessions: usize, sizes: &[usize]) {
    let mut world = World::new(tenants, sessions, 0);
    for direction in [Direction::OfficeToCloud, Direction::CloudToOffice] {
        for size in sizes {
            rows.push(measure(&mut world, PATH, Load::Known(direction), *size, ROUNDS));
        }
    }
}

/// # Panics
/// When a packet was not forwarded, or did not do what it was sent for: a number about lost packets would be worse than none.
pub(crate) fn measure(world: &mut World, case: &'static str, load: Load, size: usize, rounds: usize) -> Row {
    let (direction, sessions) = (load.direction(), world.sessions());
    let mut cipher = BareCipher::new(size);
    let (mut path, mut bare, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
    let (forwarded, opened) = (world.forwarded(direction), world.opened());
    for round in 0..WARM_UP + rounds {
        let frames = world.load(load, size, SLICE);
        let ours = per_packet(world.forward(direction, &frames));
        let theirs = per_packet(cipher.spend(direction, SLICE));
        if round >= WARM_UP {
            path.push(ours);
            bare.push(theirs);
            ratio.push(ours / theirs);
        }
    }
    let sent = ((WARM_UP + rounds) * SLICE) as u64;
    assert_eq!(world.forwarded(direction) - forwarded, sent, "{load:?}, {size} bytes: every packet is forwarded");
    assert_eq!(world.opened() - opened, if load == Load::New { sent } else { 0 }, "{load:?}: sessions opened");
    assert_eq!(world.lost(), 0, "{load:?}, {size} bytes: nothing is lost");
    Row {
        case,
        direction: direction.label(),
        size,
        tenants: world.tenants(),
        workers: 1,
        sessions,
        ns_per_packet: median(path),
        aead_ns_per_packet: median(bare),
        ratio: median(ratio),
    }
}

fn per_packet(spent: Duration) -> f64 {
    spent.as_secs_f64() * 1e9 / SLICE as f64
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
