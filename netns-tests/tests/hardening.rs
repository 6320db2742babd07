//! The running relay holds nothing that an attacker could use, as the kernel sees it from outside; and it forwards all the same.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::Duration;

use controlplane::demo::Namespace;
use netns_tests::plan::{SHARED_GLOBAL, three_municipalities};
use netns_tests::process::{Running, eventually, output, wait_until};
use netns_tests::relay::{Driver, Files, Relay, binary, http_get, relay_among};
use netns_tests::topology::Lab;

/// `nobody`, who is on every Linux.
const NOBODY: u32 = 65534;
const READY: Duration = Duration::from_secs(20);

/// The value of a field of proc_pid_status(5).
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map_or("", str::trim)
}

/// The status of each thread of a process.
fn threads(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs").flatten();
    tasks.map(|task| fs::read_to_string(task.path().join("status")).expect("the thread runs")).collect()
}

/// What the kernel says of a relay that runs.
fn assert_confined(pid: u32) {
    let threads = threads(pid);
    assert!(threads.len() > 3, "the main thread, a worker, key exchange and what waits for the launcher: {}", threads.len());
    for status in &threads {
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(field(status, set), "0000000000000000", "{set} of {}", field(status, "Name"));
        }
        assert_eq!((field(status, "NoNewPrivs"), field(status, "Seccomp")), ("1", "2"), "{}", field(status, "Name"));
    }
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("the limit of core files");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}

/// Whether a process of this user, without capabilities, can open the memory of another.
fn can_read_memory(host: &Namespace, user: u32, pid: u32) -> bool {
    let (user, memory) = (user.to_string(), format!("/proc/{pid}/mem"));
    let who = ["--reuid", &user, "--regid", &user, "--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"];
    // Opening is what is refused; address 0 is never mapped, so reading fails by another name.
    let read = output(host, Duration::from_secs(5), "setpriv", &[&who[..], &["--", "head", "-c", "1", &memory]].concat());
    let refusal = String::from_utf8_lossy(&read.stderr).into_owned();
    assert!(!read.status.success(), "address 0 is mapped");
    !refusal.contains("Permission denied")
}

fn a_relay_that_forwards_holds_nothing(driver: Driver) {
    let (lab, relay) = relay_among(three_municipalities(), driver);
    for town in &lab.towns {
        assert!(town.counter().fetch(&format!("http://{SHARED_GLOBAL}/who")).is_ok());
    }
    let pid = relay.process.pid();
    assert_confined(pid);
    assert!(!can_read_memory(&lab.relay, 0, pid), "root without capabilities reads the keys of root");
    assert!(relay.process.log().contains("confined:"), "{}", relay.process.log());

    let launcher = relay.launcher();
    assert_tells_no_secret(&lab.relay, &relay, &[pid, launcher]);

    // The launcher keeps what opens ports, and nothing that opens files.
    for status in threads(launcher) {
        let kept = 1_u64 << 12 | 1 << 13 | 1 << 39;
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            let capabilities = u64::from_str_radix(field(&status, set), 16).expect("a number");
            assert_eq!(capabilities & !kept, 0, "{set} of the launcher: CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF are enough");
        }
        assert_eq!(field(&status, "NoNewPrivs"), "1");
    }
    assert!(!can_read_memory(&lab.relay, 0, launcher));
}

