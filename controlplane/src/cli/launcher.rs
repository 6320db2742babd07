//! `chukei launcher`.

use std::path::PathBuf;

use clap::Args;

use crate::hardening::privileges::User;
use crate::launcher::{self, Service};
use crate::logging::{self, LogFormat};

#[derive(Debug, Args)]
pub(super) struct LauncherArgs {
    /// Listen here, for relays one after the other. Without it there is one relay, at the other end of standard input.
    #[arg(long, value_name = "PATH", requires_all = ["user", "state"])]
    socket: Option<PathBuf>,
    /// Whose relay it serves and nobody else's; without `--socket`, the user it becomes.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Where it notes what it changes on interfaces, for the next start to mend.
    #[arg(long, value_name = "DIR", requires = "socket")]
    state: Option<PathBuf>,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t)]
    log: LogFormat,
}

impl LauncherArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        logging::start(self.log);
        let user = self.user.as_deref().map(User::named).transpose()?;
        match (self.socket, user, self.state) {
            (Some(socket), Some(user), Some(state)) => launcher::serve_on(&Service { socket, state, user }),
            (_, user, _) => launcher::serve_parent(user.as_ref()),
        }
    }
}
