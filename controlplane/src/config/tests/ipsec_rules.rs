//! IPsec endpoints and tunnels: what is refused, in which words, and what five lines come to.

use std::time::Duration;

use super::super::*;
use super::fixture::{Fixture, NOTHING};

const RELAY: &str = "relay.yaml";
const CHIYODA: &str = "tenants/chiyoda.yaml";
const CHUO: &str = "tenants/chuo.yaml";

const CHIYODAS_WIREGUARD: &str = "{endpoint: tokyo-a, wireguard: {public_key: cmv0WGrx4tBWBd3XDRZl7p/YGXxCAK3VOSwVITAe8T8=}}";
const CHUOS_WIREGUARD: &str = "{endpoint: tokyo-a, wireguard: {public_key: cldwCmoem2WZLFIj14aLEpFgLyX53qqYzN0fgXi6bhs=}}";

/// Both tenants have an IPsec tunnel; `relay` stands in the endpoint's `ipsec` and `chuo` in its tunnel's, behind what is needed.
pub(super) fn ipsec(relay: &str, chuo: &str) -> Fixture {
    let fixture = Fixture::new()
        .edit(RELAY, "keys/relay.key}}\n", &format!("keys/relay.key}}}}\n  - {{name: ipsec, port: access, ipsec: {{{relay}}}}}\n"))
        .edit(CHIYODA, CHIYODAS_WIREGUARD, "{endpoint: ipsec, ipsec: {remote_id: chiyoda, psk_file: keys/a.psk}}")
        .edit(CHUO, CHUOS_WIREGUARD, &format!("\n    {{endpoint: ipsec, ipsec: {{remote_id: chuo, {chuo}}}}}"));
    fixture.write_key("keys/a.psk", "a long secret of Chiyoda", 0o600);
    fixture.write_key("keys/b.psk", "another one, of Chuo city", 0o600);
    fixture
}

const PSK: &str = "psk_file: keys/b.psk";

/// Problems of Chuo's tunnel without where they stand.
fn refused(chuo: &str) -> Vec<String> {
    ipsec("", chuo).problems().iter().map(|line| without_place(line)).collect()
}

fn without_place(line: &str) -> String {
    let (severity, rest) = line.split_once(": ").expect("a severity");
    let (_, rest) = rest.split_once(' ').expect("a place");
    format!("{severity}: {rest}")
}

fn chuo(fixture: &Fixture) -> (IpsecTunnel, u16) {
    let loaded = fixture.load(Purpose::Run);
    let relay = loaded.relay.unwrap_or_else(|| panic!("{:#?}", loaded.problems));
    let tunnel = relay.tenant("131024-chuo").expect("there").tunnels[0].clone();
    let TunnelKind::Ipsec(ipsec) = tunnel.kind else { panic!("no IPsec") };
    (*ipsec, tunnel.mtu)
}

#[test]
fn an_unknown_algorithm_is_named_with_what_it_may_have_meant() {
    let fixture = ipsec("", &format!("{PSK}, proposals: {{ike: aes265-sha256-modp2048, child: [aes256-sha256, foo-bar]}}"));
    assert_eq!(
        fixture.problems(),
        [
            "error: tenants/chuo.yaml:5:87 tunnels.main.ipsec.proposals.ike: unknown algorithm `aes265`",
            "error: tenants/chuo.yaml:5:134 tunnels.main.ipsec.proposals.child[1]: unknown algorithm `foo`",
            "error: tenants/chuo.yaml:5:134 tunnels.main.ipsec.proposals.child[1]: unknown algorithm `bar`",
        ]
    );
    assert_eq!(fixture.load(Purpose::Check).problems[0].help.as_deref(), Some("did you mean `aes256`?"));
}

