//! Framing of the SK payload (RFC 7296 section 3.14) and of SKF (RFC 7383 section 2.5): IV, ciphertext, ICV, padding. The cipher
//! itself stands behind [`Seal`] and [`Open`].

use rand::RngCore;

use super::error::ParseError;
use super::fragment::{self, Fragment};
use super::header::{self, HEADER_OCTETS, Header};
use super::payload::{GENERIC_HEADER_OCTETS, Link, Payload, payload_type, write_chain};
use super::protect::{Exhausted, Forged, Layout, Open, Overhead, Seal};
use super::reader::Reader;
use super::{FRAGMENT_OCTETS, MAX_FRAGMENTS, MAX_MESSAGE_OCTETS};

/// Fragment number and total number of fragments.
const FRAGMENT_HEADER_OCTETS: usize = 4;

/// Where the SK or SKF payload of one message lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Protected {
    /// Type of the first payload inside; of SKF it is zero except in the first fragment.
    pub first: u8,
    /// Which fragment it is; none for SK.
    pub fragment: Option<Fragment>,
    /// Where the IV begins, from the start of the message.
    iv_at: usize,
}

/// What an SK or SKF payload held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened<'a> {
    /// Type of the first payload.
    pub first: u8,
    /// Which fragment it is; none for SK, whose payloads are complete.
    pub fragment: Option<Fragment>,
    /// The payloads, or a fragment of them.
    pub plaintext: &'a [u8],
}

/// Why nothing could be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// Anybody may have sent it: it changes nothing.
    #[error(transparent)]
    Forged(#[from] Forged),
    /// Its length cannot be one of this cipher (nobody with the keys writes such), or its padding is wrong.
    #[error(transparent)]
    Malformed(#[from] ParseError),
}

/// Why nothing could be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WriteError {
    /// Beyond [`MAX_MESSAGE_OCTETS`] or [`MAX_FRAGMENTS`].
    #[error("a message of more than {MAX_MESSAGE_OCTETS} octets; send fewer certificates")]
    TooLong,
    /// The keys are used up.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
}

impl Protected {
    /// `link` ends a message of `octets`.
    pub(super) fn parse(link: &Link<'_>, octets: usize) -> Result<Self, ParseError> {
        let start = octets - link.body.len();
        if link.kind == payload_type::SK {
            return Ok(Self { first: link.next, fragment: None, iv_at: start });
        }
        let mut reader = Reader::new(link.body, "SKF payload");
        let fragment = Fragment::new(reader.u16()?, reader.u16()?)?;
        // RFC 7383 section 2.5: only the first one names a payload.
        let first = if fragment.number() == 1 { link.next } else { payload_type::NONE };
        Ok(Self { first, fragment: Some(fragment), iv_at: start + FRAGMENT_HEADER_OCTETS })
    }

    /// Where the cipher finds its parts in a message of `octets`.
    fn layout(&self, octets: usize, overhead: Overhead) -> Option<Layout> {
        let text_at = self.iv_at + overhead.iv;
        let icv_at = octets.checked_sub(overhead.icv)?;
        let whole_blocks = icv_at.checked_sub(text_at)?.is_multiple_of(overhead.block);
        // The pad length is always there.
        let layout = Layout { associated: 0..self.iv_at, iv: self.iv_at..text_at, text: text_at..icv_at, icv: icv_at..octets };
        (whole_blocks && text_at < icv_at).then_some(layout)
    }

    /// Verify and decrypt `message`, from which [`super::Message::parse`] made `self`, in place.
    ///
    /// # Errors
    /// [`OpenError::Forged`]: drop it without a trace in the state. [`OpenError::Malformed`]: drop it as well.
    pub fn open<'m>(&self, message: &'m mut [u8], cipher: &dyn Open) -> Result<Opened<'m>, OpenError> {
        let layout = self.layout(message.len(), cipher.overhead()).ok_or(ParseError::Malformed("SK payload: length"))?;
        cipher.open(message, &layout)?;
        let text = &message[layout.text];
        let (pad_length, padded) = text.split_last().ok_or(ParseError::Malformed("SK payload"))?;
        let length = padded.len().checked_sub(usize::from(*pad_length)).ok_or(ParseError::Malformed("SK payload: padding"))?;
        Ok(Opened { first: self.first, fragment: self.fragment, plaintext: &padded[..length] })
    }
}

