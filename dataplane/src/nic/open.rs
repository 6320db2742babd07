//! Opening ports: which driver each of them gets, on what a [`TakenPort`] gives it.

use std::io;
use std::path::Path;

use super::af_packet::{AfPacket, AfPacketSocket};
use super::af_xdp::{AfXdp, AfXdpSocket, LEAST_FRAMES, Place, Registration};
use super::error::NicError;
use super::offload::coalesce::Kinds;
use super::taken::{PacketSockets, TakenPort, XdpQueues};
use super::takeover::take_over;
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

/// A port that runs. The NICs go to the workers; the interface stays with whoever ends the program.
pub struct OpenPort {
    /// Name of the port in the configuration.
    pub name: String,
    /// The running drivers, to be dropped before the interface is given back: for each worker those of its queues, none where the interface has
    /// fewer queues than there are workers. The first worker always has one.
    pub queues: Vec<Vec<Box<dyn Nic>>>,
    /// Gives the interface back.
    pub taken: Box<dyn TakenPort>,
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

/// Take all ports over in this process, in order, and start their drivers on the memory of `pools`: one for each worker.
///
/// What a takeover changes is remembered in `state_directory` (for example `/run/chukei/ports`), one file a port, until it is undone.
///
/// # Errors
/// The first port that cannot be had, and why; those before it are given back.
pub fn open_ports(specs: &[PortSpec], state_directory: &Path, pools: &mut [FramePool]) -> Result<Vec<OpenPort>, NicError> {
    open_ports_with(specs, &mut |interface, mtu| take_over(interface, mtu, state_directory), pools)
}

/// Takes an interface that carries IP packets of this size over, or has another process do it.
pub type TakeOver<'a> = dyn FnMut(&str, u16) -> Result<Box<dyn TakenPort>, NicError> + 'a;

/// As [`open_ports`], on interfaces that `take_over` takes: nothing else here needs a privilege.
///
/// # Errors
/// The first port that cannot be had, and why; those before it are given back.
pub fn open_ports_with(specs: &[PortSpec], take_over: &mut TakeOver<'_>, pools: &mut [FramePool]) -> Result<Vec<OpenPort>, NicError> {
    let mut opener = Opener { pools, ports: specs.len().max(1), registrations: Vec::new() };
    specs.iter().map(|spec| opener.open(spec, take_over(&spec.interface, spec.mtu)?)).collect()
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
    fn open(&mut self, spec: &PortSpec, mut taken: Box<dyn TakenPort>) -> Result<OpenPort, NicError> {
        let queues = match spec.driver {
            Driver::AfPacket => self.open_af_packet(spec, &mut *taken, "the configuration asks for it")?,
            Driver::AfXdp => self.open_af_xdp(spec, &mut *taken, true)?,
            Driver::Auto => self.open_best(spec, &mut *taken)?,
        };
        Ok(OpenPort { name: spec.name.clone(), queues, taken })
    }

    /// AF_XDP where it does not copy; else AF_PACKET where the port deals in super-frames; else AF_XDP if need be copying; else AF_PACKET.
    ///
    /// AF_XDP that copies pays a kernel crossing and a copy for each frame, and cannot take part in segmentation offload: the other end
    /// then cuts and checksums every frame itself. AF_PACKET copies as well, but up to 64 KiB at a time.
    fn open_best(&mut self, spec: &PortSpec, taken: &mut dyn TakenPort) -> Result<Queues, NicError> {
        let super_frames = taken.had_super_frames();
        match self.open_af_xdp(spec, taken, !super_frames) {
            Ok(queues) => Ok(queues),
            Err(error) if super_frames => {
                let reason =
                    format!("AF_XDP without copying is not to be had ({error}), and super-frames carry more than AF_XDP that copies");
                self.open_af_packet(spec, taken, &reason)
            }
            Err(error) => self.open_af_packet(spec, taken, &format!("AF_XDP does not work here: {error}")),
        }
    }

    /// A socket for each queue of the interface, dealt out to the workers in turn.
    fn open_af_xdp(&mut self, spec: &PortSpec, taken: &mut dyn TakenPort, may_copy: bool) -> Result<Queues, NicError> {
        let workers = self.pools.len();
        let XdpQueues { queues, attachment, reason } = taken.prepare_xdp(u32::try_from(workers).expect("a few workers"))?;
        let lend = self.lend((queues as usize).div_ceil(workers));
        if lend < LEAST_FRAMES {
            return Err(NicError::FewFrames { interface: spec.interface.clone(), frames: lend, needed: LEAST_FRAMES });
        }
        let failed = |source: io::Error| NicError::io("open AF_XDP", &spec.interface, source);
        let interface = taken.interface().index;
        let mut opened: Queues = self.pools.iter().map(|_| Vec::new()).collect();
        for queue in 0..queues {
            let pool = &mut self.pools[queue as usize % workers];
            let place = Place { interface, queue, attachment, reason: &reason };
            let bound = AfXdpSocket::bind(place, pool.umem(), &mut self.registrations, || taken.xdp_socket(), may_copy);
            let (socket, rings) = bound.map_err(failed)?;
            taken.hook(queue, socket.fd()).map_err(failed)?;
            let description = describe(spec, taken, "af_xdp", socket.mode(), socket.reason());
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
    fn open_af_packet(&self, spec: &PortSpec, taken: &mut dyn TakenPort, reason: &str) -> Result<Queues, NicError> {
        let PacketSockets { sockets, super_frames } = taken.packet_sockets(self.pools.len())?;
        let (kinds, mode) = if super_frames { (Kinds::ALL, "copy (offload)") } else { (Kinds::NONE, "copy") };
        let open = |fd| -> Result<Vec<Box<dyn Nic>>, NicError> {
            let description = describe(spec, taken, "af_packet", mode.into(), reason);
            let socket = AfPacketSocket { fd, interface: taken.interface().clone() };
            let nic = AfPacket::new(socket, kinds, description);
            Ok(vec![Box::new(nic.map_err(|source| NicError::io("map the AF_PACKET rings", &spec.interface, source))?)])
        };
        sockets.into_iter().map(open).collect()
    }
}

fn describe(spec: &PortSpec, taken: &dyn TakenPort, driver: &'static str, mode: String, reason: &str) -> NicDescription {
    let interface = taken.interface();
    NicDescription { driver, mode, reason: reason.into(), interface: interface.name.clone(), mac: interface.mac, mtu: spec.mtu }
}
