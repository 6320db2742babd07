//! `chukei show`: tables for people, `--json` for programs.

use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::client::CommandError;
use super::output::{print, print_json};
use super::{Api, tables};
use crate::api::rows::Answer;

/// `chukei show`.
#[derive(Debug, Args)]
pub(super) struct Show {
    /// What to show.
    #[arg(value_enum)]
    what: What,
    /// Only this tenant.
    tenant: Option<String>,
    #[command(flatten)]
    api: Api,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum What {
    /// Tenants with their tunnels, traffic and losses.
    Tenants,
    /// Tunnels; one that is down with the reason and since when.
    Tunnels,
    /// Sessions through address translation.
    Sessions,
    /// Next hops.
    Neighbors,
    /// Lost packets by reason.
    Drops,
    /// Ports with driver and mode.
    Ports,
    /// What operators cut off: who, when, why.
    Isolations,
}

impl What {
    const fn path(self) -> &'static str {
        match self {
            Self::Tenants => "/v1/tenants",
            Self::Tunnels => "/v1/tunnels",
            Self::Sessions => "/v1/sessions",
            Self::Neighbors => "/v1/neighbors",
            Self::Drops => "/v1/drops",
            Self::Ports => "/v1/ports",
            Self::Isolations => "/v1/isolations",
        }
    }
}

impl Show {
    /// Ask and print.
    pub(super) fn print(&self) -> Result<(), CommandError> {
        let query: Vec<_> = self.tenant.iter().map(|tenant| ("tenant", tenant.as_str())).collect();
        let answer = self.api.client().get(self.what.path(), &query)?;
        if self.api.json {
            print_json(&answer)?;
        } else {
            print(&self.table(answer)?)?;
        }
        Ok(())
    }

    fn table(&self, answer: Value) -> serde_json::Result<String> {
        match self.what {
            What::Tenants => drawn(answer, tables::tenants),
            What::Tunnels => drawn(answer, tables::tunnels),
            What::Sessions => drawn(answer, tables::sessions),
            What::Neighbors => drawn(answer, tables::neighbors),
            What::Drops => drawn(answer, tables::drops),
            What::Ports => drawn(answer, tables::ports),
            What::Isolations => drawn(answer, tables::isolations),
        }
    }
}

fn drawn<T: DeserializeOwned>(answer: Value, table: fn(&Answer<T>) -> String) -> serde_json::Result<String> {
    let answer: Answer<T> = serde_json::from_value(answer)?;
    let mut text = table(&answer);
    if answer.rows.is_empty() {
        text.push_str("\n(nothing to show)");
    }
    if answer.truncated {
        text.push_str("\n(there are more: name a tenant)");
    }
    Ok(text)
}
