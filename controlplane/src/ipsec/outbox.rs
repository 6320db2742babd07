//! Commands that wait for room on a worker's ring. Each worker's leave in the order in which they came.

use std::collections::VecDeque;

use dataplane::worker::control::Command;

use crate::workers::Workers;

/// IKE messages that may wait for one worker. More are dropped: whoever misses one asks again. Commands about SAs are never dropped;
/// there are at most a few for each SA that the engine holds.
const MOST_MESSAGES: usize = 8_192;

/// One queue a worker.
#[derive(Default)]
pub(super) struct Outbox {
    queues: Vec<VecDeque<Command>>,
    messages: Vec<usize>,
    /// IKE messages dropped because too many waited.
    pub(super) dropped: u64,
}

impl Outbox {
    /// Queue a command for `worker`.
    pub(super) fn push(&mut self, worker: usize, command: Command) {
        if self.queues.len() <= worker {
            self.queues.resize_with(worker + 1, VecDeque::new);
            self.messages.resize(worker + 1, 0);
        }
        if is_message(&command) {
            if self.messages[worker] >= MOST_MESSAGES {
                self.dropped += 1;
                return;
            }
            self.messages[worker] += 1;
        }
        self.queues[worker].push_back(command);
    }

    /// Hand over what there is room for.
    pub(super) fn flush(&mut self, workers: &Workers) {
        for (worker, (queue, messages)) in self.queues.iter_mut().zip(&mut self.messages).enumerate() {
            while let Some(command) = queue.pop_front() {
                let is_message = is_message(&command);
                if let Err(command) = workers.send_to(worker, command) {
                    queue.push_front(command);
                    break;
                }
                *messages -= usize::from(is_message);
            }
        }
    }

    /// How many commands wait.
    pub(super) fn len(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }
}

fn is_message(command: &Command) -> bool {
    matches!(command, Command::SendIke { .. } | Command::SendKeepalive { .. })
}
