//! A small relay in a directory of its own, to be broken one edit at a time.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::super::*;

pub(super) const RELAY: &str = "\
relay: tokyo-1
ports:
  access: {interface: ens4, address: 192.0.2.1/24, gateway: 192.0.2.254}
  aws: {interface: ens5}
endpoints:
  - {name: tokyo-a, port: access, wireguard: {listen: 51820, private_key_file: keys/relay.key}}
shared_addresses: [203.0.113.0/26]
conventional_lgwan: [192.0.2.128/25]
tenants: tenants/*.yaml
";

pub(super) const CHIYODA: &str = "\
tenant: 131016-chiyoda
name: 千代田区
tunnels:
  main: {endpoint: tokyo-a, wireguard: {public_key: cmv0WGrx4tBWBd3XDRZl7p/YGXxCAK3VOSwVITAe8T8=}}
office:
  mynumber: [198.51.100.16/29]
  lgwan-connected: [198.51.100.24/29]
clouds:
  aws: {port: aws, vlan: 2101, address: 10.254.1.2/29, gateway: 10.254.1.1}
services:
  - {name: 住民記録, class: mynumber, global: 203.0.113.10, private: 10.10.0.10, allow: [tcp/443, icmp]}
  - {name: 税, class: mynumber, global: 203.0.113.10, private: 10.10.0.11, allow: ['tcp/10443:443']}
  - {name: 文書管理, class: lgwan-connected, private: [10.10.4.0/24], allow: [tcp/443]}
source:
  mynumber: {napt: [10.254.1.8/30]}
  lgwan-connected: {static: {198.51.100.25: 10.254.1.20}}
callbacks:
  - {name: 帳票, class: mynumber, from: [10.10.0.20], as: 203.0.113.20, to: 10.254.1.30, office: 198.51.100.17, allow: [tcp/515]}
";

pub(super) const CHUO: &str = "\
tenant: 131024-chuo
name: 中央区
tunnels:
  main: {endpoint: tokyo-a, wireguard: {public_key: cldwCmoem2WZLFIj14aLEpFgLyX53qqYzN0fgXi6bhs=}}
office: {mynumber: [198.51.100.16/29]}
clouds: {aws: {port: aws, vlan: 2102, address: 10.254.1.2/29, gateway: 10.254.1.1}}
services:
  - {name: 住民記録, class: mynumber, global: 203.0.113.10, private: 10.10.0.10, allow: [tcp/443, icmp]}
source: {mynumber: {napt: [10.254.1.8/30]}}
";

/// RFC 7748 section 6.1: Alice's private key, whose public key everybody knows.
const RELAY_KEY: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";

/// What is to be found where all is well.
pub(super) const NOTHING: [&str; 0] = [];

pub(super) struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    /// Valid, with key files.
    pub(super) fn new() -> Fixture {
        let fixture = Fixture { directory: tempfile::tempdir().expect("a temporary directory") };
        fs::create_dir(fixture.path("tenants")).expect("new");
        fs::create_dir(fixture.path("keys")).expect("new");
        fixture.write("relay.yaml", RELAY);
        fixture.write("tenants/chiyoda.yaml", CHIYODA);
        fixture.write("tenants/chuo.yaml", CHUO);
        fixture.write_key("keys/relay.key", RELAY_KEY, 0o600);
        fixture
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("writable");
    }

    pub(super) fn write_key(&self, name: &str, content: &str, mode: u32) {
        use std::io::Write;
        let path = self.path(name);
        let _ = fs::remove_file(&path);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).expect("new");
        writeln!(file, "{content}").expect("writable");
    }

    /// Replaces what must stand in the file exactly once.
    pub(super) fn edit(self, name: &str, old: &str, new: &str) -> Fixture {
        let path = self.path(name);
        let content = fs::read_to_string(&path).expect("there");
        assert_eq!(content.matches(old).count(), 1, "{old:?} in {name}");
        self.write(name, content.replace(old, new));
        self
    }

    pub(super) fn load(&self, purpose: Purpose) -> Loaded {
        load(&self.path("relay.yaml"), purpose)
    }

    /// First lines of all problems, with paths relative to the fixture; each problem says how to mend it.
    pub(super) fn problems(&self) -> Vec<String> {
        let loaded = self.load(Purpose::Check);
        let failed = loaded.problems.iter().any(|problem| problem.severity == Severity::Error);
        assert_eq!(loaded.relay.is_none(), failed, "a model comes exactly when nothing is wrong");
        for problem in &loaded.problems {
            let says_how = problem.message.contains("expected") || problem.message.contains("out of range");
            assert!(problem.help.is_some() || says_how, "how is this mended? {problem}");
        }
        loaded.problems.iter().map(|problem| self.relative(problem)).collect()
    }

    fn relative(&self, problem: &Problem) -> String {
        let text = problem.to_string().lines().next().unwrap_or_default().to_owned();
        relative_to(self.directory.path(), &text)
    }
}

pub(super) fn relative_to(directory: &Path, text: &str) -> String {
    text.replace(&format!("{}/", directory.display()), "")
}

/// Each edit is (file, old, new).
pub(super) fn problems_after(edits: &[(&str, &str, &str)]) -> Vec<String> {
    let edited = edits.iter().fold(Fixture::new(), |fixture, (file, old, new)| fixture.edit(file, old, new));
    edited.problems()
}
