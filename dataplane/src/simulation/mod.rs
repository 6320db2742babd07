//! A seeded world: municipalities, clouds and cables around a real worker, on a virtual clock. Everything is deterministic but keys
//! and hash seeds, which nothing that is asserted depends on.
//!
//! | file | what is in it |
//! |---|---|
//! | `world` | what moves: time, frames, stations |
//! | `story` | what a test says to a world, and asks it |
//! | `laws` | what holds after every step |
//! | `plan` | the configuration: reloads, isolation |
//! | [`municipality`] | a tenant as most tests want it |
//! | [`office`] | a municipal router and the office behind it |
//! | [`stations`] | VLANs with their gateways |
//! | [`cable`] | cables with weather |
//! | [`canary`] | payloads that say whose they are |
//! | [`packets`] | packets as hosts make and read them |
//! | [`counts`] | all counters, and exact changes of them |

pub mod cable;
pub mod canary;
pub mod counts;
mod laws;
pub mod municipality;
pub mod office;
pub mod packets;
mod plan;
pub mod stations;
mod story;
mod world;

pub use cable::Weather;
pub use canary::Owner;
pub use counts::Counts;
pub use municipality::municipality;
pub use packets::{at, ip, network};
pub use plan::Plan;
pub use world::{Dimensions, World};
