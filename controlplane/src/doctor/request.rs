//! What is to be examined: the ports of a configuration, interfaces by name, or all there are.

use std::path::Path;

use dataplane::nic::{Driver, inspect};

use super::{Finding, Verdict};
use crate::config::{self, EndpointKind, Loaded, Purpose, RelayConfigModel, Severity, Vlan};
use crate::ports::{self, DEFAULT_FRAMES};

/// What the relay will take of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Needs {
    /// Frames of 2 KiB.
    pub frames: u32,
    /// Ports, each of which registers all frames.
    pub ports: usize,
}

/// An interface, and what for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedPort {
    /// The kernel's name.
    pub interface: String,
    /// It is to be a port of the relay; otherwise it is only described.
    pub as_port: bool,
    /// Largest IP packet the port is to carry, in bytes.
    pub mtu: u16,
    /// Whether packets carry two tags (QinQ) there; `None` where no configuration says.
    pub two_tags: Option<bool>,
    /// The driver that the configuration asks for.
    pub driver: Driver,
}

/// What is to be examined.
#[derive(Debug)]
pub struct Request {
    /// What the relay needs.
    pub needs: Needs,
    /// Interfaces, in the order in which they are reported.
    pub ports: Vec<WantedPort>,
    /// What was found about the request itself.
    pub findings: Vec<Finding>,
}

/// What a port carries where no configuration says.
const USUAL_MTU: u16 = 1500;

impl WantedPort {
    fn named(interface: String, as_port: bool) -> Self {
        Self { interface, as_port, mtu: USUAL_MTU, two_tags: None, driver: Driver::Auto }
    }
}

impl Request {
    /// Interfaces to become ports.
    #[must_use]
    pub fn of_interfaces(names: Vec<String>) -> Self {
        let ports: Vec<WantedPort> = names.into_iter().map(|name| WantedPort::named(name, true)).collect();
        Self { needs: Needs { frames: DEFAULT_FRAMES, ports: ports.len() }, ports, findings: Vec::new() }
    }

    /// All Ethernet interfaces, none of which is named as a port.
    #[must_use]
    pub fn of_all_interfaces() -> Self {
        // Two ports: the least that a relay needs.
        let needs = Needs { frames: DEFAULT_FRAMES, ports: 2 };
        match inspect::interfaces() {
            Ok(names) => {
                let ports = names.into_iter().map(|name| WantedPort::named(name, false)).collect();
                Self { needs, ports, findings: Vec::new() }
            }
            Err(error) => {
                let finding = Finding::new("machine", "interfaces", Verdict::Unseen, "cannot be listed").advice(error.to_string());
                Self { needs, ports: Vec::new(), findings: vec![finding] }
            }
        }
    }

    /// The ports of a configuration.
    #[must_use]
    pub fn of_configuration(path: &Path) -> Self {
        let Loaded { relay, problems, .. } = config::load(path, Purpose::Check);
        if let Some(relay) = relay {
            let mut request = Self::of_model(&relay);
            // What only `run` refuses: files of keys and certificates that are not there.
            request.findings.extend(secret_files(&config::load(path, Purpose::Run).problems, path));
            return request;
        }
        let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
        let errors = if errors == 1 { "1 error".to_owned() } else { format!("{errors} errors") };
        let finding = Finding::new("machine", "configuration", Verdict::Problem, format!("{}: {errors}", path.display()))
            .advice("the relay refuses this configuration, and its ports are not known; see what is wrong with it:")
            .command(format!("chukei check -c {}", path.display()));
        Self { findings: vec![finding], ..Self::of_all_interfaces() }
    }

    fn of_model(relay: &RelayConfigModel) -> Self {
        let two_tags = |index: usize| {
            let mut attachments = relay.tenants.iter().flat_map(|tenant| &tenant.attachments);
            attachments.any(|attachment| attachment.port.0 == index && matches!(attachment.vlan, Vlan::QinQ { .. }))
        };
        let port = |(index, port): (usize, &config::Port)| WantedPort {
            interface: port.interface.clone(),
            as_port: true,
            mtu: port.mtu,
            two_tags: Some(two_tags(index)),
            driver: ports::spec(port).driver,
        };
        let ports = relay.ports.iter().enumerate().map(port).collect();
        let workers = u32::try_from(relay.workers).unwrap_or(u32::MAX);
        let frames = relay.frames.unwrap_or(DEFAULT_FRAMES.saturating_mul(workers));
        let needs = Needs { frames, ports: relay.ports.len() };
        Self { needs, ports, findings: ipsec_paths(relay).collect() }
    }
}

/// What no look at this machine shows: whether firewalls on the way let IPsec pass.
fn ipsec_paths(relay: &RelayConfigModel) -> impl Iterator<Item = Finding> {
    let ipsec = relay.endpoints.iter().filter(|endpoint| matches!(endpoint.kind, EndpointKind::Ipsec(_)));
    ipsec.map(|endpoint| {
        let port = relay.port(endpoint.port);
        let address = port.address.map_or_else(|| "its address".to_owned(), |network| network.ip().to_string());
        Finding::new(&port.interface, "ipsec", Verdict::Unseen, format!("endpoint {} at {address}", endpoint.name))
            .advice("firewalls between the routers and this address have to let UDP 500, UDP 4500 and IP protocol 50 (ESP) pass, both ways")
    })
}

fn secret_files(problems: &[config::Problem], path: &Path) -> Option<Finding> {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    let (first, count) = (errors.clone().next()?, errors.count());
    let found = if count == 1 { "1 file is missing".to_owned() } else { format!("{count} files are missing") };
    let finding = Finding::new("machine", "key_files", Verdict::Problem, found);
    let advice = format!("the relay does not start: {}; see all of them:", first.message);
    Some(finding.advice(advice).command(format!("chukei check -c {}", path.display())))
}
