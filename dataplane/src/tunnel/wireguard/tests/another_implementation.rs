//! Against boringtun, which shares no line with this one: in both roles, with and without a preshared key, under load and not.

use std::sync::Arc;

use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use x25519_dalek::{PublicKey, StaticSecret};

use super::*;

/// The relay's end, and a router of the other make.
struct Mixed {
    relay: End,
    router: Tunn,
    now: Instant,
}

impl Mixed {
    /// Handshakes a second that the router answers without a cookie.
    fn new(relay_psk: Option<[u8; 32]>, router_psk: Option<[u8; 32]>, router_limit: u64) -> Self {
        let (relay_key, router_key) = (generate().expect("a key"), generate().expect("a key"));
        let relay = end(&relay_key, &router_key, RELAY, Some(office_address()), relay_psk, None);
        let private = StaticSecret::from(router_key.0);
        let limiter = Arc::new(RateLimiter::new(&PublicKey::from(&private), router_limit));
        let router = Tunn::new(private, PublicKey::from(public_key(&relay_key)), router_psk, None, 7, Some(limiter));
        Self { relay, router, now: START + Duration::from_secs(1) }
    }

    /// Time passes for the relay, and for the router where its clock can be moved: two of its handshakes of one moment are one too many.
    fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
        #[cfg(feature = "simulation")]
        mock_instant::MockClock::advance(by);
    }

    fn routers_initiation(&mut self) -> Vec<u8> {
        let mut out = [0; 2_048];
        let TunnResult::WriteToNetwork(initiation) = self.router.format_handshake_initiation(&mut out, true) else {
            panic!("no initiation")
        };
        initiation.to_vec()
    }

    /// What the router sends when it gets this.
    fn routers_answer(&mut self, datagram: &[u8]) -> Vec<u8> {
        let mut out = [0; 2_048];
        match self.router.decapsulate(Some(relay_address().ip()), datagram, &mut out) {
            TunnResult::WriteToNetwork(answer) => answer.to_vec(),
            other => panic!("no answer: {other:?}"),
        }
    }

    fn router_receives(&mut self, datagram: &[u8]) -> Vec<u8> {
        let mut out = [0; 2_048];
        match self.router.decapsulate(Some(relay_address().ip()), datagram, &mut out) {
            TunnResult::WriteToTunnelV4(packet, _) => packet.to_vec(),
            other => panic!("no packet: {other:?}"),
        }
    }

    fn router_sends(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut out = [0; 2_048];
        match self.router.encapsulate(packet, &mut out) {
            TunnResult::WriteToNetwork(datagram) => datagram.to_vec(),
            other => panic!("no datagram: {other:?}"),
        }
    }

    fn router_begins(&mut self) {
        let initiation = self.routers_initiation();
        let response = self.relay.reply(&initiation, office_address(), self.now);
        let keepalive = self.routers_answer(&response);
        let proved = self.relay.receive(&keepalive, office_address(), self.now).expect("a keepalive");
        assert_eq!((proved.content, proved.handshake_completed), (Content::Absorbed, true));
    }

    fn relay_begins(&mut self) {
        let initiation = self.relay.initiate(self.now);
        let response = self.routers_answer(&initiation);
        let keepalive = self.relay.reply(&response, office_address(), self.now);
        let mut out = [0; 2_048];
        assert!(matches!(self.router.decapsulate(None, &keepalive, &mut out), TunnResult::Done), "a keepalive");
    }

    fn data_goes_both_ways(&mut self) {
        for len in [20, 33, 64, 576, 1_420] {
            let packet = ipv4(len);
            let datagram = self.router_sends(&packet);
            assert_eq!(self.relay.inner(&datagram, office_address(), self.now), packet, "{len} bytes");
            let datagram = self.relay.send(&packet, self.now).expect("up");
            assert_eq!(self.router_receives(&datagram), packet, "{len} bytes");
        }
    }
}

#[test]
fn a_handshake_that_the_router_begins_agrees_with_another_implementation() {
    for psk in [None, Some([0x5a; 32])] {
        let mut mixed = Mixed::new(psk, psk, 100);
        mixed.router_begins();
        mixed.data_goes_both_ways();
        // And once more, over the session that stands.
        mixed.advance(Duration::from_secs(6));
        mixed.router_begins();
        mixed.data_goes_both_ways();
    }
}

#[test]
fn a_handshake_that_the_relay_begins_agrees_with_another_implementation() {
    for psk in [None, Some([0x5a; 32])] {
        let mut mixed = Mixed::new(psk, psk, 100);
        mixed.relay_begins();
        mixed.data_goes_both_ways();
    }
}

#[test]
fn another_implementation_with_another_preshared_key_gets_nowhere_in_either_role() {
    for (relay, router) in [(None, Some([1; 32])), (Some([1; 32]), None), (Some([1; 32]), Some([2; 32]))] {
        let mut mixed = Mixed::new(relay, router, 100);
        let initiation = mixed.routers_initiation();
        let response = mixed.relay.reply(&initiation, office_address(), mixed.now);
        assert!(matches!(mixed.router.decapsulate(None, &response, &mut [0; 2_048]), TunnResult::Err(_)));

        let mut mixed = Mixed::new(relay, router, 100);
        let initiation = mixed.relay.initiate(mixed.now);
        let response = mixed.routers_answer(&initiation);
        assert_eq!(mixed.relay.receive(&response, office_address(), mixed.now), Err(DropReason::TunnelHandshakeRejected));
        assert!(!mixed.relay.tunnel.state(mixed.now).up);
    }
}

#[test]
fn another_implementation_shows_the_relays_cookie() {
    let mut mixed = Mixed::new(None, None, 100);
    let mut out = [0; 64];
    let mut initiation = mixed.routers_initiation();
    while mixed.relay.listener.inspect(&initiation, office_address(), &mut out, mixed.now) != Ok(Inspected::Reply(64)) {
        initiation = mixed.routers_initiation();
    }
    assert!(matches!(mixed.router.decapsulate(None, &out, &mut [0; 2_048]), TunnResult::Done));
    let proving = mixed.routers_initiation();
    let response = mixed.relay.reply(&proving, office_address(), mixed.now);
    assert_eq!(response.len(), 92, "no second cookie");
    mixed.routers_answer(&response);
}

#[test]
fn the_relay_shows_the_cookie_of_another_implementation() {
    let mut mixed = Mixed::new(None, None, 0);
    let initiation = mixed.relay.initiate(mixed.now);
    let cookie_reply = mixed.routers_answer(&initiation);
    assert_eq!(cookie_reply.len(), 64, "under load");
    assert_eq!(mixed.relay.receive(&cookie_reply, office_address(), mixed.now).expect("a cookie").content, Content::Absorbed);
    mixed.advance(REKEY_TIMEOUT);
    let proving = mixed.relay.initiate_again(mixed.now);
    assert_ne!(proving[132..], [0; 16], "the second MAC");
    assert_eq!(mixed.routers_answer(&proving).len(), 92);
    // A cookie is not shown after two minutes.
    mixed.advance(Duration::from_secs(120));
    assert_eq!(mixed.relay.initiate_again(mixed.now)[132..], [0; 16]);
}
