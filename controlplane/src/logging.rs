//! Logs on standard error, as text or JSON. Nothing that comes from outside can forge a line: control characters are escaped.

use std::io::{self, Write};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line, for collectors.
    Json,
}

/// Start logging; `RUST_LOG` sets the levels, `info` without it.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_target(true).with_writer(Escaping);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    // Only a test that starts logging twice comes here, and its first start is as good.
    drop(started);
}

/// Makes writers that escape control characters on their way to standard error.
struct Escaping;

impl<'a> MakeWriter<'a> for Escaping {
    type Writer = EscapingWriter<io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        EscapingWriter(io::stderr())
    }
}

/// One call of `write` is one event, which ends with the only line feed that may pass.
struct EscapingWriter<W>(W);

impl<W: Write> Write for EscapingWriter<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(escaped(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// `line` with every control character, and those that reorder text, spelled out; a line feed at its end stays.
#[must_use]
pub fn escaped(line: &str) -> String {
    let (body, end) = line.strip_suffix('\n').map_or((line, ""), |body| (body, "\n"));
    let mut safe = String::with_capacity(line.len());
    for c in body.chars() {
        if c.is_control() || is_reordering(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe + end
}

/// Bidirectional controls and line separators, which make a terminal show something other than what is written.
const fn is_reordering(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_line_feed_or_an_escape_sequence_cannot_forge_a_line() {
        let mut out = Vec::new();
        EscapingWriter(&mut out).write_all("reason=x\r\nINFO all is well \u{1b}[2J\u{202e}\n".as_bytes()).expect("memory");
        assert_eq!(String::from_utf8(out).expect("text"), "reason=x\\r\\nINFO all is well \\u{1b}[2J\\u{202e}\n");
    }

    #[test]
    fn japanese_stays_readable() {
        assert_eq!(escaped("千代田区 住民記録\n"), "千代田区 住民記録\n");
    }
}
