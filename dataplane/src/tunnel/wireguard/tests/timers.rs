//! What only time brings about, in the 250 ms steps of a worker.

use super::*;

/// Tick both ends each 250 ms for `time`, carrying everything across unless `lost`; returns what each end sent by itself.
fn run(pair: &mut Pair, time: Duration, lost: bool) -> [Vec<(Instant, Vec<u8>)>; 2] {
    let mut sent = [Vec::new(), Vec::new()];
    let end_of_run = pair.now + time;
    while pair.now < end_of_run {
        pair.advance(Duration::from_millis(250));
        let now = pair.now;
        let (relay, office) = (&mut pair.relay, &mut pair.office);
        if let Some(len) = relay.tick(now) {
            sent[0].push((now, relay.out[..len].to_vec()));
            if !lost {
                carry(relay, relay_address(), office, office_address(), len, now);
            }
        }
        if let Some(len) = office.tick(now) {
            sent[1].push((now, office.out[..len].to_vec()));
            if !lost {
                carry(office, office_address(), relay, relay_address(), len, now);
            }
        }
    }
    sent
}

/// Carry the first `len` bytes of what `from` wrote across, then the answer back, and so on until there is none.
fn carry(from: &mut End, from_address: SocketAddr, to: &mut End, to_address: SocketAddr, len: usize, now: Instant) {
    let datagram = from.out[..len].to_vec();
    if let Content::Reply { len } = to.receive(&datagram, from_address, now).expect("accepted").content {
        carry(to, to_address, from, from_address, len, now);
    }
}

fn of_type(sent: &[(Instant, Vec<u8>)], kind: u8) -> Vec<Instant> {
    sent.iter().filter(|(_, datagram)| datagram[0] == kind).map(|(at, _)| *at).collect()
}

#[test]
fn the_initiator_alone_rekeys_at_120_seconds_when_it_has_sent() {
    let mut pair = Pair::up();
    run(&mut pair, Duration::from_secs(1), false);
    let established = pair.office.tunnel.state(pair.now).handshake_at.expect("up");
    let datagram = pair.office.send(&ipv4(100), pair.now).expect("up");
    pair.relay.inner(&datagram, office_address(), pair.now);
    let datagram = pair.relay.send(&ipv4(100), pair.now).expect("up");
    pair.office.inner(&datagram, relay_address(), pair.now);
    let [relay, office] = run(&mut pair, Duration::from_secs(150), false);
    assert!(of_type(&relay, message::INITIATION).is_empty());
    let rekeys = of_type(&office, message::INITIATION);
    assert_eq!(rekeys.len(), 1);
    let age = rekeys[0] - established;
    assert!((Duration::from_secs(120)..Duration::from_secs(122)).contains(&age), "{age:?}");
    assert!(pair.relay.send(&ipv4(100), pair.now).is_ok(), "up without a gap");
    assert_eq!(pair.relay.tunnel.state(pair.now).changed_at, Some(established));
}

#[test]
fn an_unanswered_handshake_is_tried_again_after_5_seconds_and_a_little_and_given_up_after_90() {
    let mut pair = Pair::new();
    pair.office.tick(pair.now);
    let first = pair.now;
    pair.office.initiate(pair.now);
    let [_, office] = run(&mut pair, Duration::from_secs(200), true);
    let mut tries = of_type(&office, message::INITIATION);
    tries.insert(0, first);
    for pause in tries.windows(2).map(|pair| pair[1] - pair[0]) {
        assert!((5_000..=5_000 + 333 + 250).contains(&pause.as_millis()), "{pause:?}");
    }
    let jitters: std::collections::BTreeSet<u128> = tries.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert!(jitters.len() > 1, "not in step: {jitters:?}");
    assert!((15..=18).contains(&tries.len()), "{}", tries.len());
    assert!(*tries.last().expect("tries") - first < Duration::from_secs(91));
    assert!(pair.office.tunnel.state(pair.now).down_reason.contains("does not answer"));
    // New traffic starts anew.
    assert_eq!(pair.office.send(&ipv4(100), pair.now), Err(DropReason::TunnelDown));
    pair.handshake();
}

#[test]
fn data_is_answered_with_a_keepalive_after_10_seconds_and_a_keepalive_never() {
    let mut pair = Pair::up();
    run(&mut pair, Duration::from_secs(30), false);
    let datagram = pair.office.send(&ipv4(100), pair.now).expect("up");
    let heard = pair.now;
    pair.relay.inner(&datagram, office_address(), pair.now);
    let [relay, office] = run(&mut pair, Duration::from_secs(60), false);
    let keepalives = of_type(&relay, message::DATA);
    assert_eq!(keepalives.len(), 1);
    assert!(keepalives[0] - heard <= Duration::from_secs(11));
    assert!(office.is_empty());
}

