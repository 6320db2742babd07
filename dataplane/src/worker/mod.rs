//! The worker: the loop that owns NICs, tenants and tables.

pub mod control;
