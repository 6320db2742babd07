//! Tags that the kernel or the NIC tells apart from the frame, while the frame has others.

use dataplane::nic::Driver;

use crate::support::{Station, in_own_network, plain_frame, tagged, veth};

/// TPID and TCI of tags, outermost first: the first is what a kernel takes out, and none of these stacks is one VLAN.
const DISAGREEING: [&[(u16, u16)]; 6] = [
    &[(0x8100, 2_101), (0x8100, 2_102)],
    &[(0x8100, 0), (0x8100, 2_102)],
    &[(0x8100, 2_101), (0x8100, 0)],
    &[(0x8100, 2_101), (0x88a8, 2_102)],
    &[(0x88a8, 2_101), (0x8100, 2_102)],
    &[(0x8100, 0xefff), (0x8100, 0x6000 | 2_101)],
];

fn every_tag_arrives_where_it_was(driver: Driver) {
    veth("port", "far");
    let mut relay = Station::new("port", driver);
    let mut far = Station::new("far", Driver::AfPacket);
    let frames: Vec<Vec<u8>> = (0..).zip(DISAGREEING).map(|(number, tags)| tagged(&plain_frame(number, 200), tags)).collect();
    far.send(&frames);
    assert_eq!(relay.receive_until(frames.len()), frames);
    relay.assert_no_frame_lost();
}

#[test]
fn attempt_27_no_tag_is_lost_between_the_kernels_word_and_the_frame_over_af_packet() {
    in_own_network("tags::attempt_27_no_tag_is_lost_between_the_kernels_word_and_the_frame_over_af_packet", false, || {
        every_tag_arrives_where_it_was(Driver::AfPacket);
    });
}

#[test]
fn attempt_27_no_tag_is_lost_between_the_kernels_word_and_the_frame_over_af_xdp() {
    in_own_network("tags::attempt_27_no_tag_is_lost_between_the_kernels_word_and_the_frame_over_af_xdp", true, || {
        every_tag_arrives_where_it_was(Driver::AfXdp);
    });
}
