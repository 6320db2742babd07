//! Opening ports: the part that needs privileges, apart from the drivers that run with what it returns.

use std::path::Path;
use std::sync::Arc;

use super::af_packet::{AfPacket, AfPacketSocket};
use super::af_xdp::{AfXdp, AfXdpSocket, Attached, LEAST_FRAMES, Registration};
use super::error::{MAX_MTU, NicError};
use super::offload::coalesce::Kinds;
use super::takeover::Takeover;
use super::{Nic, NicDescription};
use crate::packet::FramePool;

/// Which driver a port is to have.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Driver {
    /// AF_XDP where it does not copy, else AF_PACKET where the port deals in super-frames, else whichever works.
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

/// A port that runs. The NICs go to the workers; the takeover stays with whoever ends the program.
pub struct OpenPort {
    /// Name of the port in the configuration.
    pub name: String,
    /// The running drivers, to be dropped before the takeover ends: for each worker those of its queues, none where the interface has
    /// fewer queues than there are workers. The first worker always has one.
    pub queues: Vec<Vec<Box<dyn Nic>>>,
    /// Gives the interface back.
    pub takeover: Takeover,
}

impl OpenPort {
    /// What the port's drivers are; they are all alike.
    ///
    /// # Panics
    /// When the first worker's drivers have been taken out.
    #[must_use]
    pub fn description(&self) -> &NicDescription {
        self.queues[0][0].description()
    }
}

/// Take all ports over, in order, and start their drivers on the memory of `pools`: one for each worker.
///
/// What a takeover changes is remembered in `state_directory` (for example `/run/chukei/ports`), one file a port, until it is undone.
///
/// # Errors
/// The first port that cannot be had, and why; those before it are given back.
pub fn open_ports(specs: &[PortSpec], state_directory: &Path, pools: &mut [FramePool]) -> Result<Vec<OpenPort>, NicError> {
    let mut opener = Opener { pools, ports: specs.len().max(1), registrations: Vec::new() };
    specs.iter().map(|spec| opener.open(spec, state_directory)).collect()
}

/// What the ports have in common.
struct Opener<'a> {
    /// Of each worker.
    pools: &'a mut [FramePool],
    ports: usize,
    registrations: Vec<Registration>,
}

/// The queues of each worker.
type Queues = Vec<Vec<Box<dyn Nic>>>;

