//! The relay's ports: taken over at the start, given back at the end.

use anyhow::Context;
use dataplane::nic::{Driver, Nic, NicDescription, PortSpec, TakenPort, open_ports_with, take_over};
use dataplane::packet::FramePool;
use dataplane::worker::{Links, PortQueues};

use crate::config::{self, RelayConfigModel};
use crate::launcher::Launcher;

/// Frames of 2 KiB a worker where relay.yaml names no number: 32 MiB, enough for deep rings on four ports.
pub(crate) const DEFAULT_FRAMES: u32 = 16_384;

/// Ports that run. The drivers go to a worker, the rest stays for the end.
pub struct Ports {
    /// The drivers of each worker's queues, by port in the order of the configuration and by worker.
    pub queues: Vec<Vec<Vec<Box<dyn Nic>>>>,
    /// The frames of each worker that are not in the drivers' hands.
    pub pools: Vec<FramePool>,
    /// What each driver is.
    pub descriptions: Vec<NicDescription>,
    taken: Vec<Box<dyn TakenPort>>,
}

impl Ports {
    /// Take all ports of the configuration over: by a launcher, or in this process where there is none.
    ///
    /// # Errors
    /// The first port that cannot be had, and why.
    pub fn open(model: &RelayConfigModel, launcher: Option<&Launcher>) -> anyhow::Result<Self> {
        let state = model.state.join("ports");
        std::fs::create_dir_all(&state).with_context(|| state.display().to_string())?;
        let workers = u32::try_from(model.workers).expect("sixteen at most");
        let frames = model.frames.unwrap_or(DEFAULT_FRAMES * workers);
        let pools = FramePool::shared(frames, model.workers);
        let mut pools = pools.with_context(|| format!("memory for {frames} frames; lower `frames` in relay.yaml"))?;
        pools.iter().take(1).for_each(|pool| pool.umem().populate());
        let specs: Vec<PortSpec> = model.ports.iter().map(spec).collect();
        let mut take = |interface: &str, mtu| match launcher {
            Some(launcher) => launcher.take_over(interface, mtu, &state),
            None => take_over(interface, mtu, &state),
        };
        let (mut queues, mut descriptions, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for port in open_ports_with(&specs, &mut take, &mut pools)? {
            let description = port.description().clone();
            let NicDescription { driver, mode, reason, interface, .. } = &description;
            let with_queue = port.queues.iter().filter(|queues| !queues.is_empty()).count();
            tracing::info!(port = port.name, interface, driver, mode, reason, workers = with_queue, "port taken over");
            descriptions.push(description);
            queues.push(port.queues);
            taken.push(port.taken);
        }
        Ok(Self { queues, pools, descriptions, taken })
    }

    /// Split into what the workers need and what gives the ports back.
    #[must_use]
    pub fn into_parts(self) -> (Vec<WorkerShare>, Vec<NicDescription>, GiveBack) {
        let links = Links::between(&self.pools);
        let ports = PortQueues::deal(self.queues, &links);
        let shares = ports.into_iter().zip(self.pools).zip(links);
        let shares = shares.map(|((ports, pool), links)| WorkerShare { ports, pool, links }).collect();
        (shares, self.descriptions, GiveBack(self.taken))
    }
}

/// What one worker has of the ports.
pub struct WorkerShare {
    /// Its queues, by port.
    pub ports: Vec<PortQueues>,
    /// Its frames.
    pub pool: FramePool,
    /// Its place among all workers.
    pub links: Links,
}

/// Gives the interfaces back as they were. Dropping it does so too, without a word about failures.
pub struct GiveBack(Vec<Box<dyn TakenPort>>);

impl GiveBack {
    /// Restore all interfaces; the drivers have to be gone by now.
    pub fn restore(self) {
        for port in self.0 {
            if let Err(error) = port.restore() {
                tracing::warn!("{error}; the next start tries again");
            }
        }
    }
}

pub(crate) fn spec(port: &config::Port) -> PortSpec {
    let driver = match port.driver {
        config::Driver::Auto => Driver::Auto,
        config::Driver::AfXdp => Driver::AfXdp,
        config::Driver::AfPacket => Driver::AfPacket,
    };
    PortSpec { name: port.name.clone(), interface: port.interface.clone(), mtu: port.mtu, driver }
}
