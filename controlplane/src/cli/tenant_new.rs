//! `chukei tenant new`: a tenant file that passes `check`, and the ready configuration of the municipality's router.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args;
use ipnetwork::Ipv4Network;
use zeroize::Zeroizing;

use super::router_config::{Plan, Router};
use super::{ConfigFile, keygen, write_new};
use crate::cli::output;
use crate::compile::joined_prefixes;
use crate::config::{self, Endpoint, EndpointKind, Loaded, Problem, Purpose, RelayConfigModel, Severity, Tenant, TunnelKind};

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
    /// The kind of router at the other end of an IPsec tunnel: its ready configuration is written.
    #[arg(long, value_enum)]
    router: Option<Router>,
    /// Who the router says it is (IPsec); the tenant's name without it.
    #[arg(long, value_name = "IDENTITY", requires = "router")]
    remote_id: Option<String>,
    /// The router's own address, where it is fixed (IPsec).
    #[arg(long, value_name = "ADDRESS", requires = "router")]
    peer: Option<Ipv4Addr>,
    /// Print the router's configuration, with its key, instead of writing it to a file.
    #[arg(long, requires = "router")]
    print: bool,
    /// The router's public key, where the municipality made its key itself; a key pair is made otherwise.
    #[arg(long, value_name = "BASE64", conflicts_with = "router")]
    public_key: Option<String>,
    /// Office prefixes of 番号利用事務系; several with commas between them. One of the two classes is required.
    #[arg(long, value_name = "PREFIX", required_unless_present = "lgwan_connected", value_delimiter = ',')]
    mynumber: Vec<Ipv4Network>,
    /// Office prefixes of LGWAN接続系; several with commas between them.
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
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
    #[arg(long, value_name = "PREFIX", requires = "mynumber", value_delimiter = ',')]
    mynumber_napt: Vec<Ipv4Network>,
    /// Address pool behind which LGWAN接続系 appears to the cloud, another one; without one its office addresses are kept.
    #[arg(long, value_name = "PREFIX", requires = "lgwan_connected", value_delimiter = ',')]
    lgwan_connected_napt: Vec<Ipv4Network>,
    /// The tenant file; without it `tenants/TENANT.yaml` beside relay.yaml.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The router's configuration (wg-quick's with WireGuard); without it `TENANT.conf` in the current directory.
    #[arg(long, value_name = "FILE", visible_alias = "router-config")]
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
enum Secrets {
    WireGuard {
        /// Of its router, where it was made here.
        private_key: Option<Zeroizing<[u8; 32]>>,
        public_key: String,
        preshared_key: Zeroizing<[u8; 32]>,
    },
    Ipsec {
        router: Router,
        psk: Zeroizing<String>,
    },
}

impl TenantNew {
    /// Write both files and say what to do with them.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        ensure!(config::is_identifier(&self.tenant), "{:?} is no name: {}", self.tenant, config::IDENTIFIER_HELP);
        let directory = self.config.config.parent().unwrap_or(Path::new(""));
        let relay = self.load("relay.yaml has to be in order before a tenant is added")?;
        ensure!(relay.tenant(&self.tenant).is_none(), "the tenant {} exists already: give another name, or edit its file", self.tenant);
        ensure!(
            !relay.shared_addresses.is_empty(),
            "relay.yaml names no shared_addresses, so that the router cannot be told what to send into the tunnel: add `shared_addresses: [PREFIX]`"
        );
        let endpoint = self.endpoint(&relay)?;
        let secrets = self.secrets(&endpoint)?;

        let mut written = Written::default();
        let psk_name = format!("keys/{}.psk", self.tenant);
        let psk_file = directory.join(&psk_name);
        std::fs::create_dir_all(directory.join("keys")).context("the directory `keys` beside relay.yaml")?;
        secrets.write_psk(&psk_file)?;
        written.0.push(psk_file);
        let tenant_file = self.output.clone().unwrap_or_else(|| directory.join("tenants").join(format!("{}.yaml", self.tenant)));
        let yaml = self.tenant_yaml(&self.tunnel_yaml(&endpoint.name, &secrets, &psk_name)?)?;
        write_new(&tenant_file, yaml.as_bytes(), 0o644)?;
        written.0.push(tenant_file.clone());

