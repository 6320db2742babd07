//! The emergency cut-off: at once, for exactly what was named, and until it is ended on purpose.

use std::time::Duration;

use netns_tests::plan::{DOCUMENTS, SHARED_GLOBAL, three_municipalities};
use netns_tests::process::wait_until;
use netns_tests::relay::{Driver, relay_among};

#[test]
fn an_isolated_tenant_is_cut_off_in_the_middle_of_a_download_and_stays_so_until_reopened() {
    let (lab, mut relay) = relay_among(three_municipalities(), Driver::AfXdp);
    let (town, other) = (&lab.towns[0], &lab.towns[1]);
    let tenant = town.plan.tenant.as_str();
    let (_, whole) = lab.file("body", 100_000_000);
    let (url, who) = (format!("http://{SHARED_GLOBAL}/files/body"), format!("http://{SHARED_GLOBAL}/who"));
    let download = town.counter().start_download(lab.directory(), "cut", &url, 4_000_000);
    let unharmed = other.counter().start_download(lab.directory(), "unharmed", &url, 20_000_000);
    wait_until("the download has begun", Duration::from_secs(5), || download.progress() > 1_000_000);

    relay.must(&["isolate", tenant, "--reason", "ransomware in the town hall"]);
    let stopped_at = download.progress();
    std::thread::sleep(Duration::from_secs(2));
    // What stood in curl's and the kernel's buffers may still be written, at curl's rate; nothing new comes.
    assert!(download.progress() - stopped_at < 2_000_000, "{} bytes came after the cut", download.progress() - stopped_at);
    let rest = download.progress();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(download.progress(), rest);
    download.abandon();
    assert!(relay.drops(tenant).count("tenant_isolated") > 0);
    assert_eq!(relay.tenant(tenant)["isolated"].to_string(), r#"["all"]"#);

    relay.must(&["reload"]);
    assert_eq!(town.counter().fetch(&who), Err(28), "still cut off after a reload");
    assert_eq!(unharmed.finish().sha256, whole);
    relay.crash_and_restart();
    relay.wait_until_ready();
    relay.wait_for_tunnels(3);
    assert_eq!(town.counter().fetch(&who), Err(28), "still cut off after a restart");
    assert!(other.counter().fetch(&who).is_ok());
    relay.must(&["reopen", tenant]);
    assert!(town.counter().fetch(&who).is_ok());
}

#[test]
fn a_class_or_a_service_is_cut_off_alone() {
    let (lab, relay) = relay_among(three_municipalities(), Driver::AfPacket);
    let town = &lab.towns[2];
    let tenant = town.plan.tenant.as_str();
    let register = || town.counter().query((SHARED_GLOBAL, 53), "who?").is_some();
    let tax = || town.counter().fetch(&format!("http://{SHARED_GLOBAL}:10443/who")).is_ok();
    let documents = || town.clerk().query((DOCUMENTS, 53), "who?").is_some();

    relay.must(&["isolate", tenant, "--class", "mynumber", "--reason", "suspicion"]);
    assert_eq!((register(), tax(), documents()), (false, false, true));
    assert!(relay.drops(tenant).count("class_isolated") > 0);
    relay.must(&["reopen", tenant, "--class", "mynumber"]);
    assert_eq!((register(), tax(), documents()), (true, true, true));

    relay.must(&["isolate", tenant, "--service", "住民記録", "--reason", "maintenance gone wrong"]);
    assert_eq!((register(), tax(), documents()), (false, true, true));
    assert!(relay.drops(tenant).count("service_isolated") > 0);
    relay.must(&["reopen", tenant, "--service", "住民記録"]);
    assert_eq!((register(), tax(), documents()), (true, true, true));

    let refused = relay.command(&["isolate", "999999-atlantis", "--reason", "practice"]);
    assert!(!refused.status.success(), "a tenant that does not exist cannot be isolated");
}
