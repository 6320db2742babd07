//! The XDP program: six instructions, assembled by hand and loaded by bpf(2), so that neither a compiler nor libbpf is needed.
//!
//! Attached by a `bpf_link`: when the process ends, however it ends, the kernel closes the descriptor and detaches the program.
#![expect(unsafe_code, reason = "bpf(2)")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;
const MAP_TYPE_XSKMAP: u32 = 17;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_TYPE_XDP: u32 = 37;
const HELPER_REDIRECT_MAP: i32 = 51;
const PSEUDO_MAP_FD: u8 = 1;
const XDP_DROP: i32 = 1;
/// `offsetof(struct xdp_md, rx_queue_index)`
const RX_QUEUE_INDEX: i16 = 16;

/// How an XDP program is attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attachment {
    /// In the driver, before a socket buffer is made (`XDP_FLAGS_DRV_MODE`).
    Native,
    /// In the kernel's common code; works with every driver (`XDP_FLAGS_SKB_MODE`).
    Generic,
}

/// `struct bpf_insn`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Instruction {
    code: u8,
    /// Destination register in the low, source register in the high four bits.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// The attached program; detached when this is dropped.
#[derive(Debug)]
pub(in crate::nic) struct Program {
    map: OwnedFd,
    _link: OwnedFd,
}

/// A program, how it is attached, and why no better.
#[derive(Debug)]
pub(in crate::nic) struct Attached {
    pub(in crate::nic) program: Program,
    pub(in crate::nic) attachment: Attachment,
    pub(in crate::nic) reason: String,
}

impl Attached {
    /// Attach in the driver, or else in the common code, a program for this many queues.
    pub(in crate::nic) fn best(interface: u32, queues: u32) -> io::Result<Self> {
        match Program::attach(interface, queues, Attachment::Native) {
            Ok(program) => Ok(Self { program, attachment: Attachment::Native, reason: String::new() }),
            // The other way is closed, too, without privilege or where a program is attached already.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EBUSY | libc::EEXIST)) => Err(error),
            Err(error) => {
                let program = Program::attach(interface, queues, Attachment::Generic)?;
                let reason = format!("the driver takes no XDP program: {error}; ");
                Ok(Self { program, attachment: Attachment::Generic, reason })
            }
        }
    }
}

/// `return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_DROP)`: to the socket of this queue, else nowhere.
const fn instructions(map: i32) -> [Instruction; 6] {
    const fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
        Instruction { code, registers: destination | source << 4, offset, immediate }
    }
    [
        // r2 = *(u32 *)(r1 + rx_queue_index)
        instruction(0x61, 2, 1, RX_QUEUE_INDEX, 0),
        // r1 = the map, an immediate of 64 bits in two slots
        instruction(0x18, 1, PSEUDO_MAP_FD, 0, map),
        instruction(0, 0, 0, 0, 0),
        // r3 = XDP_DROP: what the helper returns where the map has no socket
        instruction(0xb7, 3, 0, 0, XDP_DROP),
        // r0 = bpf_redirect_map(r1, r2, r3)
        instruction(0x85, 0, 0, 0, HELPER_REDIRECT_MAP),
        // return r0
        instruction(0x95, 0, 0, 0, 0),
    ]
}

/// Call bpf(2) with the leading part of `union bpf_attr` that the command uses; the kernel takes the rest as zero.
///
/// # Safety
/// Addresses inside `attributes` must be valid for what the command does with them.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: the pointer and length describe `attributes`; the caller vouches for the addresses in it.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_ref(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { libc::c_int::try_from(result).map_err(io::Error::other) }
}

/// # Safety
/// As for [`bpf`]; the command must return a new descriptor.
unsafe fn bpf_fd<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller vouches for the attributes.
    let fd = unsafe { bpf(command, attributes) }?;
    // SAFETY: the kernel made this descriptor just now.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn number(fd: &OwnedFd) -> u32 {
    u32::try_from(fd.as_raw_fd()).expect("a descriptor is not negative")
}

impl Program {
    /// Load the program and attach it to an interface. It drops everything until [`Self::insert`] names a socket.
    pub(super) fn attach(interface: u32, queues: u32, attachment: Attachment) -> io::Result<Self> {
        let map = create_map(queues)?;
        let program = load(&map)?;
        let flags: u32 = match attachment {
            Attachment::Generic => 1 << 1,
            Attachment::Native => 1 << 2,
        };
        // SAFETY: the attributes hold no address.
        let link = unsafe { bpf_fd(LINK_CREATE, &[number(&program), interface, ATTACH_TYPE_XDP, flags]) }?;
        Ok(Self { map, _link: link })
    }

    /// Give the frames of `queue` to a bound AF_XDP socket.
    pub(in crate::nic) fn insert(&self, queue: u32, socket: &OwnedFd) -> io::Result<()> {
        #[repr(C)]
        struct Attributes {
            map: u32,
            padding: u32,
            key: u64,
            value: u64,
            flags: u64,
        }
        let value = number(socket);
        let (key, value) = (ptr::from_ref(&queue).addr() as u64, ptr::from_ref(&value).addr() as u64);
        // SAFETY: key and value point to four bytes each, the sizes the map was made with, and live through the call.
        unsafe { bpf(MAP_UPDATE_ELEM, &Attributes { map: number(&self.map), padding: 0, key, value, flags: 0 }) }?;
        Ok(())
    }
}

/// A map of one socket a queue. What arrives on another queue finds no entry and is dropped.
fn create_map(queues: u32) -> io::Result<OwnedFd> {
    let (key_size, value_size) = (4, 4);
    // SAFETY: the attributes hold no address.
    unsafe { bpf_fd(MAP_CREATE, &[MAP_TYPE_XSKMAP, key_size, value_size, queues, 0]) }
}

fn load(map: &OwnedFd) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        kind: u32,
        instruction_count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
        name: [u8; 16],
        interface: u32,
        attach_type: u32,
    }
    let instructions = instructions(map.as_raw_fd());
    let license = c"Apache-2.0 OR MIT";
    let attributes = Attributes {
        kind: PROG_TYPE_XDP,
        instruction_count: u32::try_from(instructions.len()).expect("six"),
        instructions: instructions.as_ptr().addr() as u64,
        license: license.as_ptr().addr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: *b"chukei\0\0\0\0\0\0\0\0\0\0",
        interface: 0,
        attach_type: ATTACH_TYPE_XDP,
    };
    // SAFETY: instructions and license live through the call; the kernel only reads them.
    unsafe { bpf_fd(PROG_LOAD, &attributes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_the_one_an_assembler_would_make() {
        let bytes: Vec<u8> = instructions(0x0102_0304)
            .iter()
            .flat_map(|i| [&[i.code, i.registers][..], &i.offset.to_le_bytes(), &i.immediate.to_le_bytes()].concat())
            .collect();
        #[rustfmt::skip]
        let expected = [
            0x61, 0x12, 16, 0, 0, 0, 0, 0,
            0x18, 0x11, 0, 0, 4, 3, 2, 1,
            0x00, 0x00, 0, 0, 0, 0, 0, 0,
            0xb7, 0x03, 0, 0, 1, 0, 0, 0,
            0x85, 0x00, 0, 0, 51, 0, 0, 0,
            0x95, 0x00, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(bytes, expected);
    }
}
