//! Cut-offs that an operator made: who, when, why. They are kept on disk and outlive reloads and restarts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dataplane::router_config::{RuleState, TenantConfig, TrafficClass};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::durable_file;

/// What is cut off.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Scope {
    /// The tenant.
    pub tenant: String,
    /// Only this class of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Only this service or callback of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.tenant)?;
        self.class.iter().try_for_each(|class| write!(f, ", class {class}"))?;
        self.service.iter().try_for_each(|service| write!(f, ", service {service}"))
    }
}

/// One cut-off.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Isolation {
    /// What.
    #[serde(flatten)]
    pub scope: Scope,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// All cut-offs and the file they are in.
#[derive(Clone, Debug)]
pub struct Isolations {
    path: PathBuf,
    list: Vec<Isolation>,
}

impl Isolations {
    /// Read the file; none is an empty list.
    ///
    /// # Errors
    /// When the file cannot be read or understood: the relay must not start without its cut-offs.
    pub fn load(path: &Path) -> io::Result<Self> {
        let list = durable_file::read_json(path)?.unwrap_or_default();
        Ok(Self { path: path.to_owned(), list })
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn list(&self) -> &[Isolation] {
        &self.list
    }

    /// Add a cut-off, or renew the reason of one that stands, and write the file.
    ///
    /// # Errors
    /// When the file cannot be written; nothing has changed then.
    pub fn isolate(&mut self, isolation: Isolation) -> io::Result<()> {
        let mut list = self.list.clone();
        list.retain(|standing| standing.scope != isolation.scope);
        list.push(isolation);
        self.replace(list)
    }

    /// End the cut-off of exactly this scope and write the file; `false` where there is none.
    ///
    /// # Errors
    /// When the file cannot be written; nothing has changed then.
    pub fn reopen(&mut self, scope: &Scope) -> io::Result<bool> {
        let mut list = self.list.clone();
        list.retain(|standing| standing.scope != *scope);
        if list.len() == self.list.len() {
            return Ok(false);
        }
        self.replace(list)?;
        Ok(true)
    }

    fn replace(&mut self, list: Vec<Isolation>) -> io::Result<()> {
        durable_file::replace_json(&self.path, &list)?;
        self.list = list;
        Ok(())
    }

    /// Whether any cut-off concerns `tenant`.
    #[must_use]
    pub fn concerns(&self, tenant: &str) -> bool {
        self.list.iter().any(|isolation| isolation.scope.tenant == tenant)
    }

    /// Write the cut-offs of this tenant into its compiled configuration. A cut-off wins over a rule's validity.
    pub fn apply(&self, config: &mut TenantConfig) {
        let tenant = Arc::clone(&config.name);
        for isolation in self.list.iter().filter(|isolation| *isolation.scope.tenant == *tenant) {
            match (&isolation.scope.class, &isolation.scope.service) {
                (None, None) => config.isolated = true,
                (class, service) => {
                    if let Some(class) = class.as_deref().and_then(class_of) {
                        config.isolated_classes[class as usize] = true;
                    }
                    service.iter().for_each(|service| isolate_rule(config, service));
                }
            }
        }
    }
}

fn isolate_rule(config: &mut TenantConfig, name: &str) {
    for service in config.services.iter_mut().filter(|service| *service.name == *name) {
        service.state = RuleState::Isolated;
    }
    for callback in config.callbacks.iter_mut().filter(|callback| *callback.name == *name) {
        callback.state = RuleState::Isolated;
    }
}

/// The class that configuration and commands spell `label`.
#[must_use]
pub fn class_of(label: &str) -> Option<TrafficClass> {
    TrafficClass::ALL.into_iter().find(|class| class.label() == label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn isolation(tenant: &str, service: Option<&str>) -> Isolation {
        let scope = Scope { tenant: tenant.into(), class: None, service: service.map(Into::into) };
        let at = time::macros::datetime!(2026-12-01 09:00 +9);
        Isolation { scope, reason: "malware found".into(), by: "uid 0".into(), at }
    }

    #[test]
    fn cut_offs_outlive_a_restart_and_name_who_when_and_why() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("isolations.json");
        let mut first = Isolations::load(&path).expect("no file yet");
        first.isolate(isolation("131016-chiyoda", None)).expect("written");
        first.isolate(isolation("131024-chuo", Some("税"))).expect("written");
        let second = Isolations::load(&path).expect("after a restart");
        assert_eq!(second.list(), first.list());
        assert_eq!(second.list()[0].reason, "malware found");
        assert!(second.concerns("131024-chuo") && !second.concerns("131032-minato"));
    }

    #[test]
    fn isolating_twice_renews_and_reopening_ends_exactly_one_scope() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut isolations = Isolations::load(&directory.path().join("i.json")).expect("no file yet");
        isolations.isolate(isolation("a", None)).expect("written");
        isolations.isolate(isolation("a", Some("税"))).expect("written");
        isolations.isolate(Isolation { reason: "still there".into(), ..isolation("a", None) }).expect("written");
        assert_eq!(isolations.list().len(), 2);
        assert!(isolations.reopen(&isolation("a", None).scope).expect("written"));
        assert!(!isolations.reopen(&isolation("a", None).scope).expect("nothing to write"));
        assert_eq!(isolations.list().len(), 1, "the service is still cut off");
    }

    #[test]
    fn a_file_that_cannot_be_understood_stops_the_start_instead_of_opening_everything() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("i.json");
        std::fs::write(&path, b"not json").expect("written");
        assert!(Isolations::load(&path).is_err());
    }

    #[test]
    fn a_write_that_fails_changes_nothing() {
        let mut isolations = Isolations::load(Path::new("/nonexistent/i.json")).expect("no file yet");
        assert!(isolations.isolate(isolation("a", None)).is_err());
        assert!(isolations.list().is_empty());
    }
}
