use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use dataplane::counters::WorkerCounters;
use dataplane::router_config::EndpointId;
use dataplane::tunnel::esp::sa::SaRefused;
use dataplane::worker::control::{Command, IkePort};
use ike::transforms::Group;
use ike::{DhTask, Effect, InstallId, Instant, Secret};

use super::dh_pool::DhPool;
use super::outbox::Outbox;
use super::*;
use crate::workers::{NoAnswer, WorkerLink, Workers};

/// A worker whose ring has as much room as a test gives it.
#[derive(Clone, Default)]
struct Ring {
    room: Arc<AtomicUsize>,
    sent: Arc<Mutex<Vec<Command>>>,
    counters: Arc<WorkerCounters>,
}

impl Ring {
    fn give_room(&self, commands: usize) {
        self.room.store(commands, Ordering::Relaxed);
    }

    fn sent(&self) -> Vec<String> {
        let name = |command: &Command| match command {
            Command::SendIke { message, .. } => format!("send {}", message[0]),
            Command::InstallSa { id, .. } => format!("install {id}"),
            Command::RemoveSa { inbound_spi, .. } => format!("remove {:x}", inbound_spi.get()),
            other => format!("{other:?}"),
        };
        self.sent.lock().expect("alive").iter().map(name).collect()
    }
}

impl WorkerLink for Ring {
    fn send(&mut self, command: Command) -> Result<(), NoAnswer> {
        self.room.fetch_sub(1, Ordering::Relaxed);
        self.sent.lock().expect("alive").push(command);
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.room.load(Ordering::Relaxed) > 0
    }

    fn next_event(&mut self) -> Option<Event> {
        None
    }

    fn now(&self) -> dataplane::time::Instant {
        dataplane::time::Instant::ZERO
    }

    fn counters(&self) -> &Arc<WorkerCounters> {
        &self.counters
    }
}

fn one_worker() -> (Ring, Workers) {
    let ring = Ring::default();
    (ring.clone(), Workers::new(vec![Box::new(ring)]))
}

fn driver() -> (Driver, Receiver<Input>) {
    let (inbox, outlet) = mpsc::channel();
    (Driver::new(inbox), outlet)
}

fn message(first: u8) -> Command {
    let to = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 11), 500);
    Command::SendIke { endpoint: EndpointId(0), local_port: IkePort::P500, to, message: Box::new([first]) }
}

fn removal() -> Command {
    let inbound_spi = dataplane::tunnel::esp::sa::Spi::new(0x1234).expect("not reserved");
    Command::RemoveSa { tenant: "a".into(), tunnel: "main".into(), inbound_spi }
}

fn peer() -> PeerName {
    PeerName { tenant: "a".into(), tunnel: "main".into() }
}

fn child(inbound_spi: u32, key_bytes: usize) -> ike::ChildSa {
    let cipher = || ike::EspCipher::AesGcm16 { key: Secret::new(vec![7; key_bytes]), salt: [0; 4] };
    ike::ChildSa {
        inbound_spi,
        outbound_spi: 0x5678,
        inbound: cipher(),
        outbound: cipher(),
        esn: false,
        encapsulation: ike::Encapsulation::Ip { peer: Ipv4Addr::new(192, 0, 2, 11) },
        selectors: Vec::new(),
        soft: ike::Lifetime { bytes: u64::MAX, packets: u64::MAX },
        outbound_use: ike::OutboundUse::Now,
    }
}

#[test]
fn commands_wait_for_room_on_the_ring_and_leave_in_their_order() {
    let (ring, workers) = one_worker();
    let mut outbox = Outbox::default();
    [message(1), removal(), message(2)].into_iter().for_each(|command| outbox.push(0, command));
    outbox.flush(&workers);
    assert_eq!((ring.sent().len(), outbox.len()), (0, 3), "no room");
    ring.give_room(2);
    outbox.flush(&workers);
    assert_eq!((ring.sent(), outbox.len()), (vec!["send 1".to_owned(), "remove 1234".to_owned()], 1));
    ring.give_room(9);
    outbox.push(0, message(3));
    outbox.flush(&workers);
    assert_eq!((&ring.sent()[2..], outbox.len(), outbox.dropped), (&["send 2".to_owned(), "send 3".to_owned()][..], 0, 0));
}

