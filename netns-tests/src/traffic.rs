//! What hosts do: fetch and store files, ask names, ping, measure. Every function ends by itself.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use controlplane::demo::{Namespace, in_namespace};
use nix::sys::signal::Signal;
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

use crate::process::{Running, output, text_of};
use crate::topology::sha256;

/// Longer than any transfer on a busy machine.
const TRANSFER: Duration = Duration::from_secs(120);
/// IPPROTO_RAW: what is sent has its IPv4 header already.
const RAW_IP: i32 = 255;
/// An answer that has not come by now does not come.
const ANSWER: Duration = Duration::from_secs(2);

/// A host: a namespace and the address it speaks from.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    namespace: &'a Namespace,
    address: Ipv4Addr,
}

impl<'a> Host<'a> {
    /// The host at `address` of `namespace`.
    #[must_use]
    pub const fn new(namespace: &'a Namespace, address: Ipv4Addr) -> Self {
        Self { namespace, address }
    }

    /// Fetches a URL completely.
    #[must_use]
    pub fn download(&self, url: &str) -> Transfer {
        self.curl(&["--output", "-", url])
    }

    /// Stores a file under a URL.
    #[must_use]
    pub fn upload(&self, file: &Path, url: &str) -> Transfer {
        self.curl(&["--upload-file", file.to_str().expect("a path of text"), url])
    }

