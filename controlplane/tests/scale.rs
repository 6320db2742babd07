//! 2,000 tenants: loading, reloading one of them, and what a worker and a scrape pay for it. Times are printed (`--nocapture`); they are
//! bounds with `--release`, where the figures of the requirements count, and ten times as generous in a debug build.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use controlplane::clock;
use controlplane::config::Loader;
use controlplane::generate::{self, Options, bodies};
use controlplane::metrics::{self, IpsecScrape, Scrape};
use controlplane::relay::{Relay, State};
use controlplane::reload::Reloaded;
use controlplane::setup::{Accepted, Setup};
use controlplane::workers::{NoAnswer, WorkerLink, Workers};
use dataplane::counters::WorkerCounters;
use dataplane::nat::PortHalf;
use dataplane::nic::Nic;
use dataplane::nic::memory::{MemoryNic, MemoryWire};
use dataplane::packet::FramePool;
use dataplane::publish::Reader;
use dataplane::router_config::RouterConfig;
use dataplane::worker::control::{Command, Event};
use dataplane::worker::thread::{self, WorkerHandle};
use dataplane::worker::{Links, PortQueues, Worker, WorkerParts};

const TENANTS: usize = 2_000;
/// 100,000 services in all where the figures count.
const SERVICES: usize = if cfg!(debug_assertions) { 10 } else { 50 };
const PORTS: u8 = 3;

/// What a debug build, and a machine with other work, may take longer.
fn bound(millis: u64) -> Duration {
    Duration::from_millis(if cfg!(debug_assertions) { millis * 10 } else { millis })
}

fn assert_within(what: &str, took: Duration, limit: Duration) {
    println!("{what}: {:.2} ms (at most {} ms)", took.as_secs_f64() * 1e3, limit.as_millis());
    assert!(took <= limit, "{what} took {took:?}, more than {limit:?}");
}

/// The least of several, which is what the work costs: the rest is the machine's other work.
fn least(took: impl IntoIterator<Item = Duration>) -> Duration {
    took.into_iter().min().expect("some")
}

fn country(directory: &Path) {
    let listed = bodies::parse(bodies::JAPAN).expect("the list");
    let options = Options { tenants: Some(TENANTS), services: SERVICES, seed: 1, ipsec: false };
    generate::write(directory, &listed, options).expect("written");
    let relay = directory.join("relay.yaml");
    let text = fs::read_to_string(&relay).expect("there");
    // A relative path counts from relay.yaml, and nobody else may use this one.
    fs::write(&relay, text.replace("state: state", &format!("state: {}", directory.join("state").display()))).expect("written");
}

fn parts(config: Reader<RouterConfig>, counters: &Arc<WorkerCounters>) -> (WorkerParts, Vec<MemoryWire>) {
    let mut pool = FramePool::new(1_024).expect("frames");
    let (mut ports, mut wires): (Vec<Box<dyn Nic>>, Vec<_>) = Default::default();
    for port in 0..PORTS {
        let (nic, wire) = MemoryNic::new(&format!("port{port}"), [2, 0, 0, 0, 0, port], 1_500, 64, &mut pool);
        ports.push(Box::new(nic));
        wires.push(wire);
    }
    let ports = ports.into_iter().map(PortQueues::from).collect();
    (
        WorkerParts {
            ports,
            links: Links::alone(),
            pool,
            config,
            counters: Arc::clone(counters),
            seed: 1,
            port_half: PortHalf::Even,
            cpu: None,
            start: Duration::ZERO,
        },
        wires,
    )
}

/// A worker on a thread of its own, as `chukei run` has it, with NICs of memory.
struct Link {
    handle: WorkerHandle,
    counters: Arc<WorkerCounters>,
    _wires: Vec<MemoryWire>,
}

impl WorkerLink for Link {
    fn send(&mut self, command: Command) -> Result<(), NoAnswer> {
        self.handle.send(command).map_err(|_| NoAnswer::Full)
    }

    fn wake(&self) {
        self.handle.wake();
    }

    fn next_event(&mut self) -> Option<Event> {
        self.handle.try_next()
    }

    fn now(&self) -> dataplane::time::Instant {
        self.handle.now()
    }

    fn counters(&self) -> &Arc<WorkerCounters> {
        &self.counters
    }

    fn stop(self: Box<Self>) {
        self.handle.stop().expect("no panic");
    }
}

/// From files to a worker that forwards by them.
fn start(directory: &Path) -> (Relay, Duration, Duration) {
    let begun = Instant::now();
    let mut loader: Loader = Setup::loader(&directory.join("relay.yaml"));
    let Accepted { setup, warnings, .. } = Setup::load(&mut loader).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert!(warnings.is_empty(), "{warnings:?}");
    let loaded = begun.elapsed();
    let state = State::start(setup, clock::now()).expect("a state directory");
    let counters: Arc<WorkerCounters> = Arc::default();
    let (parts, wires) = parts(state.reader(), &counters);
    let link = Link { handle: thread::spawn(parts, thread::Clock::start()).expect("a thread"), counters, _wires: wires };
    let relay = Relay::new(loader, state, Workers::new(vec![Box::new(link)]), Vec::new());
    assert!(relay.is_ready(), "the worker starts with the configuration");
    (relay, loaded, begun.elapsed())
}

