//! The one process with privileges: it opens the relay's ports, hands over what it opened, waits, and puts the interfaces back when the
//! relay has ended, however that ended. It reads no packet, no key and no configuration.
//!
//! `chukei run` starts one of its own as a child: the process that was started, and that a service manager knows, is the relay, and it
//! has nothing to forward. Where relay and launcher shall be two services with rights of their own, the launcher listens on a socket.
//! A launcher that is killed takes XDP program and ingress drop along; its relay ends then, and the next start heals the rest.

mod client;
mod message;
mod service;
mod session;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::hardening::privileges::{self, User};

pub use client::Launcher;
pub use service::serve_on;

/// Where a launcher that is a service of its own listens, and for whom.
#[derive(Debug)]
pub struct Service {
    /// Its socket.
    pub socket: PathBuf,
    /// Where it notes what it changes on interfaces, until it is undone.
    pub state: PathBuf,
    /// Whose relay it serves; nobody else's.
    pub user: User,
}

/// Serve the one relay that started this process, which is at the other end of standard input.
///
/// # Errors
/// When there is no relay there, or the privileges that are not needed cannot be given up.
pub fn serve_parent(user: Option<&User>) -> anyhow::Result<()> {
    privileges::keep_for_ports(user)?;
    // Started as /proc/self/exe, it would be called `exe`.
    rustix::thread::set_name(c"chukei-launcher")?;
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Ctrl-C and a service manager's stop reach relay and launcher alike, and the launcher is the last to go: it ends with the relay.
    let _guard = runtime.enter();
    let _deaf = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()].map(signal);
    session::serve(&message::Channel::of(socket), None).context("`chukei run` starts this command by itself")
}

/// The directory of a path, for one to be made.
fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}
