//! A tenant's systems on the cloud: a web server, iperf3 and a name server on the far end of the tenant's VLAN.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use controlplane::demo::{Namespace, in_namespace, spawn_in};

use crate::canary;
use crate::plan::{DOCUMENTS, RESIDENTS};
use crate::process::{Running, wait_until};

/// How soon a server thread notices that it should end.
const LOOK_UP: Duration = Duration::from_millis(100);

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(10);

/// The running servers of one tenant's cloud network.
#[derive(Debug)]
pub struct Cloud {
    uploads: PathBuf,
    _programs: Vec<Running>,
    _name_servers: Vec<NameServer>,
}

impl Cloud {
    /// Starts the servers of `tenant`; the web server hands out what lies in `files`.
    #[must_use]
    pub fn start(namespace: &Namespace, directory: &Path, files: &Path, tenant: &str) -> Self {
        let root = directory.join(format!("cloud-{tenant}"));
        let uploads = root.join("upload");
        fs::create_dir_all(&uploads).expect("create the web server's directory");
        let configuration = root.join("nginx.conf");
        fs::write(&configuration, nginx_configuration(&root, files, tenant)).expect("write nginx.conf");
        let configuration = configuration.to_str().expect("a path of text");
        let nginx = Running::start(namespace, directory, &format!("nginx-{tenant}"), "nginx", &["-e", "stderr", "-c", configuration]);
        let iperf3 = Running::start(namespace, directory, &format!("iperf3-{tenant}"), "iperf3", &["--server"]);
        let _name_servers = vec![
            NameServer::start(namespace, RESIDENTS, &canary::mynumber(tenant)),
            NameServer::start(namespace, DOCUMENTS, &canary::lgwan_connected(tenant)),
        ];
        wait_until("the web server listens", START, || listens(namespace, 80));
        // A connection to find out would be a test to iperf3, and the end of this listener.
        wait_until("iperf3 listens", START, || iperf3_listener(namespace).is_some());
        Self { uploads, _programs: vec![nginx, iperf3], _name_servers }
    }

    /// A file that an office has uploaded.
    #[must_use]
    pub fn uploaded(&self, name: &str) -> Vec<u8> {
        let path = self.uploads.join(name);
        fs::read(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
    }
}

fn listens(namespace: &Namespace, port: u16) -> bool {
    let address = SocketAddr::from((RESIDENTS, port));
    in_namespace(namespace, || TcpStream::connect_timeout(&address, LOOK_UP).is_ok()).expect("enter the cloud")
}

/// The listening socket of iperf3's server, by its inode. The server closes it at the end of every test and opens another one; a client
/// that comes in between is reset.
pub(crate) fn iperf3_listener(namespace: &Namespace) -> Option<String> {
    const LISTEN: &str = "0A";
    let read = || fs::read_to_string("/proc/thread-self/net/tcp6").expect("the kernel lists sockets");
    let table = in_namespace(namespace, read).expect("enter the cloud");
    let listener = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = fields.get(1)?.ends_with(":1451") && *fields.get(3)? == LISTEN;
        is_it.then(|| fields.get(9).map(ToString::to_string)).flatten()
    };
    table.lines().find_map(listener)
}

/// One process without a master, so that ending it ends all of it. `/who` says how the cloud sees a connection.
fn nginx_configuration(root: &Path, files: &Path, tenant: &str) -> String {
    let (root, files) = (root.display(), files.display());
    let (mynumber, lgwan_connected) = (canary::mynumber(tenant), canary::lgwan_connected(tenant));
    let temporary: String =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("  {kind}_temp_path {root}/{kind};\n")).concat();
    let server = |address: &str, canary: &str| {
        format!(
            "  server {{\n    listen {address}:80;\n    listen {address}:443;\n    default_type text/plain;\n\
             \x20   location = /who {{ return 200 \"from=$remote_addr to=$server_addr:$server_port {canary}\\n\"; }}\n\
             \x20   location /files/ {{ alias {files}/; }}\n    location /upload/ {{ root {root}; dav_methods PUT; }}\n  }}\n"
        )
    };
    format!(
        "user root; daemon off; master_process off; pid {root}/nginx.pid;\nevents {{ worker_connections 512; }}\n\
         http {{\n  access_log off; client_max_body_size 256m; sendfile on;\n{temporary}{}{}{}}}\n",
        server("10.10.0.10", &mynumber),
        server("10.10.0.11", &mynumber),
        server("10.10.4.10", &lgwan_connected)
    )
}

/// Answers every query on UDP port 53 with the query and a text: as large and as short-lived as DNS.
#[derive(Debug)]
struct NameServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    fn start(namespace: &Namespace, address: Ipv4Addr, text: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, text) = (Arc::clone(&stop), text.to_owned());
        let socket = in_namespace(namespace, || UdpSocket::bind((address, 53))).expect("enter the cloud").expect("bind the name server");
        socket.set_read_timeout(Some(LOOK_UP)).expect("set a timeout");
        let thread = spawn_in(namespace, "name server", move || {
            let mut query = vec![0; 65_535];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut query) else { continue };
                let _ = socket.send_to(&[&query[..length], text.as_bytes()].concat(), client);
            }
        });
        Self { stop, thread: Some(thread.expect("start the name server")) }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A printer of the office, waiting for one job.
#[derive(Debug)]
pub struct Printer {
    job: JoinHandle<std::io::Result<(SocketAddr, Vec<u8>)>>,
}

impl Printer {
    /// Listens in the office on `address`, port 9100, and answers one job.
    #[must_use]
    pub fn start(office: &Namespace, address: Ipv4Addr) -> Self {
        let listener =
            in_namespace(office, || std::net::TcpListener::bind((address, 9100))).expect("enter the office").expect("bind the printer");
        let job = std::thread::spawn(move || {
            let (mut connection, from) = listener.accept()?;
            connection.set_read_timeout(Some(Duration::from_secs(10)))?;
            let mut job = Vec::new();
            connection.read_to_end(&mut job)?;
            connection.write_all(b"printed")?;
            Ok((from, job))
        });
        Self { job }
    }

    /// Who printed, and what. Call it only once somebody has: it waits for the first job.
    #[must_use]
    pub fn printed(self) -> (SocketAddr, Vec<u8>) {
        self.job.join().expect("the printer's thread").expect("the print job")
    }
}
