//! `chukei tenant new`: a tenant file that passes `check`, and the municipality's ready wg-quick file.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args;
use ipnetwork::Ipv4Network;
use zeroize::Zeroizing;

use super::{ConfigFile, keygen, write_new};
use crate::cli::output;
use crate::config::{self, Endpoint, EndpointKind, Loaded, Problem, Purpose, RelayConfigModel, Severity, Tenant};

/// `chukei tenant new`.
#[derive(Debug, Args)]
pub(super) struct TenantNew {
    /// The unique name: 全国地方公共団体コード and a short name, e.g. `131016-chiyoda`.
    tenant: String,
    #[command(flatten)]
    config: ConfigFile,
    /// The name for people, e.g. 千代田区.
    #[arg(long)]
    name: String,
    /// The relay's end of the tunnel; may be left out where relay.yaml has one only.
    #[arg(long)]
    endpoint: Option<String>,
    /// Where municipalities reach the relay, if that is not the endpoint's own address.
    #[arg(long, value_name = "ADDRESS")]
    relay_address: Option<Ipv4Addr>,
    /// The router's public key, where the municipality made its key itself; a key pair is made otherwise.
    #[arg(long, value_name = "BASE64")]
    public_key: Option<String>,
    /// Office prefixes of 番号利用事務系.
    #[arg(long, value_name = "PREFIX", required_unless_present = "lgwan_connected")]
    mynumber: Vec<Ipv4Network>,
    /// Office prefixes of LGWAN接続系.
    #[arg(long, value_name = "PREFIX")]
    lgwan_connected: Vec<Ipv4Network>,
    /// The port towards the cloud.
    #[arg(long, value_name = "PORT")]
    cloud: String,
    /// The VLAN: `2101`, or `100.2101` for QinQ.
    #[arg(long)]
    vlan: String,
    /// The relay's own address on the VLAN, e.g. `10.254.1.2/30`.
    #[arg(long, value_name = "ADDRESS/LENGTH")]
    address: Ipv4Network,
    /// The cloud's router on the VLAN.
    #[arg(long)]
    gateway: Ipv4Addr,
    /// Address pool behind which 番号利用事務系 appears to the cloud; without one its office addresses are kept.
    #[arg(long, value_name = "PREFIX")]
    mynumber_napt: Vec<Ipv4Network>,
    /// Address pool behind which LGWAN接続系 appears to the cloud, another one; without one its office addresses are kept.
    #[arg(long, value_name = "PREFIX")]
    lgwan_connected_napt: Vec<Ipv4Network>,
    /// The tenant file; without it `tenants/TENANT.yaml` beside relay.yaml.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The wg-quick file; without it `TENANT.conf` in the current directory.
    #[arg(long, value_name = "FILE")]
    wg_quick: Option<PathBuf>,
}

/// Files that were written, taken away again unless all is well.
#[derive(Default)]
struct Written(Vec<PathBuf>);