        let relay = self.load("the tenant was not added")?;
        let tenant = relay.tenant(&self.tenant).with_context(|| {
            format!("{}: `tenants:` in relay.yaml does not name this file; the tenant was not added", tenant_file.display())
        })?;
        let text = self.router_text(&relay, tenant, &endpoint, &secrets)?;
        let told = self.hand_over(&text)?;
        written.0.clear();
        Ok(output::print(&format!("wrote {}: add the services, then `chukei check` and `chukei reload`\n{told}", tenant_file.display()))?)
    }

    /// The router's configuration goes to a file that nobody else can read, or to the terminal where that is asked for.
    fn hand_over(&self, text: &str) -> anyhow::Result<String> {
        if self.print {
            output::print(text)?;
            return Ok("the configuration above holds the preshared key: see that no one else does".to_owned());
        }
        let file = self.wg_quick.clone().unwrap_or_else(|| PathBuf::from(format!("{}.conf", self.tenant)));
        write_new(&file, text.as_bytes(), 0o600)?;
        Ok(format!("wrote {}: it holds secrets; hand it to the municipality by a safe way, then delete it", file.display()))
    }

    fn load(&self, otherwise: &str) -> anyhow::Result<RelayConfigModel> {
        let Loaded { relay, problems, .. } = config::load(&self.config.config, Purpose::Check);
        let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).map(Problem::to_string);
        relay.with_context(|| format!("{otherwise}:\n{}", errors.collect::<Vec<_>>().join("\n")))
    }

    /// The named one, or the only one of the wanted kind.
    fn endpoint(&self, relay: &RelayConfigModel) -> anyhow::Result<Endpoint> {
        let fits = |endpoint: &&Endpoint| matches!(endpoint.kind, EndpointKind::Ipsec(_)) == self.router.is_some();
        let fitting: Vec<&Endpoint> = relay.endpoints.iter().filter(fits).collect();
        let found = match (&self.endpoint, &fitting[..]) {
            (Some(name), _) => relay.endpoints.iter().find(|endpoint| endpoint.name == *name),
            (None, [only]) => Some(*only),
            (None, _) => None,
        };
        let names = relay.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect::<Vec<_>>().join(", ");
        let found = found.with_context(|| match (fitting.is_empty(), self.router) {
            (true, Some(_)) => "relay.yaml has no IPsec endpoint: add one, such as `- {name: ipsec, port: PORT, ipsec: {}}`".to_owned(),
            (true, None) => "relay.yaml has IPsec endpoints only: --router says which kind of router the municipality has".to_owned(),
            _ => format!("--endpoint is one of: {names}"),
        })?;
        match (&found.kind, self.router) {
            (EndpointKind::WireGuard { .. }, Some(_)) => bail!("the endpoint {} is for WireGuard, and --router for IPsec", found.name),
            (EndpointKind::Ipsec(_), None) => {
                bail!("the endpoint {} is for IPsec: --router is rtx, ix, ios, fortigate or strongswan", found.name)
            }
            _ => Ok(found.clone()),
        }
    }

    fn secrets(&self, endpoint: &Endpoint) -> anyhow::Result<Secrets> {
        if let (EndpointKind::Ipsec(_), Some(router)) = (&endpoint.kind, self.router) {
            return Ok(Secrets::Ipsec { router, psk: typed_psk()? });
        }
        let preshared_key = keygen::random_key()?;
        if let Some(public_key) = self.public_key.clone() {
            return Ok(Secrets::WireGuard { private_key: None, public_key, preshared_key });
        }
        let private_key = keygen::random_key()?;
        Ok(Secrets::WireGuard { public_key: keygen::public_key(&private_key), private_key: Some(private_key), preshared_key })
    }

    fn tunnel_yaml(&self, endpoint: &str, secrets: &Secrets, psk_file: &str) -> anyhow::Result<String> {
        let kind = match secrets {
            Secrets::WireGuard { public_key, .. } => {
                format!("wireguard: {{public_key: {}, preshared_key_file: {psk_file}}}", serde_json::to_string(public_key)?)
            }
            Secrets::Ipsec { .. } => {
                let remote_id = serde_json::to_string(self.remote_id.as_ref().unwrap_or(&self.tenant))?;
                let peer = self.peer.map(|peer| format!(", peer: {peer}")).unwrap_or_default();
                format!("ipsec: {{remote_id: {remote_id}, psk_file: {psk_file}{peer}}}")
            }
        };
        Ok(format!("  main: {{endpoint: {endpoint}, {kind}}}"))
    }

    fn tenant_yaml(&self, tunnel: &str) -> anyhow::Result<String> {
        let vlan = match self.vlan.split_once('.') {
            Some((outer, inner)) => format!("{{outer: {}, inner: {}}}", vlan_id(outer)?, vlan_id(inner)?),
            None => vlan_id(&self.vlan)?.to_string(),
        };
        // JSON strings are YAML strings, so that no name can be anything but a string.
        let quoted = |text: &str| serde_json::to_string(text);
        let mut yaml = format!("tenant: {}\nname: {}\ntunnels:\n", self.tenant, quoted(&self.name)?);
        writeln!(yaml, "{tunnel}\n{TUNNELS_HELP}office:")?;
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

    fn router_text(
        &self,
        relay: &RelayConfigModel,
        tenant: &Tenant,
        endpoint: &Endpoint,
        secrets: &Secrets,
    ) -> anyhow::Result<Zeroizing<String>> {
        let own_address = relay.port(endpoint.port).address.map(|network| network.ip());
        let Some(address) = self.relay_address.or(own_address) else { bail!("--relay-address: the endpoint's port has no address") };
        match (&endpoint.kind, secrets) {
            (EndpointKind::WireGuard { listen, private_key_file }, Secrets::WireGuard { private_key, public_key, preshared_key }) => {
                let relay_key = config::read_key(private_key_file)
                    .with_context(|| format!("{}: make the relay's key first, with `chukei keygen`", private_key_file.display()))?;
                let own = match private_key {
                    Some(key) => Zeroizing::new(format!("PrivateKey = {}", *encoded(key))),
                    None => Zeroizing::new(format!("# the private key of the public key {public_key}\nPrivateKey = ")),
                };
                let peer = (SocketAddrV4::new(address, listen.get()), keygen::public_key(&relay_key));
                self.wg_quick_text(relay, tenant, &own, peer, preshared_key)
            }
            (EndpointKind::Ipsec(_), Secrets::Ipsec { router, psk }) => self.ipsec_text(relay, tenant, address, *router, psk),
            _ => bail!("the endpoint and the secrets are of two kinds"),
        }
    }

    fn ipsec_text(
        &self,
        relay: &RelayConfigModel,
        tenant: &Tenant,
        relay_address: Ipv4Addr,
        router: Router,
        psk: &str,
    ) -> anyhow::Result<Zeroizing<String>> {
        let tunnel = tenant.tunnels.first().context("a tenant has a tunnel")?;
        let TunnelKind::Ipsec(ipsec) = &tunnel.kind else { bail!("the tunnel is no IPsec tunnel") };
        let office = joined_prefixes(tenant.classes.iter().flat_map(|class| class.prefixes.iter().copied()).collect());
        let plan = Plan {
            tenant: &self.tenant,
            relay: &relay.name,
            relay_address,
            relay_id: &ipsec.local_id,
            router_id: &ipsec.remote_id,
            router_address: self.peer,
            psk,
            office: &office,
            far: &relay.shared_addresses,
            mtu: tunnel.mtu,
        };
        plan.text(router)
    }

    fn wg_quick_text(
        &self,
        relay: &RelayConfigModel,
        tenant: &Tenant,
        own_key: &str,
        (endpoint, relay_key): (SocketAddrV4, String),
        preshared_key: &[u8; 32],
    ) -> anyhow::Result<Zeroizing<String>> {
        let mtu = tenant.tunnels.first().context("a tenant has a tunnel")?.mtu;
        let mut text = Zeroizing::new(format!("# {}: to the relay {}\n[Interface]\n", self.tenant, relay.name));
        writeln!(text, "{own_key}\nMTU = {mtu}\n\n[Peer]\nPublicKey = {relay_key}")?;
        writeln!(text, "PresharedKey = {}", *encoded(preshared_key))?;
        writeln!(text, "Endpoint = {endpoint}\n{ALLOWED_IPS_HELP}AllowedIPs = {}", joined(&relay.shared_addresses))?;
        // Under the half minute that many carriers' and firewalls' address translation keeps an idle UDP flow.
        writeln!(text, "PersistentKeepalive = 25")?;
        Ok(text)
    }
}