#[test]
fn broken_algorithms_and_those_that_are_not_built_are_refused_with_the_reason() {
    let path = "tunnels.main.ipsec.proposals.ike";
    let weak = "is refused: broken or too short to protect residents' data";
    for (proposal, message) in [
        ("3des-sha256-modp2048", format!("error: {path}: `3des` {weak}")),
        ("aes256-md5-modp2048", format!("error: {path}: `md5` {weak}")),
        ("aes256-sha256-modp1024", format!("error: {path}: `modp1024` {weak}")),
        ("aes256-sha256-modp1024s160", format!("error: {path}: `modp1024s160` {weak}")),
        ("null-sha256-modp2048", format!("error: {path}: `null` is refused: no encryption at all")),
        (
            "chacha20poly1305-prfsha256-x25519",
            format!("error: {path}: `chacha20poly1305` is refused: not built: its place on the CRYPTREC list is unverified"),
        ),
    ] {
        assert_eq!(refused(&format!("{PSK}, proposals: {{ike: {proposal}}}")), [message]);
    }
}

#[test]
fn a_proposal_that_no_router_could_take_is_refused_with_what_it_lacks() {
    for (kind, proposal, message) in [
        ("ike", "sha256-modp2048", "`sha256-modp2048-prfsha256` names no encryption"),
        ("ike", "aes256-modp2048", "`aes256-modp2048` names no integrity algorithm for AES-CBC"),
        ("ike", "aes256-sha256", "`aes256-sha256-prfsha256` names no Diffie-Hellman group"),
        ("ike", "aes256gcm16-modp2048", "`aes256gcm16-modp2048` names no pseudorandom function"),
        ("ike", "aes256gcm16-aes256-sha256-modp2048", "`aes256gcm16-aes256-sha256-modp2048-prfsha256` mixes AES-GCM with AES-CBC"),
        ("child", "aes256gcm16-sha256", "`aes256gcm16-sha256` has an integrity algorithm beside AES-GCM, which has its own"),
        ("child", "aes256-sha256-prfsha256", "`aes256-sha256-prfsha256` has a pseudorandom function, which a CHILD SA does not negotiate"),
        ("child", "''", "unknown algorithm ``"),
    ] {
        let found = refused(&format!("{PSK}, proposals: {{{kind}: {proposal}}}"));
        assert_eq!(found, [format!("error: tunnels.main.ipsec.proposals.{kind}: {message}")]);
    }
}

#[test]
fn old_algorithms_need_a_dated_exception_and_cryptrec_takes_its_list_only() {
    let legacy = "proposals: {ike: aes128-sha1-modp1536}";
    let outside = |algorithm, policy| format!("error: tunnels.main.ipsec.proposals.ike: `{algorithm}` is outside crypto_policy `{policy}`");
    assert_eq!(refused(&format!("{PSK}, {legacy}")), [outside("sha1", "modern")]);
    let x25519 = "proposals: {ike: aes256gcm16-prfsha256-x25519}";
    assert_eq!(refused(&format!("{PSK}, {x25519}, crypto_policy: cryptrec")), [outside("x25519", "cryptrec")]);
    assert_eq!(refused(&format!("{PSK}, {x25519}")), NOTHING);
    assert_eq!(refused(&format!("{PSK}, {legacy}, peer: 198.51.100.7, crypto_policy: {{legacy-until: 2999-03-31}}")), NOTHING);
}

#[test]
fn old_algorithms_for_a_router_at_any_address_are_refused() {
    let message = "old algorithms for a router at any address: whoever calls would be offered them before it is known who calls";
    for peer in ["", ", peer: any"] {
        let found = refused(&format!("{PSK}{peer}, crypto_policy: {{legacy-until: 2999-03-31}}"));
        assert_eq!(found, [format!("error: tunnels.main.ipsec.crypto_policy: {message}")]);
    }
    let whole_tenant = ipsec("", PSK).edit(CHUO, "name: 中央区\n", "name: 中央区\ncrypto_policy: {legacy-until: 2999-03-31}\n");
    assert_eq!(whole_tenant.problems(), [format!("error: tenants/chuo.yaml:3:16 crypto_policy: {message}")]);
}

#[test]
fn an_exception_that_ended_is_a_warning_and_the_tunnel_stays() {
    let fixture = ipsec("", &format!("{PSK}, peer: 198.51.100.7, crypto_policy: {{legacy-until: 2024-03-31}}"));
    let found = fixture.problems();
    let message = "the exception ended on 2024-03-31: the policy is `modern` again";
    assert_eq!(found, [format!("warning: tenants/chuo.yaml:5:105 tunnels.main.ipsec.crypto_policy: {message}")]);
    let (tunnel, _) = chuo(&fixture);
    let end = tunnel.policy.legacy_ends_at_unix().expect("an end");
    assert_eq!(end, 1_711_897_200, "the first second of April 1st in Japan");
    assert!(tunnel.policy.is_legacy_at(end - 1) && !tunnel.policy.is_legacy_at(end));
}

