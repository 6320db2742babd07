//! Fortinet FortiGate: FortiOS CLI Reference. Each pair of prefixes is a phase 2 of its own.

use std::fmt::Write as _;

use anyhow::ensure;
use dataplane::tunnel::esp::sa::MAX_PAIRS;

use super::{Plan, id_words};

/// Phase 2s of one tunnel: the relay holds each beside its successor when all of them are rekeyed together.
const MOST_PHASE2: usize = MAX_PAIRS / 2;

pub(super) fn text(plan: &Plan<'_>) -> anyhow::Result<String> {
    let phase2s = plan.office.len() * plan.far.len();
    ensure!(
        phase2s <= MOST_PHASE2,
        "a FortiGate needs a phase 2 for each office prefix with each prefix of the services, which makes {phase2s}; the relay holds \
         {MOST_PHASE2} of one tunnel: give the services neighbouring addresses, or the office one larger prefix"
    );
    // Its kinds are words of `localid-type`; it compares the peer's identity as text, whatever its kind.
    let (router_kind, router_id) = id_words(plan.router_id, ["fqdn", "user-fqdn", "address", "keyid"])?;
    let (_, relay_id) = id_words(plan.relay_id, ["fqdn", "user-fqdn", "address", "keyid"])?;
    let mut phase2 = String::new();
    for (number, (office, far)) in (1..).zip(plan.pairs()) {
        write!(
            phase2,
            "    edit \"chukei-{number}\"
        set phase1name \"chukei\"
        set proposal aes256-sha256
        set pfs disable
        set auto-negotiate enable
        set keylifeseconds 3600
        set src-subnet {} {}
        set dst-subnet {} {}
    next
",
            office.network(),
            office.mask(),
            far.network(),
            far.mask()
        )?;
    }
    let routes: String = plan
        .far
        .iter()
        .map(|far| format!("    edit 0\n        set dst {} {}\n        set device \"chukei\"\n    next\n", far.network(), far.mask()))
        .collect();
    Ok(format!(
        "\
# {tenant} to the relay {relay}: FortiGate
# \"wan1\" is taken for the line and \"internal\" for the office: change both where yours are others.
config vpn ipsec phase1-interface
    edit \"chukei\"
        set interface \"wan1\"
        set ike-version 2
        set peertype one
        set peerid \"{relay_id}\"
        set net-device disable
        set proposal aes256-sha256
        set dhgrp 14
        set keylife 28800
        set localid-type {router_kind}
        set localid \"{router_id}\"
        set nattraversal enable
        set dpd on-idle
        set dpd-retryinterval 10
        set remote-gw {relay_address}
        set psksecret {psk}
    next
end
config vpn ipsec phase2-interface
{phase2}end
config system interface
    edit \"chukei\"
        set mtu-override enable
        set mtu {mtu}
    next
end
config router static
{routes}end
config firewall policy
    edit 0
        set name \"chukei-out\"
        set srcintf \"internal\"
        set dstintf \"chukei\"
        set srcaddr \"all\"
        set dstaddr \"all\"
        set action accept
        set schedule \"always\"
        set service \"ALL\"
        set tcp-mss-sender {mss}
        set tcp-mss-receiver {mss}
    next
    edit 0
        set name \"chukei-in\"
        set srcintf \"chukei\"
        set dstintf \"internal\"
        set srcaddr \"all\"
        set dstaddr \"all\"
        set action accept
        set schedule \"always\"
        set service \"ALL\"
        set tcp-mss-sender {mss}
        set tcp-mss-receiver {mss}
    next
end
",
        tenant = plan.tenant,
        relay = plan.relay,
        relay_address = plan.relay_address,
        psk = plan.psk,
        mtu = plan.mtu,
        mss = plan.mss(),
    ))
}
