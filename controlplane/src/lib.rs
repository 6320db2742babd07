//! The control plane of the relay: configuration, API, metrics, command line, demo.
//!
//! | room | what is in it |
//! |---|---|
//! | [`config`] | YAML files -> typed model, or every problem at once |
//! | [`setup`], [`compile`] | an accepted configuration, and what workers read of it |
//! | [`run`], [`ports`] | start-up, signals, shutdown |
//! | [`launcher`] | the one process with privileges: opens ports, waits, restores |
//! | [`hardening`] | what the relay's process takes from itself |
//! | [`relay`] | the running relay: cut-offs, validity, liveness |
//! | [`reload`] | reading the files again, all or nothing |
//! | [`isolation`], [`peers`], [`port_half`] | what outlives a restart |
//! | [`registry`] | the counters, which outlive every reload |
//! | [`workers`] | the rings to the workers |
//! | [`ipsec`] | key exchange for IPsec tunnels |
//! | [`api`] | questions and changes over a unix socket |
//! | [`metrics`], [`metrics_server`] | what Prometheus scrapes |
//! | [`cli`] | commands, tables |
//! | [`doctor`] | what a machine is judged by |
//! | [`logging`], [`sd_notify`] | what collectors and systemd are told |
//! | [`clock`], [`durable_file`] | the one reading of the wall clock; files that a crash leaves whole |
//! | [`demo`] | three municipalities on one machine |
//! | [`generate`] | a whole country as a configuration, for load tests |

pub mod api;
#[cfg(test)]
mod attempts;
pub mod cli;
pub mod clock;
pub mod compile;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod durable_file;
pub mod generate;
pub mod hardening;
pub mod ipsec;
pub mod isolation;
pub mod launcher;
pub mod logging;
pub mod metrics;
pub mod metrics_server;
pub mod peers;
pub mod port_half;
pub mod ports;
pub mod registry;
pub mod relay;
pub mod reload;
pub mod run;
pub mod sd_notify;
pub mod setup;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod workers;
