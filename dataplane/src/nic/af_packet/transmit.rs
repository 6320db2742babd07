//! The transmit side: frames of one flow leave as one, all of a batch with one system call.

use std::io;

use super::super::BATCH;
use super::super::messages::Outbox;
use super::super::offload::coalesce::{Group, Kinds, Plan};
use super::super::offload::{MOST_HEADERS, VNET_HEADER};
use super::super::repair::TAG;
use super::socket::AfPacketSocket;
use crate::packet::{FramePool, Packet};

/// The kernel's header in front of a frame with which nothing is left to do.
const PLAIN: [u8; VNET_HEADER] = [0; VNET_HEADER];

type Headers = [u8; VNET_HEADER + MOST_HEADERS];

/// What it takes to send.
#[derive(Debug)]
pub(super) struct Transmitter {
    plan: Plan,
    headers: Box<[Headers]>,
    outbox: Outbox,
    kinds: Kinds,
    /// Frames that the kernel does not send.
    pub(super) refused: u64,
    /// Super-frames that the kernel took.
    pub(super) super_frames: u64,
}

/// What became of the frames of one batch.
struct Outcome {
    /// Sent or refused: nothing of it is to be tried again.
    done: [bool; BATCH],
    /// The kernel has no room at the moment.
    full: bool,
}

/// What an error says about one message.
enum Trouble {
    /// No room, or no link: later perhaps.
    Full,
    /// This machine cannot cut this kind of super-frame.
    NoSuperFrames,
    /// The kernel will never send this frame.
    Refused,
}

impl Transmitter {
    pub(super) fn new(kinds: Kinds) -> Self {
        // A header and a payload for each frame is more than any plan needs.
        let outbox = Outbox::new(BATCH, 2 * BATCH);
        Self { plan: Plan::new(), headers: vec![[0; VNET_HEADER + MOST_HEADERS]; BATCH].into(), outbox, kinds, refused: 0, super_frames: 0 }
    }

    pub(super) fn transmit(&mut self, socket: &AfPacketSocket, pool: &mut FramePool, batch: &mut Vec<Packet>) {
        while !batch.is_empty() {
            let count = batch.len().min(BATCH);
            let outcome = self.send(socket, &batch[..count]);
            let mut done = outcome.done.into_iter();
            for packet in batch.extract_if(..count, |_| done.next().unwrap_or(false)) {
                pool.put(packet.into_frame());
            }
            if outcome.full {
                break;
            }
        }
    }

    fn send(&mut self, socket: &AfPacketSocket, batch: &[Packet]) -> Outcome {
        let mut done: [bool; BATCH] =
            std::array::from_fn(|number| batch.get(number).is_some_and(|packet| is_too_long(socket, packet.bytes())));
        self.refused += done.iter().filter(|done| **done).count() as u64;
        self.plan.make(batch, self.kinds, |number| !done[number]);
        let groups = self.plan.groups();
        let mut headers = [None; BATCH];
        for ((group, buffer), written) in groups.iter().zip(&mut self.headers).zip(&mut headers) {
            *written = group.write_headers(batch[group.first].bytes(), buffer);
        }
        let mut messages = self.outbox.messages();
        for ((group, buffer), written) in groups.iter().zip(&self.headers).zip(headers) {
            messages.begin();
            messages.piece(written.map_or(&PLAIN[..], |(length, _)| &buffer[..length]));
            for number in self.plan.members(group) {
                messages.piece(&batch[number].bytes()[written.map_or(0, |(_, payload)| payload)..]);
            }
        }
        messages.seal();
        let (mut next, mut asked_twice) = (0, false);
        while let Some(group) = groups.get(next) {
            let taken = match messages.send(&socket.fd, next) {
                Ok(taken) => {
                    self.super_frames += groups[next..next + taken].iter().filter(|group| group.count > 1).count() as u64;
                    taken
                }
                // The first error may be an old one of the socket, from when the link was down; asking reports and clears it.
                Err(_) if !asked_twice => 0,
                Err(error) => match trouble(&error, group) {
                    Trouble::Full => return Outcome { done, full: true },
                    Trouble::NoSuperFrames => {
                        self.kinds = self.kinds.without(group);
                        return Outcome { done, full: false };
                    }
                    Trouble::Refused => {
                        self.refused += 1;
                        1
                    }
                },
            };
            asked_twice = taken == 0;
            for group in &groups[next..next + taken] {
                self.plan.members(group).for_each(|number| done[number] = true);
            }
            next += taken;
        }
        Outcome { done, full: false }
    }
}

fn trouble(error: &io::Error, group: &Group) -> Trouble {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM | libc::ENETDOWN) => Trouble::Full,
        _ if group.count > 1 => Trouble::NoSuperFrames,
        _ => Trouble::Refused,
    }
}

/// Longer than the longest frame the kernel sends on this interface; only one 802.1Q tag does not count.
fn is_too_long(socket: &AfPacketSocket, frame: &[u8]) -> bool {
    let tag = if frame.get(12..14) == Some(&[0x81, 0x00]) { TAG } else { 0 };
    frame.len() > usize::try_from(socket.interface.mtu).unwrap_or(usize::MAX).saturating_add(14 + tag)
}
