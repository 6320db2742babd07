//! The demo from start to end: build the world, start the relay in it, let the municipalities work, report.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::configuration::Configuration;
use super::error::{Context, DemoError};
use super::municipality::Router;
use super::namespaces::in_namespace;
use super::plan::municipalities;
use super::relay::{RunningRelay, StartRelay};
use super::report::{Report, TenantReport};
use super::scenario::{Services, try_crossings, work};
use super::topology::{Place, Topology};
use super::view;

/// How long the tunnels may take to come up: one repetition of a lost call included.
const TUNNELS_WITHIN: Duration = Duration::from_secs(12);
/// How long `--once` lets the municipalities work.
const WORK_FOR: Duration = Duration::from_secs(3);
/// Size of one transfer, in bytes.
const TRANSFER_BYTES: u64 = 2_000_000;

/// How the demo is to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Work for some seconds, report and end; else show a live view until interrupted.
    pub once: bool,
    /// Print the report as one JSON object; needs `once`.
    pub json: bool,
    /// The relay's driver: `auto`, `af_xdp` or `af_packet`.
    pub driver: String,
    /// How long the tunnels may take to come up.
    pub tunnels_within: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { once: false, json: false, driver: "auto".to_owned(), tunnels_within: TUNNELS_WITHIN }
    }
}

/// Everything that runs. Fields are dropped in this order: who speaks first, what carries it last.
pub(super) struct World {
    pub(super) services: Vec<Services>,
    pub(super) routers: Vec<Router>,
    pub(super) relay: Box<dyn RunningRelay>,
    pub(super) topology: Topology,
    _configuration: Configuration,
}

/// Runs the demo. [`super::become_root`] must have been called.
///
/// # Errors
/// When the world cannot be built or the relay does not start. Traffic that fails is told in the report.
pub fn run(options: &Options, start_relay: StartRelay, out: &mut dyn Write) -> Result<Report, DemoError> {
    interrupt::catch();
    let world = World::start(options, start_relay)?;
    let report = if options.once { world.work_once(options.tunnels_within)? } else { view::show(&world, out)? };
    drop(world);
    let written = if options.json {
        serde_json::to_writer(&mut *out, &report).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        view::print_report(&report, out)
    };
    unless_reader_left(written).doing(|| "print the report".to_owned())?;
    Ok(report)
}

/// A reader that has seen enough (`| head`) is no fault.
fn unless_reader_left(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}

impl World {
    fn start(options: &Options, start_relay: StartRelay) -> Result<Self, DemoError> {
        let municipalities = municipalities()?;
        let configuration = Configuration::write(&municipalities, &options.driver)?;
        let topology = Topology::build(&municipalities)?;
        let relay_file = configuration.relay_file();
        let relay = in_namespace(&topology.relay, || start_relay(&relay_file))?
            .map_err(|text| DemoError::Invalid(format!("the relay does not start: {text}")))?;
        let routers = topology.start_routers(configuration.relay_public_key())?;
        let services = topology.places.iter().map(Services::start).collect::<Result<_, _>>()?;
        Ok(Self { services, routers, relay, topology, _configuration: configuration })
    }

    /// Places with their routers and services.
    pub(super) fn participants(&self) -> impl Iterator<Item = (&Place, &Router, &Services)> {
        self.topology.places.iter().zip(&self.routers).zip(&self.services).map(|((place, router), services)| (place, router, services))
    }

    fn work_once(&self, tunnels_within: Duration) -> Result<Report, DemoError> {
        let deadline = Instant::now() + tunnels_within;
        for router in &self.routers {
            let _ = router.wait_up(deadline.saturating_duration_since(Instant::now()));
        }
        let worked: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = self
                .participants()
                .map(|(place, router, services)| scope.spawn(move || work_for_a_while(place, router, services)))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let crossings = try_crossings(&self.topology.places, &*self.relay)?;
        let (tenants, problems): (_, Vec<_>) = worked.into_iter().unzip();
        let mut report = Report { tenants, crossings, problems: problems.concat(), ..Report::default() };
        self.finish(&mut report);
        Ok(report)
    }

    /// Adds what the relay and the canary watch know, and judges.
    pub(super) fn finish(&self, report: &mut Report) {
        let (snapshot, seen) = (self.relay.snapshot(), self.topology.watch.sightings());
        (report.driver, report.mode, report.drops) = (snapshot.driver, snapshot.mode, snapshot.drops);
        report.foreign_packets_seen = seen.foreign;
        if let Some((tag, canary)) = seen.first_foreign {
            let place = tag.map_or_else(|| "the trunk without a tag".to_owned(), |tag| format!("VLAN {tag}"));
            report.problems.push(format!("{canary} was seen on {place}"));
        }
        for (tag, _) in seen.own.iter().filter(|(_, frames)| **frames == 0) {
            report.problems.push(format!("nothing was seen on VLAN {tag}, so nothing is known about it"));
        }
        report.judge();
    }
}

