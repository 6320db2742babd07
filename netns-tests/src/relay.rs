//! The relay as a process: its configuration files, its life, and its command line.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use controlplane::demo::Namespace;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::keys::write_secret;
use crate::plan::{LISTEN, Municipality, RELAY, RELAY_IDENTITY, RELAY6};
use crate::process::{Running, children, eventually, output, text_of, wait_until};
use crate::topology::{ACCESS_PORT, CLOUD_PORT, Lab};

/// Where metrics and health are served, in the relay's namespace.
pub const METRICS: &str = "127.0.0.1:9273";
/// A command of the command line takes at most this long.
const COMMAND: Duration = Duration::from_secs(20);
/// From the start of the process until it serves.
const READY: Duration = Duration::from_secs(20);

/// Which NIC driver both ports use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Memory-mapped rings on packet sockets.
    AfPacket,
    /// AF_XDP, in copy mode on veth.
    AfXdp,
    /// What the relay itself chooses.
    Auto,
}

impl Driver {
    /// Both drivers: most stories have to hold on each.
    pub const BOTH: [Self; 2] = [Self::AfPacket, Self::AfXdp];

    /// As the configuration spells it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::AfPacket => "af_packet",
            Self::AfXdp => "af_xdp",
            Self::Auto => "auto",
        }
    }
}

/// The files a relay is configured by.
#[derive(Debug)]
pub struct Files {
    /// relay.yaml.
    pub relay_yaml: PathBuf,
    tenants: PathBuf,
}

impl Files {
    /// Writes relay.yaml and keys, and no tenant yet.
    #[must_use]
    pub fn write(lab: &Lab, driver: Driver, cloud_mtu: u16) -> Self {
        let (directory, run) = (lab.directory().join("etc"), lab.directory().display());
        let (tenants, keys) = (directory.join("tenants"), directory.join("keys"));
        for directory in [&tenants, &keys, &lab.directory().join("state")] {
            fs::create_dir_all(directory).expect("create the relay's directories");
        }
        write_secret(&keys.join("relay.key"), &lab.relay_keys.private);
        let (relay_yaml, driver) = (directory.join("relay.yaml"), driver.label());
        let ipsec = if lab.towns.iter().any(|town| town.plan.ipsec.is_some()) {
            format!("  - {{name: tokyo-ipsec, port: access, ipsec: {{local_id: {RELAY_IDENTITY}}}}}\n")
        } else {
            String::new()
        };
        let yaml = format!(
            "relay: tokyo-1\nports:\n  access: {{interface: {ACCESS_PORT}, address: {RELAY}/24, gateway: 192.0.2.254, mtu: 1500, driver: {driver}}}\n\
             \x20 aws: {{interface: {CLOUD_PORT}, mtu: {cloud_mtu}, driver: {driver}}}\n\
             endpoints:\n  - {{name: tokyo-a, port: access, wireguard: {{listen: {LISTEN}, private_key_file: keys/relay.key}}}}\n{ipsec}\
             shared_addresses: [203.0.113.0/26]\nconventional_lgwan: [192.0.2.128/25]\n\
             metrics: {{listen: \"{METRICS}\"}}\napi: {{socket: {run}/api.sock}}\nstate: {run}/state\ntenants: tenants/*.yaml\n"
        );
        fs::write(&relay_yaml, yaml).expect("write relay.yaml");
        Self { relay_yaml, tenants }
    }

    /// The files of another relay, whose relay.yaml a test writes itself; its tenants lie beside that.
    #[must_use]
    pub fn at(relay_yaml: PathBuf) -> Self {
        let tenants = relay_yaml.with_file_name("tenants");
        Self { relay_yaml, tenants }
    }

    /// Have the relay run this many workers.
    #[must_use]
    pub fn with_workers(self, workers: usize) -> Self {
        let yaml = fs::read_to_string(&self.relay_yaml).expect("relay.yaml");
        fs::write(&self.relay_yaml, format!("{yaml}workers: {workers}\n")).expect("write relay.yaml");
        self
    }

    /// Have the relay's access port speak IPv6, too.
    #[must_use]
    pub fn with_ipv6(self) -> Self {
        let yaml = fs::read_to_string(&self.relay_yaml).expect("relay.yaml");
        let ipv6 = format!("gateway: 192.0.2.254, address6: \"{RELAY6}/64\", gateway6: \"fe80::fe\"");
        fs::write(&self.relay_yaml, yaml.replace("gateway: 192.0.2.254", &ipv6)).expect("write relay.yaml");
        self
    }

