//! The relay's packet path: tunnels, tenants, address translation, NIC drivers. It knows no YAML, HTTP, Prometheus or tokio.
//!
//! A worker owns everything that it mutates; it reads the clock and the configuration once per batch, sends each packet through
//! one of two straight-line functions, and counts every outcome in one place.
//!
//! | room | what is in it |
//! |---|---|
//! | [`nic`] | drivers: a batch of frames in, a batch out; taking a port over and giving it back |
//! | [`packet`] | frames of memory and the bytes in them |
//! | [`wire`] | bytes <-> headers, stateless |
//! | [`link`] | Ethernet, VLAN tags, ARP, neighbour discovery, next hops |
//! | [`route`] | THE packet path: office to cloud, cloud to office |
//! | [`tunnel`] | WireGuard: datagrams to inner packets and back; whose a datagram is |
//! | [`tenant`] | one municipality with all that is its own: classes, default deny, services, callbacks, fragments, which tunnel carries what |
//! | [`nat`] | address translation of one tenant: mappings, and sessions under them |
//! | [`host`] | the relay's own addresses |
//! | [`worker`] | the loop that owns it all |
//! | [`drop_reason`] | every way to lose a packet |
//! | [`counters`] | single-writer numbers |
//! | [`time`] | instants since the start; no clock |
//! | [`rate`] | token buckets |
//! | `prefetch` | hints to the processor |
//! | [`router_config`] | the compiled configuration |
//! | [`publish`] | a new configuration for running workers |
//! | `simulation` | feature `simulation`: a seeded world around a worker |
#![deny(unsafe_code, missing_docs)]

pub mod counters;
pub mod drop_reason;
pub mod host;
pub mod link;
pub mod nat;
pub mod nic;
pub mod packet;
mod prefetch;
pub mod publish;
pub mod rate;
pub mod route;
pub mod router_config;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod tenant;
pub mod time;
pub mod tunnel;
pub mod wire;
pub mod worker;

/// True when the crate was built with the `simulation` feature, whose virtual clock no program that carries traffic may have.
pub const SIMULATED: bool = cfg!(feature = "simulation");
