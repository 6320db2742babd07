//! Municipal routers that move or restart: work goes on.

use std::time::Duration;

use netns_tests::plan::{SHARED_GLOBAL, three_municipalities};
use netns_tests::process::{ip, wait_until};
use netns_tests::relay::{Driver, Relay, relay_among};
use netns_tests::topology::Town;

fn peer_of(relay: &Relay, town: &Town) -> String {
    let rows = relay.show("tunnels");
    let row = rows.iter().find(|row| row["tenant"] == town.plan.tenant.as_str()).expect("a tunnel");
    row["peer"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_download_goes_on_while_its_router_moves_to_another_port_and_another_address() {
    let (lab, relay) = relay_among(three_municipalities(), Driver::AfXdp);
    let town = &lab.towns[0];
    let (_, whole) = lab.file("body", 20_000_000);
    let url = format!("http://{SHARED_GLOBAL}/files/body");
    let mut download = town.counter().start_download(lab.directory(), "roaming", &url, 4_000_000);
    wait_until("the download has begun", Duration::from_secs(5), || download.progress() > 1_000_000);

    let moves_before = relay.metric("chukei_tunnel_roams_total{tenant=\"131016-chiyoda\",tunnel=\"main\"}").expect("the metric");
    town.wireguard().change_port(40001);
    wait_until("the relay follows to the new port", Duration::from_secs(5), || peer_of(&relay, town) == "192.0.2.11:40001");
    ip(&town.office, "address del 192.0.2.11/24 dev wan0");
    ip(&town.office, "address add 192.0.2.111/24 dev wan0");
    // wireguard-go holds on to the source address it has used before; opening its socket again makes it forget.
    town.wireguard().change_port(40001);
    // The relay learns of the move from the first packet that the office has to send: here a query, at worst the keepalive.
    wait_until("the relay follows to the new address", Duration::from_secs(10), || {
        town.counter().query((SHARED_GLOBAL, 53), "who?").is_some() && peer_of(&relay, town) == "192.0.2.111:40001"
    });
    assert!(download.is_running(), "the download ended before the router moved");
    let download = download.finish();
    assert_eq!((download.sha256, download.connections), (whole, 1));
    let moves = relay.metric("chukei_tunnel_roams_total{tenant=\"131016-chiyoda\",tunnel=\"main\"}");
    assert_eq!(moves.map(|moves| moves - moves_before), Some(2.0));
}

#[test]
fn a_router_that_lost_its_power_is_back_as_soon_as_it_calls() {
    let (mut lab, relay) = relay_among(three_municipalities(), Driver::AfPacket);
    let url = format!("http://{SHARED_GLOBAL}/who");
    assert!(lab.towns[0].counter().fetch(&url).is_ok());
    lab.towns[0].power_cycle_router();
    let town = &lab.towns[0];
    wait_until("the restarted router has a session", Duration::from_secs(5), || town.wireguard().latest_handshake() > 0);
    assert!(town.counter().fetch(&url).is_ok());
    assert!(lab.towns[1].counter().fetch(&url).is_ok());
    relay.wait_for_tunnels(3);
}