/// Keys stand in their files and in the relay's memory, and in nothing that it says.
fn assert_tells_no_secret(host: &Namespace, relay: &Relay, processes: &[u32]) {
    let key = fs::read_to_string(relay.files.key_file("relay.key")).expect("the relay's key");
    let mut said = vec![("log", relay.process.log())];
    for pid in processes {
        for file in ["cmdline", "environ"] {
            said.push((file, String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{file}")).expect("it runs")).into_owned()));
        }
    }
    for what in ["tenants", "tunnels", "sessions", "neighbors", "drops", "ports", "isolations"] {
        said.push((what, relay.must(&["show", what, "--json"])));
    }
    said.push(("metrics", http_get(host, "/metrics").1));
    for (what, text) in said {
        assert!(!text.contains(key.trim()), "{what} tells the relay's private key");
    }
}

#[test]
fn a_relay_that_forwards_holds_nothing_over_af_packet() {
    a_relay_that_forwards_holds_nothing(Driver::AfPacket);
}

#[test]
fn a_relay_that_forwards_holds_nothing_over_af_xdp() {
    a_relay_that_forwards_holds_nothing(Driver::AfXdp);
}

/// A reload reads what was within reach at the start, and says what to do about the rest.
#[test]
fn a_key_in_a_directory_that_is_new_needs_a_restart_and_the_refusal_says_so() {
    let (lab, mut relay) = relay_among(three_municipalities(), Driver::AfPacket);
    let elsewhere = lab.directory().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a directory");
    let (old, new) = (relay.files.key_file("relay.key"), elsewhere.join("relay.key"));
    fs::copy(&old, &new).expect("copied");
    let yaml = fs::read_to_string(&relay.files.relay_yaml).expect("relay.yaml");
    let changed = yaml.replace("private_key_file: keys/relay.key", &format!("private_key_file: {}", new.display()));
    assert_ne!(changed, yaml);
    fs::write(&relay.files.relay_yaml, changed).expect("written");
    let refused = relay.command(&["reload"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("restart"), "{said}");
    assert!(lab.towns[0].counter().fetch(&format!("http://{SHARED_GLOBAL}/who")).is_ok(), "nothing was changed");
    relay.terminate();
    relay.start_again();
    relay.wait_until_ready();
    relay.must(&["reload"]);
}

/// Files of a relay that runs as `nobody`, and its directories.
fn files_of_nobody(lab: &Lab, driver: Driver) -> Files {
    let files = Files::write(lab, driver, 1500);
    lab.towns.iter().for_each(|town| files.put(&town.plan));
    give(lab.directory());
    files
}

/// Give a directory and all below it to `nobody`.
fn give(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).expect("root gives files away");
    if path.is_dir() {
        fs::read_dir(path).expect("a directory").flatten().for_each(|entry| give(&entry.path()));
    }
}

fn owner(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let ids: Vec<u32> = field(&status, "Uid").split_whitespace().filter_map(|id| id.parse().ok()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "real, effective, saved: {ids:?}");
    ids[0]
}

fn wait_until_ready(host: &Namespace, process: &mut Running) {
    let ready = eventually(READY, || {
        assert!(process.is_running(), "the relay ended:\n{}", process.log());
        (http_get(host, "/readyz").0 == 200).then_some(())
    });
    assert!(ready.is_some(), "the relay is not ready:\n{}", process.log());
}

#[test]
fn a_relay_that_becomes_another_user_leaves_no_process_of_root_and_no_memory_to_its_own_kind() {
    let lab = Lab::new(three_municipalities());
    let files = files_of_nobody(&lab, Driver::AfXdp);
    let arguments = ["run", "--user", "nobody", "-c", files.relay_yaml.to_str().expect("a path of text")];
    let mut relay = Running::start(&lab.relay, lab.directory(), "relay-of-nobody", &binary(), &arguments);
    wait_until_ready(&lab.relay, &mut relay);
    let launcher = netns_tests::process::children(relay.pid())[0];
    assert_eq!([owner(relay.pid()), owner(launcher)], [NOBODY, NOBODY]);
    assert_confined(relay.pid());
    assert!(!can_read_memory(&lab.relay, NOBODY, relay.pid()) && !can_read_memory(&lab.relay, NOBODY, launcher));
    assert_eq!(fs::metadata(format!("/proc/{}/mem", relay.pid())).expect("it runs").uid(), 0, "not even its own");
    relay.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(relay.wait(Duration::from_secs(10)).success(), "{}", relay.log());
}

#[test]
fn relay_and_launcher_are_two_services_and_the_launcher_serves_no_stranger() {
    let lab = Lab::new(three_municipalities());
    let files = files_of_nobody(&lab, Driver::AfPacket);
    // Root's own, which has no right to write elsewhere, and everybody's to enter.
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
    let (socket, state) = (directory.path().join("launcher.sock"), directory.path().join("ports"));
    let (socket, state) = (socket.to_str().expect("text"), state.to_str().expect("text"));
    let yaml = files.relay_yaml.to_str().expect("text");
    let arguments = ["launcher", "--socket", socket, "--user", "nobody", "--state", state];
    let mut launcher = Running::start(&lab.relay, lab.directory(), "launcher", &binary(), &arguments);
    wait_until("the launcher listens", READY, || Path::new(socket).exists());

    let program = binary();
    let stranger = ["--reuid=1", "--regid=1", "--clear-groups", "--", &program, "run", "--launcher", socket, "-c", yaml];
    assert!(!output(&lab.relay, Duration::from_secs(10), "setpriv", &stranger).status.success());
    wait_until("the launcher has seen the stranger", READY, || launcher.log().contains("somebody who is not the relay"));

    let unprivileged = ["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"];
    let arguments = [&unprivileged[..], &["--", &program, "run", "--launcher", socket, "-c", yaml]].concat();
    for _ in 0..2 {
        let mut relay = Running::start(&lab.relay, lab.directory(), "unprivileged", "setpriv", &arguments);
        wait_until_ready(&lab.relay, &mut relay);
        assert_eq!(owner(relay.pid()), NOBODY);
        assert_confined(relay.pid());
        relay.kill();
    }
    let mut relay = Running::start(&lab.relay, lab.directory(), "last", "setpriv", &arguments);
    wait_until_ready(&lab.relay, &mut relay);
    launcher.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(!relay.wait(Duration::from_secs(10)).success(), "a relay does not outlive its launcher");
    assert!(launcher.wait(Duration::from_secs(15)).success(), "{}", launcher.log());
}
