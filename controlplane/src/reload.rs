//! Reading the files again: all of them count, or none.

use crate::clock;
use crate::config::{Problem, Severity};
use crate::registry::Changes;
use crate::relay::Relay;
use crate::setup::Setup;

/// What an accepted reload did.
#[derive(Debug)]
pub struct Reloaded {
    /// What it changed.
    pub changes: Changes,
    /// What is odd about the files all the same.
    pub warnings: Vec<Problem>,
    /// Number of the new configuration.
    pub generation: u64,
    /// Whether every worker works with it already.
    pub adopted: bool,
}

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadRefused {
    /// The files have errors.
    #[error("the configuration has errors; nothing was changed")]
    Problems(Vec<Problem>),
    /// The files want what only a restart can give.
    #[error("{} changed, which needs a restart of the relay; nothing was changed", .0.join(" and "))]
    NeedsRestart(Vec<&'static str>),
}

impl Relay {
    /// Read all files and publish them for `who`; with any error nothing changes.
    ///
    /// # Errors
    /// Why nothing was changed. The refusal has been logged.
    pub async fn reload(&self, who: &str) -> Result<Reloaded, ReloadRefused> {
        let _one_at_a_time = self.reloading.lock().await;
        let path = self.path.clone();
        // Thousands of files take a second, in which the watchdog and the scrapes go on.
        let loaded = tokio::task::spawn_blocking(move || Setup::load(&path)).await;
        let loaded = loaded.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        let result = match loaded {
            Ok((setup, warnings)) => self.accept(setup, warnings),
            Err(problems) => Err(ReloadRefused::Problems(problems)),
        };
        self.state().last_reload = (result.is_ok(), clock::now());
        let result = match result {
            Ok(reloaded) => Ok(Reloaded { adopted: self.adopted(reloaded.generation).await, ..reloaded }),
            Err(refused) => Err(refused),
        };
        log(who, &result);
        result
    }

    fn accept(&self, setup: Setup, mut warnings: Vec<Problem>) -> Result<Reloaded, ReloadRefused> {
        let mut state = self.state();
        let fixed = setup.needs_restart(&state.setup);
        if !fixed.is_empty() {
            return Err(ReloadRefused::NeedsRestart(fixed));
        }
        let changes = state.replace(setup, clock::now());
        warnings.extend(state.unmatched_isolations());
        Ok(Reloaded { changes, warnings, generation: state.generation, adopted: false })
    }
}

fn log(who: &str, result: &Result<Reloaded, ReloadRefused>) {
    match result {
        Ok(Reloaded { changes, warnings, generation, .. }) => {
            log_problems(warnings);
            let Changes { added, changed, removed, unchanged } = changes;
            tracing::info!(target: "audit", who, generation, ?added, ?changed, ?removed, unchanged, "configuration reloaded");
        }
        Err(refused) => {
            if let ReloadRefused::Problems(problems) = refused {
                log_problems(problems);
            }
            tracing::error!(target: "audit", who, "reload refused: {refused}");
        }
    }
}

/// Each problem as a line of the log, on its level.
pub fn log_problems(problems: &[Problem]) {
    for Problem { severity, file, line, column, path, message, help } in problems {
        match severity {
            Severity::Error => tracing::error!(file, line, column, path, help, "{message}"),
            Severity::Warning => tracing::warn!(file, line, column, path, help, "{message}"),
        }
    }
}
