//! Taking an interface from the kernel, and giving it back as it was.
//!
//! The relay answers ARP, ICMP and the rest on its ports itself, so the kernel has to be silent there: no IPv6, no ARP, and an
//! ingress drop behind the relay's socket. Everything changed is written to a file first; a run that was killed is healed from it.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::af_packet;
use super::af_xdp::{self, Attached};
use super::error::{MAX_MTU, NicError};
use super::ethtool::{Channels, OFFLOADS};
use super::ingress_drop::IngressDrop;
use super::interface::Interface;
use super::netlink::Netlink;
use super::port_state::{PortState, namespace};
use super::sys;
use super::taken::{PacketSockets, TakenPort, XdpQueues};

/// A relay that was killed has let go of its ports by then, and whoever opened them for it has put them back.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// How often a port that another has is looked at again.
const LOCK_POLL: Duration = Duration::from_millis(10);

/// `IFF_UP` and `IFF_NOARP` as `SIOCGIFFLAGS` gives them.
#[expect(clippy::cast_possible_truncation, reason = "both flags are in the lower 16 bits")]
const IFF_UP: i16 = libc::IFF_UP as i16;
#[expect(clippy::cast_possible_truncation, reason = "as above")]
const IFF_NOARP: i16 = libc::IFF_NOARP as i16;

/// Take `interface` over in this process, after healing what a killed run left. `state_directory` must outlive the process
/// (`/run/chukei/ports`): what the takeover changes is kept there, one file a port, until it is undone.
///
/// # Errors
/// Why the interface cannot be had, and what helps.
pub fn take_over(interface: &str, mtu: u16, state_directory: &Path) -> Result<Box<dyn TakenPort>, NicError> {
    Ok(Box::new(Takeover::begin(interface, mtu, state_directory)?))
}

/// An interface in this process's hands. Dropping it restores what was changed.
#[derive(Debug)]
struct Takeover {
    interface: Interface,
    settings: Settings,
    before: PortState,
    state_file: PathBuf,
    /// Held, not read: the kernel lets go of the lock, of promiscuous mode and of the drop when the process ends.
    _lock: File,
    _promiscuous: OwnedFd,
    ingress_drop: Option<IngressDrop>,
    /// Outlives the sockets that it feeds: what arrives between their end and its own is dropped, not shown to the kernel.
    program: Option<Attached>,
    restored: bool,
}

/// The ways to an interface's settings. They keep the network namespace in which they were opened.
#[derive(Debug)]
struct Settings {
    name: String,
    control: OwnedFd,
    /// `/proc/sys/net/ipv6/conf/IF/disable_ipv6`; `None` on a kernel without IPv6, and where it is off for good.
    ipv6: Option<File>,
}