#[test]
fn an_unknown_policy_and_one_for_everybody_that_is_an_exception() {
    let message = "expected cryptrec, modern or {legacy-until: DATE}, found `cryptec`";
    assert_eq!(refused(&format!("{PSK}, crypto_policy: cryptec")), [format!("error: tunnels.main.ipsec.crypto_policy: {message}")]);
    let relay_wide = ipsec("", PSK).edit(RELAY, "relay: tokyo-1\n", "relay: tokyo-1\ncrypto_policy: {legacy-until: 2999-03-31}\n");
    assert_eq!(
        relay_wide.problems(),
        ["error: relay.yaml:2:16 crypto_policy: old algorithms for everybody: they are an exception of one tenant, with an end"]
    );
}

#[test]
fn cryptrec_refuses_wireguard_by_construction() {
    let message = "WireGuard is outside crypto_policy `cryptrec`: its BLAKE2s and ChaCha20-Poly1305 are not on CRYPTREC's list";
    let own = Fixture::new().edit(CHUO, "name: 中央区\n", "name: 中央区\ncrypto_policy: cryptrec\n");
    assert_eq!(own.problems(), [format!("error: tenants/chuo.yaml:5:40 tunnels.main.wireguard: {message}")]);
    let relay_wide = Fixture::new().edit(RELAY, "relay: tokyo-1\n", "relay: tokyo-1\ncrypto_policy: cryptrec\n").edit(
        CHUO,
        "name: 中央区\n",
        "name: 中央区\ncrypto_policy: modern\n",
    );
    assert_eq!(
        relay_wide.problems(),
        [format!("error: tenants/chiyoda.yaml:4:40 tunnels.main.wireguard: {message}")],
        "a tenant's own policy goes before the relay's"
    );
}

#[test]
fn a_tunnel_is_never_weaker_than_its_tenants_cryptrec() {
    let fixture =
        ipsec("", &format!("{PSK}, crypto_policy: modern")).edit(CHUO, "name: 中央区\n", "name: 中央区\ncrypto_policy: cryptrec\n");
    assert_eq!(
        fixture.problems(),
        [
            "error: tenants/chuo.yaml:6:85 tunnels.main.ipsec.crypto_policy: a tunnel's policy `modern` is wider than its tenant's, which is `cryptrec`"
        ]
    );
}

#[test]
fn an_identity_names_one_tunnel_of_one_tenant_in_any_case_of_its_letters() {
    for same in ["chiyoda", "Chiyoda"] {
        let fixture = ipsec("", PSK).edit(CHUO, "remote_id: chuo", &format!("remote_id: {same}"));
        let message = format!("`{same}` is another tunnel's identity already at endpoint `ipsec`");
        assert_eq!(fixture.problems(), [format!("error: tenants/chuo.yaml:5:42 tunnels.main.ipsec.remote_id: {message}")]);
    }
    let spare = "\n  spare: {endpoint: ipsec, ipsec: {remote_id: chuo, psk_file: keys/c.psk}}\noffice:";
    let fixture = ipsec("", PSK).edit(CHUO, "\noffice:", spare);
    fixture.write_key("keys/c.psk", "a third secret, quite long", 0o600);
    let message = "`chuo` is another tunnel's identity already at endpoint `ipsec`";
    assert_eq!(fixture.problems(), [format!("error: tenants/chuo.yaml:6:47 tunnels.spare.ipsec.remote_id: {message}")]);
}

#[test]
fn the_relays_own_identity_is_no_peers() {
    let fixture = ipsec("local_id: relay.example.jp", PSK).edit(CHUO, "remote_id: chuo", "remote_id: Relay.example.jp");
    assert_eq!(
        fixture.problems(),
        ["error: tenants/chuo.yaml:5:42 tunnels.main.ipsec.remote_id: `Relay.example.jp` is the relay's own identity"]
    );
}

