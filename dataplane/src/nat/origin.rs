//! How a session came to be, what it means to filtering, and the way back to its office: one byte of a session, which has no other to spare.

use super::types::Direction;
use crate::router_config::{MAX_TUNNELS, TunnelId};

/// By a callback: the cloud may open it. Else by a service.
const CALLBACK: u8 = 1;
/// The cloud sent the first packet.
const BY_CLOUD: u8 = 1 << 1;
/// Its first packet was let in by filtering, and the office has not sent any.
const SILENT: u8 = 1 << 2;
/// Under address-dependent filtering: what the office sends to, it has contacted.
const CONTACT: u8 = 1 << 3;
/// Between two endpoints of the office, over their addresses in the cloud.
const HAIRPIN: u8 = 1 << 4;

/// Above the others: number of the tunnel that the office last sent over.
const TUNNEL_SHIFT: u32 = 5;
const OTHERS: u8 = (1 << TUNNEL_SHIFT) - 1;
const _: () = assert!(MAX_TUNNELS <= 1 << (u8::BITS - TUNNEL_SHIFT));

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Origin(u8);

impl Origin {
    pub(super) const fn new(opened_by: Direction, begun_by: Direction, is_hairpin: bool) -> Self {
        let bits = match (opened_by, begun_by) {
            (Direction::CloudToOffice, _) => CALLBACK | BY_CLOUD,
            (Direction::OfficeToCloud, Direction::CloudToOffice) => BY_CLOUD | SILENT,
            (Direction::OfficeToCloud, Direction::OfficeToCloud) => 0,
        };
        Self(if is_hairpin { bits | HAIRPIN } else { bits })
    }

    const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    /// Whose rule it stands under.
    pub(super) const fn opened_by(self) -> Direction {
        if self.has(CALLBACK) { Direction::CloudToOffice } else { Direction::OfficeToCloud }
    }

    /// Who sent first.
    pub(super) const fn begun_by(self) -> Direction {
        if self.has(BY_CLOUD) { Direction::CloudToOffice } else { Direction::OfficeToCloud }
    }

    /// The cloud began it under a service.
    pub(super) const fn was_let_in(self) -> bool {
        self.has(BY_CLOUD) && !self.has(CALLBACK)
    }

    pub(super) const fn is_hairpin(self) -> bool {
        self.has(HAIRPIN)
    }

    /// The cloud began it, and the office has not answered: nothing yet says that the office wants it.
    pub(super) const fn office_is_silent(self) -> bool {
        self.has(SILENT)
    }

    pub(super) const fn hear_office(&mut self) {
        self.0 &= !SILENT;
    }

    /// The tunnel that the office last sent over; the first one where it has not sent.
    pub(super) const fn tunnel(self) -> TunnelId {
        TunnelId(self.0 >> TUNNEL_SHIFT)
    }

    pub(super) const fn set_tunnel(&mut self, tunnel: TunnelId) {
        self.0 = self.0 & OTHERS | tunnel.0 << TUNNEL_SHIFT;
    }

    /// Its remote address counts as contacted.
    pub(super) const fn is_contact(self) -> bool {
        self.has(CONTACT) && !self.has(SILENT)
    }

    /// Whether filtering asks for it as a contact, once the office has sent.
    pub(super) const fn count_as_contact(&mut self, counts: bool) {
        self.0 = if counts { self.0 | CONTACT } else { self.0 & !CONTACT };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnels_number_and_where_a_session_comes_from_leave_one_another_alone() {
        use Direction::{CloudToOffice, OfficeToCloud};
        for (opened_by, begun_by) in [(OfficeToCloud, OfficeToCloud), (OfficeToCloud, CloudToOffice), (CloudToOffice, CloudToOffice)] {
            for is_hairpin in [false, true] {
                let fresh = Origin::new(opened_by, begun_by, is_hairpin);
                assert_eq!(fresh.tunnel(), TunnelId(0));
                for number in (0u8..).take(MAX_TUNNELS) {
                    let mut origin = fresh;
                    origin.set_tunnel(TunnelId(7));
                    origin.set_tunnel(TunnelId(number));
                    assert_eq!(origin.tunnel(), TunnelId(number));
                    let same = (origin.opened_by(), origin.begun_by(), origin.is_hairpin(), origin.office_is_silent());
                    assert_eq!(same, (opened_by, begun_by, is_hairpin, fresh.office_is_silent()));
                    origin.count_as_contact(true);
                    origin.hear_office();
                    assert_eq!((origin.tunnel(), origin.is_contact()), (TunnelId(number), true));
                }
            }
        }
    }
}
