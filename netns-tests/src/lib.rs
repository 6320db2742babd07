//! The relay among real peers, in network namespaces: what the tests under `tests/` are told with.
//!
//! | room | what is in it |
//! |---|---|
//! | [`plan`] | a municipality's addresses and rules, and its YAML |
//! | [`topology`] | namespaces and cables around the relay |
//! | [`router`], [`strongswan`] | wireguard-go and charon as municipal routers |
//! | [`cloud`] | nginx, iperf3, a name server; the office's printer |
//! | [`relay`] | the running relay and its command line |
//! | [`hall`] | a second relay as a municipal router |
//! | [`traffic`] | curl, ping, iperf3 and queries, as office hosts and cloud hosts use them |
//! | [`capture`], [`canary`] | what really was on a cable |
//! | [`process`], [`keys`] | programs with deadlines; WireGuard keys |

pub mod canary;
pub mod capture;
pub mod cloud;
pub mod hall;
pub mod keys;
pub mod plan;
pub mod process;
pub mod relay;
pub mod router;
pub mod strongswan;
pub mod topology;
pub mod traffic;
