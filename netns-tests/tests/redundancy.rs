//! A town hall with two routers, one of which dies without a word: what goes on, by which of them, and how soon.

use std::time::{Duration, Instant};

use netns_tests::canary;
use netns_tests::hall::{self, COUNTER, Place, SERVICES};
use netns_tests::plan::{Municipality, RELAY_IDENTITY, SHARED_GLOBAL};
use netns_tests::process::{ip, wait_until};
use netns_tests::relay::{Driver, Drops, Files, Relay};
use netns_tests::router::Router;
use netns_tests::topology::{Lab, Town};
use netns_tests::traffic::Host;

/// Seconds of silence after which the relay asks an IPsec router whether it lives; it has the time of all its questions then.
const DPD: u64 = 5;
const QUESTIONS: u64 = 47;
/// Of a WireGuard router: 15 s of silence and 5 s for a handshake, in steps of 250 ms.
const WIREGUARD_DEATH: u64 = 21;
/// For a busy machine, and for polling.
const SLACK: u64 = 6;
const BYTES_PER_SECOND: u32 = 300_000;
/// Who the relay says it is to the second hall.
const BACKUP_IDENTITY: &str = "backup.relay.example.jp";

/// A town hall with charon and wireguard-go as routers of one office, and a neighbour whose office has the same addresses.
struct Country {
    lab: Lab,
    relay: Relay,
    wireguard: Option<Router>,
}

impl Country {
    /// `settings` of the tenant file beside its tunnels, of which charon's is `ipsec` and the other one `wireguard`.
    fn new(settings: &str) -> Self {
        let mut town = Municipality::new("131016-chiyoda", "千代田区", 1).with_ipsec();
        town.ipsec.as_mut().expect("IPsec").more.push(format!("dpd: {DPD}"));
        let neighbour = Municipality::new("141003-yokohama", "横浜市", 2).with_offices(town.mynumber, town.lgwan_connected);
        let lab = Lab::new(vec![town, neighbour]);
        let [town, neighbour] = &lab.towns[..] else { panic!("two towns") };
        let wireguard = Router::start(&town.office, lab.directory(), &town.plan, &lab.relay_keys.public);
        let files = Files::write(&lab, Driver::AfXdp, 1500);
        lab.towns.iter().for_each(|town| files.put(&town.plan));
        files.put_text(&town.plan.tenant, &tenant_file(&town.plan, settings));
        let relay = Relay::start_with(&lab, files);
        ip(&town.office, "rule add pref 100 lookup 100");
        town.router.call_relay();
        wireguard.call_relay();
        neighbour.router.call_relay();
        relay.wait_for_tunnels(3);
        Self { lab, relay, wireguard: Some(wireguard) }
    }

    fn town(&self) -> &Town {
        &self.lab.towns[0]
    }

    /// The office's own routing, as its two routers have agreed on it.
    fn office_sends_by(&self, interface: &str) {
        let source = self.town().plan.counter();
        ip(&self.town().office, &format!("route replace 203.0.113.0/24 dev {interface} src {source} table 100"));
    }

    fn wireguard_interface(&self) -> String {
        self.wireguard.as_ref().expect("a living router").interface().to_owned()
    }

    fn reload(&self, settings: &str) {
        let plan = &self.town().plan;
        self.relay.files.put_text(&plan.tenant, &tenant_file(plan, settings));
        self.relay.must(&["reload"]);
    }

    /// Bytes that went to the office by a tunnel, and what it says that it carries.
    fn tunnel(&self, name: &str) -> (u64, String) {
        tunnel(&self.relay, &self.town().plan.tenant, name)
    }

    fn bytes(&self, tunnel: &str) -> u64 {
        self.tunnel(tunnel).0
    }

    /// What `ipsec` and `wireguard` carry.
    fn carry(&self) -> [String; 2] {
        ["ipsec", "wireguard"].map(|name| self.tunnel(name).1)
    }

    /// A download of so many bytes by the counter, from first to last; what it brought by each tunnel.
    fn download(&self, bytes: usize) -> [u64; 2] {
        let before = ["ipsec", "wireguard"].map(|name| self.bytes(name));
        let (_, whole) = self.lab.file("short", bytes);
        assert_eq!(self.town().counter().download(&format!("http://{SHARED_GLOBAL}/files/short")).sha256, whole);
        let after = ["ipsec", "wireguard"].map(|name| self.bytes(name));
        [after[0] - before[0], after[1] - before[1]]
    }

    /// A question of the counter finds an answer. TCP would not do to tell how soon: its pauses double as long as nothing comes through.
    fn answers(&self) -> bool {
        self.town().counter().query_within(Duration::from_millis(500), (SHARED_GLOBAL, 53), "who?").is_some()
    }

    fn neighbour_works(&self) -> bool {
        let neighbour = &self.lab.towns[1];
        neighbour.counter().query((SHARED_GLOBAL, 53), "who?") == Some(format!("who?{}", canary::mynumber(&neighbour.plan.tenant)))
    }
}

