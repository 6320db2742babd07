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
    saved: bool,
}

impl Isolations {
    /// Read the file; none is an empty list.
    ///
    /// # Errors
    /// When the file cannot be read or understood: the relay must not start without its cut-offs.
    pub fn load(path: &Path) -> io::Result<Self> {
        let list = durable_file::read_json(path)?.unwrap_or_default();
        Ok(Self { path: path.to_owned(), list, saved: true })
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn list(&self) -> &[Isolation] {
        &self.list
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Add a cut-off, or renew the reason of one that stands. An emergency does not wait for a disk: [`Self::save`] comes afterwards.
    pub fn isolate(&mut self, isolation: Isolation) {
        self.list.retain(|standing| standing.scope != isolation.scope);
        self.list.push(isolation);
        self.saved = false;
    }

    /// End the cut-off of exactly this scope; `false` where there is none. [`Self::save`] comes afterwards.
    pub fn reopen(&mut self, scope: &Scope) -> bool {
        let before = self.list.len();
        self.list.retain(|standing| standing.scope != *scope);
        let ended = self.list.len() < before;
        self.saved &= !ended;
        ended
    }

    /// Whether a restart would find this list.
    #[must_use]
    pub fn is_saved(&self) -> bool {
        self.saved
    }

    /// Write the file.
    ///
    /// # Errors
    /// When it cannot be written: a restart would find the list as it was last saved.
    pub fn save(&mut self) -> io::Result<()> {
        durable_file::replace_json(&self.path, &self.list)?;
        self.saved = true;
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
        first.isolate(isolation("131016-chiyoda", None));
        first.isolate(isolation("131024-chuo", Some("税")));
        assert!(!first.is_saved());
        first.save().expect("written");
        let second = Isolations::load(&path).expect("after a restart");
        assert_eq!(second.list(), first.list());
        assert_eq!(second.list()[0].reason, "malware found");
        assert!(second.concerns("131024-chuo") && !second.concerns("131032-minato"));
    }

    #[test]
    fn isolating_twice_renews_and_reopening_ends_exactly_one_scope() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut isolations = Isolations::load(&directory.path().join("i.json")).expect("no file yet");
        isolations.isolate(isolation("a", None));
        isolations.isolate(isolation("a", Some("税")));
        isolations.isolate(Isolation { reason: "still there".into(), ..isolation("a", None) });
        assert_eq!(isolations.list().len(), 2);
        assert!(isolations.reopen(&isolation("a", None).scope));
        assert!(!isolations.reopen(&isolation("a", None).scope));
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
    fn a_cut_off_that_cannot_be_written_stands_and_is_known_to_be_unsaved() {
        let mut isolations = Isolations::load(Path::new("/nonexistent/i.json")).expect("no file yet");
        isolations.isolate(isolation("a", None));
        assert!(isolations.save().is_err());
        assert!(isolations.concerns("a") && !isolations.is_saved());
    }
}