impl Secrets {
    fn write_psk(&self, file: &Path) -> anyhow::Result<()> {
        match self {
            Self::WireGuard { preshared_key, .. } => keygen::write_key(file, preshared_key),
            Self::Ipsec { psk, .. } => write_new(file, Zeroizing::new(format!("{}\n", **psk)).as_bytes(), 0o600),
        }
    }
}

/// A key that every router takes as it is typed: 32 letters and digits, 190 bits.
fn typed_psk() -> anyhow::Result<Zeroizing<String>> {
    const LENGTH: usize = 32;
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    // Its capacity is enough from the beginning: no copy stays behind.
    let mut psk = Zeroizing::new(String::with_capacity(LENGTH));
    while psk.len() < LENGTH {
        // 248 = 4 * 62: what is above would make some letters likelier.
        for byte in keygen::random_key()?.iter().filter(|byte| **byte < 248).take(LENGTH - psk.len()) {
            psk.push(char::from(ALPHABET[usize::from(byte % 62)]));
        }
    }
    Ok(psk)
}

const TUNNELS_HELP: &str =
    "# A second router or line is a second tunnel here; `redundancy: prefer` or `both` then says what the two are to one another.
";

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

fn vlan_id(text: &str) -> anyhow::Result<u16> {
    text.parse().context("--vlan is a number, or OUTER.INNER")
}

#[cfg(test)]
mod tests;
