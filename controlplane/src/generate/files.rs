//! The files as text.
//!
//! What tenants share on purpose: the globals of the services, the office prefixes and the private plans (four of them), so that
//! nothing but tunnel and VLAN tells two tenants apart.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::bodies::Body;
use super::secrets::Seed;
use super::size::Size;
use super::{KEYS, Options, Written};

/// The relay's private key, from relay.yaml.
pub const RELAY_KEY: &str = "keys/relay.key";

/// VLAN 1 is the default of many switches.
const FIRST_VLAN: usize = 2;
/// Private plans; each tenant's hosts stand in one.
const PLANS: u8 = 4;
/// Globals of the callbacks, after those of the services.
const FIRST_CALLBACK_GLOBAL: u8 = 250;

const CLASSES: [&str; 2] = ["mynumber", "lgwan-connected"];

/// The twenty systems of the standardisation (標準化対象事務).
const STANDARDISED: [&str; 20] = [
    "住民基本台帳",
    "戸籍",
    "戸籍の附票",
    "印鑑登録",
    "選挙人名簿管理",
    "固定資産税",
    "個人住民税",
    "法人住民税",
    "軽自動車税",
    "国民健康保険",
    "国民年金",
    "障害者福祉",
    "後期高齢者医療",
    "介護保険",
    "児童手当",
    "生活保護",
    "健康管理",
    "就学",
    "児童扶養手当",
    "子ども・子育て支援",
];
/// Others, of LGWAN接続系.
const INTERNAL: [&str; 5] = ["文書管理", "財務会計", "人事給与", "庶務事務", "グループウェア"];

