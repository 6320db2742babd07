//! Round-trip times of small questions: about a thousand a second from the office to a server on the cloud that echoes them.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use controlplane::demo::in_namespace;
use netns_tests::plan::{RESIDENTS, SHARED_GLOBAL};

use crate::world::World;

/// A service of the tenant's that is open for UDP.
const PORT: u16 = 53;
/// Between two questions, whether answers have come or not: a slow relay gets as many.
const INTERVAL: Duration = Duration::from_millis(1);
const QUESTION_BYTES: usize = 64;
/// An answer that has not come by then counts as lost.
const LATE: Duration = Duration::from_millis(200);

/// What the questions found, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoundTrips {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Share without an answer.
    pub(crate) lost: f64,
}

/// Asks for `time`.
///
/// # Panics
/// When not a single answer comes.
pub(crate) fn ask(world: &World, time: Duration) -> RoundTrips {
    let server = bind(world, true);
    let office = bind(world, false);
    office.connect((SHARED_GLOBAL, PORT)).expect("connect a UDP socket");
    let over = AtomicBool::new(false);
    let start = Instant::now();
    let (asked, mut times) = thread::scope(|scope| {
        scope.spawn(|| echo(&server, &over));
        let answers = scope.spawn(|| collect(&office, start, time + LATE));
        let asked = question(&office, start, time);
        let times = answers.join().expect("the collector's thread");
        over.store(true, Ordering::Relaxed);
        (asked, times)
    });
    assert!(!times.is_empty(), "no answer came through {}", world.name);
    times.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let lost = 1.0 - times.len() as f64 / f64::from(asked);
    RoundTrips { p50: percentile(&times, 50), p99: percentile(&times, 99), lost: lost.max(0.0) }
}

fn bind(world: &World, cloud: bool) -> UdpSocket {
    let (namespace, address): (_, SocketAddr) =
        if cloud { (&world.cloud, (RESIDENTS, PORT).into()) } else { (&world.office, (world.host(), 0).into()) };
    let socket = in_namespace(namespace, || UdpSocket::bind(address)).unwrap_or_else(|error| panic!("{error}"));
    let socket = socket.unwrap_or_else(|error| panic!("bind UDP {address}: {error}"));
    socket.set_read_timeout(Some(LATE / 4)).expect("set a timeout");
    socket
}

/// Each question carries when it was asked, in nanoseconds since the start.
fn question(office: &UdpSocket, start: Instant, time: Duration) -> u32 {
    let mut asked = 0;
    while start.elapsed() < time {
        let mut question = [0; QUESTION_BYTES];
        question[..8].copy_from_slice(&nanoseconds(start).to_be_bytes());
        let _ = office.send(&question);
        asked += 1;
        thread::sleep((INTERVAL * asked).saturating_sub(start.elapsed()));
    }
    asked
}

fn collect(office: &UdpSocket, start: Instant, time: Duration) -> Vec<u64> {
    let (mut answer, mut times) = ([0; 2048], Vec::new());
    while start.elapsed() < time {
        if office.recv(&mut answer).is_ok_and(|length| length == QUESTION_BYTES) {
            let asked = u64::from_be_bytes(answer[..8].try_into().expect("eight bytes"));
            times.push(nanoseconds(start).saturating_sub(asked));
        }
    }
    times
}

fn echo(server: &UdpSocket, over: &AtomicBool) {
    let mut question = [0; 2048];
    while !over.load(Ordering::Relaxed) {
        if let Ok((length, from)) = server.recv_from(&mut question) {
            let _ = server.send_to(&question[..length], from);
        }
    }
}

fn nanoseconds(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).expect("less than centuries")
}

/// Of sorted times in nanoseconds: the smallest that so many percent do not exceed, in microseconds.
fn percentile(sorted: &[u64], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).clamp(1, sorted.len());
    #[expect(clippy::cast_precision_loss, reason = "less than a second")]
    let nanoseconds = sorted[at - 1] as f64;
    nanoseconds / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times: Vec<u64> = (1..=200).map(|n| n * 1_000).collect();
        assert_eq!((percentile(&times, 50), percentile(&times, 99)), (100.0, 198.0));
        assert_eq!((percentile(&times[..1], 50), percentile(&times[..1], 99)), (1.0, 1.0));
    }
}
