//! `chukei doctor`: is this machine fit for the relay, and what to change.
//!
//! Facts are read in one place ([`machine`], [`dataplane::nic::inspect`]) and judged in another ([`judge_machine`], [`judge_interface`]), which
//! asks nobody anything: every verdict can be tested without the machine that earns it.

pub mod judge_interface;
pub mod judge_machine;
pub mod machine;
mod request;
#[cfg(test)]
mod tests;

use dataplane::nic::inspect::{self, AfXdpProbe, InterfaceFacts};
use dataplane::nic::{Driver, NicError};
use serde::Serialize;

use machine::MachineFacts;
pub use request::{Needs, Request, WantedPort};

/// How good a finding is, from best to worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing to do.
    Ok,
    /// This process may not look, or the kernel cannot be asked.
    Unseen,
    /// The relay runs, but slower or with less than it could.
    Warning,
    /// The relay does not start, or loses packets.
    Problem,
}

impl Verdict {
    /// As tables spell it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unseen => "unseen",
            Self::Warning => "warning",
            Self::Problem => "PROBLEM",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// `machine`, or the interface.
    pub subject: String,
    /// What was looked at: `queues`, `memlock`.
    pub about: &'static str,
    /// How good it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What that means and what to do, in a sentence; empty where there is nothing to say.
    pub advice: String,
    /// The command that does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl Finding {
    fn new(subject: &str, about: &'static str, verdict: Verdict, found: impl Into<String>) -> Self {
        Self { subject: subject.into(), about, verdict, found: found.into(), advice: String::new(), command: None }
    }

    fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }
}

/// Whether AF_XDP was tried out on an interface.
#[derive(Debug)]
pub enum Probe {
    /// It was not, for this reason.
    NotTried(&'static str),
    /// It was: the mode it got, or why it does not work.
    Tried(Result<AfXdpProbe, String>),
    /// This process may not try.
    Forbidden,
}

/// Which driver an interface gets with `driver: auto`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Choice {
    /// `af_xdp` or `af_packet`.
    pub driver: &'static str,
    /// Why, in a sentence.
    pub reason: String,
}

/// What became of one interface.
#[derive(Debug)]
pub struct Examined {
    /// What the kernel told.
    pub facts: InterfaceFacts,
    /// The driver it would get; `None` for one that the relay leaves alone.
    pub choice: Option<Choice>,
}

/// Everything that was found.
#[derive(Debug)]
pub struct Report {
    /// The machine.
    pub machine: MachineFacts,
    /// The interfaces that exist, in the order of the request.
    pub interfaces: Vec<Examined>,
    /// All verdicts: first the machine's, then each interface's.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many findings have this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }
}

/// Look at the machine and at what the request names.
#[must_use]
pub fn examine(request: Request) -> Report {
    let machine = MachineFacts::read();
    let mut findings = request.findings;
    findings.extend(judge_machine::judge(&machine, &request.needs));
    let mut interfaces = Vec::new();
    for wanted in &request.ports {
        match inspect::interface(&wanted.interface) {
            Ok(facts) => {
                let probe = probe(&facts, wanted);
                findings.extend(judge_interface::judge(&facts, wanted, &probe));
                let choice = wanted.as_port.then(|| judge_interface::choose(&facts, &probe, &machine));
                findings.extend(wanted.as_port.then(|| judge_interface::driver_finding(&facts, wanted, &probe, &machine)));
                interfaces.push(Examined { facts, choice });
            }
            Err(error) => findings.push(missing(&wanted.interface, &error)),
        }
    }
    Report { machine, interfaces, findings }
}

fn missing(interface: &str, error: &NicError) -> Finding {
    Finding::new(interface, "interface", Verdict::Problem, "cannot be a port").advice(error.to_string())
}

/// AF_XDP is tried only where nobody could notice: an interface named for it, free, and idle.
fn probe(facts: &InterfaceFacts, wanted: &WantedPort) -> Probe {
    if !wanted.as_port {
        return Probe::NotTried("not named as a port");
    }
    if wanted.driver == Driver::AfPacket {
        return Probe::NotTried("the configuration asks for AF_PACKET");
    }
    if let Some(reason) = judge_interface::why_not_to_touch(facts) {
        return Probe::NotTried(reason);
    }
    match inspect::probe_af_xdp(&facts.name) {
        Ok(probe) => Probe::Tried(Ok(probe)),
        Err(NicError::Io { source, .. }) if matches!(source.raw_os_error(), Some(libc::EPERM | libc::EACCES)) => Probe::Forbidden,
        Err(NicError::Io { source, .. }) => Probe::Tried(Err(source.to_string())),
        Err(error) => Probe::Tried(Err(error.to_string())),
    }
}