/// A protected message: one with an SK payload, or, with `fragmented` (both sides announced `IKEV2_FRAGMENTATION_SUPPORTED`) and too
/// long for [`FRAGMENT_OCTETS`], several with an SKF payload each (RFC 7383 section 2.5).
///
/// # Errors
/// [`WriteError`].
pub fn write_protected(
    header: &Header,
    payloads: &[Payload<'_>],
    fragmented: bool,
    cipher: &mut dyn Seal,
    random: &mut dyn RngCore,
) -> Result<Vec<Vec<u8>>, WriteError> {
    let first = payloads.first().map_or(payload_type::NONE, Payload::kind);
    let mut plaintext = Vec::with_capacity(512);
    write_chain(payloads, &mut plaintext);
    let overhead = cipher.overhead();
    let whole = HEADER_OCTETS + GENERIC_HEADER_OCTETS + overhead.iv + padded_octets(plaintext.len(), overhead) + overhead.icv;
    if !fragmented || whole <= FRAGMENT_OCTETS {
        if whole > MAX_MESSAGE_OCTETS {
            return Err(WriteError::TooLong);
        }
        return Ok(vec![seal_one(header, first, None, &plaintext, cipher, random)?]);
    }
    let pieces: Vec<&[u8]> = plaintext.chunks(octets_in_fragment(overhead)).collect();
    let total = u16::try_from(pieces.len()).unwrap_or(u16::MAX);
    if total > MAX_FRAGMENTS || plaintext.len() > MAX_MESSAGE_OCTETS {
        return Err(WriteError::TooLong);
    }
    let seal = |(number, piece): (u16, &&[u8])| {
        let next = if number == 1 { first } else { payload_type::NONE };
        seal_one(header, next, Some(fragment::numbered(number, total)), piece, cipher, random)
    };
    (1..).zip(&pieces).map(seal).collect()
}

/// Plaintext, padding and pad length.
const fn padded_octets(plaintext: usize, overhead: Overhead) -> usize {
    (plaintext + 1).next_multiple_of(overhead.block)
}

/// Octets of plaintext in a fragment that is as long as it may be.
const fn octets_in_fragment(overhead: Overhead) -> usize {
    let text = FRAGMENT_OCTETS - HEADER_OCTETS - GENERIC_HEADER_OCTETS - FRAGMENT_HEADER_OCTETS - overhead.iv - overhead.icv;
    text / overhead.block * overhead.block - 1
}

fn seal_one(
    header: &Header,
    first: u8,
    fragment: Option<Fragment>,
    plaintext: &[u8],
    cipher: &mut dyn Seal,
    random: &mut dyn RngCore,
) -> Result<Vec<u8>, WriteError> {
    let overhead = cipher.overhead();
    let mut message = Vec::with_capacity(FRAGMENT_OCTETS.max(plaintext.len() + 128));
    header.write(if fragment.is_some() { payload_type::SKF } else { payload_type::SK }, &mut message);
    let payload_at = message.len();
    message.extend_from_slice(&[first, 0, 0, 0]);
    if let Some(fragment) = fragment {
        message.extend_from_slice(&fragment.number().to_be_bytes());
        message.extend_from_slice(&fragment.total().to_be_bytes());
    }
    let iv_at = message.len();
    message.resize(iv_at + overhead.iv, 0);
    message.extend_from_slice(plaintext);
    let padding = padded_octets(plaintext.len(), overhead) - plaintext.len() - 1;
    message.resize(message.len() + padding, 0);
    message.push(u8::try_from(padding).unwrap_or(u8::MAX));
    message.resize(message.len() + overhead.icv, 0);
    let length = u16::try_from(message.len() - payload_at).map_err(|_| WriteError::TooLong)?;
    message[payload_at + 2..payload_at + 4].copy_from_slice(&length.to_be_bytes());
    header::set_length(&mut message);
    let layout = Protected { first, fragment, iv_at }.layout(message.len(), overhead).ok_or(WriteError::TooLong)?;
    cipher.seal(&mut message, &layout, random)?;
    Ok(message)
}

#[cfg(test)]
#[path = "encrypted/tests.rs"]
mod tests;