impl Takeover {
    fn begin(name: &str, mtu: u16, state_directory: &Path) -> Result<Self, NicError> {
        // The name becomes part of paths.
        if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
            return Err(NicError::Missing { interface: name.into() });
        }
        let state_file = state_directory.join(name);
        let lock = lock(name, state_directory)?;
        let mut netlink = Netlink::open(libc::NETLINK_ROUTE).map_err(|source| NicError::io("open netlink", name, source))?;
        let interface = Interface::find(&mut netlink, name)?;
        let mut settings = Settings::open(name)?;
        heal(&interface, &mut settings, &state_file)?;
        check_is_free(&interface, &mut netlink, mtu)?;
        let before = settings.read(interface.index)?;
        before.save(&state_file).map_err(|source| NicError::State { path: state_file.clone(), source })?;
        let promiscuous = promiscuous(&interface).map_err(|source| NicError::io("receive all VLANs", name, source))?;
        let mut takeover = Self {
            interface,
            settings,
            before,
            state_file,
            _lock: lock,
            _promiscuous: promiscuous,
            ingress_drop: None,
            program: None,
            restored: false,
        };
        takeover.settings.silence()?;
        Ok(takeover)
    }

    /// Switch off every offload but those of these names, which are as they were before. One that is fixed stays: the driver decides
    /// whether it can live with it.
    fn keep_offloads(&self, names: &[&str]) {
        for offload in &self.before.offloads {
            let on = names.contains(&offload.name);
            if !on || !offload.is_on(&self.settings.control, &self.interface.name) {
                let _ = offload.set(&self.settings.control, &self.interface.name, on);
            }
        }
    }

    /// Let nothing that arrives reach the kernel's own protocols.
    fn drop_ingress(&mut self) -> io::Result<()> {
        if self.ingress_drop.is_none() {
            self.ingress_drop = Some(IngressDrop::install(&self.interface.name)?);
        }
        Ok(())
    }

    /// Bring the interface up, when nothing is left that the kernel could answer.
    fn bring_up(&mut self) -> Result<(), NicError> {
        self.settings.set_flags(IFF_UP, IFF_UP).map_err(|source| NicError::io("bring the interface up", &self.interface.name, source))
    }

    /// Let the NIC use `wanted` receive queues, or as many as it has, for a driver that reads each of them. Returns how many there are.
    fn use_queues(&mut self, wanted: u32) -> Result<u32, NicError> {
        let (control, name) = (&self.settings.control, self.interface.name.as_str());
        let failed = |source| NicError::io("count the queues", name, source);
        let Some(present) = Channels::of(control, name).map_err(failed)? else { return Ok(1) };
        let chosen = present.up_to(control, name, wanted).map_err(failed)?;
        if chosen == present {
            return Ok(present.receiving());
        }
        self.before.channels = Some(present);
        self.before.save(&self.state_file).map_err(|source| NicError::State { path: self.state_file.clone(), source })?;
        match chosen.set(control, name) {
            Ok(()) => Ok(chosen.receiving()),
            Err(_) => {
                let parameter = if present.combined > 0 { "combined" } else { "rx" };
                Err(NicError::Queues { interface: name.into(), queues: present.receiving(), wanted: chosen.receiving(), parameter })
            }
        }
    }

    /// The first offload of these that is on.
    fn offload_on(&self, names: &[&'static str]) -> Option<&'static str> {
        let is_on = |offload: &&super::ethtool::Offload| {
            names.contains(&offload.name) && offload.is_on(&self.settings.control, &self.interface.name)
        };
        OFFLOADS.iter().find(is_on).map(|offload| offload.name)
    }

    fn put_back(&mut self) -> Result<(), NicError> {
        if std::mem::replace(&mut self.restored, true) {
            return Ok(());
        }
        self.program = None;
        self.settings.put_back(&self.before).map_err(|source| NicError::io("restore the settings", &self.interface.name, source))?;
        self.ingress_drop = None;
        remove(&self.state_file)
    }
}

impl TakenPort for Takeover {
    fn interface(&self) -> &Interface {
        &self.interface
    }

    fn had_super_frames(&self) -> bool {
        self.before.offloads.iter().any(|offload| offload.name == "tso")
    }

    fn prepare_xdp(&mut self, workers: u32) -> Result<XdpQueues, NicError> {
        let (name, mtu) = (self.interface.name.clone(), self.interface.mtu);
        if mtu > u32::from(MAX_MTU) {
            return Err(NicError::MtuTooLarge { interface: name, mtu });
        }
        self.keep_offloads(&[]);
        if let Some(offload) = self.offload_on(&["lro", "rxvlan"]) {
            return Err(NicError::Offload { interface: name, offload });
        }
        let queues = self.use_queues(workers)?;
        let attached =
            Attached::best(self.interface.index, queues).map_err(|source| NicError::io("attach an XDP program", &name, source))?;
        let (attachment, reason) = (attached.attachment, attached.reason.clone());
        self.program = Some(attached);
        // The program already drops what is not the relay's. This drop is for the moment between the end of the program and that of
        // the takeover, and a kernel without nftables can do without it.
        let _ = self.drop_ingress();
        self.bring_up()?;
        Ok(XdpQueues { queues, attachment, reason })
    }

    fn xdp_socket(&mut self) -> io::Result<OwnedFd> {
        af_xdp::new_socket()
    }

    fn hook(&mut self, queue: u32, socket: &OwnedFd) -> io::Result<()> {
        let attached = self.program.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        attached.program.insert(queue, socket)
    }

    fn packet_sockets(&mut self, count: usize) -> Result<PacketSockets, NicError> {
        self.program = None;
        // The driver cuts what arrives, and finishes checksums; what a NIC does not do is done in the kernel, for many frames at once.
        self.keep_offloads(&["tx", "tso", "gso", "gro"]);
        let super_frames = self.offload_on(&["tso"]).is_some();
        let silenced = self.drop_ingress();
        silenced.map_err(|source| NicError::io("keep the kernel silent (nftables, Linux 5.12)", &self.interface.name, source))?;
        self.bring_up()?;
        let sockets = af_packet::open_all(self.interface.index, count);
        let sockets = sockets.map_err(|source| NicError::io("open AF_PACKET", &self.interface.name, source))?;
        Ok(PacketSockets { sockets, super_frames })
    }

    fn restore(mut self: Box<Self>) -> Result<(), NicError> {
        self.put_back()
    }
}

impl Drop for Takeover {
    fn drop(&mut self) {
        // Nobody is left to tell; the state file stays where something failed, and the next start heals.
        let _ = self.put_back();
    }
}

impl Settings {
    fn open(name: &str) -> Result<Self, NicError> {
        let control = sys::socket(libc::AF_INET, libc::SOCK_DGRAM, 0).map_err(|source| NicError::io("open a socket", name, source))?;
        // Opened once: /proc/sys/net shows the namespace of the thread that opens, and the restoring thread may be in another.
        let path = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
        let ipv6 = match File::options().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // Not ours to write, but as it has to be.
            Err(_) if fs::read_to_string(&path).is_ok_and(|value| value.trim() == "1") => None,
            other => Some(other.map_err(|source| NicError::io("switch IPv6 off", name, source))?),
        };
        Ok(Self { name: name.into(), control, ipv6 })
    }

    fn read(&mut self, index: u32) -> Result<PortState, NicError> {
        let failed = |source| NicError::io("read the settings", &self.name, source);
        let flags = sys::interface_flags(&self.control, &self.name).map_err(failed)?;
        let ipv6_disabled = match &mut self.ipv6 {
            Some(file) => Some(read_switch(file).map_err(failed)?),
            None => None,
        };
        Ok(PortState {
            index,
            namespace: namespace().map_err(failed)?,
            up: flags & IFF_UP != 0,
            arp: flags & IFF_NOARP == 0,
            ipv6_disabled,
            offloads: OFFLOADS.into_iter().filter(|offload| offload.is_on(&self.control, &self.name)).collect(),
            channels: None,
        })
    }

    /// No IPv6 and no ARP.
    fn silence(&mut self) -> Result<(), NicError> {
        if let Some(file) = &mut self.ipv6 {
            write_switch(file, true).map_err(|source| NicError::io("switch IPv6 off", &self.name, source))?;
        }
        self.set_flags(IFF_NOARP, IFF_NOARP).map_err(|source| NicError::io("switch ARP off", &self.name, source))
    }

    /// Restore everything that can be; the first error, if any.
    fn put_back(&mut self, before: &PortState) -> io::Result<()> {
        let up = if before.up { IFF_UP } else { 0 };
        let noarp = if before.arp { 0 } else { IFF_NOARP };
        let mut results = vec![self.set_flags(IFF_UP | IFF_NOARP, up | noarp)];
        if let (Some(file), Some(disabled)) = (&mut self.ipv6, before.ipv6_disabled) {
            results.push(write_switch(file, disabled));
        }
        if let Some(channels) = before.channels {
            results.push(channels.set(&self.control, &self.name));
        }
        for offload in &before.offloads {
            if !offload.is_on(&self.control, &self.name) {
                results.push(offload.set(&self.control, &self.name, true));
            }
        }
        results.into_iter().collect()
    }

    /// Change the interface flags in `mask` to those in `value`.
    fn set_flags(&self, mask: i16, value: i16) -> io::Result<()> {
        let flags = sys::interface_flags(&self.control, &self.name)?;
        sys::set_interface_flags(&self.control, &self.name, flags & !mask | value)
    }
}

