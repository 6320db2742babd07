//! One VLAN's end in the kernel itself: an interface whose tag goes off on receipt and on when sending.
//!
//! For measurements, where the splitter of [`super::trunk`] would cost more than what is measured, on kernels that have no VLAN
//! devices. Two programs of three and five instructions, assembled by hand, attached to the interface's `clsact` hooks (tc-bpf(8)); the
//! tag stays beside the frame, as a NIC's own tag offload leaves it, so this costs next to nothing. They go with the interface.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::netlink::{NetlinkSocket, Request};

/// linux/bpf.h.
const PROG_LOAD: libc::c_int = 5;
const PROG_TYPE_SCHED_CLS: u32 = 3;
const SKB_VLAN_PUSH: i32 = 18;
const SKB_VLAN_POP: i32 = 19;
/// linux/pkt_sched.h: `TC_H_CLSACT`, and where it puts its two hooks.
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;
/// linux/pkt_cls.h: the attributes of a program as filter, and that its return value is the verdict.
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;
/// The one priority used here, and linux/if_ether.h: `ETH_P_ALL`.
const PRIORITY: u32 = 1;
const ETH_P_ALL: u16 = 3;
const TPID_CUSTOMER: u16 = 0x8100;

/// `struct bpf_insn` of a program for this machine.
type Instruction = [u8; 8];

/// Gives the interface numbered `index`, in the namespace of `netlink`, the VLAN `vlan`.
pub(super) fn attach(netlink: &NetlinkSocket, index: u32, vlan: u16) -> io::Result<()> {
    let (pop, push) = (load(&pop_instructions())?, load(&push_instructions(vlan))?);
    let hooks = Request::new(libc::RTM_NEWQDISC, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &traffic_header(index, CLSACT_HANDLE, CLSACT, 0));
    netlink.transact(hooks.text(libc::TCA_KIND, "clsact"))?;
    for (hook, name, program) in [(INGRESS, "pop", &pop), (EGRESS, "push", &push)] {
        let protocol = PRIORITY << 16 | u32::from(ETH_P_ALL.to_be());
        let fd = u32::try_from(program.as_raw_fd()).expect("descriptors are not negative");
        let filter = Request::new(libc::RTM_NEWTFILTER, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &traffic_header(index, 0, hook, protocol));
        netlink.transact(filter.text(libc::TCA_KIND, "bpf").nested(libc::TCA_OPTIONS, &[], |options| {
            options.number(TCA_BPF_FD, fd).text(TCA_BPF_NAME, name).number(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT)
        }))?;
    }
    Ok(())
}

/// `struct tcmsg`: family, padding (3), index, handle, parent, info.
fn traffic_header(index: u32, handle: u32, parent: u32, info: u32) -> [u8; 20] {
    let mut header = [0; 20];
    for (at, value) in [(4, index), (8, handle), (12, parent), (16, info)] {
        header[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    header
}

const fn instruction(code: u8, register: u8, immediate: i32) -> Instruction {
    let [a, b, c, d] = immediate.to_ne_bytes();
    [code, register, 0, 0, a, b, c, d]
}

/// `bpf_skb_vlan_pop(skb); return TC_ACT_OK`: a frame without a tag passes as it is.
fn pop_instructions() -> Vec<Instruction> {
    vec![instruction(0x85, 0, SKB_VLAN_POP), instruction(0xb7, 0, 0), instruction(0x95, 0, 0)]
}

/// `bpf_skb_vlan_push(skb, TPID, vlan); return TC_ACT_OK`.
fn push_instructions(vlan: u16) -> Vec<Instruction> {
    vec![
        instruction(0xb7, 2, i32::from(TPID_CUSTOMER.to_be())),
        instruction(0xb7, 3, i32::from(vlan)),
        instruction(0x85, 0, SKB_VLAN_PUSH),
        instruction(0xb7, 0, 0),
        instruction(0x95, 0, 0),
    ]
}

/// Loads a program; it lives as long as its descriptor and whatever it is attached to.
fn load(instructions: &[Instruction]) -> io::Result<OwnedFd> {
    /// The leading part of `union bpf_attr`; the kernel takes the rest as zero.
    #[repr(C)]
    struct Attributes {
        kind: u32,
        instruction_count: u32,
        instructions: u64,
        license: u64,
    }
    let attributes = Attributes {
        kind: PROG_TYPE_SCHED_CLS,
        instruction_count: u32::try_from(instructions.len()).expect("a few"),
        instructions: instructions.as_ptr().addr() as u64,
        license: c"Apache-2.0 OR MIT".as_ptr().addr() as u64,
    };
    // SAFETY: the pointer and the length describe `attributes`; the instructions and the licence that it points to live across the
    // call, and the kernel only reads them.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, std::ptr::from_ref(&attributes), size_of::<Attributes>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = libc::c_int::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel made this descriptor just now, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
