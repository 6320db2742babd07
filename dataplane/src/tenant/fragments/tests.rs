use super::*;
use crate::packet::FramePool;
use crate::wire::checksum::Sum;
use crate::wire::inner::{HEADER_LEN, Payload};
use crate::wire::samples;
use TrafficClass::{LgwanConnected, MyNumber};

const OFFICE: FragmentOrigin = FragmentOrigin { attachment: None, class: MyNumber };
const START: Instant = Instant::from_secs(100);

/// The fragments of a tenant, and what became of those that were sent.
struct Story {
    fragments: Fragments,
    places: Places,
    pool: FramePool,
    now: Instant,
    passed: Vec<Inner>,
    lost: Vec<DropReason>,
}

impl Story {
    fn new(places: usize) -> Self {
        let pool = FramePool::new(1_024).expect("memory");
        Self { fragments: Fragments::new(1), places: Places::new(places), pool, now: START, passed: Vec::new(), lost: Vec::new() }
    }

    /// A fragment of the UDP datagram `id`: its bytes `from..to`.
    fn send(&mut self, id: u16, from: u16, to: u16, more: bool) {
        self.send_from(OFFICE, id, from, to, more);
    }

    fn send_from(&mut self, origin: FragmentOrigin, id: u16, from: u16, to: u16, more: bool) {
        let bytes = fragment(id, from, to, more);
        let inner = Inner::parse(&bytes).expect("a fragment");
        let packet = Packet::copied(self.pool.take().expect("a frame"), &bytes).expect("fits");
        let Self { fragments, places, pool, lost, .. } = self;
        let lose = |packet: Packet, reason| {
            lost.push(reason);
            pool.put(packet.into_frame());
        };
        let mut next = fragments.take_in(origin, packet, &inner, places, self.now, lose);
        while let Some((packet, whole)) = next {
            assert!(Sum::default().bytes(&packet.bytes()[..HEADER_LEN]).is_valid());
            assert_eq!(Inner::parse(packet.bytes()).expect("as before").fragment, whole.fragment, "the name in the packet");
            self.passed.push(whole);
            self.pool.put(packet.into_frame());
            next = self.fragments.next_waiting(origin, &inner, &mut self.places);
        }
        self.audit();
    }

    fn expire(&mut self) {
        let Self { fragments, places, pool, lost, now, .. } = self;
        fragments.expire(places, *now, |packet, reason| {
            lost.push(reason);
            pool.put(packet.into_frame());
        });
        self.audit();
    }

    /// No frame is anywhere but in the pool or waiting.
    fn audit(&self) {
        assert_eq!(self.pool.free() + self.fragments.waiting(), self.pool.total());
    }

    /// Where what passed lies in its datagram.
    fn offsets(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.passed).iter().map(|inner| inner.fragment.expect("a fragment").offset).collect()
    }

    fn losses(&mut self) -> Vec<DropReason> {
        std::mem::take(&mut self.lost)
    }

    /// Datagrams that something is known of.
    fn known(&self) -> usize {
        self.fragments.lanes.iter().flatten().map(|lane| lane.datagrams.len()).sum()
    }
}

fn fragment(id: u16, from: u16, to: u16, more: bool) -> Vec<u8> {
    let whole = samples::udp(([198, 51, 100, 17], 40_000), ([203, 0, 113, 10], 443), &[7; 1_740]);
    let len = usize::from(to - from);
    let mut packet = [&whole[..HEADER_LEN], &whole[HEADER_LEN..][..len]].concat();
    let total_len = u16::try_from(packet.len()).expect("short");
    packet[2..4].copy_from_slice(&total_len.to_be_bytes());
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    packet[6..8].copy_from_slice(&((from / 8) | if more { 0x2000 } else { 0 }).to_be_bytes());
    samples::mend_header_checksum(&mut packet);
    packet
}

#[test]
fn fragments_in_order_pass_at_once_with_the_ports_of_the_first_and_leave_nothing_behind() {
    let mut story = Story::new(0);
    story.send(7, 0, 1_000, true);
    assert_eq!(story.known(), 1);
    story.send(7, 1_000, 2_000, true);
    story.send(7, 2_000, 2_500, false);
    assert!(story.passed.iter().all(|inner| (inner.source_port, inner.destination_port, inner.payload) == (40_000, 443, Payload::Udp)));
    let ids: Vec<u16> = story.passed.iter().map(|inner| inner.fragment.expect("a fragment").id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "one name: {ids:?}");
    assert_eq!((story.offsets(), story.losses(), story.known()), (vec![0, 1_000, 2_000], vec![], 0));
}

