//! The shipped examples under `configs/`.

use std::path::Path;

use super::super::*;

const RELAY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/relay.yaml");

#[test]
fn the_examples_pass_with_nothing_but_missing_keys_to_warn_of() {
    let loaded = load(Path::new(RELAY), Purpose::Check);
    for problem in &loaded.problems {
        assert_eq!(problem.severity, Severity::Warning, "{problem}");
        assert!(problem.message.ends_with("the key file does not exist"), "{problem}");
        assert!(problem.help.as_ref().is_some_and(|help| help.contains("chukei keygen ")), "{problem}");
    }
    assert_eq!(loaded.problems.len(), 6, "one relay key and five preshared ones");
    let relay = loaded.relay.expect("no errors");
    let ids: Vec<&str> = relay.tenants.iter().map(|tenant| tenant.id.as_str()).collect();
    assert_eq!(ids, ["011002-sapporo", "131016-chiyoda", "131024-chuo", "131032-minato"]);
}

#[test]
fn running_without_key_files_is_refused() {
    let loaded = load(Path::new(RELAY), Purpose::Run);
    assert!(loaded.relay.is_none());
    assert_eq!(loaded.problems.iter().filter(|problem| problem.severity == Severity::Error).count(), 6);
}
