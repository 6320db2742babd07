//! A whole country as a configuration, for load tests: `chukei generate`.
//!
//! | file | what is in it |
//! |---|---|
//! | [`bodies`] | the list of municipalities, and associations beyond it |
//! | [`size`] | how large a body is, and what it has for that |
//! | [`secrets`] | keys that follow from a seed |
//! | [`files`] | relay.yaml and the tenant files as text |
//!
//! The same seed gives the same files, byte for byte, keys included. So whoever knows the seed knows every key: this is for load
//! tests only, and each file says so.

pub mod bodies;
pub mod files;
pub mod secrets;
pub mod size;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, ensure};

use bodies::Body;
use files::Tenant;
use secrets::Seed;

/// The files' names, beside relay.yaml.
const TENANTS: &str = "tenants";
const KEYS: &str = "keys";
const ROUTERS: &str = "routers";

/// VLAN ids 2 to 4,094 on one trunk.
pub const MOST_TENANTS: usize = 4_093;
/// As many globals as 203.0.113.0/24 has beside those of the callbacks.
pub const MOST_SERVICES: usize = 200;

/// What to write.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Number of tenants; `None` for one of each body on the list.
    pub tenants: Option<usize>,
    /// Services of each tenant.
    pub services: usize,
    /// Everything that is chosen, keys included, follows from it.
    pub seed: u64,
    /// IPsec tunnels with preshared keys in place of WireGuard's.
    pub ipsec: bool,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Tenant files.
    pub tenants: usize,
    /// Services in all of them.
    pub services: usize,
    /// Tunnels, each with the private key of its router (IPsec: with its preshared key).
    pub tunnels: usize,
}

/// Write a configuration for `listed` into `directory`, which must be empty or not exist yet.
///
/// # Errors
/// When the options cannot be met or the directory cannot be used.
pub fn write(directory: &Path, listed: &[Body], options: Options) -> anyhow::Result<Written> {
    let count = options.tenants.unwrap_or(listed.len());
    ensure!((1..=MOST_TENANTS).contains(&count), "{count} tenants: 1 to {MOST_TENANTS} fit the VLANs of one trunk");
    ensure!((1..=MOST_SERVICES).contains(&options.services), "{} services: 1 to {MOST_SERVICES} have a global address", options.services);
    prepare(directory)?;
    let seed = Seed(options.seed);
    let mut written = Written { tenants: 0, services: 0, tunnels: 0 };
    if !options.ipsec {
        new_file(&directory.join(files::RELAY_KEY), &seed.private_key("relay").base64(), 0o600)?;
    }
    for (index, body) in bodies::chosen(listed, count).iter().enumerate() {
        let tenant = Tenant::new(body, index, options, &seed);
        write_tenant(directory, &tenant, &seed)?;
        written.tenants += 1;
        written.services += options.services;
        written.tunnels += tenant.tunnels().len();
    }
    // Last, so that a directory half written is no configuration.
    new_file(&directory.join("relay.yaml"), &files::relay_yaml(options, written), 0o644)?;
    Ok(written)
}

fn prepare(directory: &Path) -> anyhow::Result<()> {
    let shown = || directory.display().to_string();
    DirBuilder::new().recursive(true).mode(0o755).create(directory).with_context(shown)?;
    let mut entries = fs::read_dir(directory).with_context(shown)?;
    ensure!(entries.next().is_none(), "{}: is not empty, and nothing is ever overwritten: name a new directory", shown());
    for (name, mode) in [(TENANTS, 0o755), (KEYS, 0o700), (ROUTERS, 0o700)] {
        DirBuilder::new().mode(mode).create(directory.join(name)).with_context(shown)?;
    }
    Ok(())
}

fn write_tenant(directory: &Path, tenant: &Tenant<'_>, seed: &Seed) -> anyhow::Result<()> {
    for tunnel in tenant.tunnels() {
        let owner = tenant.key_owner(tunnel);
        if tenant.has_key_pairs() {
            new_file(&directory.join(ROUTERS).join(format!("{owner}.key")), &seed.private_key(&owner).base64(), 0o600)?;
        }
        if let Some(file) = tenant.preshared_key_file(tunnel) {
            new_file(&directory.join(file), &seed.preshared_key(&owner).base64(), 0o600)?;
        }
    }
    new_file(&directory.join(TENANTS).join(format!("{}.yaml", tenant.id())), &tenant.yaml(seed), 0o644)
}

/// Without a flush to disk each: what is lost in a power cut is made again.
fn new_file(path: &Path, content: &str, mode: u32) -> anyhow::Result<()> {
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).and_then(|mut file| {
        file.write_all(content.as_bytes())?;
        file.write_all(if content.ends_with('\n') { b"" } else { b"\n" })
    });
    written.with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests;
