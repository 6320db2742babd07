//! The relay's ports: taken over at the start, given back at the end.

use anyhow::Context;
use dataplane::nic::{Driver, Nic, NicDescription, PortSpec, Takeover, open_ports};
use dataplane::packet::FramePool;

use crate::config::{self, RelayConfigModel};

/// Frames of 2 KiB where relay.yaml names no number: 32 MiB, enough for deep rings on four ports.
pub(crate) const DEFAULT_FRAMES: u32 = 16_384;

/// Ports that run. The drivers go to a worker, the rest stays for the end.
pub struct Ports {
    /// Drivers, in the order of the configuration.
    pub nics: Vec<Box<dyn Nic>>,
    /// The frames that are not in the drivers' hands.
    pub pool: FramePool,
    /// What each driver is.
    pub descriptions: Vec<NicDescription>,
    takeovers: Vec<Takeover>,
}

impl Ports {
    /// Take all ports of the configuration over.
    ///
    /// # Errors
    /// The first port that cannot be had, and why.
    pub fn open(model: &RelayConfigModel) -> anyhow::Result<Self> {
        let state = model.state.join("ports");
        std::fs::create_dir_all(&state).with_context(|| state.display().to_string())?;
        let frames = model.frames.unwrap_or(DEFAULT_FRAMES);
        let mut pool = FramePool::new(frames).with_context(|| format!("memory for {frames} frames; lower `frames` in relay.yaml"))?;
        let pools = std::slice::from_mut(&mut pool);
        let specs: Vec<PortSpec> = model.ports.iter().map(spec).collect();
        let (mut nics, mut descriptions, mut takeovers) = (Vec::new(), Vec::new(), Vec::new());
        for port in open_ports(&specs, &state, pools)? {
            let description = port.description().clone();
            let NicDescription { driver, mode, reason, interface, .. } = &description;
            tracing::info!(port = port.name, interface, driver, mode, reason, "port taken over");
            descriptions.push(description);
            nics.extend(port.queues.into_iter().flatten());
            takeovers.push(port.takeover);
        }
        Ok(Self { nics, pool, descriptions, takeovers })
    }

    /// Split into what a worker needs and what gives the ports back.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Box<dyn Nic>>, FramePool, Vec<NicDescription>, GiveBack) {
        (self.nics, self.pool, self.descriptions, GiveBack(self.takeovers))
    }
}

/// Gives the interfaces back as they were. Dropping it does so too, without a word about failures.
pub struct GiveBack(Vec<Takeover>);

impl GiveBack {
    /// Restore all interfaces; the drivers have to be gone by now.
    pub fn restore(self) {
        for takeover in self.0 {
            if let Err(error) = takeover.restore() {
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
