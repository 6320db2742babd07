//! Questions and answers over UDP in the format of DNS (RFC 1035): one TXT record with the tenant's canary.

use std::io;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use socket2::{Protocol, SockAddr, Type};

use super::Client;
use crate::demo::background::Background;
use crate::demo::canary::Canary;
use crate::demo::error::{Context, DemoError};
use crate::demo::namespaces::{Namespace, in_namespace};
use crate::demo::raw_socket::wait_readable;

/// RFC 1035 section 4.1.1: the header's length, and its response bit in the third byte.
const HEADER: usize = 12;
const RESPONSE: u8 = 0x80;
/// RFC 1035 section 3.2.2 and 3.2.4: TXT, IN.
const TXT_IN: [u8; 4] = [0, 16, 0, 1];
/// RFC 1035 section 4.1.4: a name that stands at byte 12.
const SAME_NAME: [u8; 2] = [0xc0, 12];
/// A question that got no answer for this long is asked again.
const PATIENCE: Duration = Duration::from_millis(500);
/// Nothing but questions and the stop signal wakes the server; this is for a lost wake-up.
const IDLE: Duration = Duration::from_secs(1);
/// RFC 1035 section 4.2.1.
const LONGEST_MESSAGE: usize = 512;

/// Answers every question with its tenant's canary. Dropping it stops it.
#[derive(Debug)]
pub struct NameServer {
    _thread: Background,
}

impl NameServer {
    /// Starts a server on `address`.
    ///
    /// # Errors
    /// When the address is not to be had.
    pub fn start(namespace: &Namespace, address: SocketAddrV4, canary: &Canary) -> Result<Self, DemoError> {
        let listen = || UdpSocket::bind(address).and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        let socket = in_namespace(namespace, listen)?.doing(|| format!("listen on udp {address} in namespace {}", namespace.name()))?;
        let canary = canary.clone();
        let thread = Background::start(namespace, &format!("names {}", address.port()), move |signal| {
            let mut buffer = [0; LONGEST_MESSAGE];
            while let Ok(ready) = wait_readable(&[signal.as_fd(), socket.as_fd()], IDLE) {
                if ready[0] {
                    return;
                }
                while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    if let Some(answer) = answer(&buffer[..length], &canary) {
                        // A lost answer is asked for again.
                        let _ = socket.send_to(&answer, from);
                    }
                }
            }
        })?;
        Ok(Self { _thread: thread })
    }
}

/// Asks a [`NameServer`], again every half second, until the right answer comes (`true`) or the client's time is up
/// (`false`). A wrong answer is `false` at once.
///
/// # Errors
/// When the kernel refuses the socket or knows no way to the server.
pub fn ask(client: &Client, server: SocketAddrV4, canary: &Canary) -> Result<bool, DemoError> {
    let exchange = || -> io::Result<bool> {
        let socket: UdpSocket = {
            let socket = client.socket(Type::DGRAM, Protocol::UDP)?;
            socket.connect(&SockAddr::from(server))?;
            socket.into()
        };
        socket.set_read_timeout(Some(PATIENCE.min(client.timeout)))?;
        let question = question(socket.local_addr()?.port(), canary);
        let expected = answer(&question, canary);
        let deadline = Instant::now() + client.timeout;
        let mut buffer = [0; LONGEST_MESSAGE];
        while Instant::now() < deadline {
            socket.send(&question)?;
            match socket.recv(&mut buffer) {
                Ok(length) => return Ok(expected.as_deref() == Some(&buffer[..length])),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    };
    exchange().map_err(|error| client.doing("ask", server, error))
}

/// A question for the TXT records of a name that has the asker's canary for its first label.
fn question(id: u16, canary: &Canary) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let mut message = vec![high, low, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    // RFC 1035 section 2.3.4: a label has 63 bytes at the most.
    for label in [&canary.as_bytes()[..canary.as_bytes().len().min(63)], b"example"] {
        message.push(u8::try_from(label.len()).expect("at most 63"));
        message.extend_from_slice(label);
    }
    message.push(0);
    message.extend(TXT_IN);
    message
}

/// The answer to a question: the question again, and one TXT record. `None` for anything but a question.
fn answer(question: &[u8], canary: &Canary) -> Option<Vec<u8>> {
    if question.len() <= HEADER || question[2] & RESPONSE != 0 || question[4..6] != [0, 1] || !question.ends_with(&TXT_IN) {
        return None;
    }
    let text = &canary.as_bytes()[..canary.as_bytes().len().min(255)];
    let length = u8::try_from(text.len()).expect("at most 255");
    let mut message = question.to_vec();
    message[2] |= RESPONSE;
    message[7] = 1;
    message.extend([&SAME_NAME[..], &TXT_IN, &60u32.to_be_bytes(), &u16::from(length).saturating_add(1).to_be_bytes()].concat());
    message.push(length);
    message.extend_from_slice(text);
    (message.len() <= LONGEST_MESSAGE).then_some(message)
}
