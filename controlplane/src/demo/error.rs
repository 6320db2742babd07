//! What can go wrong while the demo builds its little world.

use std::io;

/// A failure of a building block. Every message says what was being done, or what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A system call or a file operation failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, with the names of the things it was done to.
        doing: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The kernel's settings do not let this user make namespaces; the text names the setting and the way out.
    #[error("{0}")]
    Refused(String),
    /// An argument or a peer was not as it has to be.
    #[error("{0}")]
    Invalid(String),
}

/// Adds to an I/O error what was being done when it came up.
pub(crate) trait Context<T> {
    /// `doing` is a phrase such as "add address 192.0.2.1/24 to access0".
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, DemoError>;
}

impl<T> Context<T> for io::Result<T> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, DemoError> {
        self.map_err(|source| DemoError::Io { doing: doing(), source })
    }
}

/// The result of a system call that reports failure by a negative number.
pub(crate) fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
