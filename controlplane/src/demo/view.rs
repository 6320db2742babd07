//! The live view, redrawn twice a second, and the report for people.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::error::{Context, DemoError};
use super::municipality::Router;
use super::relay::RelaySnapshot;
use super::report::{Crossing, Report, TenantReport};
use super::run::{World, interrupted};
use super::scenario::{Services, try_crossings, work};
use super::topology::Place;

const REDRAW: Duration = Duration::from_millis(500);
/// Size of one transfer, in bytes: small enough that the checks below the rates are fresh.
const TRANSFER_BYTES: u64 = 500_000;
/// A municipality rests this long between rounds: the view shall show rates, not a busy machine.
const REST: Duration = Duration::from_millis(200);
/// ECMA-48: cursor home, and erase from there to the end of the screen; erase to the end of the line.
const HOME_AND_CLEAR: &str = "\x1b[H\x1b[J";

/// What the working threads have found out last.
#[derive(Default)]
struct Latest {
    tenants: Vec<TenantReport>,
    crossings: Vec<Crossing>,
    problems: Vec<String>,
}

/// Shows the world at work until the user ends it, and reports the last state.
pub(super) fn show(world: &World, out: &mut dyn Write) -> Result<Report, DemoError> {
    let latest = Mutex::new(Latest::default());
    latest.lock().unwrap_or_else(PoisonError::into_inner).tenants = world
        .participants()
        .map(|(place, ..)| TenantReport { tenant: place.municipality.tenant.clone(), ..TenantReport::default() })
        .collect();
    let end = AtomicBool::new(false);
    let drawn = thread::scope(|scope| {
        for (number, (place, router, services)) in world.participants().enumerate() {
            let (latest, end) = (&latest, &end);
            scope.spawn(move || keep_working(number, place, router, services, latest, end));
        }
        scope.spawn(|| keep_crossing(world, &latest, &end));
        let drawn = draw_until_interrupted(world, &latest, out);
        end.store(true, Ordering::Relaxed);
        drawn
    });
    drawn?;
    let latest = latest.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut report = Report { tenants: latest.tenants, crossings: latest.crossings, ..Report::default() };
    world.finish(&mut report);
    Ok(report)
}

fn keep_working(number: usize, place: &Place, router: &Router, services: &Services, latest: &Mutex<Latest>, end: &AtomicBool) {
    while !end.load(Ordering::Relaxed) {
        if router.state().is_up() {
            let mut problems = Vec::new();
            let round = work(place, services, TRANSFER_BYTES, &mut problems);
            let mut latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
            let tcp_bytes = latest.tenants[number].tcp_bytes + round.tcp_bytes;
            latest.tenants[number] = TenantReport { tcp_bytes, ..round };
            latest.problems.retain(|problem| !problem.starts_with(&place.municipality.tenant));
            latest.problems.extend(problems);
        }
        thread::sleep(REST);
    }
}

fn keep_crossing(world: &World, latest: &Mutex<Latest>, end: &AtomicBool) {
    while !end.load(Ordering::Relaxed) {
        match try_crossings(&world.topology.places, &*world.relay) {
            Ok(crossings) => latest.lock().unwrap_or_else(PoisonError::into_inner).crossings = crossings,
            Err(error) => {
                latest.lock().unwrap_or_else(PoisonError::into_inner).problems.push(error.to_string());
                return;
            }
        }
        thread::sleep(REST);
    }
}

fn draw_until_interrupted(world: &World, latest: &Mutex<Latest>, out: &mut dyn Write) -> Result<(), DemoError> {
    let (mut before, mut before_at) = (world.relay.snapshot(), Instant::now());
    while !interrupted() {
        thread::sleep(REDRAW);
        let (now, seconds) = (world.relay.snapshot(), before_at.elapsed().as_secs_f64());
        let latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
        let text = screen(world, &latest, &before, &now, seconds);
        drop(latest);
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // Nobody looks any more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.doing(|| "draw the view".to_owned())?,
        }
        (before, before_at) = (now, Instant::now());
    }
    Ok(())
}

