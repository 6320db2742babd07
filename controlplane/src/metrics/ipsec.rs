//! Key exchange: what the engine and its driver count, and which ciphers protect whom.

use ike::{Failure, PeerStatus};

use super::{Families, Label, Sampled, Scrape, float, label, one, tenant_label};

/// Everything about key exchange that a scrape shows.
#[derive(Clone, Default, Debug)]
pub struct IpsecScrape {
    /// The engine's and the driver's counters.
    pub counters: crate::ipsec::view::Counters,
    /// All IPsec tunnels.
    pub statuses: Vec<PeerStatus>,
    /// Files of certificates in use, and the Unix times at which what is in them begins to expire.
    pub certificates: Vec<(String, u64)>,
}

/// What WireGuard always uses.
const WIREGUARD_SUITE: &str = "chacha20poly1305-blake2s-x25519";

pub(super) fn write(families: &mut Families, scrape: &Scrape<'_>, tenants: &[Sampled<'_>]) {
    let ipsec = scrape.ipsec;
    gauges(families, ipsec);
    messages(families, ipsec);
    failures(families, ipsec);
    suites(families, ipsec, tenants);
    families.gauge(
        "chukei_tunnel_previous_psk",
        "1 while the peer of an IPsec tunnel uses the key before the newest; no row for certificates and tunnels that are down.",
        ipsec.statuses.iter().filter_map(|status| {
            let previous = status.ike.as_ref()?.psk_index? > 0;
            Some((tunnel_labels(status), f64::from(u8::from(previous))))
        }),
    );
    families.gauge(
        "chukei_certificate_expiry_timestamp_seconds",
        "When the first certificate of a file expires.",
        ipsec.certificates.iter().map(|(file, expires)| (vec![label("file", file.as_str())], float(*expires))),
    );
}

fn gauges(families: &mut Families, ipsec: &IpsecScrape) {
    let engine = &ipsec.counters.engine;
    families.gauge("chukei_ike_sas", "IKE SAs that stand.", one(float(engine.ike_sas)));
    families.gauge("chukei_ike_child_sas", "Pairs of SAs for packets that stand.", one(float(engine.child_sas)));
    families.gauge("chukei_ike_half_open", "Negotiations that no identity stands behind yet.", one(float(engine.half_open)));
    families.gauge(
        "chukei_ike_commands_waiting",
        "Commands for workers that wait for room.",
        one(float(ipsec.counters.driver.commands_waiting)),
    );
}

fn messages(families: &mut Families, ipsec: &IpsecScrape) {
    let (engine, driver) = (&ipsec.counters.engine, &ipsec.counters.driver);
    let total = |value: u64| std::iter::once((Vec::new(), value));
    let by =
        |name: &'static str, rows: Vec<(&'static str, u64)>| rows.into_iter().map(move |(value, count)| (vec![label(name, value)], count));
    let directions = by("direction", vec![("received", engine.received), ("sent", engine.sent)]);
    families.counter("chukei_ike_messages_total", "IKE messages, repetitions included.", directions);
    let rekeys = by("kind", vec![("ike", engine.rekeys_ike), ("child", engine.rekeys_child)]);
    families.counter("chukei_ike_rekeys_total", "SAs whose keys were replaced.", rekeys);
    families.counter("chukei_ike_cookies_sent_total", "Cookies demanded before anything is computed.", total(engine.cookies_sent));
    families.counter("chukei_ike_invalid_ke_sent_total", "Other Diffie-Hellman groups demanded.", total(engine.invalid_ke_sent));
    families.counter("chukei_ike_retransmissions_total", "The relay's own requests sent again.", total(engine.retransmissions));
    families.counter("chukei_ike_answered_again_total", "Repeated requests answered from memory.", total(engine.answered_again));
    families.counter(
        "chukei_ike_asked_too_often_total",
        "Requests for another SA that were put off, as their peer makes them too often.",
        total(engine.asked_too_often),
    );
    let dropped = vec![
        ("malformed", engine.dropped_malformed),
        ("unknown_spi", engine.dropped_unknown_spi),
        ("not_authentic", engine.dropped_not_authentic),
        ("message_id", engine.dropped_message_id),
        ("half_open", engine.dropped_half_open),
        ("engine_busy", driver.datagrams_dropped),
        ("worker_busy", driver.messages_dropped),
    ];
    families.counter("chukei_ike_dropped_messages_total", "IKE messages that were dropped.", by("reason", dropped));
    families.counter("chukei_ike_dh_refused_total", "Diffie-Hellman jobs that found the queue full.", total(driver.dh_refused));
    families.counter(
        "chukei_ike_installs_unanswered_total",
        "SAs whose installation a worker never answered.",
        total(driver.installs_unanswered),
    );
}

fn failures(families: &mut Families, ipsec: &IpsecScrape) {
    families.counter(
        "chukei_ike_failures_total",
        "Negotiations that failed; every reason is listed.",
        Failure::ALL.iter().map(|failure| (vec![label("reason", failure.label())], ipsec.counters.engine.failures.get(*failure))),
    );
    families.counter(
        "chukei_ike_unproven_failures_total",
        "Those of them whose other end had proven nothing, whatever it said or wherever it seemed to be; every reason is listed.",
        Failure::ALL.iter().map(|failure| (vec![label("reason", failure.label())], ipsec.counters.engine.unproven_failures.get(*failure))),
    );
    families.counter(
        "chukei_tunnel_ike_failures_total",
        "Negotiations with a tunnel's router that failed after its proof, or that the relay began; only reasons that occurred.",
        ipsec.statuses.iter().flat_map(|status| {
            let occurred = status.failures.iter().filter(|(_, count)| *count > 0);
            occurred.map(move |(failure, count)| ([tunnel_labels(status), vec![label("reason", failure.label())]].concat(), count))
        }),
    );
}

/// Proof of which ciphers are in use. Suites are made of the engine's own words.
fn suites(families: &mut Families, ipsec: &IpsecScrape, tenants: &[Sampled<'_>]) {
    let wireguard = tenants.iter().flat_map(|tenant| {
        let tunnels = tenant.config.tunnels.iter().zip(&tenant.tunnel_counters);
        let up = tunnels.filter(|(tunnel, counters)| {
            matches!(tunnel.kind, dataplane::router_config::TunnelKind::WireGuard { .. }) && counters.up.get() > 0
        });
        up.map(|(tunnel, _)| {
            let labels = vec![tenant_label(tenant.config), label("tunnel", &*tunnel.name), label("kind", "wireguard")];
            (suite_labels(labels, WIREGUARD_SUITE, WIREGUARD_SUITE), 1.0)
        })
    });
    let ipsec = ipsec.statuses.iter().filter_map(|status| {
        let (ike, child) = (status.ike.as_ref()?, status.children.first()?);
        let labels = [tunnel_labels(status), vec![label("kind", "ipsec")]].concat();
        Some((suite_labels(labels, &ike.suite, &child.suite), 1.0))
    });
    let help = "Ciphers of a tunnel that is up, of key exchange and of packets; always 1.";
    families.gauge("chukei_tunnel_suite_info", help, wireguard.chain(ipsec));
}

fn suite_labels<'a>(mut labels: Vec<Label<'a>>, key_exchange: &'a str, packets: &'a str) -> Vec<Label<'a>> {
    labels.extend([label("key_exchange", key_exchange), label("packets", packets)]);
    labels
}

fn tunnel_labels(status: &PeerStatus) -> Vec<Label<'_>> {
    vec![label("tenant", &*status.name.tenant), label("tunnel", &*status.name.tunnel)]
}