#[test]
fn when_too_much_waits_messages_are_dropped_and_counted_but_nothing_about_sas() {
    let mut outbox = Outbox::default();
    (0..10_000).for_each(|_| outbox.push(0, message(1)));
    (0..10).for_each(|_| outbox.push(0, removal()));
    assert_eq!((outbox.len(), outbox.dropped), (8_192 + 10, 10_000 - 8_192));
    let (ring, workers) = one_worker();
    ring.give_room(usize::MAX);
    outbox.flush(&workers);
    outbox.push(0, message(1));
    assert_eq!((outbox.len(), outbox.dropped), (1, 10_000 - 8_192), "there is room again");
}

#[test]
fn an_installation_that_no_worker_answers_is_taken_back_after_five_seconds() {
    let (ring, workers) = one_worker();
    ring.give_room(9);
    let (mut driver, _outlet) = driver();
    driver.settle(&workers, Instant::ZERO);
    driver.carry_out(Effect::Install { id: InstallId(7), peer: peer(), sa: Box::new(child(0x1234, 32)) }, Instant::ZERO);
    driver.settle(&workers, Instant::from_millis(4_999));
    assert_eq!((ring.sent(), driver.counters().installs_unanswered), (vec!["install 7".to_owned()], 0));
    assert!(driver.idle(Instant::from_secs(4)).is_some_and(|idle| idle <= Duration::from_secs(1)), "it wakes up for that");
    driver.settle(&workers, Instant::from_secs(5));
    assert_eq!((ring.sent()[1].as_str(), driver.counters().installs_unanswered), ("remove 1234", 1));
    driver.take(Input::Event(Event::SaInstalled { id: 7, outcome: Ok(()) }), Instant::from_secs(6));
    driver.settle(&workers, Instant::from_secs(6));
    assert_eq!(ring.sent().len(), 2, "a late answer finds nothing");
}

#[test]
fn two_thousand_installations_at_once_are_looked_at_once_each() {
    let (ring, workers) = one_worker();
    ring.give_room(usize::MAX);
    let (mut driver, _outlet) = driver();
    driver.settle(&workers, Instant::ZERO);
    for number in 0..2_000 {
        driver.carry_out(Effect::Install { id: InstallId(number), peer: peer(), sa: Box::new(child(0x1000, 32)) }, Instant::ZERO);
    }
    for number in 0..2_000 {
        driver.take(Input::Event(Event::SaInstalled { id: number, outcome: Ok(()) }), Instant::ZERO);
        driver.settle(&workers, Instant::ZERO);
        assert_eq!(driver.waiting_installs(), 1_999 - usize::try_from(number).expect("small"), "what is answered is looked at no more");
    }
    assert_eq!((driver.idle(Instant::ZERO), driver.counters().installs_unanswered), (None, 0));
}

#[test]
fn a_refused_installation_needs_no_removal_and_a_key_of_a_wrong_length_never_leaves() {
    let (ring, workers) = one_worker();
    ring.give_room(9);
    let (mut driver, _outlet) = driver();
    driver.settle(&workers, Instant::ZERO);
    driver.carry_out(Effect::Install { id: InstallId(1), peer: peer(), sa: Box::new(child(0x1234, 31)) }, Instant::ZERO);
    driver.carry_out(Effect::Install { id: InstallId(2), peer: peer(), sa: Box::new(child(255, 32)) }, Instant::ZERO);
    driver.carry_out(Effect::Install { id: InstallId(3), peer: peer(), sa: Box::new(child(0x1234, 32)) }, Instant::ZERO);
    driver.take(Input::Event(Event::SaInstalled { id: 3, outcome: Err(SaRefused::SpiTaken) }), Instant::ZERO);
    driver.settle(&workers, Instant::from_secs(9));
    assert_eq!((ring.sent(), driver.counters().installs_unanswered), (vec!["install 3".to_owned()], 0));
}

#[test]
fn a_configuration_waits_until_every_worker_has_adopted_it_but_not_for_ever() {
    let (ring, workers) = one_worker();
    let (mut driver, _outlet) = driver();
    driver.take(Input::Configure { generation: 2, config: ike::Config::default() }, Instant::ZERO);
    driver.settle(&workers, Instant::ZERO);
    assert!(driver.is_deferring() && driver.idle(Instant::ZERO).is_some());
    ring.counters.generation.set(2);
    driver.settle(&workers, Instant::from_millis(1));
    assert!(!driver.is_deferring());
    driver.take(Input::Configure { generation: 3, config: ike::Config::default() }, Instant::from_millis(1));
    driver.settle(&workers, Instant::from_secs(4));
    assert!(!driver.is_deferring(), "a stuck worker does not keep a removed tenant's SAs alive");
}

