//! The command line.

mod check;
mod client;
mod demo;
mod doctor;
mod explain_ike;
mod generate;
mod keygen;
mod launcher;
mod output;
mod router_config;
mod show;
mod tables;
mod tenant_new;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::{Args, Parser, Subcommand};

use crate::api::rows::Done;
use crate::durable_file;
use crate::isolation::Scope;
use crate::logging::{self, LogFormat};
use crate::run::{ConfigurationRefused, Start};
use client::{Client, CommandError};
use output::{print, print_json, remark, with_causes};

/// 中継ルータ: the relay between municipalities and their cloud networks.
#[derive(Debug, Parser)]
#[command(name = "chukei", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the relay.
    Run {
        #[command(flatten)]
        config: ConfigFile,
        /// How log lines look.
        #[arg(long, value_enum, default_value_t)]
        log: LogFormat,
        /// Become this user, to whom key files and the directory `state` have to belong; for a start as root.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Have ports opened by the launcher that listens here, instead of starting one.
        #[arg(long, value_name = "PATH", conflicts_with = "user")]
        launcher: Option<PathBuf>,
    },
    /// Open ports for a relay and give them back when it ends. `run` starts one by itself; with `--socket` it is a service of its own.
    Launcher(launcher::LauncherArgs),
    /// Check a configuration and name everything that is wrong with it.
    Check {
        #[command(flatten)]
        config: ConfigFile,
        /// One JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Show the running relay: tenants, tunnels, sessions, next hops, losses, ports, cut-offs.
    Show(show::Show),
    /// Show the last key exchange with a router: what it proposed, what is accepted, why it failed.
    ExplainIke(explain_ike::ExplainIke),
    /// Read the configuration again; a bad one changes nothing.
    Reload {
        #[command(flatten)]
        api: Api,
    },
    /// Cut a tenant off, or one traffic class or service of it, at once and until `reopen`.
    Isolate {
        #[command(flatten)]
        scope: ScopeArgs,
        /// Why; it is listed and logged.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        api: Api,
    },
    /// End a cut-off.
    Reopen {
        #[command(flatten)]
        scope: ScopeArgs,
        #[command(flatten)]
        api: Api,
    },
    /// Check this machine for running the relay, and say what to change.
    Doctor(doctor::Doctor),
    /// Three municipalities on one machine: real tunnels, real traffic, nothing to install.
    Demo(demo::Demo),
    /// Write a configuration of the whole country, for load tests.
    Generate(generate::Generate),
    /// Make a private key and print its public key, or a preshared key.
    Keygen(keygen::Keygen),
    /// Add a tenant.
    #[command(subcommand)]
    Tenant(TenantCommand),
}

#[derive(Debug, Subcommand)]
enum TenantCommand {
    /// Write a tenant file and the ready configuration of the municipality's router.
    New(Box<tenant_new::TenantNew>),
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The relay's file; it names the tenants' files.
    #[arg(short, long = "config", value_name = "FILE", env = "CHUKEI_CONFIG", default_value = "/etc/chukei/relay.yaml")]
    config: PathBuf,
}

/// Where the running relay answers.
#[derive(Debug, Args)]
struct Api {
    /// The relay's socket (`api.socket` in relay.yaml).
    #[arg(long, value_name = "PATH", env = "CHUKEI_SOCKET", default_value = "/run/chukei/api.sock")]
    socket: PathBuf,
    /// Look through the eyes of this viewer of `api.viewers` (operators only).
    #[arg(long, value_name = "NAME")]
    viewer: Option<String>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

impl Api {
    fn client(&self) -> Client<'_> {
        Client { socket: &self.socket, viewer: self.viewer.as_deref(), json: self.json }
    }
}

#[derive(Debug, Args)]
struct ScopeArgs {
    /// The tenant.
    tenant: String,
    /// Only this traffic class: `mynumber` or `lgwan-connected`.
    #[arg(long, conflicts_with = "service")]
    class: Option<String>,
    /// Only this service or callback.
    #[arg(long)]
    service: Option<String>,
}

impl From<ScopeArgs> for Scope {
    fn from(ScopeArgs { tenant, class, service }: ScopeArgs) -> Self {
        Self { tenant, class, service }
    }
}

/// Exit code of `run` for a configuration that is refused, as sysexits.h has it: the service unit does not start it again by itself.
const EX_CONFIG: u8 = 78;

/// All commands with their arguments.
#[cfg(test)]
pub(crate) fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Do what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            if let Some(CommandError::Refused { failure, json: true }) = error.downcast_ref()
                && print_json(failure).is_ok()
            {
                return ExitCode::FAILURE;
            }
            remark(&format!("chukei: {}", logging::escaped(&with_causes(&error)).replace("\\n", "\n")));
            if error.is::<ConfigurationRefused>() { ExitCode::from(EX_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run { config, log, user, launcher } => {
            logging::start(log);
            crate::run::run(&config.config, &Start { user, launcher })?;
        }
        Command::Launcher(launcher) => launcher.run()?,
        Command::Check { config, json } => return check::check(&config.config, json),
        Command::Show(show) => show.print()?,
        Command::ExplainIke(explain) => explain.print()?,
        Command::Reload { api } => change(&api, "/v1/reload", &())?,
        Command::Isolate { scope, reason, api } => {
            let request = crate::api::IsolateRequest { scope: scope.into(), reason };
            change(&api, "/v1/isolate", &request)?;
        }
        Command::Reopen { scope, api } => change(&api, "/v1/reopen", &Scope::from(scope))?,
        Command::Doctor(doctor) => return doctor.run(),
        Command::Demo(demo) => return demo.run(),
        Command::Generate(generate) => generate.run()?,
        Command::Keygen(keygen) => keygen.run()?,
        Command::Tenant(TenantCommand::New(new)) => new.run()?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Post a change and say what it did.
fn change(api: &Api, path: &str, body: &impl serde::Serialize) -> Result<(), CommandError> {
    let answer = api.client().post(path, body)?;
    if api.json {
        print_json(&answer)?;
        return Ok(());
    }
    let done: Done = serde_json::from_value(answer)?;
    done.warnings.iter().for_each(|warning| remark(warning));
    print(&done.message)?;
    if !done.effective {
        remark("warning: a worker has not adopted this within 3 s; see /healthz");
    }
    Ok(())
}

/// Write a file that must not exist yet.
fn write_new(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let help = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => anyhow!("exists already and is never overwritten: give another name, or move it away"),
        io::ErrorKind::NotFound => anyhow!("its directory does not exist: make it first, with mkdir -p"),
        _ => error.into(),
    };
    durable_file::create(path, content, mode).map_err(help).with_context(|| format!("{} was not written", path.display()))
}

/// `1 error`, `2 errors`.
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
