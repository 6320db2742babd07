//! Telling systemd how the relay is: the datagrams of `sd_notify(3)`, which need no library.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::clock;

/// The way to the service manager; without one every message is silently nothing.
#[derive(Debug, Default)]
pub struct Notifier {
    target: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// What the environment names (`NOTIFY_SOCKET`, `WATCHDOG_USEC`); children must not inherit it, but the relay has none.
    #[must_use]
    pub fn from_environment() -> Self {
        let watchdog = env::var("WATCHDOG_USEC").ok().and_then(|usec| usec.parse().ok()).map(Duration::from_micros);
        match env::var_os("NOTIFY_SOCKET").map(|name| Self::to(&name, watchdog)) {
            Some(Ok(notifier)) => notifier,
            Some(Err(error)) => {
                tracing::warn!(%error, "NOTIFY_SOCKET cannot be used: systemd will not hear that the relay is ready");
                Self::default()
            }
            None => Self::default(),
        }
    }

    fn to(name: &OsString, watchdog: Option<Duration>) -> io::Result<Self> {
        // Connected once: a relay that runs reaches no other socket.
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&socket_address(name)?)?;
        Ok(Self { target: Some(socket), watchdog })
    }

    /// How often [`Notifier::watchdog`] is to be called: half of what systemd waits. `None` where it does not watch.
    #[must_use]
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.target.as_ref().and(self.watchdog).map(|interval| interval / 2)
    }

    /// The relay forwards.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// A reload has begun; `ready` ends it.
    pub fn reloading(&self) {
        // systemd wants the monotonic clock to tell an old message from a new one.
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::monotonic_micros()));
    }

    /// The relay is about to end.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// The relay and its workers are alive.
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        let Some(socket) = &self.target else { return };
        if let Err(error) = socket.send(message.as_bytes()) {
            tracing::debug!(%error, "systemd does not listen");
        }
    }
}

/// A path, or `@name` in the abstract namespace.
fn socket_address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name),
        None => SocketAddr::from_pathname(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        let mut buffer = [0; 256];
        let len = socket.recv(&mut buffer).expect("a message");
        String::from_utf8(buffer[..len].to_vec()).expect("text")
    }

    #[test]
    fn ready_reloading_and_watchdog_arrive_at_a_socket_with_a_path() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let systemd = UnixDatagram::bind(&path).expect("bound");
        let notifier = Notifier::to(&path.into_os_string(), Some(Duration::from_secs(10))).expect("a notifier");
        notifier.ready("3 tenants");
        assert_eq!(received(&systemd), "READY=1\nSTATUS=3 tenants");
        notifier.reloading();
        let message = received(&systemd);
        let micros = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("the reloading message");
        assert!(micros.parse::<u64>().expect("a number") > 0);
        notifier.watchdog();
        assert_eq!(received(&systemd), "WATCHDOG=1");
        assert_eq!(notifier.watchdog_interval(), Some(Duration::from_secs(5)));
    }

    #[test]
    fn an_abstract_socket_is_reached_as_well() {
        let name = format!("chukei-test-{}", std::process::id());
        let systemd = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).expect("a name")).expect("bound");
        let notifier = Notifier::to(&OsString::from(format!("@{name}")), None).expect("a notifier");
        notifier.stopping();
        assert_eq!(received(&systemd), "STOPPING=1");
        assert_eq!(notifier.watchdog_interval(), None);
    }
}
