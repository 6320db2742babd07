//! What several tunnels of a tenant are to one another.

use super::super::*;
use super::fixture::{Fixture, NOTHING};

const CHUO: &str = "tenants/chuo.yaml";
const SPARE: &str = "  spare: {endpoint: tokyo-a, wireguard: {public_key: NRUz0WACnLBWcVZW+byPOAnC3c9DoUP2Jm5uEZ3XJEY=}}\n";

/// 中央区 with these lines behind its first tunnel, from line 5 on.
fn chuo(lines: &str) -> Fixture {
    Fixture::new().edit(CHUO, "office:", &format!("{lines}office:"))
}

fn redundancy(fixture: &Fixture) -> Redundancy {
    let loaded = fixture.load(Purpose::Check);
    loaded.relay.unwrap_or_else(|| panic!("{:?}", loaded.problems)).tenant("131024-chuo").expect("there").redundancy
}

#[test]
fn the_first_tunnel_is_preferred_where_the_file_says_nothing_else() {
    assert_eq!(redundancy(&chuo("")), Redundancy::Prefer);
    assert_eq!(redundancy(&chuo(SPARE)), Redundancy::Prefer);
    assert_eq!(redundancy(&chuo(&format!("{SPARE}redundancy: prefer\n"))), Redundancy::Prefer);
    let both = chuo(&format!("{SPARE}prefer: spare\nredundancy: both\n"));
    assert_eq!((redundancy(&both), both.problems()), (Redundancy::Both, NOTHING.map(String::from).to_vec()));
}

#[test]
fn another_word_is_refused_where_it_stands_and_the_two_that_there_are_are_explained() {
    let fixture = chuo(&format!("{SPARE}redundancy: balance\n"));
    assert_eq!(fixture.problems(), ["error: tenants/chuo.yaml:6:13 redundancy: unknown redundancy `balance`"]);
    let help = fixture.load(Purpose::Check).problems[0].help.clone().unwrap_or_default();
    assert!(help.contains("`prefer`: ") && help.contains("`both`: "), "{help}");
    let fixture = chuo(&format!("{SPARE}redundancy: [both]\n"));
    assert_eq!(fixture.problems(), ["error: tenants/chuo.yaml:6:13 redundancy: expected `prefer` or `both`, found a list"]);
}

#[test]
fn one_tunnel_is_no_redundancy() {
    let fixture = chuo("redundancy: both\n");
    assert_eq!(fixture.problems(), ["error: tenants/chuo.yaml:5:13 redundancy: `both` needs two tunnels, and the tenant has one"]);
    let fixture = chuo("redundancy: prefer\n");
    assert_eq!(fixture.problems(), ["warning: tenants/chuo.yaml:5:13 redundancy: the tenant has one tunnel: there is nothing to prefer"]);
    // A tunnel that could not be read may be the other one.
    let fixture = chuo("  spare: {endpoint: tokyo-a, wireguard: 1}\nredundancy: both\n");
    assert_eq!(fixture.problems().iter().filter(|problem| problem.contains("redundancy")).count(), 0);
}