/// The tunnels' order is theirs in the file.
fn tenant_file(plan: &Municipality, settings: &str) -> String {
    let wireguard = format!("  wireguard: {{endpoint: tokyo-a, wireguard: {{public_key: \"{}\"}}}}\n", plan.keys.public);
    plan.yaml().replacen("  main: ", "  ipsec: ", 1).replacen("office:\n", &format!("{wireguard}{settings}office:\n"), 1)
}

fn tunnel(relay: &Relay, tenant: &str, name: &str) -> (u64, String) {
    let rows = relay.show("tunnels");
    let row = rows.iter().find(|row| row["tenant"] == tenant && row["tunnel"] == name).expect("a tunnel");
    (row["cloud_to_office"]["bytes"].as_u64().expect("a number"), row["carries"].as_str().expect("text").to_owned())
}

fn a_download_goes_on_by_the_other_router(redundancy: &str, curl: &[&str], carry: [&str; 2], within: u64, goes_on: fn(&Country) -> bool) {
    let mut country = Country::new(&format!("redundancy: {redundancy}\n"));
    let neighbour = country.lab.towns[1].plan.tenant.clone();
    let losses = country.relay.drops(&neighbour);
    country.office_sends_by("ipsec0");
    assert_eq!(country.carry(), carry);
    let (_, whole) = country.lab.file("body", 20 * BYTES_PER_SECOND as usize);
    let url = format!("http://{SHARED_GLOBAL}/files/body");
    let download = country.town().counter().start_download_with(country.lab.directory(), "long", &url, BYTES_PER_SECOND, curl);
    wait_until("the first tunnel carries it", Duration::from_secs(10), || country.bytes("ipsec") > 600_000);
    assert_eq!(country.bytes("wireguard"), 0);

    let wireguard = country.wireguard_interface();
    country.lab.towns[0].kill_router();
    let died = Instant::now();
    country.office_sends_by(&wireguard);
    wait_until("the other tunnel carries it", Duration::from_secs(within + SLACK), || goes_on(&country));
    println!("{redundancy}: it goes on {:.1} s after the router died", died.elapsed().as_secs_f64());
    assert!(country.neighbour_works());
    let download = download.finish();
    assert_eq!((download.sha256.as_str(), download.connections), (whole.as_str(), 1));
    assert!(country.bytes("wireguard") > 1_000_000, "most of it");
    wait_until("the dead router is noticed", Duration::from_secs(DPD + QUESTIONS + SLACK).saturating_sub(died.elapsed()), || {
        country.carry() == ["nothing", "everything"]
    });

    country.lab.towns[0].power_cycle_router();
    country.town().router.call_relay();
    country.office_sends_by("ipsec0");
    country.relay.wait_for_tunnels(3);
    assert_eq!(country.carry(), carry);
    let [by_ipsec, by_wireguard] = country.download(2_000_000);
    assert!(by_ipsec > 2_000_000 && by_wireguard == 0, "{by_ipsec} and {by_wireguard} bytes");
    assert!(country.neighbour_works());
    assert_eq!(country.relay.drops(&neighbour).since(&losses), Drops::default(), "the neighbour has noticed nothing");
}

#[test]
fn a_download_goes_on_by_the_second_tunnel_when_the_preferred_router_is_found_dead() {
    a_download_goes_on_by_the_other_router("prefer", &[], ["everything", "standby"], DPD + QUESTIONS, Country::answers);
}

#[test]
fn with_both_a_download_follows_its_office_at_once_before_anybody_knows_that_a_router_is_dead() {
    // Its TCP shows each second that it lives, which is all that the office sends while nothing comes.
    let alive = ["--keepalive-time", "1"];
    let goes_on = |country: &Country| country.bytes("wireguard") > 100_000;
    a_download_goes_on_by_the_other_router("both", &alive, ["answers+rest", "answers"], 4, goes_on);
}

#[test]
fn answers_follow_the_office_or_the_preference_and_a_dead_wireguard_router_is_passed_over() {
    let mut country = Country::new("prefer: wireguard\nredundancy: both\n");
    country.office_sends_by("ipsec0");
    let [by_ipsec, by_wireguard] = country.download(1_000_000);
    assert!(by_ipsec > 1_000_000 && by_wireguard == 0, "as the office sends: {by_ipsec} and {by_wireguard} bytes");
    country.reload("prefer: wireguard\nredundancy: prefer\n");
    wait_until("the preference is in force", Duration::from_secs(5), || country.carry() == ["standby", "everything"]);
    let [by_ipsec, by_wireguard] = country.download(1_000_000);
    assert!(by_ipsec == 0 && by_wireguard > 1_000_000, "as preferred: {by_ipsec} and {by_wireguard} bytes");

    let (_, whole) = country.lab.file("body", 20 * BYTES_PER_SECOND as usize);
    let url = format!("http://{SHARED_GLOBAL}/files/body");
    let download = country.town().counter().start_download(country.lab.directory(), "long", &url, BYTES_PER_SECOND);
    let before = country.bytes("wireguard");
    wait_until("the preferred tunnel carries it", Duration::from_secs(10), || country.bytes("wireguard") > before + 600_000);
    drop(country.wireguard.take());
    let died = Instant::now();
    wait_until("the other tunnel carries it", Duration::from_secs(WIREGUARD_DEATH + SLACK), || country.answers());
    println!("it goes on {:.1} s after the WireGuard router died", died.elapsed().as_secs_f64());
    assert_eq!(country.carry(), ["everything", "nothing"]);
    let download = download.finish();
    assert_eq!((download.sha256.as_str(), download.connections), (whole.as_str(), 1));
}

