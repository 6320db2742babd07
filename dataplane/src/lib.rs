//! The relay's packet path.
