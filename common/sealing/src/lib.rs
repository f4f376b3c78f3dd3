//! The credentials of connections, sealed: whoever reads the database, a backup or a log finds bytes that only the
//! configured key opens.
//!
//! [`Keyring`] seals and opens; [`Sealed`] is what is stored, [`Bound`] where it may go; [`Redactor`] takes secrets out of
//! what an upstream sent back. The store knows sealed bytes only: credentials are sealed where they are given, and opened where they are used.

mod key;
mod keyring;
mod redact;
mod tls;

pub use key::{Key, KeyError, KeyId};
pub use keyring::{Bound, CannotOpen, CannotSeal, Keyring, Sealed};
pub use redact::{MOST_TEXTS, Redactor, check};
pub use tls::install_tls_provider;
