//! The launcher's side: it opens what one relay asks for, until that seals itself, and puts everything back when the relay has ended.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use dataplane::nic::{Attachment, PacketSockets, TakenPort, XdpQueues, take_over};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{PidfdFlags, pidfd_open};

use super::message::{Answer, Channel, Request};

/// A relay that hangs up is ending, and its sockets go with it.
const END_TIMEOUT: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// What one relay has been given.
struct Session<'a> {
    ports: BTreeMap<String, Box<dyn TakenPort>>,
    /// The relay reads packets.
    sealed: bool,
    /// The launcher's own directory for what it changes.
    state: Option<&'a Path>,
}

/// Serve the relay at the other end until it has ended, then give its ports back. A message that is none ends the service, too.
///
/// # Errors
/// When it is not known who the relay is.
pub(super) fn serve(channel: &Channel, state: Option<&Path>) -> io::Result<()> {
    let relay = match pidfd_open(socket_peercred(channel)?.pid, PidfdFlags::empty()) {
        // It refused its configuration and is gone already; nothing has been opened.
        Err(Errno::SRCH) => return Ok(()),
        relay => relay?,
    };
    let mut session = Session { ports: BTreeMap::new(), sealed: false, state };
    loop {
        match channel.receive() {
            Ok(Some((request, descriptors))) => {
                let (answer, descriptors) = session.answer(request, &descriptors);
                let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
                // A relay that is gone hears nothing, and is noticed above.
                let _ = channel.send(&answer, &descriptors);
            }
            Ok(None) => break,
            Err(error) => {
                tracing::error!(%error, "the relay asks for what there is not");
                break;
            }
        }
    }
    // Its sockets are closed when it has ended, and not sooner: queues that are bound cannot be put back.
    let _ = rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&relay, PollFlags::IN)], Some(&END_TIMEOUT)));
    session.give_back();
    Ok(())
}

impl Session<'_> {
    fn answer(&mut self, request: Request, descriptors: &[OwnedFd]) -> (Answer, Vec<OwnedFd>) {
        match self.carry_out(request, descriptors) {
            Ok(answer) => answer,
            Err(refused) => (refused, Vec::new()),
        }
    }

    fn carry_out(&mut self, request: Request, descriptors: &[OwnedFd]) -> Result<(Answer, Vec<OwnedFd>), Answer> {
        if self.sealed && !matches!(request, Request::GiveBack { .. }) {
            return Err(refused("the relay reads packets already: it gets nothing more"));
        }
        let done = (Answer::Done, Vec::new());
        match request {
            Request::TakeOver { interface, mtu, state } => Ok((self.take_over(interface, mtu, &state)?, Vec::new())),
            Request::PrepareXdp { interface, workers } => {
                let XdpQueues { queues, attachment, reason } = self.port(&interface)?.prepare_xdp(workers)?;
                Ok((Answer::Queues { queues, native: attachment == Attachment::Native, reason }, Vec::new()))
            }
            Request::XdpSocket { interface } => {
                let socket = self.port(&interface)?.xdp_socket()?;
                Ok((Answer::Sockets { super_frames: false }, vec![socket]))
            }
            Request::Hook { interface, queue } => {
                let socket = descriptors.first().ok_or_else(|| refused("there is no socket with the request"))?;
                self.port(&interface)?.hook(queue, socket)?;
                Ok(done)
            }
            Request::PacketSockets { interface, count } => {
                let PacketSockets { sockets, super_frames } = self.port(&interface)?.packet_sockets(count)?;
                Ok((Answer::Sockets { super_frames }, sockets))
            }
            Request::GiveBack { interface } => {
                self.ports.remove(&interface).ok_or_else(|| not_taken(&interface))?.restore()?;
                Ok(done)
            }
            Request::Seal => {
                self.sealed = true;
                Ok(done)
            }
        }
    }

    fn take_over(&mut self, interface: String, mtu: u16, state: &Path) -> Result<Answer, Answer> {
        let taken = take_over(&interface, mtu, self.state.unwrap_or(state))?;
        let found = taken.interface();
        let answer = Answer::Taken { index: found.index, mac: found.mac, mtu: found.mtu, super_frames: taken.had_super_frames() };
        self.ports.insert(interface, taken);
        Ok(answer)
    }

    fn port(&mut self, interface: &str) -> Result<&mut dyn TakenPort, Answer> {
        match self.ports.get_mut(interface) {
            Some(port) => Ok(&mut **port),
            None => Err(not_taken(interface)),
        }
    }

    fn give_back(self) {
        if !self.ports.is_empty() {
            tracing::warn!(ports = ?self.ports.keys(), "the relay ended without giving its ports back");
        }
        for port in self.ports.into_values() {
            if let Err(error) = port.restore() {
                tracing::warn!("{error}; the next start tries again");
            }
        }
    }
}

fn refused(why: &str) -> Answer {
    Answer::Refused { why: why.to_owned(), number: None }
}

fn not_taken(interface: &str) -> Answer {
    refused(&format!("the relay has not taken `{interface}` over"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(channel: &Channel, request: &Request) -> Answer {
        channel.send(request, &[]).expect("sent");
        channel.receive().expect("received").expect("an answer").0
    }

    #[test]
    fn a_sealed_relay_gets_nothing_more_and_nobody_gets_what_was_not_taken() {
        let (relay, launcher) = Channel::pair().expect("a pair");
        let served = std::thread::spawn(move || {
            let mut session = Session { ports: BTreeMap::new(), sealed: false, state: None };
            while let Ok(Some((request, descriptors))) = launcher.receive() {
                launcher.send(&session.answer(request, &descriptors).0, &[]).expect("sent");
            }
        });
        let socket = Request::XdpSocket { interface: "ens4".into() };
        let Answer::Refused { why, .. } = ask(&relay, &socket) else { panic!("a socket of a port that was not taken") };
        assert!(why.contains("has not taken `ens4`"), "{why}");
        assert_eq!(ask(&relay, &Request::Seal), Answer::Done);
        let take = Request::TakeOver { interface: "lo".into(), mtu: 1500, state: "/nonexistent".into() };
        for request in [take, socket, Request::Seal] {
            let Answer::Refused { why, .. } = ask(&relay, &request) else { panic!("{request:?} after the seal") };
            assert!(why.contains("nothing more"), "{why}");
        }
        drop(relay);
        served.join().expect("ends with the relay");
    }
}
