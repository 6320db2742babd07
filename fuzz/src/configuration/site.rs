//! A directory with a small configuration, of which one file is fuzzed.

use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

const RELAY: &str = include_str!("relay.yaml");
const TENANT: &str = include_str!("chiyoda.yaml");
/// RFC 7748 section 6.1: Alice's private key, whose public key everybody knows.
const KEY: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";

#[derive(Clone, Copy)]
pub(super) enum File {
    Relay,
    Tenant,
}

pub(super) struct Site(tempfile::TempDir);

thread_local! {
    static SITE: Site = Site::new();
}

impl Site {
    /// Do something in the directory, where `file` holds `text` and the other one what it should.
    pub(super) fn with(file: File, text: &[u8], act: impl FnOnce(&Self)) {
        SITE.with(|site| {
            let (relay, tenant) = match file {
                File::Relay => (text, TENANT.as_bytes()),
                File::Tenant => (RELAY.as_bytes(), text),
            };
            site.write("relay.yaml", relay);
            site.write("tenants/chiyoda.yaml", tenant);
            act(site);
        });
    }

    fn new() -> Self {
        let site = Self(tempfile::tempdir().expect("a temporary directory"));
        ["tenants", "keys"].iter().for_each(|name| std::fs::create_dir(site.path(name)).expect("new"));
        let mut options = std::fs::OpenOptions::new();
        let mut key = options.write(true).create_new(true).mode(0o600).open(site.path("keys/relay.key")).expect("new");
        std::io::Write::write_all(&mut key, KEY.as_bytes()).expect("written");
        site
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("there")
    }

    /// Of the longer of the two files as they should be.
    pub(super) fn lines(&self) -> usize {
        RELAY.lines().count().max(TENANT.lines().count()) + 1
    }

    fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path(name), content).expect("written");
    }
}
