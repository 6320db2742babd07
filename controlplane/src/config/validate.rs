//! What values mean to each other, across files and tenants.
use super::problem::Problems;
use super::{Files, Purpose};

/// IPv4 header 20, UDP header 8, WireGuard data header 16, authentication tag 16.
pub(super) const WIREGUARD_OVERHEAD_BYTES: u16 = 60;

pub(super) fn validate(_files: &Files, _purpose: Purpose, _problems: &mut Problems) {}