#[test]
fn an_identity_is_what_it_looks_like() {
    let identity = |text: &str| chuo(&ipsec("", PSK).edit(CHUO, "remote_id: chuo", &format!("remote_id: '{text}'"))).0.remote_id;
    assert_eq!(identity("router-1.chuo.lg.jp"), Identity::Fqdn("router-1.chuo.lg.jp".into()));
    assert_eq!(identity("131024"), Identity::Fqdn("131024".into()));
    assert_eq!(identity("router@chuo.lg.jp"), Identity::Email("router@chuo.lg.jp".into()));
    assert_eq!(identity("198.51.100.7"), Identity::Ipv4([198, 51, 100, 7].into()));
    assert_eq!(identity("keyid:chuo"), Identity::KeyId(b"chuo".to_vec()));
    assert_eq!(identity("keyid:0x00fF"), Identity::KeyId(vec![0, 255]));
    assert_eq!(identity("keyid:0x00fF").to_string(), "keyid:0x00ff");
    assert!(
        matches!(identity("C=JP, O=中央区, CN=router"), Identity::DistinguishedName(name) if name.to_string() == "C=JP, O=中央区, CN=router")
    );
}

#[test]
fn what_is_no_identity_is_refused() {
    let long = "x".repeat(256);
    for text in
        ["", "198.51.100", "a b", "@chuo", "chuo@", "a@b@c", "keyid:", "keyid:0x0", "keyid:0xzz", "CN=", "中央区", "-chuo", "a..b", &long]
    {
        let fixture = ipsec("", PSK).edit(CHUO, "remote_id: chuo", &format!("remote_id: '{text}'"));
        let found = fixture.problems();
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains("an identity"), "{text}: {}", found[0]);
    }
    let number = ipsec("", PSK).edit(CHUO, "remote_id: chuo", "remote_id: 131024");
    let problem = &number.load(Purpose::Check).problems[0];
    assert_eq!(problem.help.as_deref(), Some("put it in quotes if it is meant as text"));
}

#[test]
fn two_kinds_or_none_in_one_place() {
    let both = ipsec("", PSK).edit(CHUO, "ipsec: {", "wireguard: {public_key: cldwCmoem2WZLFIj14aLEpFgLyX53qqYzN0fgXi6bhs=}, ipsec: {");
    assert_eq!(both.problems(), ["error: tenants/chuo.yaml:5:5 tunnels.main: has both `wireguard` and `ipsec`"]);
    let none = Fixture::new().edit(CHUO, CHUOS_WIREGUARD, "{endpoint: tokyo-a}");
    assert_eq!(none.problems(), ["error: tenants/chuo.yaml:4:9 tunnels.main: names neither `wireguard` nor `ipsec`"]);
    let endpoint = Fixture::new().edit(RELAY, ", wireguard: {listen: 51820, private_key_file: keys/relay.key}", "");
    assert_eq!(endpoint.problems(), ["error: relay.yaml:6:5 endpoints[0]: names neither `wireguard` nor `ipsec`"]);
}

#[test]
fn a_tunnel_and_its_endpoint_are_of_one_kind() {
    let fixture = ipsec("", PSK).edit(CHUO, "endpoint: ipsec", "endpoint: tokyo-a");
    let message = "endpoint `tokyo-a` has no `ipsec`: it is for `wireguard` tunnels";
    assert_eq!(fixture.problems(), [format!("error: tenants/chuo.yaml:5:16 tunnels.main.endpoint: {message}")]);
    let fixture = ipsec("", PSK).edit(
        CHUO,
        "{endpoint: ipsec, ipsec: {remote_id: chuo, psk_file: keys/b.psk}}",
        &CHUOS_WIREGUARD.replace("tokyo-a", "ipsec"),
    );
    let message = "endpoint `ipsec` has no `wireguard`: it is for `ipsec` tunnels";
    assert_eq!(fixture.problems(), [format!("error: tenants/chuo.yaml:5:16 tunnels.main.endpoint: {message}")]);
}

