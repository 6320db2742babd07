//! What the two routes do to packets, told as stories of a simulated world. Every test demands the exact change of all counters.
#![cfg(feature = "simulation")]

mod translation;
