//! The whole packet path: NIC of memory -> worker -> NIC of memory; and which rows a run has.

use std::time::Duration;

use serde::Serialize;

use crate::cipher::BareCipher;
use crate::suite::Suite;
use crate::tunnel::{self, TUNNEL};
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
pub(crate) const SLICE: usize = 28 * dataplane::nic::BATCH;
const WARM_UP: usize = 4;
/// Odd, so that there is a middle one.
pub(crate) const ROUNDS: usize = 61;
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
    /// Ciphers of the tunnels.
    pub(crate) suite: &'static str,
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

/// Which rows to measure: those that agree with everything that is named.
#[derive(Clone, Copy, Default)]
pub(crate) struct Selection<'a> {
    pub(crate) case: Option<&'a str>,
    pub(crate) suite: Option<Suite>,
    pub(crate) tenants: Option<usize>,
    pub(crate) sessions: Option<usize>,
    pub(crate) size: Option<usize>,
}

impl Selection<'_> {
    fn has_case(&self, case: &str) -> bool {
        self.case.is_none_or(|wanted| wanted == case)
    }

    fn has_world(&self, suite: Suite, tenants: usize, sessions: usize) -> bool {
        self.suite.is_none_or(|wanted| wanted == suite)
            && self.tenants.is_none_or(|wanted| wanted == tenants)
            && self.sessions.is_none_or(|wanted| wanted == sessions)
    }

    fn has_size(&self, size: usize) -> bool {
        self.size.is_none_or(|wanted| wanted == size)
    }
}

/// Run every case that is selected.
pub(crate) fn run(selection: &Selection<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for suite in Suite::ALL {
        if selection.has_case(TUNNEL) && selection.has_world(suite, 1, 0) {
            measure_tunnel(&mut rows, suite, selection);
        }
        for tenants in [1, EVERYBODY] {
            measure_open(&mut rows, suite, tenants, tenants, &[SMALL, MIDDLE, LARGE], selection);
            // What sessions cost is the same for all of them.
            let crowds: &[usize] = if suite == Suite::ChaCha20Poly1305 { &[MANY_SESSIONS, MOST_SESSIONS] } else { &[] };
            for sessions in crowds {
                measure_open(&mut rows, suite, tenants, *sessions, &[SMALL, LARGE], selection);
            }
        }
    }
    for tenants in [1, EVERYBODY] {
        if selection.has_case(NEW) && selection.has_world(Suite::ChaCha20Poly1305, tenants, tenants) && selection.has_size(SMALL) {
            rows.push(measure(&mut World::new(tenants, tenants, NEW_SESSIONS), NEW, Load::New, SMALL, ROUNDS));
        }
    }
    rows
}

fn measure_tunnel(rows: &mut Vec<Row>, suite: Suite, selection: &Selection<'_>) {
    for direction in [Direction::OfficeToCloud, Direction::CloudToOffice] {
        for size in [SMALL, MIDDLE, LARGE].into_iter().filter(|size| selection.has_size(*size)) {
            rows.push(tunnel::measure(suite, direction, size));
        }
    }
}

fn measure_open(rows: &mut Vec<Row>, suite: Suite, tenants: usize, sessions: usize, sizes: &[usize], selection: &Selection<'_>) {
    if !selection.has_case(PATH) || !selection.has_world(suite, tenants, sessions) {
        return;
    }
    let mut world = World::over(suite, tenants, sessions, 0);
    for direction in [Direction::OfficeToCloud, Direction::CloudToOffice] {
        for size in sizes.iter().filter(|size| selection.has_size(**size)) {
            rows.push(measure(&mut world, PATH, Load::Known(direction), *size, ROUNDS));
        }
    }
}

/// Nanoseconds a packet of `spend`, which works on a slice of them, and of the bare cipher, in turn; and the ratio.
pub(crate) fn measure_beside_the_cipher(
    suite: Suite,
    direction: Direction,
    size: usize,
    rounds: usize,
    mut spend: impl FnMut() -> Duration,
) -> (f64, f64, f64) {
    let mut cipher = BareCipher::new(suite, size);
    let (mut path, mut bare, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..WARM_UP + rounds {
        let ours = per_packet(spend());
        let theirs = per_packet(cipher.spend(direction, SLICE));
        if round >= WARM_UP {
            path.push(ours);
            bare.push(theirs);
            ratio.push(ours / theirs);
        }
    }
    (median(path), median(bare), median(ratio))
}

/// # Panics
/// When a packet was not forwarded, or did not do what it was sent for: a number about lost packets would be worse than none.
pub(crate) fn measure(world: &mut World, case: &'static str, load: Load, size: usize, rounds: usize) -> Row {
    let (direction, sessions) = (load.direction(), world.sessions());
    let (forwarded, opened) = (world.forwarded(direction), world.opened());
    let (ns_per_packet, aead_ns_per_packet, ratio) = measure_beside_the_cipher(world.suite(), direction, size, rounds, || {
        let frames = world.load(load, size, SLICE);
        world.forward(direction, &frames)
    });
    let sent = ((WARM_UP + rounds) * SLICE) as u64;
    assert_eq!(world.forwarded(direction) - forwarded, sent, "{load:?}, {size} bytes: every packet is forwarded");
    assert_eq!(world.opened() - opened, if load == Load::New { sent } else { 0 }, "{load:?}: sessions opened");
    assert_eq!(world.lost(), 0, "{load:?}, {size} bytes: nothing is lost");
    Row {
        case,
        suite: world.suite().label(),
        direction: direction.label(),
        size,
        tenants: world.tenants(),
        workers: 1,
        sessions,
        ns_per_packet,
        aead_ns_per_packet,
        ratio,
    }
}

fn per_packet(spent: Duration) -> f64 {
    spent.as_secs_f64() * 1e9 / SLICE as f64
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
