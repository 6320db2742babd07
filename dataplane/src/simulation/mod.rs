//! A seeded world: municipalities, clouds and cables around a real worker, on a virtual clock. Everything is deterministic but keys
//! and hash seeds, which nothing that is asserted depends on.
//!
//! | file | what is in it |
//! |---|---|
//! | `world` | what moves: time, frames, stations |
//! | `arrivals` | where what the relay sends arrives |
//! | `story` | what a test says to a world, and asks it |
//! | `laws` | what holds after every step |
//! | [`plan`] | the configuration: reloads, isolation |
//! | [`relay`] | the workers and the far ends of their NICs |
//! | [`municipality`] | a tenant as most tests want it |
//! | [`office`] | a municipal router and the office behind it |
//! | `wireguard_router`, [`esp_router`] | what such a router speaks |
//! | [`key_exchange`] | the control plane's part with IPsec, played by hand |
//! | [`stations`] | VLANs with their gateways |
//! | [`cable`] | cables with weather |
//! | [`faults`] | what goes wrong besides: NICs, clocks, processes, circuits |
//! | [`canary`] | payloads that say whose they are |
//! | [`packets`] | packets as hosts make and read them |
//! | [`packets6`] | the same of IPv6 |
//! | [`fragments`] | packets in fragments, and how a host puts them together |
//! | [`counts`] | all counters, and exact changes of them |

mod arrivals;
pub mod cable;
pub mod canary;
pub mod counts;
pub mod esp_router;
pub mod faults;
pub mod fragments;
pub mod key_exchange;
mod laws;
pub mod municipality;
pub mod office;
pub mod packets;
pub mod packets6;
pub mod plan;
pub mod relay;
pub mod stations;
mod story;
mod wireguard_router;
mod world;

pub use cable::Weather;
pub use canary::Owner;
pub use counts::Counts;
pub use faults::Down;
pub use municipality::{ipsec_municipality, municipality};
pub use packets::{at, ip, network};
pub use packets6::{at6, ip6};
pub use plan::Plan;
pub use relay::Dimensions;
pub use wireguard_router::advance_clock;
pub use world::{Recorded, World};