fn work_for_a_while(place: &Place, router: &Router, services: &Services) -> (TenantReport, Vec<String>) {
    let mut total = TenantReport {
        tenant: place.municipality.tenant.clone(),
        kind: place.municipality.kind.label(),
        tunnel: "down",
        ..TenantReport::default()
    };
    let (mut problems, end) = (Vec::new(), Instant::now() + WORK_FOR);
    if !router.state().is_up() {
        return (total, problems);
    }
    (total.tcp_sha256_ok, total.udp_ok, total.ping_ok) = (true, true, true);
    while problems.is_empty() && Instant::now() < end && !interrupted() {
        let round = work(place, services, TRANSFER_BYTES, &mut problems);
        total.tcp_bytes += round.tcp_bytes;
        total.tcp_sha256_ok &= round.tcp_sha256_ok;
        total.udp_ok &= round.udp_ok;
        total.ping_ok &= round.ping_ok;
    }
    total.tunnel = if router.state().is_up() { "up" } else { "down" };
    (total, problems)
}

/// Whether the user or the system asked the program to end.
pub(super) fn interrupted() -> bool {
    interrupt::CAUGHT.load(Ordering::Relaxed)
}

/// Ctrl-C, SIGTERM and a closed terminal end the demo in order, so that the key files go.
mod interrupt {
    use super::{AtomicBool, Ordering};

    pub(super) static CAUGHT: AtomicBool = AtomicBool::new(false);

    pub(super) fn catch() {
        let handler = note as extern "C" fn(libc::c_int) as libc::sighandler_t;
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            // SAFETY: the handler stores into an atomic and does nothing else, which is async-signal-safe.
            unsafe { libc::signal(signal, handler) };
        }
    }

    extern "C" fn note(signal: libc::c_int) {
        CAUGHT.store(true, Ordering::Relaxed);
        // A second one ends the program the hard way.
        // SAFETY: signal(2) is async-signal-safe, and SIG_DFL is a valid disposition.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::relay::RelaySnapshot;
    use crate::demo::test_support::as_root;

    /// Comes up, and does nothing ever.
    struct Deaf;

    impl RunningRelay for Deaf {
        fn snapshot(&self) -> RelaySnapshot {
            RelaySnapshot { driver: "af_packet".into(), mode: "copy".into(), ..RelaySnapshot::default() }
        }
    }

    fn options() -> Options {
        Options { once: true, json: true, tunnels_within: Duration::from_millis(100), ..Options::default() }
    }

    #[test]
    fn a_relay_that_forwards_nothing_is_reported_tenant_by_tenant() {
        as_root("demo::run::tests::a_relay_that_forwards_nothing_is_reported_tenant_by_tenant", || {
            let mut out = Vec::new();
            let report = run(&options(), Box::new(|_| Ok(Box::new(Deaf))), &mut out).unwrap();
            assert!(!report.all_well());
            let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
            for tenant in json["tenants"].as_array().unwrap() {
                assert_eq!((&tenant["tunnel"], &tenant["ping_ok"]), (&"down".into(), &false.into()));
            }
            assert_eq!(json["tenants"].as_array().unwrap().len(), 3);
            let problems = report.problems.join("\n");
            assert!(problems.contains("nothing was seen on VLAN 2101"), "{problems}");
            assert!(problems.contains("the relay counted no drop"), "{problems}");
        });
    }

    #[test]
    fn a_relay_that_does_not_start_ends_the_demo_with_its_reason() {
        as_root("demo::run::tests::a_relay_that_does_not_start_ends_the_demo_with_its_reason", || {
            let error = run(&options(), Box::new(|_| Err("no worker".to_owned())), &mut Vec::new()).unwrap_err();
            assert_eq!(error.to_string(), "the relay does not start: no worker");
        });
    }

    #[test]
    fn the_relay_starts_in_a_namespace_with_its_two_ports_and_finished_files() {
        as_root("demo::run::tests::the_relay_starts_in_a_namespace_with_its_two_ports_and_finished_files", || {
            let look = |file: &std::path::Path| {
                let interfaces = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
                assert!(interfaces.contains("access0:") && interfaces.contains("cloud0:"), "{interfaces}");
                let loaded = crate::config::load(file, crate::config::Purpose::Run);
                assert!(loaded.relay.is_some(), "{:#?}", loaded.problems);
                Err("seen".to_owned())
            };
            let error = run(&options(), Box::new(look), &mut Vec::new()).unwrap_err();
            assert!(error.to_string().ends_with("seen"), "{error}");
        });
    }
}
