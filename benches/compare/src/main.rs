//! The relay beside what one would use instead: wireguard-go, boringtun-cli and gotatun-cli, each with the kernel's NAT behind it.
//!
//! Start it by `benches/compare/run`, which installs and builds what is measured. Everything happens in network namespaces of this
//! process: they, and every program in them, are gone when it ends, however it ends.

mod contender;
mod cpu;
mod latency;
mod measure;
mod options;
mod relay;
mod report;
mod search;
mod table;
mod tcp;
mod udp;
mod world;

use std::fs;
use std::process::ExitCode;

use serde::Serialize;
use time::OffsetDateTime;
use time::macros::format_description;

use contender::{Release, tool};
use options::{Options, USAGE};
use world::World;

/// Everything that is printed.
#[derive(Debug, Serialize)]
struct Report {
    machine: String,
    date: String,
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
    let build = |(number, contender): (usize, &contender::Contender)| {
        let world = World::build(*contender, number, directory.path());
        tcp::wait_for_server(&world);
        eprintln!("{}: {}, {}; {}", world.name, world.release.version, world.release.date, world.mode);
        world
    };
    let worlds: Vec<World> = options.contenders.iter().enumerate().map(build).collect();
    let measured = measure::all(&worlds, &options.plan);
    let report = Report {
        machine: machine(),
        date: OffsetDateTime::now_utc().format(format_description!("[year]-[month]-[day] [hour]:[minute] UTC")).expect("a date"),
        contenders: worlds.iter().map(column).collect(),
        rows: report::rows(&worlds, &measured),
        notes: notes(&worlds, &measured),
        warnings: measured.warnings.iter().map(|warning| format!("WARNING: {warning}")).collect(),
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report).expect("numbers and names"));
    } else {
        print!("{}", table::page(&report));
    }
    ExitCode::SUCCESS
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
fn notes(worlds: &[World], measured: &measure::Measured) -> Vec<String> {
    let mut notes = vec![
        "Ratio: chukei's value divided by that of the best peer in the row, whichever peer that is.".to_owned(),
        "The municipality's router (wireguard-go in every column), iperf3 and the relay share this machine's cores: rates are those of all three together.".to_owned(),
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
