//! Results on standard output, remarks on standard error. The macros of the standard library panic where they cannot write.

use std::io::{self, Write};

/// Write one result, with a line feed after it.
///
/// # Errors
/// What the operating system says; but a reader that has seen enough (`| head`) is no fault, and the exit code still tells what was found.
pub(super) fn print(text: &str) -> io::Result<()> {
    print_to(&mut io::stdout().lock(), text)
}

fn print_to(out: &mut dyn Write, text: &str) -> io::Result<()> {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(io::Error::new(error.kind(), format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Programs get one object, indented as people read it too.
///
/// # Errors
/// As [`print`].
pub(super) fn print_json(value: &impl serde::Serialize) -> io::Result<()> {
    print(&serde_json::to_string_pretty(value)?)
}

/// Say something beside the result. Where standard error is closed, nobody listens.
pub(super) fn remark(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// An error and its causes. Some errors tell their cause themselves: nothing is said twice.
pub(super) fn with_causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(io::ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_fault_and_a_full_disk_is_told_in_a_sentence() {
        print_to(&mut Fails(io::ErrorKind::BrokenPipe), "x").expect("quiet");
        let error = print_to(&mut Fails(io::ErrorKind::StorageFull), "x").expect_err("full").to_string();
        assert_eq!(error, "standard output cannot be written: no storage space");
    }

    #[test]
    fn a_cause_is_told_once() {
        let told = |text: &'static str| {
            let cause = io::Error::other("no space");
            with_causes(&anyhow::Error::new(cause).context(text))
        };
        assert_eq!(told("write the file"), "write the file: no space");
        assert_eq!(told("write the file: no space"), "write the file: no space");
    }
}