#[test]
fn whatever_comes_before_the_first_fragment_waits_for_it_in_any_order() {
    let parts = [(0, 1_000, true), (1_000, 2_000, true), (2_000, 2_500, false)];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut story = Story::new(64);
        for number in order {
            let (from, to, more) = parts[number];
            story.send(7, from, to, more);
        }
        let mut offsets = story.offsets();
        assert_eq!(offsets.first(), Some(&0), "{order:?}: nothing overtakes the first");
        offsets.sort_unstable();
        assert_eq!((offsets, story.losses(), story.known()), (vec![0, 1_000, 2_000], vec![], 0), "{order:?}");
        assert_eq!((story.places.free, story.fragments.waiting()), (64, 0));
    }
}

#[test]
fn any_overlap_ends_a_datagram_with_all_that_waits_for_it() {
    // After 1,000..2,000, which waits: over its start, its end, inside, around it, by one unit; and ends that disagree.
    for (from, to, more) in [(504, 1_008, true), (1_992, 2_504, true), (1_200, 1_400, true), (504, 2_200, true), (1_000, 1_992, true)] {
        let mut story = Story::new(64);
        story.send(7, 1_000, 2_000, true);
        story.send(7, from, to, more);
        assert_eq!(story.losses(), [DropReason::FragmentOverlap; 2], "{from}..{to}");
        story.send(7, 0, 504, true);
        assert_eq!((story.offsets(), story.losses()), (vec![], vec![DropReason::FragmentOverlap]), "a first one comes too late");
        story.send(8, 0, 504, true);
        assert_eq!(story.offsets(), [0], "another datagram");
    }
}

#[test]
fn fragments_that_disagree_about_the_end_of_their_datagram_end_it() {
    for sent in [
        [(1_000, 1_400, false), (1_400, 1_800, true)],
        [(1_000, 1_400, false), (2_000, 2_100, false)],
        [(1_000, 1_400, true), (504, 900, false)],
    ] {
        let mut story = Story::new(64);
        sent.iter().for_each(|(from, to, more)| story.send(7, *from, *to, *more));
        assert_eq!((story.losses(), story.offsets()), (vec![DropReason::FragmentOverlap; 2], vec![]), "{sent:?}");
    }
}

#[test]
fn a_copy_of_a_fragment_is_lost_and_nothing_else() {
    let mut story = Story::new(64);
    story.send(7, 1_000, 1_400, false);
    story.send(7, 1_000, 1_400, false);
    story.send(7, 0, 504, true);
    story.send(7, 0, 504, true);
    story.send(7, 504, 1_000, true);
    assert_eq!((story.offsets(), story.losses(), story.known()), (vec![0, 1_000, 504], vec![DropReason::FragmentDuplicate; 2], 0));
}

#[test]
fn a_second_first_fragment_with_other_bytes_does_not_pass() {
    let mut story = Story::new(64);
    story.send(7, 0, 504, true);
    story.send(7, 0, 1_000, true);
    story.send(7, 504, 1_000, false);
    assert_eq!((story.offsets(), story.losses()), (vec![0], vec![DropReason::FragmentOverlap; 2]));
}

#[test]
fn a_datagram_has_no_more_fragments_than_are_remembered() {
    let mut story = Story::new(1_024);
    (0..64).for_each(|number| story.send(7, number * 8, number * 8 + 8, true));
    assert_eq!((story.offsets().len(), story.losses()), (64, vec![]));
    story.send(7, 512, 520, false);
    story.send(7, 520, 528, false);
    assert_eq!(story.losses(), [DropReason::FragmentsFull, DropReason::FragmentOverlap]);
}

#[test]
fn what_waits_too_long_is_lost_and_a_late_fragment_begins_anew() {
    let mut story = Story::new(64);
    story.send(7, 1_000, 1_400, false);
    story.send(8, 0, 504, true);
    story.now = START + Duration::from_millis(4_999);
    story.expire();
    assert_eq!((story.losses(), story.known()), (vec![], 2));
    story.now = START + Duration::from_secs(5);
    story.send(8, 504, 1_000, false);
    assert_eq!((story.offsets(), story.losses()), (vec![0], vec![]), "the first of 8 is too old to speak for it");
    story.expire();
    assert_eq!((story.losses(), story.known(), story.places.free), (vec![DropReason::FragmentTimeout], 1, 63));
    story.now = START + Duration::from_secs(10);
    story.send(8, 0, 504, true);
    assert_eq!((story.offsets(), story.losses()), (vec![0], vec![DropReason::FragmentTimeout]), "found at the next fragment, too");
}

