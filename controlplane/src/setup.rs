//! A configuration that was read and accepted, with everything that is needed to compile it again without its files.

use std::path::Path;

use dataplane::router_config::RouterConfig;

use crate::compile::{Compiler, IkeCompiler, Keys};
use crate::config::{Effort, Loaded, Loader, Problem, Purpose, RelayConfigModel, Severity};

/// What [`Setup::load`] accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The configuration.
    pub setup: Setup,
    /// What is odd about the files all the same.
    pub warnings: Vec<Problem>,
    /// How much was read.
    pub effort: Effort,
}

/// An accepted configuration.
#[derive(Debug)]
pub struct Setup {
    /// What the files say.
    pub model: RelayConfigModel,
    keys: Keys,
}

impl Setup {
    /// What reads relay.yaml at `path`, and all that it names, for [`Self::load`].
    #[must_use]
    pub fn loader(path: &Path) -> Loader {
        Loader::new(path, Purpose::Run)
    }

    /// Read the configuration, or what changed since `loader` read it last.
    ///
    /// # Errors
    /// All problems, warnings among them, where one of them is an error.
    pub fn load(loader: &mut Loader) -> Result<Accepted, Vec<Problem>> {
        let Loaded { relay, mut problems, effort } = loader.load();
        let Some(model) = relay else { return Err(problems) };
        let keys = Keys::read(&model, loader.keys()).unwrap_or_else(|refused| {
            problems.extend(refused.iter().map(|(file, error)| problem(&file.display().to_string(), error.to_string())));
            Keys::default()
        });
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            return Err(problems);
        }
        Ok(Accepted { setup: Self { model, keys }, warnings: problems, effort })
    }

    /// What the data plane does at the Unix time `now`. `compiler` knows what it compiled last.
    #[must_use]
    pub fn compile(&self, compiler: &mut Compiler, now: i64) -> RouterConfig {
        compiler.compile(&self.model, &self.keys, now)
    }

    /// What key exchange works with at the Unix time `now`. `compiler` knows what it compiled last.
    #[must_use]
    pub fn ike_config(&self, compiler: &mut IkeCompiler, now: i64) -> ike::Config {
        compiler.compile(&self.model, &self.keys, now)
    }

    /// The files of certificates in use, and the Unix times at which what is in them begins to expire.
    #[must_use]
    pub fn certificates(&self) -> Vec<(String, u64)> {
        let mut files: Vec<_> = self.keys.certificates().map(|(file, expires)| (file.display().to_string(), expires)).collect();
        files.sort_unstable();
        files
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
            ("`workers`", new.workers != old.workers),
            ("`hardening`", new.hardening != old.hardening),
        ];
        changes.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
    }
}

/// A problem of a file as a whole.
fn problem(file: &str, message: String) -> Problem {
    Problem { severity: Severity::Error, file: file.to_owned(), line: 0, column: 0, path: String::new(), message, help: None }
}
