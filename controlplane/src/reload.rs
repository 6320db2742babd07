//! Reading the files again: all of them count, or none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::config::{Effort, Problem, Severity};
use crate::registry::Changes;
use crate::relay::Relay;
use crate::setup::{Accepted, Setup};

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
    /// How much of the files was read.
    pub effort: Effort,
    /// From the request to the last worker's new generation.
    pub took: Duration,
}

impl Reloaded {
    /// How long it took and for what, as a person reads it.
    #[must_use]
    pub fn cost(&self) -> String {
        let Effort { files, read, parsed } = self.effort;
        format!(
            "took {:.1} ms: of {files} tenant files {read} were read and {parsed} parsed, the others are as they were",
            millis(self.took)
        )
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
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
        let asked = Instant::now();
        let mut loader = Arc::clone(&self.loader).lock_owned().await;
        // Thousands of new files take a second, in which the watchdog and the scrapes go on.
        let loaded = tokio::task::spawn_blocking(move || (Setup::load(&mut loader), loader)).await;
        // Held until the end: one reload at a time.
        let (loaded, _loader) = loaded.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        let result = match loaded {
            Ok(accepted) => self.accept(accepted),
            Err(problems) => Err(ReloadRefused::Problems(problems)),
        };
        self.state().last_reload = (result.is_ok(), clock::now());
        let result = match result {
            Ok(reloaded) => {
                let adopted = self.adopted(reloaded.generation).await;
                Ok(Reloaded { adopted, took: asked.elapsed(), ..reloaded })
            }
            Err(refused) => Err(refused),
        };
        log(who, &result);
        result
    }

    fn accept(&self, accepted: Accepted) -> Result<Reloaded, ReloadRefused> {
        let Accepted { setup, mut warnings, effort } = accepted;
        let mut state = self.state();
        let fixed = setup.needs_restart(&state.setup);
        if !fixed.is_empty() {
            return Err(ReloadRefused::NeedsRestart(fixed));
        }
        let changes = state.replace(setup, clock::now());
        self.announce(&state);
        warnings.extend(state.unmatched_isolations());
        Ok(Reloaded { changes, warnings, generation: state.generation, adopted: false, effort, took: Duration::ZERO })
    }
}

fn log(who: &str, result: &Result<Reloaded, ReloadRefused>) {
    match result {
        Ok(reloaded) => {
            let Reloaded { changes, warnings, generation, effort, took, .. } = reloaded;
            log_problems(warnings);
            let Changes { added, changed, removed, unchanged } = changes;
            let Effort { files, read, parsed } = effort;
            let took_ms = millis(*took);
            tracing::info!(
                target: "audit", who, generation, ?added, ?changed, ?removed, unchanged, files, read, parsed, took_ms,
                "configuration reloaded"
            );
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
