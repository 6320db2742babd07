//! The NIC drivers on real interfaces: veth pairs in a network namespace that each test makes for itself.
//!
//! A test runs itself again under `unshare`. AF_PACKET does so in a user namespace, without privileges; AF_XDP needs root.

mod drivers;
mod inspect;
mod offload;
mod queues;
mod scapy;
mod support;
mod tags;
mod takeover;
