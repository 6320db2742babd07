//! Files of preshared keys: who may read them, what they may hold, and what rotation needs.

use super::super::*;
use super::fixture::{Fixture, NOTHING};
use super::ipsec_rules::ipsec;

fn chuo() -> Fixture {
    ipsec("", "psk_file: keys/b.psk")
}

fn found(fixture: &Fixture) -> Vec<String> {
    let lines = fixture.problems();
    lines.iter().map(|line| line.split_once("tunnels.main.ipsec.").map_or(line.clone(), |(_, rest)| rest.to_owned())).collect()
}

#[test]
fn text_of_any_length_from_eight_bytes_on_and_a_warning_below_twenty() {
    let fixture = chuo();
    fixture.write_key("keys/b.psk", "1234567", 0o600);
    let short = "psk_file: keys/b.psk: holds a preshared key of 7 bytes, which is quickly guessed: at least 8 are needed";
    assert_eq!(found(&fixture), [short]);
    fixture.write_key("keys/b.psk", "12345678", 0o600);
    assert_eq!(found(&fixture), ["psk_file: keys/b.psk: holds a preshared key of 8 bytes, which can be guessed"]);
    assert!(fixture.load(Purpose::Run).relay.is_some(), "a warning");
    fixture.write_key("keys/b.psk", &"x".repeat(20), 0o600);
    assert_eq!(found(&fixture), NOTHING);
}

#[test]
fn what_is_no_key_is_refused_without_showing_it() {
    for (content, message) in [
        ("", "is empty"),
        ("hunter2 hunter2\nhunter2 hunter2", "holds more than one line, or control characters"),
        ("0xhunter2hunter2", "begins with 0x or 0s, but what follows is not hexadecimal or base64"),
        (&"x".repeat(513), "is longer than 512 bytes"),
    ] {
        let fixture = chuo();
        fixture.write_key("keys/b.psk", content, 0o600);
        assert_eq!(found(&fixture), [format!("psk_file: keys/b.psk: {message}")]);
        let help = fixture.load(Purpose::Check).problems[0].help.clone().unwrap_or_default();
        assert!(help.contains("chukei keygen --psk") && !help.contains("hunter2"), "{help}");
    }
}

#[test]
fn a_key_that_others_may_read_is_refused_and_a_missing_one_only_to_run() {
    let fixture = chuo();
    fixture.write_key("keys/b.psk", "another one, of Chuo city", 0o640);
    assert_eq!(found(&fixture), ["psk_file: keys/b.psk: has mode 0640: others than its owner may use it"]);
    std::fs::remove_file(fixture.path("keys/b.psk")).expect("there");
    assert_eq!(found(&fixture), ["psk_file: keys/b.psk: the key file does not exist"]);
    assert!(fixture.load(Purpose::Check).relay.is_some() && fixture.load(Purpose::Run).relay.is_none());
}

#[test]
fn one_secret_in_two_files_is_one_secret() {
    let fixture = chuo();
    fixture.write_key("keys/b.psk", "a long secret of Chiyoda", 0o600);
    assert_eq!(found(&fixture), ["psk_file: this preshared key is another tunnel's already"]);
}

#[test]
fn the_previous_key_is_another_one() {
    let fixture = ipsec("", "psk_file: keys/b.psk, previous_psk_file: keys/old.psk");
    assert_eq!(found(&fixture), ["previous_psk_file: keys/old.psk: the key file does not exist"]);
    fixture.write_key("keys/old.psk", "the one from last year, long", 0o600);
    assert_eq!(found(&fixture), NOTHING);
    fixture.write_key("keys/old.psk", "another one, of Chuo city", 0o600);
    assert_eq!(found(&fixture), ["previous_psk_file: the previous key is the key itself"]);
    let same_file = ipsec("", "psk_file: keys/b.psk, previous_psk_file: keys/b.psk");
    assert_eq!(found(&same_file), ["previous_psk_file: the previous key is the key itself"]);
    let alone = ipsec("", "certificate: false, previous_psk_file: keys/b.psk");
    assert!(found(&alone).contains(&"previous_psk_file: a previous key without a key".to_owned()));
}
