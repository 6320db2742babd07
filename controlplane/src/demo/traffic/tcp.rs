//! Downloads, uploads and print jobs, all checked by SHA-256.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Protocol, SockAddr, Type};

use super::Client;
use super::body::{Body, Sha256Digest, digest_of};
use super::server::Server;
use crate::demo::canary::Canary;
use crate::demo::error::DemoError;
use crate::demo::namespaces::Namespace;

/// The first byte of a request; the length follows as eight bytes.
const DOWNLOAD: u8 = b'D';
const UPLOAD: u8 = b'U';
/// What a printer takes in one job, in bytes.
const LONGEST_JOB: u64 = 1 << 30;
/// Jobs that fit into a printer's tray; more are lost.
const JOBS: usize = 64;

/// How a transfer went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// How many bytes arrived.
    pub bytes: u64,
    /// Whether they were the right ones, all of them.
    pub sha256_ok: bool,
    /// From the first packet to the last.
    pub elapsed: Duration,
}

/// Streams bodies with its tenant's canary, and takes uploads.
#[derive(Debug)]
pub struct FileServer {
    _server: Server,
}

impl FileServer {
    /// Starts a server on `address`. A client that knows `canary` and `seed` knows what it will be sent.
    ///
    /// # Errors
    /// When the address is not to be had.
    pub fn start(namespace: &Namespace, address: SocketAddrV4, canary: &Canary, seed: u64) -> Result<Self, DemoError> {
        let canary = canary.clone();
        let handler = Arc::new(move |mut stream: &TcpStream| {
            let mut request = [0; 9];
            stream.read_exact(&mut request)?;
            let length = u64::from_be_bytes(request[1..].try_into().expect("eight bytes"));
            match request[0] {
                DOWNLOAD => io::copy(&mut Body::new(canary.clone(), seed, length).reader(), &mut buffered(stream)).map(drop),
                UPLOAD => stream.write_all(&digest_of(stream, length)?.1),
                _ => Err(io::ErrorKind::InvalidData.into()),
            }
        });
        Ok(Self { _server: Server::start(namespace, address, handler)? })
    }
}

/// Downloads `expected.length()` bytes from a [`FileServer`] and checks that they are `expected`.
///
/// # Errors
/// When the connection is refused or breaks, or the client's time is up.
pub fn download(client: &Client, server: SocketAddrV4, expected: &Body) -> Result<Transfer, DemoError> {
    let transfer = || -> io::Result<Transfer> {
        let start = Instant::now();
        let mut stream = connect(client, server)?;
        stream.write_all(&request(DOWNLOAD, expected.length()))?;
        let (bytes, digest) = digest_of(Hurried { stream: &stream, deadline: start + client.timeout }, expected.length())?;
        let elapsed = start.elapsed();
        Ok(Transfer { bytes, sha256_ok: digest == expected.sha256(), elapsed })
    };
    transfer().map_err(|error| client.doing("download", server, error))
}

/// Uploads `body` to a [`FileServer`], which answers with the SHA-256 of what arrived.
///
/// # Errors
/// When the connection is refused or breaks, or the client's time is up.
pub fn upload(client: &Client, server: SocketAddrV4, body: &Body) -> Result<Transfer, DemoError> {
    let transfer = || -> io::Result<Transfer> {
        let start = Instant::now();
        let mut stream = connect(client, server)?;
        stream.write_all(&request(UPLOAD, body.length()))?;
        let mut hurried = Hurried { stream: &stream, deadline: start + client.timeout };
        let bytes = io::copy(&mut body.reader(), &mut buffered(&mut hurried))?;
        let mut digest: Sha256Digest = [0; 32];
        stream.read_exact(&mut digest)?;
        let elapsed = start.elapsed();
        Ok(Transfer { bytes, sha256_ok: digest == body.sha256(), elapsed })
    };
    transfer().map_err(|error| client.doing("upload", server, error))
}

/// A printer: takes whatever comes on a connection as one job (raw printing, usually port 9100).
#[derive(Debug)]
pub struct Printer {
    jobs: Arc<Mutex<Vec<PrintJob>>>,
    _server: Server,
}

/// What a printer received on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrintJob {
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: Sha256Digest,
    /// Who the printer thinks sent it.
    pub from: std::net::SocketAddr,
}

impl Printer {
    /// Starts a printer on `address`.
    ///
    /// # Errors
    /// When the address is not to be had.
    pub fn start(namespace: &Namespace, address: SocketAddrV4) -> Result<Self, DemoError> {
        let jobs = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&jobs);
        let handler = Arc::new(move |stream: &TcpStream| {
            let (bytes, sha256) = digest_of(stream, LONGEST_JOB)?;
            let job = PrintJob { bytes, sha256, from: stream.peer_addr()? };
            let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
            if list.len() < JOBS {
                list.push(job);
            }
            Ok(())
        });
        Ok(Self { jobs, _server: Server::start(namespace, address, handler)? })
    }

    /// Takes the oldest job out of the tray.
    #[must_use]
    pub fn take_job(&self) -> Option<PrintJob> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.is_empty() { None } else { Some(jobs.remove(0)) }
    }
}

/// Sends `body` to a [`Printer`] and waits until it has hung up, so that the job is in its tray then.
///
/// # Errors
/// When the connection is refused or breaks, or the client's time is up.
pub fn print(client: &Client, printer: SocketAddrV4, body: &Body) -> Result<(), DemoError> {
    let send = || -> io::Result<()> {
        let mut stream = connect(client, printer)?;
        let deadline = Instant::now() + client.timeout;
        io::copy(&mut body.reader(), &mut buffered(&mut Hurried { stream: &stream, deadline }))?;
        stream.shutdown(Shutdown::Write)?;
        stream.read(&mut [0]).map(drop)
    };
    send().map_err(|error| client.doing("print", printer, error))
}

fn connect(client: &Client, server: SocketAddrV4) -> io::Result<TcpStream> {
    let socket = client.socket(Type::STREAM, Protocol::TCP)?;
    socket.connect_timeout(&SockAddr::from(server), client.timeout)?;
    Ok(socket.into())
}

fn request(kind: u8, length: u64) -> Vec<u8> {
    [&[kind][..], &length.to_be_bytes()].concat()
}

/// Bodies come in blocks of a kilobyte; the kernel is asked less often.
fn buffered<W: Write>(writer: W) -> io::BufWriter<W> {
    io::BufWriter::with_capacity(64 * 1024, writer)
}

/// A stream that trickles must not outlast the deadline, although each single read comes in time.
struct Hurried<'a> {
    stream: &'a TcpStream,
    deadline: Instant,
}

impl Hurried<'_> {
    fn check(&self) -> io::Result<()> {
        if Instant::now() > self.deadline { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl Read for Hurried<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        self.stream.read(buffer)
    }
}

impl Write for Hurried<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.check()?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
