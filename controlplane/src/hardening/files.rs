//! Landlock: the files within reach while the relay runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
};

use crate::config::RelayConfigModel;

/// Everything there is to restrict up to this one. An older kernel restricts what it knows: what the first one knew is enough, as the
/// filter of system calls stands behind the rest.
const NEWEST: ABI = ABI::V6;
/// What came with which version (Linux 6.2, 6.7, 6.10, 6.12).
const SINCE: [(ABI, &str); 4] =
    [(ABI::V3, "truncating files"), (ABI::V4, "TCP connections"), (ABI::V5, "ioctl on devices"), (ABI::V6, "signals and abstract sockets")];

/// Directories within reach, with all below them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Reach {
    /// Configuration, keys and certificates: what a reload reads.
    pub read: BTreeSet<PathBuf>,
    /// What outlives a restart.
    pub write: BTreeSet<PathBuf>,
    /// Where the API's socket is taken away at the end.
    pub remove: BTreeSet<PathBuf>,
}

/// Why files are not confined.
#[derive(Debug, thiserror::Error)]
pub enum Lacking {
    /// The kernel was built without it.
    #[error("this kernel has no Landlock: it takes Linux 5.13 with CONFIG_SECURITY_LANDLOCK=y")]
    NotImplemented,
    /// It is there and off.
    #[error("Landlock is switched off: add `landlock` to the list `lsm=` of the kernel's command line, and boot")]
    NotEnabled,
    /// A directory that has to be within reach is not there.
    #[error("{0}: {1}")]
    Directory(PathBuf, landlock::PathFdError),
    /// The kernel refuses.
    #[error("{0}")]
    Refused(#[from] RulesetError),
}

impl Reach {
    /// What a relay of this configuration needs, whose files were read from `configuration`.
    #[must_use]
    pub fn of(model: &RelayConfigModel, configuration: BTreeSet<PathBuf>) -> Self {
        let socket = model.api.as_ref().and_then(|api| api.socket.parent());
        let here = |directory: &Path| if directory == "" { Path::new(".") } else { directory }.to_owned();
        Self { read: configuration, write: [model.state.clone()].into(), remove: socket.into_iter().map(here).collect() }
    }
}

/// Keep this thread, and all that it starts, from every file that is out of `reach`, and from TCP connections and signals to others where
/// the kernel knows how. What is open stays open.
///
/// Returns what this kernel does not know how to restrict.
///
/// # Errors
/// What is lacking.
pub fn confine(reach: &Reach) -> Result<Vec<&'static str>, Lacking> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = read | make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg | RemoveFile});
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    let directories = [(&reach.read, read), (&reach.write, write), (&reach.remove, AccessFs::RemoveFile.into())];
    for (directories, access) in directories {
        for directory in directories {
            rules = rules.add_rule(beneath(directory, access)?)?;
        }
    }
    match rules.restrict_self()?.landlock {
        LandlockStatus::Available { effective_abi, .. } => {
            Ok(SINCE.into_iter().filter(|(abi, _)| effective_abi < *abi).map(|(_, name)| name).collect())
        }
        LandlockStatus::NotEnabled => Err(Lacking::NotEnabled),
        LandlockStatus::NotImplemented => Err(Lacking::NotImplemented),
    }
}

fn beneath(directory: &Path, access: BitFlags<AccessFs>) -> Result<PathBeneath<PathFd>, Lacking> {
    let opened = PathFd::new(directory).map_err(|error| Lacking::Directory(directory.to_owned(), error))?;
    Ok(PathBeneath::new(opened, access))
}
