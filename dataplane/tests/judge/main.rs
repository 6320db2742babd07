//! The kernel's NAT as a judge: one trace of packets goes through nftables and conntrack in a namespace, and through the relay, both
//! with the same rules. What becomes of each step is compared word by word; every difference stands in [`explained`], and in the
//! section "Beside the kernel's NAT" of CONFORMANCE.md with its reason. One that is not there fails the test, and so does one that is
//! there and does not happen.
#![cfg(feature = "simulation")]

mod explained;
mod kernel;
mod ours;
#[path = "../nic/support.rs"]
#[expect(dead_code, reason = "the drivers' tests use the rest")]
mod support;
mod trace;
mod witness;
mod words;

use std::collections::BTreeMap;

use explained::{Explained, explained};
use kernel::Kernel;
use ours::Ours;
use witness::{Nat, Step, Witness};

/// Whatever is random in the trace and in the relay.
const SEED: u64 = 4_787;

/// Play the trace to a NAT. Every host had one address of the pool, whatever it did (RFC 4787 REQ-2): nobody needs to be told apart.
fn played(nat: &mut dyn Nat) -> Vec<Step> {
    let mut witness = Witness::new(nat);
    trace::play(&mut witness, SEED);
    let unpaired: Vec<_> = witness.names.addresses().into_iter().filter(|(_, addresses)| addresses.len() != 1).collect();
    assert!(unpaired.is_empty(), "hosts with several addresses: {unpaired:?}");
    witness.steps
}

/// A difference as it would stand in `explained.rs`.
fn literal(row: &str, step: &str, kernel: &[String], ours: &[String]) -> String {
    format!("Explained {{\n    row: {row:?},\n    step: {step:?},\n    kernel: &{kernel:?},\n    ours: &{ours:?},\n}},")
}

fn unexplained(kernel: &[Step], ours: &[Step]) -> Vec<String> {
    let mut explained: BTreeMap<&str, &Explained> = explained().map(|this| (this.step, this)).collect();
    let mut wrong = Vec::new();
    for (kernel, ours) in kernel.iter().zip(ours) {
        assert_eq!(kernel.name, ours.name, "both were sent the same");
        let expected = explained.remove(&*ours.name);
        let as_expected = match expected {
            Some(this) => kernel.outcome == this.kernel && ours.outcome == this.ours,
            None => kernel.outcome == ours.outcome,
        };
        if !as_expected {
            wrong.push(literal(expected.map_or("", |this| this.row), &ours.name, &kernel.outcome, &ours.outcome));
        }
    }
    wrong.extend(explained.keys().map(|step| format!("explained, but no step of the trace: {step}")));
    wrong
}

#[test]
fn what_the_relay_does_otherwise_than_the_kernels_nat_is_explained_one_by_one() {
    support::in_own_network("what_the_relay_does_otherwise_than_the_kernels_nat_is_explained_one_by_one", false, || {
        let mut relay = Ours::new(SEED);
        let ours = played(&mut relay);
        let kernel = played(&mut Kernel::new());
        let passed = ours.iter().filter(|step| !step.outcome.is_empty()).count();
        println!("{} steps, of which {passed} had an outcome; losses: {:?}", ours.len(), relay.losses());
        if std::env::var_os("CHUKEI_JUDGE_PRINT").is_some() {
            ours.iter()
                .zip(&kernel)
                .for_each(|(ours, kernel)| println!("{}\n  ours   {:?}\n  kernel {:?}", ours.name, ours.outcome, kernel.outcome));
        }
        assert!(ours.len() > 500 && passed > 300, "the trace is a trace");
        let wrong = unexplained(&kernel, &ours);
        assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
    });
}

#[test]
fn a_difference_that_is_not_explained_and_one_that_does_not_happen_are_noticed() {
    let step = |name: &str, outcome: &[&str]| Step { name: name.into(), outcome: outcome.iter().map(|line| (*line).to_owned()).collect() };
    let of =
        |pick: fn(&Explained) -> &'static [&'static str]| -> Vec<Step> { explained().map(|this| step(this.step, pick(this))).collect() };
    let (mut kernel, mut ours) = (of(|this| this.kernel), of(|this| this.ours));
    assert_eq!(unexplained(&kernel, &ours), Vec::<String>::new());
    ours[0].outcome.clone_from(&kernel[0].outcome);
    assert_eq!(unexplained(&kernel, &ours).len(), 1, "it does not happen any more");
    kernel.push(step("new", &[]));
    ours.push(step("new", &["cloud: something"]));
    assert_eq!(unexplained(&kernel, &ours).len(), 2, "and another one does");
    assert_eq!(unexplained(&kernel[1..], &ours[1..]).len(), 2, "a step that is gone");
}
