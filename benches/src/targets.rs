//! What the packet path is to cost, and whether it does.

use crate::path::{EVERYBODY, LARGE, MIDDLE, MOST_SESSIONS, NEW, PATH, Row, SMALL};

/// New sessions a second and core.
const NEW_SESSIONS: f64 = 1_000_000.0;

/// Print a line for each target: what was to be reached, what was measured in either direction, and what that means.
pub(crate) fn print(rows: &[Row]) {
    println!("\n{:<58} {:>12} {:>10}  {:>15}", "target", "", "moonshot", "measured");
    let aead = "x bare AEAD";
    let ratio = |size, tenants, sessions| of_directions(rows, size, tenants, sessions);
    let at_most = |what: &str, limit: f64, moonshot: f64, values: Vec<f64>| {
        let verdict = verdict(values.iter().all(|value| *value <= moonshot), values.iter().all(|value| *value <= limit));
        let measured: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
        println!(
            "{what:<58} {:>12} {:>10}  {:>15}  {verdict}",
            format!("<= {limit:.2} x"),
            format!("{moonshot:.2} x"),
            measured.join(" / ")
        );
    };
    at_most(&format!("{LARGE} bytes, 1 tenant, {aead}"), 1.10, 1.05, ratio(LARGE, 1, 1));
    at_most(&format!("{MIDDLE} bytes, 1 tenant, {aead}"), 1.30, 1.15, ratio(MIDDLE, 1, 1));
    at_most(&format!("{SMALL} bytes, 1 tenant, {aead}"), 1.80, 1.40, ratio(SMALL, 1, 1));
    let alone = |size| ratio(size, 1, 1);
    let everybody = |size| ratio(size, EVERYBODY, EVERYBODY);
    for (size, limit, moonshot) in [(LARGE, 1.40, 1.15), (SMALL, 2.50, 1.50)] {
        at_most(
            &format!("{size} bytes, {EVERYBODY} tenants in turn, x 1 tenant"),
            limit,
            moonshot,
            divided(&everybody(size), &alone(size)),
        );
    }
    let full = ratio(SMALL, EVERYBODY, MOST_SESSIONS);
    let what = format!("{SMALL} bytes, {EVERYBODY} tenants, {MOST_SESSIONS} sessions, x {EVERYBODY} sessions");
    at_most(&what, 1.40, 1.20, divided(&full, &everybody(SMALL)));
    for row in rows.iter().filter(|row| row.case == NEW) {
        let each_second = 1e9 / row.ns_per_packet;
        let what = format!("new sessions a second, whole path, tenants: {}", row.tenants);
        let verdict = verdict(false, each_second >= NEW_SESSIONS);
        println!("{what:<58} {:>12} {:>10}  {each_second:>15.0}  {verdict}", format!(">= {NEW_SESSIONS:.0}"), "");
    }
    println!("measured: office to cloud / cloud to office; the cost of a case is its ratio to the bare AEAD of the same minute");
}

const fn verdict(moonshot: bool, target: bool) -> &'static str {
    match (moonshot, target) {
        (true, _) => "met, moonshot too",
        (false, true) => "met",
        (false, false) => "missed",
    }
}

/// The ratios to the bare AEAD of both directions.
fn of_directions(rows: &[Row], size: usize, tenants: usize, sessions: usize) -> Vec<f64> {
    let is_it = |row: &&Row| (row.case, row.size, row.tenants, row.sessions) == (PATH, size, tenants, sessions);
    rows.iter().filter(is_it).map(|row| row.ratio).collect()
}

fn divided(these: &[f64], those: &[f64]) -> Vec<f64> {
    these.iter().zip(those).map(|(a, b)| a / b).collect()
}
