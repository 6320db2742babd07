//! The API's answers as tables. Ages are computed against the relay's own clock, so that a wrong clock here shows no wrong age.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use std::time::Duration;
use time::OffsetDateTime;

use crate::api::rows::{Answer, DropRow, IsolationRow, NeighborRow, PortRow, SessionRow, TenantRow, TunnelRow};
use crate::clock::in_words;
use crate::config::rate_in_words;
use crate::doctor::Finding;
use crate::logging::escaped;

/// A table; columns whose heading ends in a blank are numbers and stand at the right.
fn table<const N: usize>(headings: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.map(str::trim_end));
    for row in rows {
        // Names come from files and reasons from people: neither may move the cursor.
        table.add_row(row.map(|cell| escaped(&cell)));
    }
    for (column, heading) in table.column_iter_mut().zip(headings) {
        column.set_padding((0, 2));
        if heading.ends_with(' ') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// A table whose rows each have a sentence below them: beside them it would be wider than a screen.
fn noted<const N: usize>(headings: [&str; N], rows: impl Iterator<Item = ([String; N], String)>) -> String {
    with_lines(headings, rows.map(|(row, note)| (row, vec![note])))
}

/// A table whose rows each have lines below them.
fn with_lines<const N: usize>(headings: [&str; N], rows: impl Iterator<Item = ([String; N], Vec<String>)>) -> String {
    let (rows, notes): (Vec<_>, Vec<_>) = rows.unzip();
    let mut lines: Vec<String> = Vec::with_capacity(rows.len() * 2);
    let drawn = table(headings, rows.into_iter());
    let notes = std::iter::once(Vec::new()).chain(notes);
    for (line, notes) in drawn.lines().zip(notes) {
        lines.push(line.to_owned());
        lines.extend(notes.iter().filter(|note| !note.is_empty()).map(|note| format!("    {}", escaped(note))));
    }
    lines.join("\n")
}

fn age(now: OffsetDateTime, then: OffsetDateTime) -> String {
    in_words(Duration::try_from(now - then).unwrap_or_default())
}

/// A moment in whole seconds, with its offset.
fn at(moment: OffsetDateTime) -> String {
    let whole = moment.to_offset(crate::clock::JAPAN).replace_nanosecond(0).unwrap_or(moment);
    whole.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

fn ago(now: OffsetDateTime, then: Option<OffsetDateTime>) -> String {
    then.map_or_else(|| "never".to_owned(), |then| age(now, then) + " ago")
}

fn dash(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or("-").to_owned()
}

/// 1,234,567 is easier to read than 1234567.
fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn tenants(answer: &Answer<TenantRow>) -> String {
    let headings = [
        "TENANT",
        "NAME",
        "TUNNELS UP ",
        "SESSIONS ",
        "PORTS ",
        "PACKETS TO CLOUD ",
        "PACKETS TO OFFICE ",
        "DROPPED ",
        "RATE",
        "QUEUED ",
        "THROTTLED ",
        "ISOLATED",
    ];
    let row = |row: &TenantRow| {
        [
            row.tenant.clone(),
            row.name.clone(),
            format!("{}/{}", row.tunnels_up, row.tunnels_configured),
            format!("{}/{}", number(row.sessions), number(row.sessions_limit)),
            format!("{}/{}", number(row.ports), number(row.ports_limit)),
            number(row.office_to_cloud.packets),
            number(row.cloud_to_office.packets),
            number(row.dropped_packets),
            rate(row),
            number(row.queued_packets),
            number(row.throttled_packets),
            dash(Some(&row.isolated.join(", "))),
        ]
    };
    table(headings, answer.rows.iter().map(row))
}

/// `50Mbit..500Mbit`, with an open end where the file names one of the two.
fn rate(row: &TenantRow) -> String {
    let words = |bits: Option<u64>| bits.map(rate_in_words).unwrap_or_default();
    match (row.rate_guaranteed_bits, row.rate_ceiling_bits) {
        (None, None) => "-".to_owned(),
        (guaranteed, ceiling) => format!("{}..{}", words(guaranteed), words(ceiling)),
    }
}

pub(super) fn tunnels(answer: &Answer<TunnelRow>) -> String {
    let headings = ["TENANT", "TUNNEL", "KIND", "STATE", "SINCE", "PEER", "HANDSHAKE", "HEARD", "BYTES TO CLOUD ", "BYTES TO OFFICE "];
    let row = |row: &TunnelRow| {
        [
            row.tenant.clone(),
            row.tunnel.clone(),
            row.kind.clone(),
            row.state.clone(),
            age(answer.now, row.since),
            row.peer.map_or_else(|| "-".to_owned(), |peer| peer.to_string()),
            ago(answer.now, row.last_handshake),
            ago(answer.now, row.last_heard),
            number(row.office_to_cloud.bytes),
            number(row.cloud_to_office.bytes),
        ]
    };
    let below = |row: &TunnelRow| [vec![row.reason.clone(), part(answer, row)], ipsec::lines(answer.now, row)].concat();
    with_lines(headings, answer.rows.iter().map(|each| (row(each), below(each))))
}

/// What a tunnel carries to the office, where its tenant has another one.
fn part(answer: &Answer<TunnelRow>, row: &TunnelRow) -> String {
    if answer.rows.iter().filter(|other| other.tenant == row.tenant).count() < 2 {
        return String::new();
    }
    match row.carries.as_str() {
        "everything" => "carries everything to the office",
        "answers+rest" => "carries to the office the answers to what came by it, and what the cloud begins",
        "answers" => "carries to the office the answers to what came by it",
        "standby" => "stands by: a tunnel that comes before it is up",
        _ => "",
    }
    .to_owned()
}

pub(super) fn sessions(answer: &Answer<SessionRow>) -> String {
    let headings = ["TENANT", "CLASS", "PROTO", "RULE", "OPENED BY", "STATE", "AGE", "EXPIRES IN", "BYTES "];
    let host = |(address, port): (std::net::Ipv4Addr, u16)| format!("{address}:{port}");
    let row = |row: &SessionRow| {
        [
            row.tenant.clone(),
            row.class.clone(),
            row.protocol.clone(),
            format!("{} ({})", row.rule, row.cloud),
            row.opened_by.clone(),
            row.state.clone(),
            age(answer.now, row.opened),
            age(row.expires, answer.now),
            number(row.office_to_cloud.bytes + row.cloud_to_office.bytes),
        ]
    };
    let hosts = |row: &SessionRow| {
        let (office, office_remote) = (host(row.office), host(row.office_remote));
        format!("at the office {office} <-> {office_remote}, in the cloud {} <-> {}", host(row.cloud_local), host(row.cloud_remote))
    };
    noted(headings, answer.rows.iter().map(|each| (row(each), hosts(each))))
}

pub(super) fn neighbors(answer: &Answer<NeighborRow>) -> String {
    let row = |row: &NeighborRow| {
        [
            row.port.clone(),
            row.vlan.clone(),
            dash(row.tenant.as_deref()),
            row.address.to_string(),
            dash(row.mac.as_deref()),
            row.state.clone(),
            ago(answer.now, row.answered),
        ]
    };
    table(["PORT", "VLAN", "TENANT", "ADDRESS", "MAC", "STATE", "ANSWERED"], answer.rows.iter().map(row))
}

pub(super) fn drops(answer: &Answer<DropRow>) -> String {
    let row = |row: &DropRow| {
        [dash(row.tenant.as_deref()), dash(row.port.as_deref()), row.stage.clone(), row.reason.clone(), number(row.packets)]
    };
    noted(["TENANT", "PORT", "STAGE", "REASON", "PACKETS "], answer.rows.iter().map(|each| (row(each), each.help.clone())))
}

pub(super) fn ports(answer: &Answer<PortRow>) -> String {
    let headings =
        ["PORT", "INTERFACE", "DRIVER", "MODE", "MAC", "MTU ", "RECEIVED ", "TRANSMITTED ", "DROPPED ", "LOST BY NIC ", "WHY THIS DRIVER"];
    let row = |row: &PortRow| {
        [
            row.port.clone(),
            row.interface.clone(),
            row.driver.clone(),
            row.mode.clone(),
            row.mac.clone(),
            row.mtu.to_string(),
            number(row.received.packets),
            number(row.transmitted.packets),
            number(row.dropped_packets),
            number(row.nic_receive_lost),
            row.reason.clone(),
        ]
    };
    table(headings, answer.rows.iter().map(row))
}

pub(super) fn isolations(answer: &Answer<IsolationRow>) -> String {
    let row = |IsolationRow { isolation: row, matches }: &IsolationRow| {
        [
            row.scope.tenant.clone(),
            dash(row.scope.class.as_deref()),
            dash(row.scope.service.as_deref()),
            if *matches { "yes" } else { "nothing" }.to_owned(),
            row.by.clone(),
            at(row.at),
            age(answer.now, row.at),
        ]
    };
    noted(
        ["TENANT", "CLASS", "SERVICE", "MATCHES", "BY", "AT", "FOR"],
        answer.rows.iter().map(|each| (row(each), each.isolation.reason.clone())),
    )
}

/// What `doctor` found: what to do stands below, the command on a line of its own for copying.
pub(super) fn findings(findings: &[Finding]) -> String {
    let row = |row: &Finding| [row.subject.clone(), row.about.to_owned(), row.verdict.label().to_owned(), row.found.clone()];
    let below = |row: &Finding| vec![row.advice.clone(), row.command.as_ref().map_or_else(String::new, |command| format!("    {command}"))];
    with_lines(["WHERE", "WHAT", "VERDICT", "FOUND"], findings.iter().map(|each| (row(each), below(each))))
}

pub(super) use ipsec::negotiations;

mod ipsec;
#[cfg(test)]
mod tests;
