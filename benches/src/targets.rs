//! What the packet path is to cost, and whether it does.

use crate::path::{EVERYBODY, LARGE, MIDDLE, MOST_SESSIONS, NEW, PATH, Row, SMALL};
use crate::suite::Suite;

/// New sessions a second and core.
const NEW_SESSIONS: f64 = 1_000_000.0;

/// Print a line for each target: what was to be reached, what was measured in either direction, and what that means.
pub(crate) fn print(rows: &[Row]) {
    println!("\n{:<58} {:>12} {:>10}  {:>15}", "target", "", "moonshot", "measured");
    let aead = "x bare AEAD";
    let ratio = |size, tenants, sessions| of_directions(rows, Suite::ChaCha20Poly1305, size, tenants, sessions);
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
    for (suite, limit, moonshot) in [(Suite::Aes256Gcm, 1.20, 1.10), (Suite::Aes256CbcSha256, 1.05, 1.02)] {
        let what = format!("{LARGE} bytes, 1 tenant, {}, x bare", suite.label());
        at_most(&what, limit, moonshot, of_directions(rows, suite, LARGE, 1, 1));
    }
    beside_the_cipher(rows);
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
fn of_directions(rows: &[Row], suite: Suite, size: usize, tenants: usize, sessions: usize) -> Vec<f64> {
    cases(rows, suite, size, tenants).filter(|row| row.sessions == sessions).map(|row| row.ratio).collect()
}

fn cases(rows: &[Row], suite: Suite, size: usize, tenants: usize) -> impl Iterator<Item = &Row> {
    rows.iter().filter(move |row| (row.case, row.suite, row.size, row.tenants) == (PATH, suite.label(), size, tenants))
}

/// What AES-GCM leaves for everything else.
const BESIDE_GCM_NS: f64 = 100.0;

/// An AEAD as fast as AES-GCM on a processor with VAES makes a ratio of little: the difference tells more.
fn beside_the_cipher(rows: &[Row]) {
    let beside: Vec<f64> = cases(rows, Suite::Aes256Gcm, LARGE, 1).map(|row| row.ns_per_packet - row.aead_ns_per_packet).collect();
    let verdict = verdict(false, beside.iter().all(|ns| *ns <= BESIDE_GCM_NS));
    let measured: Vec<String> = beside.iter().map(|ns| format!("{ns:.0}")).collect();
    let what = format!("{LARGE} bytes, 1 tenant, {}, beside the bare", Suite::Aes256Gcm.label());
    println!("{what:<58} {:>12} {:>10}  {:>15}  {verdict}", format!("<= {BESIDE_GCM_NS:.0} ns"), "", measured.join(" / "));
}

/// Our assumption: what each town sends and receives at once in its busy hour, on average over all of them.
const TOWN_MBIT_EACH_WAY: f64 = 10.0;
/// Our assumption: cores of a box that forward, and how busy they may be.
const CORES: f64 = 16.0;
const BUSY: f64 = 0.5;

/// Print how many boxes carry all towns, for each suite.
pub(crate) fn print_boxes(rows: &[Row]) {
    let bits = 8.0 * MIDDLE as f64;
    let packets_each_way = EVERYBODY as f64 * TOWN_MBIT_EACH_WAY * 1e6 / bits;
    println!(
        "\nboxes for {EVERYBODY} towns, assumed: {TOWN_MBIT_EACH_WAY:.0} Mbit/s each way and town at once, packets of {MIDDLE} bytes \
         ({:.1} million a second both ways), {CORES:.0} forwarding cores a box, {:.0} % busy; the worker alone, without a driver's share",
        2.0 * packets_each_way / 1e6,
        BUSY * 100.0
    );
    for suite in Suite::ALL {
        let directions: Vec<&Row> = cases(rows, suite, MIDDLE, EVERYBODY).filter(|row| row.sessions == EVERYBODY).collect();
        let cores = directions.iter().map(|row| packets_each_way * row.ns_per_packet * 1e-9).sum::<f64>() / BUSY;
        println!("{:<18} {cores:>6.1} cores {:>4.0} boxes", suite.label(), (cores / CORES).ceil());
    }
}

fn divided(these: &[f64], those: &[f64]) -> Vec<f64> {
    these.iter().zip(those).map(|(a, b)| a / b).collect()
}
