//! The relay's packet path: tunnels, tenants, address translation, NIC drivers. It knows no YAML, HTTP, Prometheus or tokio.
//!
//! A worker owns everything that it mutates; it reads the clock and the configuration once per batch, sends each packet through
//! one of two straight-line functions, and counts every outcome in one place.
//!
//! | room | what is in it |
//! |---|---|
//! | [`drop_reason`] | every way to lose a packet |
//! | [`time`] | instants since the start; no clock |
//! | [`packet`] | frames of memory and the bytes in them |
//! | [`router_config`] | the compiled configuration |
//! | [`tunnel`] | WireGuard: datagrams to inner packets and back |
//! | [`publish`] | a new configuration for running workers |
//! | [`counters`] | single-writer numbers |
//! | [`wire`] | bytes <-> headers, stateless |
//! | [`nat`] | address translation of one tenant: mappings, and sessions under them |
//! | [`nic`] | drivers |
//! | [`worker`] | the loop that owns it all |
//! | `simulation` | feature `simulation`: a seeded world around a worker |
#![deny(unsafe_code, missing_docs)]

pub mod counters;
pub mod drop_reason;
pub mod host;
pub mod link;
pub mod nat;
pub mod nic;
pub mod packet;
pub mod publish;
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
