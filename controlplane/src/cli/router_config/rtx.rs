//! Yamaha RTX: コマンドリファレンス, chapter IPsec. As initiator it offers all its algorithms in one proposal and begins with MODP 1024
//! unless it is told otherwise (`proposal-limitation`), sends several requests at a time (`message-id-control`), and replaces CHILD SAs in
//! a way of its own (`child-exchange type`).

use super::{Plan, id_words};

pub(super) fn text(plan: &Plan<'_>) -> anyhow::Result<String> {
    const KINDS: [&str; 4] = ["fqdn", "user-fqdn", "ipv4-addr", "key-id"];
    let (relay_kind, relay_id) = id_words(plan.relay_id, KINDS)?;
    let (router_kind, router_id) = id_words(plan.router_id, KINDS)?;
    let local_address = plan.router_address.map_or_else(
        || "# ipsec ike local address 1 ...     the router's own address; behind a NAT its private one".to_owned(),
        |address| format!("ipsec ike local address 1 {address}"),
    );
    let routes: String = plan.far.iter().map(|far| format!("ip route {far} gateway tunnel 1\n")).collect();
    Ok(format!(
        "\
# {tenant} to the relay {relay}: Yamaha RTX
{routes}tunnel select 1
 ipsec tunnel 1
  ipsec sa policy 1 1 esp aes256-cbc sha256-hmac
  ipsec ike version 1 2
  ipsec ike always-on 1 on
  ipsec ike child-exchange type 1 2
  ipsec ike encryption 1 aes256-cbc
  ipsec ike group 1 modp2048
  ipsec ike hash 1 sha256
  ipsec ike duration ike-sa 1 28800
  ipsec ike duration child-sa 1 3600
  ipsec ike keepalive use 1 on rfc4306 10 3
  {local_address}
  ipsec ike local name 1 {router_id} {router_kind}
  ipsec ike message-id-control 1 on
  ipsec ike nat-traversal 1 on
  ipsec ike pre-shared-key 1 text {psk}
  ipsec ike proposal-limitation 1 on
  ipsec ike remote address 1 {relay_address}
  ipsec ike remote name 1 {relay_id} {relay_kind}
 ip tunnel mtu {mtu}
 ip tunnel tcp mss limit {mss}
 tunnel enable 1
ipsec auto refresh on
",
        tenant = plan.tenant,
        relay = plan.relay,
        relay_address = plan.relay_address,
        psk = plan.psk,
        mtu = plan.mtu,
        mss = plan.mss(),
    ))
}
