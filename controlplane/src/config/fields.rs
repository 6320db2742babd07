//! Reading mappings and lists of the tree: each key once, unknown ones named, nothing skipped in
//! silence.

use super::problem::{At, Problems, path_key, quoted};
use super::tree::{Key, Node, Value};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Spanned<T> {
    pub(super) value: T,
    pub(super) at: At,
}

/// A key's value. An invalid one has its problem already, so that checks which need it stay silent.
#[derive(Debug, Clone, Default)]
pub(super) enum Field<T> {
    #[default]
    Absent,
    Invalid,
    Given(Spanned<T>),
}

impl<T> Field<T> {
    pub(super) fn given(&self) -> Option<&Spanned<T>> {
        match self {
            Field::Given(spanned) => Some(spanned),
            Field::Absent | Field::Invalid => None,
        }
    }

    pub(super) fn value(&self) -> Option<&T> {
        self.given().map(|spanned| &spanned.value)
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Field::Absent)
    }
}

/// Entries that others refer to by name.
#[derive(Debug)]
pub(super) struct Listed<T> {
    pub(super) entries: Vec<T>,
    /// False when an entry could not be read at all: a name that is missing may be that one, and is not judged.
    pub(super) complete: bool,
}

impl<T> Listed<T> {
    /// What could be read of as many as there are.
    pub(super) fn of(entries: Vec<Option<T>>) -> Listed<T> {
        let complete = entries.iter().all(Option::is_some);
        Listed { entries: entries.into_iter().flatten().collect(), complete }
    }
}

impl<T> Field<Listed<T>> {
    pub(super) fn entries(&self) -> &[T] {
        self.value().map_or(&[], |listed| &listed.entries)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.value().is_some_and(|listed| listed.complete)
    }
}

/// Turns a node into a value, or adds a problem.
pub(super) trait Read<T>: FnMut(&Node, &mut Problems) -> Option<T> {}
impl<T, F: FnMut(&Node, &mut Problems) -> Option<T>> Read<T> for F {}

/// Adds "expected ..., found ..."; silent for a value that was refused before.
pub(super) fn expected(what: &str, node: &Node, problems: &mut Problems) {
    let found = match &node.value {
        Value::Refused => return,
        Value::Null => "nothing".to_owned(),
        Value::Text(text) => quoted(text),
        Value::Bool(value) => format!("the word {value} (true or false)"),
        Value::Integer(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Mapping(_) => "a mapping".to_owned(),
    };
    problems.error(&node.at, format!("expected {what}, found {found}"));
}

/// The entries of a mapping, or a problem.
pub(super) fn entries<'n>(what: &str, node: &'n Node, problems: &mut Problems) -> Option<&'n [(Key, Node)]> {
    match &node.value {
        Value::Mapping(entries) => Some(entries),
        _ => {
            expected(&format!("{what} (a mapping of keys to values)"), node, problems);
            None
        }
    }
}

/// A mapping whose keys are known beforehand. Read every key, then [`MapReader::finish`].
pub(super) struct MapReader<'n> {
    at: &'n At,
    entries: &'n [(Key, Node)],
    known: Vec<&'static str>,
}

