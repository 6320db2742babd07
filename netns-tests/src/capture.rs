//! What really was on a cable: tcpdump's file, read by tshark for checksums and by our own eyes for the rest.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use controlplane::demo::Namespace;
use controlplane::demo::vlan::{VlanTag, pop_tag};
use nix::sys::signal::Signal;

use crate::canary;
use crate::process::{Running, finish, text_of, wait_until};

/// A capture that runs.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Running,
    file: PathBuf,
}

impl Capture {
    /// Captures whole frames on `interface` from now on.
    #[must_use]
    pub fn start(namespace: &Namespace, directory: &Path, interface: &str) -> Self {
        let (name, file) = (format!("tcpdump-{interface}"), directory.join(format!("{interface}.pcap")));
        let path = file.to_str().expect("a path of text");
        // 64 MiB of buffer: a capture that loses frames proves nothing.
        let arguments = ["-Z", "root", "-i", interface, "-s", "0", "-B", "65536", "--immediate-mode", "-U", "-w", path];
        let tcpdump = Running::start(namespace, directory, &name, "tcpdump", &arguments);
        wait_until("tcpdump listens", Duration::from_secs(10), || tcpdump.log().contains("listening on"));
        Self { tcpdump, file }
    }

    /// Ends the capture; fails the test when frames were lost.
    #[must_use]
    pub fn stop(mut self) -> Captured {
        // tcpdump leaves behind what it has not fetched yet when the signal comes.
        std::thread::sleep(Duration::from_millis(300));
        self.tcpdump.signal(Signal::SIGINT);
        self.tcpdump.wait(Duration::from_secs(10));
        let log = self.tcpdump.log();
        assert!(log.contains("\n0 packets dropped by kernel"), "the capture is incomplete: {log}");
        Captured { frames: read_pcap(&fs::read(&self.file).expect("read the capture")), file: self.file.clone() }
    }
}

/// A finished capture.
#[derive(Debug)]
pub struct Captured {
    /// All frames, tags included.
    pub frames: Vec<Vec<u8>>,
    file: PathBuf,
}

impl Captured {
    /// The frames of one circuit, without their tags.
    #[must_use]
    pub fn on_circuit(&self, tag: VlanTag) -> Vec<Vec<u8>> {
        self.untagged().into_iter().filter(|(found, _)| *found == Some(tag)).map(|(_, frame)| frame).collect()
    }

    /// All circuits that carried anything; `None` stands for untagged frames.
    #[must_use]
    pub fn circuits(&self) -> BTreeSet<Option<VlanTag>> {
        self.untagged().into_iter().map(|(tag, _)| tag).collect()
    }

    fn untagged(&self) -> Vec<(Option<VlanTag>, Vec<u8>)> {
        let pop = |frame: &Vec<u8>| {
            let mut plain = Vec::new();
            let tag = pop_tag(frame, &mut plain).expect("a whole frame");
            (tag, plain)
        };
        self.frames.iter().map(pop).collect()
    }

    /// Has tshark compute every IP, TCP, UDP and ICMP checksum, and fails the test on the first wrong one.
    pub fn assert_checksums(&self) {
        let fields = ["ip", "tcp", "udp", "icmp"].map(|protocol| format!("{protocol}.checksum.status"));
        let arguments: Vec<&str> = fields.iter().flat_map(|field| ["-e", field]).collect();
        let report = self.tshark(&[&["-T", "fields"], arguments.as_slice()].concat());
        let status = |line: &str, which: &str| line.split(['\t', ',']).any(|status| status == which);
        let bad: Vec<usize> = report.lines().enumerate().filter(|(_, line)| status(line, "0")).map(|(at, _)| at + 1).collect();
        assert!(bad.is_empty(), "frames with a wrong checksum in {}: {bad:?}", self.file.display());
        assert!(report.lines().any(|line| status(line, "1")), "tshark has verified no checksum at all in {}", self.file.display());
    }

    /// What tshark prints for the capture with these arguments; checksums are computed.
    pub fn tshark(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("timeout");
        command.args(["120", "tshark", "-n", "-r"]).arg(&self.file);
        for protocol in ["ip", "tcp", "udp"] {
            command.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
        }
        command.args(arguments);
        text_of(&finish(command), "tshark")
    }
}

/// All canaries in these frames.
#[must_use]
pub fn canaries<'a>(frames: impl IntoIterator<Item = &'a Vec<u8>>) -> BTreeSet<String> {
    frames.into_iter().flat_map(|frame| canary::found_in(frame)).collect()
}

/// The frames of a pcap file in this machine's byte order (pcap-savefile(5)).
fn read_pcap(file: &[u8]) -> Vec<Vec<u8>> {
    const FILE_HEADER: usize = 24;
    const RECORD_HEADER: usize = 16;
    let mut frames = Vec::new();
    let mut rest = file.get(FILE_HEADER..).expect("a pcap file");
    while let Some((header, behind)) = rest.split_at_checked(RECORD_HEADER) {
        let length = u32::from_ne_bytes(header[8..12].try_into().expect("four bytes")) as usize;
        let Some((frame, next)) = behind.split_at_checked(length) else { break };
        frames.push(frame.to_vec());
        rest = next;
    }
    frames
}
