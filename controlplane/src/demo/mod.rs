//! `chukei demo`: municipalities, their routers and their clouds in network namespaces of this process, with real traffic.
//!
//! | block | what it is |
//! |---|---|
//! | [`run`](mod@run), [`scenario`], [`report`] | the demo from start to end, what is tried in it, and what comes out |
//! | [`privilege`] | becoming root of a user namespace |
//! | [`namespaces`] | anonymous network namespaces and the threads in them |
//! | [`links`] | veth pairs, addresses, routes, neighbours, offloads |
//! | [`raw_socket`] | frames in and out of one interface |
//! | [`vlan`], [`trunk`] | the far end of a VLAN trunk: one tag, one cloud |
//! | `untag` | the same for one VLAN inside the kernel, for measurements |
//! | [`canary`] | whose payload it is, and where it must never be seen |
//! | [`municipality`], [`ipsec_line`] | a hall's own router: an embedded WireGuard client, or IPsec |
//! | [`plan`], [`topology`] | three municipalities, and the world around the relay |
//! | [`configuration`], [`relay`] | the files the relay is given, and the seam it is started through |
//! | [`traffic`] | downloads, uploads, questions, pings, print jobs over kernel sockets |

mod background;
pub mod canary;
pub mod configuration;
pub mod embedded;
pub mod error;
mod ethtool;
pub mod ipsec_line;
pub mod links;
pub mod municipality;
pub mod namespaces;
mod netlink;
pub mod plan;
pub mod privilege;
pub mod raw_socket;
pub mod relay;
pub mod report;
pub mod run;
pub mod scenario;
#[cfg(test)]
mod test_support;
pub mod topology;
pub mod traffic;
pub mod trunk;
mod untag;
mod view;
pub mod vlan;
pub mod wireguard_keys;

pub use embedded::start_relay;
pub use error::DemoError;
pub use links::{Links, MacAddress};
pub use namespaces::{Namespace, in_namespace, spawn_in};
pub use privilege::{Privilege, become_root};
pub use relay::{RelaySnapshot, RunningRelay, StartRelay, TenantSnapshot};
pub use report::Report;
pub use run::{Options, run};
