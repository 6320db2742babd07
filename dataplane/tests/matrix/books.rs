//! All counters of one place as one row of numbers, so that two states of it are compared at once.

use dataplane::counters::{DropCounters, PortShare, Traffic, WorkerCounters};
use dataplane::drop_reason::DropReason;
use dataplane::router_config::TenantEntry;

/// What is counted beside lost packets, at a tenant, a port or the worker. Behind lines of traffic stand those of its bytes.
#[allow(dead_code, reason = "lines of bytes are reached from the line before them")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Line {
    Received,
    ReceivedBytes,
    Transmitted,
    TransmittedBytes,
    OfficeToCloud,
    OfficeToCloudBytes,
    CloudToOffice,
    CloudToOfficeBytes,
    SessionsOpened,
    Sessions,
    Mappings,
    Queued,
    IcmpErrorsSent,
    Handshakes,
    Roams,
    SaInstalls,
    IkePunted,
    Generated,
    Dropped,
    Absorbed,
    Held,
    HandedOver,
    TakenOver,
}

const LINES: usize = Line::TakenOver as usize + 1;

/// The counters of a tenant, a port or the worker; those that it does not have are zero.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Page {
    lines: [u64; LINES],
    lost: [u64; DropReason::COUNT],
}

impl Page {
    const BLANK: Self = Self { lines: [0; LINES], lost: [0; DropReason::COUNT] };

    pub(crate) fn of_tenant(tenant: &TenantEntry) -> Self {
        let (counters, tunnel) = (&tenant.counters, &tenant.tunnel_counters[0]);
        let mut page = Self::BLANK;
        page.traffic(Line::Received, &tunnel.received);
        page.traffic(Line::Transmitted, &tunnel.transmitted);
        page.traffic(Line::OfficeToCloud, &counters.office_to_cloud);
        page.traffic(Line::CloudToOffice, &counters.cloud_to_office);
        page.add(Line::SessionsOpened, counters.sessions_opened.get());
        page.add(Line::Sessions, counters.sessions.get());
        page.add(Line::Mappings, counters.mappings.get());
        page.add(Line::Queued, counters.queued.get());
        page.add(Line::IcmpErrorsSent, counters.icmp_errors_sent.get());
        page.add(Line::Handshakes, tunnel.handshakes.get());
        page.add(Line::Roams, tunnel.roams.get());
        page.add(Line::SaInstalls, tunnel.sa_installs.get());
        page.losses(&counters.drops);
        page
    }

    pub(crate) fn of_port(port: &PortShare) -> Self {
        let mut page = Self::BLANK;
        page.traffic(Line::Received, &port.received);
        page.traffic(Line::Transmitted, &port.transmitted);
        page.add(Line::IkePunted, port.ike_punted.get());
        page.losses(&port.drops);
        page
    }

    pub(crate) fn of_worker(worker: &WorkerCounters) -> Self {
        let mut page = Self::BLANK;
        page.add(Line::Received, worker.received.get());
        page.add(Line::Transmitted, worker.transmitted.get());
        page.add(Line::Generated, worker.generated.get());
        page.add(Line::Dropped, worker.dropped.get());
        page.add(Line::Absorbed, worker.absorbed.get());
        page.add(Line::Held, worker.held.get());
        page.add(Line::HandedOver, worker.handed_over.get());
        page.add(Line::TakenOver, worker.taken_over.get());
        page
    }

    pub(crate) fn add(&mut self, line: Line, by: u64) {
        self.lines[line as usize] += by;
    }

    /// One packet of `bytes`; the line of the bytes stands behind that of the packets.
    pub(crate) fn packet(&mut self, line: Line, bytes: usize) {
        self.lines[line as usize] += 1;
        self.lines[line as usize + 1] += bytes as u64;
    }

    pub(crate) fn get(&self, line: Line) -> u64 {
        self.lines[line as usize]
    }

    pub(crate) fn lost(&mut self, reason: DropReason) {
        self.lost[reason as usize] += 1;
    }

    /// Packets lost here.
    pub(crate) fn losses_of_all(&self) -> u64 {
        self.lost.iter().sum()
    }

    /// Where `self` is not as `expected`, in words.
    pub(crate) fn differences(&self, expected: &Self) -> String {
        let lines = self.lines.iter().zip(&expected.lines).enumerate().map(|(line, counts)| (format!("line {line}"), counts));
        let lost = DropReason::ALL.iter().map(|reason| reason.label().to_owned()).zip(self.lost.iter().zip(&expected.lost));
        let differ = lines.chain(lost).filter(|(_, (got, wanted))| got != wanted);
        differ.map(|(name, (got, wanted))| format!("{name}: expected {wanted}, got {got}")).collect::<Vec<_>>().join(", ")
    }

    fn traffic(&mut self, line: Line, traffic: &Traffic) {
        self.lines[line as usize] = traffic.packets.get();
        self.lines[line as usize + 1] = traffic.bytes.get();
    }

    fn losses(&mut self, drops: &DropCounters) {
        for (line, reason) in self.lost.iter_mut().zip(DropReason::ALL) {
            *line = drops.get(*reason);
        }
    }
}
