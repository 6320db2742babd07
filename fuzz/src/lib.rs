//! What is true of every input: checked here, so that a target is one line and a finding can be run again by a test.

#[cfg(feature = "controlplane")]
pub mod answers;
#[cfg(feature = "controlplane")]
pub mod api;
pub mod checksum;
#[cfg(feature = "controlplane")]
pub mod configuration;
pub mod esp;
pub mod inner;
pub mod link;
pub mod nat;
mod plain;
pub mod routes;
pub mod underlay;
pub mod wireguard;

pub use ike_fuzz::Input;
