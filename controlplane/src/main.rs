//! The program `chukei`.

use std::process::ExitCode;

const _: () = assert!(!dataplane::SIMULATED, "this build has the simulation's virtual clock: build without the feature `simulation`");

fn main() -> ExitCode {
    controlplane::cli::main()
}
