//! A configuration that was read and accepted, with everything that is needed to compile it again without its files.

use std::path::Path;

use dataplane::router_config::RouterConfig;

use crate::compile::{Keys, compile};
use crate::config::{self, Loaded, Problem, Purpose, RelayConfigModel, Severity};

/// An accepted configuration.
#[derive(Debug)]
pub struct Setup {
    /// What the files say.
    pub model: RelayConfigModel,
    keys: Keys,
}

impl Setup {
    /// Read relay.yaml at `path` and all that it names; gives the warnings as well.
    ///
    /// # Errors
    /// All problems, warnings among them, where one of them is an error.
    pub fn load(path: &Path) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let Loaded { relay, mut problems } = config::load(path, Purpose::Run);
        let Some(model) = relay else { return Err(problems) };
        let keys = Keys::read(&model).unwrap_or_else(|refused| {
            problems.extend(refused.iter().map(|(file, error)| problem(&file.display().to_string(), error.to_string())));
            Keys::default()
        });
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            return Err(problems);
        }
        Ok((Self { model, keys }, problems))
    }

    /// What the data plane does at the Unix time `now`.
    #[must_use]
    pub fn compile(&self, now: i64) -> RouterConfig {
        compile(&self.model, &self.keys, now)
    }

    /// The first Unix time after `now` at which a rule becomes valid or stops being so.
    #[must_use]
    pub fn next_boundary_after(&self, now: i64) -> Option<i64> {
        let tenants = &self.model.tenants;
        let services = tenants.iter().flat_map(|tenant| tenant.services.iter().map(|service| &service.governance));
        let callbacks = tenants.iter().flat_map(|tenant| tenant.callbacks.iter().map(|callback| &callback.governance));
        let boundaries = services.chain(callbacks).flat_map(|rule| [rule.validity.starts_at_unix(), rule.validity.ends_at_unix()]);
        boundaries.flatten().filter(|boundary| *boundary > now).min()
    }

    /// What differs from `running` and cannot be changed while the relay runs, as relay.yaml names it.
    #[must_use]
    pub fn needs_restart(&self, running: &Self) -> Vec<&'static str> {
        let (new, old) = (&self.model, &running.model);
        let socket = |model: &RelayConfigModel| model.api.as_ref().map(|api| api.socket.clone());
        let changes = [
            ("`ports`", new.ports != old.ports),
            ("`metrics.listen`", new.metrics != old.metrics),
            ("`api.socket`", socket(new) != socket(old)),
            ("`state`", new.state != old.state),
            ("`frames`", new.frames != old.frames),
        ];
        changes.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
    }
}

/// A problem of a file as a whole.
fn problem(file: &str, message: String) -> Problem {
    Problem { severity: Severity::Error, file: file.to_owned(), line: 0, column: 0, path: String::new(), message, help: None }
}
