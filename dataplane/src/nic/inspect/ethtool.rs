//! The ethtool ioctls that only read.

use std::os::fd::OwnedFd;

use crate::nic::sys::{self, Plain};

const GDRVINFO: u32 = 0x03;
const GRINGPARAM: u32 = 0x10;
const GSTRINGS: u32 = 0x1b;
const GSSET_INFO: u32 = 0x37;
const GFEATURES: u32 = 0x3a;
const GCHANNELS: u32 = 0x3c;
const GLINKSETTINGS: u32 = 0x4c;
/// `ETH_SS_FEATURES`
const FEATURE_NAMES: u32 = 4;
/// `ETH_GSTRING_LEN`
const NAME: usize = 32;
/// Twice as many as any kernel has today.
const MOST_FEATURES: usize = 128;
/// `SPEED_UNKNOWN`
const UNKNOWN_SPEED: u32 = u32::MAX;

/// Queues in use, and how many there could be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Queues {
    /// Queues that receive.
    pub receiving: u32,
    /// Queues that transmit.
    pub transmitting: u32,
    /// Receiving queues that the NIC could use.
    pub most_receiving: u32,
    /// Transmitting queues that the NIC could use.
    pub most_transmitting: u32,
    /// They are set as pairs: `ethtool -L IF combined N`.
    pub combined: bool,
}

/// Descriptors of one queue, and how many there could be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rings {
    /// Receive descriptors.
    pub receive: u32,
    /// Transmit descriptors.
    pub transmit: u32,
    /// Receive descriptors that the NIC could have.
    pub most_receive: u32,
    /// Transmit descriptors that the NIC could have.
    pub most_transmit: u32,
}

/// Work that a NIC, or the kernel in its stead, does or could do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Feature {
    /// The kernel's name.
    pub name: String,
    /// Now in use.
    pub on: bool,
    /// Cannot be switched.
    pub fixed: bool,
}

/// Who serves the interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct DriverInfo {
    pub(super) name: String,
    pub(super) firmware: String,
}

/// `struct ethtool_drvinfo`.
#[derive(Clone, Copy)]
#[repr(C)]
struct RawDriver {
    command: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware: [u8; 32],
    rest: [u8; 32 + 32 + 12 + 20],
}

/// `struct ethtool_ringparam`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct RawRings {
    command: u32,
    most_receive: u32,
    most_mini_and_jumbo: [u32; 2],
    most_transmit: u32,
    receive: u32,
    mini_and_jumbo: [u32; 2],
    transmit: u32,
}

/// `struct ethtool_channels`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct RawChannels {
    command: u32,
    /// Receiving, transmitting, other, combined.
    most: [u32; 4],
    now: [u32; 4],
}

/// `struct ethtool_link_settings` with room for its three bit masks.
#[derive(Clone, Copy)]
#[repr(C)]
struct RawLink {
    command: u32,
    speed: u32,
    /// Duplex, port, PHY address, autonegotiation, MDIO, MDI-X (2).
    unused: [u8; 7],
    mask_words: i8,
    reserved: [u32; 8],
    masks: [u32; 3 * 127],
}

/// `struct ethtool_sset_info` with one set asked for.
#[derive(Clone, Copy)]
#[repr(C)]
struct RawSet {
    command: u32,
    reserved: u32,
    sets: [u32; 2],
    count: u32,
}

/// `struct ethtool_gstrings` with room for the names.
#[derive(Clone, Copy)]
#[repr(C)]
struct RawNames {
    command: u32,
    set: u32,
    count: u32,
    names: [[u8; NAME]; MOST_FEATURES],
}

/// `struct ethtool_gfeatures` with room for the blocks.
#[derive(Clone, Copy)]
#[repr(C)]
struct RawFeatures {
    command: u32,
    blocks: u32,
    /// Available, requested, active, never changed.
    bits: [[u32; 4]; MOST_FEATURES / 32],
}

