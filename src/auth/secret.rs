//! Keys derived from `SECRET_KEY`, one for each purpose.

use ring::{
    hkdf::{HKDF_SHA256, KeyType, Salt},
    hmac,
};
use secrecy::{ExposeSecret, SecretString};

/// The secret key. Changing it ends all sessions and invalidates all API keys.
#[derive(Clone, Debug)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps the secret key.
    pub fn new(secret_key: SecretString) -> Self {
        Self(secret_key)
    }

    /// The HMAC key of a purpose.
    pub fn hmac(&self, purpose: &'static str) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.bytes::<32>(purpose))
    }

    /// Bytes derived for a purpose.
    pub fn bytes<const N: usize>(&self, purpose: &'static str) -> [u8; N] {
        let salt = Salt::new(HKDF_SHA256, b"afforo");
        let extracted = salt.extract(self.0.expose_secret().as_bytes());
        let mut derived = [0; N];
        extracted
            .expand(&[purpose.as_bytes()], Length(N))
            .and_then(|expanded| expanded.fill(&mut derived))
            .expect("no key is as long as 255 hashes");
        derived
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
