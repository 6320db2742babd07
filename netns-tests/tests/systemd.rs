//! The service units are as tight as their own comments say.

use std::path::Path;
use std::process::Command;

use netns_tests::process::{finish, text_of};

/// What `systemd-analyze` makes of a unit: 0 is confined, 10 is not at all.
fn exposure(unit: &str) -> f64 {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/systemd").join(unit);
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--no-pager", "--offline=true"]).arg(path);
    let report = text_of(&finish(command), "systemd-analyze security");
    let last = report.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_else(|| panic!("no verdict:\n{report}"));
    let figure = last.rsplit(": ").next().and_then(|verdict| verdict.split(' ').next());
    figure.and_then(|figure| figure.parse().ok()).unwrap_or_else(|| panic!("no figure in {last}"))
}

#[test]
fn the_relays_unit_is_exposed_at_most_by_1_5_and_the_launchers_by_2_5() {
    let (relay, launcher) = (exposure("chukei.service"), exposure("chukei-launcher.service"));
    println!("chukei.service: {relay}, chukei-launcher.service: {launcher}");
    assert!(relay <= 1.5, "chukei.service: {relay}");
    assert!(launcher <= 2.5, "chukei-launcher.service: {launcher}");
}
