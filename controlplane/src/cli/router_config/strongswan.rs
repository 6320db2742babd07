//! strongSwan: swanctl.conf.

use ipnetwork::Ipv4Network;

use super::Plan;
use crate::config::Identity;

pub(super) fn text(plan: &Plan<'_>) -> String {
    let list = |prefixes: &[Ipv4Network]| prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (router_id, relay_id) = (id(plan.router_id), id(plan.relay_id));
    let local_address = plan.router_address.map(|address| format!("\n    local_addrs = {address}")).unwrap_or_default();
    format!(
        "\
# {tenant} to the relay {relay}: strongSwan, /etc/swanctl/conf.d/chukei.conf
# The kernel clamps TCP segments: iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -d {destinations} -j TCPMSS --set-mss {mss}
connections {{
  chukei {{
    version = 2{local_address}
    remote_addrs = {relay_address}
    proposals = aes256gcm16-prfsha384-ecp384, aes256-sha256-modp2048
    rekey_time = 8h
    dpd_delay = 10s
    local {{
      auth = psk
      id = {router_id}
    }}
    remote {{
      auth = psk
      id = {relay_id}
    }}
    children {{
      office {{
        local_ts = {office}
        remote_ts = {far}
        esp_proposals = aes256gcm16, aes256-sha256
        rekey_time = 1h
        start_action = trap
        dpd_action = restart
      }}
    }}
  }}
}}
secrets {{
  ike-chukei {{
    id-1 = {router_id}
    id-2 = {relay_id}
    secret = \"{psk}\"
  }}
}}
",
        tenant = plan.tenant,
        relay = plan.relay,
        relay_address = plan.relay_address,
        office = list(plan.office),
        far = list(plan.far),
        destinations = list(plan.far).replace(", ", ","),
        psk = plan.psk,
        mss = plan.mss(),
    )
}

/// Words with a prefix are never taken for another kind of identity.
fn id(identity: &Identity) -> String {
    match identity {
        Identity::Fqdn(name) => format!("fqdn:{name}"),
        Identity::Email(name) => format!("email:{name}"),
        Identity::Ipv4(address) => address.to_string(),
        Identity::KeyId(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("@#{hex}")
        }
        Identity::DistinguishedName(name) => format!("\"{name}\""),
    }
}
