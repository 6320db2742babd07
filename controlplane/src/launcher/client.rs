//! The relay's side: ports that a launcher opened.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use dataplane::nic::{Interface, NicError, PacketSockets, TakenPort, XdpQueues};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use tokio::sync::oneshot;

use super::message::{Answer, Channel, Request, attachment};

/// The launcher of this relay.
#[derive(Clone, Debug)]
pub struct Launcher(Arc<Mutex<Channel>>);

impl Launcher {
    /// Start a launcher of this relay's own, as a child that keeps what privileges this process still has. Where the relay shall run
    /// as another user, so does the launcher.
    ///
    /// # Errors
    /// When there is no new process to be had.
    pub fn start(user: Option<&str>) -> anyhow::Result<Self> {
        let (ours, theirs) = Channel::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("chukei").arg("launcher").args(user.into_iter().flat_map(|user| ["--user", user]));
        // Not its messages to the service manager: those are the relay's.
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC");
        // A child's descriptors are 0, 1 and 2; the socket takes the place of the one it would not use.
        command.stdin(Stdio::from(theirs.into_socket())).stdout(Stdio::null());
        command.spawn().context("start the launcher")?;
        Ok(Self::over(ours))
    }

    /// The launcher that runs as a service of its own and listens on `socket`.
    ///
    /// # Errors
    /// When it does not answer there.
    pub fn connect(socket: &Path) -> anyhow::Result<Self> {
        let connected = || -> io::Result<OwnedFd> {
            let fd = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
            connect(&fd, &SocketAddrUnix::new(socket)?)?;
            Ok(fd)
        };
        let connected =
            connected().with_context(|| format!("the launcher at {} (is chukei-launcher.service running?)", socket.display()))?;
        Ok(Self::over(Channel::of(connected)))
    }

    fn over(channel: Channel) -> Self {
        Self(Arc::new(Mutex::new(channel)))
    }

    /// Have an interface taken over that carries IP packets of `mtu` bytes. `state` is where a launcher without a directory of its own
    /// notes what it changes.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub fn take_over(&self, interface: &str, mtu: u16, state: &Path) -> Result<Box<dyn TakenPort>, NicError> {
        let request = Request::TakeOver { interface: interface.into(), mtu, state: state.into() };
        let (answer, _) = self.ask(&request, &[]).map_err(|refused| NicError::Launcher(refused.to_string()))?;
        let Answer::Taken { index, mac, mtu, super_frames } = answer else { return Err(NicError::Launcher(UNEXPECTED.into())) };
        let interface = Interface { index, name: interface.into(), mac, mtu, master: None };
        Ok(Box::new(LaunchedPort { launcher: self.clone(), interface, super_frames, given_back: false }))
    }

    /// Have it give this relay nothing more: from here on the relay reads packets.
    ///
    /// # Errors
    /// When the launcher is gone.
    pub fn seal(&self) -> io::Result<()> {
        self.ask(&Request::Seal, &[]).map(drop)
    }

    /// Ready when the launcher has ended. A thread waits for that, as the runtime has no safe way to watch a descriptor that it does
    /// not own.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn ended(&self) -> io::Result<oneshot::Receiver<()>> {
        let watched = self.channel().as_fd().try_clone_to_owned()?;
        let (told, ended) = oneshot::channel();
        std::thread::Builder::new().name("launcher".to_owned()).spawn(move || {
            let hang_up = retry_on_intr(|| poll(&mut [PollFd::new(&watched, PollFlags::RDHUP)], None));
            // Nobody listens to a relay that has ended before.
            let _ = hang_up.map(|_| told.send(()));
        })?;
        Ok(ended)
    }

    fn channel(&self) -> MutexGuard<'_, Channel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> io::Result<(Answer, Vec<OwnedFd>)> {
        let channel = self.channel();
        channel.send(request, descriptors)?;
        match channel.receive()? {
            Some((Answer::Refused { number: Some(number), .. }, _))
                if matches!(request, Request::XdpSocket { .. } | Request::Hook { .. }) =>
            {
                Err(io::Error::from_raw_os_error(number))
            }
            Some((Answer::Refused { why, .. }, _)) => Err(io::Error::other(why)),
            Some(answer) => Ok(answer),
            None => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the launcher has ended")),
        }
    }
}

const UNEXPECTED: &str = "the launcher answers another question: relay and launcher are not of one version";

/// An interface in the launcher's hands.
struct LaunchedPort {
    launcher: Launcher,
    interface: Interface,
    super_frames: bool,
    given_back: bool,
}

impl LaunchedPort {
    fn name(&self) -> String {
        self.interface.name.clone()
    }

    fn ask(&self, request: &Request) -> Result<(Answer, Vec<OwnedFd>), NicError> {
        self.launcher.ask(request, &[]).map_err(|refused| NicError::Launcher(refused.to_string()))
    }

    fn give_back(&mut self) -> Result<(), NicError> {
        if std::mem::replace(&mut self.given_back, true) {
            return Ok(());
        }
        self.ask(&Request::GiveBack { interface: self.name() }).map(drop)
    }
}

impl TakenPort for LaunchedPort {
    fn interface(&self) -> &Interface {
        &self.interface
    }

    fn had_super_frames(&self) -> bool {
        self.super_frames
    }

    fn prepare_xdp(&mut self, workers: u32) -> Result<XdpQueues, NicError> {
        match self.ask(&Request::PrepareXdp { interface: self.name(), workers })?.0 {
            Answer::Queues { queues, native, reason } => Ok(XdpQueues { queues, attachment: attachment(native), reason }),
            _ => Err(NicError::Launcher(UNEXPECTED.into())),
        }
    }

    fn xdp_socket(&mut self) -> io::Result<OwnedFd> {
        let (_, mut sockets) = self.launcher.ask(&Request::XdpSocket { interface: self.name() }, &[])?;
        sockets.pop().ok_or_else(|| io::Error::other(UNEXPECTED))
    }

    fn hook(&mut self, queue: u32, socket: &OwnedFd) -> io::Result<()> {
        self.launcher.ask(&Request::Hook { interface: self.name(), queue }, &[socket.as_fd()]).map(drop)
    }

    fn packet_sockets(&mut self, count: usize) -> Result<PacketSockets, NicError> {
        match self.ask(&Request::PacketSockets { interface: self.name(), count })? {
            (Answer::Sockets { super_frames }, sockets) if sockets.len() == count => Ok(PacketSockets { sockets, super_frames }),
            _ => Err(NicError::Launcher(UNEXPECTED.into())),
        }
    }

    fn restore(mut self: Box<Self>) -> Result<(), NicError> {
        self.give_back()
    }
}

impl Drop for LaunchedPort {
    fn drop(&mut self) {
        // A launcher that does not answer has ended, or gives everything back when the relay does.
        let _ = self.give_back();
    }
}
