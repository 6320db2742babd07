//! What is wrong with a configuration, where, and how to mend it.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// More than this many problems of one file are counted, not listed: nobody reads them, and a
/// hostile file must not fill the memory with them.
const LISTED_PER_FILE: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// One finding; its text never holds control characters, so it is safe in a log or a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub severity: Severity,
    pub file: String,
    /// From 1; 0 when the problem is the file as a whole.
    pub line: u32,
    /// From 1, counted in characters; 0 when the problem is the file as a whole.
    pub column: u32,
    /// Place in the YAML tree, e.g. `services[2].global`; empty at the top.
    pub path: String,
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

impl Problem {
    /// Adds how to mend it.
    pub(super) fn help(&mut self, text: impl AsRef<str>) {
        self.help = Some(printable(text.as_ref()));
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, " {}", self.path)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// Where a value stands.
#[derive(Debug, Clone)]
pub(super) struct At {
    pub(super) file: Arc<str>,
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) path: Option<Arc<PathLink>>,
}

/// The way from the top of the tree to a value, linked upwards so that a node costs one allocation.
#[derive(Debug)]
pub(super) struct PathLink {
    parent: Option<Arc<PathLink>>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Key(String),
    Index(usize),
}

impl At {
    pub(super) fn whole_file(file: &Arc<str>) -> At {
        At { file: Arc::clone(file), line: 0, column: 0, path: None }
    }

    /// `file:line`, for a problem that concerns two places.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }

    fn path_text(&self) -> String {
        let mut steps = Vec::new();
        let mut next = self.path.as_deref();
        while let Some(link) = next {
            steps.push(&link.step);
            next = link.parent.as_deref();
        }
        let mut text = String::new();
        for step in steps.into_iter().rev() {
            match step {
                Step::Index(index) => text.push_str(&format!("[{index}]")),
                Step::Key(key) if key.contains(['.', '[', ' ', ':']) => {
                    text.push_str(&format!("[\"{key}\"]"));
                }
                Step::Key(key) if text.is_empty() => text.push_str(key),
                Step::Key(key) => text.push_str(&format!(".{key}")),
            }
        }
        text
    }
}

pub(super) fn path_key(parent: Option<&Arc<PathLink>>, key: &str) -> Arc<PathLink> {
    Arc::new(PathLink { parent: parent.cloned(), step: Step::Key(key.to_owned()) })
}

pub(super) fn path_index(parent: Option<&Arc<PathLink>>, index: usize) -> Arc<PathLink> {
    Arc::new(PathLink { parent: parent.cloned(), step: Step::Index(index) })
}

/// Collects problems over all files.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    pub(super) fn error(&mut self, at: &At, message: impl AsRef<str>) -> &mut Problem {
        self.add(Severity::Error, at, message.as_ref())
    }

    pub(super) fn warning(&mut self, at: &At, message: impl AsRef<str>) -> &mut Problem {
        self.add(Severity::Warning, at, message.as_ref())
    }

    /// Adds what was found elsewhere.
    pub(super) fn extend(&mut self, found: &[Problem]) {
        self.list.extend_from_slice(found);
    }

    /// As they were found.
    pub(super) fn into_found(self) -> Vec<Problem> {
        self.list
    }

    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    /// Adds how to mend the problem added last.
    pub(super) fn help_last(&mut self, text: &str) {
        if let Some(problem) = self.list.last_mut() {
            problem.help(text);
        }
    }

    pub(super) fn has_errors(&self) -> bool {
        self.list.iter().any(|problem| problem.severity == Severity::Error)
    }

    fn add(&mut self, severity: Severity, at: &At, message: &str) -> &mut Problem {
        self.list.push(Problem {
            severity,
            file: printable(&at.file),
            line: at.line,
            column: at.column,
            path: printable(&at.path_text()),
            message: printable(message),
            help: None,
        });
        self.list.last_mut().expect("just pushed")
    }

    /// Sorted by file and line; each file's list is cut at a length that people can read.
    pub(super) fn into_sorted(mut self) -> Vec<Problem> {
        self.list.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        let mut listed = Vec::new();
        for of_file in self.list.chunk_by(|a, b| a.file == b.file) {
            listed.extend_from_slice(&of_file[..of_file.len().min(LISTED_PER_FILE)]);
            if of_file.len() > LISTED_PER_FILE {
                let unlisted = of_file.len() - LISTED_PER_FILE;
                listed.push(Problem {
                    severity: Severity::Error,
                    line: 0,
                    column: 0,
                    path: String::new(),
                    message: format!("{unlisted} more problems are not listed"),
                    help: Some("mend those above first".into()),
                    file: of_file[0].file.clone(),
                });
            }
        }
        listed
    }
}

/// User text inside a message: quoted, and cut when it is long.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    if text.chars().count() <= SHOWN {
        return format!("`{text}`");
    }
    let head: String = text.chars().take(SHOWN).collect();
    format!("`{head}…`")
}

/// Replaces what would forge log lines or turn text around on a terminal.
fn printable(text: &str) -> String {
    if !text.chars().any(is_deceptive) {
        return text.to_owned();
    }
    text.chars().map(|c| if is_deceptive(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

/// Control characters, line separators, and the invisible ones that reorder or hide text.
pub(super) fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
