//! What the framing of SK and SKF payloads asks of a cipher: where in a message the octets lie that it encrypts and authenticates.

use std::ops::Range;

use rand::RngCore;

/// What a cipher adds to a plaintext.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overhead {
    /// Octets of the initialization vector in front of the ciphertext: 16 for AES-CBC, 8 for AES-GCM (RFC 5282 section 3.1).
    pub iv: usize,
    /// The ciphertext's length is a multiple of this: 16 for AES-CBC, 1 for AES-GCM.
    pub block: usize,
    /// Octets of the integrity check value behind the ciphertext.
    pub icv: usize,
}

/// Where things lie in one protected message. The ranges follow each other without gaps and end with the message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// From the IKE header to the end of the payload's own header: the associated data of combined modes (RFC 5282 section 5.1).
    /// An integrity transform covers this, the IV and the ciphertext: everything in front of the ICV (RFC 7296 section 3.14).
    pub associated: Range<usize>,
    /// Initialization vector.
    pub iv: Range<usize>,
    /// Plaintext payloads, padding and pad length before `seal`; ciphertext after it.
    pub text: Range<usize>,
    /// Integrity check value.
    pub icv: Range<usize>,
}

/// The message is not from who has the keys. Nothing of it may be believed (RFC 7296 section 2.21.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the integrity check value does not verify")]
pub struct Forged;

/// One IKE SA can send no more messages under its keys: rekey it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the keys of this IKE SA are used up")]
pub struct Exhausted;

/// Seals what we send.
pub trait Seal {
    /// What sealing adds.
    fn overhead(&self) -> Overhead;

    /// Write the IV, encrypt `layout.text` in place and write the ICV.
    ///
    /// # Errors
    /// [`Exhausted`] where another message would need an IV that was used before.
    fn seal(&mut self, message: &mut [u8], layout: &Layout, random: &mut dyn RngCore) -> Result<(), Exhausted>;
}

/// Opens what the peer sent.
pub trait Open {
    /// What sealing added.
    fn overhead(&self) -> Overhead;

    /// Verify the ICV in constant time and decrypt `layout.text` in place. Whoever calls has checked that `text` is not empty and a
    /// multiple of [`Overhead::block`].
    ///
    /// # Errors
    /// [`Forged`]; `message` may then hold anything and is thrown away.
    fn open(&self, message: &mut [u8], layout: &Layout) -> Result<(), Forged>;
}
