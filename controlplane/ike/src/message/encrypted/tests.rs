use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::message::{ExchangeType, IkeSpi, Message, Notify, NotifyType, Payloads, Reassembly};
use crate::time::Instant;

/// Not a cipher: text is inverted, and the ICV is a sum over everything in front of it. Shaped like AES-CBC or like AES-GCM.
struct Toy {
    overhead: Overhead,
    sent: u32,
}

fn like_cbc() -> Toy {
    Toy { overhead: Overhead { iv: 16, block: 16, icv: 16 }, sent: 0 }
}

fn like_gcm() -> Toy {
    Toy { overhead: Overhead { iv: 8, block: 1, icv: 16 }, sent: 0 }
}

fn sum(bytes: &[u8]) -> [u8; 4] {
    bytes.iter().fold(0u32, |sum, byte| sum.rotate_left(5) ^ sum.wrapping_add(u32::from(*byte) + 1)).to_be_bytes()
}

impl Seal for Toy {
    fn overhead(&self) -> Overhead {
        self.overhead
    }

    fn seal(&mut self, message: &mut [u8], layout: &Layout, random: &mut dyn RngCore) -> Result<(), Exhausted> {
        if self.sent == 100 {
            return Err(Exhausted);
        }
        self.sent += 1;
        random.fill_bytes(&mut message[layout.iv.clone()]);
        message[layout.text.clone()].iter_mut().for_each(|byte| *byte ^= 0xff);
        let icv = sum(&message[..layout.icv.start]);
        message[layout.icv.start..layout.icv.start + 4].copy_from_slice(&icv);
        Ok(())
    }
}

impl Open for Toy {
    fn overhead(&self) -> Overhead {
        self.overhead
    }

    fn open(&self, message: &mut [u8], layout: &Layout) -> Result<(), Forged> {
        if message[layout.icv.start..layout.icv.start + 4] != sum(&message[..layout.icv.start]) {
            return Err(Forged);
        }
        message[layout.text.clone()].iter_mut().for_each(|byte| *byte ^= 0xff);
        Ok(())
    }
}

fn header() -> Header {
    let spi = IkeSpi::new(5).unwrap();
    Header {
        initiator_spi: spi,
        responder_spi: Some(spi),
        exchange: ExchangeType::IkeAuth,
        from_initiator: true,
        response: false,
        message_id: 1,
    }
}

