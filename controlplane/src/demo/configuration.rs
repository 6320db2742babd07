//! The relay's configuration for the demo: the same files that an operator writes, in a directory that goes with the value.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::error::{Context, DemoError};
use super::plan::{ACCESS_GATEWAY, Kind, Municipality, PRINTER_PORT, RELAY_ACCESS, RELAY_IDENTITY, RELAY_UDP_PORT, TCP_PORT, UDP_PORT};
use super::topology::{ACCESS_PORT, CLOUD_PORT};
use super::vlan::VlanTag;
use super::wireguard_keys::KeyPair;

/// The configuration's files, keys included.
#[derive(Debug)]
pub struct Configuration {
    /// Readable by this user alone, removed at the end.
    directory: TempDir,
    keys: KeyPair,
}

impl Configuration {
    /// Writes the files. `driver` is `auto`, `af_xdp` or `af_packet`.
    ///
    /// # Errors
    /// When the directory for temporary files is not writable.
    pub fn write(municipalities: &[Municipality], driver: &str) -> Result<Self, DemoError> {
        let keys = KeyPair::generate()?;
        let directory = tempfile::Builder::new().prefix("chukei-demo-").tempdir();
        let directory = directory.doing(|| "make a directory for the demo's configuration".to_owned())?;
        let configuration = Self { directory, keys };
        configuration.write_all(municipalities, driver).doing(|| format!("write {}", configuration.directory().display()))?;
        Ok(configuration)
    }

    /// The file for `chukei run -c`.
    #[must_use]
    pub fn relay_file(&self) -> PathBuf {
        self.directory().join("relay.yaml")
    }

    /// Where everything lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What the municipalities' routers know the relay by.
    #[must_use]
    pub fn relay_public_key(&self) -> [u8; 32] {
        self.keys.public()
    }

    fn write_all(&self, municipalities: &[Municipality], driver: &str) -> io::Result<()> {
        let file = |name: &str| self.directory().join(name);
        for directory in ["tenants", "keys", "state"] {
            fs::create_dir(file(directory))?;
        }
        fs::write(self.relay_file(), relay_text(self.directory(), driver))?;
        write_key(&file("keys/relay.key"), &self.keys.private())?;
        for one in municipalities {
            fs::write(file(&format!("tenants/{}.yaml", one.tenant)), tenant_text(one))?;
            let psk = file(&format!("keys/{}.psk", one.tenant));
            match one.kind {
                Kind::WireGuard => write_key(&psk, &one.preshared_key)?,
                Kind::Ipsec => write_secret(&psk, &one.preshared_text())?,
            }
        }
        Ok(())
    }
}

/// A key in the format of `wg genkey`, for its owner's eyes only from the first byte on.
fn write_key(path: &Path, key: &[u8; 32]) -> io::Result<()> {
    write_secret(path, &Zeroizing::new(STANDARD.encode(key)))
}

fn write_secret(path: &Path, text: &Zeroizing<String>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")
}

fn relay_text(directory: &Path, driver: &str) -> String {
    let (address, prefix) = RELAY_ACCESS;
    let directory = directory.display();
    format!(
        "relay: demo
ports:
  access: {{interface: {ACCESS_PORT}, address: {address}/{prefix}, gateway: {ACCESS_GATEWAY}, driver: {driver}}}
  cloud: {{interface: {CLOUD_PORT}, driver: {driver}}}
endpoints:
  - {{name: demo, port: access, wireguard: {{listen: {RELAY_UDP_PORT}, private_key_file: keys/relay.key}}}}
  - {{name: demo-ipsec, port: access, ipsec: {{local_id: {RELAY_IDENTITY}}}}}
shared_addresses: [203.0.113.0/26]
conventional_lgwan: [192.0.2.128/25]
metrics: {{listen: \"127.0.0.1:9273\"}}
api: {{socket: \"{directory}/api.sock\"}}
state: \"{directory}/state\"
tenants: tenants/*.yaml
"
    )
}

fn tenant_text(one: &Municipality) -> String {
    let Municipality { tenant, name, office, cloud, .. } = one;
    let tunnel = match one.kind {
        Kind::WireGuard => {
            let public_key = STANDARD.encode(one.keys.public());
            format!("{{endpoint: demo, wireguard: {{public_key: \"{public_key}\", preshared_key_file: keys/{tenant}.psk}}}}")
        }
        Kind::Ipsec => {
            format!(
                "{{endpoint: demo-ipsec, ipsec: {{remote_id: {}, psk_file: keys/{tenant}.psk, crypto_policy: cryptrec}}}}",
                one.identity()
            )
        }
    };
    let vlan = match one.vlan {
        VlanTag::Single(vlan) => vlan.to_string(),
        VlanTag::Double { outer, inner } => format!("{{outer: {outer}, inner: {inner}}}"),
    };
    let service = |name: &str, class: &str, global, private, allow: &str| {
        format!("  - {{name: {name}, class: {class}, global: {global}, private: {private}, allow: [{allow}]}}\n")
    };
    let register = format!("tcp/{TCP_PORT}, udp/{UDP_PORT}, icmp");
    let services = service("住民記録", "mynumber", office.register, cloud.register, &register)
        + &service("文書管理", "lgwan-connected", office.documents, cloud.documents, &format!("tcp/{TCP_PORT}"));
    format!(
        "tenant: {tenant}
name: {name}
tunnels:
  main: {tunnel}
office:
  mynumber: [{}]
  lgwan-connected: [{}]
clouds:
  cloud: {{port: cloud, vlan: {vlan}, address: {}, gateway: {}}}
services:
{services}source:
  mynumber: {{napt: [{}]}}
  lgwan-connected: {{static: {{{}: {}}}}}
callbacks:
  - {{name: 帳票印刷, class: mynumber, from: [{}], as: {}, to: {}, office: {}, allow: [tcp/{PRINTER_PORT}]}}
",
        office.mynumber,
        office.lgwan_connected,
        cloud.relay,
        cloud.gateway,
        cloud.pool,
        office.lgwan_connected_desk,
        cloud.lgwan_connected_desk,
        cloud.print_server,
        office.print_source,
        cloud.printer,
        office.mynumber_desk,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Purpose, load, read_key};
    use crate::demo::plan::municipalities;

    #[test]
    fn the_relay_would_run_with_these_files_as_they_stand() {
        let mut all = municipalities().unwrap();
        all[2].vlan = VlanTag::Double { outer: 100, inner: 2101 };
        let configuration = Configuration::write(&all, "auto").unwrap();
        let loaded = load(&configuration.relay_file(), Purpose::Run);
        assert!(loaded.problems.is_empty(), "{:#?}", loaded.problems);
        let relay = loaded.relay.unwrap();
        assert_eq!(relay.tenants.len(), 3);
        let key = read_key(&configuration.directory().join("keys/relay.key")).unwrap();
        assert_eq!(KeyPair::from_private(&key).public(), configuration.relay_public_key());
    }

    #[test]
    fn the_files_go_with_the_value() {
        let configuration = Configuration::write(&[], "af_packet").unwrap();
        let directory = configuration.directory().to_owned();
        assert!(directory.join("keys/relay.key").exists());
        drop(configuration);
        assert!(!directory.exists());
    }
}