fn read_switch(file: &mut File) -> io::Result<bool> {
    file.rewind()?;
    Ok(io::read_to_string(file)?.trim() != "0")
}

fn write_switch(file: &mut File, on: bool) -> io::Result<()> {
    file.rewind()?;
    file.write_all(if on { b"1" } else { b"0" })
}

/// One relay a port: the lock ends with the process. It is waited for a moment, as a start may follow upon the end of another.
fn lock(name: &str, state_directory: &Path) -> Result<File, NicError> {
    let path = state_directory.join(format!("{name}.lock"));
    let failed = |source| NicError::State { path: path.clone(), source };
    fs::create_dir_all(state_directory).map_err(failed)?;
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    let mut patience = LOCK_PATIENCE;
    loop {
        match sys::lock_exclusive(&file) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && patience.is_zero() => {
                return Err(NicError::Taken { interface: name.into(), lock: path });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(LOCK_POLL);
                patience = patience.saturating_sub(LOCK_POLL);
            }
            other => return other.map_err(failed).map(|()| file),
        }
    }
}

/// Undo what a killed run left. An interface made anew since then has nothing to undo.
fn heal(interface: &Interface, settings: &mut Settings, state_file: &Path) -> Result<(), NicError> {
    let failed = |source| NicError::State { path: state_file.into(), source };
    let Some(left) = PortState::load(state_file).map_err(failed)? else { return remove(state_file) };
    if left.index == interface.index && left.namespace == namespace().map_err(failed)? {
        settings.put_back(&left).map_err(|source| NicError::io("heal what a killed run left", &interface.name, source))?;
    }
    remove(state_file)
}