impl Drop for Written {
    fn drop(&mut self) {
        for path in &self.0 {
            // Nothing can be done about one that stays: the error that led here is what counts.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What the municipality gets besides what is in the tenant's file.
struct Secrets {
    /// Of its router, where it was made here.
    private_key: Option<Zeroizing<[u8; 32]>>,
    public_key: String,
    preshared_key: Zeroizing<[u8; 32]>,
}

impl TenantNew {
    /// Write both files and say what to do with them.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        ensure!(config::is_identifier(&self.tenant), "{:?} is no name: {}", self.tenant, config::IDENTIFIER_HELP);
        let directory = self.config.config.parent().unwrap_or(Path::new(""));
        let relay = self.load("relay.yaml has to be in order before a tenant is added")?;
        ensure!(relay.tenant(&self.tenant).is_none(), "the tenant {} exists already", self.tenant);
        let endpoint = self.endpoint(&relay)?;
        let secrets = self.secrets()?;

        let mut written = Written::default();
        let psk_name = format!("keys/{}.psk", self.tenant);
        let psk_file = directory.join(&psk_name);
        std::fs::create_dir_all(directory.join("keys")).context("the directory `keys` beside relay.yaml")?;
        keygen::write_key(&psk_file, &secrets.preshared_key)?;
        written.0.push(psk_file);
        let tenant_file = self.output.clone().unwrap_or_else(|| directory.join("tenants").join(format!("{}.yaml", self.tenant)));
        let yaml = self.tenant_yaml(&endpoint.name, &secrets.public_key, &psk_name)?;
        write_new(&tenant_file, yaml.as_bytes(), 0o644)?;
        written.0.push(tenant_file.clone());

        let relay = self.load("the tenant was not added")?;
        let tenant = relay.tenant(&self.tenant).with_context(|| {
            format!("{}: `tenants:` in relay.yaml does not name this file; the tenant was not added", tenant_file.display())
        })?;
        let wg_quick = self.wg_quick.clone().unwrap_or_else(|| PathBuf::from(format!("{}.conf", self.tenant)));
        write_new(&wg_quick, self.wg_quick_text(&relay, tenant, endpoint, &secrets)?.as_bytes(), 0o600)?;
        written.0.clear();
        Ok(output::print(&format!(
            "wrote {}: add the services, then `chukei check` and `chukei reload`\n\
             wrote {}: it holds secrets; hand it to the municipality by a safe way, then delete it",
            tenant_file.display(),
            wg_quick.display()
        ))?)
    }

    fn load(&self, otherwise: &str) -> anyhow::Result<RelayConfigModel> {
        let Loaded { relay, problems, .. } = config::load(&self.config.config, Purpose::Check);
        let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).map(Problem::to_string);
        relay.with_context(|| format!("{otherwise}:\n{}", errors.collect::<Vec<_>>().join("\n")))
    }

    fn endpoint(&self, relay: &RelayConfigModel) -> anyhow::Result<Endpoint> {
        let names = relay.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect::<Vec<_>>().join(", ");
        let found = match (&self.endpoint, &relay.endpoints[..]) {
            (Some(name), endpoints) => endpoints.iter().find(|endpoint| endpoint.name == *name),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        found.cloned().with_context(|| format!("--endpoint is one of: {names}"))
    }

    fn secrets(&self) -> anyhow::Result<Secrets> {
        let preshared_key = keygen::random_key()?;
        if let Some(public_key) = self.public_key.clone() {
            return Ok(Secrets { private_key: None, public_key, preshared_key });
        }
        let private_key = keygen::random_key()?;
        Ok(Secrets { public_key: keygen::public_key(&private_key), private_key: Some(private_key), preshared_key })
    }

    fn tenant_yaml(&self, endpoint: &str, public_key: &str, psk_file: &str) -> anyhow::Result<String> {
        let vlan = match self.vlan.split_once('.') {
            Some((outer, inner)) => format!("{{outer: {}, inner: {}}}", outer.parse::<u16>()?, inner.parse::<u16>()?),
            None => self.vlan.parse::<u16>().context("--vlan is a number, or OUTER.INNER")?.to_string(),
        };
        // JSON strings are YAML strings, so that no name can be anything but a string.
        let quoted = |text: &str| serde_json::to_string(text);
        let mut yaml = format!("tenant: {}\nname: {}\ntunnels:\n", self.tenant, quoted(&self.name)?);
        let wireguard = format!("{{public_key: {}, preshared_key_file: {psk_file}}}", quoted(public_key)?);
        writeln!(yaml, "  main: {{endpoint: {endpoint}, wireguard: {wireguard}}}\noffice:")?;
        for (class, prefixes, _) in self.classes() {
            writeln!(yaml, "  {class}: [{}]", joined(prefixes))?;
        }
        let (address, gateway) = (self.address, self.gateway);
        writeln!(yaml, "clouds:\n  main: {{port: {}, vlan: {vlan}, address: {address}, gateway: {gateway}}}", quoted(&self.cloud)?)?;
        yaml.push_str(SERVICES_HELP);
        yaml.push_str("source:\n");
        for (class, _, pools) in self.classes() {
            match pools {
                [] => writeln!(yaml, "  {class}: keep")?,
                pools => writeln!(yaml, "  {class}: {{napt: [{}]}}", joined(pools))?,
            }
        }
        Ok(yaml)
    }

    /// The classes that the tenant has, each with its office prefixes and its pool.
    fn classes(&self) -> impl Iterator<Item = (&'static str, &[Ipv4Network], &[Ipv4Network])> {
        let all = [
            ("mynumber", &self.mynumber[..], &self.mynumber_napt[..]),
            ("lgwan-connected", &self.lgwan_connected[..], &self.lgwan_connected_napt[..]),
        ];
        all.into_iter().filter(|(_, prefixes, _)| !prefixes.is_empty())
    }

    fn wg_quick_text(
        &self,
        relay: &RelayConfigModel,
        tenant: &Tenant,
        endpoint: Endpoint,
        secrets: &Secrets,
    ) -> anyhow::Result<Zeroizing<String>> {
        let EndpointKind::WireGuard { listen, private_key_file } = endpoint.kind;
        let own_address = relay.port(endpoint.port).address.map(|network| network.ip());
        let Some(address) = self.relay_address.or(own_address) else { bail!("--relay-address: the endpoint's port has no address") };
        let relay_key = config::read_key(&private_key_file)
            .with_context(|| format!("{}: make the relay's key first, with `chukei keygen`", private_key_file.display()))?;
        let mtu = tenant.tunnels.first().context("a tenant has a tunnel")?.mtu;
        let mut text = Zeroizing::new(format!("# {}: to the relay {}\n[Interface]\n", self.tenant, relay.name));
        match &secrets.private_key {
            Some(key) => writeln!(text, "PrivateKey = {}", *encoded(key))?,
            None => writeln!(text, "# the private key of the public key {}\nPrivateKey = ", secrets.public_key)?,
        }
        writeln!(text, "MTU = {mtu}\n\n[Peer]\nPublicKey = {}", keygen::public_key(&relay_key))?;
        writeln!(text, "PresharedKey = {}", *encoded(&secrets.preshared_key))?;
        writeln!(text, "Endpoint = {address}:{listen}\n{ALLOWED_IPS_HELP}AllowedIPs = {}", joined(&relay.shared_addresses))?;
        // Under the half minute that many carriers' and firewalls' address translation keeps an idle UDP flow.
        writeln!(text, "PersistentKeepalive = 25")?;
        Ok(text)
    }
}

const SERVICES_HELP: &str = "# Nothing is open until it is named here:
# services:
#   - {name: 住民記録, class: mynumber, global: 203.0.113.10, private: 10.10.0.10, allow: [tcp/443]}
";

/// WireGuard loses a packet whose source is not in `AllowedIPs`, without a word to anybody.
const ALLOWED_IPS_HELP: &str = "# Add the `private` prefixes of services without `global`, and the `from` of callbacks without `as`:
";

fn encoded(key: &[u8; 32]) -> Zeroizing<String> {
    use base64::Engine;
    Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(key))
}

fn joined(prefixes: &[Ipv4Network]) -> String {
    prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    const RELAY: &str = "relay: test
ports:
  access: {interface: ens4, address: 192.0.2.1/24, gateway: 192.0.2.254, mtu: 1500}
  aws: {interface: ens5, mtu: 1500}
endpoints:
  - {name: tokyo-a, port: access, wireguard: {listen: 51820, private_key_file: keys/relay.key}}
shared_addresses: [203.0.113.0/26]
tenants: tenants/*.yaml
";

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        new: TenantNew,
    }

    fn relay() -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["keys", "tenants"] {
            std::fs::create_dir(directory.path().join(name)).expect("made");
        }
        std::fs::write(directory.path().join("relay.yaml"), RELAY).expect("written");
        keygen::write_private_key(&directory.path().join("keys/relay.key")).expect("a key");
        directory
    }

    fn run(directory: &Path, tenant: &str, vlan: &str) -> anyhow::Result<String> {
        let path = |name: &str| directory.join(name).display().to_string();
        let (config, conf) = (path("relay.yaml"), path(&format!("{tenant}.conf")));
        let more = [
            "--name",
            "千代田区",
            "--mynumber",
            "198.51.100.16/29",
            "--cloud",
            "aws",
            "--address",
            "10.254.1.2/30",
            "--gateway",
            "10.254.1.1",
        ];
        let line = ["new", tenant, "-c", &config, "--wg-quick", &conf, "--vlan", vlan];
        Line::parse_from(line.into_iter().chain(more)).new.run()?;
        Ok(std::fs::read_to_string(conf)?)
    }

    #[test]
    fn the_tenant_file_passes_check_and_the_wg_quick_file_is_complete() {
        let directory = relay();
        let conf = run(directory.path(), "131016-chiyoda", "2101").expect("added");
        for line in ["Endpoint = 192.0.2.1:51820", "MTU = 1440", "PersistentKeepalive = 25", "AllowedIPs = 203.0.113.0/26"] {
            assert!(conf.lines().any(|has| has == line), "{line} in\n{conf}");
        }
        let allowed = conf.lines().position(|line| line.starts_with("AllowedIPs")).expect("there");
        let comment = conf.lines().nth(allowed - 1).expect("a line before it");
        assert!(comment.starts_with('#') && comment.contains("services without `global`") && comment.contains("callbacks without `as`"));
        let loaded = config::load(&directory.path().join("relay.yaml"), Purpose::Run);
        let relay = loaded.relay.unwrap_or_else(|| panic!("{:?}", loaded.problems));
        let key = conf.lines().find_map(|line| line.strip_prefix("PrivateKey = ")).expect("a key");
        let private = Zeroizing::new({
            use base64::Engine;
            base64::engine::general_purpose::STANDARD.decode(key).expect("base64")
        });
        let private: [u8; 32] = private[..].try_into().expect("32 bytes");
        let config::TunnelKind::WireGuard { public_key, .. } = &relay.tenants[0].tunnels[0].kind;
        assert_eq!(keygen::public_key(&private), encoded(public_key).as_str(), "the two files belong together");
    }

    #[test]
    fn each_class_gets_a_pool_of_its_own_since_two_classes_never_mix() {
        let directory = relay();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let (config, conf) = (path("relay.yaml"), path("m.conf"));
        let words = "--name m --mynumber 198.51.100.16/29 --lgwan-connected 198.51.100.24/29 --cloud aws --vlan 2101 \
             --address 10.254.1.2/30 --gateway 10.254.1.1 --mynumber-napt 10.254.1.8/30 --lgwan-connected-napt 10.254.1.12/30";
        let line = ["new", "131032-minato", "-c", &config, "--wg-quick", &conf].into_iter().chain(words.split_whitespace());
        Line::parse_from(line).new.run().expect("added");
        let yaml = std::fs::read_to_string(path("tenants/131032-minato.yaml")).expect("written");
        assert!(yaml.contains("mynumber: {napt: [10.254.1.8/30]}") && yaml.contains("lgwan-connected: {napt: [10.254.1.12/30]}"), "{yaml}");
    }

    #[test]
    fn a_tenant_that_exists_is_refused_and_nothing_of_it_is_touched() {
        let directory = relay();
        run(directory.path(), "131016-chiyoda", "2101").expect("added");
        let before = std::fs::read(directory.path().join("tenants/131016-chiyoda.yaml")).expect("there");
        let error = run(directory.path(), "131016-chiyoda", "2102").expect_err("exists").to_string();
        assert!(error.contains("exists already"), "{error}");
        assert_eq!(std::fs::read(directory.path().join("tenants/131016-chiyoda.yaml")).expect("there"), before);
    }

    #[test]
    fn a_tenant_that_would_not_pass_check_leaves_no_file_behind() {
        let directory = relay();
        run(directory.path(), "131016-chiyoda", "2101").expect("added");
        let error = run(directory.path(), "131024-chuo", "2101").expect_err("the VLAN is taken").to_string();
        assert!(error.contains("2101"), "{error}");
        for name in ["tenants/131024-chuo.yaml", "keys/131024-chuo.psk", "131024-chuo.conf"] {
            assert!(!directory.path().join(name).exists(), "{name}");
        }
        assert!(directory.path().join("keys/131016-chiyoda.psk").exists());
    }
}
