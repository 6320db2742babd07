//! One QEMU guest, spoken to over its serial console.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use netns_tests::topology::Lab;
use serde_json::Value;

pub(crate) const ACCESS_TAP: &str = "tapa";
pub(crate) const CLOUD_TAP: &str = "tapt";
const BOOT: Duration = Duration::from_secs(180);
const COMMAND: Duration = Duration::from_secs(90);
/// Lines of the console that a failure shows.
const LAST_LINES: usize = 30;

/// A running guest. Dropping it kills it.
pub(crate) struct Guest {
    child: Child,
    console: ChildStdin,
    lines: Receiver<String>,
    pub(crate) boot_seconds: f64,
}

impl Guest {
    /// Boots the kernel with two NICs of one kind and the laboratory's configuration.
    pub(crate) fn boot(lab: &Lab, nic: &str, relay_yaml: &Path) -> Result<Self, String> {
        let started = Instant::now();
        let initramfs = initramfs(lab, relay_yaml)?;
        let mut qemu = lab.relay.command("setpriv");
        qemu.args([
            "--pdeathsig",
            "KILL",
            "--",
            "qemu-system-x86_64",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            "512",
        ]);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]);
        qemu.arg("-kernel").arg(variable("GUEST_KERNEL")?).arg("-initrd").arg(initramfs);
        qemu.args(["-append", "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off"]);
        for (tap, last) in [(ACCESS_TAP, "aa"), (CLOUD_TAP, "bb")] {
            qemu.arg("-netdev").arg(format!("tap,id={tap},ifname={tap},script=no,downscript=no"));
            qemu.arg("-device").arg(format!("{nic},netdev={tap},mac=52:54:00:00:00:{last}"));
        }
        let mut child = qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|error| format!("start QEMU: {error}"))?;
        let console = child.stdin.take().ok_or("no console")?;
        let output = child.stdout.take().ok_or("no console")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut guest = Self { child, console, lines, boot_seconds: 0.0 };
        guest.answer(BOOT).map_err(|error| format!("the guest does not boot: {error}"))?;
        guest.boot_seconds = started.elapsed().as_secs_f64();
        Ok(guest)
    }

    /// Gives the guest a line, and waits for its answer: what it printed, when it succeeded.
    pub(crate) fn command(&mut self, line: &str) -> Result<String, String> {
        writeln!(self.console, "{line}").map_err(|error| format!("the guest is gone: {error}"))?;
        self.answer(COMMAND)
    }

    /// The rows of `chukei show WHAT --json`.
    pub(crate) fn rows(&mut self, what: &str) -> Result<Vec<Value>, String> {
        let text = self.command(&format!("show {what}"))?;
        let answer: Value = serde_json::from_str(&text).map_err(|error| format!("show {what}: {error}: {text}"))?;
        answer["rows"].as_array().cloned().ok_or_else(|| format!("show {what} has no rows: {text}"))
    }

    /// Switches it off.
    pub(crate) fn off(mut self) {
        let _ = self.command("off");
    }

    fn answer(&mut self, patience: Duration) -> Result<String, String> {
        let end = Instant::now() + patience;
        let mut lines: Vec<String> = Vec::new();
        loop {
            let line = self.lines.recv_timeout(end.saturating_duration_since(Instant::now()));
            match line {
                Ok(line) if line.starts_with("@@ ") => {
                    let text = lines.join("\n");
                    return if line == "@@ 0" { Ok(text) } else { Err(text) };
                }
                Ok(line) => lines.push(line),
                Err(_) => {
                    let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
                    return Err(format!("no answer within {patience:?}; its last words:\n{last}"));
                }
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|_| format!("{name} is not set: start this by netns-tests/guest/run"))
}

/// The common initramfs with a second archive behind it: this laboratory's configuration, at the same paths as on the host.
fn initramfs(lab: &Lab, relay_yaml: &Path) -> Result<std::path::PathBuf, String> {
    let failed = |error: std::io::Error| format!("make the initramfs: {error}");
    let directory = lab.directory();
    let inside = directory.join("guest");
    let etc = relay_yaml.parent().ok_or("relay.yaml has a directory")?;
    let relative = |path: &Path| inside.join(path.strip_prefix("/").unwrap_or(path));
    fs::create_dir_all(relative(&directory.join("state"))).map_err(failed)?;
    fs::create_dir_all(relative(etc)).map_err(failed)?;
    let environment = format!("RELAY_YAML={}\nAPI={}\n", relay_yaml.display(), directory.join("api.sock").display());
    fs::write(inside.join("guest.env"), environment).map_err(failed)?;
    let path = directory.join("initramfs");
    let script = "cp -a \"$1/.\" \"$2/\" && cat \"$3\" >\"$4\" && cd \"$5\" && find . | cpio --quiet -o -H newc | gzip -1 >>\"$4\"";
    let mut shell = Command::new("sh");
    shell.args(["-ec", script, "sh"]).arg(etc).arg(relative(etc)).arg(variable("GUEST_INITRAMFS")?).arg(&path).arg(&inside);
    let status = shell.status().map_err(failed)?;
    if status.success() { Ok(path) } else { Err("cpio failed".into()) }
}
