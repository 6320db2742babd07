//! What the packet path costs, beside the cipher it cannot do without.
//!
//! `cargo run --release -p benches -- path [--json]`: the real worker over NICs of memory, no kernel; `workers` runs only the case of
//! that name. Absolute times mean little on a shared machine; the ratio to the bare cipher, measured in turn with it, means something.
//! With `--json` a list of cases:
//!
//! | field | meaning |
//! |---|---|
//! | `case` | `tunnel`: the tunnel's two ends and nothing else, from buffer to buffer. `path`: packets of open sessions. `new_sessions`: each packet opens a session, so 1e9 / `ns_per_packet` of them open a second, the whole path included |
//! | | `workers`: one worker against two, on threads; see `workers.rs` for the fields that only it has |
//! | `workers` | threads |
//! | `suite` | `chacha20-poly1305` is WireGuard; `aes256-gcm` and `aes256-cbc-sha256` are ESP in UDP with extended sequence numbers |
//! | `direction` | `office-to-cloud` (decrypt, NAT) or `cloud-to-office` (NAT, encrypt) |
//! | `size` | bytes of the inner IP packet |
//! | `tenants` | served in turn, one packet each: the worst order |
//! | `sessions` | open when the measurement begins, spread over the tenants; packets walk them far from each other in memory |
//! | `ns_per_packet` | median of thread CPU time over rounds of 1,792 packets |
//! | `aead_ns_per_packet` | the same of the bare cipher, one after another: for an AEAD one copy, and open or seal in place; for AES-CBC the blocks from frame to frame, and the HMAC |
//! | `ratio` | median of the rounds' ratios |
//!
//! `cargo run --release -p benches -- path --plot FILE.svg`: the ratio against tenants and against sessions, as a picture.
//!
//! `cargo run --release -p benches -- path --case tunnel --suite aes256-gcm --tenants 1 --sessions 1 --size 64 [--json]`: only the rows
//! that agree with what is named; each of the five may be left out.
//!
//! `cargo run --release -p benches -- fairness [--json]`: one tenant offers ten times what the relay carries; what another one, that
//! sends a hundredth, loses and how long it waits (fields in `fairness.rs`).
//!
//! `cargo run --release -p benches -- reconnect [--json]`: every municipality comes back at once while others work (`reconnect.rs`).
//!
//! `cargo run --release -p benches -- ike [--json]`: what key exchange costs the relay (fields in `ike/`).
//!
//! `cargo run --release -p benches -- soak [--minutes N]`: the worker at full load, 20 s without N; fails when memory grows or a packet
//! is lost that nobody counted.

mod cipher;
mod fairness;
mod frames;
mod ike;
mod office;
mod path;
mod plot;
mod reconnect;
mod relay_config;
mod soak;
mod suite;
mod targets;
mod tunnel;
mod workers;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use path::Selection;
use suite::Suite;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    arguments.retain(|argument| argument != "--json");
    let command = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [command @ ("path" | "fairness" | "workers")] => command,
        ["path", "--plot", _] => "plot",
        ["path", ref named @ ..] => return measure_selected(named, json),
        ["reconnect"] => {
            measure_reconnect(json);
            return ExitCode::SUCCESS;
        }
        ["ike"] => {
            ike::run(json);
            return ExitCode::SUCCESS;
        }
        ["soak"] => return soak::run(Duration::from_secs(20)),
        ["soak", "--minutes", minutes] if minutes.parse().is_ok_and(|minutes: u32| minutes > 0) => {
            return soak::run(Duration::from_secs(60) * minutes.parse().expect("looked at above"));
        }
        _ => {
            eprintln!("usage: cargo run --release -p benches -- path|fairness|workers|reconnect|ike [--json]");
            eprintln!(
                "       cargo run --release -p benches -- path [--case tunnel|path|new_sessions] [--suite NAME] [--tenants N] [--sessions N] [--size BYTES] [--json]"
            );
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
        "path" => measure_cases(&path::run(&Selection::default()), json),
        _ => measure_cases(&[], json),
    }
    ExitCode::SUCCESS
}

/// The rows that agree with what the arguments name.
fn measure_selected(named: &[&str], json: bool) -> ExitCode {
    match selection(named) {
        Ok(selection) => print_rows(&path::run(&selection), json),
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn selection<'a>(named: &[&'a str]) -> Result<Selection<'a>, String> {
    let mut selection = Selection::default();
    let (pairs, rest) = named.as_chunks::<2>();
    for [option, value] in pairs {
        let number = || value.parse().map(Some).map_err(|_| format!("{option} {value}: no number"));
        match *option {
            "--case" => selection.case = Some(value),
            "--suite" => {
                let names = Suite::ALL.map(Suite::label).join(", ");
                let suite = Suite::ALL.into_iter().find(|suite| suite.label() == *value);
                selection.suite = Some(suite.ok_or_else(|| format!("{value}: no suite of this name; there are {names}"))?);
            }
            "--tenants" => selection.tenants = number()?,
            "--sessions" => selection.sessions = number()?,
            "--size" => selection.size = number()?,
            _ => return Err(format!("{option}: no such option of `path`")),
        }
    }
    rest.first().map_or(Ok(selection), |option| Err(format!("{option}: of what value?")))
}

fn print_rows(rows: &[path::Row], json: bool) {
    if json {
        println!("{}", serde_json::to_string_pretty(rows).expect("numbers and names"));
    } else {
        print_table(rows);
    }
}

fn measure_reconnect(json: bool) {
    let row = reconnect::run();
    if json {
        println!("{}", serde_json::to_string_pretty(&row).expect("numbers and names"));
    } else {
        reconnect::print(&row);
    }
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
            targets::print_boxes(rows);
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
        "{:<13} {:<18} {:<16} {:>5} {:>8} {:>9} {:>10} {:>9} {:>6}",
        "case", "suite", "direction", "bytes", "tenants", "sessions", "ns/packet", "bare ns", "ratio"
    );
    for row in rows {
        println!(
            "{:<13} {:<18} {:<16} {:>5} {:>8} {:>9} {:>10.0} {:>9.0} {:>6.2}",
            row.case, row.suite, row.direction, row.size, row.tenants, row.sessions, row.ns_per_packet, row.aead_ns_per_packet, row.ratio
        );
    }
}

/// Processor time of this thread: on a busy machine the time on the wall is mostly that of others.
fn busy_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a time since the start")
}
