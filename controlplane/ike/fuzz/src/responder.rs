//! The whole engine against one who has the key of one tenant and wants another's: it sends octets of every kind, from garbage to proper
//! exchanges with anything inside, replays what it saw, and time passes. Diffie-Hellman is a fake.
//!
//! Whatever happens: nothing panics, nothing is done to the other tenant, and nobody gets more than its own prefixes.

pub(crate) mod relay;
pub(crate) mod session;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use ike::{InstallRefused, LocalPort};

use crate::Input;
use relay::{Relay, VICTIM};
use session::Session;

/// Operations of one input.
const MAX_OPERATIONS: usize = 40;

/// One octet for each operation, then what it needs.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let mut relay = Relay::with_victim();
    let mut session: Option<Session> = None;
    for _ in 0..MAX_OPERATIONS {
        if input.is_empty() {
            break;
        }
        operate(&mut relay, &mut session, &mut input);
        relay.carry_out();
    }
    relay.settle();
    relay.victim_stands();
    assert_eq!(VICTIM.tenant, "office-2");
}

fn operate(relay: &mut Relay, session: &mut Option<Session>, input: &mut Input<'_>) {
    let from = address(input.u8());
    match input.u8() % 16 {
        0 => relay.datagram(from, input.short()),
        1..=3 => *session = Session::begin(relay, from, input),
        4..=6 => with(session, |session| session.authenticate(relay, from, input)),
        7..=9 => with(session, |session| session.exchange(relay, from, input)),
        10 => with(session, |session| session.create_child(relay, from, input)),
        11 => with(session, |session| session.answer(relay, from, input)),
        12 => relay.replay(from, usize::from(input.u8()), input.u16(), input.u8()),
        13 => relay.pass(Duration::from_millis(u64::from(input.u16()))),
        14 => relay.worker_says(input),
        _ => {
            let outcomes = [Ok(()), Err(InstallRefused::SpiTaken), Err(InstallRefused::TooManyPairs), Err(InstallRefused::Busy)];
            relay.install_outcome = outcomes[usize::from(input.u8() % 4)];
            relay.hold_back = input.u8() & 1 == 1;
        }
    }
}

fn with(session: &mut Option<Session>, work: impl FnOnce(&mut Session)) {
    if let Some(session) = session {
        work(session);
    }
}

/// A few sources: among them the victim's and the one that is configured.
fn address(choice: u8) -> (LocalPort, SocketAddrV4) {
    let (local, port) = if choice & 0x80 == 0 { (LocalPort::P500, 500) } else { (LocalPort::P4500, 4500) };
    let port = if choice & 0x40 == 0 { port } else { 61_000 };
    (local, SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 11 + choice % 4), port))
}
