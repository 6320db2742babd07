use proptest::prelude::*;

use super::*;

fn net(text: &str) -> Ipv4Network {
    text.parse().unwrap()
}

fn all_of(text: &str) -> TrafficSelector {
    TrafficSelector::Ipv4(Ipv4Selector::addresses(net(text).network(), net(text).broadcast()))
}

fn tcp(text: &str, start_port: u16, end_port: u16) -> TrafficSelector {
    TrafficSelector::Ipv4(Ipv4Selector {
        protocol: 6,
        start_port,
        end_port,
        ..Ipv4Selector::addresses(net(text).network(), net(text).broadcast())
    })
}

#[test]
fn a_router_that_asks_for_everything_gets_its_tenants_prefixes_and_no_more() {
    let everything = [all_of("0.0.0.0/0")];
    let narrowed = narrow(&everything, &everything, &[net("198.51.100.16/28")], &[net("203.0.113.0/26")]).unwrap();
    assert_eq!((narrowed.office, narrowed.far), (vec![all_of("198.51.100.16/28")], vec![all_of("203.0.113.0/26")]));
    assert_eq!((narrowed.pairs.len(), narrowed.left_out), (1, false));
    assert_eq!(narrowed.pairs[0].office_ports, 0..=u16::MAX);
}

#[test]
fn a_router_that_asks_for_less_gets_less() {
    let narrowed =
        narrow(&[all_of("198.51.100.17/32")], &[tcp("203.0.113.5/32", 443, 443)], &[net("198.51.100.16/28")], &[net("203.0.113.0/26")]);
    let pair = &narrowed.unwrap().pairs[0];
    assert_eq!((pair.protocol, pair.far_ports.clone(), pair.office.clone().count()), (6, 443..=443, 1));
}

#[test]
fn prefixes_of_somebody_else_are_unacceptable() {
    let (own_office, own_far) = ([net("198.51.100.16/28")], [net("203.0.113.0/26")]);
    let (office, far) = ([all_of("198.51.100.16/28")], [all_of("203.0.113.0/26")]);
    assert_eq!(narrow(&[all_of("198.51.100.32/28")], &far, &own_office, &own_far), None);
    assert_eq!(narrow(&office, &[all_of("203.0.113.64/26")], &own_office, &own_far), None);
    assert_eq!(narrow(&office, &far, &[], &own_far), None, "a tenant without prefixes has no traffic");
    assert_eq!(narrow(&[TrafficSelector::Other(8)], &far, &own_office, &own_far), None, "IPv6 only");
    let opaque = TrafficSelector::Ipv4(Ipv4Selector {
        start_port: u16::MAX,
        end_port: 0,
        ..Ipv4Selector::addresses([0; 4].into(), [255; 4].into())
    });
    assert_eq!(narrow(&[opaque], &far, &own_office, &own_far), None);
}

#[test]
fn both_sides_must_mean_the_same_protocol() {
    let (own_office, own_far) = ([net("198.51.100.16/28")], [net("203.0.113.0/26")]);
    let udp =
        TrafficSelector::Ipv4(Ipv4Selector { protocol: 17, ..Ipv4Selector::addresses([203, 0, 113, 0].into(), [203, 0, 113, 63].into()) });
    assert_eq!(narrow(&[tcp("198.51.100.16/28", 0, u16::MAX)], &[udp], &own_office, &own_far), None);
    let both = narrow(&[tcp("198.51.100.16/28", 0, u16::MAX)], &[udp, tcp("203.0.113.0/26", 80, 80)], &own_office, &own_far).unwrap();
    assert_eq!((both.pairs.len(), both.far), (1, vec![tcp("203.0.113.0/26", 80, 80)]), "what makes no pair is not answered");
}

#[test]
fn neighbouring_prefixes_are_one_range_and_the_order_is_the_peers() {
    let far: Vec<_> = (0..20).map(|host| net(&format!("203.0.113.{host}/32"))).collect();
    assert_eq!(of_networks(&far).len(), 1);
    let office = [net("198.51.100.0/25"), net("198.51.100.128/25"), net("192.0.2.0/24")];
    let asked = [all_of("198.51.100.77/32"), all_of("192.0.2.0/24"), all_of("198.51.100.0/24")];
    let narrowed = narrow(&asked, &[all_of("0.0.0.0/0")], &office, &far).unwrap();
    assert_eq!(narrowed.office, [all_of("192.0.2.0/24"), all_of("198.51.100.0/24")], "what another one contains is left out");
    assert_eq!(of_networks(&[net("255.255.255.0/24"), net("0.0.0.0/24")]).len(), 2, "the ends of the address space are no neighbours");
}

#[test]
fn more_pairs_than_a_worker_compares_are_left_out_and_said_so() {
    let scattered: Vec<_> = (0..100).map(|host| net(&format!("203.0.113.{}/32", host * 2))).collect();
    let everything = [all_of("0.0.0.0/0")];
    let narrowed = narrow(&everything, &everything, &[net("198.51.100.16/28"), net("192.0.2.0/24")], &scattered).unwrap();
    assert_eq!((narrowed.pairs.len(), narrowed.office.len(), narrowed.far.len(), narrowed.left_out), (32, 2, 16, true));
    let many: Vec<_> = (0..255).map(|port| tcp("203.0.113.0/25", port * 2, port * 2)).collect();
    let narrowed = narrow(&everything, &many, &[net("198.51.100.16/28")], &scattered).unwrap();
    assert_eq!((narrowed.pairs.len(), narrowed.left_out), (MAX_PAIRS, true));
}

