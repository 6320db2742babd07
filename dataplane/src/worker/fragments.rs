//! What surrounds a route where one packet is not one datagram: fragments that wait for their first one, and packets that are cut.
//!
//! A route sees one packet at a time and knows nothing of the others. Here is decided when it sees a fragment, and with which ports;
//! and a packet that is too big, and may be cut, goes through it piece by piece as if it had arrived so.

use crate::drop_reason::DropReason;
use crate::packet::Packet;
use crate::tenant::{FragmentOrigin, Fragments, Places};
use crate::time::Instant;
use crate::tunnel::TenantId;
use crate::wire::fragment::{self, Piece};
use crate::wire::inner::{HEADER_LEN, Inner};
use crate::worker::dispatch::{Open, OpenFrom};
use crate::worker::ledger::Ledger;
use crate::worker::{LIVING, Worker};

/// Of the frames that are free when the NICs have theirs, this part may wait here. Half of them may wait for their turn; the rest is
/// for packets to be decrypted into and to be sent.
const PART_OF_FREE_FRAMES: usize = 8;

/// Frames that may wait for first fragments.
pub(super) fn places(free_frames: usize) -> Places {
    Places::new(free_frames / PART_OF_FREE_FRAMES)
}

impl Worker {
    /// A fragment goes through its route, with those that waited for it, or waits itself.
    pub(super) fn forward_fragment(&mut self, Open { packet, inner, from, .. }: Open, now: Instant) {
        let Some(tenant) = self.tenants[from.tenant().0 as usize].as_deref() else { unreachable!("{}", LIVING) };
        if let Err(reason) = tenant.admit_tenant() {
            return self.drop_at_tenant(from.tenant(), packet, reason);
        }
        let origin = self.origin(from, &packet);
        self.ledger.hold();
        let mut next =
            self.with_fragments(from.tenant(), |fragments, places, lose| fragments.take_in(origin, packet, &inner, places, now, lose));
        while let Some((packet, whole)) = next {
            self.ledger.unhold();
            self.forward(from, &whole, packet, now).ok();
            next = self.with_fragments(from.tenant(), |fragments, places, _| fragments.next_waiting(origin, &inner, places));
        }
    }

    fn origin(&self, from: OpenFrom, packet: &Packet) -> FragmentOrigin {
        match from {
            OpenFrom::Office { class, .. } => FragmentOrigin { attachment: None, class },
            OpenFrom::Cloud { tenant, attachment, .. } => {
                let class = self.tenant_queues.class_towards_office(tenant, attachment, packet.bytes());
                FragmentOrigin { attachment: Some(attachment), class }
            }
        }
    }

    /// Do something with a tenant's fragments. All packets in there are held; what is lost is so no longer.
    fn with_fragments<R>(
        &mut self,
        id: TenantId,
        act: impl FnOnce(&mut Fragments, &mut Places, &mut dyn FnMut(Packet, DropReason)) -> R,
    ) -> R {
        let Some(tenant) = self.tenants[id.0 as usize].as_deref_mut() else { unreachable!("{}", LIVING) };
        let (ledger, drops) = (&mut self.ledger, &tenant.counters.drops);
        act(&mut tenant.fragments, &mut self.fragment_places, &mut |packet, reason| ledger.dropped_held(packet, reason, drops))
    }

    /// Give up datagrams whose first fragment did not come in time.
    pub(super) fn expire_fragments(&mut self, id: TenantId, now: Instant) {
        self.with_fragments(id, |fragments, places, lose| fragments.expire(places, now, lose));
    }

    /// Cut a packet that is too big for the way ahead, and send the pieces through its route in order (RFC 4787 REQ-13 b). Where one
    /// of them is lost, the rest has nothing to be put together with.
    pub(super) fn forward_in_pieces(&mut self, from: OpenFrom, inner: &Inner, mut packet: Packet, now: Instant) -> Result<(), DropReason> {
        let id = from.tenant();
        let origin = self.origin(from, &packet);
        let Some(tenant) = self.tenants[id.0 as usize].as_deref_mut() else { unreachable!("{}", LIVING) };
        let mtu = match from {
            OpenFrom::Office { .. } => tenant.smallest_cloud_mtu(),
            OpenFrom::Cloud { .. } => tenant.inner_mtu(),
        };
        tenant.counters.packets_fragmented.add(1);
        let mut pieces = fragment::pieces(inner, tenant.fragments.next_id(origin), mtu).peekable();
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                keep_only(&mut packet, &piece);
                return self.forward(from, &piece.1, packet, now);
            }
            let sent = match copy_of(&packet, &piece, &mut self.ledger) {
                Some(copy) => self.forward(from, &piece.1, copy, now),
                None => Err(DropReason::NoFreeFrame),
            };
            if let Err(reason) = sent {
                self.drop_at_tenant(id, packet, reason);
                return Err(reason);
            }
        }
        unreachable!("a packet has a piece, and it returned with the last")
    }
}

/// A piece in a frame of its own: the relay made it.
fn copy_of(packet: &Packet, (range, piece): &Piece, ledger: &mut Ledger) -> Option<Packet> {
    let mut copy = ledger.blank()?;
    let (header, payload) = packet.bytes().split_at(HEADER_LEN);
    let fits = copy.set_range(0, piece.total_len);
    debug_assert!(fits, "a piece is shorter than its packet");
    let bytes = copy.bytes_mut();
    bytes[..HEADER_LEN].copy_from_slice(header);
    bytes[HEADER_LEN..].copy_from_slice(&payload[range.clone()]);
    fragment::write_header(bytes, piece);
    ledger.generated();
    Some(copy)
}

/// The last piece stays where it is; its header is put in front of it, over pieces that have gone.
fn keep_only(packet: &mut Packet, (range, piece): &Piece) {
    packet.bytes_mut().copy_within(..HEADER_LEN, range.start);
    let inside = packet.set_range(range.start, piece.total_len);
    debug_assert!(inside, "a piece lies inside its packet");
    fragment::write_header(packet.bytes_mut(), piece);
}