/// relay.yaml.
#[must_use]
pub fn relay_yaml(options: Options, written: Written) -> String {
    let Written { tenants, services, tunnels } = written;
    let (endpoint, command) = match options.ipsec {
        false => (format!("wireguard: {{listen: 51820, private_key_file: {RELAY_KEY}}}"), ""),
        true => ("ipsec: {local_id: relay.example.jp}".to_owned(), " --ipsec"),
    };
    format!(
        r#"# For load tests only: written by `chukei generate --tenants {tenants} --services {each} --seed {seed}{command}`. Every key, the relay's own
# included, follows from the seed, so none of them is a secret. {tenants} tenants, {services} services, {tunnels} tunnels.
# routers/ holds the private keys of the municipalities' ends.
relay: load-test

ports:                                     # put this machine's NICs here
  access: {{interface: ens4, address: 192.0.2.1/24, gateway: 192.0.2.254}}
  cloud-a: {{interface: ens5}}
  cloud-b: {{interface: ens6}}

endpoints:
  - {{name: main, port: access, {endpoint}}}

shared_addresses: [203.0.113.0/24]
conventional_lgwan: [192.0.2.128/25]
metrics: {{listen: "127.0.0.1:9273"}}
api: {{socket: /run/chukei/api.sock}}
state: state
tenants: tenants/*.yaml
"#,
        each = options.services,
        seed = options.seed,
    )
}

/// One tenant's file in the making.
pub struct Tenant<'a> {
    body: &'a Body,
    size: Size,
    vlan: usize,
    services: usize,
    plan: u8,
    has_preshared_key: bool,
    /// The tunnels' kind.
    ipsec: bool,
}

impl<'a> Tenant<'a> {
    /// The tenant at place `index` of the country.
    #[must_use]
    pub fn new(body: &'a Body, index: usize, options: Options, seed: &Seed) -> Self {
        let plan = seed.choose("plan", &body.id, PLANS);
        let Options { services, ipsec, .. } = options;
        let has_preshared_key = ipsec || seed.choose("psk", &body.id, 2) == 0;
        Self { body, size: Size::of(body), vlan: FIRST_VLAN + index, services, plan, has_preshared_key, ipsec }
    }

    /// The tenant's unique name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.body.id
    }

    /// The names of its tunnels.
    #[must_use]
    pub fn tunnels(&self) -> &'static [&'static str] {
        &["main", "backup"][..self.size.tunnels]
    }

    /// Whose key a tunnel's is; the first tunnel's is the tenant's.
    #[must_use]
    pub fn key_owner(&self, tunnel: &str) -> String {
        if tunnel == "main" { self.body.id.clone() } else { format!("{}.{tunnel}", self.body.id) }
    }

    /// Whether the routers have key pairs, which IPsec with preshared keys does without.
    #[must_use]
    pub fn has_key_pairs(&self) -> bool {
        !self.ipsec
    }

    /// The file of a tunnel's preshared key, relative to relay.yaml; half of the tenants with WireGuard have one.
    #[must_use]
    pub fn preshared_key_file(&self, tunnel: &str) -> Option<String> {
        self.has_preshared_key.then(|| format!("{KEYS}/{}.psk", self.key_owner(tunnel)))
    }

    /// The tenant file.
    #[must_use]
    pub fn yaml(&self, seed: &Seed) -> String {
        // A name is whatever the list has; JSON's strings are YAML's too.
        let name = serde_json::Value::from(self.body.name.as_str());
        let mut yaml = format!("# For load tests only; see relay.yaml.\ntenant: {}\nname: {name}\n", self.id());
        self.push_tunnels(&mut yaml, seed);
        let lines = [self.office(), self.clouds(), self.service_list(), self.sources(), self.callbacks(), self.limits()];
        lines.iter().for_each(|lines| yaml.push_str(lines));
        yaml
    }

    fn push_tunnels(&self, yaml: &mut String, seed: &Seed) {
        yaml.push_str("\ntunnels:\n");
        for tunnel in self.tunnels() {
            let owner = self.key_owner(tunnel);
            if self.ipsec {
                line(yaml, format_args!("  {tunnel}: {{endpoint: main, ipsec: {{remote_id: \"{owner}\", psk_file: {KEYS}/{owner}.psk}}}}"));
                continue;
            }
            let public = seed.private_key(&owner).public();
            let psk = self.preshared_key_file(tunnel).map_or_else(String::new, |file| format!(", preshared_key_file: {file}"));
            line(yaml, format_args!("  {tunnel}: {{endpoint: main, wireguard: {{public_key: \"{public}\"{psk}}}}}"));
        }
    }

    /// Global addresses of the office (RFC 2544's block stands for them), the same in many tenants.
    fn office_network(&self, class: usize) -> Ipv4Addr {
        Ipv4Addr::new(198, 18 + u8::try_from(class).unwrap_or(0), self.plan * 16, 0)
    }

    fn office(&self) -> String {
        let mut yaml = "\noffice:\n".to_owned();
        for (index, class) in CLASSES.iter().enumerate() {
            line(&mut yaml, format_args!("  {class}: [{}/{}]", self.office_network(index), self.size.office_prefix));
        }
        yaml
    }

    fn cloud_names(&self) -> &'static [&'static str] {
        &["a", "b"][..self.size.clouds]
    }

    fn clouds(&self) -> String {
        let mut yaml = "\nclouds:\n".to_owned();
        for name in self.cloud_names() {
            let vlan = self.vlan;
            line(&mut yaml, format_args!("  {name}: {{port: cloud-{name}, vlan: {vlan}, address: 10.254.1.2/30, gateway: 10.254.1.1}}"));
        }
        yaml
    }

    /// Every fifth service is one of LGWAN接続系, and every other one is in the second cloud where there is one.
    fn service_list(&self) -> String {
        let mut yaml = "\nservices:\n".to_owned();
        for index in 0..self.services {
            let (class, names, rank) =
                if index % 5 == 4 { (1, &INTERNAL[..], index / 5) } else { (0, &STANDARDISED[..], index - index / 5) };
            let again = if rank < names.len() { String::new() } else { format!(" {}", rank / names.len() + 1) };
            let (name, cloud) = (names[rank % names.len()], self.cloud_names()[index % self.size.clouds]);
            let host = 10 + u8::try_from(index).unwrap_or(u8::MAX);
            let private = Ipv4Addr::new(10, 10 + self.plan, u8::try_from(class).unwrap_or(0), host);
            let allow = ["tcp/443", "tcp/443, icmp", "\"tcp/10443:443\"", "tcp/443, tcp/8000-8010, udp/5000"][index % 4];
            line(
                &mut yaml,
                format_args!(
                    "  - {{name: {name}{again}, class: {}, cloud: {cloud}, global: 203.0.113.{host}, private: {private}, allow: [{allow}]}}",
                    CLASSES[class]
                ),
            );
        }
        yaml
    }

    /// 番号利用事務系 behind pools; the other class behind pools, 1:1 or as it is.
    fn sources(&self) -> String {
        let mut yaml = "\nsource:\n".to_owned();
        for (index, class) in CLASSES.iter().enumerate() {
            line(&mut yaml, format_args!("  {class}:"));
            for cloud in self.cloud_names() {
                let pool = format!("napt: [10.254.{}.0/{}]", 2 + index, self.size.pool_prefix);
                let way = match (index, self.plan) {
                    (1, 1) => "keep: true".to_owned(),
                    (1, 2) => format!("static: {{{0}/30: 10.254.3.64/30}}", self.office_network(index)),
                    _ => pool,
                };
                line(&mut yaml, format_args!("    - {{cloud: {cloud}, {way}}}"));
            }
        }
        yaml
    }

    fn callbacks(&self) -> String {
        const NAMES: [&str; 3] = ["帳票印刷", "ファイル取得", "通知"];
        let mut yaml = String::new();
        for (index, name) in (0u8..).zip(&NAMES[..self.size.callbacks]) {
            if index == 0 {
                yaml.push_str("\ncallbacks:\n");
            }
            let (from, seen_as, to) = (Ipv4Addr::new(10, 10 + self.plan, 0, 10), FIRST_CALLBACK_GLOBAL + index, index + 1);
            let [a, b, c, _] = self.office_network(0).octets();
            let office = Ipv4Addr::new(a, b, c, index + 1);
            line(
                &mut yaml,
                format_args!(
                    "  - {{name: {name}, class: mynumber, cloud: a, from: [{from}], as: 203.0.113.{seen_as}, to: 10.254.4.{to}, \
                     office: {office}, allow: [tcp/9100, tcp/515]}}"
                ),
            );
        }
        yaml
    }

    fn limits(&self) -> String {
        format!("\nlimits: {{sessions: {}, new_sessions_per_second: {}}}\n", self.size.sessions, self.size.new_sessions_per_second)
    }
}

/// A string takes everything that is written to it.
fn line(yaml: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = yaml.write_fmt(text);
    yaml.push('\n');
}
