//! Just enough of Rust's grammar to tell code from comments and strings, and to read paths.

/// A Rust file.
pub(crate) struct Source {
    text: String,
    /// The text with comments, strings and characters blanked out; lines stay where they are.
    code: String,
}

/// A word, or one character of punctuation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) line: usize,
}

impl Source {
    pub(crate) fn new(text: String) -> Self {
        let code = blank(&text);
        Self { text, code }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn lines(&self) -> usize {
        self.text.lines().count()
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = Token<'_>> {
        (1..).zip(self.code.lines()).flat_map(|(line, code)| words(code).map(move |text| Token { text, line }))
    }

    /// All paths that begin with `crate`, `super`, `self` or the crate's name, groups of `use` spelled out, with their lines.
    pub(crate) fn paths(&self) -> Vec<(Vec<String>, usize)> {
        let tokens: Vec<Token<'_>> = self.tokens().collect();
        let mut paths = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            if matches!(tokens[at].text, "crate" | "super" | "self" | "dataplane") {
                let line = tokens[at].line;
                let mut found = Vec::new();
                at = tree(&tokens, at, &[], &mut found).max(at + 1);
                paths.extend(found.into_iter().map(|path| (path, line)));
            } else {
                at += 1;
            }
        }
        paths
    }
}

/// Read one path, or one tree of a `use`, from `at` on; returns where it ends.
fn tree(tokens: &[Token<'_>], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    loop {
        match text(at) {
            "{" => {
                at += 1;
                while !matches!(text(at), "}" | "") {
                    at = tree(tokens, at, &path, found).max(at + 1);
                    if text(at) == "as" {
                        at += 2;
                    }
                    if text(at) == "," {
                        at += 1;
                    }
                }
                return at + 1;
            }
            word if word == "*" || word.starts_with(|first: char| first.is_alphabetic() || first == '_') => {
                // The crate's own name from inside: an integration test, or a macro.
                path.push(if word == "dataplane" && path.is_empty() { "crate" } else { word }.to_owned());
                at += 1;
            }
            _ => break,
        }
        if text(at) != ":" || text(at + 1) != ":" {
            break;
        }
        at += 2;
    }
    if path == ["crate"] && text(at) == "as" {
        // Under another name the whole crate is in reach, as with a star.
        path.push("*".to_owned());
    }
    found.push(path);
    at
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = code.trim_start();
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = if is_word(first) { rest.find(|c| !is_word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (word, behind) = rest.split_at(end);
        rest = behind.trim_start();
        Some(word)
    })
}

/// Replace comments, strings and character literals by spaces.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let skipped = comment(rest).or_else(|| (!after_word).then(|| raw_string(rest)).flatten()).or_else(|| literal(rest));
        let len = skipped.unwrap_or(first.len_utf8());
        let (piece, behind) = rest.split_at(len);
        if skipped.is_some() {
            code.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            code.push_str(piece);
        }
        rest = behind;
    }
    code
}

fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    let mut at = text.starts_with("/*").then_some(2)?;
    let mut depth = 1;
    while depth > 0 && at < text.len() {
        let rest = &text.as_bytes()[at..];
        let step = if rest.starts_with(b"*/") {
            depth -= 1;
            2
        } else if rest.starts_with(b"/*") {
            depth += 1;
            2
        } else {
            1
        };
        at += step;
    }
    Some(at.min(text.len()))
}

fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].iter().find(|prefix| text.starts_with(**prefix) && text[prefix.len()..].starts_with(['"', '#']))?.len();
    let hashes = text[prefix..].bytes().take_while(|byte| *byte == b'#').count();
    let body = text[prefix + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(body.find(&end).map_or(text.len(), |at| prefix + hashes + 1 + at + end.len()))
}

/// A string or a character; a lifetime is neither.
fn literal(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    if quote == '\'' {
        let mut chars = text[1..].chars();
        let (first, second) = (chars.next()?, chars.next());
        if first != '\\' && second != Some('\'') {
            return None;
        }
    }
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    Some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        Source::new(text.to_owned()).paths().into_iter().map(|(path, _)| path.join("::")).collect()
    }

    #[test]
    fn every_spelling_of_an_import_is_read() {
        assert_eq!(paths("use crate::nic::Nic;"), ["crate::nic::Nic"]);
        assert_eq!(
            paths("use crate::{wire::{a, b::*}, nic as n, publish};"),
            ["crate::wire::a", "crate::wire::b::*", "crate::nic", "crate::publish"]
        );
        assert_eq!(paths("fn f(x: &crate::worker::Worker<'_>) {}"), ["crate::worker::Worker"]);
        assert_eq!(paths("use super::super::\n  nic::{self, Nic};"), ["super::super::nic::self", "super::super::nic::Nic"]);
        assert_eq!(paths("use crate as root; use dataplane::nic;"), ["crate::*", "crate::nic"]);
    }

    #[test]
    fn comments_strings_and_lifetimes_are_told_apart_from_code() {
        let text = r###"
            //! [`crate::nic`] and unsafe
            /* crate::nic /* nested */ unsafe */
            let s = "crate::nic \" unsafe"; let r = r#"crate::nic " unsafe"#; let b = b"unsafe";
            let c = '"'; let d = '\''; fn f<'a>(x: &'a str) { unsafe_code(x) }
            let after = crate::wire::x;
        "###;
        assert_eq!(paths(text), ["crate::wire::x"]);
        let source = Source::new(text.to_owned());
        assert!(source.tokens().all(|token| token.text != "unsafe"));
        assert!(source.tokens().any(|token| token.text == "unsafe_code"));
        assert_eq!(source.tokens().find(|token| token.text == "after").map(|token| token.line), Some(6));
    }
}
