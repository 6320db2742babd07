//! From measurements to rows: one metric each, with the ratio to the best peer and the target it has to meet.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cpu::Usage;
use crate::measure::{HALF_LOAD, Measured, Results, SIZES, STREAMS};
use crate::tcp::{Direction, Run};
use crate::world::{Carried, World};

/// One metric of all contenders.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) metric: String,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    /// In the contenders' order.
    pub(crate) values: Vec<f64>,
    /// The best of the peers, by name.
    pub(crate) best_peer: Option<String>,
    /// Of each column of chukei: its value divided by the best peer's.
    pub(crate) ratios: BTreeMap<String, f64>,
    pub(crate) target: Option<Target>,
    /// Whether each column of chukei meets the target.
    pub(crate) met: BTreeMap<String, bool>,
}

/// Which way a metric is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// What the ratio to the best peer has to be.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    Above(f64),
    Below(f64),
    AtMost(f64),
}

impl Target {
    pub(crate) fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::Above(bound) => ratio > bound,
            Self::Below(bound) => ratio < bound,
            Self::AtMost(bound) => ratio <= bound,
        }
    }

    pub(crate) fn text(self) -> String {
        match self {
            Self::Above(bound) => format!("> {bound:.2}"),
            Self::Below(bound) => format!("< {bound:.2}"),
            Self::AtMost(bound) => format!("<= {bound:.2}"),
        }
    }
}

/// What the ratios to the best peer have to be, by kind of metric.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Targets {
    /// Rates.
    pub(crate) more: Option<Target>,
    /// The slowest hundredth of round trips.
    pub(crate) less: Option<Target>,
    /// Processor time a packet of the relay's process.
    pub(crate) relay: Option<Target>,
    /// The same of all its work, the kernel's for it included.
    pub(crate) relaying: Option<Target>,
}

/// All rows, in the order they are shown.
pub(crate) fn rows(worlds: &[World], measured: &Measured, targets: Targets) -> Vec<Row> {
    let columns: Vec<(String, bool)> = worlds.iter().map(|world| (world.name.clone(), world.contender.is_peer())).collect();
    let row = |metric: String, unit, better, target, of: &dyn Fn(&Results) -> f64| {
        Row::new(metric, unit, better, target, &columns, measured.results.iter().map(of).collect())
    };
    let mut rows = Vec::new();
    for (way, direction) in Direction::BOTH.into_iter().enumerate() {
        let label = direction.label();
        for (case, streams) in STREAMS.into_iter().enumerate() {
            let rate = |results: &Results| median(results.tcp[way][case].iter().map(|run| run.bits_per_second / 1e6));
            rows.push(row(format!("TCP x{streams} {label}"), "Mbit/s", Better::Higher, targets.more, &rate));
        }
    }
    for (way, direction) in Direction::BOTH.into_iter().enumerate() {
        for (size, bytes) in SIZES.into_iter().enumerate() {
            let rate = |results: &Results| results.udp[way][size].0 / 1e3;
            rows.push(row(format!("UDP {bytes} B {}", direction.label()), "kpackets/s", Better::Higher, targets.more, &rate));
        }
    }
    let times: [(&str, Value); 4] = [
        ("round trip p50, idle", |results| median(results.idle.iter().map(|one| one.p50))),
        ("round trip p99, idle", |results| median(results.idle.iter().map(|one| one.p99))),
        ("round trip p50, half load", |results| median(results.half.iter().map(|one| one.round_trips.p50))),
        ("round trip p99, half load", |results| median(results.half.iter().map(|one| one.round_trips.p99))),
    ];
    for (metric, of) in times {
        rows.push(row(metric.to_owned(), "us", Better::Lower, targets.less.filter(|_| metric.contains("p99")), &of));
    }
    let lost_idle = |results: &Results| median(results.idle.iter().map(|one| one.lost * 100.0));
    let lost_half = |results: &Results| median(results.half.iter().map(|one| one.loss * 100.0));
    rows.push(row("questions lost, idle".to_owned(), "%", Better::Lower, None, &lost_idle));
    rows.push(row("datagrams lost, half load".to_owned(), "%", Better::Lower, None, &lost_half));
    for (load, of) in loads() {
        // The targets are about TCP.
        let is_tcp = load.starts_with("TCP");
        for (what, unit, target, cost) in COSTS {
            rows.push(row(format!("{what}, {load}"), unit, Better::Lower, target(&targets).filter(|_| is_tcp), &|results| {
                cost(&of(results))
            }));
        }
    }
    rows
}

/// One contender's value of a metric.
type Value = fn(&Results) -> f64;

/// A load, and its cost for one contender.
type Load = (String, Box<dyn Fn(&Results) -> Cost>);

/// TCP by direction, one and four streams and all rounds together; and the same UDP rate for all.
fn loads() -> Vec<Load> {
    let mut loads: Vec<Load> = Vec::new();
    for (way, direction) in Direction::BOTH.into_iter().enumerate() {
        let of = move |results: &Results| Cost::of_runs(results.tcp[way].iter().flatten());
        loads.push((format!("TCP {}", direction.label()), Box::new(of)));
    }
    let of = |results: &Results| Cost::sum(results.half.iter().map(|half| (half.usage, half.carried)));
    loads.push((format!("UDP {} B half load", SIZES[HALF_LOAD.1]), Box::new(of)));
    loads
}

