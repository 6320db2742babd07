//! What the relay's process takes from itself, so that whoever got hold of it by a packet would hold nothing: its capabilities before it
//! reads anything, and when all is read and open, the system calls and files that forwarding does not need.

pub mod files;
mod memory;
pub mod privileges;
pub mod system_calls;

use anyhow::bail;

use crate::config::{Hardening, Loader, RelayConfigModel};
use files::Reach;

/// Confine this thread, and all that it starts, to what a relay of this configuration, read by `loader`, needs while it runs. There must
/// be no other thread yet.
///
/// # Errors
/// What the kernel lacks, with the remedy, unless the configuration has `hardening: best-effort`.
pub fn confine(model: &RelayConfigModel, loader: &Loader) -> anyhow::Result<()> {
    memory::lock();
    privileges::give_up_the_last()?;
    let files = files::confine(&Reach::of(model, loader.directories())).map_err(|lacking| ("Landlock", lacking.to_string()));
    let files = files.map(|unknown| {
        if !unknown.is_empty() {
            tracing::info!(
                "the Landlock of this kernel does not restrict {}: there the filter of system calls stands alone",
                unknown.join(", ")
            );
        }
    });
    // Last, as it forbids the calls that make the others.
    let calls = system_calls::confine().map_err(|lacking| ("seccomp", lacking.to_string()));
    for (feature, lacking) in [files, calls].into_iter().filter_map(Result::err) {
        match model.hardening {
            Hardening::Required => {
                bail!("{feature}: {lacking}; mend it, or let the relay run with less protection by `hardening: best-effort` in relay.yaml")
            }
            Hardening::BestEffort => tracing::warn!(feature, "the relay runs with less protection: {lacking}"),
        }
    }
    tracing::info!(hardening = model.hardening.label(), "confined: no capability, no new socket, no program, no file but its own");
    Ok(())
}
