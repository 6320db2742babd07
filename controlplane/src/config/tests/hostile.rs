//! Files that are no configuration, or are meant to do harm.

use std::os::unix::fs::symlink;

use super::super::*;
use super::fixture::{CHIYODA, CHUO, Fixture, RELAY};

/// The problems when the relay file holds just this.
fn problems_of_relay_file(content: impl AsRef<[u8]>) -> Vec<String> {
    let fixture = Fixture::new();
    fixture.write("relay.yaml", content);
    fixture.problems()
}

/// The problems when something stands before the last tenant file.
fn problems_of_chuo_with(addition: &str) -> Vec<String> {
    let fixture = Fixture::new();
    fixture.write("tenants/chuo.yaml", format!("{CHUO}{addition}"));
    fixture.problems()
}

#[test]
fn the_fixture_itself_is_sound() {
    assert_eq!(Fixture::new().problems(), Vec::<String>::new());
}

#[test]
fn an_alias_bomb_is_refused_before_it_grows() {
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x]\n");
    for (name, of) in ["b", "c", "d", "e", "f", "g", "h"].iter().zip(["a", "b", "c", "d", "e", "f", "g"]) {
        bomb.push_str(&format!("{name}: &{name} [*{of}, *{of}, *{of}, *{of}, *{of}, *{of}, *{of}, *{of}]\n"));
    }
    let found = problems_of_relay_file(&bomb);
    assert!(found.contains(&"error: relay.yaml:1:4 a: anchors (`&name`) are not part of this language".to_owned()), "{found:#?}");
    assert!(found.contains(&"error: relay.yaml:2:8 b[0]: aliases (`*name`) are not part of this language".to_owned()), "{found:#?}");
}

#[test]
fn tags_and_merge_keys_are_refused() {
    let found = problems_of_chuo_with("limits: !!map {sessions: 1}\n");
    assert_eq!(found, ["error: tenants/chuo.yaml:10:9 limits: tags (`!name`) are not part of this language"]);
    let found = problems_of_chuo_with("<<: {sessions: 1}\n");
    assert_eq!(found, ["error: tenants/chuo.yaml:10:1 <<: unknown key `<<`"]);
}

#[test]
fn a_duplicate_key_is_named_with_both_places() {
    let fixture = Fixture::new();
    fixture.write("tenants/chuo.yaml", format!("{CHUO}name: 港区\n"));
    let problem = &fixture.load(Purpose::Check).problems[0];
    assert_eq!((problem.line, problem.column), (10, 1));
    assert_eq!(problem.message, "the key `name` stands here a second time");
    assert_eq!(problem.help.as_deref(), Some("it stands on line 2 already: remove one of the two"));
}

#[test]
fn a_second_document_is_refused() {
    let found = problems_of_relay_file(format!("{RELAY}---\nrelay: other\n"));
    assert_eq!(found, ["error: relay.yaml:11:1: a second document starts here"]);
}

#[test]
fn what_is_missing_at_the_end_is_missing_on_the_last_line() {
    // Found by the fuzz target `configuration`: it was said to be missing on a line behind the last one.
    let found = problems_of_relay_file("relay: a\nports: {aws");
    assert!(found[0].starts_with("error: relay.yaml:2:12: is not YAML: "), "{found:#?}");
}

#[test]
fn deep_nesting_ends_early() {
    assert_eq!(problems_of_relay_file("[".repeat(100_000)), ["error: relay.yaml:1:256: is not YAML: recursion limit exceeded"]);
    let found = problems_of_relay_file("[".repeat(100));
    assert_eq!(found, ["error: relay.yaml:1:18 [0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]: is nested deeper than 16 levels"]);
    let block: String = (0..5_000).map(|depth| format!("{}a:\n", " ".repeat(depth.min(200)))).collect();
    assert_eq!(problems_of_relay_file(block).len(), 1);
}

#[test]
fn a_file_of_more_than_a_mebibyte_is_not_parsed() {
    let found = problems_of_relay_file(vec![b'#'; (1 << 20) + 1]);
    assert_eq!(found, ["error: relay.yaml: is larger than 1048576 bytes"]);
}

#[test]
fn control_characters_are_named_by_place() {
    let found = problems_of_relay_file("relay: \"a\u{0}b\"\nx: \u{1b}[31m\n");
    assert_eq!(
        found,
        ["error: relay.yaml:1:10: holds the control character U+0000", "error: relay.yaml:2:4: holds the control character U+001B"]
    );
}

#[test]
fn names_cannot_forge_lines_of_a_log() {
    let found = problems_of_chuo_with("limits: {\"x\\ny\": 1}\n");
    assert_eq!(found, ["error: tenants/chuo.yaml:10:10 limits.x\\u{a}y: holds the invisible character U+000A"]);
    let fixture = Fixture::new().edit("tenants/chuo.yaml", "name: 中央区", "name: \"中央区\\e[2K\\r\"");
    assert_eq!(fixture.problems(), ["error: tenants/chuo.yaml:2:7 name: holds the invisible character U+001B"]);
    let fixture = Fixture::new().edit("tenants/chuo.yaml", "name: 中央区", "name: \u{202e}区央中");
    assert_eq!(fixture.problems(), ["error: tenants/chuo.yaml:2:7 name: holds the invisible character U+202E"]);
}

