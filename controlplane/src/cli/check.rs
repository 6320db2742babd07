//! `chukei check`: every problem of a configuration, in one go.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::counted;
use super::output::{print, print_json};
use crate::config::{self, Loaded, Purpose, Severity};

/// Print the problems; success where none is an error.
pub(super) fn check(path: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let Loaded { relay, problems, .. } = config::load(path, Purpose::Check);
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let warnings = problems.len() - errors;
    if json {
        print_json(&json!({ "ok": relay.is_some(), "errors": errors, "warnings": warnings, "problems": problems }))?;
    } else {
        let warnings = counted(warnings, "warning");
        let verdict = match &relay {
            Some(relay) => format!("{}: good, {}, {warnings}", relay.name, counted(relay.tenants.len(), "tenant")),
            None => format!("{}, {warnings}", counted(errors, "error")),
        };
        let lines: Vec<_> = problems.iter().map(ToString::to_string).chain([verdict]).collect();
        print(&lines.join("\n"))?;
    }
    Ok(if relay.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
