//! `chukei generate`: a whole country as a configuration, for load tests.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::output;
use crate::generate::bodies;
use crate::generate::{self, Options, Written};

/// `chukei generate`.
#[derive(Debug, Args)]
pub(super) struct Generate {
    /// The list of bodies (`code,prefecture,name,romaji`); without it the 1,788 local governments of Japan.
    #[arg(long, value_name = "FILE")]
    municipalities: Option<PathBuf>,
    /// The directory to write into; it must be empty or not exist yet.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Number of tenants: spread over the list, or associations beyond it; without it the whole list.
    #[arg(long)]
    tenants: Option<usize>,
    /// Services of each tenant.
    #[arg(long, default_value_t = 20)]
    services: usize,
    /// The same seed gives the same files, keys included: none of them is a secret.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// IPsec tunnels with preshared keys in place of WireGuard's.
    #[arg(long)]
    ipsec: bool,
}

impl Generate {
    /// Write the files and say what there is.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let listed = match &self.municipalities {
            Some(file) => {
                let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
                bodies::parse(&text).with_context(|| file.display().to_string())?
            }
            None => bodies::parse(bodies::JAPAN)?,
        };
        let options = Options { tenants: self.tenants, services: self.services, seed: self.seed, ipsec: self.ipsec };
        let Written { tenants, services, tunnels } = generate::write(&self.out, &listed, options)?;
        Ok(output::print(&format!(
            "wrote {0}/relay.yaml: {tenants} tenants, {services} services, {tunnels} tunnels; `chukei check -c {0}/relay.yaml`\n\
             for load tests only: every key in it follows from the seed {1}",
            self.out.display(),
            self.seed
        ))?)
    }
}
