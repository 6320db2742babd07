//! What befalls a world besides weather and operators, chosen by its seed; and a list of it, so that a run can tell that nothing on it
//! is dead.

use std::net::{Ipv4Addr, SocketAddrV4};

use dataplane::drop_reason::DropReason;
use dataplane::router_config::Vlan;
use dataplane::simulation::{Down, Weather, ip, ipsec_municipality, municipality, packets};
use dataplane::time::Duration;
use rand::Rng;
use rand::seq::SliceRandom;

use crate::chaos::{Chaos, NAMES, vlan};

/// What can befall a world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Fault {
    FrameLost,
    FrameDoubled,
    FrameBent,
    FrameOvertaken,
    NicStuck,
    NicRefusing,
    NicUpAgain,
    ReloadWithPacketsHeld,
    TenantRemoved,
    TenantAddedAgain,
    CircuitRenumbered,
    CircuitsSwapped,
    TenantsReordered,
    ClockStoodStill,
    SuspendedForMinutes,
    SuspendedForHours,
    Restarted,
    RestartedWithPacketsHeld,
    RestartedAfterTheWallClockWasSetBack,
}

impl Fault {
    pub(crate) const ALL: [Self; 19] = [
        Self::FrameLost,
        Self::FrameDoubled,
        Self::FrameBent,
        Self::FrameOvertaken,
        Self::NicStuck,
        Self::NicRefusing,
        Self::NicUpAgain,
        Self::ReloadWithPacketsHeld,
        Self::TenantRemoved,
        Self::TenantAddedAgain,
        Self::CircuitRenumbered,
        Self::CircuitsSwapped,
        Self::TenantsReordered,
        Self::ClockStoodStill,
        Self::SuspendedForMinutes,
        Self::SuspendedForHours,
        Self::Restarted,
        Self::RestartedWithPacketsHeld,
        Self::RestartedAfterTheWallClockWasSetBack,
    ];
}

/// Tables, queues, rings and pools that are full say so by these. Every run has to see all of them.
pub(crate) const FULL: [DropReason; 11] = [
    DropReason::TenantQueueFull,
    DropReason::QueuesFull,
    DropReason::TunnelHandshakeQueueFull,
    DropReason::FragmentsFull,
    DropReason::SessionTableFull,
    DropReason::SessionRateLimited,
    DropReason::PortsExhausted,
    DropReason::PortLimitReached,
    DropReason::HandOffFull,
    DropReason::TransmitQueueFull,
    DropReason::TransmitRefused,
];

/// All ports below 1024 but one: then an address of a pool has hardly any for those who send from such.
pub(crate) fn nearly_all_low_ports() -> Vec<u16> {
    (1..1_023).collect()
}

impl Chaos {
    pub(crate) fn something_befalls_it(&mut self) {
        match self.random.random_range(0..8) {
            0 | 1 => self.a_nic_goes_down(),
            2 => self.the_nics_come_up(),
            3 => self.the_clock_stands_still(),
            4 => self.the_machine_is_suspended(),
            5 => self.the_process_restarts(),
            _ => self.circuits_change(),
        }
    }

    pub(crate) fn weather_changes(&mut self) {
        let port = self.random.random_range(0..3);
        let mut weather = || Weather {
            loss: self.random.random_range(0..200),
            duplicate: self.random.random_range(0..200),
            corrupt: self.random.random_range(0..100),
            delay: Duration::from_micros(self.random.random_range(0..30_000)),
        };
        let (to, from) = (weather(), weather());
        // A bent bit in the clear on a VLAN would bend a canary.
        let spare = |weather: Weather| if port == 0 { weather } else { Weather { corrupt: 0, ..weather } };
        self.world.weather(port, spare(to), spare(from));
    }

    fn a_nic_goes_down(&mut self) {
        let (port, down) = (self.random.random_range(0..3), self.one_of(&[Down::Stuck, Down::Refusing]));
        self.world.set_down(port, Some(down));
        self.faults.insert(if down == Down::Stuck { Fault::NicStuck } else { Fault::NicRefusing });
    }

    fn the_nics_come_up(&mut self) {
        for port in 0..3 {
            if self.world.is_down(port) {
                self.faults.insert(Fault::NicUpAgain);
            }
            self.world.set_down(port, None);
        }
    }

    /// Much happens at one moment: a clock may be coarse, or stand still under a hypervisor.
    fn the_clock_stands_still(&mut self) {
        for _ in 0..20 {
            self.office_sends();
            self.cloud_sends();
            self.world.step();
        }
        self.faults.insert(Fault::ClockStoodStill);
    }

    /// The machine sleeps, the relay and the routers with it, and all wake up much later.
    fn the_machine_is_suspended(&mut self) {
        let minutes = self.one_of(&[1, 3, 20, 125, 600, 10_000]);
        self.world.jump(Duration::from_secs(60 * minutes));
        self.faults.insert(if minutes < 60 { Fault::SuspendedForMinutes } else { Fault::SuspendedForHours });
    }

