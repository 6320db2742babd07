//! `chukei demo`.

use std::io;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::demo::{self, Options};

/// Which driver the relay uses.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Driver {
    /// The best the port has.
    #[default]
    Auto,
    /// AF_XDP or nothing.
    AfXdp,
    /// AF_PACKET.
    AfPacket,
}

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Work for some seconds, print what came of it, and end; 0 only if all is well. Without it: a live view until Ctrl-C.
    #[arg(long)]
    once: bool,
    /// One JSON object instead of text.
    #[arg(long, requires = "once")]
    json: bool,
    /// Which driver the relay uses.
    #[arg(long, value_enum, default_value_t)]
    driver: Driver,
}

impl Demo {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        // The kernel gives a user namespace only to a process of one thread: this comes before everything else.
        demo::become_root()?;
        let driver = match self.driver {
            Driver::Auto => "auto",
            Driver::AfXdp => "af_xdp",
            Driver::AfPacket => "af_packet",
        };
        let options = Options { once: self.once, json: self.json, driver: driver.to_owned(), ..Options::default() };
        let report = demo::run(&options, Box::new(demo::start_relay), &mut io::stdout())?;
        Ok(if report.all_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