impl Opener<'_> {
    fn open(&mut self, spec: &PortSpec, state_directory: &Path) -> Result<OpenPort, NicError> {
        let mut takeover = Takeover::begin(&spec.interface, spec.mtu, state_directory)?;
        let queues = match spec.driver {
            Driver::AfPacket => self.open_af_packet(spec, &mut takeover, "the configuration asks for it")?,
            Driver::AfXdp => self.open_af_xdp(spec, &mut takeover, true)?,
            Driver::Auto => self.open_best(spec, &mut takeover)?,
        };
        Ok(OpenPort { name: spec.name.clone(), queues, takeover })
    }

    /// AF_XDP where it does not copy; else AF_PACKET where the port deals in super-frames; else AF_XDP if need be copying; else AF_PACKET.
    ///
    /// AF_XDP that copies pays a kernel crossing and a copy for each frame, and cannot take part in segmentation offload: the other end
    /// then cuts and checksums every frame itself. AF_PACKET copies as well, but up to 64 KiB at a time.
    fn open_best(&mut self, spec: &PortSpec, takeover: &mut Takeover) -> Result<Queues, NicError> {
        let super_frames = takeover.had_offload("tso");
        match self.open_af_xdp(spec, takeover, !super_frames) {
            Ok(queues) => Ok(queues),
            Err(error) if super_frames => {
                let reason =
                    format!("AF_XDP without copying is not to be had ({error}), and super-frames carry more than AF_XDP that copies");
                self.open_af_packet(spec, takeover, &reason)
            }
            Err(error) => self.open_af_packet(spec, takeover, &format!("AF_XDP does not work here: {error}")),
        }
    }

    /// A socket for each queue of the interface, dealt out to the workers in turn.
    fn open_af_xdp(&mut self, spec: &PortSpec, takeover: &mut Takeover, may_copy: bool) -> Result<Queues, NicError> {
        let interface = takeover.interface().clone();
        let name = || interface.name.clone();
        let failed = |doing| move |source| NicError::io(doing, &spec.interface, source);
        if interface.mtu > u32::from(MAX_MTU) {
            return Err(NicError::MtuTooLarge { interface: name(), mtu: interface.mtu });
        }
        takeover.keep_offloads(&[]);
        if let Some(offload) = takeover.offload_on(&["lro", "rxvlan"]) {
            return Err(NicError::Offload { interface: name(), offload });
        }
        let workers = self.pools.len();
        let queues = takeover.use_queues(u32::try_from(workers).expect("a few workers"))?;
        let lend = self.lend((queues as usize).div_ceil(workers));
        if lend < LEAST_FRAMES {
            return Err(NicError::FewFrames { interface: name(), frames: lend, needed: LEAST_FRAMES });
        }
        let program = Arc::new(Attached::best(interface.index, queues).map_err(failed("attach an XDP program"))?);
        // The program already drops what is not the relay's. This drop is for the moment between the end of the driver and that of
        // the takeover, and a kernel without nftables can do without it.
        let _ = takeover.drop_ingress();
        takeover.bring_up()?;
        let mut opened: Queues = self.pools.iter().map(|_| Vec::new()).collect();
        for queue in 0..queues {
            let pool = &mut self.pools[queue as usize % workers];
            let socket = AfXdpSocket::open(&interface, queue, pool.umem(), &mut self.registrations, Arc::clone(&program), may_copy);
            let (socket, rings) = socket.map_err(failed("open AF_XDP"))?;
            let description = describe(spec, takeover, "af_xdp", socket.mode(), socket.reason());
            let nic = AfXdp::new(socket, rings, lend, pool, description);
            opened[queue as usize % workers].push(Box::new(nic));
        }
        Ok(opened)
    }

    /// Frames that each of a worker's queues on one port may lend to the kernel for receiving: half of the memory for all receive
    /// rings, half for what is on its way.
    fn lend(&self, queues: usize) -> usize {
        let smallest = self.pools.iter().map(FramePool::total).min().unwrap_or(0);
        smallest / 2 / self.ports / queues.max(1)
    }

    /// A socket for each worker; the kernel deals the flows out to them.
    fn open_af_packet(&self, spec: &PortSpec, takeover: &mut Takeover, reason: &str) -> Result<Queues, NicError> {
        let failed = |doing| move |source| NicError::io(doing, &spec.interface, source);
        // The driver cuts what arrives, and finishes checksums; what a NIC does not do is done in the kernel, for many frames at once.
        takeover.keep_offloads(&["tx", "tso", "gso", "gro"]);
        let takes_super_frames = takeover.offload_on(&["tso"]).is_some();
        let (kinds, mode) = if takes_super_frames { (Kinds::ALL, "copy (offload)") } else { (Kinds::NONE, "copy") };
        takeover.drop_ingress().map_err(failed("keep the kernel silent (nftables, Linux 5.12)"))?;
        takeover.bring_up()?;
        let sockets = AfPacketSocket::open_all(takeover.interface(), self.pools.len()).map_err(failed("open AF_PACKET"))?;
        let open = |socket| -> Result<Vec<Box<dyn Nic>>, NicError> {
            let description = describe(spec, takeover, "af_packet", mode.into(), reason);
            let nic = AfPacket::new(socket, kinds, description).map_err(failed("map the AF_PACKET rings"))?;
            Ok(vec![Box::new(nic)])
        };
        sockets.into_iter().map(open).collect()
    }
}

fn describe(spec: &PortSpec, takeover: &Takeover, driver: &'static str, mode: String, reason: &str) -> NicDescription {
    let interface = takeover.interface();
    NicDescription { driver, mode, reason: reason.into(), interface: interface.name.clone(), mac: interface.mac, mtu: spec.mtu }
}
