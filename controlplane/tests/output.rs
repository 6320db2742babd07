//! What the program does where its output goes nowhere.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn check(json: bool, stdout: impl Into<Stdio>) -> Output {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/relay.yaml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_chukei"));
    command.arg("check").arg("--config").arg(config).args(json.then_some("--json"));
    command.stdout(stdout).stderr(Stdio::piped()).output().expect("runs")
}

#[test]
fn a_reader_that_went_away_ends_a_command_quietly_with_the_code_it_would_have_had() {
    for json in [false, true] {
        let heard = check(json, Stdio::piped());
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let unheard = check(json, writer);
        assert_eq!(unheard.status.code(), heard.status.code(), "{unheard:?}");
        assert!(heard.status.code() < Some(101), "{heard:?}");
        assert_eq!(String::from_utf8_lossy(&unheard.stderr), "");
    }
}

#[test]
fn a_full_disk_is_told_in_one_sentence() {
    let output = check(false, File::create("/dev/full").expect("opens"));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "chukei: standard output cannot be written: No space left on device (os error 28)\n"
    );
}
