//! Proving an identity in IKE_AUTH: what the exchange gives to [`crate::auth`] and makes of its answers.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::auth::{self, Proof as Authentication, SignedOctets};
use crate::certificate::X509_SIGNATURE;
use crate::config::{self, PeerConfig};
use crate::identity::Identity;
use crate::key_schedule::Role;
use crate::message::{Id, Payload, Payloads};
use crate::sa::{Initial, Protection};
use crate::secret::Psk;

/// What we show of ourselves.
#[derive(Debug)]
pub(crate) struct AuthAnswer {
    /// Body of our ID payload.
    pub(crate) id: Vec<u8>,
    certificates: Vec<Vec<u8>>,
    proof: Authentication,
}

impl AuthAnswer {
    pub(crate) fn certificates(&self) -> impl Iterator<Item = Payload<'_>> {
        self.certificates.iter().map(|data| Payload::Certificate { encoding: X509_SIGNATURE, data })
    }

    pub(crate) fn authentication(&self) -> Payload<'_> {
        Payload::Authentication { method: self.proof.method, data: &self.proof.data }
    }
}

/// Whether what the peer showed holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Proof {
    /// It is who it says it is.
    Holds {
        /// Which of our pre-shared keys it used.
        psk_index: Option<usize>,
    },
    /// It is not, or cannot show it.
    Fails {
        /// For people.
        why: String,
    },
}

/// What we ask the peer's certificate to be signed by.
pub(crate) fn request(authentication: &config::Authentication) -> Option<Vec<u8>> {
    match authentication {
        config::Authentication::Certificate { authorities, .. } => Some(authorities.request()),
        config::Authentication::Psk { .. } => None,
    }
}

/// Which of our keys an initiator uses: the first, and after failures each of the others in turn, as the peer may not have the new one.
pub(crate) fn key_for_try(config: &PeerConfig, attempts: u32) -> usize {
    match &config.authentication {
        config::Authentication::Psk { keys } => attempts as usize % keys.len().max(1),
        config::Authentication::Certificate { .. } => 0,
    }
}

/// What AUTH of the side that is `role` covers (section 2.15).
fn signed(protection: &Protection, role: Role, initial: &Initial, id_body: &[u8]) -> SignedOctets {
    let (message, nonce) = match role {
        Role::Initiator => (&initial.message_i, &initial.nonce_r),
        Role::Responder => (&initial.message_r, &initial.nonce_i),
    };
    SignedOctets::with_identity_body(protection.keys.prf(), message, nonce, protection.keys.sk_p(role), id_body)
}

/// Our proof as `role`; `psk_index` says with which key. `None` where there is none to prove it with.
pub(crate) fn prove(
    authentication: &config::Authentication,
    protection: &Protection,
    role: Role,
    initial: &Initial,
    id_body: &[u8],
    psk_index: usize,
) -> Option<AuthAnswer> {
    let octets = signed(protection, role, initial, id_body);
    let proof = match authentication {
        config::Authentication::Psk { keys } => auth::prove_by_psk(protection.keys.prf(), keys.get(psk_index)?, &octets),
        config::Authentication::Certificate { own, .. } => own.prove(&octets, initial.hashes).ok()?,
    };
    let certificates = match authentication {
        config::Authentication::Certificate { own, .. } => own.chain().map(<[u8]>::to_vec).collect(),
        config::Authentication::Psk { .. } => Vec::new(),
    };
    Some(AuthAnswer { id: id_body.to_vec(), certificates, proof })
}

/// Does the proof of the peer, which is `role`, hold?
pub(crate) fn verify(
    authentication: &config::Authentication,
    protection: &Protection,
    role: Role,
    initial: &Initial,
    id_body: &[u8],
    payloads: &Payloads<'_>,
    unix_time: Duration,
) -> Proof {
    let fails = |why: &str| Proof::Fails { why: why.to_owned() };
    let Some((method, data)) = payloads.authentication() else { return fails("it sent no AUTH") };
    let octets = signed(protection, role, initial, id_body);
    match authentication {
        config::Authentication::Psk { keys } => match auth::psk_used(protection.keys.prf(), keys, &octets, method, data) {
            Some(index) => Proof::Holds { psk_index: Some(index) },
            None if method != auth::method::SHARED_KEY => fails("it signs, and a pre-shared key is configured"),
            None => fails("another pre-shared key"),
        },
        config::Authentication::Certificate { authorities, .. } => {
            let sent: Vec<&[u8]> = payloads.certificates().filter(|sent| sent.0 == X509_SIGNATURE).map(|sent| sent.1).collect();
            let Some(identity) = Id::parse(id_body).ok().and_then(|id| Identity::from_wire(id.kind, id.data)) else {
                return fails("its identity cannot be read");
            };
            let checked = authorities.check(&sent, &identity, unix_time);
            match checked.and_then(|certificate| certificate.check_signature(&octets, method, data)) {
                Ok(()) => Proof::Holds { psk_index: None },
                Err(error) => Proof::Fails { why: error.to_string() },
            }
        }
    }
}

/// The same work for nobody's identity.
pub(crate) fn pretend_to_verify(protection: &Protection, initial: &Initial, id_body: &[u8], payloads: &Payloads<'_>) {
    let nobody = config::Authentication::Psk { keys: vec![Psk::new(Ipv4Addr::UNSPECIFIED.octets().to_vec())] };
    let _ = verify(&nobody, protection, Role::Initiator, initial, id_body, payloads, Duration::ZERO);
}
