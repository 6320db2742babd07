//! `chukei demo`: municipalities, their routers and their clouds in network namespaces of this process, with real traffic.
//!
//! | block | what it is |
//! |---|---|
//! | [`privilege`] | becoming root of a user namespace |
//! | [`namespaces`] | anonymous network namespaces and the threads in them |
//! | [`links`] | veth pairs, addresses, routes, neighbours, offloads |
//! | [`raw_socket`] | frames in and out of one interface |
//! | [`vlan`], [`trunk`] | the far end of a VLAN trunk: one tag, one cloud |
//! | [`canary`] | whose payload it is, and where it must never be seen |
//! | [`municipality`] | a hall's own router: an embedded WireGuard client |
//! | [`plan`], [`topology`] | three municipalities, and the world around the relay |
//! | [`traffic`] | downloads, uploads, questions, pings, print jobs over kernel sockets |

mod background;
pub mod canary;
pub mod error;
mod ethtool;
pub mod links;
pub mod municipality;
pub mod namespaces;
mod netlink;
pub mod plan;
pub mod privilege;
pub mod raw_socket;
#[cfg(test)]
mod test_support;
pub mod topology;
pub mod traffic;
pub mod trunk;
pub mod vlan;
pub mod wireguard_keys;

pub use error::DemoError;
pub use links::{Links, MacAddress};
pub use namespaces::{Namespace, in_namespace, spawn_in};
pub use privilege::{Privilege, become_root};
