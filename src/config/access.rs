//! Who may use the API.

use std::str::FromStr;

/// Who may use the API without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiAuth {
    /// Anyone; keys are not looked at.
    Off,
    /// Anyone who reads; who writes needs a key.
    Write,
    /// Nobody.
    All,
}

/// What `API_AUTH` says; nothing where it is blank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiAuthSetting(pub Option<ApiAuth>);

/// Not a word for who may use the API.
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
