//! Traffic of real kernel sockets between namespaces. Every exchange ends by a deadline.

mod body;
pub mod ping;
mod server;
pub mod tcp;
pub mod udp;

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

pub use body::{Body, Sha256Digest};
pub use ping::{PingOutcome, ping};
pub use tcp::{FileServer, PrintJob, Printer, Transfer};
pub use udp::NameServer;

use super::error::DemoError;
use super::namespaces::{Namespace, in_namespace};

/// Where a client stands and how patient it is.
#[derive(Debug, Clone)]
pub struct Client {
    /// The namespace it speaks from.
    pub namespace: Namespace,
    /// The address it speaks from; it decides the traffic class.
    pub source: Ipv4Addr,
    /// How long a whole exchange may take.
    pub timeout: Duration,
}

impl Client {
    /// A socket in the client's namespace that speaks from its address.
    fn socket(&self, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let open = || {
            let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
            socket.bind(&SockAddr::from(SocketAddrV4::new(self.source, 0)))?;
            socket.set_read_timeout(Some(self.timeout))?;
            socket.set_write_timeout(Some(self.timeout))?;
            Ok(socket)
        };
        in_namespace(&self.namespace, open).map_err(|error| io::Error::other(error.to_string()))?
    }

    fn doing(&self, what: &str, target: impl std::fmt::Display, source: io::Error) -> DemoError {
        DemoError::Io { doing: format!("{what} from {} in {} to {target}", self.source, self.namespace.name()), source }
    }
}
