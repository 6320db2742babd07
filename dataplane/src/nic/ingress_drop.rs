//! Keeps the kernel from seeing what arrives on a port: an nftables chain at the interface's ingress that drops everything.
//!
//! Taps (AF_PACKET) look at a frame before that hook, so the relay still gets it, and the kernel has nothing to answer. The table
//! belongs to the netlink socket that made it (`NFT_TABLE_F_OWNER`, Linux 5.12): no other program can flush it, and it goes
//! when the socket is closed, even by kill -9.

use std::io;

use super::netlink::{Message, Netlink};

const NFPROTO_NETDEV: u8 = 5;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_FLAGS: u16 = 2;
const NFT_TABLE_F_OWNER: u32 = 2;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_HOOK_DEV: u16 = 3;
const NF_NETDEV_INGRESS: u32 = 0;
const NF_DROP: u32 = 0;
/// Before any chain that a person might put there.
const PRIORITY: i32 = -1000;

/// The drop; ends when this is dropped.
#[derive(Debug)]
pub(super) struct IngressDrop {
    _owner: Netlink,
}

impl IngressDrop {
    /// Drop what arrives on `interface`, in the caller's network namespace.
    pub(super) fn install(interface: &str) -> io::Result<Self> {
        let mut netlink = Netlink::open(libc::NETLINK_NETFILTER)?;
        let table_name = format!("chukei_{interface}");
        let mut table = request(libc::NFT_MSG_NEWTABLE);
        table.string(NFTA_TABLE_NAME, &table_name);
        table.attribute(NFTA_TABLE_FLAGS, &NFT_TABLE_F_OWNER.to_be_bytes());
        let mut chain = request(libc::NFT_MSG_NEWCHAIN);
        chain.string(NFTA_CHAIN_TABLE, &table_name);
        chain.string(NFTA_CHAIN_NAME, "ingress");
        chain.nested(NFTA_CHAIN_HOOK, |hook| {
            hook.attribute(NFTA_HOOK_HOOKNUM, &NF_NETDEV_INGRESS.to_be_bytes());
            hook.attribute(NFTA_HOOK_PRIORITY, &PRIORITY.to_be_bytes());
            hook.string(NFTA_HOOK_DEV, interface);
        });
        chain.attribute(NFTA_CHAIN_POLICY, &NF_DROP.to_be_bytes());
        chain.string(NFTA_CHAIN_TYPE, "filter");
        netlink.batch(boundary(libc::NFNL_MSG_BATCH_BEGIN), vec![table, chain], boundary(libc::NFNL_MSG_BATCH_END))?;
        Ok(Self { _owner: netlink })
    }
}

/// `struct nfgenmsg`: family, version, subsystem.
fn request(kind: libc::c_int) -> Message {
    let kind = u16::try_from(libc::NFNL_SUBSYS_NFTABLES << 8 | kind).expect("16 bits");
    Message::new(kind, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &[NFPROTO_NETDEV, 0, 0, 0])
}

/// The begin or end of a transaction.
fn boundary(kind: libc::c_int) -> Message {
    let subsystem = u8::try_from(libc::NFNL_SUBSYS_NFTABLES).expect("8 bits");
    Message::new(u16::try_from(kind).expect("16 bits"), 0, &[0, 0, 0, subsystem])
}