fn remove(state_file: &Path) -> Result<(), NicError> {
    match fs::remove_file(state_file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(NicError::State { path: state_file.into(), source: error }),
        _ => Ok(()),
    }
}

/// Refuse an interface that the kernel uses, and one that cannot carry the configured MTU.
fn check_is_free(interface: &Interface, netlink: &mut Netlink, mtu: u16) -> Result<(), NicError> {
    let name = || interface.name.clone();
    let failed = |source| NicError::io("list addresses and routes", &interface.name, source);
    if let Some(master) = interface.master {
        return Err(NicError::Slave { interface: name(), master: Interface::name_of(netlink, master) });
    }
    if let Some(address) = interface.address(netlink).map_err(failed)? {
        return Err(NicError::HasAddress { interface: name(), address });
    }
    if let Some(route) = interface.route(netlink).map_err(failed)? {
        return Err(NicError::HasRoute { interface: name(), route });
    }
    if mtu > MAX_MTU {
        return Err(NicError::MtuTooLarge { interface: name(), mtu: mtu.into() });
    }
    if interface.mtu < u32::from(mtu) {
        return Err(NicError::MtuTooSmall { interface: name(), present: interface.mtu, mtu });
    }
    Ok(())
}

/// Switch off the filters of the NIC, most of all that for VLANs nobody registered, for as long as the descriptor is open.
fn promiscuous(interface: &Interface) -> io::Result<OwnedFd> {
    let fd = sys::socket(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
    let membership = libc::packet_mreq {
        mr_ifindex: libc::c_int::try_from(interface.index).map_err(io::Error::other)?,
        mr_type: u16::try_from(libc::PACKET_MR_PROMISC).expect("a small constant"),
        mr_alen: 0,
        mr_address: [0; 8],
    };
    sys::set_option(&fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &membership)?;
    Ok(fd)
}
