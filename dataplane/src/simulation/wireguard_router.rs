//! The municipality's end of a WireGuard tunnel: boringtun, which the relay has nothing of, driven the way its own programs do.

use boringtun::noise::{Tunn, TunnResult};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::router_config::SecretKey;
use crate::time::Duration;

/// How often a router may start again.
const SPARES: u32 = 2;
/// Longest datagram of a router.
const BUFFER: usize = 4_096;

/// A municipal router that speaks WireGuard.
pub(super) struct WireGuardRouter {
    key: [u8; 32],
    relay: [u8; 32],
    tunn: Tunn,
    /// Routers for [`Self::restart`]. Handshakes carry time stamps that the library takes from the machine's clock when a router is
    /// made and from the virtual one later: only routers made at the same moment agree about the time.
    spares: Vec<Tunn>,
    index: u32,
}

/// What became of a datagram.
pub(super) enum Received {
    /// An inner packet.
    Packet(Vec<u8>),
    /// These are to be sent.
    Answers(Vec<Vec<u8>>),
    Nothing,
    /// It could not be read, in words.
    Refused(String),
}

impl WireGuardRouter {
    pub(super) fn new(key: &SecretKey, relay: [u8; 32], index: u32) -> Self {
        let mut spares: Vec<Tunn> = (0u32..=SPARES).map(|number| tunn(key.0, relay, index + 0x100 * number)).collect();
        let tunn = spares.remove(0);
        Self { key: key.0, relay, tunn, spares, index }
    }

    pub(super) fn restart(&mut self) {
        self.tunn = self.spares.pop().expect("a router starts again twice at most; raise SPARES");
    }

    pub(super) fn trust(&mut self, relay: [u8; 32]) {
        self.relay = relay;
        self.index += 0x1000;
        self.tunn = tunn(self.key, self.relay, self.index);
        self.spares.clear();
    }

    pub(super) fn public_key(&self) -> [u8; 32] {
        PublicKey::from(&StaticSecret::from(self.key)).to_bytes()
    }

    /// The datagram around an inner packet; without a session a handshake initiation, or nothing while one is under way.
    pub(super) fn seal(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![0; BUFFER];
        match self.tunn.encapsulate(packet, &mut out) {
            TunnResult::WriteToNetwork(datagram) => Some(datagram.to_vec()),
            TunnResult::Done => None,
            other => panic!("the router does not encrypt: {other:?}"),
        }
    }

    pub(super) fn initiation(&mut self) -> Vec<u8> {
        let mut out = vec![0; BUFFER];
        match self.tunn.format_handshake_initiation(&mut out, true) {
            TunnResult::WriteToNetwork(datagram) => datagram.to_vec(),
            other => panic!("no initiation: {other:?}"),
        }
    }

    pub(super) fn receive(&mut self, datagram: &[u8]) -> Received {
        let mut out = vec![0; BUFFER];
        match self.tunn.decapsulate(None, datagram, &mut out) {
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => Received::Packet(packet.to_vec()),
            TunnResult::WriteToNetwork(answer) => {
                let mut answers = vec![answer.to_vec()];
                self.send_what_waited(&mut answers);
                Received::Answers(answers)
            }
            TunnResult::Done => Received::Nothing,
            TunnResult::Err(error) => Received::Refused(format!("{error:?}")),
        }
    }

    fn send_what_waited(&mut self, answers: &mut Vec<Vec<u8>>) {
        let mut out = vec![0; BUFFER];
        while let TunnResult::WriteToNetwork(datagram) = self.tunn.decapsulate(None, &[], &mut out) {
            answers.push(datagram.to_vec());
        }
    }

    pub(super) fn tick(&mut self) -> Option<Vec<u8>> {
        let mut out = vec![0; BUFFER];
        match self.tunn.update_timers(&mut out) {
            TunnResult::WriteToNetwork(datagram) => Some(datagram.to_vec()),
            _ => None,
        }
    }
}

/// Move the clock that WireGuard routers of this thread read, in step with the world's.
pub fn advance_clock(by: Duration) {
    mock_instant::MockClock::advance(by);
}

fn tunn(key: [u8; 32], relay: [u8; 32], index: u32) -> Tunn {
    Tunn::new(StaticSecret::from(key), PublicKey::from(relay), None, None, index, None)
}
