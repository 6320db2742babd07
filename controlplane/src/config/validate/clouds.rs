//! Office prefixes and cloud attachments of one tenant.

use std::net::Ipv4Addr;

use ipnetwork::Ipv4Network;

use super::super::fields::Field;
use super::super::problem::Problems;
use super::super::scalars::short;
use super::TenantView;

pub(super) fn check(tenant: &TenantView<'_>, problems: &mut Problems) {
    check_office(tenant, problems);
    for (_, cloud) in tenant.file.clouds.entries() {
        tenant.names.ports.find(&cloud.port, problems);
        check_subnet(&cloud.address, &cloud.gateway, problems);
    }
}

/// No address may belong to two classes.
fn check_office(tenant: &TenantView<'_>, problems: &mut Problems) {
    let office = tenant.file.office.entries();
    for (index, later) in office.iter().enumerate() {
        for prefix in later.prefixes.iter().flatten() {
            let earlier = office[..index].iter();
            let overlapping = earlier.flat_map(|entry| entry.prefixes.iter().flatten().map(move |other| (entry.class, other)));
            if let Some((class, other)) = overlapping.into_iter().find(|(_, other)| other.value.overlaps(prefix.value)) {
                problems
                    .error(&prefix.at, format!("{} overlaps {} of class `{class}`", short(prefix.value), short(other.value)))
                    .help(format!("a host is either `{class}` or `{}`: split the prefixes (see {})", later.class, other.at.place()));
            }
        }
    }
}

/// An address of the relay's own and the gateway beside it.
pub(super) fn check_subnet(address: &Field<Ipv4Network>, gateway: &Field<Ipv4Addr>, problems: &mut Problems) {
    let Some(address) = address.given() else { return };
    let subnet = address.value;
    if edges(subnet).contains(&subnet.ip()) {
        problems.error(&address.at, format!("{subnet} is the network or broadcast address of its own subnet")).help(format!(
            "use an address between {} and {}",
            subnet.network(),
            subnet.broadcast()
        ));
    }
    let Some(gateway) = gateway.given() else { return };
    let reason = if !subnet.contains(gateway.value) {
        format!("is outside the subnet {}/{} of the relay's address", subnet.network(), subnet.prefix())
    } else if gateway.value == subnet.ip() {
        "is the relay's own address".to_owned()
    } else if edges(subnet).contains(&gateway.value) {
        "is the network or broadcast address of the subnet".to_owned()
    } else {
        return;
    };
    problems.error(&gateway.at, format!("the gateway {} {reason}", gateway.value)).help("name the next hop on the same subnet");
}

/// Addresses that no host of a subnet has; RFC 3021: a /31 has none such.
pub(super) fn edges(subnet: Ipv4Network) -> Vec<Ipv4Addr> {
    if subnet.prefix() >= 31 { Vec::new() } else { vec![subnet.network(), subnet.broadcast()] }
}