/// The relay with a town hall in which two relays stand, each at the end of a tunnel and each with a memory of its own for what it has let
/// out: nothing else comes in. The tenant file with `settings`.
fn two_firewalls(settings: &str) -> (Lab, Relay, [Relay; 2], impl Fn(&str) -> String) {
    let town = Municipality::new("131016-chiyoda", "千代田区", 1).with_ipsec();
    let identity = town.ipsec.as_ref().expect("IPsec").identity.clone();
    let mut lab = Lab::new(vec![town]);
    let files = Files::write(&lab, Driver::AfXdp, 1500);
    let plan = lab.towns[0].plan.clone();
    let yaml = move |settings: &str| {
        let peer = format!("local_id: {BACKUP_IDENTITY}, remote_id: backup.example.jp, psk_file: keys/{}.psk", plan.tenant);
        let backup = format!("  backup: {{endpoint: tokyo-ipsec, ipsec: {{{peer}}}}}\n{settings}office:\n");
        plan.yaml().replacen("office:\n", &backup, 1)
    };
    files.put(&lab.towns[0].plan);
    files.put_text(&lab.towns[0].plan.tenant, &yaml(settings));
    let relay = Relay::start_with(&lab, files);
    let first = hall::in_place_of_the_router(&mut lab, Driver::AfXdp, &[hall::tunnel("main", (&identity, RELAY_IDENTITY), "")]);
    let second = hall::beside_the_first(&lab, Driver::AfXdp, &[hall::tunnel("backup", ("backup.example.jp", BACKUP_IDENTITY), "")]);
    relay.wait_for_tunnels(2);
    (lab, relay, [first, second], yaml)
}

#[test]
fn behind_two_stateful_firewalls_both_finds_the_way_back_and_a_dead_one_costs_the_others_sessions_nothing() {
    let (lab, relay, [mut first, second], yaml) = two_firewalls("redundancy: both\n");
    let (office, tenant) = (&lab.towns[0].office, lab.towns[0].plan.tenant.clone());
    let counter = Host::new(office, COUNTER);
    let answer = Some(format!("who?{}", canary::mynumber(&tenant)));
    let asks = || counter.query((SERVICES, 53), "who?");
    let carried = || ["main", "backup"].map(|name| tunnel(&relay, &tenant, name).0);
    assert_eq!(asks(), answer);
    assert!(carried()[0] > 0 && carried()[1] == 0, "{:?}", carried());
    Place::Second.carries_the_office(office);
    assert_eq!(asks(), answer, "through the second firewall, back by its tunnel");
    assert!(carried()[1] > 0);

    // Where one tunnel carries everything, the first firewall is shown an answer to what it has not seen.
    let reload = |settings: &str, carry: [&str; 2]| {
        relay.files.put_text(&tenant, &yaml(settings));
        relay.must(&["reload"]);
        let now = || ["main", "backup"].map(|name| tunnel(&relay, &tenant, name).1);
        wait_until("the new word is in force", Duration::from_secs(5), || now() == carry);
    };
    reload("redundancy: prefer\n", ["everything", "standby"]);
    assert_eq!(asks(), None);
    reload("redundancy: both\n", ["answers+rest", "answers"]);
    assert_eq!(asks(), answer);

    let losses = (relay.drops(&tenant), second.drops(hall::TENANT));
    let (_, whole) = lab.file("body", 12 * BYTES_PER_SECOND as usize);
    let url = format!("http://{SERVICES}/files/body");
    let before = carried();
    let download = counter.start_download(lab.directory(), &tenant, &url, BYTES_PER_SECOND);
    wait_until("the second tunnel carries it", Duration::from_secs(10), || carried()[1] > before[1] + 600_000);
    first.process.kill();
    assert_eq!(asks(), answer, "at once, and long before anybody knows");
    let download = download.finish();
    assert_eq!((download.sha256.as_str(), download.connections), (whole.as_str(), 1));
    assert_eq!(carried()[0], before[0], "nothing went by the dead one");
    assert_eq!(relay.drops(&tenant).since(&losses.0), Drops::default());
    assert_eq!(second.drops(hall::TENANT).since(&losses.1), Drops::default());
}
