//! Access: scopes, stores and grants, API keys for programs, accounts and sessions for people.

pub mod account;
pub mod accounts;
pub mod api_key;
mod client_info;
mod grant;
mod key_lookup;
mod keyring;
pub mod login;
mod login_audit;
pub mod login_throttle;
pub mod password;
mod role;
mod scope;
mod secret;
pub mod session;
pub mod setup;
mod throttle_cache;

pub use crate::audit::Actor;
pub use account::{Account, AccountFields};
pub use client_info::ClientInfo;
pub use grant::{Grant, Stores};
pub use keyring::{KeyError, Keyring};
pub use password::{HashError, PasswordHash};
pub use role::{NotARole, Role};
pub use scope::{Area, NotAScope, Scope, Scopes};
pub use secret::Secret;
pub use session::{Token, TokenHash};
use throttle_cache::ThrottleCache;
