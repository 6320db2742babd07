//! Keys stay in memory: nothing of this process goes to a swap device.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, getrlimit};

/// Lock all memory, also what comes later, each page when it is first touched. Keys lie among sessions and buffers, in libraries' hands
/// as well, so there are no pages that hold keys alone.
///
/// Only without a limit: with one, memory that comes later would be refused at some moment of full load.
pub(super) fn lock() {
    let locked = match getrlimit(Resource::Memlock).current {
        None => mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).map_err(|error| error.to_string()),
        Some(bytes) => Err(format!("the limit is {bytes} bytes")),
    };
    if let Err(error) = locked {
        tracing::warn!("memory is not locked ({error}), and keys may go to a swap device: set LimitMEMLOCK=infinity, or swapoff -a");
    }
}
