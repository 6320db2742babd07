//! Certificates, CERTREQ, signatures: nothing panics, no chain is accepted for an identity that it does not name, and no signature
//! proves anything, as nobody here has signed.

use std::sync::OnceLock;
use std::time::Duration;

use ike::auth::SignedOctets;
use ike::certificate::{Authorities, SignatureHashes};
use ike::transforms::Prf;
use ike::{Identity, Secret};

use crate::Input;

/// Of an authority whose key was thrown away when it had signed `LEAF`.
const AUTHORITY: &[u8] = include_bytes!("../fixtures/authority.pem");
/// Names `chiyoda`.
const LEAF: &[u8] = include_bytes!("../fixtures/leaf.der");
/// Within the validity of both.
const NOW: Duration = Duration::from_secs(1_800_000_000);

/// The first octet chooses; certificates have two octets of length in front.
pub fn check(data: &[u8]) {
    static AUTHORITIES: OnceLock<Authorities> = OnceLock::new();
    let authorities = AUTHORITIES.get_or_init(|| Authorities::from_pem(AUTHORITY).expect("an authority"));
    let mut input = Input::new(data);
    let mode = input.u8();
    match mode & 3 {
        0 => signature(authorities, mode >> 4, input.rest()),
        1 => {
            let hashes = SignatureHashes::from_wire(input.rest());
            assert_eq!(SignatureHashes::from_wire(&hashes.to_wire()), hashes);
        }
        2 => {
            let _ = Authorities::from_pem(input.rest());
        }
        _ => chain(authorities, &mut input),
    }
}

fn chain(authorities: &Authorities, input: &mut Input<'_>) {
    let mut sent = Vec::new();
    while !input.is_empty() && sent.len() < 8 {
        let length = usize::from(input.u16());
        sent.push(input.take(length));
    }
    let stranger = Identity::Fqdn("minato".to_owned());
    assert!(authorities.check(&sent, &stranger, NOW).is_err(), "a certificate for somebody else");
    if authorities.check(&sent, &Identity::Fqdn("chiyoda".to_owned()), NOW).is_ok() {
        assert_eq!(sent[0], LEAF, "the only certificate that was ever signed");
    }
}

fn signature(authorities: &Authorities, method: u8, data: &[u8]) {
    let identity = Identity::Fqdn("chiyoda".to_owned());
    let peer = authorities.check(&[LEAF], &identity, NOW).expect("the certificate is good");
    let octets = SignedOctets::new(Prf::HmacSha256, b"first message", &[1; 32], &Secret::new(vec![2; 32]), &identity);
    assert!(peer.check_signature(&octets, method, data).is_err(), "a signature that nobody made");
}
