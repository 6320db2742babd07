//! 2,000 municipalities at one relay: establishing all of them, and rekeying all of their Child SAs.

use ::ike::CryptoPolicy;
use ::ike::proposals::Proposals;
use serde::Serialize;

use super::country::{CHILD_LIFETIME, Country};

/// 1,788 local governments and some that come on top.
const TENANTS: usize = 2_000;
/// What the cost of one tenant is compared with: an operation that scans all SAs would cost eight times as much with 2,000.
const FEW: usize = 250;

/// Establishing everybody, or rekeying everybody.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    case: &'static str,
    suite: &'static str,
    tenants: usize,
    /// Tenants with a Child SA afterwards.
    established: u64,
    /// Child SAs that replaced another.
    rekeyed: u64,
    /// Thread CPU time of the relay alone, Diffie-Hellman included.
    relay_cpu_seconds: f64,
    diffie_hellman_seconds: f64,
    /// Without Diffie-Hellman, for each tenant.
    engine_micros_per_tenant: f64,
    /// Beside the same with 250 tenants. Near 1: nothing scans all SAs.
    ratio_to_250_tenants: f64,
    /// Messages that the relay received.
    messages: u64,
    cookies: u64,
    /// By the routers' clock, in which calculating takes no time: pauses between retransmissions.
    seconds: f64,
    /// Most Child SAs that were made in one second. Without jitter all would be.
    busiest_second: usize,
    /// The project's goal for `relay_cpu_seconds`.
    goal_seconds: Option<f64>,
}

/// (IKE proposal, ESP proposal, goal in seconds)
const SUITES: [(&str, &str, Option<f64>); 4] = [
    ("aes256-sha256-modp2048", "aes256-sha256", Some(10.0)),
    ("aes256-sha256-ecp256", "aes256-sha256", Some(3.0)),
    ("aes256gcm16-prfsha384-ecp384", "aes256gcm16", None),
    ("aes256gcm16-prfsha256-x25519", "aes256gcm16", None),
];

/// Measure every suite.
pub(crate) fn run() -> Vec<Row> {
    let of_suite = |&(ike, child, goal): &(&'static str, &str, Option<f64>)| {
        let ike_proposals = [ike.parse().expect("a proposal")];
        let proposals = Proposals::within(CryptoPolicy::Modern, &ike_proposals, &[child.parse().expect("a proposal")]);
        let mut few = rows(FEW, ike, &proposals, None);
        let mut all = rows(TENANTS, ike, &proposals, goal);
        for (all, few) in all.iter_mut().zip(&mut few) {
            all.ratio_to_250_tenants = all.engine_micros_per_tenant / few.engine_micros_per_tenant;
        }
        all
    };
    SUITES.iter().flat_map(of_suite).collect()
}

fn rows(tenants: usize, suite: &'static str, proposals: &Proposals, goal: Option<f64>) -> [Row; 2] {
    let mut country = Country::new(tenants, proposals);
    country.establish();
    let established = row("establish", suite, tenants, &country, goal);
    let begin = country.now;
    country.spent = Default::default();
    country.installed.clear();
    let cookies = country.counters().cookies_sent;
    country.run_until(begin + CHILD_LIFETIME + CHILD_LIFETIME / 10);
    let mut rekeyed = row("rekey", suite, tenants, &country, None);
    rekeyed.rekeyed = country.counters().rekeys_child;
    rekeyed.cookies -= cookies;
    [established, rekeyed]
}

fn row(case: &'static str, suite: &'static str, tenants: usize, country: &Country, goal: Option<f64>) -> Row {
    let spent = country.spent;
    let seconds: Vec<u64> = country.installed.iter().map(|at| at.as_nanos() / 1_000_000_000).collect();
    Row {
        case,
        suite,
        tenants,
        established: country.child_sas(),
        rekeyed: 0,
        relay_cpu_seconds: (spent.engine + spent.diffie_hellman).as_secs_f64(),
        diffie_hellman_seconds: spent.diffie_hellman.as_secs_f64(),
        engine_micros_per_tenant: spent.engine.as_secs_f64() * 1e6 / tenants as f64,
        ratio_to_250_tenants: 1.0,
        messages: spent.messages,
        cookies: country.counters().cookies_sent,
        seconds: match (country.installed.first(), country.installed.last()) {
            (Some(first), Some(last)) => last.since(*first).as_secs_f64(),
            _ => 0.0,
        },
        busiest_second: seconds.chunk_by(|a, b| a == b).map(<[u64]>::len).max().unwrap_or(0),
        goal_seconds: goal,
    }
}

/// For people.
pub(crate) fn print(rows: &[Row]) {
    println!(
        "\n{:<10} {:<29} {:>7} {:>5} {:>8} {:>7} {:>7} {:>10} {:>9} {:>8} {:>8} {:>7}",
        "case", "suite", "tenants", "up", "rekeyed", "CPU s", "DH s", "us/tenant", "to 250 x", "cookies", "busiest", "goal s"
    );
    for row in rows {
        println!(
            "{:<10} {:<29} {:>7} {:>5} {:>8} {:>7.2} {:>7.2} {:>10.1} {:>9.2} {:>8} {:>8} {:>7}",
            row.case,
            row.suite,
            row.tenants,
            row.established,
            row.rekeyed,
            row.relay_cpu_seconds,
            row.diffie_hellman_seconds,
            row.engine_micros_per_tenant,
            row.ratio_to_250_tenants,
            row.cookies,
            row.busiest_second,
            row.goal_seconds.map_or_else(String::new, |goal| format!("< {goal}"))
        );
    }
}
