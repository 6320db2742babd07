//! No key outlives its time.

use zeroize::Zeroize;

use super::session::{NewSession, Session};
use super::*;

#[test]
fn all_keys_and_handshake_secrets_are_gone_long_before_540_seconds() {
    let mut pair = Pair::up();
    pair.office.initiate_again(pair.now);
    assert!(!pair.office.tunnel.cold.handshakes.is_erased());
    for end in [&mut pair.relay, &mut pair.office] {
        assert_eq!(end.tunnel.sessions.indices().count(), 1, "a session");
    }
    let mut now = pair.now;
    while now < pair.now + Duration::from_secs(540) {
        now = now + Duration::from_millis(250);
        for end in [&mut pair.relay, &mut pair.office] {
            end.tick(now);
            let age = now - pair.now;
            assert!(age < session::REJECT_AFTER_TIME || end.tunnel.sessions.indices().count() == 0, "at {age:?}");
        }
    }
    for end in [&mut pair.relay, &mut pair.office] {
        assert!(end.tunnel.cold.handshakes.is_erased() && end.tunnel.sessions.current().is_none());
        assert_eq!(end.tunnel.indices().count(), 1, "the spare index alone is left of what it was lent");
    }
}

#[test]
fn a_session_that_is_dropped_leaves_no_key_in_its_memory() {
    fn erases_when_dropped<T: zeroize::ZeroizeOnDrop>() {}
    erases_when_dropped::<Session>();
    let keys = || noise::SessionKeys { sending: [1; 32].into(), receiving: [2; 32].into() };
    let mut session = Session::new(&NewSession { keys: keys(), own_index: 1, peer_index: 2, initiator: true }, START);
    assert_eq!(session.keys(), [[1; 32], [2; 32]]);
    // What dropping does.
    session.zeroize();
    assert_eq!(session.keys(), [[0; 32]; 2]);
}

#[test]
fn an_unanswered_handshake_leaves_nothing_behind_when_it_is_given_up() {
    let mut pair = Pair::new();
    pair.office.initiate(pair.now);
    while pair.now < START + Duration::from_secs(100) {
        pair.advance(Duration::from_millis(250));
        pair.office.tick(pair.now);
    }
    assert!(pair.office.tunnel.cold.handshakes.is_erased());
    assert_eq!(pair.office.tunnel.indices().count(), 1, "each try took an index and gave it back");
    assert!((15..=18).contains(&pair.office.returned.len()), "{}", pair.office.returned.len());
}
