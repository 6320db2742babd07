//! The cloud's end of a VLAN trunk: a splitter that gives each tag its own cable, and each cable its tag.
//!
//! The kernel need not know VLANs for this: frames go through packet sockets. Every frame passes an observer that sees it
//! with its tag and its direction, which is how a test or the demo proves that nothing of one tenant comes by on the
//! circuit of another.

use std::collections::BTreeMap;
use std::io::PipeReader;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::background::Background;
use super::error::DemoError;
use super::namespaces::Namespace;
use super::raw_socket::{RawSocket, wait_readable};
use super::vlan::{VlanTag, pop_tag, push_tag};

/// The MTU, in bytes, that both ends of a trunk need for 1,500 bytes inside two tags: a packet socket grants room for one
/// 802.1Q tag on top of an interface's MTU, and none at all for 802.1ad.
pub const QINQ_TRUNK_MTU: u32 = 1508;
/// Frames taken from one cable before the others get their turn.
const BURST: usize = 64;
/// The splitter has no timers; it looks around this often only to survive a lost wake-up.
const IDLE: Duration = Duration::from_secs(1);

/// The way a frame goes through the splitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From the relay's trunk to a cloud.
    OfficeToCloud,
    /// From a cloud to the relay's trunk.
    CloudToOffice,
}

/// One frame as the observer sees it.
#[derive(Debug)]
pub struct Sighting<'a> {
    /// Where it is going.
    pub direction: Direction,
    /// The circuit it is on; `None` for an untagged frame on the trunk.
    pub tag: Option<VlanTag>,
    /// The frame without its tags.
    pub frame: &'a [u8],
}

/// Sees every frame before it is passed on, on the splitter's thread.
pub type Observer = Box<dyn FnMut(&Sighting<'_>) + Send>;

/// What one circuit has carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CircuitCounts {
    /// Frames from the trunk to the cloud.
    pub to_cloud_frames: u64,
    /// Their length without tags.
    pub to_cloud_bytes: u64,
    /// Frames from the cloud to the trunk.
    pub to_office_frames: u64,
    /// Their length without tags.
    pub to_office_bytes: u64,
}

/// What a splitter has carried and lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrunkCounts {
    /// By circuit; all of them are there from the start.
    pub circuits: BTreeMap<VlanTag, CircuitCounts>,
    /// Frames on the trunk with a tag that nobody owns, by tag; `None` counts those without a tag.
    pub unowned: BTreeMap<Option<VlanTag>, u64>,
    /// Frames too short for the tags they claim.
    pub malformed: u64,
    /// Frames that the next cable did not take: full, down, or longer than its MTU.
    pub not_sent: u64,
    /// Frames whose checksum was left for hardware to finish: an offload is on where it must not be.
    pub unfinished_checksums: u64,
}

/// How many different tags nobody owns are told apart; all further ones count as untagged ones do.
const UNOWNED_TAGS: usize = 64;

/// A running splitter; dropping it stops it.
#[derive(Debug)]
pub struct Splitter {
    counts: Arc<Mutex<TrunkCounts>>,
    thread: Background,
}

impl Splitter {
    /// Starts splitting `trunk`, an interface of `namespace`, into `circuits`: tags and the interfaces of the same
    /// namespace that lead to the clouds.
    ///
    /// # Errors
    /// When an interface is missing, a tag is given twice, or the sockets are refused.
    pub fn start(namespace: &Namespace, trunk: &str, circuits: &[(VlanTag, &str)], observer: Observer) -> Result<Self, DemoError> {
        let mut counts = TrunkCounts::default();
        let mut cables = Vec::with_capacity(circuits.len());
        for &(tag, interface) in circuits {
            if counts.circuits.insert(tag, CircuitCounts::default()).is_some() {
                return Err(DemoError::Invalid(format!("VLAN {tag} is given twice on trunk {trunk}")));
            }
            cables.push((tag, RawSocket::open(namespace, interface)?));
        }
        let counts = Arc::new(Mutex::new(counts));
        let mut work =
            Work { trunk: RawSocket::open(namespace, trunk)?, cables, observer, counts: Arc::clone(&counts), scratch: Vec::new() };
        let thread = Background::start(namespace, &format!("splitter {trunk}"), move |stop| {
            work.run(&stop);
        })?;
        Ok(Self { counts, thread })
    }

