//! Port and tags -> tenant and attachment: how a frame from the cloud gets its tenant, or the worker that owns it.
//!
//! One tag is the rule, and 12 bits are few: those are a flat array, one line of cache a lookup. Everything else is a hash table.

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use crate::router_config::{AttachmentId, PortId, Vlan};
use crate::tunnel::TenantId;

/// VLAN ids.
const IDS: usize = 4096;

/// The attachments of a worker's tenants.
pub(super) type Attachments = ByTags<(TenantId, AttachmentId)>;

/// What is found by port and tags.
#[derive(Debug)]
pub(super) struct ByTags<T> {
    /// By port and VLAN id; a port's array is made with its first attachment.
    single: Vec<Vec<Option<T>>>,
    other: HashMap<(PortId, Vlan), T, RandomState>,
}

impl<T> Default for ByTags<T> {
    fn default() -> Self {
        Self { single: Vec::new(), other: HashMap::default() }
    }
}

impl<T: Copy> ByTags<T> {
    /// Forget everything.
    pub(super) fn clear(&mut self) {
        self.single.clear();
        self.other.clear();
    }

    /// Forget the one with these tags on this port.
    pub(super) fn remove(&mut self, (port, vlan): (PortId, Vlan)) {
        match vlan {
            Vlan::Single(id) => {
                let place = self.single.get_mut(usize::from(port.0)).and_then(|ids| ids.get_mut(usize::from(id.get())));
                place.into_iter().for_each(|place| *place = None);
            }
            _ => drop(self.other.remove(&(port, vlan))),
        }
    }

    /// Enter one.
    pub(super) fn insert(&mut self, (port, vlan): (PortId, Vlan), found: T) {
        let Vlan::Single(id) = vlan else {
            self.other.insert((port, vlan), found);
            return;
        };
        let port = usize::from(port.0);
        if self.single.len() <= port {
            self.single.resize_with(port + 1, Vec::new);
        }
        self.single[port].resize(IDS, None);
        self.single[port][usize::from(id.get())] = Some(found);
    }

    /// The one with these tags on this port.
    pub(super) fn get(&self, (port, vlan): (PortId, Vlan)) -> Option<T> {
        match vlan {
            Vlan::Single(id) => *self.single.get(usize::from(port.0))?.get(usize::from(id.get()))?,
            _ => self.other.get(&(port, vlan)).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router_config::VlanId;

    #[test]
    fn the_same_tag_on_two_ports_leads_to_two_tenants_and_tags_never_stand_for_each_other() {
        let id = |id| VlanId::new(id).expect("a usable id");
        let found = |tenant| (TenantId(tenant), AttachmentId(0));
        let mut attachments = Attachments::default();
        let single = (PortId(3), Vlan::Single(id(7)));
        let double = (PortId(3), Vlan::Double { outer: id(7), inner: id(7) });
        let elsewhere = (PortId(1), Vlan::Single(id(7)));
        for (number, place) in [(1, single), (2, double), (3, elsewhere)] {
            assert_eq!(attachments.get(place), None);
            attachments.insert(place, found(number));
            assert_eq!(attachments.get(place), Some(found(number)));
        }
        assert_eq!(attachments.get(single), Some(found(1)));
        assert_eq!(attachments.get((PortId(3), Vlan::Single(id(4_094)))), None);
        assert_eq!(attachments.get((PortId(3), Vlan::Untagged)), None);
        assert_eq!(attachments.get((PortId(200), Vlan::Single(id(7)))), None);
        attachments.remove((PortId(200), Vlan::Single(id(7))));
        attachments.remove(single);
        assert_eq!((attachments.get(single), attachments.get(elsewhere)), (None, Some(found(3))));
        [double, elsewhere].into_iter().for_each(|place| attachments.remove(place));
        assert!([single, double, elsewhere].iter().all(|place| attachments.get(*place).is_none()));
    }
}
