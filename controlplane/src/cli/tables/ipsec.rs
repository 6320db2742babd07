//! What stands below the row of an IPsec tunnel, and the last negotiation with a router.

use time::OffsetDateTime;

use super::{age, at, escaped, number};
use crate::api::rows::{Answer, IkeErrorRow, IpsecRow, IpsecSaRow, NegotiationRow, TunnelRow};

/// Lines that keep to the width of a screen; `--json` has everything.
pub(super) fn lines(now: OffsetDateTime, row: &TunnelRow) -> Vec<String> {
    let Some(ipsec) = &row.ipsec else { return Vec::new() };
    let mut lines = Vec::new();
    if let Some(suite) = &ipsec.suite {
        lines.push(ike_line(now, ipsec, suite));
    }
    lines.extend(ipsec.sas.iter().map(|sa| sa_line(now, sa)));
    if let (Some(next), None) = (ipsec.next_try, &ipsec.suite) {
        lines.push(format!("IKE {}; the relay calls again in {}", ipsec.phase, age(next, now)));
    }
    if let Some(error) = ipsec.last_error.as_ref().filter(|_| row.state == "up") {
        lines.push(format!("last error {} ago: {}", age(now, error.at), error.words));
        lines.push(format!("  {}", error.remedy));
    }
    lines
}

fn ike_line(now: OffsetDateTime, ipsec: &IpsecRow, suite: &str) -> String {
    let nat = match ipsec.nat.as_deref() {
        Some("peer") => ", NAT at the peer",
        Some("relay") => ", NAT at the relay",
        Some("both") => ", NAT at both ends",
        _ => "",
    };
    let psk = ipsec.psk.as_ref().map(|psk| format!(", {psk} key")).unwrap_or_default();
    format!("IKE {suite} ({}){nat}{psk}{}", ipsec.policy, rekey(now, ipsec.rekey_at))
}

fn sa_line(now: OffsetDateTime, sa: &IpsecSaRow) -> String {
    let encapsulation = if sa.encapsulation == "udp" { "in UDP" } else { "protocol 50" };
    let (inbound, outbound) = (number(sa.office_to_cloud.bytes), number(sa.cloud_to_office.bytes));
    let use_now = if sa.in_use { "" } else { ", not used to send" };
    let spis = format!("SPI in {} ({inbound} bytes), out {} ({outbound} bytes)", sa.inbound_spi, sa.outbound_spi);
    format!("ESP {} {encapsulation}, {spis}{}{use_now}", sa.suite, rekey(now, Some(sa.rekey_at)))
}

fn rekey(now: OffsetDateTime, at: Option<OffsetDateTime>) -> String {
    at.map(|at| format!(", rekey in {}", age(at, now))).unwrap_or_default()
}

/// The last negotiations, each as a paragraph.
pub(in crate::cli) fn negotiations(answer: &Answer<NegotiationRow>) -> String {
    answer.rows.iter().map(|row| paragraph(answer.now, row)).collect::<Vec<_>>().join("\n\n")
}

fn paragraph(now: OffsetDateTime, row: &NegotiationRow) -> String {
    let whose = match (&row.tenant, &row.tunnel) {
        (Some(tenant), Some(tunnel)) => format!("{tenant} {tunnel}"),
        (None, Some(tunnel)) => tunnel.clone(),
        _ => "nobody's as far as is known".to_owned(),
    };
    let mut lines = vec![
        format!("{} with {}, opened by the {}, {} ago ({})", whose, row.address, row.opened_by, age(now, row.at), at(row.at)),
        format!("  claims to be    {}", row.claimed.as_deref().unwrap_or("- (it did not say)")),
    ];
    let lists = [
        ("IKE proposed", &row.proposed),
        ("IKE accepted", &row.accepted),
        ("ESP proposed", &row.child_proposed),
        ("ESP accepted", &row.child_accepted),
        ("selectors", &row.selectors_proposed),
        ("steps", &row.steps),
    ];
    for (title, list) in lists {
        for (index, item) in list.iter().enumerate() {
            lines.push(format!("  {:<15} {item}", if index == 0 { title } else { "" }));
        }
    }
    lines.extend(row.error.as_ref().map(error_lines).into_iter().flatten());
    // Identities and error texts come from whoever called: none may move the cursor.
    lines.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("\n")
}

fn error_lines(error: &IkeErrorRow) -> [String; 2] {
    [format!("  failed          {} ({})", error.words, error.reason), format!("  remedy          {}", error.remedy)]
}