fn screen(world: &World, latest: &Latest, before: &RelaySnapshot, now: &RelaySnapshot, seconds: f64) -> String {
    let mut text = format!("{HOME_AND_CLEAR}chukei demo - {} ({})        Ctrl-C ends it\n\n", now.driver, now.mode);
    text += &row(&["municipality", "", "tunnel", "to cloud", "to office", "sessions", "drops", "checks"]);
    for ((place, router, _), checks) in world.participants().zip(&latest.tenants) {
        let one = &place.municipality;
        let (new, old) =
            (now.tenants.get(&one.tenant).cloned().unwrap_or_default(), before.tenants.get(&one.tenant).cloned().unwrap_or_default());
        let up = router.state().is_up() && new.tunnel_up;
        text += &row(&[
            &one.tenant,
            &one.name,
            if up { "up" } else { "down" },
            &rate(new.to_cloud_bytes.saturating_sub(old.to_cloud_bytes), seconds),
            &rate(new.to_office_bytes.saturating_sub(old.to_office_bytes), seconds),
            &new.sessions.to_string(),
            &new.drops.values().sum::<u64>().to_string(),
            &checks_of(checks),
        ]);
    }
    let seen = world.topology.watch.sightings();
    let _ = writeln!(text, "\npackets seen where they must not be: {}", seen.foreign);
    text += &crossings_text(&latest.crossings);
    for problem in &latest.problems {
        let _ = writeln!(text, "! {problem}");
    }
    text
}

fn checks_of(one: &TenantReport) -> String {
    let mark = |ok: bool| if ok { "ok" } else { "-" };
    format!("tcp {} udp {} ping {}", mark(one.tcp_sha256_ok), mark(one.udp_ok), mark(one.ping_ok))
}

fn crossings_text(crossings: &[Crossing]) -> String {
    let mut text = String::new();
    for crossing in crossings {
        let drops: Vec<_> = crossing.drops.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let outcome = if crossing.blocked { "blocked" } else { "CAME THROUGH" };
        let _ = writeln!(text, "{outcome:8} {} [{}]", crossing.attempt, drops.join(", "));
    }
    text
}

/// Bits a second.
#[expect(clippy::cast_precision_loss, reason = "for the eye")]
fn rate(bytes: u64, seconds: f64) -> String {
    format!("{:.1} Mbit/s", bytes as f64 * 8.0 / seconds.max(0.001) / 1e6)
}

/// One line of the table.
fn row(cells: &[&str; 8]) -> String {
    const WIDTHS: [usize; 8] = [16, 10, 7, 14, 14, 9, 8, 24];
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(WIDTHS) {
        line += cell;
        line += &" ".repeat(width.saturating_sub(columns(cell)).max(1));
    }
    line.trim_end().to_owned() + "\n"
}

/// How many columns a text takes on a terminal: Japanese characters take two.
fn columns(text: &str) -> usize {
    text.chars().map(|character| if character.is_ascii() { 1 } else { 2 }).sum()
}

/// The report for people.
pub(super) fn print_report(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "driver {} ({})", report.driver, report.mode)?;
    for one in &report.tenants {
        writeln!(out, "{:16} tunnel {:4} {} tcp bytes {}", one.tenant, one.tunnel, checks_of(one), one.tcp_bytes)?;
    }
    writeln!(out, "packets seen where they must not be: {}", report.foreign_packets_seen)?;
    write!(out, "{}", crossings_text(&report.crossings))?;
    for (reason, count) in &report.drops {
        writeln!(out, "dropped {count:8}  {reason}")?;
    }
    for problem in &report.problems {
        writeln!(out, "! {problem}")?;
    }
    writeln!(out, "{}", if report.all_well() { "all is well" } else { "not all is well" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_under_japanese_names() {
        let plain = row(&["a", "Chuo", "up", "", "", "", "", "x"]);
        let wide = row(&["a", "中央区", "up", "", "", "", "", "x"]);
        let before = |line: &str| columns(&line[..line.find("up").unwrap()]);
        assert_eq!(before(&plain), before(&wide));
    }

    #[test]
    fn a_crossing_that_came_through_cannot_be_overlooked() {
        let crossing = |blocked| Crossing { attempt: "a try".into(), blocked, drops: [("no_service".to_owned(), 1)].into() };
        assert!(crossings_text(&[crossing(true)]).starts_with("blocked  a try [no_service 1]"));
        assert!(crossings_text(&[crossing(false)]).starts_with("CAME THROUGH"));
    }
}