#[test]
fn where_a_lane_is_full_the_oldest_give_way_and_the_latest_datagram_still_arrives() {
    let mut story = Story::new(1_024);
    (0..32).for_each(|id| story.send(id, 1_000, 1_400, false));
    assert_eq!((story.losses(), story.fragments.waiting()), (vec![], 32));
    story.now = story.now + Duration::from_millis(1);
    (32..1_000).for_each(|id| story.send(id, 1_000, 1_400, false));
    assert_eq!((story.losses().len(), story.fragments.waiting()), (1_000 - 32, 32));
    story.send(999, 0, 1_000, true);
    assert_eq!((story.offsets(), story.losses()), (vec![0, 1_000], vec![]));
}

#[test]
fn a_lane_has_at_most_so_many_packets_that_wait_and_one_datagram_cannot_have_more() {
    let mut story = Story::new(1_024);
    for number in 1..=64 {
        story.send(7, number * 800, number * 800 + 8, true);
    }
    assert_eq!((story.losses(), story.fragments.waiting()), (vec![], 64));
    story.send(8, 800, 808, false);
    assert_eq!((story.losses(), story.fragments.waiting()), (vec![DropReason::FragmentsFull; 64], 1), "all of the oldest datagram");
}

#[test]
fn lanes_share_what_is_free_so_that_there_is_a_place_left_for_the_next() {
    let mut story = Story::new(40);
    let lane = |attachment: u8, class| FragmentOrigin { attachment: attachment.checked_sub(1).map(AttachmentId), class };
    let flooded = [lane(0, MyNumber), lane(0, LgwanConnected), lane(1, MyNumber)];
    for id in 0..100 {
        flooded.iter().for_each(|origin| story.send_from(*origin, id, 1_000, 1_400, false));
    }
    let waiting = story.fragments.waiting();
    assert!(waiting <= 40 - 4, "{waiting} of 40 are taken");
    story.losses();
    let quiet = lane(1, LgwanConnected);
    story.send_from(quiet, 7, 1_000, 1_400, false);
    story.send_from(quiet, 7, 0, 1_000, true);
    assert_eq!((story.offsets(), story.losses()), (vec![0, 1_000], vec![]));
    assert_eq!(story.places.free + story.fragments.waiting(), 40);
}

#[test]
fn without_a_place_what_comes_early_is_lost_and_what_is_in_order_passes() {
    let mut story = Story::new(3);
    story.send(7, 1_000, 1_400, false);
    assert_eq!((story.losses(), story.known()), (vec![DropReason::FragmentsFull], 0));
    story.send(8, 0, 1_000, true);
    story.send(8, 1_000, 1_400, false);
    assert_eq!((story.offsets(), story.losses(), story.known()), (vec![0, 1_000], vec![], 0));
}

#[test]
fn equal_names_of_two_classes_two_directions_or_two_networks_are_different_datagrams() {
    let mut story = Story::new(64);
    let of = |attachment, class| FragmentOrigin { attachment, class };
    let origins = [
        of(None, MyNumber),
        of(None, LgwanConnected),
        of(Some(AttachmentId(0)), MyNumber),
        of(Some(AttachmentId(1)), MyNumber),
        of(Some(AttachmentId(0)), LgwanConnected),
    ];
    for origin in origins {
        story.send_from(origin, 7, 1_000, 1_400, false);
    }
    assert_eq!((story.fragments.waiting(), story.losses()), (5, vec![]));
    for (done, origin) in origins.into_iter().enumerate() {
        story.send_from(origin, 7, 0, 1_000, true);
        assert_eq!((story.offsets(), story.fragments.waiting()), (vec![0, 1_000], 4 - done));
    }
    assert_eq!(story.losses(), []);
}

#[test]
fn after_a_change_nothing_is_remembered_and_no_frame_is_kept() {
    let mut story = Story::new(64);
    story.send(7, 1_000, 1_400, false);
    story.send(8, 0, 504, true);
    let Story { fragments, places, pool, lost, .. } = &mut story;
    fragments.clear(DropReason::TenantReconfigured, places, |packet, reason| {
        lost.push(reason);
        pool.put(packet.into_frame());
    });
    story.audit();
    assert_eq!((story.losses(), story.known(), story.places.free), (vec![DropReason::TenantReconfigured], 0, 64));
}

#[test]
fn datagrams_get_identifications_that_do_not_come_again_before_all_others_did() {
    let mut story = Story::new(64);
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..=u16::MAX {
        if number % 2 == 0 {
            // Every host uses the same one.
            story.send(1, 0, 504, true);
            story.send(1, 504, 508, false);
            let ids: Vec<u16> = story.passed.drain(..).map(|inner| inner.fragment.expect("a fragment").id).collect();
            assert_eq!(ids[0], ids[1]);
            assert!(seen.insert(ids[0]), "{} again after {number}", ids[0]);
        } else {
            assert!(seen.insert(story.fragments.next_id(OFFICE)));
        }
    }
}
