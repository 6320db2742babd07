use super::*;
use proptest::prelude::*;

use Direction::{CloudToOffice as Cloud, OfficeToCloud as Office};
use tcp_flags::{ACK, FIN, RST, SYN};

fn segment(flags: u8, sequence: u32, acknowledgement: u32, window: u16, data_len: u16) -> Tcp {
    Tcp { flags, sequence, acknowledgement, window, window_scale: None, data_len }
}

fn scaled(flags: u8, sequence: u32, acknowledgement: u32, window: u16, scale: u8) -> Tcp {
    Tcp { window_scale: Some(scale), ..segment(flags, sequence, acknowledgement, window, 0) }
}

fn established(office: u32, cloud: u32, office_scale: Option<u8>, cloud_scale: Option<u8>) -> Connection {
    let syn = Tcp { window_scale: office_scale, ..segment(SYN, office, 0, 1_000, 0) };
    let mut connection = Connection::new(Office, &syn);
    let syn_ack = Tcp { window_scale: cloud_scale, ..segment(SYN | ACK, cloud, office.wrapping_add(1), 1_000, 0) };
    assert_eq!(connection.segment(Cloud, &syn_ack), Timer::Refresh);
    assert_eq!(connection.label(), "opening");
    let ack = segment(ACK, office.wrapping_add(1), cloud.wrapping_add(1), 1_000, 0);
    assert_eq!(connection.segment(Office, &ack), Timer::Refresh);
    assert_eq!(connection.label(), "established");
    connection
}

#[test]
fn windows_are_scaled_only_where_both_sides_said_so() {
    let beyond = segment(ACK, 1_001 + 1_000, 2_001, 1_000, 100);
    for (office, cloud, reaches) in [(None, None, false), (Some(7), None, false), (None, Some(7), false), (Some(7), Some(7), true)] {
        let mut connection = established(1_000, 2_000, office, cloud);
        // The cloud's window of 1,000 means 128,000 bytes with a scale of 7.
        connection.segment(Cloud, &segment(ACK, 2_001, 1_001, 1_000, 0));
        assert_eq!(connection.segment(Office, &beyond) == Timer::Refresh, reaches, "{office:?} {cloud:?}");
    }
}

#[test]
fn a_probe_of_a_closed_window_refreshes() {
    let mut connection = established(1_000, 2_000, None, None);
    connection.segment(Office, &segment(ACK, 1_001, 2_001, 1_000, 1_000));
    connection.segment(Cloud, &segment(ACK, 2_001, 2_001, 0, 0));
    assert_eq!(connection.segment(Office, &segment(ACK, 2_001, 2_001, 1_000, 1)), Timer::Refresh);
    assert_eq!(connection.segment(Office, &segment(ACK, 2_002, 2_001, 1_000, 1)), Timer::Keep);
}

#[test]
fn an_answer_that_acknowledges_something_else_opens_nothing() {
    let mut connection = Connection::new(Office, &segment(SYN, 1_000, 0, 1_000, 0));
    for acknowledgement in [0, 1_000, 1_002, 0x8000_0000] {
        assert_eq!(connection.segment(Cloud, &segment(SYN | ACK, 2_000, acknowledgement, 1_000, 0)), Timer::Keep);
        assert_eq!(connection.segment(Cloud, &segment(RST | ACK, 0, acknowledgement, 0, 0)), Timer::Keep);
    }
    assert_eq!(connection.segment(Cloud, &segment(RST, 1_001, 0, 0, 0)), Timer::Keep, "a reset without ACK");
    assert_eq!(connection.label(), "opening");
}

#[test]
fn a_responder_that_starts_again_before_the_connection_is_open_is_followed() {
    let mut connection = Connection::new(Office, &segment(SYN, 1_000, 0, 1_000, 0));
    connection.segment(Cloud, &segment(SYN | ACK, 2_000, 1_001, 1_000, 0));
    connection.segment(Cloud, &segment(SYN | ACK, 9_000_000, 1_001, 1_000, 0));
    connection.segment(Office, &segment(ACK, 1_001, 9_000_001, 1_000, 0));
    assert_eq!(connection.label(), "established");
}

