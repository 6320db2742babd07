//! Key files: who may read them, what they may hold, and what `check` and `run` say.

use std::os::unix::fs::symlink;

use super::super::*;
use super::fixture::{Fixture, relative_to};

const KEY: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";

fn problem(fixture: &Fixture, purpose: Purpose) -> (Severity, String, String) {
    let loaded = fixture.load(purpose);
    assert_eq!(loaded.problems.len(), 1, "{:#?}", loaded.problems);
    let problem = loaded.problems[0].clone();
    let root = fixture.path("");
    let root = root.as_path();
    let help = relative_to(root.components().as_path(), problem.help.as_deref().unwrap_or_default());
    (problem.severity, relative_to(root.components().as_path(), &problem.message), help)
}

fn with_psk() -> Fixture {
    Fixture::new().edit("tenants/chuo.yaml", "bhs=", "bhs=, preshared_key_file: keys/a.psk")
}

#[test]
fn a_missing_key_is_a_warning_to_check_and_an_error_to_run() {
    let fixture = with_psk();
    let (severity, message, help) = problem(&fixture, Purpose::Check);
    assert_eq!(severity, Severity::Warning);
    assert_eq!(message, "keys/a.psk: the key file does not exist");
    assert_eq!(help, "make it where the relay runs: chukei keygen --psk keys/a.psk");
    assert_eq!(problem(&fixture, Purpose::Run).0, Severity::Error);
    assert!(fixture.load(Purpose::Check).relay.is_some());
    assert!(fixture.load(Purpose::Run).relay.is_none());

    std::fs::remove_file(fixture.path("keys/relay.key")).expect("there");
    fixture.write_key("keys/a.psk", KEY, 0o600);
    assert_eq!(problem(&fixture, Purpose::Check).2, "make it where the relay runs: chukei keygen keys/relay.key");
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    for mode in [0o640, 0o604, 0o610, 0o666] {
        let fixture = with_psk();
        fixture.write_key("keys/a.psk", KEY, 0o600);
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(fixture.path("keys/a.psk"), permissions).expect("ours");
        let (severity, message, help) = problem(&fixture, Purpose::Check);
        assert_eq!(severity, Severity::Error);
        assert_eq!(message, format!("keys/a.psk: has mode {mode:04o}: others than its owner may use it"));
        assert_eq!(help, "chmod 600 keys/a.psk");
    }
}

#[test]
fn a_key_of_another_user_is_refused() {
    let fixture = Fixture::new();
    let owner = rustix::process::geteuid().as_raw();
    let error = super::super::keys::read_key_of(&fixture.path("keys/relay.key"), owner + 1).expect_err("not theirs");
    assert_eq!(error.to_string(), format!("belongs to user {owner}, not to {} who runs this program", owner + 1));
}

#[test]
fn links_and_directories_are_no_key_files() {
    let fixture = with_psk();
    symlink(fixture.path("keys/relay.key"), fixture.path("keys/a.psk")).expect("new");
    assert!(problem(&fixture, Purpose::Check).1.starts_with("keys/a.psk: is not a regular file"));
    std::fs::remove_file(fixture.path("keys/a.psk")).expect("there");
    std::fs::create_dir(fixture.path("keys/a.psk")).expect("new");
    assert!(problem(&fixture, Purpose::Check).1.starts_with("keys/a.psk: is not a regular file"));
}

#[test]
fn what_is_not_one_key_is_refused_without_showing_it() {
    let two = format!("{KEY}\n{KEY}");
    let longer = format!("{KEY}=");
    let unpadded = KEY.replace('=', "A");
    for content in ["", "hunter2", &two, &longer, &unpadded, "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eH?A="] {
        let fixture = with_psk();
        fixture.write_key("keys/a.psk", content, 0o600);
        let (severity, message, _) = problem(&fixture, Purpose::Check);
        assert_eq!(severity, Severity::Error);
        assert_eq!(message, "keys/a.psk: does not hold one key: expected 44 characters of base64 that end in `=`");
    }
    let fixture = with_psk();
    fixture.write_key("keys/a.psk", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 0o600);
    assert_eq!(problem(&fixture, Purpose::Check).1, "keys/a.psk: holds a key of zeros, which is no secret");
}

#[test]
fn a_key_is_read_with_or_without_its_line_end() {
    let fixture = Fixture::new();
    for content in [KEY.to_owned(), format!("{KEY}\r"), format!("{KEY}\n")] {
        fixture.write_key("keys/a.psk", content.strip_suffix('\n').unwrap_or(&content), 0o600);
        let key = read_key(&fixture.path("keys/a.psk")).expect("one key");
        let expected: [u8; 32] = std::array::from_fn(|index| u8::try_from(index + 1).expect("small"));
        assert_eq!(*key, expected);
    }
}

#[test]
fn one_preshared_key_for_two_tenants_is_worth_a_warning() {
    let fixture = with_psk().edit("tenants/chiyoda.yaml", "8T8=", "8T8=, preshared_key_file: keys/a.psk");
    fixture.write_key("keys/a.psk", KEY, 0o600);
    let (severity, message, _) = problem(&fixture, Purpose::Run);
    assert_eq!((severity, message.as_str()), (Severity::Warning, "this preshared key is another tunnel's already"));
}

#[test]
fn paths_in_commands_are_safe_to_paste() {
    assert_eq!(KeyKind::Private.keygen_command(Path::new("/etc/a b/$(x)'y")), r"chukei keygen '/etc/a b/$(x)'\''y'");
}
