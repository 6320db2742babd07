//! strongSwan as a municipality's router: charon with ESP in user space (`kernel-libipsec`), which speaks ESP in UDP only.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use controlplane::demo::Namespace;

use crate::keys::write_secret;
use crate::plan::{Municipality, RELAY};
use crate::process::{Running, ip, output, text_of, wait_until};

/// MTU of charon's TUN: 1,500 less what ESP in UDP takes of the largest suite, rounded down.
const TUNNEL_MTU: u16 = 1400;
/// Longer than any exchange with all its retransmissions that a test waits for.
const EXCHANGE: Duration = Duration::from_secs(20);
/// Names of the connection and of its child, in swanctl's words.
const CONNECTION: &str = "relay";
const CHILD: &str = "office";

/// What a charon is told about its one connection. A test changes what it is about and hands it to [`StrongSwan::configure`].
#[derive(Clone, Debug)]
pub struct Connection {
    /// Where it speaks from.
    pub local_address: Ipv4Addr,
    /// Whom it speaks to.
    pub remote_address: String,
    /// Who it says it is.
    pub local_id: String,
    /// Whom it expects.
    pub remote_id: String,
    /// How both prove it.
    pub credentials: Credentials,
    /// Proposals for the IKE SA, as strongSwan spells them.
    pub ike: String,
    /// Proposals for Child SAs.
    pub esp: String,
    /// Networks behind it.
    pub local_networks: Vec<String>,
    /// Networks behind the other.
    pub remote_networks: Vec<String>,
    /// Seconds until it rekeys the IKE SA; 0 = never.
    pub rekey_ike: u32,
    /// Seconds until it rekeys a Child SA; 0 = never.
    pub rekey_child: u32,
    /// Seconds of silence until it asks whether the other lives; 0 = never.
    pub dpd: u32,
    /// More lines of the connection, such as `fragmentation = force`.
    pub more: Vec<String>,
}

/// How both ends prove who they are. Secrets are never printed.
#[derive(Clone)]
pub enum Credentials {
    /// A preshared key.
    Psk(String),
    /// A certificate of its own, and the authority that it believes: PEM files.
    Certificate {
        /// Its certificate.
        certificate: PathBuf,
        /// The private key of that.
        private_key: PathBuf,
        /// Whom it believes.
        authority: PathBuf,
    },
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Psk(_) => f.write_str("Psk(..)"),
            Self::Certificate { certificate, .. } => write!(f, "Certificate({})", certificate.display()),
        }
    }
}

impl Connection {
    /// The router of an IPsec municipality as it was agreed on with the operator.
    #[must_use]
    pub fn of(town: &Municipality) -> Self {
        let ipsec = town.ipsec.as_ref().expect("an IPsec municipality");
        Self {
            local_address: town.router_address(),
            remote_address: RELAY.to_string(),
            local_id: ipsec.identity.clone(),
            remote_id: ipsec.relay_identity.clone(),
            credentials: Credentials::Psk(ipsec.psk.clone()),
            ike: ipsec.ike.clone(),
            esp: ipsec.esp.clone(),
            local_networks: vec![town.mynumber.to_string(), town.lgwan_connected.to_string()],
            // Wider than what the relay offers there, as in a town hall: it is the relay that narrows.
            remote_networks: vec!["203.0.113.0/26".to_owned(), "10.10.4.0/24".to_owned()],
            rekey_ike: 0,
            rekey_child: 0,
            dpd: 0,
            more: Vec::new(),
        }
    }

    /// The same line seen from its other end, for a charon in the relay's place.
    #[must_use]
    pub fn mirrored(&self) -> Self {
        let mut mirrored = self.clone();
        mirrored.local_address = self.remote_address.parse().expect("an address");
        mirrored.remote_address = self.local_address.to_string();
        std::mem::swap(&mut mirrored.local_id, &mut mirrored.remote_id);
        std::mem::swap(&mut mirrored.local_networks, &mut mirrored.remote_networks);
        mirrored
    }

