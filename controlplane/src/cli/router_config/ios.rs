//! Cisco IOS-XE: Security and VPN Configuration Guide. A virtual tunnel interface with the traffic selectors of an access list, which
//! releases before 16.12 do not have.

use std::fmt::Write as _;

use super::{Plan, id_words};

pub(super) fn text(plan: &Plan<'_>) -> anyhow::Result<String> {
    const KINDS: [&str; 4] = ["fqdn", "email", "address", "key-id"];
    let (relay_kind, relay_id) = id_words(plan.relay_id, KINDS)?;
    let (router_kind, router_id) = id_words(plan.router_id, KINDS)?;
    let mut selectors = String::new();
    for (office, far) in plan.pairs() {
        let (office_wildcard, far_wildcard) = (wildcard(office.mask()), wildcard(far.mask()));
        writeln!(selectors, " permit ip {} {office_wildcard} {} {far_wildcard}", office.network(), far.network())?;
    }
    let routes: String = plan.far.iter().map(|far| format!("ip route {} {} Tunnel1\n", far.network(), far.mask())).collect();
    let relay_mask = if relay_kind == "address" { " 255.255.255.255" } else { "" };
    Ok(format!(
        "\
! {tenant} to the relay {relay}: Cisco IOS-XE 16.12 or later
! GigabitEthernet0/0/0 is taken for the line and GigabitEthernet0/0/1 for the office: change both where yours are others.
crypto ikev2 proposal CHUKEI
 encryption aes-cbc-256
 integrity sha256
 group 14
crypto ikev2 policy CHUKEI
 proposal CHUKEI
crypto ikev2 keyring CHUKEI
 peer RELAY
  address {relay_address}
  pre-shared-key {psk}
crypto ikev2 profile CHUKEI
 match identity remote {relay_kind} {relay_id}{relay_mask}
 identity local {router_kind} {router_id}
 authentication remote pre-share
 authentication local pre-share
 keyring local CHUKEI
 lifetime 28800
 dpd 10 3 periodic
crypto ipsec transform-set CHUKEI esp-aes 256 esp-sha256-hmac
 mode tunnel
ip access-list extended CHUKEI
{selectors}crypto ipsec profile CHUKEI
 set security-association lifetime seconds 3600
 set transform-set CHUKEI
 set ikev2-profile CHUKEI
interface Tunnel1
 ip unnumbered GigabitEthernet0/0/1
 ip mtu {mtu}
 ip tcp adjust-mss {mss}
 tunnel source GigabitEthernet0/0/0
 tunnel mode ipsec ipv4
 tunnel destination {relay_address}
 tunnel protection ipsec policy ipv4 CHUKEI
 tunnel protection ipsec profile CHUKEI
{routes}",
        tenant = plan.tenant,
        relay = plan.relay,
        relay_address = plan.relay_address,
        psk = plan.psk,
        mtu = plan.mtu,
        mss = plan.mss(),
    ))
}

fn wildcard(mask: std::net::Ipv4Addr) -> std::net::Ipv4Addr {
    (!mask.to_bits()).into()
}
