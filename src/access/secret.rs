//! Keys for what is signed, each derived from `SECRET_KEY` for one purpose.

use ring::{
    hkdf::{HKDF_SHA256, Salt},
    hmac,
};
use secrecy::{ExposeSecret, SecretString};

/// `SECRET_KEY`, for purposes. Whoever changes it ends all sessions and invalidates all API keys.
#[derive(Clone, Debug)]
pub struct Secret(SecretString);

impl Secret {
    /// Derives from this text.
    #[must_use]
    pub fn new(secret_key: SecretString) -> Self {
        Self(secret_key)
    }

    /// A key that is like no other but that of the same purpose.
    #[must_use]
    pub fn hmac(&self, purpose: &'static str) -> hmac::Key {
        let salt = Salt::new(HKDF_SHA256, b"afforo");
        let extracted = salt.extract(self.0.expose_secret().as_bytes());
        let mut derived = [0; 32];
        extracted
            .expand(&[purpose.as_bytes()], HKDF_SHA256)
            .and_then(|expanded| expanded.fill(&mut derived))
            .expect("as long as a SHA-256");
        hmac::Key::new(hmac::HMAC_SHA256, &derived)
    }
}