/// Give the tenant's first service another port.
fn edit(directory: &Path, tenant: &str, port: u16) {
    let path = directory.join(format!("tenants/{tenant}.yaml"));
    let text = fs::read_to_string(&path).expect("there");
    let (head, tail) = text.split_once("allow: [").expect("a service");
    let (_, tail) = tail.split_once(']').expect("its end");
    fs::write(&path, format!("{head}allow: [tcp/{port}]{tail}")).expect("written");
}

/// Write every tenant file again, with the content that it has.
fn touch_all(directory: &Path) {
    for entry in fs::read_dir(directory.join("tenants")).expect("there") {
        let path = entry.expect("an entry").path();
        fs::write(&path, fs::read(&path).expect("there")).expect("written");
    }
}

fn scrape(relay: &Relay) -> String {
    let (clocks, workers) = (relay.workers.clocks(), relay.workers.counters());
    let state = relay.state();
    let scrape = Scrape {
        relay: &state.setup.model.name,
        router: &state.router(),
        registry: &state.registry,
        ports: &relay.nics,
        workers: &workers,
        clocks,
        started: relay.started,
        generation: state.generation,
        last_reload: state.last_reload,
        ipsec: &IpsecScrape::default(),
    };
    metrics::text(&scrape)
}

fn median(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() / 2]
}

#[tokio::test]
async fn two_thousand_tenants_start_reload_one_and_are_scraped_within_their_bounds() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    country(directory);
    let (relay, loaded, started) = start(directory);
    println!("{TENANTS} tenants, {} services", TENANTS * SERVICES);
    assert_within("files read, checked and compared", loaded, bound(3_000));
    assert_within("until a worker forwards by them", started, bound(3_000));

    // A second worker, polled by hand: how long does the traffic of the others wait for a change of one?
    let (parts, _wires) = parts(relay.state().reader(), &Arc::default());
    let time = |millis: u64| dataplane::time::Instant::from_nanos(millis * 1_000_000);
    let (mut worker, ..) = Worker::new(parts, time(0));
    let (mut took, mut polls, mut read) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..8_u16 {
        if round < 2 {
            touch_all(directory);
        }
        edit(directory, "131016-chiyoda-ku", 2_000 + round);
        let Reloaded { changes, adopted, effort, took: reload, .. } = relay.reload("test").await.expect("good");
        assert_eq!((changes.changed, changes.unchanged), (vec!["131016-chiyoda-ku".to_owned()], TENANTS - 1));
        assert!(adopted && effort.parsed == 1, "{effort:?}");
        let begun = Instant::now();
        // The same moment for all polls: nothing is due but the change.
        worker.poll(time(1));
        polls.push(begun.elapsed());
        took.push(reload);
        read.push(effort.read);
        // A file that was young when it was read is trusted after it was read once more, two seconds later.
        if round == 1 {
            tokio::time::sleep(Duration::from_millis(2_100)).await;
        }
    }
    println!("reloads {took:.1?}, of {read:?} files read; polls {polls:.0?}");
    assert_eq!((read[0], read[7]), (TENANTS, 1), "young files are read, old ones are not");
    assert_within("reload with every file read again, the quicker of two", least(took[..2].to_vec()), bound(300));
    assert_within("reload of one changed file, median", median(took[3..].to_vec()), bound(50));
    assert_within("longest poll of a worker, median", median(polls), bound(1));

    let took = (0..5).map(|_| {
        let begun = Instant::now();
        let page = scrape(&relay);
        (begun.elapsed(), page.len(), page.lines().count())
    });
    let (took, bytes, lines) = took.min().expect("some");
    println!("a scrape has {lines} lines, {bytes} bytes");
    assert_within("a scrape", took, bound(100));
}

#[test]
fn twice_the_tenants_take_about_twice_the_time() {
    let listed = bodies::parse(bodies::JAPAN).expect("the list");
    let took = [300, 600].map(|tenants| {
        let directory = tempfile::tempdir().expect("a directory");
        generate::write(directory.path(), &listed, Options { tenants: Some(tenants), services: 10, seed: 1, ipsec: false })
            .expect("written");
        let load = || {
            let begun = Instant::now();
            assert!(Setup::load(&mut Setup::loader(&directory.path().join("relay.yaml"))).is_ok());
            begun.elapsed()
        };
        least((0..5).map(|_| load()))
    });
    println!("300 tenants {:?}, 600 tenants {:?}", took[0], took[1]);
    assert!(took[1] < took[0] * 3, "{took:?}: no check may compare every tenant with every other");
}
