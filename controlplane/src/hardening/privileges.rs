//! Users and capabilities: what a process gives up before it reads anything. Linux keeps both for each thread, so all of this has to
//! happen while there is one.

use std::fs;

use anyhow::Context;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Gid, Resource, Rlimit, Uid, getuid, set_dumpable_behavior, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

/// Lets AF_XDP pin the relay's frames where `RLIMIT_MEMLOCK` is less; it does nothing but lock memory.
const FOR_FRAMES: CapabilitySet = CapabilitySet::IPC_LOCK;
/// What it takes to open a port: the sockets, the interface's settings, the XDP program.
const FOR_PORTS: CapabilitySet = CapabilitySet::NET_RAW.union(CapabilitySet::NET_ADMIN).union(CapabilitySet::BPF);
/// `_LINUX_CAPABILITY_U32S_3` words of 32.
const MOST_CAPABILITIES: u32 = 64;

/// A user of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// As /etc/passwd names it.
    pub name: String,
    /// Its number.
    pub uid: Uid,
    /// Its own group; it gets no other.
    pub gid: Gid,
}

impl User {
    /// The user of this name in /etc/passwd.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> anyhow::Result<Self> {
        let users = fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
        Self::find(name, &users).with_context(|| format!("there is no user `{name}` in /etc/passwd: `useradd --system {name}`"))
    }

    /// passwd(5): name, password, uid, gid, and more, between colons.
    fn find(name: &str, users: &str) -> Option<Self> {
        let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.first() == Some(&name))?;
        let number = |index: usize| fields.get(index)?.parse::<u32>().ok().filter(|id| *id != u32::MAX);
        Some(Self { name: name.into(), uid: Uid::from_raw(number(2)?), gid: Gid::from_raw(number(3)?) })
    }

    /// Be this user from now on. Permitted capabilities outlive it only where the thread asked for that.
    fn become_it(&self) -> anyhow::Result<()> {
        let Self { name, uid, gid } = self;
        if getuid() == *uid {
            return Ok(());
        }
        let changed = || -> rustix::io::Result<()> {
            set_thread_groups(&[*gid])?;
            set_thread_res_gid(*gid, *gid, *gid)?;
            set_thread_res_uid(*uid, *uid, *uid)
        };
        changed().with_context(|| format!("become the user `{name}`: only root may"))
    }
}

/// The relay's process, for good: `user` where one is named, no capability but the one to pin frames until [`give_up_the_last`], none to
/// be regained by a program with more rights, no core dump, and no look into its memory by others of the same user. As much memory may be
/// locked as whoever started it allows.
///
/// # Errors
/// What could not be given up.
pub fn give_up(user: Option<&User>) -> anyhow::Result<()> {
    raise_locked_memory();
    keep(FOR_FRAMES, CapabilitySet::empty(), user)
}

/// When the frames are pinned: no capability at all.
///
/// # Errors
/// When the kernel does not take it.
pub fn give_up_the_last() -> anyhow::Result<()> {
    keep_only(CapabilitySet::empty())
}

/// The launcher's process, for good: as [`give_up`], but with what it takes to open ports.
///
/// # Errors
/// What could not be given up.
pub fn keep_for_ports(user: Option<&User>) -> anyhow::Result<()> {
    keep(FOR_PORTS, FOR_PORTS, user)
}

fn keep(wanted: CapabilitySet, bounding: CapabilitySet, user: Option<&User>) -> anyhow::Result<()> {
    empty_bounding_set(bounding);
    set_keep_capabilities(true)?;
    user.map_or(Ok(()), User::become_it)?;
    set_keep_capabilities(false)?;
    keep_only(wanted)?;
    shut_out()
}

/// Of the permitted capabilities keep these. Where there are fewer, the kernel refuses what needs them, and says so.
fn keep_only(wanted: CapabilitySet) -> anyhow::Result<()> {
    let before = capabilities(None)?;
    let kept = before.permitted & wanted;
    match clear_ambient_capability_set() {
        // Before Linux 4.3 there was none.
        Err(error) if error != Errno::INVAL => return Err(error).context("clear the ambient capabilities"),
        _ => {}
    }
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    // A filter of the service manager may forbid the call to whoever has nothing to give up.
    if before != sets {
        set_capabilities(None, sets).context("give capabilities up")?;
    }
    Ok(())
}

/// What no program that this process might start could get. It takes CAP_SETPCAP; who lacks that has been given a set by whoever
/// granted the rest, and is kept from regaining anything by `no_new_privs` all the same.
fn empty_bounding_set(kept: CapabilitySet) {
    for number in 0..MOST_CAPABILITIES {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        // EINVAL: the kernel knows no such capability.
        if !kept.contains(capability) && remove_capability_from_bounding_set(capability) == Err(Errno::PERM) {
            return;
        }
    }
}

fn shut_out() -> anyhow::Result<()> {
    set_no_new_privs(true)?;
    forbid_core_dumps();
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("keep others of the same user out of the memory")
}

/// Keys and residents' data never reach a disk. The frames are kept out of core dumps by themselves as well.
pub fn forbid_core_dumps() {
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!(%error, "core dumps cannot be switched off; set LimitCORE=0");
    }
}

/// AF_XDP pins its frames, and all other memory is to be locked; both count against one limit, which root is free from until it is root
/// without capabilities.
fn raise_locked_memory() {
    let unlimited = Rlimit { current: None, maximum: None };
    if setrlimit(Resource::Memlock, unlimited).is_err() {
        let maximum = rustix::process::getrlimit(Resource::Memlock).maximum;
        let _ = setrlimit(Resource::Memlock, Rlimit { current: maximum, maximum });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str =
        "root:x:0:0:root:/root:/bin/bash\nchukei:x:987:986::/var/lib/chukei:/usr/sbin/nologin\nbroken:x:many:1::\n-:x:4294967295:1::\n";

    #[test]
    fn a_user_is_found_by_the_whole_name_only() {
        let found = User::find("chukei", USERS).expect("there");
        assert_eq!((found.uid.as_raw(), found.gid.as_raw()), (987, 986));
        for name in ["chuke", "", "broken", "-", "987", "chukei:x"] {
            assert_eq!(User::find(name, USERS), None, "{name}");
        }
    }
}
