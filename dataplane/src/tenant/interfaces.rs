//! The relay's presence in a tenant's cloud networks.

use ipnetwork::Ipv4Network;

use super::NEIGHBORS;
use crate::link::{Interface, Ipv6Interface};
use crate::router_config::{AttachmentConfig, AttachmentId, SourceTranslation, TenantConfig};

pub(super) fn interface(config: &TenantConfig, attachment: &AttachmentConfig) -> Interface {
    let owned = owned(config, attachment);
    let interface =
        Interface::new(attachment.port, attachment.vlan, attachment.mtu, attachment.address, Some(attachment.gateway), owned, NEIGHBORS);
    // Nothing of IPv6 goes further here, so there are no next hops to know.
    interface.with_ipv6(attachment.address6.map(|address| Ipv6Interface::new(address, None, 0)))
}

/// The translated addresses that hosts on this attachment may ask for: pools, static sources, callback destinations.
pub(super) fn owned(config: &TenantConfig, attachment: &AttachmentConfig) -> Vec<Ipv4Network> {
    let named = |id: AttachmentId| config.attachments.get(usize::from(id.0)).is_some_and(|other| other.name == attachment.name);
    let sources = config.sources.iter().filter(|source| named(source.attachment)).flat_map(|source| match &source.translation {
        SourceTranslation::Napt(prefixes) => prefixes.clone(),
        SourceTranslation::Static(pairs) => pairs.iter().map(|(_, cloud)| Ipv4Network::from(*cloud)).collect(),
        SourceTranslation::Keep => Vec::new(),
    });
    let callbacks = config.callbacks.iter().filter(|callback| named(callback.attachment)).map(|callback| Ipv4Network::from(callback.to));
    sources.chain(callbacks).collect()
}
