//! Attempts on the relay as a process: its configuration, log, metrics, API and secrets. Numbers are those of the table "Isolation" in
//! `dataplane/CONFORMANCE.md`; the canary of each is a word, a name or a key of another tenant that must stand nowhere else.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use clap::builder::ValueParser;
use dataplane::counters::WorkerCounters;
use dataplane::drop_reason::DropReason;
use dataplane::router_config::{TenantEntry, WorkerId};
use dataplane::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::clock::{self, Clocks};
use crate::isolation::{Isolation, Scope};
use crate::metrics::{self, IpsecScrape, Scrape};
use crate::registry::Registry;
use crate::relay::Relay;
use crate::reload::ReloadRefused;
use crate::setup::Setup;
use crate::testing::{Site, router, tenant};
use crate::{api, cli, logging};

const CHIYODA: &str = "131016-chiyoda";
const CHUO: &str = "131024-chuo";

fn entry(relay: &Relay, tenant: &str) -> TenantEntry {
    let router = relay.state().router();
    router.tenants.iter().find(|entry| *entry.config.name == *tenant).expect("configured").clone()
}

async fn cut_off(relay: &Relay, tenant: &str) {
    let scope = Scope { tenant: tenant.into(), class: None, service: None };
    let isolation = Isolation { scope, reason: "malware found".into(), by: "uid 0".into(), at: clock::now() };
    assert!(relay.isolate(isolation).await.expect("isolated").effective);
}

#[tokio::test]
async fn attempt_44_a_crash_in_the_middle_of_a_change_leaves_the_old_configuration_or_none() {
    let site = Site::new();
    let relay = site.start(clock::now());
    cut_off(&relay, CHIYODA).await;
    let before = relay.state().router();
    let whole = std::fs::read_to_string(site.path("tenants/131024-chuo.yaml")).expect("there");
    // One file is new and good, and the writer of the other died at any byte of it: never is one of the two in force alone.
    site.tenant(CHIYODA, 2201, "");
    let complete = |text: &str| text.trim_end() == whole.trim_end();
    for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end) && !complete(&whole[..*end])).step_by(7) {
        site.write("tenants/131024-chuo.yaml", &whole[..end]);
        let refused = relay.reload("test").await;
        assert!(matches!(refused, Err(ReloadRefused::Problems(_))), "{end} bytes were taken for a tenant");
        assert!(Arc::ptr_eq(&before, &relay.state().router()), "{end} bytes");
        assert!(Setup::load(&mut Setup::loader(&site.path("relay.yaml"))).is_err(), "a start is refused as a whole, too");
    }
    assert!(entry(&relay, CHIYODA).config.isolated, "and an operator's cut-off holds all the time");
    // What the crash left of a file that was being replaced is no file of anybody.
    site.write("tenants/131024-chuo.yaml", &whole);
    site.write("tenants/.131024-chuo.yaml.tmp", &whole[..40]);
    let restarted = site.start(clock::now());
    assert!(entry(&restarted, CHIYODA).config.isolated, "after the restart as before it");
    assert!(!entry(&restarted, CHUO).config.isolated);
}