#[test]
fn one_port_has_one_ipsec_endpoint_and_its_udp_ports_are_taken() {
    let second = "  - {name: again, port: access, ipsec: {}}\nshared_addresses";
    let fixture = ipsec("", PSK).edit(RELAY, "shared_addresses", second);
    let message = "port `access` has an IPsec endpoint already: both would be at UDP 500 and 4500 of one address";
    assert_eq!(fixture.problems(), [format!("error: relay.yaml:8:25 endpoints[2].port: {message}")]);
    for port in [500, 4_500] {
        let fixture = ipsec("", PSK).edit(RELAY, "listen: 51820", &format!("listen: {port}"));
        let message = format!("UDP port {port} is IPsec's on port `access`");
        assert_eq!(fixture.problems(), [format!("error: relay.yaml:6:55 endpoints[0].wireguard.listen: {message}")]);
    }
}

#[test]
fn an_ipsec_endpoint_needs_an_address_and_an_mtu_that_leaves_room() {
    let fixture = ipsec("", PSK).edit(RELAY, "ipsec, port: access", "ipsec, port: aws");
    assert_eq!(fixture.problems(), ["error: relay.yaml:7:25 endpoints[1].port: port `aws` has no address for tunnels to end at"]);
    let fixture = ipsec("", PSK).edit(RELAY, "gateway: 192.0.2.254}", "gateway: 192.0.2.254, mtu: 675}");
    assert_eq!(fixture.problems(), ["error: relay.yaml:3:79 ports.access.mtu: an MTU of 675 cannot carry the tunnels of endpoint `ipsec`"]);
    let fixture = ipsec("", PSK).edit(RELAY, "gateway: 192.0.2.254}", "gateway: 192.0.2.254, mtu: 676}");
    assert_eq!((fixture.problems(), chuo(&fixture).1), (vec![], 590), "what an MTU of 576 needs has its padding used");
}

#[test]
fn the_default_mtu_is_what_the_largest_cipher_leaves() {
    let mtu = |more: &str| chuo(&ipsec("", &format!("{PSK}{more}"))).1;
    assert_eq!(mtu(""), 1_406);
    assert_eq!(mtu(", proposals: {child: aes256gcm16}"), 1_438);
    assert_eq!(mtu(", proposals: {child: [aes256gcm16, aes256-sha256]}"), 1_422);
    assert_eq!(mtu(", proposals: {ike: aes256-sha256-modp2048}"), 1_406);
}

#[test]
fn an_mtu_that_does_not_fit_the_largest_cipher() {
    let fixture = ipsec("", PSK).edit(CHUO, "{endpoint: ipsec,", "{endpoint: ipsec, mtu: 1407,");
    assert_eq!(
        fixture.problems(),
        ["error: tenants/chuo.yaml:5:28 tunnels.main.mtu: a tunnel MTU of 1407 does not fit the endpoint's port"]
    );
}

#[test]
fn a_peer_at_the_relays_own_address_and_one_that_is_no_address() {
    assert_eq!(refused(&format!("{PSK}, peer: 192.0.2.1")), ["error: tunnels.main.ipsec.peer: 192.0.2.1 is the relay's own address"]);
    let found = refused(&format!("{PSK}, peer: '198.51.100.7:500'"));
    assert_eq!(found, ["error: tunnels.main.ipsec.peer: expected an IPv4 address such as 192.0.2.1, found `198.51.100.7:500`"]);
}

#[test]
fn lifetimes_out_of_bounds_and_times_that_are_for_tests() {
    let found = refused(&format!("{PSK}, dpd: 4, lifetimes: {{ike: 86401, child: 4}}"));
    assert_eq!(
        found,
        [
            "error: tunnels.main.ipsec.dpd: 4 is out of range: the time in seconds after which a silent peer is asked is 5 to 3600",
            "error: tunnels.main.ipsec.lifetimes.ike: 86401 is out of range: the life of an IKE SA in seconds is 10 to 86400",
            "error: tunnels.main.ipsec.lifetimes.child: 4 is out of range: the life of a CHILD SA in seconds is 5 to 86400",
        ]
    );
    let found = refused(&format!("{PSK}, lifetimes: {{child: 12}}"));
    assert_eq!(
        found,
        ["warning: tunnels.main.ipsec.lifetimes.child: a life of 12 s is for tests: each rekey costs both ends a key exchange"]
    );
}

