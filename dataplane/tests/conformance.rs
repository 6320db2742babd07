//! `CONFORMANCE.md` promises nothing that no test proves: every test it names exists, every row has a test or says that it is a gap or
//! deviates, and no clause that was asked for is missing.

#[path = "judge/explained/mod.rs"]
mod explained;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use explained::explained;

/// The clauses of the NAT's specifications, numbered ones by RFC and how many there are.
const NUMBERED_NAT_CLAUSES: [(&str, usize); 4] = [("4787", 14), ("5382", 10), ("5508", 11), ("6888", 15)];
/// The others: of RFC 7857, and from attacks.
const NAMED_NAT_CLAUSES: [&str; 9] = [
    "7857 2.1",
    "7857 2.2",
    "7857 refresh",
    "7857 ports",
    "7857 identification",
    "attack: port shadowing",
    "attack: forged RST",
    "attack: forged \"fragmentation needed\"",
    "attack: fragments of two tenants",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names of all test functions under `directory`.
fn tests_under(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("a readable directory") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            tests_under(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(tests_in(&fs::read_to_string(&path).expect("a readable source")));
        }
    }
}

/// A test is a function whose attributes, right above it, include `#[test]` or `#[tokio::test]`.
fn tests_in(source: &str) -> Vec<String> {
    let mut is_test = false;
    let mut names = Vec::new();
    for line in source.lines().map(str::trim) {
        match line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split_once('(')) {
            Some((name, _)) if is_test => {
                names.push(name.to_owned());
                is_test = false;
            }
            _ => is_test = matches!(line, "#[test]" | "#[tokio::test]") || is_test && (line.starts_with("#[") || line.starts_with("//")),
        }
    }
    names
}

/// The names of all tests that a table may name: those of this crate, and those of the rooms that share its promises.
fn all_tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for directory in ["src", "tests", "../controlplane/src", "../controlplane/ike/src", "../controlplane/ike/tests", "../netns-tests/tests"]
    {
        tests_under(&root().join(directory), &mut names);
    }
    names
}

fn document() -> String {
    fs::read_to_string(root().join("CONFORMANCE.md")).expect("CONFORMANCE.md")
}

/// What stands under the heading of this name, to the next one of its kind.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    document.split("\n## ").find(|section| section.starts_with(heading)).expect("a section of that name")
}

