//! Which API requests need a key.

use std::str::FromStr;

/// Which API requests need a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiAuth {
    /// None. Keys are ignored.
    Off,
    /// Writes.
    Write,
    /// All.
    All,
}

/// The value of `API_AUTH`; none if it is blank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiAuthSetting(pub Option<ApiAuth>);

/// An unknown value of `API_AUTH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected off, write or all")]
pub struct NotAnApiAuth;

impl FromStr for ApiAuthSetting {
    type Err = NotAnApiAuth;

    fn from_str(text: &str) -> Result<Self, NotAnApiAuth> {
        Ok(Self(match text.trim().to_ascii_lowercase().as_str() {
            "" => None,
            "off" => Some(ApiAuth::Off),
            "write" => Some(ApiAuth::Write),
            "all" => Some(ApiAuth::All),
            _ => return Err(NotAnApiAuth),
        }))
    }
}
