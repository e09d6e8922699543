//! Who may do what: scopes and stores, the grants that hold them, the keys of programs and the accounts of people.

pub mod api_key;
mod failures;
mod grant;
mod keyring;
mod scope;
mod secret;

pub use crate::audit::Who;
pub use failures::Failures;
pub use grant::{Grant, Stores};
pub use keyring::{Keyring, Refused};
pub use scope::{Area, NotAScope, Scope, Scopes};
pub use secret::Secret;