    /// Writes or replaces a tenant's file.
    pub fn put(&self, town: &Municipality) {
        if let Some(ipsec) = &town.ipsec {
            write_secret(&self.key_file(&format!("{}.psk", town.tenant)), &ipsec.psk);
        }
        self.put_text(&town.tenant, &town.yaml());
    }

    /// Writes or replaces a tenant's file as it stands here.
    pub fn put_text(&self, tenant: &str, yaml: &str) {
        fs::write(self.tenant_file(tenant), yaml).expect("write a tenant file");
    }

    /// Takes a tenant's file away.
    pub fn remove(&self, tenant: &str) {
        fs::remove_file(self.tenant_file(tenant)).expect("remove a tenant file");
    }

    /// Where a tenant's file is.
    #[must_use]
    pub fn tenant_file(&self, tenant: &str) -> PathBuf {
        self.tenants.join(format!("{tenant}.yaml"))
    }

    /// Where a key of this name is.
    #[must_use]
    pub fn key_file(&self, name: &str) -> PathBuf {
        self.relay_yaml.with_file_name("keys").join(name)
    }

    fn path(&self) -> &str {
        self.relay_yaml.to_str().expect("a path of text")
    }
}

/// The program under test: `CHUKEI_BIN`, or the workspace's release build.
#[must_use]
pub fn binary() -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let path = env::var_os("CHUKEI_BIN").map_or_else(|| target.join("release/chukei"), PathBuf::from);
    assert!(path.exists(), "{} is missing: run `cargo build --release`, or set CHUKEI_BIN", path.display());
    path.to_str().expect("a path of text").to_owned()
}

/// Builds the laboratory and starts the relay in it, all tunnels up: where most stories begin.
#[must_use]
pub fn relay_among(plans: Vec<Municipality>, driver: Driver) -> (Lab, Relay) {
    let lab = Lab::new(plans);
    let relay = Relay::start(&lab, driver);
    (lab, relay)
}

/// A running relay.
#[derive(Debug)]
pub struct Relay {
    /// Its configuration.
    pub files: Files,
    /// The process.
    pub process: Running,
    namespace: Namespace,
    directory: PathBuf,
}

impl Relay {
    /// Starts the relay for every municipality of the laboratory, and waits until all tunnels are up.
    #[must_use]
    pub fn start(lab: &Lab, driver: Driver) -> Self {
        let files = Files::write(lab, driver, 1500);
        for town in &lab.towns {
            files.put(&town.plan);
        }
        let relay = Self::start_with(lab, files);
        lab.towns.iter().for_each(|town| town.router.call_relay());
        relay.wait_for_tunnels(lab.towns.len());
        relay
    }

    /// Starts the relay with these files, and waits until it is ready.
    #[must_use]
    pub fn start_with(lab: &Lab, files: Files) -> Self {
        Self::start_in(&lab.relay, lab.directory(), files)
    }

    /// Starts a relay in this namespace; its log and its socket are in `directory`. Waits until it is ready.
    #[must_use]
    pub fn start_in(namespace: &Namespace, directory: &Path, files: Files) -> Self {
        let process = spawn(namespace, directory, &files);
        let mut relay = Self { files, process, namespace: namespace.clone(), directory: directory.to_owned() };
        relay.wait_until_ready();
        relay
    }

    /// Waits until it serves.
    pub fn wait_until_ready(&mut self) {
        let ready = eventually(READY, || {
            assert!(self.process.is_running(), "the relay ended:\n{}", self.process.log());
            (http_get(&self.namespace, "/readyz").0 == 200).then_some(())
        });
        assert!(ready.is_some(), "the relay is not ready after {READY:?}:\n{}", self.process.log());
    }

    /// Waits until this many tunnels are up.
    pub fn wait_for_tunnels(&self, number: usize) {
        let up = || self.show("tunnels").iter().filter(|row| row["state"] == "up").count();
        wait_until(&format!("{number} tunnels are up"), Duration::from_secs(20), || up() == number);
    }

    /// SIGKILL and a new process at once, as a service manager would; it returns without waiting for readiness.
    pub fn crash_and_restart(&mut self) {
        self.process.kill();
        self.start_again();
    }

    /// Starts the process again after it has ended.
    pub fn start_again(&mut self) {
        self.process = spawn(&self.namespace, &self.directory, &self.files);
    }

    /// SIGTERM; waits for the end and demands success.
    pub fn terminate(&mut self) {
        self.process.signal(Signal::SIGTERM);
        let status = self.process.wait(Duration::from_secs(10));
        assert!(status.success(), "after SIGTERM the relay ended with {status}:\n{}", self.process.log());
    }