#[test]
fn a_call_that_comes_before_the_engine_knows_its_peer_waits_for_the_configuration() {
    let (ring, workers) = one_worker();
    let (mut driver, _outlet) = driver();
    driver.take(Input::Configure { generation: 1, config: ike::Config::default() }, Instant::ZERO);
    driver.take(Input::Call(peer(), SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 11), 4500)), Instant::ZERO);
    driver.settle(&workers, Instant::ZERO);
    assert_eq!((driver.is_deferring(), driver.waiting_calls()), (true, 1));
    ring.counters.generation.set(1);
    driver.settle(&workers, Instant::from_millis(1));
    assert_eq!((driver.is_deferring(), driver.waiting_calls()), (false, 0));
}

#[test]
fn every_job_is_answered_also_without_a_pool() {
    let (ring, workers) = one_worker();
    ring.give_room(9);
    let (mut driver, outlet) = driver();
    let job = |number| Effect::DiffieHellman { job: DhJobId(number), task: DhTask::Generate { group: Group::Modp2048 } };
    driver.settle(&workers, Instant::ZERO);
    driver.carry_out(job(1), Instant::ZERO);
    assert_eq!(driver.counters().dh_refused, 1);
    driver.start_pool().expect("threads");
    (2..10).for_each(|number| driver.carry_out(job(number), Instant::ZERO));
    let done = |input| if let Input::DhDone(job, _) = input { job.0 } else { panic!("something else") };
    let mut answered: Vec<u64> = (2..10).map(|_| done(outlet.recv_timeout(Duration::from_secs(30)).expect("an answer"))).collect();
    answered.sort_unstable();
    assert_eq!((answered, driver.counters().dh_refused), ((2..10).collect(), 1));
}

#[test]
fn a_full_pool_takes_the_second_half_of_an_exchange_all_the_same() {
    let (pool, _queue) = DhPool::without_threads();
    let group = Group::Modp2048;
    for number in 0..dh_pool::MOST_JOBS as u64 {
        assert_eq!(pool.submit(DhJobId(number), DhTask::Generate { group }), Ok(()));
    }
    assert_eq!(pool.submit(DhJobId(2_000), DhTask::Respond { group, peer_public: Vec::new() }), Err(DhJobId(2_000)));
    assert_eq!(pool.submit(DhJobId(2_001), DhTask::Generate { group }), Err(DhJobId(2_001)));
    let private = ike::dh::DhPrivate::new(Secret::new(vec![1; 40]));
    assert_eq!(
        pool.submit(DhJobId(2_002), DhTask::Agree { group, private, peer_public: Vec::new() }),
        Ok(()),
        "the peer has its SA already"
    );
}

#[test]
fn a_job_that_panics_has_an_outcome() {
    assert!(matches!(dh_pool::outcome_of(|| panic!("a bug")), DhOutcome::Busy));
}

#[test]
fn a_pool_ends_with_its_driver() {
    let (inbox, outlet) = mpsc::channel();
    let pool = DhPool::start(&inbox).expect("threads");
    drop((pool, inbox));
    assert!(matches!(outlet.recv_timeout(Duration::from_secs(30)), Err(mpsc::RecvTimeoutError::Disconnected)));
}

#[test]
fn a_thread_that_has_ended_or_hangs_is_seen() {
    let ipsec = Ipsec::default();
    assert!(ipsec.is_alive(), "it has not begun");
    let since = |seconds| std::time::Instant::now().checked_sub(Duration::from_secs(seconds));
    ipsec.busy(since(5));
    assert!(ipsec.is_alive());
    ipsec.busy(since(11));
    assert!(!ipsec.is_alive(), "the same batch for eleven seconds");
    ipsec.busy(None);
    let thread = std::thread::spawn(|| ());
    while !thread.is_finished() {
        std::thread::yield_now();
    }
    *ipsec.thread.lock().expect("alive") = Some(thread);
    assert!(!ipsec.is_alive(), "it has ended, and nobody has told it to");
}

#[test]
fn datagrams_that_the_engine_has_no_time_for_are_dropped_and_counted_and_other_events_are_not() {
    let ipsec = Ipsec::default();
    let from = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 66), 500);
    let event = || Event::Ike { endpoint: EndpointId(0), local_port: IkePort::P500, from, message: Box::new([0; 28]) };
    (0..MOST_DATAGRAMS + 5).for_each(|_| ipsec.event(event()));
    ipsec.event(Event::SaInstalled { id: 1, outcome: Ok(()) });
    let waiting = ipsec.unopened.lock().expect("alive").take().expect("never started").try_iter().count();
    assert_eq!((waiting, ipsec.counters().driver.datagrams_dropped), (MOST_DATAGRAMS + 1, 5));
}
