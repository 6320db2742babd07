//! The house rules that a compiler does not know. A rule broken is a failing test that names file and line.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/source.rs"]
mod source;

use source::{Source, Token};

/// Rooms that decide: they see packets and tables, never a NIC, a thread or a publisher.
const DECIDING_ROOMS: [&str; 9] = ["route", "tunnel", "tenant", "nat", "link", "wire", "host", "packet", "rate"];
/// Rooms that do I/O.
const IO_ROOMS: [&str; 3] = ["nic", "worker", "publish"];
/// What belongs to the control plane. Matched as whole words, and as the beginning of a dependency's name.
const CONTROL_PLANE_CRATES: [&str; 8] = ["serde", "yaml", "saphyr", "axum", "hyper", "prometheus", "tokio", "toml"];
/// Longer than this, a file has more than one subject.
const MAX_LINES: usize = 450;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("dataplane lies in the workspace").to_owned()
}

/// Rust files under `directory`, by their paths from the workspace's root; build output and hidden directories left out.
fn rust_files(directory: &str) -> Vec<(String, Source)> {
    let root = workspace();
    let mut files = Vec::new();
    let mut directories = vec![root.join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the workspace") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                directories.push(path);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).expect("a readable file");
                let name = path.strip_prefix(&root).expect("under the root").to_string_lossy().into_owned();
                files.push((name, Source::new(text)));
            }
        }
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert!(!files.is_empty(), "{directory} has no Rust files: a rule over nothing holds always");
    files
}

/// Fail with all findings at once.
fn report(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}\n  {}", findings.join("\n  "));
}

fn room(file: &str) -> &str {
    let inside = file.strip_prefix("dataplane/src/").unwrap_or_default();
    inside.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// Where `word` stands as a word of its own, outside comments and strings.
fn uses_of<'a>(files: &'a [(String, Source)], word: &'a str) -> impl Iterator<Item = (&'a str, usize)> {
    let of_file = move |source: &'a Source| source.tokens().filter(move |token| token.text == word).map(|token| token.line);
    files.iter().flat_map(move |(file, source)| of_file(source).map(move |line| (file.as_str(), line)))
}

#[test]
fn rooms_that_decide_import_no_room_that_does_io() {
    let mut findings = Vec::new();
    for (file, source) in rust_files("dataplane/src") {
        // Frames are memory that a NIC shares; only `packet/frames.rs` may know that.
        if !DECIDING_ROOMS.contains(&room(&file)) || file == "dataplane/src/packet/frames.rs" {
            continue;
        }
        for (path, line) in source.paths() {
            let first = path.iter().find(|segment| !matches!(segment.as_str(), "crate" | "super" | "self"));
            if path == ["crate", "*"] || first.is_some_and(|first| IO_ROOMS.contains(&first.as_str())) {
                findings.push(format!("{file}:{line}: {}", path.join("::")));
            }
        }
    }
    report("a deciding room must not import nic, worker or publish: pass it what it needs as an argument", &findings);
}

#[test]
fn only_simulated_routers_and_the_other_end_of_tests_name_boringtun() {
    let files = rust_files("dataplane/src");
    let allowed = |file: &str| file.starts_with("dataplane/src/tunnel/wireguard/tests/") || room(file) == "simulation";
    let findings: Vec<String> =
        uses_of(&files, "boringtun").filter(|(file, _)| !allowed(file)).map(|(file, line)| format!("{file}:{line}")).collect();
    report("boringtun is the other end of tests and simulations: the relay speaks WireGuard by itself", &findings);
    assert!(uses_of(&files, "boringtun").next().is_some(), "the rule finds its subject");
}

