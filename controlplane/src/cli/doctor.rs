//! `chukei doctor`: is this machine fit for the relay, and what to change.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::output::{print, print_json};
use super::{counted, tables};
use crate::doctor::{Examined, Report, Request, Verdict, examine};

/// `chukei doctor`.
///
/// Changes nothing. An interface that is named, free, idle and up is tried with AF_XDP, for which it receives nothing for a moment.
///
/// The exit code is 1 when there is a problem (the relay would not start, or would lose packets), else 0.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Interfaces that are to become ports; without any, all of the machine's are described.
    #[arg(value_name = "INTERFACE", conflicts_with = "config")]
    interfaces: Vec<String>,
    /// Examine the ports of this relay file instead.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Look and print.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let request = match self.config {
            Some(path) => Request::of_configuration(&path),
            None if self.interfaces.is_empty() => Request::of_all_interfaces(),
            None => Request::of_interfaces(self.interfaces),
        };
        let report = examine(request);
        if self.json {
            print_json(&as_json(&report))?;
        } else {
            print(&format!("{}\n\n{}", tables::findings(&report.findings), verdict(&report)))?;
        }
        Ok(if report.count(Verdict::Problem) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn verdict(report: &Report) -> String {
    let [problems, warnings, unseen] = [Verdict::Problem, Verdict::Warning, Verdict::Unseen].map(|verdict| report.count(verdict));
    let unseen = if unseen > 0 { format!(", {unseen} not seen") } else { String::new() };
    format!("{}, {}{unseen}", counted(problems, "problem"), counted(warnings, "warning"))
}

fn as_json(report: &Report) -> Value {
    let [problems, warnings, unseen] = [Verdict::Problem, Verdict::Warning, Verdict::Unseen].map(|verdict| report.count(verdict));
    json!({
        "ok": problems == 0,
        "problems": problems,
        "warnings": warnings,
        "unseen": unseen,
        "machine": report.machine,
        "interfaces": report.interfaces.iter().map(interface).collect::<Vec<_>>(),
        "findings": report.findings,
    })
}

fn interface(Examined { facts, choice }: &Examined) -> Value {
    let queues = facts.queues.map(|queues| {
        json!({
            "receiving": queues.receiving,
            "transmitting": queues.transmitting,
            "most_receiving": queues.most_receiving,
            "most_transmitting": queues.most_transmitting,
        })
    });
    let on: Vec<&str> = facts.features.iter().filter(|feature| feature.on).map(|feature| feature.name.as_str()).collect();
    json!({
        "interface": facts.name,
        "driver": facts.driver,
        "firmware": facts.firmware,
        "kind": facts.kind,
        "mtu": facts.mtu,
        "up": facts.is_up,
        "running": facts.is_running,
        "speed_mbit": facts.speed_mbit,
        "queues": queues,
        "features_on": on,
        "xdp": facts.xdp.map(|xdp| json!({ "native": xdp.native, "zero_copy": xdp.zero_copy })),
        "auto": choice,
    })
}