    fn text(&self) -> String {
        let auth = match &self.credentials {
            Credentials::Psk(_) => ["psk".to_owned(), "psk".to_owned()],
            Credentials::Certificate { .. } => ["pubkey\n    certs = own.pem".to_owned(), "pubkey\n    cacerts = authority.pem".to_owned()],
        };
        let (local, remote) = (self.local_networks.join(","), self.remote_networks.join(","));
        let mut text = format!(
            "connections {{ {CONNECTION} {{\n  version = 2\n  mobike = no\n  encap = yes\n  local_addrs = {}\n  remote_addrs = {}\n\
             \x20 proposals = {}\n  rekey_time = {}\n  over_time = 60\n  rand_time = 0\n  dpd_delay = {}\n",
            self.local_address, self.remote_address, self.ike, self.rekey_ike, self.dpd
        );
        for line in &self.more {
            let _ = writeln!(text, "  {line}");
        }
        let _ = write!(
            text,
            "  local {{\n    auth = {}\n    id = {}\n  }}\n  remote {{\n    auth = {}\n    id = {}\n  }}\n\
             \x20 children {{ {CHILD} {{\n    local_ts = {local}\n    remote_ts = {remote}\n    esp_proposals = {}\n\
             \x20   rekey_time = {}\n    life_time = {}\n    rand_time = 0\n    dpd_action = restart\n  }} }}\n}} }}\n",
            auth[0],
            self.local_id,
            auth[1],
            self.remote_id,
            self.esp,
            self.rekey_child,
            if self.rekey_child == 0 { 0 } else { self.rekey_child + 30 },
        );
        if let Credentials::Psk(psk) = &self.credentials {
            let _ =
                write!(text, "secrets {{ ike-1 {{\n  id-1 = {}\n  id-2 = {}\n  secret = \"{psk}\"\n}} }}\n", self.local_id, self.remote_id);
        }
        text
    }
}

/// A running charon.
#[derive(Debug)]
pub struct StrongSwan {
    namespace: Namespace,
    /// Configuration, log and control socket.
    directory: PathBuf,
    name: String,
    charon: Running,
}

impl StrongSwan {
    /// Starts charon in a namespace that has its network already, and an address in each network of its own side: without one
    /// `kernel-libipsec` refuses the policy. It knows nobody before [`Self::configure`].
    #[must_use]
    pub fn start(namespace: &Namespace, directory: &Path, name: &str) -> Self {
        let name = format!("charon-{name}");
        let own = directory.join(&name);
        for folder in ["x509", "x509ca", "private"] {
            fs::create_dir_all(own.join(folder)).expect("create charon's directories");
        }
        fs::write(own.join("charon.conf"), charon_configuration(&own)).expect("write charon.conf");
        let charon = start_charon(namespace, &own, directory, &name);
        let swan = Self { namespace: namespace.clone(), directory: own, name, charon };
        swan.bring_up();
        swan
    }

    fn bring_up(&self) {
        wait_until("charon's control socket", Duration::from_secs(20), || self.socket().exists());
        wait_until("charon's TUN", Duration::from_secs(20), || ip(&self.namespace, "-brief link").contains("ipsec0"));
        ip(&self.namespace, &format!("link set ipsec0 mtu {TUNNEL_MTU}"));
        // What no SA covers goes this way as well, and ends there: never around the tunnel.
        for destination in ["203.0.113.0/24", "10.0.0.0/8", "192.0.2.128/25", "198.51.100.0/24"] {
            ip(&self.namespace, &format!("route replace {destination} dev ipsec0"));
        }
    }

