//! seccomp: the system calls that a relay makes while it runs, and no other.

use std::collections::BTreeMap;
use std::process;

use libc::c_long;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, apply_filter};

/// Memory, threads, time, and what is open already.
const ALWAYS: &[c_long] = &[
    // Frames and messages, and sleeping until there are any.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_ppoll,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    // Scrapes and the API: sockets that listen already.
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    // A reload, and what outlives a restart; Landlock says which files.
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_pread64,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_fcntl,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Threads.
    libc::SYS_futex,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Signals that were asked for, and panics.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Time and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    // Who the API's peers are compared with.
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    // Bells between threads.
    libc::SYS_eventfd2,
];

/// Names that only older architectures have for the above.
#[cfg(target_arch = "x86_64")]
const OLD_NAMES: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_unlink,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_time,
    libc::SYS_gettimeofday,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_NAMES: &[c_long] = &[libc::SYS_renameat];

/// Why system calls are not confined.
#[derive(Debug, thiserror::Error)]
pub enum Lacking {
    /// Not a processor that the filter can be made for.
    #[error("no filter can be made for this processor: {0}")]
    Processor(#[from] seccompiler::BackendError),
    /// The kernel refuses.
    #[error("this kernel takes no filter ({0}): it needs CONFIG_SECCOMP_FILTER=y")]
    Refused(#[from] seccompiler::Error),
}

/// Keep this thread, and all that it starts, from every other system call: the kernel then answers as if it had none of that name
/// (ENOSYS), upon which the C library takes an older one where there is one.
///
/// # Errors
/// What is lacking.
pub fn confine() -> Result<(), Lacking> {
    Ok(apply_filter(&filter()?)?)
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    rules.extend(ALWAYS.iter().chain(OLD_NAMES).map(|call| (*call, Vec::new())));
    let thread = number(libc::CLONE_THREAD);
    let executable = number(libc::PROT_EXEC);
    let restricted = [
        // Threads, no processes. clone3 hides its flags in memory, so the C library is left with this one.
        (libc::SYS_clone, SeccompCondition::new(0, Qword, MaskedEq(thread), thread)?),
        // No new code.
        (libc::SYS_mmap, SeccompCondition::new(2, Dword, MaskedEq(executable), 0)?),
        (libc::SYS_mprotect, SeccompCondition::new(2, Dword, MaskedEq(executable), 0)?),
        // Only along the way that a socket has already.
        (libc::SYS_sendto, SeccompCondition::new(4, Qword, Eq, 0)?),
        // Names of threads.
        (libc::SYS_prctl, SeccompCondition::new(0, Dword, Eq, number(libc::PR_SET_NAME))?),
        // Read limits, change none.
        (libc::SYS_prlimit64, SeccompCondition::new(2, Qword, Eq, 0)?),
        // abort(3) signals its own process.
        (libc::SYS_tgkill, SeccompCondition::new(0, Dword, Eq, u64::from(process::id()))?),
    ];
    for (call, condition) in restricted {
        rules.insert(call, vec![SeccompRule::new(vec![condition])?]);
    }
    let refuse = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?;
    filter.try_into()
}

fn number(flag: libc::c_int) -> u64 {
    u64::from(flag.unsigned_abs())
}
