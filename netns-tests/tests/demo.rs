//! `chukei demo --once --json`, as root and as anybody.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use netns_tests::process::{finish, text_of};
use netns_tests::relay::binary;
use serde_json::Value;

/// Debian's `nobody`.
const NOBODY: &str = "65534";

fn judge(output: &Output, driver: &str) {
    let report: Value = serde_json::from_str(&text_of(output, "chukei demo --once --json")).expect("one JSON object");
    let tenants = report["tenants"].as_array().expect("tenants");
    assert_eq!(tenants.len(), 3, "{report:#}");
    let kinds: Vec<_> = tenants.iter().map(|tenant| tenant["kind"].as_str().unwrap_or_default()).collect();
    assert_eq!(kinds, ["wireguard", "wireguard", "ipsec"], "{report:#}");
    for tenant in tenants {
        assert_eq!(tenant["tunnel"], "up", "{report:#}");
        assert!(tenant["tcp_bytes"].as_u64() > Some(0), "{report:#}");
        assert!(["tcp_sha256_ok", "udp_ok", "ping_ok"].iter().all(|check| tenant[*check] == true), "{report:#}");
    }
    assert_eq!((report["foreign_packets_seen"].as_u64(), report["driver"].as_str()), (Some(0), Some(driver)), "{report:#}");
    assert!(report["mode"].is_string() && report["drops"].as_object().is_some_and(|drops| !drops.is_empty()), "{report:#}");
}

#[test]
fn root_sees_three_municipalities_over_af_xdp() {
    let mut demo = Command::new("timeout");
    demo.args(["120", &binary(), "demo", "--once", "--json"]);
    judge(&finish(demo), "af_xdp");
}

#[test]
fn an_ordinary_user_sees_three_municipalities_over_af_packet() {
    // The build directory may be closed to others.
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("open the directory");
    let copy = directory.path().join("chukei");
    fs::copy(binary(), &copy).expect("copy the program");
    let mut demo = Command::new("setpriv");
    demo.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--inh-caps=-all", "timeout", "120"]);
    demo.arg(&copy).args(["demo", "--once", "--json"]).current_dir("/");
    judge(&finish(demo), "af_packet");
}
