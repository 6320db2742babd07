//! What Prometheus scrapes. Metric names are spelled in this room only.
//!
//! Every label has a bounded set of values: names from the configuration and words from enums, never addresses or anything that
//! arrives in a packet. Moments are timestamps, so that a scrape that comes late shows no wrong age.

mod ipsec;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use dataplane::counters::{PortShare, TenantCounters, Traffic, TunnelCounters, WorkerCounters};
use dataplane::drop_reason::DropReason;
use dataplane::nic::NicDescription;
use dataplane::router_config::{PortConfig, RouterConfig, RuleState, TenantConfig, TenantEntry, TrafficClass};
use time::OffsetDateTime;

use crate::clock::{Clocks, unix_seconds};
use crate::registry::Registry;
pub use ipsec::IpsecScrape;

/// Everything a scrape is made of.
#[derive(Debug)]
pub struct Scrape<'a> {
    /// The relay's name.
    pub relay: &'a str,
    /// The published configuration with its counters.
    pub router: &'a RouterConfig,
    /// What removed tenants leave behind.
    pub registry: &'a Registry,
    /// The ports' drivers, in the order of the configuration.
    pub ports: &'a [NicDescription],
    /// What the workers count about themselves.
    pub workers: &'a [Arc<WorkerCounters>],
    /// Both clocks at the moment of the scrape.
    pub clocks: Clocks,
    /// When the relay started.
    pub started: OffsetDateTime,
    /// The published generation.
    pub generation: u64,
    /// Whether the last reload was accepted, and when it was.
    pub last_reload: (bool, OffsetDateTime),
    /// Key exchange.
    pub ipsec: &'a IpsecScrape,
}

const FROM_OFFICE: &str = "office_to_cloud";
const FROM_CLOUD: &str = "cloud_to_office";

/// The page in the text format.
#[must_use]
pub fn text(scrape: &Scrape<'_>) -> String {
    // A tenant has some 23 rows of 80 bytes.
    let mut families = Families(String::with_capacity(16_384 + scrape.router.tenants.len() * 2_048));
    relay(&mut families, scrape);
    workers(&mut families, scrape.workers);
    ports(&mut families, scrape);
    let sampled: Vec<Sampled<'_>> = scrape.router.tenants.iter().map(Sampled::of).collect();
    drops(&mut families, scrape, &sampled);
    tenants(&mut families, &sampled);
    tunnels(&mut families, scrape, &sampled);
    ipsec::write(&mut families, scrape, &sampled);
    families.0
}

/// The type of a response that carries [`text`].
#[must_use]
pub fn content_type() -> &'static str {
    "text/plain; version=0.0.4"
}

/// A tenant's counters at one moment. Workers write to the originals all the time: each is read once, however many rows need it, so that
/// a scrape takes a line from a worker's cache once.
struct Sampled<'a> {
    config: &'a TenantConfig,
    counters: TenantCounters,
    tunnel_counters: Vec<TunnelCounters>,
}

impl<'a> Sampled<'a> {
    fn of(entry: &'a TenantEntry) -> Self {
        let tunnel_counters = entry.tunnel_counters.iter().map(|counters| counters.snapshot()).collect();
        Self { config: &entry.config, counters: entry.counters.snapshot(), tunnel_counters }
    }
}

/// A label's name and value.
type Label<'a> = (&'static str, Cow<'a, str>);
type Row<'a> = (Vec<Label<'a>>, f64);

/// The page in the making: rows are written as they come, so that thousands of tenants need no memory but the page's.
struct Families(String);

impl Families {
    fn counter<'a>(&mut self, name: &str, help: &str, rows: impl Iterator<Item = (Vec<Label<'a>>, u64)>) {
        self.push(name, help, "counter", rows.map(|(labels, value)| (labels, float(value))));
    }

    fn gauge<'a>(&mut self, name: &str, help: &str, rows: impl Iterator<Item = Row<'a>>) {
        self.push(name, help, "gauge", rows);
    }

    /// A family without rows is left out, as the format wants it.
    fn push<'a>(&mut self, name: &str, help: &str, kind: &str, rows: impl Iterator<Item = Row<'a>>) {
        let page = &mut self.0;
        let mut rows = rows.peekable();
        if rows.peek().is_some() {
            // Nothing fails that is written to a string.
            let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
        }
        for (labels, value) in rows {
            page.push_str(name);
            for (index, (label, text)) in labels.iter().enumerate() {
                page.push(if index == 0 { '{' } else { ',' });
                page.push_str(label);
                page.push_str("=\"");
                push_escaped(page, text);
                page.push('"');
            }
            page.push_str(if labels.is_empty() { " " } else { "} " });
            let _ = writeln!(page, "{value}");
        }
    }
}