#[test]
fn a_silent_peer_is_asked_for_a_handshake_after_15_seconds() {
    let mut pair = Pair::up();
    let heard = pair.relay.tunnel.state(pair.now).heard_at.expect("up");
    run(&mut pair, Duration::from_secs(1), false);
    pair.relay.send(&ipv4(100), pair.now).expect("up");
    let [relay, _] = run(&mut pair, Duration::from_secs(20), true);
    let asked = of_type(&relay, message::INITIATION);
    assert!((15_000..=15_300).contains(&(asked[0] - heard).as_millis()), "{:?}", asked[0] - heard);
}

#[test]
fn a_peer_that_answers_no_handshake_is_silent_until_it_answers_one() {
    let mut pair = Pair::up();
    run(&mut pair, Duration::from_secs(1), false);
    pair.relay.send(&ipv4(100), pair.now).expect("up");
    run(&mut pair, Duration::from_millis(18_500), true);
    assert!(!pair.relay.tunnel.is_silent() && pair.relay.tunnel.state(pair.now).up, "15 s, and an answer may be on its way");
    run(&mut pair, Duration::from_secs(1), true);
    let since = pair.now;
    let state = pair.relay.tunnel.state(pair.now);
    assert!(pair.relay.tunnel.is_silent() && !state.up && state.down_reason.contains("does not answer"), "{}", state.down_reason);
    assert!(since - state.changed_at.expect("it changed") < Duration::from_secs(1));
    // Its keys are there all the same: where it is the only tunnel, packets still go.
    assert!(pair.relay.tunnel.is_up(pair.now) && pair.relay.send(&ipv4(100), pair.now).is_ok());
    run(&mut pair, Duration::from_secs(110), true);
    assert!(pair.relay.tunnel.is_silent(), "long after the handshake was given up");

    // It is there again, and answers the next handshake.
    let since = pair.now;
    pair.relay.send(&ipv4(100), pair.now).expect("up");
    run(&mut pair, Duration::from_secs(30), false);
    let state = pair.relay.tunnel.state(pair.now);
    assert!(!pair.relay.tunnel.is_silent() && state.up && state.changed_at > Some(since), "{state:?}");
}

/// Nothing of the relay's arrives, but the office's keepalives do: they must not bring the traffic back to a way that is broken.
#[test]
fn a_way_that_is_open_in_one_direction_alone_stays_silent_while_a_handshake_is_under_way() {
    let mut pair = Pair::up();
    run(&mut pair, Duration::from_secs(1), false);
    pair.relay.send(&ipv4(100), pair.now).expect("up");
    run(&mut pair, Duration::from_secs(22), true);
    for _ in 0..3 {
        assert!(pair.relay.tunnel.is_silent() && pair.relay.tunnel.cold.attempt.is_some(), "{:?}", pair.now);
        let datagram = pair.office.send(&ipv4(100), pair.now).expect("up");
        pair.relay.inner(&datagram, office_address(), pair.now);
        run(&mut pair, Duration::from_secs(20), true);
    }
    assert!(!pair.relay.tunnel.state(pair.now).up);
}

#[test]
fn a_handshake_that_is_lost_once_makes_nobody_silent_who_speaks_meanwhile() {
    let mut pair = Pair::new();
    pair.relay.tunnel.remember_peer(office_address());
    let initiation = pair.relay.initiate(pair.now);
    let response = pair.office.reply(&initiation, relay_address(), pair.now);
    let keepalive = pair.relay.reply(&response, office_address(), pair.now);
    pair.office.absorb(&keepalive, relay_address(), pair.now);
    pair.relay.send(&ipv4(100), pair.now).expect("up");
    // The relay is the initiator, and renews at 120 s; nothing of that arrives, but the office's data does.
    for _ in 0..15 {
        run(&mut pair, Duration::from_secs(9), true);
        let datagram = pair.office.send(&ipv4(100), pair.now).expect("keys last for 180 s");
        pair.relay.inner(&datagram, office_address(), pair.now);
        assert!(!pair.relay.tunnel.is_silent(), "{:?}", pair.now);
    }
    assert!(pair.relay.tunnel.cold.attempt.is_some(), "a handshake is under way");
}