    /// One connection and no second try; fails the test when curl fails.
    fn curl(&self, arguments: &[&str]) -> Transfer {
        let all = self.curl_arguments(arguments);
        let output = output(self.namespace, TRANSFER, "curl", &texts(&all));
        let figures = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "curl {}: {}: {figures}", arguments.join(" "), output.status);
        Transfer::new(output.stdout, &figures)
    }

    /// What curl is called with: figures on standard error, so that the body stays as it came.
    fn curl_arguments(&self, arguments: &[&str]) -> Vec<String> {
        let own = self.address.to_string();
        let figures = "%{stderr}%{num_connects} %{time_total}\n";
        let common = ["--silent", "--show-error", "--fail", "--connect-timeout", "5", "--interface", &own, "--write-out", figures];
        common.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect()
    }

    /// Starts a download in the background, at most `bytes_per_second` fast.
    #[must_use]
    pub fn start_download(&self, directory: &Path, name: &str, url: &str, bytes_per_second: u32) -> Download {
        self.start_download_with(directory, name, url, bytes_per_second, &[])
    }

    /// As [`Self::start_download`], with more of curl's options.
    #[must_use]
    pub fn start_download_with(&self, directory: &Path, name: &str, url: &str, bytes_per_second: u32, more: &[&str]) -> Download {
        let (body, rate) = (directory.join(format!("{name}.body")), bytes_per_second.to_string());
        let arguments = [more, &["--limit-rate", &rate, "--output", body.to_str().expect("a path of text"), url]].concat();
        let curl = Running::start(self.namespace, directory, name, "curl", &texts(&self.curl_arguments(&arguments)));
        Download { curl, body }
    }

    /// The text behind a URL, or curl's exit status when there is none.
    ///
    /// # Errors
    /// With curl's exit status: 7 is refused, 28 is no answer.
    pub fn fetch(&self, url: &str) -> Result<String, i32> {
        let own = self.address.to_string();
        let arguments = ["--silent", "--fail", "--connect-timeout", "2", "--max-time", "10", "--interface", &own, url];
        let output = output(self.namespace, TRANSFER, "curl", &arguments);
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(output.status.code().unwrap_or(-1))
        }
    }

    /// Sends one UDP query and waits for its answer.
    #[must_use]
    pub fn query(&self, server: impl Into<SocketAddr>, question: &str) -> Option<String> {
        self.query_within(ANSWER, server, question)
    }

    /// Sends one UDP query and waits no longer than `patience` for its answer.
    #[must_use]
    pub fn query_within(&self, patience: Duration, server: impl Into<SocketAddr>, question: &str) -> Option<String> {
        let socket = self.udp_socket();
        socket.set_read_timeout(Some(patience)).expect("set a timeout");
        socket.send_to(question.as_bytes(), server.into()).expect("send a query");
        let mut answer = vec![0; 65_535];
        let (length, _) = socket.recv_from(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer[..length]).into_owned())
    }

    /// Sends one UDP datagram and expects nothing.
    pub fn send_datagram(&self, destination: impl Into<SocketAddr>, payload: &[u8]) {
        self.udp_socket().send_to(payload, destination.into()).expect("send a datagram");
    }

    /// Sends so many last fragments of UDP datagrams whose first ones never come, each of a datagram of its own.
    pub fn flood_with_fragments(&self, destination: Ipv4Addr, fragments: u16) {
        let socket = in_namespace(self.namespace, || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW_IP))));
        let socket = socket.expect("enter the namespace").expect("open a raw socket");
        for id in 1..=fragments {
            let sent = socket.send_to(&last_fragment(self.address, destination, id), &SocketAddr::from((destination, 0)).into());
            sent.expect("send a fragment");
        }
    }

    fn udp_socket(&self) -> UdpSocket {
        let address = self.address;
        in_namespace(self.namespace, || UdpSocket::bind((address, 0))).expect("enter the namespace").expect("bind a socket")
    }

    /// `ping`: one echo request of `payload` bytes with DF set.
    #[must_use]
    pub fn ping(&self, destination: Ipv4Addr, payload: u16) -> Ping {
        self.ping_with("do", destination, payload)
    }

    /// `ping`: one echo request of `payload` bytes with DF clear, which may be cut here and on the way.
    #[must_use]
    pub fn ping_in_fragments(&self, destination: Ipv4Addr, payload: u16) -> Ping {
        self.ping_with("dont", destination, payload)
    }

    fn ping_with(&self, discovery: &str, destination: Ipv4Addr, payload: u16) -> Ping {
        let (own, size, to) = (self.address.to_string(), payload.to_string(), destination.to_string());
        let output = output(self.namespace, TRANSFER, "ping", &["-n", "-c", "1", "-W", "2", "-M", discovery, "-s", &size, "-I", &own, &to]);
        Ping::parse(&format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    }

    /// Opens a TCP connection, sends `text`, and reads what comes back until the end.
    ///
    /// # Errors
    /// When the connection is refused, or nobody answers in time.
    pub fn say(&self, destination: impl Into<SocketAddr>, text: &[u8]) -> io::Result<Vec<u8>> {
        let mut connection = self.connect(destination.into())?;
        connection.set_read_timeout(Some(ANSWER))?;
        connection.write_all(text)?;
        connection.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer)?;
        Ok(answer)
    }

    fn connect(&self, destination: SocketAddr) -> io::Result<TcpStream> {
        let own = SocketAddr::from((self.address, 0));
        let socket = in_namespace(self.namespace, || Socket::new(Domain::IPV4, Type::STREAM, None)).expect("enter the namespace")?;
        socket.bind(&own.into())?;
        socket.connect_timeout(&destination.into(), ANSWER)?;
        Ok(socket.into())
    }

    /// Listens on a TCP port of this host.
    #[must_use]
    pub fn listen(&self, port: u16) -> TcpListener {
        let address = self.address;
        in_namespace(self.namespace, || TcpListener::bind((address, port))).expect("enter the namespace").expect("bind a listener")
    }

    /// iperf3 against `server` for `seconds`; its JSON report. The server may not be ready for another client at once.
    pub(crate) fn iperf3(&self, server: Ipv4Addr, seconds: u8, more: &[&str]) -> Value {
        let (own, server, seconds) = (self.address.to_string(), server.to_string(), seconds.to_string());
        let arguments = [&["--client", &server, "--bind", &own, "--time", &seconds, "--json", "--connect-timeout", "5000"], more].concat();
        let text = text_of(&output(self.namespace, TRANSFER, "iperf3", &arguments), "iperf3");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("iperf3's report: {error}\n{text}"))
    }
}

