//! Programs beside a test: bounded by a deadline, ended with the test, also when it panics.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use controlplane::demo::Namespace;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// How often a condition that is waited for is looked at again.
const POLL: Duration = Duration::from_millis(20);
/// Lines of a program's log that a failed test prints.
const LOG_LINES: usize = 40;

/// A program that runs beside the test. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts `program` with `arguments` in `namespace`; what it prints goes to `NAME.log` in `directory`.
    ///
    /// It dies with the thread that started it even when the test itself is killed.
    #[must_use]
    pub fn start(namespace: &Namespace, directory: &Path, name: &str, program: &str, arguments: &[&str]) -> Self {
        let log = directory.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).unwrap_or_else(|error| panic!("open {}: {error}", log.display()));
        let mut command = namespace.command("setpriv");
        command.args(["--pdeathsig", "KILL", "--", program]).args(arguments);
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("a second handle of the log")).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("start {program}: {error}"));
        Self { name: name.to_owned(), child, log }
    }

    /// The process's number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        signal::kill(pid, signal).unwrap_or_else(|error| panic!("send {signal} to {}: {error}", self.name));
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, timeout: Duration) -> ExitStatus {
        let ended = eventually(timeout, || self.child.try_wait().expect("wait for a child"));
        ended.unwrap_or_else(|| panic!("{} still runs after {timeout:?}:\n{}", self.name, self.log()))
    }

    /// SIGKILL, as a crash would be.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// True while it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Seconds of CPU, in user and kernel mode, that the process has used since its start.
    #[must_use]
    pub fn cpu_seconds(&self) -> f64 {
        let path = format!("/proc/{}/stat", self.pid());
        let stat = fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {path}: {error}"));
        // proc_pid_stat(5): the name in parentheses may hold anything; utime and stime are the 14th and 15th fields.
        let fields: Vec<&str> = stat[stat.rfind(')').expect("a name in parentheses") + 2..].split(' ').collect();
        let ticks: u32 = fields[11].parse::<u32>().expect("utime") + fields[12].parse::<u32>().expect("stime");
        f64::from(ticks) / TICKS_PER_SECOND
    }
}

/// USER_HZ, the unit of /proc/PID/stat: 100 on every architecture that Linux runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let log = self.log();
            // wireguard-go begins with a frame of advice.
            let lines: Vec<&str> = log.lines().filter(|line| !line.starts_with(['┌', '│', '└']) && !line.is_empty()).collect();
            if !lines.is_empty() {
                let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
                eprintln!("---- last lines of {} ----\n{last}\n", self.name);
            }
        }
    }
}

/// Sends a signal to a process that is nobody's child here.
pub fn kill_process(pid: u32, signal: Signal) {
    signal::kill(Pid::from_raw(pid.cast_signed()), signal).unwrap_or_else(|error| panic!("send {signal} to {pid}: {error}"));
}

/// The processes that `pid` started, by their numbers.
#[must_use]
pub fn children(pid: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // proc_pid_stat(5): the parent is the second field behind the name, which is in parentheses.
    let parent = |process: u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    numbers.filter(|process| parent(*process) == Some(pid)).collect()
}

/// Runs a program in `namespace` to its end, or kills it after `timeout`.
#[must_use]
pub fn output(namespace: &Namespace, timeout: Duration, program: &str, arguments: &[&str]) -> Output {
    let seconds = timeout.as_secs_f64().to_string();
    let mut command = namespace.command("timeout");
    command.args(["--kill-after=1", &seconds, program]).args(arguments).stdin(Stdio::null());
    finish(command)
}

/// The output of a command, whatever its exit status.
pub fn finish(mut command: Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("run {command:?}: {error}"))
}

/// Runs a program that has to succeed soon; returns what it printed.
pub fn must(namespace: &Namespace, program: &str, arguments: &[&str]) -> String {
    text_of(&output(namespace, Duration::from_secs(30), program, arguments), &format!("{program} {}", arguments.join(" ")))
}

/// `ip` with arguments as one would type them.
pub fn ip(namespace: &Namespace, arguments: &str) -> String {
    must(namespace, "ip", &arguments.split_whitespace().collect::<Vec<_>>())
}

/// Standard output of a program that has to have succeeded.
pub fn text_of(output: &Output, what: &str) -> String {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let how = output.status.code().map_or_else(|| format!("signal {:?}", output.status.signal()), |code| format!("status {code}"));
    assert!(output.status.success(), "{what} ended with {how}:\n{stdout}{stderr}");
    stdout.into_owned()
}

/// Asks until there is an answer; `None` when there was none in time.
pub fn eventually<T>(timeout: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + timeout;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(POLL);
    }
}

/// Waits until `condition` holds, or fails the test with `what`.
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) {
    assert!(eventually(timeout, || condition().then_some(())).is_some(), "not within {timeout:?}: {what}");
}
