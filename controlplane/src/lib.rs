//! Control plane.
pub mod demo;
