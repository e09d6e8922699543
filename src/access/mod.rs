//! Who may do what: scopes and stores, the actors that hold them, the keys of programs and the accounts of people.

mod grant;
mod scope;
mod secret;

pub use grant::{Grant, Stores, Who};
pub use scope::{NotAScope, Scope, Scopes};
pub use secret::Secret;
