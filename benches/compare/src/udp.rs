//! A stream of UDP datagrams at a given rate, through one NAT session.
//!
//! Our own, as iperf3's costs more than the relay for small datagrams and its threads cannot be told from its control connection. One
//! datagram a system call, never one super-datagram for many: the sender is an ordinary program.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use controlplane::demo::in_namespace;
use netns_tests::plan::{RESIDENTS, SHARED_GLOBAL};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use crate::search::Trial;
use crate::tcp::Direction;
use crate::world::World;

/// A service of the tenant's that is open for UDP; iperf3 uses its number with TCP only.
const PORT: u16 = 5201;
/// Room for a burst while the receiver's thread waits for a core.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;
/// As many datagrams at once as a tunnel's queue takes easily (it holds 500).
const BURST: u64 = 64;
/// Pause of a sender that is ahead.
const PAUSE: Duration = Duration::from_micros(100);
/// A datagram that has not come by then is lost.
const LATE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_millis(500);

/// Tells the datagrams of one stream from those of an earlier one.
static STREAMS: AtomicU64 = AtomicU64::new(1);

/// Both ends of a session, each connected to the other as it sees it.
pub(crate) struct Flow {
    office: UdpSocket,
    cloud: UdpSocket,
}

impl Flow {
    /// Opens a session from the office.
    ///
    /// # Panics
    /// When nothing comes through.
    pub(crate) fn open(world: &World) -> Self {
        let bind = |namespace, address: SocketAddr| {
            let socket = in_namespace(namespace, || UdpSocket::bind(address)).unwrap_or_else(|error| panic!("{error}"));
            socket.unwrap_or_else(|error| panic!("bind UDP {address}: {error}"))
        };
        let cloud = bind(&world.cloud, (RESIDENTS, PORT).into());
        let office = bind(&world.office, (world.host(), 0).into());
        office.connect((SHARED_GLOBAL, PORT)).expect("connect a UDP socket");
        for socket in [&office, &cloud] {
            set_socket_recv_buffer_size_force(socket, RECEIVE_BUFFER_BYTES).expect("set a receive buffer beyond the limit (needs root)");
            socket.set_read_timeout(Some(LATE)).expect("set a timeout");
        }
        let end = Instant::now() + 10 * PATIENCE;
        loop {
            office.send(b"hello").expect("send a datagram");
            if let Ok((_, sender)) = cloud.recv_from(&mut [0; 64]) {
                cloud.connect(sender).expect("connect a UDP socket");
                return Self { office, cloud };
            }
            assert!(Instant::now() < end, "no datagram comes through {}", world.name);
        }
    }

    /// Sends `size` bytes at a time for `time`, and counts what arrives.
    pub(crate) fn stream(&self, direction: Direction, size: usize, asked: f64, time: Duration) -> (Trial, u64) {
        let (from, to) = match direction {
            Direction::OfficeToCloud => (&self.office, &self.cloud),
            Direction::CloudToOffice => (&self.cloud, &self.office),
        };
        let (number, over) = (STREAMS.fetch_add(1, Ordering::Relaxed), AtomicBool::new(false));
        let (sent, seconds, received) = thread::scope(|scope| {
            let receiver = scope.spawn(|| receive(to, number, size, &over, time + 10 * LATE));
            let (sent, seconds) = send(from, number, size, asked, time);
            over.store(true, Ordering::Relaxed);
            (sent, seconds, receiver.join().expect("the receiver's thread"))
        });
        #[expect(clippy::cast_precision_loss, reason = "a few million datagrams")]
        let (sent, received_share) = (sent as f64, received as f64 / sent.max(1) as f64);
        (Trial { asked, sent: sent / seconds, loss: 1.0 - received_share.min(1.0) }, received)
    }
}

/// Sends until `time` is over; how many, and how long it took.
fn send(socket: &UdpSocket, number: u64, size: usize, rate: f64, time: Duration) -> (u64, f64) {
    let mut datagram = vec![0; size];
    datagram[..8].copy_from_slice(&number.to_be_bytes());
    let (start, mut sent) = (Instant::now(), 0);
    loop {
        let elapsed = start.elapsed();
        if elapsed >= time {
            return (sent, elapsed.as_secs_f64());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of a few million")]
        let due = (elapsed.as_secs_f64() * rate) as u64;
        if due <= sent {
            thread::sleep(PAUSE);
            continue;
        }
        let burst = (due - sent).min(BURST);
        for _ in 0..burst {
            // What the kernel refuses to take is lost like anything else.
            let _ = socket.send(&datagram);
        }
        sent += burst;
    }
}

/// Counts the stream's datagrams until none has come for a while after its end.
fn receive(socket: &UdpSocket, number: u64, size: usize, over: &AtomicBool, at_most: Duration) -> u64 {
    let (mut datagram, mut received, end) = ([0; 2048], 0, Instant::now() + at_most);
    loop {
        match socket.recv(&mut datagram) {
            Ok(length) => received += u64::from(length == size && datagram[..8] == number.to_be_bytes()),
            Err(_) if over.load(Ordering::Relaxed) => return received,
            Err(_) => {}
        }
        if Instant::now() > end {
            return received;
        }
    }
}