#[test]
fn attempt_45_no_name_from_outside_forges_a_line_of_the_log() {
    let forgeries = [
        "x\r\nINFO all is well",
        "x\u{1b}[2J\u{1b}[1;1H",
        "x\u{202e}llew si lla",
        "x\u{2028}INFO",
        "x\u{85}INFO",
        "x\u{0}y\u{7f}\u{9b}31m",
    ];
    for forgery in forgeries {
        // Of an IKE identity: text of another kind than opaque bytes is refused, and bytes are shown as digits.
        assert_eq!(ike::Identity::from_wire(2, forgery.as_bytes()).is_some(), !forgery.chars().any(char::is_control), "{forgery:?}");
        let opaque = ike::Identity::from_wire(11, forgery.as_bytes()).expect("any bytes").to_string();
        // Of whatever else: the writer is the last to see it.
        for text in [forgery, &opaque] {
            let line = logging::escaped(&format!("identity={text} a wrong proof\n"));
            assert_eq!(line.lines().count(), 1, "{line:?}");
            let shown = line.trim_end_matches('\n');
            assert!(!shown.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{202e}')), "{line:?}");
            assert!(shown.starts_with("identity=x") || text == opaque, "what can be shown is shown: {line:?}");
        }
    }
}

/// A page of a relay with these tenants.
fn page(router: &dataplane::router_config::RouterConfig, ipsec: &IpsecScrape) -> String {
    let moment = time::macros::datetime!(2026-12-01 09:00 +9);
    metrics::text(&Scrape {
        relay: "tokyo-1",
        router,
        registry: &Registry::default(),
        ports: &[],
        workers: &[Arc::<WorkerCounters>::default()],
        clocks: Clocks { wall: moment, worker: Instant::from_secs(100) },
        started: moment,
        generation: 1,
        last_reload: (true, moment),
        ipsec,
    })
}

#[test]
fn attempt_46_nothing_that_strangers_do_makes_a_row_of_the_metrics() {
    let quiet = router([tenant("a"), tenant("b")]);
    let rows = |page: &str| page.lines().filter(|line| !line.starts_with('#')).count();
    let alone = rows(&page(&quiet, &IpsecScrape::default()));
    // Every reason there is, at the port, where strangers are counted: one row each, however often it comes.
    let flooded = router([tenant("a"), tenant("b")]);
    let mut strangers = IpsecScrape::default();
    for _ in 0..3 {
        for reason in DropReason::ALL {
            flooded.ports[0].counters.share(WorkerId(0)).drops.add(*reason, 1_000_000);
        }
        for failure in ike::Failure::ALL {
            (0..1_000).for_each(|_| strangers.counters.engine.failures.count(*failure));
        }
        assert_eq!(rows(&page(&flooded, &strangers)), alone + DropReason::COUNT);
    }
    // A tenant's own rows are one for each reason at most, and carry its own name only.
    DropReason::ALL.iter().for_each(|reason| flooded.tenants[0].counters.drops.add(*reason, 1));
    let after = page(&flooded, &strangers);
    assert_eq!(rows(&after), alone + 2 * DropReason::COUNT);
    let of_b = |page: &str| page.lines().filter(|line| line.contains("tenant=\"b\"")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(of_b(&after), of_b(&page(&quiet, &IpsecScrape::default())), "and b's are what they were");
}

/// Status and body of one request.
async fn ask(site: &Site, head: &str, body: &[u8]) -> (u16, String) {
    let mut stream = UnixStream::connect(site.path("api.sock")).await.expect("connected");
    // A request that is refused at its head may be hung up on.
    let _ = stream.write_all(format!("{head}\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await;
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // Hanging up on what it does not want to read ends the stream with an error, behind the answer.
    let _ = tokio::time::timeout(Duration::from_secs(10), read).await.expect("in time");
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head[9..12].parse().expect("a status"), body.to_owned())
}

#[tokio::test]
async fn attempt_47_the_api_tells_a_stranger_nothing_and_a_contractor_its_own_and_reads_no_gigabyte() {
    let site = Site::new();
    let relay = site.start(clock::now());
    let listener = api::bind(&site.path("api.sock")).expect("bound");
    tokio::spawn(api::serve(listener, Arc::clone(&relay)));
    tokio::task::yield_now().await;
    cut_off(&relay, CHUO).await;
    for question in ["tenants", "tunnels", "sessions", "neighbors", "drops", "isolations", "explain-ike"] {
        for crooked in [
            "%2e%2e/131024-chuo",
            "131016-chiyoda%00131024-chuo",
            "131016-chiyoda/../131024-chuo",
            "131016-chiyoda%0d%0aviewer:%20x",
            "*",
            "",
        ] {
            let (status, body) = ask(&site, &format!("GET /v1/{question}?viewer=chiyoda&tenant={crooked} HTTP/1.1"), b"").await;
            assert!(matches!(status, 400 | 404), "{question} {crooked}: {status}");
            assert!(!body.contains("chuo") && !body.contains("malware"), "{question} {crooked}: {body}");
        }
        let (status, body) = ask(&site, &format!("GET /v1/{question}?viewer=nobody HTTP/1.1"), b"").await;
        assert_eq!((status, body.contains("chuo")), (404, false), "{question}: {body}");
    }
    for path in
        ["/v1/../v1/tenants", "//v1/tenants", "/v1/%2e%2e/tenants", "/etc/passwd", "/v1/tenants/131024-chuo", "/v1/../../keys/relay.key"]
    {
        let (status, body) = ask(&site, &format!("GET {path} HTTP/1.1"), b"").await;
        assert_eq!((status, body.contains("chuo")), (404, false), "{path}");
    }
    // A gigabyte is refused after the sixteen kibibytes that a request may have, announced or not.
    let post = "POST /v1/isolate HTTP/1.1\r\ncontent-type: application/json";
    assert_eq!(ask(&site, &format!("{post}\r\ncontent-length: 1073741824"), &[b' '; 0x8000]).await.0, 413);
    let chunks = format!("8000\r\n{}\r\n0\r\n\r\n", "x".repeat(0x8000));
    assert_eq!(ask(&site, &format!("{post}\r\ntransfer-encoding: chunked"), chunks.as_bytes()).await.0, 413);
    let twice = br#"{"scope":{"tenant":"131016-chiyoda","tenant":"131024-chuo"},"reason":"x"}"#;
    let (status, _) = ask(&site, &format!("{post}\r\ncontent-length: {}", twice.len()), twice).await;
    assert_eq!(status, 422, "a key that stands twice is no key");
    assert!(!entry(&relay, CHIYODA).config.isolated);
}

#[tokio::test]
async fn attempt_48_no_secret_is_in_debug_output_in_an_error_or_in_the_arguments() {
    let site = Site::new();
    let secret = [0x55_u8; 32];
    let spelled: [String; 4] = [
        base64::engine::general_purpose::STANDARD.encode(secret),
        secret.iter().map(|byte| format!("{byte:02x}")).collect(),
        format!("{:?}", &secret[..8]).trim_matches(['[', ']']).to_owned(),
        "a preshared secret of the town".to_owned(),
    ];
    let is_silent = |what: &str, text: &str| {
        for secret in &spelled {
            assert!(!text.contains(secret.as_str()), "{what} shows {secret}");
        }
    };
    let setup = Setup::load(&mut Setup::loader(&site.path("relay.yaml"))).expect("accepted");
    let relay = site.start(clock::now());
    is_silent("the setup", &format!("{setup:?} {setup:#?}"));
    let state = format!("{:?}", relay.state());
    let router = relay.state().router();
    let key_exchange = relay.state().ike_config();
    is_silent("the state", &state);
    is_silent("the data plane's configuration", &format!("{router:?}"));
    is_silent("key exchange", &format!("{key_exchange:?}"));
    is_silent("a preshared key", &format!("{:?}", ike::Psk::new(spelled[3].clone().into_bytes())));
    // A key file that is none is refused without a byte of what is in it.
    site.write("keys/relay.key", &format!("{} {}", spelled[0], spelled[3]));
    let problems = Setup::load(&mut Setup::loader(&site.path("relay.yaml"))).expect_err("two keys");
    is_silent("a refusal", &format!("{problems:?} {}", problems.iter().map(ToString::to_string).collect::<String>()));
    let Err(refused) = relay.reload("test").await else { panic!("refused") };
    is_silent("a refused reload", &format!("{refused:?} {refused}"));
    // Whatever command there is: what has to do with a secret is a switch, or names a file.
    let mut commands = vec![cli::command()];
    while let Some(command) = commands.pop() {
        for argument in command.get_arguments() {
            let kind = argument.get_value_parser().type_id();
            let is_harmless = [ValueParser::path_buf(), ValueParser::bool()].iter().any(|harmless| harmless.type_id() == kind);
            let name = argument.get_id().as_str().replace("public_key", "");
            let is_secret = ["key", "psk", "secret", "password"].iter().any(|word| name.contains(word));
            assert!(is_harmless || !is_secret, "{argument} of {} would stand in the list of processes", command.get_name());
        }
        commands.extend(command.get_subcommands().cloned());
    }
}