    fn the_process_restarts(&mut self) {
        if self.random.random_ratio(1, 2) {
            // In the middle of something.
            self.office_sends();
            self.cloud_sends();
            self.world.step();
        }
        let set_back = self.one_of(&[0, 0, 0, 1, 300, 1_000_000]);
        self.faults.insert(if self.holds_packets() { Fault::RestartedWithPacketsHeld } else { Fault::Restarted });
        self.world.restart(Duration::from_secs(set_back));
        if set_back > 0 {
            self.faults.insert(Fault::RestartedAfterTheWallClockWasSetBack);
        }
    }

    fn circuits_change(&mut self) {
        let name = self.one_of(&NAMES);
        let (number, other) = (place_of(name), self.random.random_range(0..3));
        if self.world.is_gone(name) || self.world.is_gone(NAMES[other]) {
            return;
        }
        match self.random.random_range(0..3) {
            0 if number != other => {
                self.world.swap_circuits(name, NAMES[other]);
                self.vlans.swap(number, other);
                // What one of them sent over the circuit that is the other's now.
                self.seen.retain(|(port, _)| *port == 0);
                self.faults.insert(Fault::CircuitsSwapped);
            }
            1 => {
                self.vlans[number] = self.fresh_vlan;
                self.world.renumber_circuit(name, Vlan::Single(vlan(usize::from(self.fresh_vlan) - 1)));
                self.fresh_vlan += 1;
                self.faults.insert(Fault::CircuitRenumbered);
            }
            _ => {
                let random = &mut self.random;
                self.world.reload(|plan| plan.tenants.shuffle(random));
                self.faults.insert(Fault::TenantsReordered);
            }
        }
        for name in NAMES {
            if !self.world.is_gone(name) {
                self.world.cloud(name).answers = true;
            }
        }
    }

    fn holds_packets(&self) -> bool {
        self.world.audits().iter().any(|audit| audit.waiting + audit.packets_under_way > 0)
    }

    /// Before a reload.
    pub(crate) fn note_reload(&mut self, name: &str, removes: bool) {
        if self.holds_packets() {
            self.faults.insert(Fault::ReloadWithPacketsHeld);
        }
        match (self.world.is_gone(name), removes) {
            (true, _) => drop(self.faults.insert(Fault::TenantAddedAgain)),
            (false, true) => drop(self.faults.insert(Fault::TenantRemoved)),
            (false, false) => {}
        }
    }

    /// What the weather did.
    pub(crate) fn note_mishaps(&mut self) {
        let mishaps = self.world.mishaps();
        let list = [
            (mishaps.lost, Fault::FrameLost),
            (mishaps.doubled, Fault::FrameDoubled),
            (mishaps.bent, Fault::FrameBent),
            (mishaps.overtaken, Fault::FrameOvertaken),
        ];
        self.faults.extend(list.iter().filter(|(times, _)| *times > 0).map(|(_, fault)| *fault));
    }

    /// Whatever it was, once it is over, and the operator has put everything right, each office gets an answer from its cloud.
    pub(crate) fn everybody_is_served_again(&mut self) {
        while self.world.event().is_some() {
            self.world.step();
        }
        let tenants: Vec<_> = (0..NAMES.len())
            .map(|number| {
                let make = if self.is_ipsec(number) { ipsec_municipality } else { municipality };
                make(NAMES[number], self.vlans[number])
            })
            .collect();
        self.world.reload(|plan| {
            plan.tenants = tenants;
            plan.reserved_ports.clear();
        });
        self.world.run(Duration::from_secs(2));
        for (number, name) in (50..).zip(NAMES) {
            self.world.cloud(name).answers = true;
            let office = self.world.office(name);
            (office.outer, office.outer6) = (SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, number), 4_500), None);
            office.in_udp = true;
            let before = self.world.counts();
            self.connect(name);
            self.world.run(Duration::from_millis(300));
            drop(self.world.office(name).received());
            let ping = packets::ping(ip("198.51.100.17"), ip("203.0.113.10"), 77, b"are you there?");
            self.world.office(name).send(&ping);
            self.world.run(Duration::from_millis(300));
            let answers = self.world.office(name).received();
            let is_answer = |packet: &Vec<u8>| packet[12..16] == [203, 0, 113, 10] && packet.ends_with(b"are you there?");
            let changes = self.world.counts().since(&before);
            assert!(answers.iter().any(is_answer), "{name} is not served any more: {changes:?}");
        }
    }

    fn connect(&mut self, name: &str) {
        if !self.world.office(name).is_ipsec() {
            return self.world.office(name).connect();
        }
        for spi in self.world.office(name).esp().relay_spis() {
            self.world.remove_sa(name, spi);
            self.world.office(name).esp().remove(spi);
        }
        self.world.exchange_keys(name);
        self.world.send_keepalive(name);
    }
}

fn place_of(name: &str) -> usize {
    NAMES.iter().position(|other| *other == name).expect("one of them")
}