    /// What it has carried so far.
    #[must_use]
    pub fn counts(&self) -> TrunkCounts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it still works; it ends by itself when an interface goes away or the observer panics.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.thread.has_ended()
    }
}

struct Work {
    trunk: RawSocket,
    cables: Vec<(VlanTag, RawSocket)>,
    observer: Observer,
    counts: Arc<Mutex<TrunkCounts>>,
    scratch: Vec<u8>,
}

impl Work {
    fn run(&mut self, stop: &PipeReader) {
        loop {
            let mut sources = vec![stop.as_fd(), self.trunk.as_fd()];
            sources.extend(self.cables.iter().map(|(_, cable)| cable.as_fd()));
            let Ok(ready) = wait_readable(&sources, IDLE) else {
                return;
            };
            if ready[0] {
                return;
            }
            let mut alive = true;
            if ready[1] {
                alive &= self.trunk_to_clouds().is_ok();
            }
            for number in (0..self.cables.len()).filter(|number| ready[2 + number]) {
                alive &= self.cloud_to_trunk(number).is_ok();
            }
            if !alive {
                return;
            }
        }
    }

    fn trunk_to_clouds(&mut self) -> std::io::Result<()> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..BURST {
            let Some(frame) = self.trunk.receive()? else {
                break;
            };
            let Some(tag) = pop_tag(frame, &mut self.scratch) else {
                counts.malformed += 1;
                continue;
            };
            (self.observer)(&Sighting { direction: Direction::OfficeToCloud, tag, frame: &self.scratch });
            let cable = self.cables.iter().find(|(own, _)| Some(*own) == tag);
            let (Some((_, cable)), Some(circuit)) = (cable, tag.and_then(|tag| counts.circuits.get_mut(&tag))) else {
                count_unowned(&mut counts.unowned, tag);
                continue;
            };
            circuit.to_cloud_frames += 1;
            circuit.to_cloud_bytes += self.scratch.len() as u64;
            counts.not_sent += u64::from(!matches!(cable.send(&self.scratch), Ok(true)));
        }
        counts.unfinished_checksums = total_unfinished(&self.trunk, &self.cables);
        Ok(())
    }

    fn cloud_to_trunk(&mut self, number: usize) -> std::io::Result<()> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (tag, cable) = &mut self.cables[number];
        for _ in 0..BURST {
            let Some(frame) = cable.receive()? else { break };
            (self.observer)(&Sighting { direction: Direction::CloudToOffice, tag: Some(*tag), frame });
            if push_tag(*tag, frame, &mut self.scratch).is_none() {
                counts.malformed += 1;
                continue;
            }
            let circuit = counts.circuits.entry(*tag).or_default();
            circuit.to_office_frames += 1;
            circuit.to_office_bytes += frame.len() as u64;
            counts.not_sent += u64::from(!matches!(self.trunk.send(&self.scratch), Ok(true)));
        }
        counts.unfinished_checksums = total_unfinished(&self.trunk, &self.cables);
        Ok(())
    }
}

fn count_unowned(unowned: &mut BTreeMap<Option<VlanTag>, u64>, tag: Option<VlanTag>) {
    let known = unowned.len() < UNOWNED_TAGS || unowned.contains_key(&tag);
    *unowned.entry(if known { tag } else { None }).or_default() += 1;
}

fn total_unfinished(trunk: &RawSocket, cables: &[(VlanTag, RawSocket)]) -> u64 {
    trunk.unfinished_checksums() + cables.iter().map(|(_, cable)| cable.unfinished_checksums()).sum::<u64>()
}

#[cfg(test)]
#[path = "trunk_tests.rs"]
mod tests;