fn written(payloads: &[Payload<'_>], fragmented: bool, cipher: &mut Toy) -> Result<Vec<Vec<u8>>, WriteError> {
    write_protected(&header(), payloads, fragmented, cipher, &mut StdRng::seed_from_u64(1))
}

fn opened(message: &mut [u8], cipher: &Toy) -> Result<(u8, Option<Fragment>, Vec<u8>), OpenError> {
    let protected = Message::parse(message).unwrap().protected.unwrap();
    protected.open(message, cipher).map(|opened| (opened.first, opened.fragment, opened.plaintext.to_vec()))
}

#[test]
fn what_is_sealed_opens_again_whatever_its_length() {
    for mut cipher in [like_cbc(), like_gcm()] {
        for octets in 0..40 {
            let data = vec![3; octets];
            let payloads = [Payload::Notify(Notify::new(NotifyType::COOKIE, &data))];
            let mut messages = written(&payloads, false, &mut cipher).unwrap();
            let (first, fragment, plaintext) = opened(&mut messages[0], &cipher).unwrap();
            assert_eq!((messages.len(), fragment), (1, None));
            assert!(Payloads::parse(first, &plaintext).unwrap().iter().eq(&payloads));
        }
    }
}

#[test]
fn an_empty_message_is_one_block() {
    let messages = written(&[], false, &mut like_cbc()).unwrap();
    assert_eq!(messages[0].len(), HEADER_OCTETS + GENERIC_HEADER_OCTETS + 16 + 16 + 16);
    assert_eq!(messages[0][HEADER_OCTETS], payload_type::NONE);
    assert_eq!(opened(&mut messages[0].clone(), &like_cbc()).unwrap(), (0, None, Vec::new()));
}

#[test]
fn every_flipped_bit_is_noticed_and_every_length_that_is_no_ciphertext_is_refused() {
    let message = written(&[Payload::VendorId(b"x")], false, &mut like_cbc()).unwrap().remove(0);
    for at in HEADER_OCTETS + GENERIC_HEADER_OCTETS..message.len() - 12 {
        let mut flipped = message.clone();
        flipped[at] ^= 1;
        assert!(opened(&mut flipped, &like_cbc()).is_err(), "octet {at}");
    }
    for body in (0..80).filter(|body| *body != 48 && *body != 64) {
        let mut message = Vec::new();
        header().write(payload_type::SK, &mut message);
        message.extend_from_slice(&[0, 0, 0, 4 + body]);
        message.resize(message.len() + usize::from(body), 0);
        header::set_length(&mut message);
        assert!(matches!(opened(&mut message, &like_cbc()), Err(OpenError::Malformed(_))), "{body}");
    }
}

#[test]
fn padding_longer_than_the_plaintext_is_refused() {
    let mut message = written(&[], false, &mut like_cbc()).unwrap().remove(0);
    let icv_at = message.len() - 16;
    message[icv_at - 1] = 0xff ^ 16;
    let icv = sum(&message[..icv_at]);
    message[icv_at..icv_at + 4].copy_from_slice(&icv);
    assert!(matches!(opened(&mut message, &like_cbc()), Err(OpenError::Malformed(_))));
}

#[test]
fn a_long_message_goes_in_fragments_that_fit_and_comes_back_whole() {
    for mut cipher in [like_cbc(), like_gcm()] {
        let certificate: Vec<u8> = (0..5_000u16).map(|octet| octet.to_le_bytes()[0]).collect();
        let payloads = [Payload::Certificate { encoding: 4, data: &certificate }, Payload::Nonce(&[1; 32])];
        assert_eq!(written(&payloads, false, &mut cipher).unwrap().len(), 1, "only where both sides announced it");
        let mut messages = written(&payloads, true, &mut cipher).unwrap();
        assert_eq!(messages.len(), 5);
        assert!(messages.iter().all(|message| message.len() <= FRAGMENT_OCTETS));
        assert!(messages[0].len() > FRAGMENT_OCTETS - 16, "as long as it may be");
        let mut reassembly = Reassembly::new();
        let mut whole = None;
        for message in messages.iter_mut().rev() {
            let (first, fragment, plaintext) = opened(message, &cipher).unwrap();
            whole = reassembly.add(1, fragment.unwrap(), first, &plaintext, Instant::ZERO).unwrap();
        }
        let whole = whole.unwrap();
        assert!(Payloads::parse(whole.first, &whole.plaintext).unwrap().iter().eq(&payloads));
    }
}

#[test]
fn the_longest_message_that_goes_whole_is_as_long_as_a_fragment_may_be() {
    let room = FRAGMENT_OCTETS - HEADER_OCTETS - GENERIC_HEADER_OCTETS - 8 - 1 - 16 - GENERIC_HEADER_OCTETS;
    let longest = vec![0; room];
    let messages = written(&[Payload::VendorId(&longest)], true, &mut like_gcm()).unwrap();
    assert_eq!((messages.len(), messages[0].len()), (1, FRAGMENT_OCTETS));
    let longer = vec![0; room + 1];
    assert_eq!(written(&[Payload::VendorId(&longer)], true, &mut like_gcm()).unwrap().len(), 2);
}

#[test]
fn only_the_first_fragment_names_a_payload() {
    let certificate = vec![1; 3_000];
    let mut messages = written(&[Payload::Certificate { encoding: 4, data: &certificate }], true, &mut like_cbc()).unwrap();
    let firsts: Vec<u8> = messages.iter_mut().map(|message| opened(message, &like_cbc()).unwrap().0).collect();
    assert_eq!(firsts, [payload_type::CERT, 0, 0]);
    assert!(messages.iter().skip(1).all(|message| message[HEADER_OCTETS] == 0));
}

#[test]
fn a_message_too_long_and_a_cipher_used_up_are_errors() {
    let long = vec![0; MAX_MESSAGE_OCTETS];
    assert_eq!(written(&[Payload::VendorId(&long)], false, &mut like_cbc()), Err(WriteError::TooLong));
    assert_eq!(written(&[Payload::VendorId(&long)], true, &mut like_cbc()), Err(WriteError::TooLong));
    let mut used_up = Toy { sent: 100, ..like_gcm() };
    assert_eq!(written(&[], false, &mut used_up), Err(WriteError::Exhausted(Exhausted)));
}

#[test]
fn a_fragment_header_that_makes_no_sense_is_refused() {
    let message = |number: u16, total: u16| {
        let mut message = Vec::new();
        header().write(payload_type::SKF, &mut message);
        message.extend_from_slice(&[0, 0, 0, 4 + 4 + 48]);
        message.extend_from_slice(&number.to_be_bytes());
        message.extend_from_slice(&total.to_be_bytes());
        message.resize(message.len() + 48, 0);
        header::set_length(&mut message);
        message
    };
    assert!([(0, 1), (2, 1), (0, 0), (1, 65)].into_iter().all(|(number, total)| Message::parse(&message(number, total)).is_err()));
    assert!(Message::parse(&message(1, 64)).is_ok());
    let mut short = message(1, 1);
    short.truncate(HEADER_OCTETS + 4 + 3);
    short[HEADER_OCTETS + 3] = 7;
    header::set_length(&mut short);
    assert!(Message::parse(&short).is_err());
}
