//! `CONFORMANCE.md` promises nothing that no test proves: every test it names exists, and every row has a test or says that it is a gap.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

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
fn every_test_that_conformance_names_exists_and_every_row_has_one_or_is_a_gap() {
    let document = fs::read_to_string(root().join("CONFORMANCE.md")).expect("CONFORMANCE.md");
    let mut existing = BTreeSet::new();
    tests_under(&root().join("src"), &mut existing);
    tests_under(&root().join("tests"), &mut existing);
    let mut wrong = Vec::new();
    for row in rows(&document) {
        let proof = row.last().expect("cells");
        let tests = named_tests(proof);
        wrong.extend(tests.iter().filter(|name| !existing.contains(**name)).map(|name| format!("{}: no test is called {name}", row[0])));
        if tests.is_empty() && !proof.contains("Gap") {
            wrong.push(format!("{}: neither a test nor a gap", row[0]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_wireguard_table_answers_all_twenty_clauses_in_order() {
    let document = fs::read_to_string(root().join("CONFORMANCE.md")).expect("CONFORMANCE.md");
    let table = document.split("## WireGuard").nth(1).and_then(|rest| rest.split("###").next()).expect("the WireGuard table");
    let clauses: Vec<usize> = rows(table).iter().map(|row| row[0].parse().expect("a clause number")).collect();
    assert_eq!(clauses, (1..=20).collect::<Vec<_>>());
    assert!(rows(table).iter().all(|row| row.len() == 4));
}

#[test]
fn a_test_that_does_not_exist_would_be_noticed() {
    assert_eq!(tests_in("#[test]\n#[cfg(unix)]\nfn one() {}\nfn helper() {}\n    #[test]\n    fn two() {}"), ["one", "two"]);
    assert_eq!(named_tests("`a_b` and `c_d`; Gap: x"), ["a_b", "c_d"]);
    assert_eq!(rows("| h |\n|---|\n| a `b` | c |"), [["a `b`", "c"]]);
}
