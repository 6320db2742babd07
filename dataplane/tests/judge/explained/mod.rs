//! What the relay does otherwise than the kernel's NAT, step by step. `tests/conformance.rs` reads this list, too.

mod icmp_and_odd;
mod tcp;
mod udp;

/// One step of the trace with two outcomes.
pub(crate) struct Explained {
    /// The row of CONFORMANCE.md that says why.
    pub(crate) row: &'static str,
    /// The step of the trace.
    pub(crate) step: &'static str,
    /// What came out of the kernel.
    pub(crate) kernel: &'static [&'static str],
    /// What came out of the relay.
    pub(crate) ours: &'static [&'static str],
}

/// All of them.
pub(crate) fn explained() -> impl Iterator<Item = &'static Explained> {
    [udp::STEPS, tcp::STEPS, icmp_and_odd::STEPS].into_iter().flatten()
}