/// The format's three escapes.
fn push_escaped(page: &mut String, value: &str) {
    if !value.contains(['\\', '"', '\n']) {
        return page.push_str(value);
    }
    for c in value.chars() {
        match c {
            '\\' => page.push_str("\\\\"),
            '"' => page.push_str("\\\""),
            '\n' => page.push_str("\\n"),
            c => page.push(c),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "the format has no other number; 2^53 packets are centuries")]
fn float(value: u64) -> f64 {
    value as f64
}

fn label<'a>(name: &'static str, value: impl Into<Cow<'a, str>>) -> Label<'a> {
    (name, value.into())
}

fn one<'a>(value: f64) -> impl Iterator<Item = Row<'a>> {
    std::iter::once((Vec::new(), value))
}

fn relay(families: &mut Families, scrape: &Scrape<'_>) {
    let build = vec![label("version", env!("CARGO_PKG_VERSION")), label("relay", scrape.relay)];
    families.gauge("chukei_build_info", "Version and name of the relay; always 1.", std::iter::once((build, 1.0)));
    families.gauge("chukei_start_timestamp_seconds", "When the relay started.", one(unix_seconds(scrape.started)));
    families.gauge("chukei_config_generation", "Number of the published configuration.", one(float(scrape.generation)));
    let (successful, at) = scrape.last_reload;
    families.gauge(
        "chukei_config_last_reload_successful",
        "1 when the files were accepted at the last (re)load, else 0.",
        one(f64::from(u8::from(successful))),
    );
    families.gauge("chukei_config_last_reload_timestamp_seconds", "When the files were last read.", one(unix_seconds(at)));
}

fn workers(families: &mut Families, workers: &[Arc<WorkerCounters>]) {
    type Pick = fn(&WorkerCounters) -> u64;
    let counters: [(&str, &str, Pick); 10] = [
        ("chukei_worker_received_packets_total", "Packets that NICs handed in.", |c| c.received.get()),
        ("chukei_worker_generated_packets_total", "Packets the relay made itself.", |c| c.generated.get()),
        ("chukei_worker_transmitted_packets_total", "Packets handed to a NIC.", |c| c.transmitted.get()),
        ("chukei_worker_dropped_packets_total", "Packets lost for a named reason.", |c| c.dropped.get()),
        ("chukei_worker_absorbed_packets_total", "Packets that ended in the relay on purpose.", |c| c.absorbed.get()),
        ("chukei_worker_handed_over_packets_total", "Packets given to another worker.", |c| c.handed_over.get()),
        ("chukei_worker_taken_over_packets_total", "Packets that another worker gave to this one.", |c| c.taken_over.get()),
        ("chukei_worker_hand_off_full_total", "Packets, or news, for which another worker's ring had no room.", |c| c.hand_off_full.get()),
        ("chukei_worker_polls_total", "Times the worker looked for work.", |c| c.polls.get()),
        ("chukei_worker_sleeps_total", "Times the worker went to sleep.", |c| c.sleeps.get()),
    ];
    let rows = |pick: Pick| workers.iter().enumerate().map(move |(index, c)| (vec![label("worker", index.to_string())], pick(c)));
    for (name, help, pick) in counters {
        families.counter(name, help, rows(pick));
    }
    let held = rows(|c| c.held.get()).map(|(labels, value)| (labels, float(value)));
    families.gauge("chukei_worker_held_packets", "Packets waiting for a next hop, or for their turn.", held);
    let generation = rows(|c| c.generation.get()).map(|(labels, value)| (labels, float(value)));
    families.gauge("chukei_worker_config_generation", "Number of the configuration the worker works with.", generation);
}

fn ports(families: &mut Families, scrape: &Scrape<'_>) {
    let ports = &scrape.router.ports;
    let sums = port_sums(ports);
    let traffic = |pick: fn(&Traffic) -> u64| {
        ports.iter().zip(&sums).flat_map(move |(port, counters)| {
            let row = move |direction, traffic| (vec![label("port", &*port.name), label("direction", direction)], pick(traffic));
            [row("received", &counters.received), row("transmitted", &counters.transmitted)]
        })
    };
    families.counter("chukei_port_packets_total", "Frames of a port.", traffic(|t| t.packets.get()));
    families.counter("chukei_port_bytes_total", "Bytes of a port's frames.", traffic(|t| t.bytes.get()));
    families.counter(
        "chukei_port_nic_receive_lost_packets_total",
        "Frames the kernel or NIC lost before the relay saw them.",
        ports.iter().zip(&sums).map(|(port, counters)| (vec![label("port", &*port.name)], counters.nic_receive_lost.get())),
    );
    families.counter(
        "chukei_port_ike_messages_total",
        "IKE messages handed to key exchange; those beyond the limits are drops of the port (`ike_punt_limited`, `ike_punt_full`).",
        ports.iter().zip(&sums).map(|(port, counters)| (vec![label("port", &*port.name)], counters.ike_punted.get())),
    );
    let info = ports.iter().zip(scrape.ports).map(|(port, nic)| {
        let labels =
            [label("port", &*port.name), label("interface", &*nic.interface), label("driver", nic.driver), label("mode", &*nic.mode)];
        (labels.to_vec(), 1.0)
    });
    families.gauge("chukei_port_info", "Interface, driver and mode of a port; always 1.", info);
}

/// The ports' counters, each added up over the workers.
fn port_sums(ports: &[PortConfig]) -> Vec<PortShare> {
    ports.iter().map(|port| port.counters.sum()).collect()
}

fn drops(families: &mut Families, scrape: &Scrape<'_>, tenants: &[Sampled<'_>]) {
    let ports = &scrape.router.ports;
    let sums = port_sums(ports);
    let reason_label = |reason: DropReason| label("reason", reason.label());
    let total = |reason: DropReason| {
        let of_ports: u64 = sums.iter().map(|port| port.drops.get(reason)).sum();
        let of_tenants: u64 = tenants.iter().map(|tenant| tenant.counters.drops.get(reason)).sum();
        of_ports + of_tenants + scrape.registry.retired_drops(reason)
    };
    families.counter(
        "chukei_dropped_packets_total",
        "Packets lost in the whole relay; every reason is listed.",
        DropReason::ALL.iter().map(|reason| (vec![reason_label(*reason), label("stage", reason.stage().label())], total(*reason))),
    );
    families.counter(
        "chukei_port_dropped_packets_total",
        "Packets lost before a tenant was known, or for reasons of the port; only reasons that occurred.",
        ports.iter().zip(&sums).flat_map(|(port, counters)| {
            counters.drops.occurred().map(move |(reason, n)| (vec![label("port", &*port.name), reason_label(reason)], n))
        }),
    );
    families.counter(
        "chukei_tenant_dropped_packets_total",
        "Packets of a tenant that were lost; only reasons that occurred.",
        tenants.iter().flat_map(|tenant| {
            tenant.counters.drops.occurred().map(move |(reason, n)| (vec![tenant_label(tenant.config), reason_label(reason)], n))
        }),
    );
}

