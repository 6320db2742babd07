//! The command line.

use std::time::Duration;

use crate::contender::{Contender, Driver};

pub(crate) const USAGE: &str = "\
usage: benches/compare/run [--quick] [--json] [--driver auto|af_xdp|af_packet|both] [--peers NAME,NAME...]
  --quick    about 90 s instead of about 6 minutes
  --json     one JSON document instead of the table
  --driver   the relay's NIC driver (default auto); `both` measures it twice, once with each
  --peers    which of wireguard-go, boringtun-cli, gotatun-cli to measure against (default all)";

/// What to measure, and how long.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) json: bool,
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
        let (mut json, mut plan) = (false, FULL);
        let mut drivers = vec![Driver::Auto];
        let mut peers = Contender::PEERS.to_vec();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--quick" => plan = QUICK,
                "--json" => json = true,
                "--driver" => drivers = Driver::parse(&value()?)?,
                "--peers" => peers = value()?.split(',').map(Contender::peer).collect::<Result<_, _>>()?,
                _ => return Err(format!("unknown argument {argument}")),
            }
        }
        let contenders = drivers.into_iter().map(Contender::Chukei).chain(peers).collect();
        Ok(Self { json, contenders, plan })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> Result<Options, String> {
        Options::parse(arguments.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn without_arguments_the_relay_chooses_its_driver_and_meets_all_peers() {
        let options = parse("").unwrap();
        let names: Vec<String> = options.contenders.iter().map(Contender::name).collect();
        assert_eq!(names, ["chukei", "wireguard-go", "boringtun-cli", "gotatun-cli"]);
        assert!(!options.json);
    }

    #[test]
    fn both_drivers_are_two_contenders() {
        let options = parse("--quick --json --driver both --peers gotatun-cli").unwrap();
        let names: Vec<String> = options.contenders.iter().map(Contender::name).collect();
        assert_eq!(names, ["chukei af_xdp", "chukei af_packet", "gotatun-cli"]);
        assert!(options.json && options.plan.rounds == 1);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(parse("--driver").unwrap_err(), "--driver needs a value");
        assert!(parse("--driver dpdk").unwrap_err().contains("dpdk"));
        assert!(parse("--peers strongswan").unwrap_err().contains("strongswan"));
        assert!(parse("--fast").unwrap_err().contains("--fast"));
    }
}
