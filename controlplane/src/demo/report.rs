//! What `chukei demo --once` found out.

use std::collections::BTreeMap;

use serde::Serialize;

/// The whole result; `--json` prints it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// By municipality.
    pub tenants: Vec<TenantReport>,
    /// Frames with somebody else's canary, on the trunk or in an office.
    pub foreign_packets_seen: u64,
    /// Tries to get from one municipality, or one traffic class, into another.
    pub crossings: Vec<Crossing>,
    /// The relay's lost packets by reason.
    pub drops: BTreeMap<String, u64>,
    /// The relay's driver.
    pub driver: String,
    /// How the driver moves frames.
    pub mode: String,
    /// What is wrong, in words; empty when all is well.
    pub problems: Vec<String>,
}

/// One municipality's result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TenantReport {
    /// Its name in the configuration.
    pub tenant: String,
    /// The kind of its tunnel.
    pub kind: &'static str,
    /// `up` or `down`.
    pub tunnel: &'static str,
    /// Bytes downloaded, uploaded and printed.
    pub tcp_bytes: u64,
    /// Whether all of them were the right ones.
    pub tcp_sha256_ok: bool,
    /// Whether questions were answered over UDP.
    pub udp_ok: bool,
    /// Whether pings were answered.
    pub ping_ok: bool,
}

/// One try to get where nobody may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Crossing {
    /// What was tried.
    pub attempt: String,
    /// Whether nothing came of it.
    pub blocked: bool,
    /// What the relay dropped meanwhile, by reason. Packets of other traffic may be among them.
    pub drops: BTreeMap<String, u64>,
}

impl Report {
    /// Whether everything works and nothing crossed.
    #[must_use]
    pub fn all_well(&self) -> bool {
        self.problems.is_empty()
    }

    /// Fills in [`Report::problems`] from the rest.
    pub fn judge(&mut self) {
        let mut problems = Vec::new();
        for one in &self.tenants {
            let parts = [
                (one.tunnel == "up", "the tunnel is down"),
                (one.tcp_bytes > 0 && one.tcp_sha256_ok, "TCP transfers failed or were not the right bytes"),
                (one.udp_ok, "questions over UDP were not answered"),
                (one.ping_ok, "pings were not answered"),
            ];
            problems.extend(parts.iter().filter(|(ok, _)| !ok).map(|(_, text)| format!("{}: {text}", one.tenant)));
        }
        if self.tenants.is_empty() {
            problems.push("no municipality took part".to_owned());
        }
        if self.foreign_packets_seen > 0 {
            problems.push(format!("{} packets were seen where they must not be", self.foreign_packets_seen));
        }
        for crossing in &self.crossings {
            if !crossing.blocked {
                problems.push(format!("not blocked: {}", crossing.attempt));
            } else if crossing.drops.values().sum::<u64>() == 0 {
                problems.push(format!("blocked, but the relay counted no drop: {}", crossing.attempt));
            }
        }
        self.problems.extend(problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        let tenant = TenantReport {
            tenant: "131016-chiyoda".into(),
            kind: "wireguard",
            tunnel: "up",
            tcp_bytes: 1,
            tcp_sha256_ok: true,
            udp_ok: true,
            ping_ok: true,
        };
        let drops = BTreeMap::from([("policy".to_owned(), 1)]);
        let crossing = Crossing { attempt: "a try".into(), blocked: true, drops: drops.clone() };
        let (driver, mode) = ("af_packet".into(), "copy".into());
        Report { tenants: vec![tenant], crossings: vec![crossing], drops, driver, mode, ..Report::default() }
    }

    fn problems(spoil: impl FnOnce(&mut Report)) -> Vec<String> {
        let mut report = good();
        spoil(&mut report);
        report.judge();
        assert_eq!(report.all_well(), report.problems.is_empty());
        report.problems
    }

    #[test]
    fn a_good_run_is_well_and_each_single_fault_is_named() {
        assert_eq!(problems(|_| ()), Vec::<String>::new());
        let spoils: [fn(&mut Report); 9] = [
            |report| report.tenants[0].tunnel = "down",
            |report| report.tenants[0].tcp_bytes = 0,
            |report| report.tenants[0].tcp_sha256_ok = false,
            |report| report.tenants[0].udp_ok = false,
            |report| report.tenants[0].ping_ok = false,
            |report| report.foreign_packets_seen = 1,
            |report| report.crossings[0].blocked = false,
            |report| report.crossings[0].drops.clear(),
            |report| report.tenants.clear(),
        ];
        for (number, spoil) in spoils.into_iter().enumerate() {
            assert_eq!(problems(spoil).len(), 1, "fault {number}");
        }
    }

    #[test]
    fn the_json_has_the_keys_that_scripts_look_for() {
        let json = serde_json::to_value(good()).unwrap();
        let expected = serde_json::json!({
            "tenant": "131016-chiyoda", "kind": "wireguard", "tunnel": "up", "tcp_bytes": 1,
            "tcp_sha256_ok": true, "udp_ok": true, "ping_ok": true,
        });
        assert_eq!(json["tenants"][0], expected);
        assert_eq!(json["foreign_packets_seen"], 0);
        assert_eq!((&json["driver"], &json["mode"]), (&"af_packet".into(), &"copy".into()));
        assert_eq!(json["drops"]["policy"], 1);
    }
}
