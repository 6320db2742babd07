//! The command line.

use std::time::Duration;

use crate::contender::{Contender, Driver};
use crate::line::{Line, Suite};

pub(crate) const USAGE: &str = "\
usage: benches/compare/run [--quick] [--json] [--driver auto|af_xdp|af_packet|both] [--peers NAME,NAME...]
                          [--only wireguard|ipsec]
  --quick    about 3 minutes instead of about 10
  --json     one JSON document instead of the table
  --driver   the relay's NIC driver (default auto); `both` measures it twice, once with each
  --peers    which of wireguard-go, boringtun-cli, gotatun-cli to measure WireGuard against (default all); IPsec: strongSwan
  --only     one of the two (default both, one after the other)";

/// What to measure, and how long.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) json: bool,
    /// One table each, in this order.
    pub(crate) lineups: Vec<Lineup>,
}

/// Who meets on which line.
#[derive(Debug)]
pub(crate) struct Lineup {
    pub(crate) line: Line,
    pub(crate) contenders: Vec<Contender>,
    pub(crate) plan: Plan,
}

/// How much is measured. Everything is bounded by these.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How often everything but the search for UDP rates is done.
    pub(crate) rounds: usize,
    /// Whole seconds that iperf3 leaves out at its beginning.
    pub(crate) tcp_warm_up: u8,
    /// One measured TCP run, without its warm-up.
    pub(crate) tcp: Duration,
    /// One trial of a UDP rate.
    pub(crate) udp: Duration,
    /// Halvings of the interval in which the highest rate lies.
    pub(crate) halvings: u32,
    /// One measurement of round-trip times.
    pub(crate) latency: Duration,
}

const FULL: Plan = Plan {
    rounds: 2,
    tcp_warm_up: 1,
    tcp: Duration::from_millis(2_500),
    udp: Duration::from_millis(1_000),
    halvings: 4,
    latency: Duration::from_secs(3),
};

const SHORT: Plan = Plan { rounds: 1, halvings: 2, ..FULL };

const QUICK: Plan = Plan {
    rounds: 1,
    tcp_warm_up: 0,
    tcp: Duration::from_millis(1_500),
    udp: Duration::from_millis(250),
    halvings: 1,
    latency: Duration::from_millis(1_000),
};

impl Options {
    /// # Errors
    /// With what is wrong about the arguments.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let (mut json, mut quick, mut only) = (false, false, None);
        let mut drivers = vec![Driver::Auto];
        let mut peers = Contender::PEERS.to_vec();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--quick" => quick = true,
                "--json" => json = true,
                "--driver" => drivers = Driver::parse(&value()?)?,
                "--only" => only = Some(family(&value()?)?),
                "--peers" => peers = value()?.split(',').map(Contender::peer).collect::<Result<_, _>>()?,
                _ => return Err(format!("unknown argument {argument}")),
            }
        }
        let lines = [Line::Wireguard].into_iter().chain(Suite::BOTH.map(Line::Ipsec));
        let lines = lines.filter(|line| only.is_none_or(|only| matches!(line, Line::Wireguard) == matches!(only, Family::Wireguard)));
        let lineup = |line| {
            let peers = if line == Line::Wireguard { &peers[..] } else { &[Contender::StrongSwan] };
            let contenders = drivers.iter().copied().map(Contender::Chukei).chain(peers.iter().copied()).collect();
            let plan = match line {
                _ if quick => QUICK,
                Line::Wireguard | Line::Ipsec(Suite::AesGcm) => FULL,
                // It has no target.
                Line::Ipsec(Suite::AesCbcHmac) => SHORT,
            };
            Lineup { line, contenders, plan }
        };
        Ok(Self { json, lineups: lines.map(lineup).collect() })
    }
}

/// What `--only` knows.
#[derive(Clone, Copy, Debug)]
enum Family {
    Wireguard,
    Ipsec,
}

fn family(text: &str) -> Result<Family, String> {
    match text {
        "wireguard" => Ok(Family::Wireguard),
        "ipsec" => Ok(Family::Ipsec),
        other => Err(format!("--only knows wireguard and ipsec, not {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> Result<Options, String> {
        Options::parse(arguments.split_whitespace().map(str::to_owned))
    }

    fn names(lineup: &Lineup) -> Vec<String> {
        lineup.contenders.iter().map(Contender::name).collect()
    }

    #[test]
    fn without_arguments_the_relay_chooses_its_driver_and_meets_all_peers() {
        let options = parse("").unwrap();
        assert_eq!(names(&options.lineups[0]), ["chukei", "wireguard-go", "boringtun-cli", "gotatun-cli"]);
        for (lineup, suite) in options.lineups[1..].iter().zip(Suite::BOTH) {
            assert_eq!((names(lineup), lineup.line), (vec!["chukei".to_owned(), "strongSwan".to_owned()], Line::Ipsec(suite)));
        }
        assert!(options.lineups.len() == 3 && !options.json);
    }

    #[test]
    fn both_drivers_are_two_contenders() {
        let options = parse("--quick --json --driver both --peers gotatun-cli").unwrap();
        assert_eq!(names(&options.lineups[0]), ["chukei af_xdp", "chukei af_packet", "gotatun-cli"]);
        assert_eq!(names(&options.lineups[1]), ["chukei af_xdp", "chukei af_packet", "strongSwan"]);
        assert!(options.json && options.lineups.iter().all(|lineup| lineup.plan.rounds == 1));
    }

    #[test]
    fn one_of_the_two_is_measured_alone() {
        let lines = |only| parse(only).unwrap().lineups.iter().map(|lineup| lineup.line).collect::<Vec<_>>();
        assert_eq!(lines("--only wireguard"), [Line::Wireguard]);
        assert_eq!(lines("--only ipsec"), Suite::BOTH.map(Line::Ipsec));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(parse("--driver").unwrap_err(), "--driver needs a value");
        assert!(parse("--driver dpdk").unwrap_err().contains("dpdk"));
        assert!(parse("--peers strongswan").unwrap_err().contains("strongswan"));
        assert!(parse("--only openvpn").unwrap_err().contains("openvpn"));
        assert!(parse("--fast").unwrap_err().contains("--fast"));
    }
}
