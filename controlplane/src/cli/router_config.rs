//! Ready configurations for the routers that municipalities own: the same tunnel in five languages.
//!
//! Each proposes what its kind of router has in every model and release in use: AES-256-CBC, HMAC-SHA-256-128, MODP 2048, a preshared key.
//! Lines that begin with a comment sign and `...` stand where only the municipality knows the value.

mod fortigate;
mod ios;
mod ix;
mod rtx;
mod strongswan;

use std::net::Ipv4Addr;

use anyhow::bail;
use clap::ValueEnum;
use ipnetwork::Ipv4Network;
use zeroize::Zeroizing;

use crate::config::Identity;

/// A kind of router.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Router {
    /// Yamaha RTX.
    Rtx,
    /// NEC UNIVERGE IX.
    Ix,
    /// Cisco IOS-XE, from 16.12.
    Ios,
    /// Fortinet FortiGate.
    Fortigate,
    /// strongSwan (swanctl.conf).
    Strongswan,
}

/// One tunnel as its far end has to know it.
pub(super) struct Plan<'a> {
    /// The tenant's name.
    pub(super) tenant: &'a str,
    /// The relay's name.
    pub(super) relay: &'a str,
    /// Where the router reaches the relay.
    pub(super) relay_address: Ipv4Addr,
    /// Who the relay says it is.
    pub(super) relay_id: &'a Identity,
    /// Who the router says it is.
    pub(super) router_id: &'a Identity,
    /// The router's own address, where it is fixed.
    pub(super) router_address: Option<Ipv4Addr>,
    pub(super) psk: &'a str,
    /// What is behind the router.
    pub(super) office: &'a [Ipv4Network],
    /// What is behind the relay.
    pub(super) far: &'a [Ipv4Network],
    /// Largest inner packet in bytes.
    pub(super) mtu: u16,
}

/// IPv4 and TCP headers without options.
const TCP_HEADERS_BYTES: u16 = 40;

impl Plan<'_> {
    /// Largest TCP segment in bytes.
    const fn mss(&self) -> u16 {
        self.mtu - TCP_HEADERS_BYTES
    }

    /// Each office prefix with each far one.
    fn pairs(&self) -> impl Iterator<Item = (Ipv4Network, Ipv4Network)> {
        self.office.iter().flat_map(|office| self.far.iter().map(|far| (*office, *far)))
    }

    /// The configuration. It holds the preshared key.
    ///
    /// # Errors
    /// For an identity that this kind of router cannot express.
    pub(super) fn text(&self, router: Router) -> anyhow::Result<Zeroizing<String>> {
        let text = match router {
            Router::Rtx => rtx::text(self),
            Router::Ix => ix::text(self),
            Router::Ios => ios::text(self),
            Router::Fortigate => fortigate::text(self),
            Router::Strongswan => Ok(strongswan::text(self)),
        };
        text.map(Zeroizing::new)
    }
}

/// The words of a router for the kinds of identities, in the order FQDN, e-mail, address, key id; an empty one where it has none.
fn id_words(identity: &Identity, words: [&'static str; 4]) -> anyhow::Result<(&'static str, String)> {
    let [fqdn, email, address, key_id] = words;
    let word = match identity {
        Identity::Fqdn(_) => fqdn,
        Identity::Email(_) => email,
        Identity::Ipv4(_) => address,
        Identity::KeyId(_) => key_id,
        Identity::DistinguishedName(_) => "",
    };
    let text = identity.to_string();
    let text = text.strip_prefix("keyid:").unwrap_or(&text).to_owned();
    if word.is_empty() || text.starts_with("0x") {
        bail!("this kind of router cannot say `{identity}` in its configuration: use a name such as chiyoda or relay.example.jp");
    }
    Ok((word, text))
}

#[cfg(test)]
mod tests;
