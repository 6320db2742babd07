//! Opening ports: the part that needs privileges, apart from the drivers that run with what it returns.

use std::path::Path;

use super::af_packet::{AfPacket, AfPacketSocket};
use super::af_xdp::{AfXdp, AfXdpSocket, Attached, LEAST_FRAMES, Registration};
use super::error::{MAX_MTU, NicError};
use super::takeover::Takeover;
use super::{Nic, NicDescription};
use crate::packet::FramePool;

/// Which driver a port is to have.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Driver {
    /// AF_XDP where it works, else AF_PACKET.
    #[default]
    Auto,
    /// AF_XDP or nothing.
    AfXdp,
    /// AF_PACKET.
    AfPacket,
}

/// A port to be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortSpec {
    /// Name of the port in the configuration.
    pub name: String,
    /// Interface, as the kernel names it.
    pub interface: String,
    /// Largest IP packet it shall carry, at most [`MAX_MTU`](super::MAX_MTU). The interface's own MTU must not be smaller; with QinQ it
    /// must be 4 more for packets of full size, as the kernel grants one tag only.
    pub mtu: u16,
    /// Which driver.
    pub driver: Driver,
}

/// A port that runs. The NIC goes to the worker; the takeover stays with whoever ends the program.
pub struct OpenPort {
    /// Name of the port in the configuration.
    pub name: String,
    /// The running driver; to be dropped before the takeover ends.
    pub nic: Box<dyn Nic>,
    /// Gives the interface back.
    pub takeover: Takeover,
}

/// Take all ports over, in order, and start their drivers on the memory of `pool`.
///
/// What a takeover changes is remembered in `state_directory` (for example `/run/chukei/ports`), one file a port, until it is undone.
///
/// # Errors
/// The first port that cannot be had, and why; those before it are given back.
pub fn open_ports(specs: &[PortSpec], state_directory: &Path, pool: &mut FramePool) -> Result<Vec<OpenPort>, NicError> {
    // Half of the memory for the receive rings of all ports, half for what is on its way.
    let lend = pool.total() / 2 / specs.len().max(1);
    let mut opener = Opener { pool, lend, registrations: Vec::new() };
    specs.iter().map(|spec| opener.open(spec, state_directory)).collect()
}

/// What the ports have in common.
struct Opener<'a> {
    pool: &'a mut FramePool,
    /// Frames each port may lend to the kernel for receiving.
    lend: usize,
    registrations: Vec<Registration>,
}

impl Opener<'_> {
    fn open(&mut self, spec: &PortSpec, state_directory: &Path) -> Result<OpenPort, NicError> {
        let mut takeover = Takeover::begin(&spec.interface, spec.mtu, state_directory)?;
        let nic: Box<dyn Nic> = match spec.driver {
            Driver::AfPacket => Box::new(open_af_packet(spec, &mut takeover, "the configuration asks for it")?),
            Driver::AfXdp => Box::new(self.open_af_xdp(spec, &mut takeover)?),
            Driver::Auto => match self.open_af_xdp(spec, &mut takeover) {
                Ok(nic) => Box::new(nic),
                Err(error) => Box::new(open_af_packet(spec, &mut takeover, &format!("AF_XDP does not work here: {error}"))?),
            },
        };
        Ok(OpenPort { name: spec.name.clone(), nic, takeover })
    }

    fn open_af_xdp(&mut self, spec: &PortSpec, takeover: &mut Takeover) -> Result<AfXdp, NicError> {
        let interface = takeover.interface().clone();
        let name = || interface.name.clone();
        let failed = |doing| move |source| NicError::io(doing, &spec.interface, source);
        if interface.mtu > u32::from(MAX_MTU) {
            return Err(NicError::MtuTooLarge { interface: name(), mtu: interface.mtu });
        }
        if self.lend < LEAST_FRAMES {
            return Err(NicError::FewFrames { interface: name(), frames: self.lend, needed: LEAST_FRAMES });
        }
        if let Some(offload) = takeover.offload_left(&["lro", "rxvlan"]) {
            return Err(NicError::Offload { interface: name(), offload });
        }
        takeover.use_one_queue()?;
        let program = Attached::best(interface.index).map_err(failed("attach an XDP program"))?;
        // The program already drops what is not the relay's. This drop is for the moment between the end of the driver and that of
        // the takeover, and a kernel without nftables can do without it.
        let _ = takeover.drop_ingress();
        takeover.bring_up()?;
        let umem = self.pool.umem();
        let socket = AfXdpSocket::open(&interface, umem, &mut self.registrations, program).map_err(failed("open AF_XDP"))?;
        let description = describe(spec, takeover, "af_xdp", socket.mode(), socket.reason());
        AfXdp::new(socket, self.lend, self.pool, description).map_err(failed("map the AF_XDP rings"))
    }
}

fn open_af_packet(spec: &PortSpec, takeover: &mut Takeover, reason: &str) -> Result<AfPacket, NicError> {
    let failed = |doing| move |source| NicError::io(doing, &spec.interface, source);
    takeover.drop_ingress().map_err(failed("keep the kernel silent (nftables, Linux 5.12)"))?;
    takeover.bring_up()?;
    let socket = AfPacketSocket::open(takeover.interface()).map_err(failed("open AF_PACKET"))?;
    let description = describe(spec, takeover, "af_packet", "copy".into(), reason);
    AfPacket::new(socket, description).map_err(failed("map the AF_PACKET rings"))
}

fn describe(spec: &PortSpec, takeover: &Takeover, driver: &'static str, mode: String, reason: &str) -> NicDescription {
    let interface = takeover.interface();
    NicDescription { driver, mode, reason: reason.into(), interface: interface.name.clone(), mac: interface.mac, mtu: spec.mtu }
}
