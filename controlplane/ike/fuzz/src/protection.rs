//! SK and SKF payloads under the real ciphers: forged and changed messages never open, our own always do.

use ike::key_schedule::{IkeKeys, KeyInput, Role};
use ike::message::{ExchangeType, Header, IkeSpi, Message, Notify, NotifyType, Payload, Payloads, Reassembly, write_protected};
use ike::transforms::{Aead, AesKeyLength, Cipher, Group, IkeSuite, Integrity, Prf};
use ike::{Instant, Secret};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::Input;

fn keys(gcm: bool) -> IkeKeys {
    let cipher = if gcm {
        Cipher::Aead(Aead::Aes256Gcm16)
    } else {
        Cipher::AesCbc { key: AesKeyLength::Aes256, integrity: Integrity::HmacSha256_128 }
    };
    let spi = IkeSpi::new(7).expect("not zero");
    let shared = Secret::new(vec![1; 32]);
    let input = KeyInput { shared: &shared, nonce_i: &[2; 32], nonce_r: &[3; 32], spi_i: spi.octets(), spi_r: spi.octets() };
    IkeKeys::initial(IkeSuite { cipher, prf: Prf::HmacSha256, group: Group::Ecp256 }, &input)
}

/// The first octet chooses the cipher and what is done.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let mode = input.u8();
    let keys = keys(mode & 1 == 0);
    if mode & 2 == 0 { foreign(&keys, input.rest()) } else { own(&keys, input) }
}

/// Whatever a stranger sends with an SK payload: it does not open.
fn foreign(keys: &IkeKeys, datagram: &[u8]) {
    let Ok(message) = Message::parse(datagram) else { return };
    let Some(protected) = message.protected else { return };
    let (_, opener) = keys.protection(Role::Responder);
    assert!(protected.open(&mut datagram.to_vec(), &opener).is_err(), "a forgery");
}

/// What we send opens and reads as what it was, whole or in fragments; with one octet changed it does not.
fn own(keys: &IkeKeys, mut input: Input<'_>) {
    let (mut sealer, _) = keys.protection(Role::Initiator);
    let (_, opener) = keys.protection(Role::Responder);
    let spi = IkeSpi::new(7);
    let header = Header {
        initiator_spi: spi.expect("not zero"),
        responder_spi: spi,
        exchange: ExchangeType::Informational,
        from_initiator: true,
        response: false,
        message_id: input.u32(),
    };
    let (fragmented, change_at, change) = (input.u8() & 1 == 1, usize::from(input.u16()), input.u8());
    let repeat = 1 + usize::from(input.u8()) * 8;
    let pattern = input.rest();
    let data = pattern.repeat(repeat);
    let data = &data[..data.len().min(8_000)];
    let payloads = [Payload::Notify(Notify::new(NotifyType(40_000), data)), Payload::Nonce(&[9; 16])];
    let mut random = SmallRng::seed_from_u64(u64::from(header.message_id));
    let messages = write_protected(&header, &payloads, fragmented, &mut sealer, &mut random).expect("within all bounds");
    let mut reassembly = Reassembly::new();
    let last = messages.len() - 1;
    for (index, octets) in messages.iter().enumerate() {
        let protected = Message::parse(octets).expect("our own").protected.expect("protected");
        let mut changed = octets.clone();
        let at = change_at % octets.len();
        changed[at] ^= change;
        if let Ok(Message { protected: Some(protected), .. }) = Message::parse(&changed) {
            assert_eq!(protected.open(&mut changed.clone(), &opener).is_ok(), change == 0, "octet {at} changed");
        }
        let mut octets = octets.clone();
        let opened = protected.open(&mut octets, &opener).expect("our own opens");
        let (first, plaintext) = match opened.fragment {
            None => (opened.first, opened.plaintext.to_vec()),
            Some(fragment) => {
                let added = reassembly.add(header.message_id, fragment, opened.first, opened.plaintext, Instant::ZERO);
                let Some(whole) = added.expect("within all bounds") else {
                    assert!(index < last, "the last fragment completes the message");
                    continue;
                };
                (whole.first, whole.plaintext)
            }
        };
        assert_eq!(index, last);
        assert!(Payloads::parse(first, &plaintext).expect("our own chain").iter().eq(&payloads));
    }
}