fn tenant_label(config: &TenantConfig) -> Label<'_> {
    label("tenant", &*config.name)
}

fn tenants(families: &mut Families, tenants: &[Sampled<'_>]) {
    let traffic = |pick: fn(&Traffic) -> u64| {
        tenants.iter().flat_map(move |tenant| {
            let row = move |direction, traffic| (vec![tenant_label(tenant.config), label("direction", direction)], pick(traffic));
            [row(FROM_OFFICE, &tenant.counters.office_to_cloud), row(FROM_CLOUD, &tenant.counters.cloud_to_office)]
        })
    };
    families.counter("chukei_tenant_packets_total", "Inner packets forwarded.", traffic(|t| t.packets.get()));
    families.counter("chukei_tenant_bytes_total", "Bytes of inner packets forwarded.", traffic(|t| t.bytes.get()));

    let counters = |pick: fn(&TenantCounters) -> u64| tenants.iter().map(move |t| (vec![tenant_label(t.config)], pick(&t.counters)));
    families.counter("chukei_tenant_sessions_opened_total", "Sessions opened.", counters(|c| c.sessions_opened.get()));
    families.counter(
        "chukei_tenant_icmp_errors_sent_total",
        "ICMP errors sent to the tenant's hosts.",
        counters(|c| c.icmp_errors_sent.get()),
    );
    families.counter(
        "chukei_tenant_packets_fragmented_total",
        "Inner packets cut into fragments, because they were too big for the way ahead and DF was clear.",
        counters(|c| c.packets_fragmented.get()),
    );
    let gauges = |pick: fn(&Sampled<'_>) -> u64| tenants.iter().map(move |t| (vec![tenant_label(t.config)], float(pick(t))));
    families.gauge("chukei_tenant_sessions", "Sessions alive.", gauges(|t| t.counters.sessions.get()));
    families.gauge("chukei_tenant_sessions_limit", "Sessions the tenant may have.", gauges(|t| t.config.limits.sessions.get().into()));
    families.gauge("chukei_tenant_queued_packets", "Packets that wait for the tenant's turn.", gauges(|t| t.counters.queued.get()));
    families.gauge("chukei_tenant_mappings", "NAPT mappings alive.", gauges(|t| t.counters.mappings.get()));
    families.gauge("chukei_tenant_mappings_limit", "NAPT mappings the tenant may have.", gauges(|t| t.config.limits.ports.get().into()));
    isolation(families, tenants);
}

fn isolation(families: &mut Families, tenants: &[Sampled<'_>]) {
    let gauges = |pick: fn(&TenantConfig) -> u64| tenants.iter().map(move |t| (vec![tenant_label(t.config)], float(pick(t.config))));
    families.gauge("chukei_tenant_isolated", "1 while an operator has cut the tenant off.", gauges(|c| c.isolated.into()));
    let classes = tenants.iter().flat_map(|tenant| {
        TrafficClass::ALL.map(|class| {
            let isolated = tenant.config.isolated_classes[class as usize];
            (vec![tenant_label(tenant.config), label("class", class.label())], f64::from(u8::from(isolated)))
        })
    });
    families.gauge("chukei_class_isolated", "1 while an operator has cut the tenant's traffic class off.", classes);
    families.gauge(
        "chukei_tenant_rules_isolated",
        "Services and callbacks that an operator has cut off.",
        gauges(|c| rules_in(c, RuleState::Isolated)),
    );
    families.gauge(
        "chukei_tenant_rules_outside_validity",
        "Services and callbacks outside their valid_from .. valid_until.",
        gauges(|c| rules_in(c, RuleState::OutsideValidity)),
    );
}

fn rules_in(config: &TenantConfig, state: RuleState) -> u64 {
    let services = config.services.iter().filter(|service| service.state == state).count();
    let callbacks = config.callbacks.iter().filter(|callback| callback.state == state).count();
    (services + callbacks) as u64
}

fn tunnels(families: &mut Families, scrape: &Scrape<'_>, tenants: &[Sampled<'_>]) {
    let all = || {
        tenants.iter().flat_map(|tenant| {
            tenant.config.tunnels.iter().zip(&tenant.tunnel_counters).map(move |(tunnel, counters)| {
                let labels = move || vec![tenant_label(tenant.config), label("tunnel", &*tunnel.name)];
                (labels, counters)
            })
        })
    };
    families.gauge("chukei_tunnel_configured", "1 for every tunnel of the configuration.", all().map(|(labels, _)| (labels(), 1.0)));
    families.gauge("chukei_tunnel_up", "1 while the tunnel can carry data.", all().map(|(labels, c)| (labels(), float(c.up.get()))));
    let counter = |pick: fn(&TunnelCounters) -> u64| all().map(move |(labels, c)| (labels(), pick(c)));
    families.counter("chukei_tunnel_handshakes_total", "Handshakes completed.", counter(|c| c.handshakes.get()));
    families.counter("chukei_tunnel_roams_total", "Moves of the peer to another address or port.", counter(|c| c.roams.get()));
    families.counter("chukei_tunnel_sa_installs_total", "SA pairs installed (IPsec).", counter(|c| c.sa_installs.get()));
    let traffic = |pick: fn(&Traffic) -> u64| {
        all().flat_map(move |(labels, c)| {
            let row = |direction, traffic| ([labels(), vec![label("direction", direction)]].concat(), pick(traffic));
            [row(FROM_OFFICE, &c.received), row(FROM_CLOUD, &c.transmitted)]
        })
    };
    families.counter("chukei_tunnel_packets_total", "Inner packets out of and into the tunnel.", traffic(|t| t.packets.get()));
    families.counter("chukei_tunnel_bytes_total", "Bytes of inner packets out of and into the tunnel.", traffic(|t| t.bytes.get()));
    // A tunnel to which the moment never came has no row.
    let moment = |pick: fn(&TunnelCounters) -> u64| {
        all().filter_map(move |(labels, c)| {
            let at = scrape.clocks.wall_at_nanos(pick(c))?;
            Some((labels(), unix_seconds(at)))
        })
    };
    families.gauge(
        "chukei_tunnel_last_handshake_timestamp_seconds",
        "When the last handshake completed.",
        moment(|c| c.handshake_at_nanos.get()),
    );
    families.gauge("chukei_tunnel_last_heard_timestamp_seconds", "When the peer was last heard.", moment(|c| c.heard_at_nanos.get()));
    families.gauge(
        "chukei_tunnel_state_changed_timestamp_seconds",
        "When the tunnel last went up or down.",
        moment(|c| c.changed_at_nanos.get()),
    );
}

#[cfg(test)]
mod tests;