#[test]
fn a_syn_on_an_open_connection_changes_nothing_and_on_a_closed_one_starts_anew() {
    let mut connection = established(1_000, 2_000, Some(3), Some(3));
    assert_eq!(connection.segment(Office, &scaled(SYN, 70_000, 0, 1_000, 3)), Timer::Keep);
    assert_eq!(connection.label(), "established");
    assert!(!connection.admits_syn_from(Cloud));
    connection.segment(Office, &segment(FIN | ACK, 1_001, 2_001, 1_000, 0));
    assert_eq!(connection.label(), "half-closed");
    connection.segment(Cloud, &segment(FIN | ACK, 2_001, 1_002, 1_000, 0));
    assert_eq!(connection.label(), "closing");
    assert!(!connection.admits_syn_from(Cloud));
    assert_eq!(connection.segment(Office, &scaled(SYN, 70_000, 0, 1_000, 3)), Timer::Refresh);
    assert_eq!(connection.label(), "opening");
}

#[test]
fn a_repeated_fin_keeps_a_closing_connection_closing() {
    let mut connection = established(1_000, 2_000, None, None);
    connection.segment(Office, &segment(FIN | ACK, 1_001, 2_001, 1_000, 0));
    connection.segment(Cloud, &segment(FIN | ACK, 2_001, 1_002, 1_000, 0));
    connection.segment(Cloud, &segment(FIN | ACK, 2_001, 1_002, 1_000, 0));
    connection.segment(Office, &segment(ACK, 1_002, 2_002, 1_000, 0));
    assert_eq!(connection.label(), "closing");
    assert_eq!(connection.timeout(), TimeoutClass::TcpClosing);
}

proptest! {
    /// A well-behaved transfer, with segments of one flight repeated and in any order, is in the window at every step, wherever
    /// the sequence numbers start; and a reset in the right place is believed at its end.
    #[test]
    fn an_honest_transfer_is_always_in_the_window(
        office: u32,
        cloud: u32,
        scale in proptest::option::of(0u8..=14),
        flights in proptest::collection::vec(proptest::collection::vec(0usize..4, 1..8), 1..30),
    ) {
        let mut connection = established(office, cloud, scale, scale);
        let (mut sent, received) = (office.wrapping_add(1), cloud.wrapping_add(1));
        for order in flights {
            // A flight of up to 4 segments of 200 bytes: within the window of 1,000 whatever the scale.
            for place in &order {
                let sequence = sent.wrapping_add(u32::try_from(*place).expect("small") * 200);
                prop_assert_eq!(connection.segment(Office, &segment(ACK, sequence, received, 1_000, 200)), Timer::Refresh);
            }
            let furthest = order.iter().max().map_or(0, |place| u32::try_from(place + 1).expect("small") * 200);
            sent = sent.wrapping_add(furthest);
            prop_assert_eq!(connection.segment(Cloud, &segment(ACK, received, sent, 1_000, 0)), Timer::Refresh);
        }
        prop_assert_eq!(connection.label(), "established");
        prop_assert_eq!(connection.segment(Office, &segment(RST, sent, 0, 0, 0)), Timer::Refresh);
        prop_assert_eq!(connection.label(), "reset");
    }

    #[test]
    fn no_segments_make_it_panic_or_skip_the_handshake(segments in proptest::collection::vec((any::<bool>(), any::<u8>(), any::<u32>(), any::<u32>(), any::<u16>(), any::<u16>()), 0..60)) {
        let mut connection = Connection::new(Office, &segment(SYN, 1_000, 0, 1_000, 0));
        for (office, flags, sequence, acknowledgement, window, len) in segments {
            let from = if office { Office } else { Cloud };
            connection.segment(from, &segment(flags, sequence, acknowledgement, window, len));
            // Nobody who does not see the sequence numbers gets past both acknowledgements (2^-45 by chance).
            prop_assert_ne!(connection.label(), "established");
        }
    }
}
