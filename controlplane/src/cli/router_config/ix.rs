//! NEC UNIVERGE IX: コマンドリファレンスマニュアル, IKEv2.

use super::{Plan, id_words};

pub(super) fn text(plan: &Plan<'_>) -> anyhow::Result<String> {
    const KINDS: [&str; 4] = ["fqdn", "", "ipv4", "keyid"];
    let (relay_kind, relay_id) = id_words(plan.relay_id, KINDS)?;
    let (router_kind, router_id) = id_words(plan.router_id, KINDS)?;
    let routes: String = plan.far.iter().map(|far| format!("ip route {far} Tunnel0.0\n")).collect();
    Ok(format!(
        "\
! {tenant} to the relay {relay}: NEC UNIVERGE IX
! GigaEthernet0.0 is taken for the line and GigaEthernet1.0 for the office: change both where yours are others.
! With NAPT on the line: ip napt static GigaEthernet0.0 udp 500, the same with udp 4500 and with 50.
{routes}!
ikev2 authentication psk id {relay_kind} {relay_id} key char {psk}
ikev2 authentication psk id {router_kind} {router_id} key char {psk}
!
ikev2 default-profile
  child-lifetime 3600
  child-pfs 2048-bit
  child-proposal enc aes-cbc-256
  child-proposal integrity sha2-256
  dpd interval 10
  local-authentication psk id {router_kind} {router_id}
  sa-lifetime 28800
  sa-proposal dh 2048-bit
  sa-proposal enc aes-cbc-256
  sa-proposal integrity sha2-256
  sa-proposal prf sha2-256
!
interface Tunnel0.0
  tunnel mode ipsec-ikev2
  ip unnumbered GigaEthernet1.0
  ip mtu {mtu}
  ip tcp adjust-mss {mss}
  ikev2 connect-type auto
  ikev2 ipsec pre-fragment
  ikev2 outgoing-interface GigaEthernet0.0 auto
  ikev2 peer {relay_address} authentication psk id {relay_kind} {relay_id}
  no shutdown
",
        tenant = plan.tenant,
        relay = plan.relay,
        relay_address = plan.relay_address,
        psk = plan.psk,
        mtu = plan.mtu,
        mss = plan.mss(),
    ))
}