#[test]
fn tabs_byte_order_marks_and_other_encodings_are_named() {
    assert_eq!(problems_of_relay_file("relay: a\nports:\n\taws: b\n"), ["error: relay.yaml:3:1: is indented with a tab"]);
    assert_eq!(problems_of_relay_file("\u{feff}relay: a\n"), ["error: relay.yaml:1:1: starts with a byte order mark"]);
    // 中継 in Shift_JIS.
    assert_eq!(problems_of_relay_file(b"relay: a\nname: \x92\x86\x8c\x70\n"), ["error: relay.yaml:2:7: is not UTF-8"]);
}

#[test]
fn what_is_not_yaml_is_named_and_the_other_files_are_still_read() {
    let fixture = Fixture::new().edit("tenants/chiyoda.yaml", "vlan: 2101", "vlan: 5000");
    fixture.write("tenants/chuo.yaml", "tenant: [a\nname: b\n");
    let found = fixture.problems();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("error: tenants/chiyoda.yaml:9:26 clouds.aws.vlan: 5000 is out of range"), "{found:#?}");
    assert!(found[1].starts_with("error: tenants/chuo.yaml:2:5: is not YAML: "), "{found:#?}");
}

#[test]
fn empty_files_lists_and_numbers_are_no_configuration() {
    assert_eq!(problems_of_relay_file(""), ["error: relay.yaml: is empty"]);
    assert_eq!(problems_of_relay_file("# nothing\n"), ["error: relay.yaml: is empty"]);
    assert_eq!(
        problems_of_relay_file("- a\n"),
        ["error: relay.yaml:1:1: expected the relay file (a mapping of keys to values), found a list"]
    );
    assert_eq!(
        problems_of_relay_file("7\n"),
        ["error: relay.yaml:1:1: expected the relay file (a mapping of keys to values), found the number 7"]
    );
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.path("tenants/directory.yaml")).expect("new");
    symlink("nowhere", fixture.path("tenants/dangling.yaml")).expect("new");
    let fifo = fixture.path("tenants/fifo.yaml");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).expect("new");
    let found = fixture.problems();
    assert_eq!(
        found,
        [
            "error: tenants/dangling.yaml: cannot be read: No such file or directory (os error 2)",
            "error: tenants/directory.yaml: is not a regular file",
            "error: tenants/fifo.yaml: is not a regular file",
        ]
    );
}

#[test]
fn editors_hidden_copies_are_no_tenants() {
    let fixture = Fixture::new();
    fixture.write("tenants/.#chuo.yaml", "garbage: [");
    assert_eq!(fixture.problems(), Vec::<String>::new());
}

#[test]
fn a_missing_relay_file_is_one_problem() {
    let loaded = load(std::path::Path::new("/nonexistent/relay.yaml"), Purpose::Check);
    assert!(loaded.relay.is_none());
    assert_eq!(
        loaded.problems[0].to_string().lines().next(),
        Some("error: /nonexistent/relay.yaml: cannot be read: No such file or directory (os error 2)")
    );
}

#[test]
fn thousands_of_problems_of_one_file_are_counted_not_listed() {
    let keys: String = (0..5_000).map(|number| format!("k{number}: 1\n")).collect();
    let found = problems_of_chuo_with(&keys);
    assert_eq!(found.len(), 201);
    assert_eq!(found[200], "error: tenants/chuo.yaml: 4800 more problems are not listed");
}

#[test]
fn overlapping_entries_cost_no_more_problems_than_entries() {
    let pairs: Vec<String> = (0..4_000).map(|n| format!("198.51.{}.{}: 10.254.1.8", n / 250, n % 250)).collect();
    let fixture = Fixture::new().edit("tenants/chuo.yaml", "{napt: [10.254.1.8/30]}", &format!("{{static: {{{}}}}}", pairs.join(", ")));
    let started = std::time::Instant::now();
    let found = fixture.problems();
    assert_eq!(found.len(), 201);
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "took {:?}", started.elapsed());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_never_panic_the_loader(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let fixture = Fixture::new();
        fixture.write("tenants/chuo.yaml", &bytes);
        proptest::prop_assert!(fixture.load(Purpose::Check).relay.is_none(), "300 random bytes are no tenant");
    }

    /// Closer to the language than random bytes: a valid file with pieces replaced, removed and repeated.
    #[test]
    fn mutilated_files_never_panic_the_loader(
        cuts in proptest::collection::vec((0..CHIYODA.len(), 0..12usize, "[-a-z0-9:{}\\[\\], \n\"'&*!|>#%@`./~区\t]{0,6}"), 1..4),
    ) {
        let mut text: Vec<char> = CHIYODA.chars().collect();
        for (start, length, insert) in cuts {
            let start = start.min(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, insert.chars());
        }
        let fixture = Fixture::new();
        fixture.write("tenants/chiyoda.yaml", text.into_iter().collect::<String>());
        let loaded = fixture.load(Purpose::Check);
        let failed = loaded.problems.iter().any(|problem| problem.severity == Severity::Error);
        proptest::prop_assert_eq!(loaded.relay.is_none(), failed);
        for problem in &loaded.problems {
            proptest::prop_assert!(!problem.message.contains("a fault of chukei"), "validation has a gap");
            proptest::prop_assert!(!problem.to_string().replace("\n  help", "").contains(char::is_control));
        }
    }
}