/// The last 64 bytes of a UDP datagram of 1,544. The kernel puts the length and the checksum right.
fn last_fragment(source: Ipv4Addr, destination: Ipv4Addr, id: u16) -> [u8; 84] {
    let mut packet = [0x5a; 84];
    packet[..12].copy_from_slice(&[0x45, 0, 0, 84, 0, 0, 0, 185, 64, 17, 0, 0]);
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    packet[12..16].copy_from_slice(&source.octets());
    packet[16..20].copy_from_slice(&destination.octets());
    packet
}

fn texts(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// A finished transfer.
#[derive(Clone, PartialEq, Debug)]
pub struct Transfer {
    /// SHA-256 of what was received.
    pub sha256: String,
    /// What was received.
    pub body: Vec<u8>,
    /// Connections that were opened for it.
    pub connections: u32,
    /// From start to end.
    pub seconds: f64,
}

impl Transfer {
    fn new(body: Vec<u8>, figures: &str) -> Self {
        let last = figures.lines().last().unwrap_or_default();
        let fields: Vec<&str> = last.split(' ').collect();
        let [connections, seconds, ..] = fields.as_slice() else { panic!("curl's figures: {figures}") };
        Self {
            sha256: sha256(&body),
            body,
            connections: connections.parse().expect("a number of connections"),
            seconds: seconds.parse().expect("a number of seconds"),
        }
    }
}

/// A download in the background.
#[derive(Debug)]
pub struct Download {
    curl: Running,
    body: std::path::PathBuf,
}

impl Download {
    /// Bytes that have come so far.
    #[must_use]
    pub fn progress(&self) -> u64 {
        std::fs::metadata(&self.body).map_or(0, |metadata| metadata.len())
    }

    /// True until the last byte has come or curl has given up.
    pub fn is_running(&mut self) -> bool {
        self.curl.is_running()
    }

    /// Waits for the last byte; fails the test when curl failed.
    #[must_use]
    pub fn finish(mut self) -> Transfer {
        let status = self.curl.wait(TRANSFER);
        assert!(status.success(), "the download ended with {status}: {}", self.curl.log());
        Transfer::new(std::fs::read(&self.body).expect("read the body"), &self.curl.log())
    }

    /// Gives the download up.
    pub fn abandon(mut self) {
        if self.curl.is_running() {
            self.curl.signal(Signal::SIGTERM);
        }
    }
}

/// What came of an echo request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ping {
    /// An echo reply.
    Answered,
    /// An ICMP error from the way: too big, with the MTU it told.
    TooBig {
        /// Bytes of the largest packet that fits.
        mtu: u16,
    },
    /// Another ICMP error: nobody there, or forbidden.
    Unreachable,
    /// Silence.
    Lost,
}

impl Ping {
    fn parse(text: &str) -> Self {
        let mtu_of =
            |text: &str| text.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect::<String>().parse().ok();
        let told = text.split_once("mtu").and_then(|(_, rest)| mtu_of(rest));
        match told {
            _ if text.contains(" 1 received") => Self::Answered,
            Some(mtu) => Self::TooBig { mtu },
            None if text.contains("+1 errors") => Self::Unreachable,
            None => Self::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_of_a_ping_is_read_from_its_text() {
        assert_eq!(Ping::parse("1 packets transmitted, 1 received, 0% packet loss"), Ping::Answered);
        let too_big = "From 10.254.1.2 icmp_seq=1 Frag needed and DF set (mtu = 1440)\n1 packets transmitted, 0 received, +1 errors";
        assert_eq!(Ping::parse(too_big), Ping::TooBig { mtu: 1440 });
        assert_eq!(Ping::parse("ping: local error: message too long, mtu=1440\n"), Ping::TooBig { mtu: 1440 });
        assert_eq!(
            Ping::parse("From 10.0.0.1 Destination Host Unreachable\n1 packets transmitted, 0 received, +1 errors"),
            Ping::Unreachable
        );
        assert_eq!(Ping::parse("1 packets transmitted, 0 received, 100% packet loss"), Ping::Lost);
    }
}
