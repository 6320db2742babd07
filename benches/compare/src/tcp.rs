//! Throughput of TCP streams, and what it costs: iperf3 in the office against iperf3 on the cloud.

use std::thread;
use std::time::Duration;

use netns_tests::plan::SHARED_GLOBAL;
use netns_tests::process::{Running, eventually};
use serde::Serialize;
use serde_json::Value;

use crate::cpu::{Look, Usage};
use crate::options::Plan;
use crate::world::{Carried, World};

/// iperf3 needs this long to begin and to end, a little more than enough.
const EDGES: Duration = Duration::from_millis(200);

/// Which way the data flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    OfficeToCloud,
    CloudToOffice,
}

impl Direction {
    pub(crate) const BOTH: [Self; 2] = [Self::OfficeToCloud, Self::CloudToOffice];

    /// For people.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::OfficeToCloud => "office -> cloud",
            Self::CloudToOffice => "cloud -> office",
        }
    }
}

/// What one run brought.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Payload received.
    pub(crate) bits_per_second: f64,
    /// Processor time of the window.
    pub(crate) usage: Usage,
    /// Inner packets of the window.
    pub(crate) carried: Carried,
}

/// Runs iperf3 once.
///
/// # Panics
/// When iperf3 fails or does not end.
pub(crate) fn run(world: &World, direction: Direction, streams: u32, plan: &Plan, number: usize) -> Run {
    let (own, server, streams) = (world.host().to_string(), SHARED_GLOBAL.to_string(), streams.to_string());
    // It counts in whole seconds.
    let (omit, length) = (plan.tcp_warm_up.to_string(), (plan.tcp + 2 * EDGES).as_secs_f64().ceil().to_string());
    let mut arguments = vec!["--client", &server, "--bind", &own, "--parallel", &streams, "--json", "--connect-timeout", "5000"];
    arguments.extend(["--omit", &omit, "--time", &length]);
    if direction == Direction::CloudToOffice {
        arguments.push("--reverse");
    }
    let mut client = Running::start(&world.office, &world.directory, &format!("iperf3-{number}"), "iperf3", &arguments);
    thread::sleep(Duration::from_secs(plan.tcp_warm_up.into()) + EDGES);
    let processes = world.processes(client.pid());
    let (carried, look) = (world.carried(), Look::at(&processes));
    thread::sleep(plan.tcp);
    let (usage, carried) = (Look::at(&processes) - look, world.carried().since(carried));
    client.wait(Duration::from_secs(20));
    Run { bits_per_second: received(&client.log(), &world.name), usage, carried }
}

fn received(report: &str, world: &str) -> f64 {
    let report: Value = serde_json::from_str(report).unwrap_or_else(|error| panic!("iperf3's report through {world}: {error}\n{report}"));
    report["end"]["sum_received"]["bits_per_second"].as_f64().unwrap_or_else(|| panic!("iperf3 through {world}: {report:#}"))
}

/// Waits until iperf3's server listens.
pub(crate) fn wait_for_server(world: &World) {
    let listens = || {
        let sockets = std::fs::read_to_string(format!("/proc/{}/net/tcp6", world.server.pid())).unwrap_or_default();
        // 5201, in state LISTEN.
        sockets.lines().any(|line| line.contains(":1451 ") && line.contains(" 0A ")).then_some(())
    };
    eventually(Duration::from_secs(10), listens).unwrap_or_else(|| panic!("iperf3's server does not listen: {}", world.server.log()));
}
