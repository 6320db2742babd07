//! The launcher as a service of its own, for one relay at a time.

use std::fs::{self, Permissions};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, bind, listen, shutdown, socket_with};
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::message::Channel;
use super::{Service, parent, session};
use crate::hardening::privileges;
use crate::sd_notify::Notifier;

/// Serve relays, one after the other, until SIGTERM.
///
/// # Errors
/// When it cannot listen, or the privileges that are not needed cannot be given up.
pub fn serve_on(service: &Service) -> anyhow::Result<()> {
    privileges::keep_for_ports(None)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = listener(&service.socket).with_context(|| format!("the socket {}", service.socket.display()))?;
        let mut terminate = signal(SignalKind::terminate())?;
        let notifier = Notifier::from_environment();
        loop {
            notifier.ready("no relay");
            let relay = tokio::select! {
                relay = next_relay(&listener, service) => relay?,
                _ = terminate.recv() => break,
            };
            notifier.ready("a relay has its ports");
            if serve_one(relay, service, &mut terminate).await?.is_break() {
                break;
            }
        }
        notifier.stopping();
        let _ = fs::remove_file(&service.socket);
        Ok(())
    })
}

/// Serve this relay until it has ended, by itself or because the launcher is to end.
async fn serve_one(relay: Channel, service: &Service, terminate: &mut Signal) -> anyhow::Result<ControlFlow<()>> {
    let state = service.state.clone();
    let relay = Arc::new(relay);
    let theirs = Arc::clone(&relay);
    let mut served = tokio::task::spawn_blocking(move || session::serve(&theirs, Some(&state)));
    tokio::select! {
        ended = &mut served => {
            ended??;
            return Ok(ControlFlow::Continue(()));
        }
        _ = terminate.recv() => {}
    }
    // The relay ends when it hears this, and its ports are given back.
    shutdown(relay.as_fd(), Shutdown::Both)?;
    served.await??;
    Ok(ControlFlow::Break(()))
}

/// Who may connect is decided by the kernel's word on who connects, not by the file's mode.
fn listener(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir_all(parent(path))?,
    }
    let fd = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    bind(&fd, &SocketAddrUnix::new(path)?)?;
    fs::set_permissions(path, Permissions::from_mode(0o666))?;
    listen(&fd, 1)?;
    UnixListener::from_std(fd.into())
}

async fn next_relay(listener: &UnixListener, service: &Service) -> io::Result<Channel> {
    loop {
        let socket = listener.accept().await?.0.into_std()?;
        socket.set_nonblocking(false)?;
        let uid = socket_peercred(&socket)?.uid;
        if uid == service.user.uid || uid.is_root() {
            return Ok(Channel::of(socket.into()));
        }
        tracing::warn!(target: "audit", uid = uid.as_raw(), "somebody who is not the relay asked for ports");
    }
}