    /// Tells charon about its connection, or that it is another one now. SAs that stand are left alone.
    pub fn configure(&self, connection: &Connection) {
        write_secret(&self.directory.join("swanctl.conf"), &connection.text());
        if let Credentials::Certificate { certificate, private_key, authority } = &connection.credentials {
            for (from, to) in [(certificate, "x509/own.pem"), (authority, "x509ca/authority.pem"), (private_key, "private/own.pem")] {
                fs::copy(from, self.directory.join(to)).unwrap_or_else(|error| panic!("copy {}: {error}", from.display()));
            }
        }
        let _ = text_of(&self.swanctl(&["--load-all", "--noprompt"]), "swanctl --load-all");
    }

    /// Gives charon this swanctl.conf in place of its own: as somebody has handed it out.
    pub fn configure_from(&self, file: &Path) {
        write_secret(&self.directory.join("swanctl.conf"), &fs::read_to_string(file).expect("a configuration"));
        let _ = text_of(&self.swanctl(&["--load-all", "--noprompt"]), "swanctl --load-all");
    }

    /// Calls, and fails the test when no tunnel comes of it.
    pub fn call(&self) {
        let output = self.try_to_call();
        assert!(output.status.success(), "no tunnel:\n{}{}", String::from_utf8_lossy(&output.stdout), self.last_words());
    }

    /// Calls; standard output has charon's log of the attempt.
    #[must_use]
    pub fn try_to_call(&self) -> Output {
        self.swanctl(&["--initiate", "--child", CHILD, "--timeout", "8"])
    }

    /// Ends the IKE SA with all its Child SAs, and tells the other.
    pub fn hang_up(&self) {
        let _ = self.swanctl(&["--terminate", "--ike", CONNECTION, "--timeout", "5"]);
    }

    /// Rekeys the IKE SA now.
    pub fn rekey_ike(&self) {
        let _ = text_of(&self.swanctl(&["--rekey", "--ike", CONNECTION]), "swanctl --rekey");
    }

    /// Rekeys the Child SA now.
    pub fn rekey_child(&self) {
        let _ = text_of(&self.swanctl(&["--rekey", "--child", CHILD]), "swanctl --rekey");
    }

    /// What charon knows of its SAs.
    #[must_use]
    pub fn sas(&self) -> Sas {
        Sas { raw: text_of(&self.swanctl(&["--list-sas", "--raw"]), "swanctl --list-sas") }
    }

    /// Waits until both kinds of SA stand.
    pub fn wait_until_up(&self) {
        wait_until(&format!("the tunnel of {} is up", self.name), EXCHANGE, || self.sas().is_up());
    }

    /// Kills it without a word to anybody and starts it anew with the configuration it had, as after a power cut.
    pub fn power_cycle(&mut self) {
        self.charon.kill();
        let _ = fs::remove_file(self.socket());
        let above = self.directory.parent().expect("the laboratory's directory").to_owned();
        wait_until("the old TUN is gone", Duration::from_secs(5), || !ip(&self.namespace, "-brief link").contains("ipsec0"));
        self.charon = start_charon(&self.namespace, &self.directory, &above, &self.name);
        self.bring_up();
        let _ = text_of(&self.swanctl(&["--load-all", "--noprompt"]), "swanctl --load-all");
    }

    /// Kills it without a word to anybody.
    pub fn kill(&mut self) {
        self.charon.kill();
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.charon.pid()
    }

    /// All that charon has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("charon.log")).unwrap_or_default()
    }

    fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("vici")
    }

    fn swanctl(&self, arguments: &[&str]) -> Output {
        let directory = self.directory.display();
        let own = [
            format!("STRONGSWAN_CONF={directory}/charon.conf"),
            format!("SWANCTL_DIR={directory}"),
            "swanctl".to_owned(),
            arguments[0].to_owned(),
            "--uri".to_owned(),
            format!("unix://{directory}/vici"),
        ];
        let all: Vec<&str> = own.iter().map(String::as_str).chain(arguments[1..].iter().copied()).collect();
        output(&self.namespace, EXCHANGE, "env", &all)
    }
}

