//! Opening ports: the part that needs privileges, apart from the drivers that run with what it returns.

use std::path::Path;

use super::af_packet::{AfPacket, AfPacketSocket};
use super::error::NicError;
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
    /// Largest IP packet it shall carry, at most [`MAX_MTU`](super::MAX_MTU).
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
    specs.iter().map(|spec| open_port(spec, state_directory, pool)).collect()
}

fn open_port(spec: &PortSpec, state_directory: &Path, _pool: &mut FramePool) -> Result<OpenPort, NicError> {
    if spec.driver == Driver::AfXdp {
        return Err(NicError::io("use AF_XDP (not built yet)", &spec.interface, std::io::ErrorKind::Unsupported.into()));
    }
    let mut takeover = Takeover::begin(&spec.interface, spec.mtu, state_directory)?;
    let nic: Box<dyn Nic> = Box::new(open_af_packet(spec, &mut takeover, "asked for")?);
    Ok(OpenPort { name: spec.name.clone(), nic, takeover })
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
