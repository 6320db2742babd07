//! A TCP server with one thread a connection, few of them, that can be stopped at any time.

use std::io;
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::demo::background::Background;
use crate::demo::error::{Context, DemoError};
use crate::demo::namespaces::{Namespace, in_namespace};
use crate::demo::raw_socket::wait_readable;

/// Connections served at a time; further ones are closed at once.
const CONNECTIONS: usize = 16;
/// How long a connection may stand still.
const STANDSTILL: Duration = Duration::from_secs(10);
/// Nothing but connections and the stop signal wakes the server; this is for a lost wake-up.
const IDLE: Duration = Duration::from_secs(1);

/// A running server; dropping it closes its connections and stops it.
#[derive(Debug)]
pub(super) struct Server {
    _thread: Background,
}

/// What is done with a connection.
pub(super) type Handler = Arc<dyn Fn(&TcpStream) -> io::Result<()> + Send + Sync>;

impl Server {
    pub(super) fn start(namespace: &Namespace, address: SocketAddrV4, handler: Handler) -> Result<Self, DemoError> {
        let listen = || -> io::Result<_> {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listener = in_namespace(namespace, listen)?.doing(|| format!("listen on {address} in namespace {}", namespace.name()))?;
        let thread = Background::start(namespace, &format!("server {}", address.port()), move |signal| {
            let mut connections = Connections(Vec::new());
            while let Ok(ready) = wait_readable(&[signal.as_fd(), listener.as_fd()], IDLE) {
                if ready[0] {
                    return;
                }
                while let Ok((stream, _)) = listener.accept() {
                    connections.serve(stream, &handler);
                }
            }
        })?;
        Ok(Self { _thread: thread })
    }
}

/// The connections being served; dropping them ends them.
struct Connections(Vec<(TcpStream, JoinHandle<()>)>);

impl Connections {
    fn serve(&mut self, stream: TcpStream, handler: &Handler) {
        self.0.retain(|(_, thread)| !thread.is_finished());
        let ready = stream.set_nonblocking(false).is_ok()
            && stream.set_read_timeout(Some(STANDSTILL)).is_ok()
            && stream.set_write_timeout(Some(STANDSTILL)).is_ok();
        let (true, true, Ok(handle)) = (ready, self.0.len() < CONNECTIONS, stream.try_clone()) else { return };
        let handler = Arc::clone(handler);
        let thread = std::thread::spawn(move || {
            // The client notices a connection that ends early; the server has nobody to tell.
            let _ = handler(&stream);
            let _ = stream.shutdown(Shutdown::Both);
        });
        self.0.push((handle, thread));
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        for (stream, thread) in self.0.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
            let _ = thread.join();
        }
    }
}
