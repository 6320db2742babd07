//! Canaries: texts in every packet's payload that tell whose it is, and the watch for one where it must not be.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use memchr::memmem;

use super::background::Background;
use super::error::DemoError;
use super::namespaces::Namespace;
use super::raw_socket::{RawSocket, wait_readable};
use super::trunk::{Direction, Observer, Sighting};
use super::vlan::VlanTag;

/// What every canary starts with, so that one nobody thought of is seen too.
const MARK: &[u8] = b"CANARY{";

/// Nothing but frames and the stop signal wakes a tap; this is for a lost wake-up.
const IDLE: Duration = Duration::from_secs(1);

/// A text that only one tenant's (and class's) payload carries.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Canary(String);

impl Canary {
    /// `owner` is any name without a closing brace, such as `131016-chiyoda/mynumber`.
    #[must_use]
    pub fn of(owner: &str) -> Self {
        Self(format!("CANARY{{{owner}}}"))
    }

    /// The text as it stands in payloads.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// What the watch has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CanarySightings {
    /// Frames with a canary that belongs on their circuit, by circuit. A circuit at zero was not watched at all.
    pub own: BTreeMap<VlanTag, u64>,
    /// Frames with a canary that does not belong where they were seen. Anything but zero is a leak.
    pub foreign: u64,
    /// The first foreign canary, with the tag it was seen under, for the message.
    pub first_foreign: Option<(Option<VlanTag>, String)>,
}

/// Watches a trunk for canaries on circuits that are not theirs. Clones share what they have seen.
#[derive(Debug, Clone)]
pub struct CanaryWatch {
    owners: Arc<Vec<(VlanTag, Canary)>>,
    seen: Arc<Mutex<CanarySightings>>,
}

impl CanaryWatch {
    /// `owners` says which canaries may be seen on which circuit; a circuit may have several.
    #[must_use]
    pub fn new(owners: Vec<(VlanTag, Canary)>) -> Self {
        let own = owners.iter().map(|&(tag, _)| (tag, 0)).collect();
        let seen = CanarySightings { own, ..CanarySightings::default() };
        Self { owners: Arc::new(owners), seen: Arc::new(Mutex::new(seen)) }
    }

    /// The observer to hang into a splitter.
    #[must_use]
    pub fn observer(&self) -> Observer {
        let watch = self.clone();
        Box::new(move |sighting| watch.look_at(sighting))
    }

    /// What has been seen so far.
    #[must_use]
    pub fn sightings(&self) -> CanarySightings {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn look_at(&self, sighting: &Sighting<'_>) {
        let (mut own, mut foreign) = (false, None);
        for at in memmem::find_iter(sighting.frame, MARK) {
            let rest = &sighting.frame[at..];
            // A canary cut off by the packet's end is told by what there is of it.
            let fits = |canary: &Canary| rest.starts_with(canary.as_bytes()) || canary.as_bytes().starts_with(rest);
            if self.owners.iter().any(|(tag, canary)| Some(*tag) == sighting.tag && fits(canary)) {
                own = true;
            } else {
                let end = rest.iter().position(|&byte| byte == b'}').map_or(rest.len(), |at| at + 1);
                foreign = Some(String::from_utf8_lossy(&rest[..end.min(80)]).into_owned());
            }
        }
        if !own && foreign.is_none() {
            return;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = foreign {
            seen.foreign += 1;
            seen.first_foreign.get_or_insert((sighting.tag, text));
        } else if let Some(count) = sighting.tag.and_then(|tag| seen.own.get_mut(&tag)) {
            *count += 1;
        }
    }
}

/// Watches what arrives at an office. Dropping it stops it.
#[derive(Debug)]
pub struct CanaryTap {
    _thread: Background,
}

impl CanaryTap {
    /// Reports frames that arrive on `interface` to `watch` as if they were on the circuit `tag`: what may not be there may
    /// not be here either.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn start(namespace: &Namespace, interface: &str, tag: VlanTag, watch: &CanaryWatch) -> Result<Self, DemoError> {
        let (mut socket, watch) = (RawSocket::open(namespace, interface)?, watch.clone());
        let thread = Background::start(namespace, &format!("tap {interface}"), move |signal| {
            while let Ok(ready) = wait_readable(&[signal.as_fd(), socket.as_fd()], IDLE) {
                if ready[0] {
                    return;
                }
                while let Ok(Some(frame)) = socket.receive() {
                    watch.look_at(&Sighting { direction: Direction::CloudToOffice, tag: Some(tag), frame });
                }
            }
        })?;
        Ok(Self { _thread: thread })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::trunk::Direction;

    const OURS: VlanTag = VlanTag::Single(2101);
    const THEIRS: VlanTag = VlanTag::Single(2102);

    fn watch_after(frames: &[(Option<VlanTag>, &[u8])]) -> CanarySightings {
        let watch = CanaryWatch::new(vec![(OURS, Canary::of("ours")), (THEIRS, Canary::of("theirs"))]);
        let mut observer = watch.observer();
        for &(tag, frame) in frames {
            observer(&Sighting { direction: Direction::OfficeToCloud, tag, frame });
        }
        watch.sightings()
    }

    #[test]
    fn a_canary_on_its_own_circuit_is_counted_there() {
        let seen = watch_after(&[(Some(OURS), b"..CANARY{ours}.."), (Some(OURS), b"nothing"), (Some(THEIRS), b"CANARY{theirs}")]);
        assert_eq!((seen.own[&OURS], seen.own[&THEIRS], seen.foreign), (1, 1, 0));
    }

    #[test]
    fn a_canary_anywhere_else_is_a_leak() {
        let seen = watch_after(&[(Some(THEIRS), b"CANARY{ours}"), (None, b"CANARY{ours}"), (Some(OURS), b"CANARY{unheard of}")]);
        assert_eq!(seen.foreign, 3);
        assert_eq!(seen.first_foreign, Some((Some(THEIRS), "CANARY{ours}".to_owned())));
        assert_eq!(seen.own[&OURS], 0);
    }

    #[test]
    fn one_foreign_canary_among_own_ones_is_a_leak() {
        assert_eq!(watch_after(&[(Some(OURS), b"CANARY{ours}CANARY{theirs}CANARY{ours}")]).foreign, 1);
    }

    #[test]
    fn a_canary_cut_off_by_the_end_of_the_packet_is_told_by_its_beginning() {
        assert_eq!(watch_after(&[(Some(OURS), b"....CANARY{ou")]).foreign, 0);
        assert_eq!(watch_after(&[(Some(OURS), b"....CANARY{th")]).foreign, 1);
    }
}