#[test]
fn selectors_have_words_for_people() {
    let range = TrafficSelector::Ipv4(Ipv4Selector::addresses([10, 0, 0, 1].into(), [10, 0, 0, 3].into()));
    let said =
        words(&[all_of("198.51.100.16/28"), all_of("0.0.0.0/0"), TrafficSelector::Other(8)], &[tcp("203.0.113.1/32", 443, 443), range]);
    assert_eq!(said, ["198.51.100.16/28", "0.0.0.0/0", "a selector that is not IPv4", "203.0.113.1 tcp 443", "10.0.0.1-10.0.0.3"]);
}

/// Addresses in a small space, so that ranges meet.
fn address() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![(0u32..64).prop_map(|low| Ipv4Addr::from(0x0a00_0000 + low)), any::<u32>().prop_map(Ipv4Addr::from)]
}

fn selector() -> impl Strategy<Value = TrafficSelector> {
    let protocol = prop_oneof![Just(0u8), Just(6), Just(17)];
    let ports = prop_oneof![Just((0, u16::MAX)), (0u16..8, 0u16..8).prop_map(|(a, b)| (a.min(b), a.max(b))), Just((u16::MAX, 0))];
    let ipv4 = (protocol, ports, address(), address()).prop_map(|(protocol, (start_port, end_port), a, b)| {
        TrafficSelector::Ipv4(Ipv4Selector { protocol, start_port, end_port, start: a.min(b), end: a.max(b) })
    });
    prop_oneof![9 => ipv4, 1 => Just(TrafficSelector::Other(8))]
}

fn network() -> impl Strategy<Value = Ipv4Network> {
    (address(), prop_oneof![24u8..=32, 0u8..=32]).prop_map(|(address, prefix)| Ipv4Network::new(address, prefix).unwrap())
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    office: Ipv4Addr,
    far: Ipv4Addr,
    protocol: u8,
    office_port: u16,
    far_port: u16,
}

fn packet() -> impl Strategy<Value = Packet> {
    (address(), address(), prop_oneof![Just(6u8), Just(17), Just(1)], 0u16..10, 0u16..10)
        .prop_map(|(office, far, protocol, office_port, far_port)| Packet { office, far, protocol, office_port, far_port })
}

fn asked_for(selectors: &[TrafficSelector], address: Ipv4Addr, protocol: u8, port: u16) -> bool {
    selectors.iter().any(|selector| match selector {
        TrafficSelector::Ipv4(s) => {
            (s.protocol == 0 || s.protocol == protocol)
                && (s.start..=s.end).contains(&address)
                && (s.start_port..=s.end_port).contains(&port)
        }
        TrafficSelector::Other(_) => false,
    })
}

fn carried(pairs: &[Selector], packet: &Packet) -> bool {
    pairs.iter().any(|pair| {
        (pair.protocol == 0 || pair.protocol == packet.protocol)
            && pair.office.contains(&packet.office)
            && pair.far.contains(&packet.far)
            && pair.office_ports.contains(&packet.office_port)
            && pair.far_ports.contains(&packet.far_port)
    })
}

fn is_within(range: (Ipv4Addr, Ipv4Addr), networks: &[Ipv4Network]) -> bool {
    ranges(networks).iter().any(|(start, end)| *start <= range.0 && range.1 <= *end)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_carried_was_asked_for_and_is_the_tenants_own_and_nothing_is_lost(
        office in prop::collection::vec(selector(), 1..5),
        far in prop::collection::vec(selector(), 1..5),
        own_office in prop::collection::vec(network(), 0..4),
        own_far in prop::collection::vec(network(), 0..4),
        packets in prop::collection::vec(packet(), 64),
    ) {
        let narrowed = narrow(&office, &far, &own_office, &own_far);
        let pairs = narrowed.as_ref().map_or(&[][..], |narrowed| &narrowed.pairs);
        prop_assert!(pairs.len() <= MAX_PAIRS);
        for pair in pairs {
            prop_assert!(is_within((*pair.office.start(), *pair.office.end()), &own_office));
            prop_assert!(is_within((*pair.far.start(), *pair.far.end()), &own_far));
        }
        for packet in &packets {
            let asked = asked_for(&office, packet.office, packet.protocol, packet.office_port)
                && asked_for(&far, packet.far, packet.protocol, packet.far_port);
            let own = own_office.iter().any(|net| net.contains(packet.office)) && own_far.iter().any(|net| net.contains(packet.far));
            let carried = carried(pairs, packet);
            prop_assert!(!carried || (asked && own), "carried, though not asked for or not the tenant's: {packet:?}");
            let complete = narrowed.as_ref().is_none_or(|narrowed| !narrowed.left_out);
            prop_assert!(carried || !(asked && own && complete), "lost: {packet:?}");
        }
    }

    #[test]
    fn what_is_answered_is_within_what_was_asked_for(
        office in prop::collection::vec(selector(), 1..40),
        far in prop::collection::vec(selector(), 1..40),
        own in prop::collection::vec(network(), 1..40),
    ) {
        let Some(narrowed) = narrow(&office, &far, &own, &own) else { return Ok(()) };
        prop_assert!(narrowed.pairs.len() <= MAX_PAIRS);
        for (answered, asked) in [(&narrowed.office, &office), (&narrowed.far, &far)] {
            for part in answered {
                let TrafficSelector::Ipv4(part) = part else { panic!("only IPv4 is answered") };
                let within = |whole: &TrafficSelector| matches!(whole, TrafficSelector::Ipv4(whole) if contains(whole, part));
                prop_assert!(asked.iter().any(within));
                prop_assert!(is_within((part.start, part.end), &own));
            }
        }
    }
}