#[test]
fn an_idle_tunnel_is_down_after_180_seconds_says_so_and_comes_back_by_itself() {
    let mut pair = Pair::up();
    run(&mut pair, Duration::from_millis(500), false);
    let established = pair.relay.tunnel.state(pair.now).handshake_at.expect("up");
    let [relay, office] = run(&mut pair, Duration::from_secs(700), false);
    assert!(relay.is_empty() && office.is_empty(), "silence is allowed");
    let state = pair.relay.tunnel.state(pair.now);
    assert_eq!((state.up, state.changed_at), (false, Some(established + Duration::from_secs(180))));
    assert!(state.down_reason.starts_with("idle"), "expired means idle, not broken: {}", state.down_reason);
    assert_eq!(pair.relay.send(&ipv4(100), pair.now), Err(DropReason::TunnelDown));
    let initiation = pair.relay.initiate(pair.now);
    let response = pair.office.reply(&initiation, relay_address(), pair.now);
    pair.relay.reply(&response, office_address(), pair.now);
    assert!(pair.relay.send(&ipv4(100), pair.now).is_ok());
    assert_eq!(pair.relay.tunnel.state(pair.now).changed_at, Some(pair.now));
}

#[test]
fn a_persistent_keepalive_keeps_the_tunnel_up_and_is_sent_only_when_nothing_else_was() {
    let mut pair = Pair::with(&Setting { relay_keepalive: Some(25), ..Setting::default() });
    pair.handshake();
    let [relay, _] = run(&mut pair, Duration::from_secs(100), false);
    let keepalives = of_type(&relay, message::DATA);
    assert_eq!(keepalives.len(), 4, "{keepalives:?}");
    for pause in keepalives.windows(2).map(|pair| pair[1] - pair[0]) {
        assert!((25_000..=25_250).contains(&pause.as_millis()), "{pause:?}");
    }
    run(&mut pair, Duration::from_secs(500), false);
    let state = pair.relay.tunnel.state(pair.now);
    assert!(state.up, "{}", state.down_reason);
}

#[test]
fn a_peer_that_restarts_is_back_with_its_first_handshake() {
    let mut pair = Pair::up();
    run(&mut pair, Duration::from_secs(10), false);
    pair.office.tunnel.sessions = Sessions::default();
    pair.advance(Duration::from_secs(10));
    pair.handshake();
    let datagram = pair.office.send(&ipv4(100), pair.now).expect("up");
    pair.relay.inner(&datagram, office_address(), pair.now);
    let datagram = pair.relay.send(&ipv4(100), pair.now).expect("up");
    pair.office.inner(&datagram, relay_address(), pair.now);
}

#[test]
fn whatever_handshake_messages_are_lost_neither_end_sends_what_the_other_cannot_read() {
    for seed in 0..20 {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut pair = Pair::with(&Setting { relay_keepalive: Some(10), ..Setting::default() });
        pair.relay.tunnel.remember_peer(office_address());
        let mut delivered = 0;
        for _ in 0..2_000 {
            pair.advance(Duration::from_millis(250));
            let now = pair.now;
            for from_relay in [true, false] {
                let (relay, office) = ((&mut pair.relay, relay_address()), (&mut pair.office, office_address()));
                let ((from, from_address), (to, to_address)) = if from_relay { (relay, office) } else { (office, relay) };
                let ticked = from.tick(now).or_else(|| from.tunnel.initiate(&mut from.out, now));
                from.exchange_indices();
                if let Some(len) = ticked {
                    lossy((from, from_address), (to, to_address), len, now, &mut random);
                }
                if let Ok(datagram) = from.send(&ipv4(100), now) {
                    let read = to.receive(&datagram, from_address, now).map(|decapsulated| decapsulated.content);
                    assert_eq!(read, Ok(Content::Inner { len: 100 }), "seed {seed} at {now:?}");
                    delivered += 1;
                }
            }
        }
        assert!(delivered > 3_500, "seed {seed}: {delivered} of 4,000");
    }
}

/// As [`carry`], but half of the handshake messages are lost on the way; those of data are not.
fn lossy(
    (from, from_address): (&mut End, SocketAddr),
    (to, to_address): (&mut End, SocketAddr),
    len: usize,
    now: Instant,
    random: &mut SmallRng,
) {
    let datagram = from.out[..len].to_vec();
    if datagram[0] != message::DATA && random.random_bool(0.5) {
        return;
    }
    if let Content::Reply { len } = to.receive(&datagram, from_address, now).expect("accepted").content {
        lossy((to, to_address), (from, from_address), len, now, random);
    }
}
