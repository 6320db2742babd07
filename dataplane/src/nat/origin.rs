//! How a session came to be, and what it means to filtering: one byte of a session.

use super::types::Direction;

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

    /// Its remote address counts as contacted.
    pub(super) const fn is_contact(self) -> bool {
        self.has(CONTACT) && !self.has(SILENT)
    }

    /// Whether filtering asks for it as a contact, once the office has sent.
    pub(super) const fn count_as_contact(&mut self, counts: bool) {
        self.0 = if counts { self.0 | CONTACT } else { self.0 & !CONTACT };
    }
}
