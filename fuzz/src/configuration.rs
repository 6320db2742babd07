//! The configuration: whatever stands in a file, every problem has a place and a remedy, what is accepted can be compiled, and a second
//! YAML reader reads the same.

mod site;

use controlplane::compile::{Compiler, IkeCompiler};
use controlplane::config::{Loaded, Loader, Problem, Purpose, RelayConfigModel, Severity};
use controlplane::setup::Setup;
use serde_yaml::Value;

use site::{File, Site};

/// Some day in 2026, as Unix time.
const NOW: i64 = 1_790_000_000;

/// The first octet chooses whose file it is, the relay's or a tenant's; the rest stands in it.
pub fn check(data: &[u8]) {
    let Some((first, text)) = data.split_first() else { return };
    let file = if first & 1 == 0 { File::Relay } else { File::Tenant };
    if first & 1 == 0 && names_other_files(text) {
        return;
    }
    Site::with(file, text, |site| {
        let mut loader = Loader::new(&site.path("relay.yaml"), Purpose::Check);
        let loaded = loader.load();
        judge(&loaded, site, text);
        let again = loader.load();
        assert_eq!((&loaded.relay, &loaded.problems), (&again.relay, &again.problems), "read again, it is the same");
        if let Some(model) = &loaded.relay {
            reads_alike(model, site);
            compiles(site);
        }
    });
}

/// Patterns that walk through the machine that fuzzes.
fn names_other_files(text: &[u8]) -> bool {
    let holds = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
    holds(b"**") || holds(b"..") || holds(b" /") || holds(b"\"/") || holds(b"'/") || holds(b":/") || holds(b"*/")
}

fn judge(loaded: &Loaded, site: &Site, text: &[u8]) {
    let failed = loaded.problems.iter().any(|problem| problem.severity == Severity::Error);
    assert_eq!(loaded.relay.is_none(), failed, "a model comes exactly when nothing is wrong");
    for problem in &loaded.problems {
        let Problem { line, column, message, help, .. } = problem;
        // Not where the file itself says such words.
        let words = "is refused without a reason; this is a fault of chukei";
        assert!(!message.starts_with(words), "validation has a gap: {problem}");
        let says_how = ["expected", "out of range", "at most"].iter().any(|words| message.contains(words));
        assert!(help.is_some() || says_how, "how is this mended? {problem}");
        assert!(!problem.to_string().replace("\n  help", "").contains(char::is_control), "{problem:?}");
        assert_eq!(*line == 0, *column == 0, "{problem}");
        let lines = text.split(|byte| matches!(byte, b'\n' | b'\r')).count().max(site.lines());
        assert!(usize::try_from(*line).is_ok_and(|line| line <= lines), "of {lines} lines: {problem}");
    }
}

/// Names, in both files, as the second reader has them.
fn reads_alike(model: &RelayConfigModel, site: &Site) {
    let value = |name: &str| -> Value {
        serde_yaml::from_slice(&site.read(name)).unwrap_or_else(|error| panic!("{name} is not YAML to another reader: {error}"))
    };
    let same = |value: &Value, key: &str, ours: &str| match value.get(key) {
        Some(Value::String(theirs)) => assert_eq!(theirs, ours, "{key}"),
        other => assert!(other.is_some(), "{key} is missing to another reader"),
    };
    same(&value("relay.yaml"), "relay", &model.name);
    for tenant in &model.tenants {
        let theirs = value("tenants/chiyoda.yaml");
        same(&theirs, "tenant", &tenant.id);
        same(&theirs, "name", &tenant.name);
        for (key, ours) in [("services", tenant.services.len()), ("callbacks", tenant.callbacks.len())] {
            let theirs = theirs.get(key).and_then(Value::as_sequence).map_or(0, Vec::len);
            assert_eq!(theirs, ours, "{key}");
        }
    }
}

fn compiles(site: &Site) {
    // Other key files than the one that is there may be named.
    let Ok(accepted) = Setup::load(&mut Setup::loader(&site.path("relay.yaml"))) else { return };
    let router = accepted.setup.compile(&mut Compiler::default(), NOW);
    assert_eq!(router.tenants.len(), accepted.setup.model.tenants.len());
    for entry in &router.tenants {
        assert_eq!(entry.tunnel_counters.len(), entry.config.tunnels.len());
        assert!(entry.config.attachments.iter().all(|attachment| usize::from(attachment.port.0) < router.ports.len()));
    }
    let _ = accepted.setup.ike_config(&mut IkeCompiler::default(), NOW);
}
