//! The relay beside what one would use instead: wireguard-go, boringtun-cli and gotatun-cli, and for IPsec strongSwan, each with the
//! kernel's NAT behind it.
//!
//! Start it by `benches/compare/run`, which installs and builds what is measured. Everything happens in network namespaces of this
//! process: they, and every program in them, are gone when it ends, however it ends.

mod contender;
mod cpu;
mod latency;
mod line;
mod measure;
mod options;
mod relay;
mod report;
mod search;
mod strongswan;
mod table;
mod tcp;
mod udp;
mod world;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use time::OffsetDateTime;
use time::macros::format_description;

use contender::{Release, tool};
use line::Line;
use options::{Lineup, Options, USAGE};
use world::World;

/// Everything that is printed.
#[derive(Debug, Serialize)]
struct Report {
    machine: String,
    date: String,
    /// WireGuard's is part of the document itself.
    #[serde(flatten)]
    wireguard: Option<Table>,
    ipsec: Vec<Table>,
}

/// What was measured on one line.
#[derive(Debug, Serialize)]
struct Table {
    line: &'static str,
    contenders: Vec<Column>,
    /// Values stand in the contenders' order.
    rows: Vec<report::Row>,
    notes: Vec<String>,
    warnings: Vec<String>,
}

/// Who a column of values belongs to.
#[derive(Debug, Serialize)]
struct Column {
    name: String,
    is_peer: bool,
    release: Release,
    mode: String,
    /// Packets that it says it has lost, by reason: most of them in the search for the highest rate.
    losses: String,
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    let directory = tempfile::Builder::new().prefix("chukei-compare-").tempdir().expect("a temporary directory");
    let mut tables: Vec<(Line, Table)> = options.lineups.iter().map(|lineup| (lineup.line, table_of(lineup, directory.path()))).collect();
    let ipsec = tables.split_off(tables.iter().take_while(|(line, _)| *line == Line::Wireguard).count());
    let report = Report {
        machine: machine(),
        date: OffsetDateTime::now_utc().format(format_description!("[year]-[month]-[day] [hour]:[minute] UTC")).expect("a date"),
        wireguard: tables.pop().map(|(_, table)| table),
        ipsec: ipsec.into_iter().map(|(_, table)| table).collect(),
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report).expect("numbers and names"));
    } else {
        print!("{}", table::page(&report));
    }
    ExitCode::SUCCESS
}

/// Builds a line's worlds, measures them in turn, and takes them down.
fn table_of(lineup: &Lineup, directory: &Path) -> Table {
    let directory = directory.join(lineup.line.name());
    fs::create_dir(&directory).expect("create a directory");
    eprintln!("== {}", lineup.line.label());
    let build = |(number, contender): (usize, &contender::Contender)| {
        let world = World::build(*contender, lineup.line, number, &directory);
        tcp::wait_for_server(&world);
        eprintln!("{}: {}, {}; {}", world.name, world.release.version, world.release.date, world.mode);
        world
    };
    let worlds: Vec<World> = lineup.contenders.iter().enumerate().map(build).collect();
    let measured = measure::all(&worlds, &lineup.plan);
    Table {
        line: lineup.line.label(),
        contenders: worlds.iter().map(column).collect(),
        rows: report::rows(&worlds, &measured, lineup.line.targets()),
        notes: notes(lineup.line, &worlds, &measured),
        warnings: measured.warnings.iter().map(|warning| format!("WARNING: {warning}")).collect(),
    }
}

fn column(world: &World) -> Column {
    Column {
        name: world.name.clone(),
        is_peer: world.contender.is_peer(),
        release: world.release.clone(),
        mode: world.mode.clone(),
        losses: world.losses(),
    }
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).and_then(|rest| rest.split(':').nth(1));
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = tool("uname", &["-r"]).unwrap_or_default();
    format!("{cores} cores of {}, Linux {kernel}", model.map_or("an unknown processor", str::trim))
}

/// What a reader has to know.
fn notes(line: Line, worlds: &[World], measured: &measure::Measured) -> Vec<String> {
    let mut notes = vec![
        "Ratio: chukei's value divided by that of the best peer in the row, whichever peer that is.".to_owned(),
        format!("The municipality's router ({} in every column), iperf3 and the relay share this machine's cores: rates are those of all three together.", line.client()),
        "Packets and bytes are inner ones, both ways, as the municipality's tunnel counts them: acknowledgements too.".to_owned(),
        "Machine - client - load: what /proc/stat counts for all cores, less the router's process, less iperf3's (for UDP: this program's). A veth's receive work is done by whoever sent.".to_owned(),
        "Peers route between TUN and a plain cable with nftables: the same two translations, default deny, MSS clamp. chukei's cloud side carries a VLAN tag; the far end's kernel takes it off and puts it on.".to_owned(),
        format!(
            "Half load: {:.0} datagrams a second of {} bytes, {}: half of what the slowest peer carries.",
            measured.half_rate,
            measure::SIZES[measure::HALF_LOAD.1],
            measure::HALF_LOAD.0.label()
        ),
    ];
    for (world, results) in worlds.iter().zip(&measured.results) {
        if results.udp.iter().flatten().any(|(_, limited)| *limited) {
            notes.push(format!("{}: a UDP rate is that of the sender, which had no more to give.", world.name));
        }
    }
    notes
}
