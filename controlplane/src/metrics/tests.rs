use std::io::Write;
use std::process::{Command, Stdio};

use super::*;
use crate::testing::{router, tenant};
use dataplane::router_config::WorkerId;
use dataplane::time::Instant;

fn page(router: &RouterConfig) -> String {
    page_with(router, &IpsecScrape::default())
}

fn page_with(router: &RouterConfig, ipsec: &IpsecScrape) -> String {
    let moment = time::macros::datetime!(2026-12-01 09:00 +9);
    let nic = NicDescription {
        driver: "af_packet",
        mode: "copy".into(),
        reason: "asked for".into(),
        interface: "ens4".into(),
        mac: [2; 6],
        mtu: 1500,
    };
    text(&Scrape {
        relay: "tokyo-1",
        router,
        registry: &Registry::default(),
        ports: &[nic],
        workers: &[Arc::default()],
        clocks: Clocks { wall: moment, worker: Instant::from_secs(100) },
        started: moment,
        generation: 3,
        last_reload: (true, moment),
        ipsec,
    })
}

fn value<'a>(page: &'a str, series: &str) -> Option<&'a str> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

/// One tunnel whose peer uses the previous key, after one failure.
fn ipsec() -> IpsecScrape {
    use ike::{ChildStatus, Encapsulation, Failure, IkeStatus, PeerName, PeerState, PeerStatus};
    let now = ike::Instant::from_secs(1);
    let peer = "198.51.100.7:4500".parse().expect("an address");
    let ike = IkeStatus {
        initiator_spi: 1,
        responder_spi: 2,
        initiator: false,
        peer,
        peer_behind_nat: true,
        we_behind_nat: false,
        fragmentation: true,
        suite: "aes256-sha256-modp2048".into(),
        psk_index: Some(1),
        established: now,
        rekey_at: now,
        last_heard: now,
    };
    let child = ChildStatus {
        inbound_spi: 256,
        outbound_spi: 257,
        suite: "aes256-sha256".into(),
        encapsulation: Encapsulation::Udp { peer },
        selectors: Vec::new(),
        established: now,
        rekey_at: now,
    };
    let name = PeerName { tenant: "b".into(), tunnel: "main".into() };
    let mut failures = ike::counters::FailureCounts::default();
    failures.count(Failure::AuthenticationFailed);
    let status = PeerStatus {
        name,
        state: PeerState::Up,
        since: now,
        ike: Some(ike),
        children: vec![child],
        last_error: None,
        failures,
        next_try: None,
    };
    let mut scrape = IpsecScrape { statuses: vec![status], certificates: vec![("relay.pem".into(), 1_800_000_000)], ..Default::default() };
    scrape.counters.engine.half_open = 3;
    scrape.counters.engine.rekeys_child = 4;
    scrape.counters.engine.failures.count(Failure::AuthenticationFailed);
    (0..7).for_each(|_| scrape.counters.engine.unproven_failures.count(Failure::UnknownIdentity));
    scrape
}

