//! IKEv2 (RFC 7296), responder and initiator, as a sans-IO library: datagrams, events and `now` go in; datagrams, Diffie-Hellman
//! jobs and SAs come out as [`Effect`]s. There is no socket, clock, thread or log line in here.
//!
//! ```text
//! datagram, event, tick --> Engine --> next_effect(): Send | DiffieHellman | Install | SwitchOutbound | CloseOutbound | Remove | ...
//!                              ^                                  |              |
//!                              +------ dh_done(), sa_installed() -+--------------+
//! ```
//!
//! | room | what is in it |
//! |---|---|
//! | [`engine`] | the tables of peers and SAs; every way in and the one way out |
//! | `exchange` | the exchanges of RFC 7296, a room each |
//! | `sa` | one IKE SA: message ids and retransmission, and its Child SAs |
//! | [`config`] | what a peer may do: identities, authentication, policy, networks, lifetimes |
//! | [`identity`] | identities as IKE carries them (RFC 7296 3.5) |
//! | [`secret`] | pre-shared keys and other bytes that are wiped |
//! | [`certificate`] | proof by X.509: the relay's own certificate and the authorities it trusts |
//! | [`message`] | octets <-> messages: payloads, protection, fragments |
//! | [`transforms`] | the algorithms of an SA and their numbers |
//! | [`policy`] | which algorithms a tenant may use |
//! | [`proposals`] | what is offered and accepted, narrower than the policy |
//! | [`selectors`] | narrowing to the tenant's prefixes |
//! | [`half_open`], [`cookie`] | limits on strangers |
//! | [`dh`] | Diffie-Hellman as a task to run elsewhere |
//! | [`key_schedule`] | from a shared secret to the keys of IKE SAs and Child SAs |
//! | [`auth`] | what an AUTH payload covers, and its proof by a pre-shared key |
//! | [`cipher`] | what protects SK payloads |
//! | [`effect`] | what the engine wants done |
//! | [`failure`] | every reason why a negotiation fails, with words and remedy |
//! | [`status`] | what people see: state, suite, last negotiation |
//! | [`counters`] | what machines see |
//! | [`time`] | instants since the start; no clock |
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod auth;
pub mod certificate;
pub mod cipher;
pub mod config;
pub mod cookie;
pub mod counters;
pub mod dh;
pub mod effect;
pub mod engine;
mod exchange;
pub mod failure;
pub mod half_open;
pub mod identity;
pub mod key_schedule;
pub mod message;
pub mod policy;
mod prf;
pub mod proposals;
mod sa;
pub mod secret;
pub mod selectors;
pub mod status;
#[cfg(test)]
mod test_hex;
pub mod time;
pub mod transforms;

pub use config::{Authentication, Config, Endpoint, Initiate, NatT, PeerAddress, PeerConfig, PeerName, SpiSource};
pub use counters::Counters;
pub use dh::{DhOutcome, DhTask};
pub use effect::{
    ChildSa, Closed, DhJobId, Effect, Encapsulation, EspCipher, EspIntegrity, InstallId, InstallRefused, Lifetime, LocalPort, OutboundUse,
    Report, Selector,
};
pub use engine::Engine;
pub use failure::Failure;
pub use identity::Identity;
pub use policy::CryptoPolicy;
pub use proposals::Proposals;
pub use secret::{Psk, Secret};
pub use status::{ChildStatus, IkeStatus, LastError, Negotiation, PeerState, PeerStatus};
pub use time::Instant;
