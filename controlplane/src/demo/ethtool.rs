//! Switching a network interface's features off by name, with the ioctl behind `ethtool -K`.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::error::checked;

/// linux/ethtool.h.
const ETHTOOL_GLINK: u32 = 0x0a;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_SFEATURES: u32 = 0x3b;
const ETH_SS_FEATURES: u32 = 4;
const ETH_GSTRING_LEN: usize = 32;

/// Everything that makes the kernel hand over a frame that is not as it would be on a cable: unfinished checksums,
/// super-frames longer than the MTU, VLAN tags beside the frame. Feature names that start with one of these go off.
const OFFLOADS: [&str; 7] = ["tx-checksum-", "tx-generic-segmentation", "tx-tcp", "tx-udp", "rx-gro", "tx-vlan-", "rx-vlan-"];

/// Switches every offload of `interface` off that can be switched. `socket` is any socket of the interface's namespace.
pub(crate) fn switch_offloads_off(socket: &OwnedFd, interface: &str) -> io::Result<()> {
    let names = feature_names(socket, interface)?;
    let count = names.len().div_ceil(32);
    let mut blocks = vec![0u32; count];
    for (bit, _) in names.iter().enumerate().filter(|(_, name)| OFFLOADS.iter().any(|prefix| name.starts_with(prefix))) {
        blocks[bit / 32] |= 1 << (bit % 32);
    }
    // struct ethtool_sfeatures: command, number of blocks, then (which bits are meant, their new values) for each block.
    let mut request = [ETHTOOL_SFEATURES.to_ne_bytes(), u32::try_from(count).expect("a few blocks").to_ne_bytes()].concat();
    request.extend(blocks.iter().flat_map(|meant| [meant.to_ne_bytes(), 0u32.to_ne_bytes()].concat()));
    ethtool(socket, interface, &mut request)
}

/// Whether both ends of the cable are up.
pub(crate) fn has_carrier(socket: &OwnedFd, interface: &str) -> io::Result<bool> {
    // struct ethtool_value: command, value.
    let mut request = [ETHTOOL_GLINK.to_ne_bytes(), [0; 4]].concat();
    ethtool(socket, interface, &mut request)?;
    Ok(request[4..] != [0; 4])
}

/// The interface's features in the order of their bits.
fn feature_names(socket: &OwnedFd, interface: &str) -> io::Result<Vec<String>> {
    // struct ethtool_sset_info: command, reserved, mask of string sets (64 bits), then one length for each set.
    let mut request = [ETHTOOL_GSSET_INFO.to_ne_bytes(), [0; 4]].concat();
    request.extend((1u64 << ETH_SS_FEATURES).to_ne_bytes());
    request.extend([0; 4]);
    ethtool(socket, interface, &mut request)?;
    let count = u32::from_ne_bytes(request[16..20].try_into().expect("four bytes"));

    // struct ethtool_gstrings: command, string set, length, then the strings, 32 bytes each.
    let mut request = [ETHTOOL_GSTRINGS.to_ne_bytes(), ETH_SS_FEATURES.to_ne_bytes(), count.to_ne_bytes()].concat();
    request.resize(request.len() + count as usize * ETH_GSTRING_LEN, 0);
    ethtool(socket, interface, &mut request)?;
    let text = |bytes: &[u8]| CStr::from_bytes_until_nul(bytes).unwrap_or_default().to_string_lossy().into_owned();
    Ok(request[12..].chunks_exact(ETH_GSTRING_LEN).map(text).collect())
}

fn ethtool(socket: &OwnedFd, interface: &str, request: &mut [u8]) -> io::Result<()> {
    let mut argument = interface_request(interface)?;
    argument.ifr_ifru.ifru_data = request.as_mut_ptr().cast();
    // SAFETY: SIOCETHTOOL reads and writes `ifreq` and the request behind its pointer; both live across the call, and
    // every request here is as long as its own length fields say.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &mut argument) }).map(|_| ())
}

/// netdevice(7): the argument of interface ioctls, with the interface's name filled in.
pub(crate) fn interface_request(interface: &str) -> io::Result<libc::ifreq> {
    // SAFETY: ifreq is plain data; all zeroes is a valid value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if interface.is_empty() || interface.len() >= request.ifr_name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{interface:?} is no interface name (1 to 15 bytes)")));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}
