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
        peer: None,
        last_handshake: None,
        last_heard: Some(datetime!(2026-12-01 08:59:55 +9)),
        handshakes: 0,
        office_to_cloud: Traffic { packets: 3, bytes: 1_234_567 },
        cloud_to_office: Traffic::default(),
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
    TENANT  NAME  TUNNELS UP  SESSIONS  PACKETS TO CLOUD  PACKETS TO OFFICE  DROPPED  RATE              QUEUED  THROTTLED  ISOLATED
    a       町           1/1  3/20,000                 0                  0    1,235  50Mbit..1500Mbit      12      1,234  -
    b       町           1/1  3/20,000                 0                  0        1  2Gbit..               12          0  -
    c       町           1/1  3/20,000                 0                  0        1  ..100kbit             12          0  -
    d       町           1/1  3/20,000                 0                  0        1  -                     12          0  -
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
