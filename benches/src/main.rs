//! What the packet path costs, beside the cipher it cannot do without.
//!
//! `cargo run --release -p benches -- path [--json]`: the real worker over NICs of memory, no kernel; `workers` runs only the case of
//! that name. Absolute times mean little on a shared machine; the ratio to the bare cipher, measured in turn with it, means something.
//! With `--json` a list of cases:
//!
//! | field | meaning |
//! |---|---|
//! | `case` | `path`: packets of open sessions. `new_sessions`: each packet opens a session, so 1e9 / `ns_per_packet` of them open a second, the whole path included |
//! | | `workers`: one worker against two, on threads; see `workers.rs` for the fields that only it has |
//! | `workers` | threads |
//! | `direction` | `office-to-cloud` (decrypt, NAT) or `cloud-to-office` (NAT, encrypt) |
//! | `size` | bytes of the inner IP packet |
//! | `tenants` | served in turn, one packet each: the worst order |
//! | `sessions` | open when the measurement begins, spread over the tenants; packets walk them far from each other in memory |
//! | `ns_per_packet` | median of thread CPU time over rounds of 1,792 packets |
//! | `aead_ns_per_packet` | the same of the bare AEAD: one copy, and open or seal as boringtun does it |
//! | `ratio` | median of the rounds' ratios |
//!
//! `cargo run --release -p benches -- path --plot FILE.svg`: the ratio against tenants and against sessions, as a picture.
//!
//! `cargo run --release -p benches -- fairness [--json]`: one tenant offers ten times what the relay carries; what another one, that
//! sends a hundredth, loses and how long it waits (fields in `fairness.rs`).
//!
//! `cargo run --release -p benches -- reconnect [--json]`: every municipality comes back at once while others work (`reconnect.rs`).
//!
//! `cargo run --release -p benches -- soak [--minutes N]`: the worker at full load, 20 s without N; fails when memory grows or a packet
//! is lost that nobody counted.

mod cipher;
mod fairness;
mod frames;
mod office;
mod path;
mod plot;
mod reconnect;
mod relay_config;
mod soak;
mod targets;
mod workers;
mod world;

use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, json) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [command @ ("path" | "fairness" | "workers")] => (command, false),
        [command @ ("path" | "fairness" | "workers"), "--json"] => (command, true),
        ["path", "--plot", _] => ("plot", false),
        ["reconnect"] => {
            reconnect::print(&reconnect::run());
            return ExitCode::SUCCESS;
        }
        ["reconnect", "--json"] => {
            println!("{}", serde_json::to_string_pretty(&reconnect::run()).expect("numbers and names"));
            return ExitCode::SUCCESS;
        }
        ["soak"] => return soak::run(Duration::from_secs(20)),
        ["soak", "--minutes", minutes] if minutes.parse().is_ok_and(|minutes: u32| minutes > 0) => {
            return soak::run(Duration::from_secs(60) * minutes.parse().expect("looked at above"));
        }
        _ => {
            eprintln!("usage: cargo run --release -p benches -- path|fairness|workers|reconnect [--json]");
            eprintln!("       cargo run --release -p benches -- path --plot FILE.svg");
            eprintln!("       cargo run --release -p benches -- soak [--minutes N]");
            return ExitCode::FAILURE;
        }
    };
    if dataplane::SIMULATED {
        eprintln!("built with the data plane's feature `simulation`, whose clock stands still: build this crate alone (`-p benches`)");
        return ExitCode::FAILURE;
    }
    if cfg!(debug_assertions) {
        eprintln!("warning: a debug build; its numbers mean nothing (`--release`)");
    }
    match command {
        "plot" => return draw(&arguments[2]),
        "fairness" => measure_fairness(json),
        "path" => measure_cases(&path::run(), json),
        _ => measure_cases(&[], json),
    }
    ExitCode::SUCCESS
}

fn measure_fairness(json: bool) {
    let rows = fairness::run();
    if json {
        println!("{}", serde_json::to_string_pretty(&rows).expect("numbers and names"));
    } else {
        fairness::print(&rows);
    }
}

/// Print `rows`, and the case `workers` after them.
fn measure_cases(rows: &[path::Row], json: bool) {
    let of_workers = workers::run();
    if json {
        let rows = rows.iter().map(serde_json::to_value).chain(of_workers.iter().map(serde_json::to_value));
        let rows: Result<Vec<_>, _> = rows.collect();
        println!("{}", serde_json::to_string_pretty(&rows.expect("numbers and names")).expect("numbers and names"));
    } else {
        if !rows.is_empty() {
            print_table(rows);
            targets::print(rows);
        }
        workers::print_table(&of_workers);
    }
}

/// Measure what the plot shows, and write it.
fn draw(file: &str) -> ExitCode {
    let rows = plot::sweep();
    print_table(&rows);
    match std::fs::write(file, plot::svg(&rows)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{file}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_table(rows: &[path::Row]) {
    println!(
        "{:<13} {:<16} {:>5} {:>8} {:>9} {:>10} {:>9} {:>6}",
        "case", "direction", "bytes", "tenants", "sessions", "ns/packet", "AEAD ns", "ratio"
    );
    for row in rows {
        println!(
            "{:<13} {:<16} {:>5} {:>8} {:>9} {:>10.0} {:>9.0} {:>6.2}",
            row.case, row.direction, row.size, row.tenants, row.sessions, row.ns_per_packet, row.aead_ns_per_packet, row.ratio
        );
    }
}

/// Processor time of this thread: on a busy machine the time on the wall is mostly that of others.
fn busy_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a time since the start")
}
