//! Of which class a packet for the office is, before anything is looked up in NAT: its destination says so, because no two classes of a
//! tenant share an address on one of its cloud networks.

use ipnetwork::Ipv4Network;

use crate::router_config::{AttachmentId, OfficePrefix, SourceTranslation, TenantConfig, TrafficClass};
use crate::worker::fairness::Lane;

/// Where the destination address stands in an IPv4 header (RFC 791 section 3.1).
const DESTINATION: std::ops::Range<usize> = 16..20;

/// Addresses of one class on one attachment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Range {
    attachment: AttachmentId,
    first: u32,
    last: u32,
    class: TrafficClass,
}

/// One tenant's office hosts as its clouds know them, in order.
#[derive(Default, Debug)]
pub(super) struct DestinationClasses(Vec<Range>);

impl DestinationClasses {
    pub(super) fn new(config: &TenantConfig) -> Self {
        let mut ranges = Vec::new();
        for source in &config.sources {
            let mut add = |prefix: Ipv4Network| ranges.push(range(source.attachment, prefix, source.class));
            match &source.translation {
                SourceTranslation::Napt(prefixes) => prefixes.iter().copied().for_each(&mut add),
                SourceTranslation::Static(pairs) => pairs.iter().for_each(|(_, cloud)| add(Ipv4Network::from(*cloud))),
                SourceTranslation::Keep => {
                    let of_class = |office: &&OfficePrefix| office.class == source.class;
                    config.office.iter().filter(of_class).for_each(|office| add(office.prefix));
                }
            }
        }
        for callback in &config.callbacks {
            ranges.push(range(callback.attachment, Ipv4Network::from(callback.to), callback.class));
        }
        if ranges.iter().all(|range| range.class == TrafficClass::MyNumber)
            || ranges.iter().all(|range| range.class != TrafficClass::MyNumber)
        {
            ranges.clear();
        }
        ranges.sort_unstable();
        Self(ranges)
    }

    /// Whether the cloud speaks to both classes.
    pub(super) fn are_two(&self) -> bool {
        !self.0.is_empty()
    }

    /// The lane of an IPv4 packet from a cloud. What is for nobody, or no packet at all, is lost later, and last.
    pub(super) fn lane(&self, attachment: AttachmentId, packet: &[u8]) -> Lane {
        let destination = packet.get(DESTINATION).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map_or(0, u32::from_be_bytes);
        let after = self.0.partition_point(|range| (range.attachment, range.first) <= (attachment, destination));
        let found = after.checked_sub(1).map(|index| self.0[index]);
        match found.filter(|range| range.attachment == attachment && destination <= range.last) {
            Some(range) if range.class == TrafficClass::MyNumber => Lane::MyNumberToOffice,
            _ => Lane::LgwanConnectedToOffice,
        }
    }
}

fn range(attachment: AttachmentId, prefix: Ipv4Network, class: TrafficClass) -> Range {
    Range { attachment, first: u32::from(prefix.network()), last: u32::from(prefix.broadcast()), class }
}