/// Processor time and what was carried for it.
#[derive(Clone, Copy, Default, Debug)]
struct Cost {
    usage: Usage,
    packets: f64,
    bytes: f64,
}

/// A name, a unit, the target, and how it is computed.
type Kind = (&'static str, &'static str, fn(&Targets) -> Option<Target>, fn(&Cost) -> f64);

const COSTS: [Kind; 7] = [
    ("CPU of the relay's process", "us/packet", |targets| targets.relay, |cost| cost.usage.relay / cost.packets * 1e6),
    ("CPU of the relay's process", "s/GB", |_| None, |cost| cost.usage.relay / cost.bytes * 1e9),
    ("CPU of machine - client - load", "us/packet", |targets| targets.relaying, |cost| cost.usage.relaying() / cost.packets * 1e6),
    ("CPU of machine - client - load", "s/GB", |_| None, |cost| cost.usage.relaying() / cost.bytes * 1e9),
    ("CPU of the whole machine", "us/packet", |_| None, |cost| cost.usage.machine / cost.packets * 1e6),
    ("CPU of the whole machine", "s/GB", |_| None, |cost| cost.usage.machine / cost.bytes * 1e9),
    ("CPU of client and load", "us/packet", |_| None, |cost| (cost.usage.client + cost.usage.load) / cost.packets * 1e6),
];

impl Cost {
    fn of_runs<'a>(runs: impl Iterator<Item = &'a Run>) -> Self {
        Self::sum(runs.map(|run| (run.usage, run.carried)))
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of seconds, not of years")]
    fn sum(parts: impl Iterator<Item = (Usage, Carried)>) -> Self {
        parts.fold(Self::default(), |mut cost, (usage, carried)| {
            cost.usage += usage;
            cost.packets += carried.packets() as f64;
            cost.bytes += carried.bytes() as f64;
            cost
        })
    }
}

impl Row {
    fn new(
        metric: String,
        unit: &'static str,
        better: Better,
        target: Option<Target>,
        columns: &[(String, bool)],
        values: Vec<f64>,
    ) -> Self {
        let peers = columns.iter().zip(&values).filter(|((_, is_peer), value)| *is_peer && value.is_finite());
        let order = |a: &f64, b: &f64| if better == Better::Higher { a.total_cmp(b) } else { b.total_cmp(a) };
        let best = peers.max_by(|(_, a), (_, b)| order(a, b)).map(|((name, _), value)| (name.clone(), *value));
        let mut ratios = BTreeMap::new();
        if let Some((_, best)) = best {
            let own = columns.iter().zip(&values).filter(|((_, is_peer), _)| !is_peer);
            // Nothing can be said in shares of nothing.
            ratios.extend(own.map(|((name, _), value)| (name.clone(), value / best)).filter(|(_, ratio)| ratio.is_finite()));
        }
        let verdict = |target: Target| ratios.iter().map(|(name, ratio)| (name.clone(), target.is_met(*ratio))).collect();
        let met = target.map(verdict).unwrap_or_default();
        Self { metric, unit, better, values, best_peer: best.map(|(name, _)| name), ratios, target, met }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: Target = Target::AtMost(0.25);
    const MORE: Target = Target::Above(1.0);
    const LESS: Target = Target::Below(1.0);

    fn columns() -> Vec<(String, bool)> {
        [("chukei", false), ("slow", true), ("fast", true)].map(|(name, is_peer)| (name.to_owned(), is_peer)).to_vec()
    }

    #[test]
    fn the_ratio_is_to_the_best_peer_whichever_way_is_good() {
        let rate = Row::new("rate".to_owned(), "Mbit/s", Better::Higher, Some(MORE), &columns(), vec![300.0, 100.0, 200.0]);
        assert_eq!((rate.best_peer.as_deref(), rate.ratios["chukei"], rate.met["chukei"]), (Some("fast"), 1.5, true));
        let cost = Row::new("cost".to_owned(), "us", Better::Lower, Some(RELAY), &columns(), vec![3.0, 15.0, 10.0]);
        assert_eq!((cost.best_peer.as_deref(), cost.ratios["chukei"], cost.met["chukei"]), (Some("fast"), 0.3, false));
    }

    #[test]
    fn a_bound_is_met_only_on_its_own_side() {
        assert!(MORE.is_met(1.01) && !MORE.is_met(1.0));
        assert!(LESS.is_met(0.99) && !LESS.is_met(1.0));
        assert!(RELAY.is_met(0.25) && !RELAY.is_met(0.26));
        assert!(!LESS.is_met(f64::NAN) && !MORE.is_met(f64::NAN));
    }

    #[test]
    fn costs_of_several_runs_are_those_of_all_their_packets() {
        let usage = Usage { relay: 1.0, machine: 4.0, client: 1.0, load: 1.0, ..Usage::default() };
        let carried = |packets| Carried { up_packets: packets, up_bytes: packets * 1_000, ..Carried::default() };
        let cost = Cost::sum([(usage, carried(100_000)), (usage, carried(300_000))].into_iter());
        let values: Vec<f64> = COSTS.iter().map(|(_, _, _, of)| of(&cost)).collect();
        assert_eq!(values, [5.0, 5.0, 10.0, 10.0, 20.0, 20.0, 10.0]);
    }

    #[test]
    fn the_median_of_two_is_their_middle() {
        assert_eq!(median([3.0, 1.0].into_iter()), 2.0);
        assert_eq!(median([3.0, 1.0, 9.0].into_iter()), 3.0);
    }
}
