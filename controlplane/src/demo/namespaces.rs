//! Anonymous network namespaces, kept alive by a descriptor and gone with the process.
//!
//! A network namespace belongs to a *thread*. A namespace is made by a short-lived thread that leaves its old one
//! (`unshare`), and entered by threads of their own (`setns`), so the caller's thread never moves. A socket remembers
//! the namespace it was made in, wherever it is used later. Threads inherit the namespace of the thread that spawns them.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::{fs, io};

use super::error::{Context, DemoError, checked};

/// A network namespace without a name in the file system. Clones are handles to the same namespace; it vanishes with the
/// last handle, socket and thread in it.
#[derive(Debug, Clone)]
pub struct Namespace {
    name: Arc<str>,
    fd: Arc<OwnedFd>,
}

impl Namespace {
    /// Makes a namespace whose loopback interface is still down. `name` is for messages and thread names only.
    ///
    /// # Errors
    /// When this process may not make namespaces: see [`super::privilege::become_root`].
    pub fn create(name: &str) -> Result<Self, DemoError> {
        let made = thread::scope(|scope| join(scope.spawn(unshare_network)));
        let fd = made.doing(|| format!("make network namespace {name} (the demo has to run as root or in a user namespace)"))?;
        Ok(Self { name: name.into(), fd: Arc::new(fd) })
    }

    /// The namespace that the calling thread is in.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn current(name: &str) -> Result<Self, DemoError> {
        let fd = current_network().doing(|| "open /proc/thread-self/ns/net (is /proc mounted?)".to_owned())?;
        Ok(Self { name: name.into(), fd: Arc::new(fd) })
    }

    /// The name it was created with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path that leads other processes of the same user here while this process lives: `nsenter --net=PATH`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.fd.as_raw_fd())
    }

    pub(crate) fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Moves the calling thread into this namespace, for good.
    ///
    /// # Errors
    /// When the thread lacks `CAP_SYS_ADMIN` over it.
    pub fn enter(&self) -> Result<(), DemoError> {
        enter_by_fd(self.fd.as_raw_fd()).doing(|| format!("enter network namespace {}", self.name))
    }

    /// A command whose process will run in this namespace; for tests that need other programs as peers.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let namespace = self.clone();
        // SAFETY: the closure runs between fork and exec and makes one system call, setns, which is async-signal-safe; it
        // neither allocates nor takes a lock. It owns a handle, so the descriptor is open then.
        unsafe { command.pre_exec(move || enter_by_fd(namespace.fd.as_raw_fd())) };
        command
    }

    /// Writes a setting below `/proc/sys/` as this namespace sees it, such as `net/ipv4/ip_forward`.
    ///
    /// # Errors
    /// When there is no such setting or it may not be written.
    pub fn set_sysctl(&self, key: &str, value: &str) -> Result<(), DemoError> {
        let written = in_namespace(self, || fs::write(format!("/proc/sys/{key}"), value))?;
        written.doing(|| format!("write {value:?} to /proc/sys/{key} in namespace {}", self.name))
    }
}

/// Runs `work` on a thread of its own inside `namespace` and waits for it. A panic in it goes on here.
///
/// # Errors
/// When the thread could not be started or could not enter the namespace.
pub fn in_namespace<T: Send>(namespace: &Namespace, work: impl FnOnce() -> T + Send) -> Result<T, DemoError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name(namespace.name().to_owned())
            .spawn_scoped(scope, || namespace.enter().map(|()| work()))
            .doing(|| format!("start a thread for namespace {}", namespace.name()))?;
        join(thread)
    })
}

/// Starts `work` on a thread named `name` inside `namespace`. It returns once the thread is in there.
///
/// # Errors
/// When the thread could not be started or could not enter the namespace.
pub fn spawn_in<T: Send + 'static>(
    namespace: &Namespace,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, DemoError> {
    let (name, doing) = (name.to_owned(), || format!("start thread {name} in namespace {}", namespace.name()));
    // Spawning from within makes the new thread inherit the namespace: no window in which it stands elsewhere.
    in_namespace(namespace, || thread::Builder::new().name(name.clone()).spawn(work))?.doing(doing)
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn unshare_network() -> io::Result<OwnedFd> {
    // SAFETY: unshare takes flags only; this thread ends right after, so nobody is surprised by where it stands.
    checked(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    current_network()
}

fn current_network() -> io::Result<OwnedFd> {
    File::open("/proc/thread-self/ns/net").map(OwnedFd::from)
}

fn enter_by_fd(fd: RawFd) -> io::Result<()> {
    // SAFETY: setns takes a descriptor and a flag; the callers hold the descriptor open.
    checked(unsafe { libc::setns(fd, libc::CLONE_NEWNET) }).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::demo::test_support::as_root;

    fn inode_here() -> String {
        fs::read_link("/proc/thread-self/ns/net").unwrap().display().to_string()
    }

    #[test]
    fn each_namespace_is_another_one_and_the_caller_stays_at_home() {
        as_root("demo::namespaces::tests::each_namespace_is_another_one_and_the_caller_stays_at_home", || {
            let home = inode_here();
            let one = Namespace::create("one").unwrap();
            let two = Namespace::create("two").unwrap();
            let seen = BTreeSet::from([
                home.clone(),
                in_namespace(&one, inode_here).unwrap(),
                in_namespace(&two, inode_here).unwrap(),
                spawn_in(&Namespace::create("three").unwrap(), "worker", inode_here).unwrap().join().unwrap(),
            ]);
            assert_eq!(seen.len(), 4, "{seen:?}");
            assert_eq!(inode_here(), home);
            assert_eq!(in_namespace(&one.clone(), inode_here).unwrap(), in_namespace(&one, inode_here).unwrap());
        });
    }

    #[test]
    fn programs_and_settings_belong_to_the_namespace() {
        as_root("demo::namespaces::tests::programs_and_settings_belong_to_the_namespace", || {
            let namespace = Namespace::create("inside").unwrap();
            let listing = namespace.command("ls").args(["-l", "/proc/self/ns/net"]).output().unwrap();
            let inside = in_namespace(&namespace, inode_here).unwrap();
            assert!(String::from_utf8_lossy(&listing.stdout).contains(&inside), "{listing:?}");

            namespace.set_sysctl("net/ipv4/ip_default_ttl", "17").unwrap();
            let read = || fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap().trim().to_owned();
            assert_eq!(in_namespace(&namespace, read).unwrap(), "17");
            assert_ne!(read(), "17");
        });
    }
}
