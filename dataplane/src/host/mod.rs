//! The relay's own addresses: they answer ICMP echo and nothing else.

use crate::drop_reason::DropReason;
use crate::wire::icmp;
use crate::wire::inner::{Inner, Payload};

/// Turn an echo request to the relay's own address into its reply, in place.
///
/// # Errors
/// [`DropReason::InnerFragment`] for a part of one, [`DropReason::RelayAddress`] for everything else.
pub fn answer(packet: &mut [u8], inner: &Inner) -> Result<(), DropReason> {
    match inner.payload {
        _ if inner.fragment.is_some() => Err(DropReason::InnerFragment),
        Payload::IcmpEcho { request: true } => {
            icmp::echo_reply(packet);
            Ok(())
        }
        _ => Err(DropReason::RelayAddress),
    }
}
