//! The scenario against a relay that has no rules at all: work goes well, and every crossing is seen to succeed.

use super::*;
use crate::demo::municipality::Router;
use crate::demo::relay::RelaySnapshot;
use crate::demo::test_support::as_root;
use crate::demo::topology::Topology;
use crate::demo::topology::tests::{StandIn, start_stand_in, untranslated};
use crate::demo::wireguard_keys::KeyPair;

struct NoRelay;

impl RunningRelay for NoRelay {
    fn snapshot(&self) -> RelaySnapshot {
        RelaySnapshot { drops: BTreeMap::from([("policy".to_owned(), 7)]), ..RelaySnapshot::default() }
    }
}

fn world() -> (Vec<Router>, StandIn, Topology) {
    let topology = Topology::build(&untranslated()).unwrap();
    let keys = KeyPair::generate().unwrap();
    let stand_in = start_stand_in(&topology, &keys);
    let start = |((number, place), relay): ((u8, &Place), &SocketAddrV4)| {
        topology.start_router(number, &place.municipality, keys.public(), *relay).unwrap()
    };
    let routers: Vec<_> = (1..).zip(&topology.places).zip(&stand_in.ports).map(start).collect();
    assert!(routers.iter().all(|router| router.wait_up(PATIENCE)));
    (routers, stand_in, topology)
}

#[test]
fn a_round_of_work_succeeds_in_every_part() {
    as_root("demo::scenario::tests::a_round_of_work_succeeds_in_every_part", || {
        let (_routers, _stand_in, mut topology) = world();
        // The stand-in translates nothing, so print jobs come from the server's own address.
        for place in &mut topology.places {
            let one = &mut place.municipality;
            one.office.print_source = one.cloud.print_server;
        }
        for place in &topology.places {
            let mut problems = Vec::new();
            let report = work(place, &Services::start(place).unwrap(), 100_000, &mut problems);
            assert_eq!(problems, Vec::<String>::new());
            let tenant = place.municipality.tenant.clone();
            let (tcp_bytes, kind, tunnel) = (400_000, "wireguard", "up");
            let ok = TenantReport { tenant, kind, tunnel, tcp_bytes, tcp_sha256_ok: true, udp_ok: true, ping_ok: true };
            assert_eq!(report, ok);
        }
        assert_eq!(topology.watch.sightings().foreign, 0);
    });
}

#[test]
fn a_print_job_from_another_address_than_the_shared_one_is_not_right() {
    as_root("demo::scenario::tests::a_print_job_from_another_address_than_the_shared_one_is_not_right", || {
        let (_routers, _stand_in, mut topology) = world();
        topology.places[0].municipality.office.print_source = Ipv4Addr::new(203, 0, 113, 99);
        let place = &topology.places[0];
        let report = work(place, &Services::start(place).unwrap(), 10_000, &mut Vec::new());
        assert_eq!((report.tcp_bytes, report.tcp_sha256_ok), (40_000, false));
    });
}

#[test]
fn without_rules_the_crossings_come_through_and_are_told() {
    as_root("demo::scenario::tests::without_rules_the_crossings_come_through_and_are_told", || {
        let (_routers, _stand_in, topology) = world();
        let crossings = try_crossings(&topology.places, &NoRelay).unwrap();
        let open: Vec<_> = crossings.iter().filter(|crossing| !crossing.blocked).map(|crossing| &*crossing.attempt).collect();
        assert_eq!(open.len(), 6, "{crossings:#?}");
        assert!(open[0].contains("claims the address"), "{open:#?}");
        assert!(open[1].contains("lgwan-connected desk"), "{open:#?}");
        assert!(crossings.iter().all(|crossing| crossing.drops.is_empty()), "what was lost before is not counted");
    });
}