#[test]
fn unsafe_stands_only_where_memory_is_shared_with_the_kernel() {
    let allowed = |file: &str| {
        // Frames and rings; ioctls and namespaces; the tests of both; an allocator that counts; and hints to the processor.
        ["dataplane/src/packet/frames.rs", "dataplane/src/prefetch.rs", "dataplane/tests/support/counting_allocator.rs"].contains(&file)
            || ["dataplane/src/nic/", "dataplane/tests/nic/", "controlplane/src/demo/", "netns-tests/"]
                .iter()
                .any(|room| file.starts_with(room))
    };
    let files = rust_files(".");
    let findings: Vec<String> =
        uses_of(&files, "unsafe").filter(|(file, _)| !allowed(file)).map(|(file, line)| format!("{file}:{line}")).collect();
    report("unsafe outside packet/frames.rs, prefetch.rs, nic/ and demo/", &findings);
    assert!(uses_of(&files, "unsafe").next().is_some(), "the rule finds its subject");
}

#[test]
fn the_data_plane_knows_no_yaml_no_http_and_no_async_runtime() {
    let is_control_plane = |word: &str| {
        let word = word.replace('-', "_");
        CONTROL_PLANE_CRATES
            .iter()
            .any(|name| word == *name || word.starts_with(&format!("{name}_")) || word.ends_with(&format!("_{name}")))
    };
    let mut findings = Vec::new();
    for (file, source) in rust_files("dataplane/src") {
        findings.extend(
            source.tokens().filter(|token| is_control_plane(token.text)).map(|token| format!("{file}:{}: {}", token.line, token.text)),
        );
    }
    let manifest = fs::read_to_string(workspace().join("dataplane/Cargo.toml")).expect("dataplane/Cargo.toml");
    for (number, line) in (1..).zip(manifest.lines()) {
        let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
        if is_control_plane(name) {
            findings.push(format!("dataplane/Cargo.toml:{number}: {name}"));
        }
    }
    assert!(manifest.contains("boringtun"), "the manifest is the right file");
    report("this belongs to the control plane", &findings);
}

#[test]
fn one_file_reads_the_clock() {
    let mut findings = Vec::new();
    let mut readers = BTreeSet::new();
    for (file, source) in rust_files("dataplane/src") {
        let tokens: Vec<Token> = source.tokens().collect();
        for window in tokens.windows(4) {
            let texts: [&str; 4] = std::array::from_fn(|index| window[index].text);
            if matches!(texts, ["Instant" | "SystemTime", ":", ":", "now"]) {
                readers.insert(file.clone());
                if file != "dataplane/src/worker/thread.rs" {
                    findings.push(format!("{file}:{}", window[0].line));
                }
            }
        }
    }
    report("time is an argument: only worker/thread.rs reads the clock", &findings);
    assert!(!readers.is_empty(), "the rule finds its subject");
}

#[test]
fn no_file_is_longer_than_anybody_wants_to_read() {
    let too_long = |(file, source): (String, Source)| (source.lines() > MAX_LINES).then(|| format!("{file}: {} lines", source.lines()));
    let findings: Vec<String> = rust_files(".").into_iter().filter_map(too_long).collect();
    report("more than 450 lines: give the second subject its own file", &findings);
}

#[test]
fn nothing_is_left_for_later_and_no_path_of_somebodys_machine_is_built_in() {
    // Put together here, so that this file does not find itself.
    let machine_paths = [concat!("/wo", "rk/"), concat!("/tmp/", "wt"), concat!("/ho", "me/"), concat!("/ro", "ot/")];
    let mut findings = Vec::new();
    for (file, source) in rust_files(".") {
        let tokens: Vec<Token> = source.tokens().collect();
        for pair in tokens.windows(3) {
            match [pair[0].text, pair[1].text, pair[2].text] {
                [word @ ("todo" | "unimplemented"), "!", _] => findings.push(format!("{file}:{}: {word}", pair[0].line)),
                ["#", "[", "ignore"] => findings.push(format!("{file}:{}: an ignored test tests nothing", pair[0].line)),
                _ => {}
            }
        }
        for (number, line) in (1..).zip(source.text().lines()) {
            let found = machine_paths.iter().find(|path| line.contains(**path));
            findings.extend(found.map(|path| format!("{file}:{number}: {path}")));
        }
    }
    report("finish it, or write the gap down where it is", &findings);
}