impl<'n> MapReader<'n> {
    pub(super) fn open(what: &str, node: &'n Node, problems: &mut Problems) -> Option<MapReader<'n>> {
        let entries = entries(what, node, problems)?;
        Some(MapReader { at: &node.at, entries, known: Vec::new() })
    }

    pub(super) fn at(&self) -> &'n At {
        self.at
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(found, _)| found.name == key)
    }

    pub(super) fn optional<T>(&mut self, key: &'static str, problems: &mut Problems, mut read: impl Read<T>) -> Field<T> {
        self.known.push(key);
        let Some((_, node)) = self.entries.iter().find(|(found, _)| found.name == key) else {
            return Field::Absent;
        };
        match read(node, problems) {
            Some(value) => Field::Given(Spanned { value, at: node.at.clone() }),
            None => Field::Invalid,
        }
    }

    /// Like `optional`, but an absent key is a problem.
    pub(super) fn required<T>(&mut self, key: &'static str, problems: &mut Problems, read: impl Read<T>) -> Field<T> {
        match self.optional(key, problems, read) {
            Field::Absent => {
                let at = At { path: Some(path_key(self.at.path.as_ref(), key)), ..self.at.clone() };
                problems.error(&at, format!("the key `{key}` is missing")).help(format!("add `{key}: ...` here"));
                Field::Invalid
            }
            found => found,
        }
    }

    /// Names the keys that nobody read.
    pub(super) fn finish(self, problems: &mut Problems) {
        for (key, _) in self.entries {
            if !self.known.contains(&key.name.as_str()) {
                let help = help_for_unknown(&key.name, self.known.iter().copied(), "known here");
                problems.error(&key.at, format!("unknown key {}", quoted(&key.name))).help(help);
            }
        }
    }
}

/// "did you mean", or the whole list.
pub(super) fn help_for_unknown<'a>(wrong: &str, known: impl Iterator<Item = &'a str>, list_title: &str) -> String {
    let known: Vec<&str> = known.collect();
    let closest = known.iter().map(|word| (strsim::osa_distance(wrong, word), word)).min();
    match closest {
        Some((distance, word)) if distance <= 1 + wrong.chars().count() / 4 => {
            format!("did you mean `{word}`?")
        }
        Some(_) => {
            const LISTED: usize = 20;
            let more = if known.len() > LISTED { ", ..." } else { "" };
            format!("{list_title}: {}{more}", known[..known.len().min(LISTED)].join(", "))
        }
        None => format!("{list_title}: none"),
    }
}

/// A list, or a single value as a list of one. `None` when any item was invalid.
pub(super) fn one_or_many<T>(limit: usize, node: &Node, problems: &mut Problems, read: impl Read<T>) -> Option<Vec<Spanned<T>>> {
    match &node.value {
        Value::Sequence(_) => many(limit, node, problems, read),
        Value::Mapping(_) | Value::Null => {
            expected("a value or a list of values", node, problems);
            None
        }
        _ => read_item(node, problems, read).map(|item| vec![item]),
    }
}

/// A list of at least one; `None` when any item was invalid.
pub(super) fn many<T>(limit: usize, node: &Node, problems: &mut Problems, mut read: impl Read<T>) -> Option<Vec<Spanned<T>>> {
    let nodes = sequence(limit, node, problems)?;
    if nodes.is_empty() {
        problems.error(&node.at, "the list is empty").help("name at least one, or leave the key out");
        return None;
    }
    let items: Vec<_> = nodes.iter().map(|item| read_item(item, problems, &mut read)).collect();
    items.into_iter().collect()
}

/// A list whose valid items are of use even when others are not; may be empty.
pub(super) fn each<T>(limit: usize, node: &Node, problems: &mut Problems, mut read: impl Read<T>) -> Option<Listed<Spanned<T>>> {
    let nodes = sequence(limit, node, problems)?;
    Some(Listed::of(nodes.iter().map(|item| read_item(item, problems, &mut read)).collect()))
}

fn read_item<T>(node: &Node, problems: &mut Problems, mut read: impl Read<T>) -> Option<Spanned<T>> {
    let value = read(node, problems)?;
    Some(Spanned { value, at: node.at.clone() })
}

fn sequence<'n>(limit: usize, node: &'n Node, problems: &mut Problems) -> Option<&'n [Node]> {
    let Value::Sequence(nodes) = &node.value else {
        expected("a list", node, problems);
        return None;
    };
    if nodes.len() > limit {
        problems
            .error(&node.at, format!("the list has {} entries; at most {limit} are allowed", nodes.len()))
            .help("use prefixes and ranges");
        return None;
    }
    Some(nodes)
}
