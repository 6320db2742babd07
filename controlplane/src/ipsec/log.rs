//! What the log says of negotiations. Anybody can make an unauthenticated one fail, so those lines are bounded.

use ike::{Instant, PeerName, Report};

/// Lines a second about failures, of strangers and of those who claim an identity each.
const LINES_PER_SECOND: u32 = 10;

/// Writes reports, and counts what it leaves out.
#[derive(Default)]
pub(super) struct ReportLog {
    strangers: Budget,
    /// Whoever knows a tenant's identity can claim it: a failure proves nothing about who caused it.
    claimed: Budget,
}

/// Lines that may still be written in this second.
#[derive(Default)]
struct Budget {
    second: u64,
    lines: u32,
    left_out: u64,
}

impl ReportLog {
    /// One line, or none.
    pub(super) fn write(&mut self, report: &Report, now: Instant) {
        match report {
            Report::IkeEstablished { peer, address, suite, initiator, rekey } => {
                let PeerName { tenant, tunnel } = peer;
                tracing::info!(target: "audit", %tenant, %tunnel, %address, suite, initiator, rekey, "the router has proven who it is");
            }
            Report::IkeClosed { peer: PeerName { tenant, tunnel }, why } => tracing::info!(%tenant, %tunnel, ?why, "the IKE SA is closed"),
            Report::ChildEstablished { peer: PeerName { tenant, tunnel }, inbound_spi, outbound_spi, suite, rekey } => {
                let (inbound_spi, outbound_spi) = (format!("{inbound_spi:08x}"), format!("{outbound_spi:08x}"));
                tracing::info!(%tenant, %tunnel, inbound_spi, outbound_spi, suite, rekey, "an SA pair carries traffic");
            }
            Report::ChildClosed { peer: PeerName { tenant, tunnel }, inbound_spi } => {
                tracing::debug!(%tenant, %tunnel, inbound_spi = format!("{inbound_spi:08x}"), "an SA pair is closed");
            }
            Report::PeerMoved { peer: PeerName { tenant, tunnel }, to } => tracing::info!(%tenant, %tunnel, %to, "the router has moved"),
            Report::Failed { peer: Some(PeerName { tenant, tunnel }), proven, address, failure, detail, remedy } => {
                if let Some(left_out) = self.claimed.take(now) {
                    tracing::warn!(%tenant, %tunnel, proven, %address, detail, remedy, left_out, "{}", failure.words());
                }
            }
            Report::Failed { peer: None, proven: _, address, failure, detail, remedy } => {
                if let Some(left_out) = self.strangers.take(now) {
                    tracing::info!(%address, detail, remedy, left_out, "{}", failure.words());
                }
            }
        }
    }
}

impl Budget {
    /// `Some`: one more line may be written, and so many before it were left out.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let second = now.as_nanos() / 1_000_000_000;
        if second != self.second {
            (self.second, self.lines) = (second, 0);
        }
        if self.lines == LINES_PER_SECOND {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_writes_ten_lines_a_second_and_counts_the_rest() {
        let mut budget = Budget::default();
        let lines = (0..1_000_000).filter(|_| budget.take(Instant::from_secs(7)).is_some()).count();
        assert_eq!(lines, 10);
        assert_eq!(budget.take(Instant::from_secs(8)), Some(999_990));
        assert_eq!(budget.take(Instant::from_secs(8)), Some(0));
    }

    #[test]
    fn who_claims_an_identity_takes_no_line_from_strangers_and_floods_no_log() {
        let (mut log, now) = (ReportLog::default(), Instant::from_secs(7));
        let peer = PeerName { tenant: "131016-chiyoda".into(), tunnel: "main".into() };
        let address = "192.0.2.11:500".parse().expect("an address");
        let failed = |peer| {
            let (failure, detail, remedy) = (ike::Failure::AuthenticationFailed, String::new(), String::new());
            Report::Failed { peer, proven: false, address, failure, detail, remedy }
        };
        (0..1_000).for_each(|_| log.write(&failed(Some(peer.clone())), now));
        assert_eq!((log.claimed.left_out, log.strangers.lines), (990, 0));
        log.write(&failed(None), now);
        assert_eq!((log.strangers.lines, log.strangers.left_out), (1, 0));
    }
}
