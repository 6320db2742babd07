//! A network namespace of one's own, veth pairs, and a driver at the far end of each.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use dataplane::nic::{BATCH, Driver, NicError, OpenPort, PortSpec, Received, open_ports};
use dataplane::packet::{FramePool, Packet};

const INSIDE: &str = "CHUKEI_NIC_TEST_INSIDE";

/// Run `body` in a network namespace of its own; in a user namespace, too, unless the test needs the machine's root.
pub(crate) fn in_own_network(test: &str, needs_root: bool, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        sh("ip link set lo up");
        body();
        let _ = std::fs::remove_dir_all(state_directory());
        return;
    }
    if needs_root && output("id -u").trim() != "0" {
        eprintln!("{test} needs root: skipped");
        return;
    }
    let user = if needs_root { &["--net"][..] } else { &["--net", "--user", "--map-root-user"] };
    let program = std::env::current_exe().expect("this test");
    let status = Command::new("unshare").args(user).arg("--").arg(program).args([test, "--exact", "--nocapture"]).env(INSIDE, "1").status();
    let status = status.expect("unshare of util-linux; an ordinary user needs `sysctl user.max_user_namespaces` above 0");
    assert!(status.success(), "{test} failed in its namespace");
}

/// Run a shell command that must succeed.
pub(crate) fn sh(command: &str) {
    output(command);
}

/// What a shell command that must succeed prints.
pub(crate) fn output(command: &str) -> String {
    let output = Command::new("sh").args(["-ec", command]).output().expect("a shell");
    assert!(output.status.success(), "`{command}`: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A veth pair, both ends up, without IPv6 on the far end, so that only the test speaks there.
pub(crate) fn veth(near: &str, far: &str) {
    sh(&format!(
        "ip link add {near} type veth peer name {far}; sysctl -qw net.ipv6.conf.{far}.disable_ipv6=1; ip link set {far} up arp off"
    ));
}

/// Wait until the kernel has noticed that this interface's cable is up: until then it throws away what is sent there.
pub(crate) fn wait_for_cable(interface: &str) {
    sh(&format!("timeout 5 sh -c 'until ip link show {interface} | grep -q \"state UP\"; do sleep 0.01; done'"));
}

/// A state directory of this process.
pub(crate) fn state_directory() -> PathBuf {
    std::env::temp_dir().join(format!("chukei-nic-test-{}", std::process::id()))
}

/// Open one port.
pub(crate) fn open(interface: &str, driver: Driver, pool: &mut FramePool) -> Result<OpenPort, NicError> {
    let spec = PortSpec { name: format!("port-{interface}"), interface: interface.into(), mtu: 1500, driver };
    open_ports(&[spec], &state_directory(), std::slice::from_mut(pool)).map(|mut ports| ports.remove(0))
}

/// A port and the pool it works on, as a worker has them.
pub(crate) struct Station {
    pub(crate) port: OpenPort,
    pub(crate) pool: FramePool,
    pub(crate) lost: Received,
}

impl Station {
    pub(crate) fn new(interface: &str, driver: Driver) -> Self {
        let mut pool = FramePool::new(4096).expect("frames");
        let port = open(interface, driver, &mut pool).expect("opens");
        Self { port, pool, lost: Received::default() }
    }

    /// Send frames; all must be taken.
    pub(crate) fn send(&mut self, frames: &[Vec<u8>]) {
        for frames in frames.chunks(BATCH) {
            let mut batch: Vec<Packet> =
                frames.iter().map(|frame| Packet::copied(self.pool.take().expect("free"), frame).expect("fits")).collect();
            for _ in 0..1000 {
                self.port.queues[0][0].transmit(&mut self.pool, &mut batch);
                if batch.is_empty() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(batch.is_empty(), "the kernel takes every frame in the end");
        }
    }

    /// Take what has arrived by now.
    pub(crate) fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut batch = Vec::with_capacity(BATCH);
        let received = self.port.queues[0][0].receive(&mut self.pool, &mut batch);
        self.lost.too_big += received.too_big;
        self.lost.no_frame += received.no_frame;
        self.lost.malformed += received.malformed;
        assert_eq!(received.packets, batch.len());
        let frames = batch.iter().map(|packet| packet.bytes().to_vec()).collect();
        batch.drain(..).for_each(|packet| self.pool.put(packet.into_frame()));
        frames
    }

    /// Take what arrives until there are `count` frames, or a second passes without one.
    pub(crate) fn receive_until(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut idle = 0;
        while frames.len() < count && idle < 200 {
            let more = self.receive();
            idle = if more.is_empty() { idle + 1 } else { 0 };
            if more.is_empty() {
                std::thread::sleep(Duration::from_millis(5));
            }
            frames.extend(more);
        }
        frames
    }

    /// Every frame is in the pool or in the driver.
    pub(crate) fn assert_no_frame_lost(&self) {
        assert_eq!(self.pool.free() + self.port.queues[0][0].held(), self.pool.total());
    }
}

/// An Ethernet frame of a private EtherType, which no kernel answers.
pub(crate) fn plain_frame(number: u32, length: usize) -> Vec<u8> {
    let mut frame = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 9], &[0x88, 0xb5], &number.to_be_bytes()].concat();
    frame.resize(length, 0xa5);
    frame
}

/// The same frame with these tags (TPID, TCI) behind the MAC addresses.
pub(crate) fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let tags: Vec<u8> = tags.iter().flat_map(|(tpid, tci)| [tpid.to_be_bytes(), tci.to_be_bytes()].concat()).collect();
    [&frame[..12], &tags, &frame[12..]].concat()
}