#[test]
fn somebody_must_prove_who_they_are_in_one_way() {
    let path = "tunnels.main.ipsec";
    assert_eq!(refused("dpd: 10"), [format!("error: {path}: has no way to prove who is who")]);
    assert_eq!(refused("certificate: false"), [format!("error: {path}: has no way to prove who is who")]);
    assert_eq!(refused(&format!("{PSK}, certificate: true")), [format!("error: {path}: has both `psk_file` and `certificate: true`")]);
    let found = refused(&format!("{PSK}, authorities_file: ca.pem"));
    assert_eq!(found[0], format!("error: {path}.authorities_file: authorities are for certificates, and this tunnel has none"));
    assert_eq!(
        refused("certificate: true"),
        [
            format!("error: {path}: the endpoint `ipsec` has no certificate to prove the relay with"),
            format!("error: {path}: names no authorities whose certificates are believed"),
        ]
    );
}

#[test]
fn a_certificate_without_its_key_and_a_key_without_its_certificate() {
    let found = |relay: &str| ipsec(relay, PSK).problems().iter().map(|line| without_place(line)).collect::<Vec<_>>();
    let path = "endpoints[1].ipsec";
    assert_eq!(
        found("certificate_file: r.pem"),
        [format!("error: {path}.certificate_file: `certificate_file` without `private_key_file`")]
    );
    assert_eq!(
        found("private_key_file: r.key"),
        [format!("error: {path}.private_key_file: `private_key_file` without `certificate_file`")]
    );
}

#[test]
fn five_lines_get_the_defaults_that_a_routers_document_names() {
    let (tunnel, mtu) = chuo(&ipsec("", PSK));
    assert_eq!(tunnel.local_id, Identity::Ipv4([192, 0, 2, 1].into()), "the port's own address, as routers expect it");
    assert_eq!(tunnel.remote_id, Identity::Fqdn("chuo".into()));
    assert_eq!((tunnel.peer, tunnel.initiate, tunnel.policy), (PeerAddress::Any, Initiate::OnDemand, CryptoPolicy::Modern));
    assert_eq!([tunnel.dpd, tunnel.ike_lifetime, tunnel.child_lifetime], [30, 28_800, 3_600].map(Duration::from_secs));
    assert_eq!((tunnel.proposals, tunnel.encapsulation, mtu), (None, Encapsulation::Auto, 1_406));
    let (fixed, _) = chuo(&ipsec("local_id: relay.example.jp", &format!("{PSK}, peer: 198.51.100.7")));
    assert_eq!((fixed.initiate, fixed.local_id), (Initiate::Always, Identity::Fqdn("relay.example.jp".into())));
}

#[test]
fn the_preferred_tunnel_is_the_first() {
    let spare =
        "\n  spare: {endpoint: tokyo-a, wireguard: {public_key: cldwCmoem2WZLFIj14aLEpFgLyX53qqYzN0fgXi6bhs=}}\nprefer: spare\noffice:";
    let fixture = ipsec("", PSK).edit(CHUO, "\noffice:", spare);
    let relay = fixture.load(Purpose::Run).relay.expect("valid");
    let names: Vec<&str> = relay.tenant("131024-chuo").expect("there").tunnels.iter().map(|tunnel| tunnel.name.as_str()).collect();
    assert_eq!(names, ["spare", "main"]);
    let fixture = fixture.edit(CHUO, "prefer: spare", "prefer: spar");
    assert_eq!(fixture.problems(), ["error: tenants/chuo.yaml:7:9 prefer: there is no tunnel `spar`"]);
}

#[test]
fn more_office_prefixes_than_an_sa_carries_are_refused_and_neighbours_count_as_one() {
    let office = |step: u32| {
        let list: Vec<String> = (0..33_u32).map(|n| format!("172.16.{}.0/24", n * step)).collect();
        ipsec("", PSK).edit(CHUO, "office: {mynumber: [198.51.100.16/29]}", &format!("office: {{mynumber: [{}]}}", list.join(", ")))
    };
    let found = office(2).problems();
    assert_eq!(
        found,
        ["error: tenants/chuo.yaml:5:30 tunnels.main.ipsec: the tenant has 33 office prefixes, and an SA carries 32 at most"]
    );
    assert_eq!(office(1).problems(), NOTHING, "32 neighbours and one more");
}