/// `kernel-libipsec` has to stand before `kernel-netlink`.
fn charon_configuration(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "charon {{\n  load = random nonce openssl curve25519 aesni pem pkcs1 pkcs8 pubkey x509 constraints revocation hmac sha1 sha2 aes gcm gmp kdf \
         kernel-libipsec kernel-netlink socket-default updown vici\n  install_virtual_ip = no\n  rsa_pss = yes\n  retransmit_timeout = 1\n  retransmit_tries = 3\n\
         \x20 filelog {{ log {{\n    path = {directory}/charon.log\n    default = 1\n    cfg = 2\n    flush_line = yes\n  }} }}\n\
         \x20 plugins {{ vici {{\n    socket = unix://{directory}/vici\n  }} }}\n}}\nswanctl {{ load = pem pkcs1 pkcs8 openssl x509 }}\n"
    )
}

/// In a mount namespace of its own: every charon has its process number in the same file below /run.
fn start_charon(namespace: &Namespace, own: &Path, log: &Path, name: &str) -> Running {
    let run = format!("mount -t tmpfs run /run && STRONGSWAN_CONF={} exec /usr/lib/ipsec/charon", own.join("charon.conf").display());
    Running::start(namespace, log, name, "unshare", &["--mount", "sh", "-c", &run])
}

/// `swanctl --list-sas --raw`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sas {
    raw: String,
}

impl Sas {
    /// True when there is an IKE SA with a Child SA.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.raw.contains(" state=ESTABLISHED") && self.raw.contains(" state=INSTALLED")
    }

    /// True when nothing stands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.raw.contains(" state=")
    }

    /// How many Child SAs carry traffic.
    #[must_use]
    pub fn children(&self) -> usize {
        self.raw.matches(" state=INSTALLED").count()
    }

    /// Every value of a field, such as `encr-alg` or `spi-in`, in the order of the listing.
    #[must_use]
    pub fn values(&self, field: &str) -> Vec<&str> {
        let key = format!("{field}=");
        let value = |word: &'_ str| word.strip_prefix(&key).map(str::len);
        self.raw
            .split_whitespace()
            .map(|word| word.trim_start_matches('{'))
            .filter_map(|word| value(word).map(|length| word[word.len() - length..].trim_end_matches('}')))
            .collect()
    }

    /// The listing, for messages.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.raw
    }
}

impl Drop for StrongSwan {
    fn drop(&mut self) {
        self.charon.kill();
        if std::thread::panicking() {
            eprintln!("---- last lines of {} ----\n{}\n", self.name, self.last_words());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_sas_is_read_from_swanctls_listing() {
        let raw = "list-sa event {relay {uniqueid=1 version=2 state=ESTABLISHED encr-alg=AES_GCM_16 child-sas {office-1 {name=office \
                   state=INSTALLED spi-in=c1 spi-out=c2 local-ts=[198.51.100.16/29]} office-2 {state=REKEYED spi-in=c3}}}}";
        let sas = Sas { raw: raw.to_owned() };
        assert!(sas.is_up() && !sas.is_empty());
        assert_eq!((sas.children(), sas.values("spi-in")), (1, vec!["c1", "c3"]));
        assert!(Sas { raw: "list-sas reply {}".to_owned() }.is_empty());
    }

    #[test]
    fn a_line_seen_from_its_other_end_has_everything_the_other_way_round() {
        let town = Municipality::new("131016-chiyoda", "千代田区", 1).with_ipsec();
        let router = Connection::of(&town);
        let relay = router.mirrored();
        assert_eq!((relay.local_id.as_str(), relay.remote_networks.as_slice()), (router.remote_id.as_str(), &router.local_networks[..]));
        assert_eq!(relay.mirrored().text(), router.text());
    }

    #[test]
    fn secrets_are_in_no_debug_output() {
        let town = Municipality::new("131016-chiyoda", "千代田区", 1).with_ipsec();
        let Credentials::Psk(psk) = Connection::of(&town).credentials else { panic!("a preshared key") };
        assert!(!format!("{:?}{town:?}", Connection::of(&town)).contains(&psk));
    }
}