    /// The process that opened its ports.
    #[must_use]
    pub fn launcher(&self) -> u32 {
        let children = children(self.process.pid());
        assert_eq!(children.len(), 1, "the relay has started its launcher and nothing else");
        children[0]
    }

    /// Runs a command that talks to the running relay, whatever its outcome.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Output {
        let socket = self.directory.join("api.sock");
        let arguments = [arguments, &["--socket", socket.to_str().expect("a path of text")]].concat();
        output(&self.namespace, COMMAND, &binary(), &arguments)
    }

    /// Runs a command that has to succeed.
    pub fn must(&self, arguments: &[&str]) -> String {
        text_of(&self.command(arguments), &format!("chukei {}", arguments.join(" ")))
    }

    /// The rows of `chukei show WHAT --json`.
    #[must_use]
    pub fn show(&self, what: &str) -> Vec<Value> {
        let text = self.must(&["show", what, "--json"]);
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("show {what} --json: {error}\n{text}"));
        answer["rows"].as_array().unwrap_or_else(|| panic!("show {what} --json has no rows: {text}")).clone()
    }

    /// A tenant's row of `show tenants`.
    #[must_use]
    pub fn tenant(&self, name: &str) -> Value {
        self.show("tenants").into_iter().find(|row| row["tenant"] == name).unwrap_or_else(|| panic!("show tenants lacks {name}"))
    }

    /// A tenant's losses so far, by reason.
    #[must_use]
    pub fn drops(&self, tenant: &str) -> Drops {
        Drops(self.show("drops").iter().filter(|row| row["tenant"] == tenant).map(drop_row).collect())
    }

    /// Losses before a tenant was known, by reason, over all ports.
    #[must_use]
    pub fn port_drops(&self) -> Drops {
        let mut drops = BTreeMap::new();
        for (reason, packets) in self.show("drops").iter().filter(|row| row["tenant"].is_null()).map(drop_row) {
            *drops.entry(reason).or_default() += packets;
        }
        Drops(drops)
    }

    /// Runs `story` and says what the tenant lost in it.
    pub fn drops_during(&self, tenant: &str, story: impl FnOnce()) -> Drops {
        let before = self.drops(tenant);
        story();
        self.drops(tenant).since(&before)
    }

    /// Waits until the relay works with another configuration than `generation`.
    pub fn wait_for_generation_after(&self, generation: f64) {
        wait_until("a new configuration is in force", Duration::from_secs(10), || self.generation() > generation);
    }

    /// The number of the published configuration.
    #[must_use]
    pub fn generation(&self) -> f64 {
        self.metric("chukei_config_generation").expect("the generation's metric")
    }

    /// One value of `/metrics`; `series` is the name with its labels as they stand on the page.
    #[must_use]
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (status, page) = http_get(&self.namespace, "/metrics");
        assert_eq!(status, 200, "/metrics: {page}");
        page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }
}

fn spawn(namespace: &Namespace, directory: &Path, files: &Files) -> Running {
    Running::start(namespace, directory, "relay", &binary(), &["run", "-c", files.path()])
}

fn drop_row(row: &Value) -> (String, u64) {
    let reason = row["reason"].as_str().expect("a reason");
    (reason.to_owned(), row["packets"].as_u64().expect("a number of packets"))
}

/// Losses by reason; reasons that did not occur are absent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Drops(pub BTreeMap<String, u64>);

impl Drops {
    /// Exactly these.
    #[must_use]
    pub fn of(reasons: &[(&str, u64)]) -> Self {
        Self(reasons.iter().map(|(reason, packets)| ((*reason).to_owned(), *packets)).collect())
    }

    /// What came on top of `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let new = |(reason, packets): (&String, &u64)| (reason.clone(), packets - before.0.get(reason).unwrap_or(&0));
        Self(self.0.iter().map(new).filter(|(_, packets)| *packets > 0).collect())
    }

    /// How many were lost for this reason.
    #[must_use]
    pub fn count(&self, reason: &str) -> u64 {
        self.0.get(reason).copied().unwrap_or(0)
    }
}

/// Status and body of a page of the relay's own HTTP server; status 0 when there is none.
#[must_use]
pub fn http_get(namespace: &Namespace, path: &str) -> (u16, String) {
    let url = format!("http://{METRICS}{path}");
    let output = output(namespace, Duration::from_secs(5), "curl", &["--silent", "--max-time", "4", "--write-out", "\n%{http_code}", &url]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
    (status.parse().unwrap_or(0), body.to_owned())
}
