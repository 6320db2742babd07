//! `chukei explain-ike`: the last key exchange with a router, by its tenant or, before an identity is known, by its address.

use std::net::Ipv4Addr;

use clap::Args;

use super::client::CommandError;
use super::output::{print, print_json};
use super::{Api, tables};
use crate::api::rows::{Answer, NegotiationRow};

/// `chukei explain-ike`.
#[derive(Debug, Args)]
pub(super) struct ExplainIke {
    /// The tenant whose tunnels are asked about.
    #[arg(required_unless_present = "peer", conflicts_with = "peer")]
    tenant: Option<String>,
    /// A router's address, where it is not known yet whose it is (operators and auditors only).
    #[arg(long, value_name = "ADDRESS")]
    peer: Option<Ipv4Addr>,
    #[command(flatten)]
    api: Api,
}

impl ExplainIke {
    /// Ask and print.
    pub(super) fn print(&self) -> Result<(), CommandError> {
        let address = self.peer.map(|peer| peer.to_string());
        let query: Vec<_> = self
            .tenant
            .iter()
            .map(|tenant| ("tenant", tenant.as_str()))
            .chain(address.iter().map(|peer| ("peer", peer.as_str())))
            .collect();
        let answer = self.api.client().get("/v1/explain-ike", &query)?;
        if self.api.json {
            return Ok(print_json(&answer)?);
        }
        let answer: Answer<NegotiationRow> = serde_json::from_value(answer)?;
        if answer.rows.is_empty() {
            let who = self.peer.map_or("its routers".to_owned(), |peer| peer.to_string());
            return Ok(print(&format!(
                "no key exchange with {who} since the relay started: nothing arrived on UDP 500 or 4500\n\
                 look at the router's own log, at firewalls on the way, and at `chukei show drops`"
            ))?);
        }
        Ok(print(&tables::negotiations(&answer))?)
    }
}
