use super::*;
use crate::api::rows::Traffic;
use crate::isolation::{Isolation, Scope};
use time::macros::datetime;

fn answer<T>(rows: Vec<T>) -> Answer<T> {
    Answer { relay: "tokyo-1".into(), now: datetime!(2026-12-01 09:00 +9), rows, truncated: false }
}

fn tunnel(state: &str, reason: &str) -> TunnelRow {
    TunnelRow {
        tenant: "131016-chiyoda".into(),
        tunnel: "main".into(),
        kind: "wireguard".into(),
        state: state.into(),
        since: datetime!(2026-12-01 08:56:48 +9),
        reason: reason.into(),
        carries: if state == "up" { "everything" } else { "nothing" }.into(),
        peer: None,
        last_handshake: None,
        last_heard: Some(datetime!(2026-12-01 08:59:55 +9)),
        handshakes: 0,
        office_to_cloud: Traffic { packets: 3, bytes: 1_234_567 },
        cloud_to_office: Traffic::default(),
        ipsec: None,
    }
}

#[test]
fn a_tunnel_that_is_down_is_listed_with_the_reason_and_since_when() {
    let table = tunnels(&answer(vec![tunnel("down", "The municipality's router has never called.")]));
    insta::assert_snapshot!(table, @r#"
    TENANT          TUNNEL  KIND       STATE  SINCE     PEER  HANDSHAKE  HEARD    BYTES TO CLOUD  BYTES TO OFFICE
    131016-chiyoda  main    wireguard  down   3 m 12 s  -     never      5 s ago       1,234,567                0
        The municipality's router has never called.
    "#);
}

#[test]
fn of_several_tunnels_each_says_what_it_carries_to_the_office() {
    let row = |tenant: &str, name: &str, carries: &str, reason: &str| TunnelRow {
        tenant: tenant.into(),
        tunnel: name.into(),
        carries: carries.into(),
        ..tunnel(if carries == "nothing" { "down" } else { "up" }, reason)
    };
    let table = tunnels(&answer(vec![
        row("131016-chiyoda", "main", "answers+rest", ""),
        row("131016-chiyoda", "backup", "answers", ""),
        row("131024-chuo", "main", "nothing", "The municipality's router has never called."),
        row("131024-chuo", "backup", "everything", ""),
        row("131024-chuo", "third", "standby", ""),
        row("131032-minato", "main", "everything", ""),
    ]));
    insta::assert_snapshot!(table, @r#"
    TENANT          TUNNEL  KIND       STATE  SINCE     PEER  HANDSHAKE  HEARD    BYTES TO CLOUD  BYTES TO OFFICE
    131016-chiyoda  main    wireguard  up     3 m 12 s  -     never      5 s ago       1,234,567                0
        carries to the office the answers to what came by it, and what the cloud begins
    131016-chiyoda  backup  wireguard  up     3 m 12 s  -     never      5 s ago       1,234,567                0
        carries to the office the answers to what came by it
    131024-chuo     main    wireguard  down   3 m 12 s  -     never      5 s ago       1,234,567                0
        The municipality's router has never called.
    131024-chuo     backup  wireguard  up     3 m 12 s  -     never      5 s ago       1,234,567                0
        carries everything to the office
    131024-chuo     third   wireguard  up     3 m 12 s  -     never      5 s ago       1,234,567                0
        stands by: a tunnel that comes before it is up
    131032-minato   main    wireguard  up     3 m 12 s  -     never      5 s ago       1,234,567                0
    "#);
}

#[test]
fn japanese_names_line_up_and_control_characters_do_not_reach_the_terminal() {
    let row = |service: &str, reason: &str, matches| {
        let scope = Scope { tenant: "131016-chiyoda".into(), class: None, service: Some(service.into()) };
        let isolation = Isolation { scope, reason: reason.into(), by: "uid 0".into(), at: datetime!(2026-11-29 23:00:00.123456789 UTC) };
        IsolationRow { isolation, matches }
    };
    let table = isolations(&answer(vec![row("税", "virus\u{1b}[2J", true), row("住民記録", "same", false)]));
    insta::assert_snapshot!(table, @r#"
    TENANT          CLASS  SERVICE   MATCHES  BY     AT                         FOR
    131016-chiyoda  -      税        yes      uid 0  2026-11-30T08:00:00+09:00  1 d 0 h
        virus\u{1b}[2J
    131016-chiyoda  -      住民記録  nothing  uid 0  2026-11-30T08:00:00+09:00  1 d 0 h
        same
    "#);
}

#[test]
fn a_tenant_shows_its_rate_and_what_it_lost_for_sending_more() {
    let row = |tenant: &str, guaranteed, ceiling, throttled| TenantRow {
        tenant: tenant.into(),
        name: "町".into(),
        tunnels_up: 1,
        tunnels_configured: 1,
        sessions: 3,
        sessions_limit: 20_000,
        ports: 2,
        ports_limit: 20_000,
        office_to_cloud: Traffic::default(),
        cloud_to_office: Traffic::default(),
        dropped_packets: throttled + 1,
        rate_guaranteed_bits: guaranteed,
        rate_ceiling_bits: ceiling,
        queued_packets: 12,
        throttled_packets: throttled,
        isolated: Vec::new(),
    };
    let rows = [
        row("a", Some(50_000_000), Some(1_500_000_000), 1_234),
        row("b", Some(2_000_000_000), None, 0),
        row("c", None, Some(100_000), 0),
        row("d", None, None, 0),
    ];
    insta::assert_snapshot!(tenants(&answer(rows.to_vec())), @r"
    TENANT  NAME  TUNNELS UP  SESSIONS     PORTS  PACKETS TO CLOUD  PACKETS TO OFFICE  DROPPED  RATE              QUEUED  THROTTLED  ISOLATED
    a       町           1/1  3/20,000  2/20,000                 0                  0    1,235  50Mbit..1500Mbit      12      1,234  -
    b       町           1/1  3/20,000  2/20,000                 0                  0        1  2Gbit..               12          0  -
    c       町           1/1  3/20,000  2/20,000                 0                  0        1  ..100kbit             12          0  -
    d       町           1/1  3/20,000  2/20,000                 0                  0        1  -                     12          0  -
    ");
}

#[test]
fn a_drop_is_explained_in_a_sentence() {
    let row = DropRow {
        tenant: None,
        port: Some("aws".into()),
        stage: "link".into(),
        reason: "vlan_unknown".into(),
        packets: 12_345,
        help: "No attachment of this port has this VLAN.".into(),
    };
    insta::assert_snapshot!(drops(&answer(vec![row])), @r#"
    TENANT  PORT  STAGE  REASON        PACKETS
    -       aws   link   vlan_unknown   12,345
        No attachment of this port has this VLAN.
    "#);
}

#[test]
fn a_port_says_its_driver_its_mode_and_why() {
    let row = PortRow {
        port: "access".into(),
        interface: "ens4".into(),
        driver: "af_xdp".into(),
        mode: "copy (native)".into(),
        reason: "the driver offers no zero-copy".into(),
        mac: "02:00:00:00:00:01".into(),
        mtu: 1500,
        received: Traffic { packets: 1_000, bytes: 0 },
        transmitted: Traffic { packets: 999, bytes: 0 },
        dropped_packets: 1,
        nic_receive_lost: 0,
    };
    insta::assert_snapshot!(ports(&answer(vec![row])), @r#"
    PORT    INTERFACE  DRIVER  MODE           MAC                 MTU  RECEIVED  TRANSMITTED  DROPPED  LOST BY NIC  WHY THIS DRIVER
    access  ens4       af_xdp  copy (native)  02:00:00:00:00:01  1500     1,000          999        1            0  the driver offers no zero-copy
    "#);
}

#[test]
fn numbers_are_grouped_by_thousands() {
    assert_eq!([0, 999, 1_000, 12_345_678].map(number), ["0", "999", "1,000", "12,345,678"]);
}

#[test]
fn a_finding_says_what_to_do_and_the_command_stands_on_a_line_of_its_own() {
    use crate::doctor::Verdict;
    let finding = |about, verdict, advice: &str, command: Option<&str>| Finding {
        subject: "ens5".into(),
        about,
        verdict,
        found: "1500".into(),
        advice: advice.into(),
        command: command.map(str::to_owned),
    };
    let rows = [
        finding("mtu", Verdict::Problem, "two tags need more:", Some("ip link set dev ens5 mtu 1504")),
        finding("link", Verdict::Ok, "", None),
    ];
    insta::assert_snapshot!(findings(&rows), @r#"
    WHERE  WHAT  VERDICT  FOUND
    ens5   mtu   PROBLEM  1500
        two tags need more:
            ip link set dev ens5 mtu 1504
    ens5   link  ok       1500
    "#);
}

/// An IPsec tunnel behind address translation, and what failed before it came up.
fn ipsec_tunnel() -> TunnelRow {
    use crate::api::rows::{IkeErrorRow, IpsecRow, IpsecSaRow};
    let sa = |inbound: &str, in_use, rekey_at| IpsecSaRow {
        inbound_spi: inbound.into(),
        outbound_spi: "1a2b3c4d".into(),
        suite: "aes256-sha256".into(),
        encapsulation: "udp".into(),
        in_use,
        selectors: vec!["198.51.100.16-198.51.100.31 <-> 203.0.113.10".into()],
        established: datetime!(2026-12-01 08:30 +9),
        rekey_at,
        office_to_cloud: Traffic { packets: 10, bytes: 12_345 },
        cloud_to_office: Traffic { packets: 9, bytes: 1_234 },
    };
    let ipsec = IpsecRow {
        phase: "up".into(),
        since: datetime!(2026-12-01 08:30 +9),
        policy: "cryptrec".into(),
        suite: Some("aes256-sha256-modp2048".into()),
        opened_by: Some("peer".into()),
        peer: Some("198.51.100.7:4500".parse().expect("an address")),
        nat: Some("peer".into()),
        ike_spis: Some(["0011223344556677".into(), "8899aabbccddeeff".into()]),
        psk: Some("previous".into()),
        established: Some(datetime!(2026-12-01 08:30 +9)),
        rekey_at: Some(datetime!(2026-12-01 16:00 +9)),
        sas: vec![sa("c0ffee02", true, datetime!(2026-12-01 09:41 +9)), sa("c0ffee01", false, datetime!(2026-12-01 09:00:03 +9))],
        last_error: Some(IkeErrorRow {
            at: datetime!(2026-12-01 08:29 +9),
            reason: "no_ike_proposal".into(),
            words: "the peer offers only group modp1024; policy `cryptrec` needs modp2048 or better".into(),
            remedy: "on a Yamaha RTX: ipsec ike group 1 modp2048".into(),
            proven: true,
        }),
        next_try: None,
    };
    let peer = ipsec.peer;
    TunnelRow { kind: "ipsec".into(), peer, ipsec: Some(ipsec), ..tunnel("up", "") }
}

#[test]
fn an_ipsec_tunnel_shows_suites_spis_and_the_last_error_below_its_row_within_120_characters() {
    let table = tunnels(&answer(vec![ipsec_tunnel()]));
    insta::assert_snapshot!(table, @r"
    TENANT          TUNNEL  KIND   STATE  SINCE     PEER               HANDSHAKE  HEARD    BYTES TO CLOUD  BYTES TO OFFICE
    131016-chiyoda  main    ipsec  up     3 m 12 s  198.51.100.7:4500  never      5 s ago       1,234,567                0
        IKE aes256-sha256-modp2048 (cryptrec), NAT at the peer, previous key, rekey in 7 h 0 m
        ESP aes256-sha256 in UDP, SPI in c0ffee02 (12,345 bytes), out 1a2b3c4d (1,234 bytes), rekey in 41 m 0 s
        ESP aes256-sha256 in UDP, SPI in c0ffee01 (12,345 bytes), out 1a2b3c4d (1,234 bytes), rekey in 3 s, not used to send
        last error 31 m 0 s ago: the peer offers only group modp1024; policy `cryptrec` needs modp2048 or better
          on a Yamaha RTX: ipsec ike group 1 modp2048
    ");
    assert!(table.lines().skip(2).all(|line| line.chars().count() <= 120), "{table}");
}

#[test]
fn a_tunnel_that_never_came_up_says_what_is_tried_and_when() {
    let mut row = ipsec_tunnel();
    let ipsec = row.ipsec.as_mut().expect("there");
    (ipsec.sas, ipsec.suite, ipsec.psk, ipsec.phase) = (Vec::new(), None, None, "connecting".into());
    ipsec.next_try = Some(datetime!(2026-12-01 09:00:20 +9));
    row.state = "down".into();
    row.reason = "the peer does not answer: check the line.".into();
    insta::assert_snapshot!(tunnels(&answer(vec![row])), @r"
    TENANT          TUNNEL  KIND   STATE  SINCE     PEER               HANDSHAKE  HEARD    BYTES TO CLOUD  BYTES TO OFFICE
    131016-chiyoda  main    ipsec  down   3 m 12 s  198.51.100.7:4500  never      5 s ago       1,234,567                0
        the peer does not answer: check the line.
        IKE connecting; the relay calls again in 20 s
    ");
}

#[test]
fn the_last_negotiation_is_told_from_what_was_proposed_to_why_it_failed() {
    use crate::api::rows::{IkeErrorRow, NegotiationRow};
    let row = NegotiationRow {
        at: datetime!(2026-12-01 08:29 +9),
        address: "198.51.100.7:500".parse().expect("an address"),
        tenant: None,
        tunnel: None,
        opened_by: "peer".into(),
        claimed: Some("chiyoda".into()),
        proposed: vec!["aes256-sha256-modp1024".into(), "3des-sha1-modp1024".into()],
        accepted: vec!["aes256gcm16-prfsha384-ecp384".into(), "aes256-sha256-modp2048".into()],
        child_proposed: Vec::new(),
        child_accepted: Vec::new(),
        selectors_proposed: Vec::new(),
        steps: vec!["IKE_SA_INIT request received".into(), "answered NO_PROPOSAL_CHOSEN".into()],
        error: Some(IkeErrorRow {
            at: datetime!(2026-12-01 08:29 +9),
            reason: "no_ike_proposal".into(),
            words: "the peer offers only group modp1024".into(),
            remedy: "on a Yamaha RTX: ipsec ike group 1 modp2048\u{1b}[2J".into(),
            proven: false,
        }),
    };
    insta::assert_snapshot!(negotiations(&answer(vec![row])), @r"
    nobody's as far as is known with 198.51.100.7:500, opened by the peer, 31 m 0 s ago (2026-12-01T08:29:00+09:00)
      claims to be    chiyoda
      IKE proposed    aes256-sha256-modp1024
                      3des-sha1-modp1024
      IKE accepted    aes256gcm16-prfsha384-ecp384
                      aes256-sha256-modp2048
      steps           IKE_SA_INIT request received
                      answered NO_PROPOSAL_CHOSEN
      failed          the peer offers only group modp1024 (no_ike_proposal)
      remedy          on a Yamaha RTX: ipsec ike group 1 modp2048\u{1b}[2J
    ");
}
