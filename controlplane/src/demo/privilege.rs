//! Becoming root of a user namespace of one's own, so that an ordinary user can run the demo.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{fs, io};

use super::error::{Context, DemoError, checked};

/// Bits of `CapEff` in `/proc/self/status`: capability(7). The demo needs all of these.
const NEEDED_CAPABILITIES: [(u32, &str); 3] = [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW"), (21, "CAP_SYS_ADMIN")];

/// The switches with which distributions turn user namespaces off, the value that does, and the one that allows them.
const SWITCHES: [(&str, &str, &str); 4] = [
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ("user.max_user_namespaces", "0", "10000"),
    ("user.max_net_namespaces", "0", "10000"),
];

/// How this process came by the right to make network namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// It had the capabilities already. AF_XDP is possible.
    Root,
    /// It is root in a user namespace of its own. BPF programs cannot be loaded from here, so AF_XDP is not possible.
    UserNamespace,
}

/// Makes sure that this process may create and configure network namespaces: an ordinary user becomes root of a new user
/// namespace.
///
/// Call it first thing in `main`: the kernel moves a process into a user namespace only while it has a single thread, so
/// before any runtime or logger starts one.
///
/// # Errors
/// When the kernel's settings refuse it; the text names the setting and the `sudo` command.
pub fn become_root() -> Result<Privilege, DemoError> {
    if missing_capabilities(&fs::read_to_string("/proc/self/status").unwrap_or_default()).is_empty() {
        return Ok(Privilege::Root);
    }
    let threads = fs::read_dir("/proc/self/task").doing(|| "count the threads of this process in /proc/self/task".to_owned())?.count();
    if threads != 1 {
        return Err(DemoError::Invalid(format!(
            "this process has {threads} threads and can no longer enter a user namespace; call become_root before starting any"
        )));
    }
    enter_user_namespace(&IdMaps::of_this_process()).map_err(|error| {
        let command = std::env::args().collect::<Vec<_>>().join(" ");
        DemoError::Refused(explain_refusal(&error, &command, read_switch))
    })?;
    Ok(Privilege::UserNamespace)
}

/// Makes `command` run as root of a new user namespace with an empty network namespace, without touching this process.
/// This is how a test, which has threads, gets one.
pub fn run_as_namespace_root(command: &mut Command) -> &mut Command {
    let maps = IdMaps::of_this_process();
    // SAFETY: the closure runs in the forked child before exec. It makes system calls and writes three prepared texts to
    // files in /proc whose paths are short enough for std to keep them on the stack; it takes no lock.
    unsafe { command.pre_exec(move || enter_user_namespace(&maps)) }
}

/// The lines for `uid_map` and `gid_map`: user_namespaces(7). This user becomes 0, nobody else exists.
struct IdMaps {
    uid: String,
    gid: String,
}

impl IdMaps {
    fn of_this_process() -> Self {
        // SAFETY: both calls take nothing and cannot fail.
        let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
        Self { uid: format!("0 {uid} 1"), gid: format!("0 {gid} 1") }
    }
}

fn enter_user_namespace(maps: &IdMaps) -> io::Result<()> {
    // SAFETY: unshare takes flags only. It fails harmlessly when the process has several threads.
    checked(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) })?;
    // A gid map may be written by an ordinary user only after giving up setgroups(2).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", &maps.uid)?;
    fs::write("/proc/self/gid_map", &maps.gid)?;
    // AppArmor lets the first call pass and takes the capabilities away afterwards: only a second one tells.
    // SAFETY: as above; it leaves one empty network namespace for another.
    checked(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(|_| ())
}

fn missing_capabilities(status: &str) -> Vec<&'static str> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    NEEDED_CAPABILITIES.iter().filter(|(bit, _)| effective & (1 << bit) == 0).map(|&(_, name)| name).collect()
}

fn read_switch(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok().map(|text| text.trim().to_owned())
}

/// Names the switches that stand in the way, or all of them when none is seen to.
fn explain_refusal(error: &io::Error, command: &str, read: impl Fn(&str) -> Option<String>) -> String {
    let closed: Vec<_> = SWITCHES.iter().filter(|(name, off, _)| read(name).as_deref() == Some(off)).collect();
    let mut text = format!("the kernel refuses a user namespace to this user ({error}), and the demo builds its networks in one.\n");
    if closed.is_empty() {
        let names: Vec<_> = SWITCHES.iter().map(|&(name, ..)| name).collect();
        text += &format!("A container's seccomp profile or one of these settings may be the reason: {}.\n", names.join(", "));
    }
    for (name, off, on) in closed {
        text += &format!("Reason: {name} = {off}. To allow it until the next boot: sudo sysctl -w {name}={on}\n");
    }
    text + &format!("Or run it as root: sudo {command}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_status_file() {
        assert_eq!(missing_capabilities("Name:\tx\nCapEff:\t000001ffffffffff\n"), Vec::<&str>::new());
        assert_eq!(missing_capabilities("CapEff:\t0000000000003000\n"), ["CAP_SYS_ADMIN"]);
        assert_eq!(missing_capabilities("CapEff:\t0000000000000000\n").len(), 3);
        assert_eq!(missing_capabilities("").len(), 3);
    }

    #[test]
    fn a_refusal_names_the_switch_that_is_off_and_the_sudo_command() {
        let error = io::Error::from_raw_os_error(libc::EPERM);
        let ubuntu = |name: &str| (name == "kernel.apparmor_restrict_unprivileged_userns").then(|| "1".to_owned());
        let text = explain_refusal(&error, "chukei demo", ubuntu);
        assert!(text.contains("sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"), "{text}");
        assert!(!text.contains("max_user_namespaces"), "{text}");
        assert!(text.ends_with("sudo chukei demo"), "{text}");
    }

    #[test]
    fn a_refusal_for_no_visible_reason_names_every_switch() {
        let text = explain_refusal(&io::Error::from_raw_os_error(libc::EPERM), "chukei demo", |_| Some("1000".to_owned()));
        for (name, ..) in SWITCHES {
            assert!(text.contains(name), "{name} is missing in {text}");
        }
    }

    #[test]
    fn a_child_is_root_of_its_own_user_namespace() {
        let mut command = Command::new("cat");
        let output = run_as_namespace_root(command.args(["/proc/self/uid_map", "/proc/self/status"])).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let map: Vec<_> = text.lines().next().unwrap_or_default().split_whitespace().collect();
        assert_eq!((map.first(), map.last()), (Some(&"0"), Some(&"1")), "{output:?}");
        assert_eq!(missing_capabilities(&text), Vec::<&str>::new());
    }
}
