//! `CONFORMANCE.md` promises nothing that no test proves: every test it names exists, every row has a test or says that it deviates, and
//! no clause that was asked for is missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What the requirements name for IKE, in their order: RFC and section.
const IKE_CLAUSES: [&str; 29] = [
    "7296 2.1",
    "7296 2.2",
    "7296 2.3",
    "7296 2.4",
    "7296 2.5",
    "7296 2.6",
    "7296 2.7",
    "7296 2.8",
    "7296 2.9",
    "7296 2.10",
    "7296 2.14",
    "7296 2.15",
    "7296 2.17",
    "7296 2.21",
    "7296 2.23",
    "7296 2.25",
    "7296 3.5",
    "7296 3",
    "7296 3.14",
    "5282",
    "6989",
    "7383",
    "7427",
    "8247",
    "8221",
    "8019",
    "9370",
    "8784",
    "policy",
];
/// What they name for ESP.
const ESP_CLAUSES: [&str; 10] =
    ["4303 3.3.3", "4303 3.4.3", "4303 2.2.1", "4303 2.6", "4301 5.2", "3948", "6040", "4106", "3602, 4868", "protocol 50"];

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document() -> String {
    fs::read_to_string(here().join("CONFORMANCE.md")).expect("CONFORMANCE.md")
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

/// A test is a function whose attributes, right above it, include `#[test]`.
fn tests_in(source: &str) -> Vec<String> {
    let mut is_test = false;
    let mut names = Vec::new();
    for line in source.lines().map(str::trim) {
        match line.strip_prefix("fn ").and_then(|rest| rest.split_once('(')) {
            Some((name, _)) if is_test => {
                names.push(name.to_owned());
                is_test = false;
            }
            _ => is_test = line == "#[test]" || is_test && (line.starts_with("#[") || line.starts_with("//")),
        }
    }
    names
}

/// The rows of the table under a heading: their cells, without header and ruler.
fn rows<'a>(document: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let section = document.split("\n## ").find(|section| section.starts_with(heading)).expect("a section of that name");
    let lines = section.lines().filter(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// What stands between backquotes and looks like the name of a test.
fn named_tests(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).filter(|name| name.contains('_')).collect()
}

fn all_rows(document: &str) -> Vec<Vec<&str>> {
    [rows(document, "IKEv2"), rows(document, "ESP")].concat()
}

#[test]
fn every_test_that_conformance_names_exists_and_every_row_has_one_or_deviates() {
    let mut existing = BTreeSet::new();
    let workspace = here().join("../..");
    for crate_ in ["controlplane/ike", "controlplane", "dataplane", "netns-tests"] {
        for directory in ["src", "tests"].map(|directory| workspace.join(crate_).join(directory)) {
            if directory.is_dir() {
                tests_under(&directory, &mut existing);
            }
        }
    }
    let document = document();
    let mut wrong = Vec::new();
    for row in all_rows(&document) {
        let [clause, _, _, proof] = row[..] else { panic!("four cells: {row:?}") };
        let tests = named_tests(proof);
        wrong.extend(tests.iter().filter(|name| !existing.contains(**name)).map(|name| format!("{clause}: no test is called {name}")));
        if tests.is_empty() && !proof.contains("Deviation") {
            wrong.push(format!("{clause}: neither a test nor a deviation"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_clause_that_was_asked_for_has_its_row() {
    let document = document();
    let clauses = |heading| rows(&document, heading).iter().map(|row| row[0]).collect::<Vec<_>>();
    assert_eq!(clauses("IKEv2"), IKE_CLAUSES);
    assert_eq!(clauses("ESP"), ESP_CLAUSES);
}

#[test]
fn a_test_that_does_not_exist_would_be_noticed() {
    assert_eq!(tests_in("#[test]\nfn one() {}\nfn helper() {}\n    #[test]\n    #[cfg(unix)]\n    fn two(\n"), ["one", "two"]);
    assert_eq!(named_tests("`a_b` and `c_d`; Deviation: x"), ["a_b", "c_d"]);
    assert_eq!(rows("x\n## Y and Z\n| h |\n|---|\n| a `b` | c |\n## W\n", "Y"), [["a `b`", "c"]]);
}
