//! `soak`: the real worker over NICs of memory at full load, for as long as one likes. Memory must not grow, and no packet may be lost
//! that nobody counted.

use std::process::ExitCode;
use std::time::Duration;

use crate::world::{Books, Soak};

/// Until every session table is full there is growth that is meant. On a machine as slow as this, something is wrong.
const LONGEST_WARM_UP: Duration = Duration::from_secs(180);
/// What the process may grow by after that: a few pages of allocator and of bookkeeping, and no frame, session or tunnel a second.
const MOST_GROWTH_KIB: u64 = 2_048;
/// How often the books are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often a line is printed.
const LINE: u32 = 10;

/// Load the worker until its tables are full and for `length` more, and look at the books each second.
pub(crate) fn run(length: Duration) -> ExitCode {
    let mut soak = Soak::new();
    let (mut warm, mut now, mut end) = (None, Duration::ZERO, LONGEST_WARM_UP);
    let mut second = 0;
    println!(
        "{:>8} {:>14} {:>14} {:>12} {:>9} {:>11} {:>10} {:>9}",
        "seconds", "sent", "arrived", "dropped", "sessions", "opened", "handshakes", "RSS KiB"
    );
    while now < end {
        now += LOOK;
        second += 1;
        soak.load_until(now);
        let books = soak.books();
        if let Err(fault) = check(&books) {
            eprintln!("after {second} s: {fault}\n{books:#?}");
            return ExitCode::FAILURE;
        }
        if warm.is_none() && soak.is_full(&books) {
            (warm, end) = (Some(resident_kib()), now + length);
        }
        if second % LINE == 0 || now >= end {
            print(second, &books);
        }
    }
    let Some(warm) = warm else {
        eprintln!("the session tables were not full after {} s", LONGEST_WARM_UP.as_secs());
        return ExitCode::FAILURE;
    };
    let grown = resident_kib().saturating_sub(warm);
    for (reason, packets) in soak.losses() {
        println!("lost and counted: {packets} {reason}");
    }
    println!("memory: {warm} KiB with full tables, {grown} KiB more {} s later; {MOST_GROWTH_KIB} KiB are allowed", length.as_secs());
    if grown > MOST_GROWTH_KIB {
        eprintln!("memory grows");
        return ExitCode::FAILURE;
    }
    println!("every packet was forwarded or counted as lost");
    ExitCode::SUCCESS
}

/// The conservation law, and what those outside the relay saw.
fn check(books: &Books) -> Result<(), String> {
    let tally = &books.tally;
    let equal = |what: &str, left: u64, right: u64| if left == right { Ok(()) } else { Err(format!("{what}: {left} is not {right}")) };
    let ends = books.transmitted + books.dropped + books.absorbed + books.held;
    equal("received + generated == transmitted + dropped + absorbed + held", books.received + books.generated, ends)?;
    equal("frames put on the cables == frames received", tally.injected, books.received)?;
    equal("frames taken off the cables == frames transmitted", tally.collected, books.transmitted)?;
    equal("datagrams of the relay that its peers could not open", tally.unreadable, 0)?;
    let lost = tally.sent - tally.arrived + tally.others - books.absorbed;
    equal("sent - arrived + handshakes, keepalives and ARP - absorbed == dropped", lost, books.dropped)?;
    equal("dropped == the sum of all reasons", books.dropped, books.dropped_by_reason)
}

fn print(second: u32, books: &Books) {
    println!(
        "{second:>8} {:>14} {:>14} {:>12} {:>9} {:>11} {:>10} {:>9}",
        books.tally.sent,
        books.tally.arrived,
        books.dropped,
        books.sessions,
        books.opened,
        books.handshakes,
        resident_kib()
    );
}

/// Memory of this process that is really there.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux shows a process its own status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number of KiB")
}