/// The rows of all tables: their cells, without header and ruler.
fn rows(document: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = document.lines().filter(|line| line.starts_with('|')).collect();
    let is_ruler = |line: &str| line.starts_with("|---");
    let body = |n: &usize| !is_ruler(lines[*n]) && lines.get(n + 1).is_none_or(|next| !is_ruler(next));
    (0..lines.len()).filter(body).map(|n| lines[n].trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// What stands between backquotes and looks like the name of a test.
fn named_tests(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).filter(|name| name.contains('_')).collect()
}

#[test]
fn every_test_that_conformance_names_exists_and_every_row_has_one_or_says_why_not() {
    let document = document();
    let existing = all_tests();
    let mut wrong = Vec::new();
    for row in rows(&document) {
        let proof = row.last().expect("cells");
        let tests = named_tests(proof);
        wrong.extend(tests.iter().filter(|name| !existing.contains(**name)).map(|name| format!("{}: no test is called {name}", row[0])));
        if tests.is_empty() && !proof.contains("Gap") && !proof.contains("Deviation") {
            wrong.push(format!("{}: neither a test, nor a gap or deviation", row[0]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_wireguard_table_answers_all_twenty_clauses_in_order() {
    let document = document();
    let table = section(&document, "WireGuard").split("###").next().expect("the WireGuard table");
    let clauses: Vec<usize> = rows(table).iter().map(|row| row[0].parse().expect("a clause number")).collect();
    assert_eq!(clauses, (1..=20).collect::<Vec<_>>());
    assert!(rows(table).iter().all(|row| row.len() == 4));
}

#[test]
fn the_esp_table_answers_what_esp_stands_on() {
    let document = document();
    let table = section(&document, "ESP");
    assert!(rows(table).iter().all(|row| row.len() == 4));
    let clauses: Vec<&str> = rows(table).iter().map(|row| row[0]).collect();
    for rfc in ["4303 2.2", "4303 2.4", "4303 2.6", "4303 3.4.3", "4301 5.2", "4106", "3602", "4868", "3948 2.3", "7296 2.23", "6040"] {
        assert!(clauses.iter().any(|clause| clause.starts_with(rfc)), "no row for RFC {rfc}");
    }
}

/// The numbers in the name of an attempt's test: 5, 6 and 7 of `attempts_5_6_7_destinations`.
fn attempts_of(test: &str) -> Vec<usize> {
    let rest = test.strip_prefix("attempts_").or_else(|| test.strip_prefix("attempt_")).unwrap_or_default();
    rest.split('_').map_while(|word| word.parse().ok()).collect()
}

#[test]
fn the_isolation_table_answers_all_sixty_attempts_each_with_a_test_of_its_number() {
    let document = document();
    let table = rows(section(&document, "Isolation"));
    assert!(table.iter().all(|row| row.len() == 3));
    let number = |row: &Vec<&str>| row[0].split(' ').next().and_then(|number| number.parse::<usize>().ok()).expect("an attempt's number");
    assert_eq!(table.iter().map(number).collect::<Vec<_>>(), (1..=60).collect::<Vec<_>>());
    let unproved = table.iter().filter(|row| !named_tests(row[2]).iter().any(|test| attempts_of(test).contains(&number(row))));
    assert_eq!(unproved.map(|row| row[0]).collect::<Vec<_>>(), Vec::<&str>::new(), "no test of these has their number in its name");
}

#[test]
fn the_nat_table_answers_every_clause_once() {
    let document = document();
    let table = section(&document, "NAT");
    assert!(rows(table).iter().all(|row| row.len() == 4));
    let numbered = NUMBERED_NAT_CLAUSES.iter().flat_map(|(rfc, last)| (1..=*last).map(move |number| format!("{rfc} REQ-{number}")));
    let mut asked: Vec<String> = numbered.chain(NAMED_NAT_CLAUSES.map(str::to_owned)).collect();
    let mut answered: Vec<String> = rows(table).iter().map(|row| row[0].to_owned()).collect();
    asked.sort();
    answered.sort();
    assert_eq!(answered, asked);
}

#[test]
fn the_table_beside_the_kernels_nat_has_a_row_for_every_difference_that_the_judge_knows_and_no_other() {
    let document = document();
    let table = rows(section(&document, "Beside the kernel's NAT"));
    assert!(table.iter().all(|row| row.len() == 4));
    let rows: Vec<&str> = table.iter().map(|row| row[0]).collect();
    let known: BTreeSet<&str> = explained().map(|this| this.row).collect();
    assert_eq!((rows.iter().copied().collect(), rows.len()), (known.clone(), known.len()));
    let steps: BTreeSet<&str> = explained().map(|this| this.step).collect();
    assert_eq!(steps.len(), explained().count(), "one explanation for each step");
    assert!(explained().all(|this| this.kernel != this.ours), "what is the same needs no explanation");
}

#[test]
fn a_test_that_does_not_exist_would_be_noticed() {
    assert_eq!(tests_in("#[test]\n#[cfg(unix)]\nfn one() {}\nfn helper() {}\n    #[tokio::test]\n    async fn two() {}"), ["one", "two"]);
    assert_eq!((attempts_of("attempts_5_6_x_7"), attempts_of("no_attempt_3")), (vec![5, 6], vec![]));
    assert_eq!(named_tests("`a_b` and `c_d`; Gap: x"), ["a_b", "c_d"]);
    assert_eq!(rows("| h |\n|---|\n| a `b` | c |"), [["a `b`", "c"]]);
}
