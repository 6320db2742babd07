//! Text -> tree of YAML nodes with positions, plain data only: anchors, aliases, tags, duplicate
//! keys, deep nesting and second documents are refused by name, and reading goes on behind them.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::problem::{At, PathLink, Problems, is_deceptive, path_index, path_key, quoted};

/// The language itself needs six levels.
const DEEPEST_NESTING: usize = 16;

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Sequence(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
    /// A problem was added already: whoever meets it stays silent.
    Refused,
}

#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) at: At,
}

/// Parses one document; `None` when a problem was added that leaves no tree to walk.
pub(super) fn parse(text: &str, file: &Arc<str>, problems: &mut Problems) -> Option<Node> {
    let parser = Parser::new_from_str(text);
    Builder { parser, text, file, problems }.document().ok()
}

/// A problem was added after which the rest of the file cannot be read.
struct Unreadable;

struct Builder<'text, 'run> {
    parser: Parser<'text, StrInput<'text>>,
    text: &'text str,
    file: &'run Arc<str>,
    problems: &'run mut Problems,
}

type Parent<'a> = Option<&'a Arc<PathLink>>;

impl<'text> Builder<'text, '_> {
    fn document(&mut self) -> Result<Node, Unreadable> {
        let mut root = None;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => break,
                (Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing, _) => {}
                (_, span) if root.is_some() => {
                    let at = self.at(&span.start, None);
                    self.problems
                        .error(&at, "a second document starts here")
                        .help("one file holds one document: remove the `---` and what follows");
                    return Err(Unreadable);
                }
                (event, span) => root = Some(self.node(event, &span, None, 0)?),
            }
        }
        root.ok_or_else(|| {
            self.problems.error(&At::whole_file(self.file), "is empty").help("see configs/README.md for what belongs in it");
            Unreadable
        })
    }

    fn next(&mut self) -> Result<(Event<'text>, Span), Unreadable> {
        match self.parser.next_event() {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => Err(self.syntax_error(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn syntax_error(&mut self, error: &ScanError) -> Unreadable {
        let mut at = self.at(error.marker(), None);
        // What is missing where a last line has no end is missing there, and not on a line that no editor shows.
        let lines = self.text.lines().count();
        if usize::try_from(at.line).is_ok_and(|line| line > lines)
            && let Some(last) = self.text.lines().last().filter(|_| !self.text.ends_with('\n'))
        {
            let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            (at.line, at.column) = (narrow(lines), narrow(last.chars().count() + 1));
        }
        self.problems
            .error(&at, format!("is not YAML: {}", error.info()))
            .help("look at indentation, colons, brackets and quotes here and on the lines before");
        Unreadable
    }

    fn at(&self, mark: &Marker, path: Parent<'_>) -> At {
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        At { file: Arc::clone(self.file), line: narrow(mark.line()), column: narrow(mark.col() + 1), path: path.cloned() }
    }

    fn node(&mut self, event: Event<'text>, span: &Span, path: Parent<'_>, depth: usize) -> Result<Node, Unreadable> {
        let at = self.at(&span.start, path);
        if depth > DEEPEST_NESTING {
            self.problems
                .error(&at, format!("is nested deeper than {DEEPEST_NESTING} levels"))
                .help("close a bracket, or look at the indentation");
            return Err(Unreadable);
        }
        let value = match event {
            Event::Alias(_) => {
                self.refuse(&at, "aliases (`*name`) are not part of this language");
                Value::Refused
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_anchor_and_tag(&at, anchor, tag.is_some());
                self.scalar(&at, &text, style)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_anchor_and_tag(&at, anchor, tag.is_some());
                self.sequence(path, depth)?
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_anchor_and_tag(&at, anchor, tag.is_some());
                self.mapping(path, depth)?
            }
            _ => Value::Null,
        };
        Ok(Node { at, value })
    }

    fn refuse_anchor_and_tag(&mut self, at: &At, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.refuse(at, "anchors (`&name`) are not part of this language");
        }
        if tagged {
            self.refuse(at, "tags (`!name`) are not part of this language");
        }
    }

    fn refuse(&mut self, at: &At, what: &str) {
        self.problems.error(at, what).help("write the value out where it is needed");
    }

    fn scalar(&mut self, at: &At, text: &str, style: ScalarStyle) -> Value {
        if let Some(bad) = text.chars().find(|c| is_deceptive(*c)) {
            let name = format!("U+{:04X}", u32::from(bad));
            self.problems
                .error(at, format!("holds the invisible character {name}"))
                .help("write the value on one line, without control characters");
            return Value::Refused;
        }
        if style == ScalarStyle::Plain { plain_scalar(text) } else { Value::Text(text.to_owned()) }
    }

    fn sequence(&mut self, path: Parent<'_>, depth: usize) -> Result<Value, Unreadable> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(Value::Sequence(items)),
                (event, span) => {
                    let step = path_index(path, items.len());
                    items.push(self.node(event, &span, Some(&step), depth + 1)?);
                }
            }
        }
    }

    fn mapping(&mut self, path: Parent<'_>, depth: usize) -> Result<Value, Unreadable> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut lines: HashMap<String, u32> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                return Ok(Value::Mapping(entries));
            }
            let key = self.key(event, &span, path, depth)?;
            let step = path_key(path, key.as_ref().map_or("?", |key| &key.name));
            let (event, span) = self.next()?;
            let mut node = self.node(event, &span, Some(&step), depth + 1)?;
            let Some(key) = key else { continue };
            if matches!(node.value, Value::Null) {
                // An empty value has no place of its own.
                node.at = At { path: node.at.path, ..key.at.clone() };
            }
            match lines.insert(key.name.clone(), key.at.line) {
                None => entries.push((key, node)),
                Some(first) => {
                    self.problems
                        .error(&key.at, format!("the key {} stands here a second time", quoted(&key.name)))
                        .help(format!("it stands on line {first} already: remove one of the two"));
                }
            }
        }
    }

    /// `None` when it is no key: a problem was added.
    fn key(&mut self, event: Event<'text>, span: &Span, path: Parent<'_>, depth: usize) -> Result<Option<Key>, Unreadable> {
        let node = match event {
            Event::Scalar(ref text, ..) => {
                let step = path_key(path, text);
                let name = text.to_string();
                let node = self.node(event, span, Some(&step), depth + 1)?;
                if !matches!(node.value, Value::Refused) {
                    return Ok(Some(Key { name, at: node.at }));
                }
                return Ok(None);
            }
            event => self.node(event, span, path, depth + 1)?,
        };
        if !matches!(node.value, Value::Refused) {
            self.problems.error(&node.at, "expected a key, found a list or a mapping").help("keys are plain words");
        }
        Ok(None)
    }
}

/// YAML 1.2 core schema, but digits with leading zeros stay text: `010006` is a code, not a number.
fn plain_scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.trim_start_matches(['+', '-']);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || (digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0."))
    {
        return Value::Text(text.to_owned());
    }
    if let Ok(integer) = text.parse() {
        return Value::Integer(integer);
    }
    match text.parse() {
        Ok(float) => Value::Float(float),
        Err(_) => Value::Text(text.to_owned()),
    }
}
