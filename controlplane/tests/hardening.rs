//! A process confined as the relay confines itself tries what an attacker would try first.

use std::env;
use std::fs::{self, File};
use std::io;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use controlplane::hardening::files::{self, Reach};
use controlplane::hardening::{privileges, system_calls};
use nix::sys::ptrace;
use rustix::process::{Pid, Resource, Rlimit, setrlimit, test_kill_process};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// Set for the process that is confined: the directory it plays in.
const INSIDE: &str = "CHUKEI_HARDENING_TEST";

const NO_SUCH_CALL: Option<i32> = Some(libc::ENOSYS);
const OUT_OF_REACH: Option<i32> = Some(libc::EACCES);

fn error<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn a_confined_process_gets_no_file_no_program_no_socket_and_no_other_process() {
    if let Some(directory) = env::var_os(INSIDE) {
        return confined(Path::new(&directory));
    }
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["configuration", "state", "run"] {
        fs::create_dir(directory.path().join(name)).expect("a directory");
    }
    for file in ["configuration/relay.yaml", "state/peers.json", "run/api.sock", "foreign"] {
        fs::write(directory.path().join(file), "before").expect("a file");
    }
    let test = "a_confined_process_gets_no_file_no_program_no_socket_and_no_other_process";
    let program = env::current_exe().expect("this test");
    let ended = Command::new(program).args([test, "--exact", "--nocapture"]).env(INSIDE, directory.path()).status().expect("started");
    assert!(ended.success(), "the confined process ended with {ended}");
    let content = |file: &str| fs::read_to_string(directory.path().join(file)).ok();
    let kept = Some("before".to_owned());
    assert_eq!([content("configuration/relay.yaml"), content("foreign")], [kept.clone(), kept]);
    assert_eq!([content("state/peers.json"), content("run/api.sock")], [Some("after".into()), None], "what it may do, it can do");
}

/// This thread confines itself; the test's harness beside it stays free.
fn confined(directory: &Path) {
    let path = |file: &str| directory.join(file);
    let one = |name: &str| [path(name)].into();
    let reach = Reach { read: one("configuration"), write: one("state"), remove: one("run") };
    let parent = rustix::process::getppid().expect("a parent");
    privileges::give_up(None).expect("given up");
    privileges::give_up_the_last().expect("given up");
    files::confine(&reach).expect("Landlock");
    system_calls::confine().expect("seccomp");

    tries_files(&path);
    tries_programs_and_processes(parent);
    tries_sockets();
    tries_to_regain_privileges();
    thread::spawn(|| {
        assert_eq!(error(File::open("/etc/passwd")), OUT_OF_REACH);
        assert_eq!(error(UdpSocket::bind("127.0.0.1:0")), NO_SUCH_CALL);
    })
    .join()
    .expect("a thread of the confined one is confined as well");
}

fn tries_files(path: &dyn Fn(&str) -> std::path::PathBuf) {
    for file in ["/etc/shadow", "/etc/passwd", "/proc/self/mem", "/proc/self/status", "/dev/mem", "/"] {
        assert_ne!(error(File::open(file)), None, "{file}");
    }
    assert_eq!(error(File::open("/etc/passwd")), OUT_OF_REACH, "whose mode lets everybody read it");
    assert_eq!(error(File::open(path("foreign"))), OUT_OF_REACH);
    assert_eq!(error(File::create(path("foreign"))), OUT_OF_REACH);
    assert_eq!(error(File::open(path("configuration/../foreign"))), OUT_OF_REACH);

    assert_eq!(fs::read_to_string(path("configuration/relay.yaml")).expect("a reload reads it"), "before");
    assert_eq!(error(File::options().write(true).open(path("configuration/relay.yaml"))), OUT_OF_REACH);
    assert_eq!(error(File::create(path("configuration/new.yaml"))), OUT_OF_REACH);
    assert_eq!(error(fs::remove_file(path("configuration/relay.yaml"))), OUT_OF_REACH);

    fs::write(path("state/peers.json.new"), "after").expect("the state may be written");
    fs::rename(path("state/peers.json.new"), path("state/peers.json")).expect("in one step");
    assert_ne!(error(fs::rename(path("state/peers.json"), path("foreign"))), None);
    assert_eq!(error(std::os::unix::fs::symlink("/etc/shadow", path("state/link"))), NO_SUCH_CALL);
    assert_eq!(error(fs::create_dir(path("state/directory"))), NO_SUCH_CALL);

    assert_eq!(error(File::create(path("run/new"))), OUT_OF_REACH);
    fs::remove_file(path("run/api.sock")).expect("the socket is taken away at the end");
}

fn tries_programs_and_processes(parent: Pid) {
    assert_eq!(Command::new("/bin/true").exec().raw_os_error(), NO_SUCH_CALL);
    assert!(Command::new("/bin/true").status().is_err());
    assert_eq!(ptrace::traceme(), Err(nix::Error::ENOSYS));
    assert_eq!(ptrace::attach(nix::unistd::Pid::from_raw(parent.as_raw_nonzero().get())), Err(nix::Error::ENOSYS));
    assert_eq!(test_kill_process(parent).map_err(|error| error.raw_os_error()).err(), NO_SUCH_CALL);
    assert_eq!(test_kill_process(Pid::INIT).map_err(|error| error.raw_os_error()).err(), NO_SUCH_CALL);
}

fn tries_sockets() {
    assert_eq!(error(UdpSocket::bind("127.0.0.1:0")), NO_SUCH_CALL);
    assert_eq!(error(TcpStream::connect("127.0.0.1:22")), NO_SUCH_CALL);
    assert_eq!(error(UnixDatagram::unbound()), NO_SUCH_CALL);
    assert_eq!(error(UnixStream::pair()), NO_SUCH_CALL);
    for family in [rustix::net::AddressFamily::NETLINK, rustix::net::AddressFamily::PACKET, rustix::net::AddressFamily::INET6] {
        let socket = rustix::net::socket(family, rustix::net::SocketType::RAW, None);
        assert_eq!(error(socket.map_err(io::Error::from)), NO_SUCH_CALL, "{family:?}");
    }
}

fn tries_to_regain_privileges() {
    let none = CapabilitySets { effective: CapabilitySet::empty(), permitted: CapabilitySet::empty(), inheritable: CapabilitySet::empty() };
    assert_eq!(capabilities(None).map_err(|error| error.raw_os_error()).err(), NO_SUCH_CALL, "it cannot even ask");
    assert_eq!(set_capabilities(None, none).map_err(|error| error.raw_os_error()).err(), NO_SUCH_CALL);
    let core = setrlimit(Resource::Core, Rlimit { current: None, maximum: None });
    assert_eq!(core.map_err(|error| error.raw_os_error()).err(), NO_SUCH_CALL);
    let dumpable = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable);
    assert_eq!(dumpable.map_err(|error| error.raw_os_error()).err(), NO_SUCH_CALL);
}
