//! Who may do what: scopes and stores, the grants that hold them, the keys of programs and the accounts of people.

pub mod account;
pub mod api_key;
pub mod attempt;
mod failures;
mod grant;
mod key_lookup;
mod keyring;
pub mod login;
mod login_audit;
pub mod password;
pub mod register;
mod role;
mod scope;
mod secret;
pub mod session;
pub mod setup;
mod throttle_cache;

pub use crate::audit::Actor;
pub use account::{Account, AccountFields};
pub use failures::Failures;
pub use grant::{Grant, Stores};
pub use keyring::{KeyError, Keyring};
pub use password::{HashError, PasswordHash};
pub use role::{NotARole, Role};
pub use scope::{Area, NotAScope, Scope, Scopes};
pub use secret::Secret;
pub use session::{Token, TokenHash};
use throttle_cache::ThrottleCache;