#[test]
fn an_auditor_sees_which_ciphers_are_in_use_and_an_operator_who_has_the_old_key() {
    let router = router([tenant("a")]);
    router.tenants[0].tunnel_counters[0].up.set(1);
    let page = page_with(&router, &ipsec());
    let suites: Vec<&str> = page.lines().filter(|line| line.starts_with("chukei_tunnel_suite_info{")).collect();
    assert_eq!(
        suites,
        [
            r#"chukei_tunnel_suite_info{tenant="a",tunnel="main",kind="wireguard",key_exchange="chacha20poly1305-blake2s-x25519",packets="chacha20poly1305-blake2s-x25519"} 1"#,
            r#"chukei_tunnel_suite_info{tenant="b",tunnel="main",kind="ipsec",key_exchange="aes256-sha256-modp2048",packets="aes256-sha256"} 1"#,
        ]
    );
    assert_eq!(value(&page, r#"chukei_tunnel_previous_psk{tenant="b",tunnel="main"}"#), Some("1"));
    assert_eq!(value(&page, r#"chukei_certificate_expiry_timestamp_seconds{file="relay.pem"}"#), Some("1800000000"));
    assert_eq!(value(&page, "chukei_ike_half_open"), Some("3"));
    assert_eq!(value(&page, r#"chukei_ike_rekeys_total{kind="child"}"#), Some("4"));
}

#[test]
fn every_failure_of_key_exchange_is_listed_for_the_relay_and_those_that_occurred_for_a_tunnel() {
    let page = page_with(&router([tenant("a")]), &ipsec());
    let lines = |name: &str| page.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines("chukei_ike_failures_total{").len(), ike::Failure::ALL.len());
    assert_eq!(lines("chukei_ike_unproven_failures_total{").len(), ike::Failure::ALL.len());
    assert_eq!(value(&page, r#"chukei_ike_unproven_failures_total{reason="unknown_identity"}"#), Some("7"));
    let expected = r#"chukei_tunnel_ike_failures_total{tenant="b",tunnel="main",reason="authentication_failed"} 1"#;
    assert_eq!(lines("chukei_tunnel_ike_failures_total{"), [expected]);
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let router = router([tenant("131016-chiyoda")]);
    router.tenants[0].tunnel_counters[0].handshake_at_nanos.set(1);
    router.tenants[0].counters.drops.add(DropReason::NoSession, 1);
    router.ports[0].counters.share(WorkerId(0)).drops.add(DropReason::VlanUnknown, 1);
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (Debian: prometheus)");
    promtool.stdin.take().expect("piped").write_all(page_with(&router, &ipsec()).as_bytes()).expect("written");
    let output = promtool.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn a_down_tunnel_is_configured_and_not_up_and_has_no_handshake_time() {
    let page = page(&router([tenant("a")]));
    assert_eq!(value(&page, r#"chukei_tunnel_configured{tenant="a",tunnel="main"}"#), Some("1"));
    assert_eq!(value(&page, r#"chukei_tunnel_up{tenant="a",tunnel="main"}"#), Some("0"));
    assert!(!page.contains("chukei_tunnel_last_handshake_timestamp_seconds{"));
}

#[test]
fn moments_of_the_workers_are_wall_clock_timestamps() {
    let router = router([tenant("a")]);
    router.tenants[0].tunnel_counters[0].handshake_at_nanos.set(Instant::from_secs(40).as_nanos());
    let page = page(&router);
    let at = value(&page, r#"chukei_tunnel_last_handshake_timestamp_seconds{tenant="a",tunnel="main"}"#);
    let moment = time::macros::datetime!(2026-12-01 08:59 +9).unix_timestamp();
    assert_eq!(at, Some(moment.to_string().as_str()));
}

#[test]
fn the_relay_lists_every_reason_and_a_tenant_only_its_own() {
    let router = router([tenant("a"), tenant("b")]);
    router.tenants[0].counters.drops.add(DropReason::NoSession, 2);
    router.ports[0].counters.share(WorkerId(0)).drops.add(DropReason::NoSession, 1);
    let page = page(&router);
    let relay = page.lines().filter(|line| line.starts_with("chukei_dropped_packets_total{")).count();
    assert_eq!(relay, DropReason::COUNT);
    assert_eq!(value(&page, r#"chukei_dropped_packets_total{reason="no_session",stage="nat"}"#), Some("3"));
    let tenants: Vec<&str> = page.lines().filter(|line| line.starts_with("chukei_tenant_dropped_packets_total{")).collect();
    assert_eq!(tenants, [r#"chukei_tenant_dropped_packets_total{tenant="a",reason="no_session"} 2"#]);
}

#[test]
fn a_country_of_tenants_is_scraped_in_a_blink() {
    let router = router((0..1_788).map(|number| tenant(&format!("{number:06}-municipality"))));
    let start = std::time::Instant::now();
    let page = page(&router);
    let took = start.elapsed();
    assert!(page.lines().count() > 1_788 * 20);
    // 100 ms in a release build; a debug build on a shared machine gets room to breathe.
    assert!(took < std::time::Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_name_cannot_break_out_of_its_quotes() {
    let page = page(&router([tenant("a\"} 1\nevil{x=\"\\")]));
    assert!(page.contains(r#"chukei_tenant_isolated{tenant="a\"} 1\nevil{x=\"\\"} 0"#), "{page}");
    assert!(!page.lines().any(|line| line.starts_with("evil")));
}