#[expect(unsafe_code, reason = "promises that these structures are plain integers")]
mod plain {
    use super::{Plain, RawChannels, RawDriver, RawFeatures, RawLink, RawNames, RawRings, RawSet};
    // SAFETY: a structure of integers.
    unsafe impl Plain for RawDriver {}
    // SAFETY: a structure of integers.
    unsafe impl Plain for RawRings {}
    // SAFETY: a structure of integers.
    unsafe impl Plain for RawChannels {}
    // SAFETY: a structure of integers.
    unsafe impl Plain for RawLink {}
    // SAFETY: a structure of integers.
    unsafe impl Plain for RawSet {}
    // SAFETY: a structure of integers.
    unsafe impl Plain for RawNames {}
    // SAFETY: a structure of integers.
    unsafe impl Plain for RawFeatures {}
}

/// `None` where the kernel or the driver does not know the question.
fn ask<T: Plain>(control: &OwnedFd, interface: &str, mut question: T) -> Option<T> {
    sys::ioctl_ethtool(control, interface, &mut question).ok().map(|()| question)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

pub(super) fn driver(control: &OwnedFd, interface: &str) -> Option<DriverInfo> {
    let question = RawDriver { command: GDRVINFO, driver: [0; 32], version: [0; 32], firmware: [0; 32], rest: [0; 96] };
    let raw = ask(control, interface, question)?;
    // A driver without firmware says so in one of these ways.
    let firmware = Some(text(&raw.firmware)).filter(|version| version != "N/A" && version != "n/a").unwrap_or_default();
    Some(DriverInfo { name: text(&raw.driver), firmware })
}

pub(super) fn rings(control: &OwnedFd, interface: &str) -> Option<Rings> {
    let raw = ask(control, interface, RawRings { command: GRINGPARAM, ..RawRings::default() })?;
    let rings = Rings { receive: raw.receive, transmit: raw.transmit, most_receive: raw.most_receive, most_transmit: raw.most_transmit };
    (rings.most_receive > 0).then_some(rings)
}

pub(super) fn queues(control: &OwnedFd, interface: &str) -> Option<Queues> {
    let raw = ask(control, interface, RawChannels { command: GCHANNELS, ..RawChannels::default() })?;
    let [most_receiving, most_transmitting, _, most_combined] = raw.most;
    let [receiving, transmitting, _, combined] = raw.now;
    Some(Queues {
        receiving: receiving + combined,
        transmitting: transmitting + combined,
        most_receiving: most_receiving.max(most_combined),
        most_transmitting: most_transmitting.max(most_combined),
        combined: most_combined > 0,
    })
}

/// Mbit/s. The kernel first tells the length of its masks, as a negative number, and answers when it is given back.
pub(super) fn speed(control: &OwnedFd, interface: &str) -> Option<u32> {
    let question = RawLink { command: GLINKSETTINGS, speed: 0, unused: [0; 7], mask_words: 0, reserved: [0; 8], masks: [0; 3 * 127] };
    let mask_words = ask(control, interface, question)?.mask_words.checked_neg().filter(|words| *words > 0)?;
    let speed = ask(control, interface, RawLink { mask_words, ..question })?.speed;
    (speed > 0 && speed != UNKNOWN_SPEED).then_some(speed)
}

/// Empty where the kernel cannot be asked.
pub(super) fn features(control: &OwnedFd, interface: &str) -> Vec<Feature> {
    read_features(control, interface).unwrap_or_default()
}

fn read_features(control: &OwnedFd, interface: &str) -> Option<Vec<Feature>> {
    let set = RawSet { command: GSSET_INFO, reserved: 0, sets: [1 << FEATURE_NAMES, 0], count: 0 };
    let count = ask(control, interface, set)?.count;
    // The kernel writes as many names as it has: never ask it to write behind the room for them.
    let number = usize::try_from(count).ok().filter(|count| *count <= MOST_FEATURES)?;
    let names = RawNames { command: GSTRINGS, set: FEATURE_NAMES, count, names: [[0; NAME]; MOST_FEATURES] };
    let names = ask(control, interface, names)?.names;
    let blocks = count.div_ceil(32);
    let bits = ask(control, interface, RawFeatures { command: GFEATURES, blocks, bits: [[0; 4]; MOST_FEATURES / 32] })?.bits;
    let feature = |(number, name): (usize, &[u8; NAME])| {
        let [available, _, active, never_changed] = bits[number / 32].map(|block| block & 1 << (number % 32) != 0);
        Feature { name: text(name), on: active, fixed: !available || never_changed }
    };
    Some(names.iter().take(number).enumerate().map(feature).filter(|feature| !feature.name.is_empty()).collect())
}
