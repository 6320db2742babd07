//! Processor time: of single processes and of the whole machine, between two looks.

use std::fs;
use std::ops::{AddAssign, Sub};
use std::thread;
use std::time::{Duration, Instant};

/// `USER_HZ`, the unit of /proc/stat and /proc/PID/stat: 100 on every architecture that Linux runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of processor time.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Usage {
    /// On the clock.
    pub(crate) wall: f64,
    /// User, nice, system, hard and soft interrupts of all cores. What the hypervisor took is apart.
    pub(crate) machine: f64,
    /// Nothing to do, or waiting for a disk.
    pub(crate) idle: f64,
    /// Taken by the hypervisor for others.
    pub(crate) steal: f64,
    /// The relay's process with all its threads.
    pub(crate) relay: f64,
    /// The municipality's router.
    pub(crate) client: f64,
    /// Whoever makes and takes the load: iperf3, or this process.
    pub(crate) load: f64,
}

/// The processes whose time is told apart.
#[derive(Clone, Debug)]
pub(crate) struct Processes {
    pub(crate) relay: u32,
    pub(crate) client: u32,
    pub(crate) load: Vec<u32>,
}

/// A look at all clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    at: Instant,
    total: Usage,
}

impl Look {
    pub(crate) fn at(processes: &Processes) -> Self {
        let machine = Machine::now();
        let total = Usage {
            wall: 0.0,
            machine: machine.busy,
            idle: machine.idle,
            steal: machine.steal,
            relay: process(processes.relay),
            client: process(processes.client),
            load: processes.load.iter().map(|pid| process(*pid)).sum(),
        };
        Self { at: Instant::now(), total }
    }
}

impl Sub for Look {
    type Output = Usage;

    fn sub(self, before: Self) -> Usage {
        let (now, then) = (self.total, before.total);
        Usage {
            wall: (self.at - before.at).as_secs_f64(),
            machine: now.machine - then.machine,
            idle: now.idle - then.idle,
            steal: now.steal - then.steal,
            relay: now.relay - then.relay,
            client: now.client - then.client,
            load: now.load - then.load,
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.wall += other.wall;
        self.machine += other.machine;
        self.idle += other.idle;
        self.steal += other.steal;
        self.relay += other.relay;
        self.client += other.client;
        self.load += other.load;
    }
}

impl Usage {
    /// What the machine spent beside the client's and the load's own processes: the relay with the kernel's work for it, wherever
    /// that was done. The kernel's work inside the others' system calls is theirs.
    pub(crate) fn relaying(&self) -> f64 {
        (self.machine - self.client - self.load).max(0.0)
    }
}

struct Machine {
    busy: f64,
    idle: f64,
    steal: f64,
}

impl Machine {
    fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").expect("read /proc/stat");
        Self::parse(text.lines().next().expect("a first line in /proc/stat"))
    }

    /// proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; the guests' time is in the first two already.
    fn parse(line: &str) -> Self {
        let ticks: Vec<f64> = line.split_whitespace().skip(1).map(|field| field.parse().expect("ticks in /proc/stat")).collect();
        let seconds = |fields: &[usize]| fields.iter().map(|field| ticks[*field]).sum::<f64>() / TICKS_PER_SECOND;
        Self { busy: seconds(&[0, 1, 2, 5, 6]), idle: seconds(&[3, 4]), steal: seconds(&[7]) }
    }
}

/// Seconds, in user and kernel mode, of a process and all its threads; 0 when it has gone.
fn process(pid: u32) -> f64 {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|stat| parse_process(&stat)).unwrap_or(0.0)
}

/// proc_pid_stat(5): the name in parentheses may hold anything; utime and stime are the 14th and 15th fields.
fn parse_process(stat: &str) -> Option<f64> {
    let mut fields = stat.get(stat.rfind(')')? + 2..)?.split(' ').skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

/// The share of all cores that somebody uses who is not us, seen over `time`.
pub(crate) fn busy_share(time: Duration) -> f64 {
    let before = Machine::now();
    thread::sleep(time);
    let after = Machine::now();
    let busy = after.busy + after.steal - before.busy - before.steal;
    busy / (busy + after.idle - before.idle).max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_line_is_split_into_busy_idle_and_stolen() {
        let machine = Machine::parse("cpu  100 200 300 4000 500 60 70 8 9 10");
        assert_eq!((machine.busy, machine.idle, machine.steal), (7.3, 45.0, 0.08));
    }

    #[test]
    fn a_processs_name_may_hold_spaces_and_parentheses() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 4 0 100 0 0";
        assert_eq!(parse_process(stat), Some(2.0));
        assert_eq!(parse_process("42 (cut"), None);
    }

    #[test]
    fn what_is_left_of_the_machine_is_the_relaying() {
        let usage = Usage { machine: 4.0, client: 1.5, load: 0.5, relay: 1.0, ..Usage::default() };
        assert_eq!(usage.relaying(), 2.0);
    }
}
