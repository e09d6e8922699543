//! Webhooks by <https://www.standardwebhooks.com>: an id, a timestamp, and a signature over both and the body.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use reqwest::{
    Client, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

use super::{DeliveryError, RetryPolicy};
use crate::http_client;

/// From the DNS lookup to the headers of the response.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The receiver of webhooks.
#[derive(Clone)]
pub struct Webhook {
    client: Client,
    url: Url,
    key: Arc<hmac::Key>,
    timeout: Duration,
}

/// Why a webhook cannot be set up. The text has no values, because both may be secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The URL is not usable.
    #[error(
        "WEBHOOK_URL must be a URL such as https://shop.example.com/hooks, without user, password and port 0"
    )]
    Url,
    /// The TLS library cannot be set up.
    #[error("the HTTP client for webhooks cannot be set up")]
    Client,
    /// The secret is not usable.
    #[error("WEBHOOK_SECRET must be `whsec_` and 24 to 64 bytes in base64")]
    Secret,
}

impl Webhook {
    /// A receiver at `url` that shares `secret`: `whsec_` and base64.
    pub fn new(url: &SecretString, secret: &SecretString) -> Result<Self, WebhookError> {
        let url = Url::parse(url.expose_secret().trim())
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.port() != Some(0))
            .filter(|url| url.username().is_empty() && url.password().is_none())
            .ok_or(WebhookError::Url)?;
        let key = secret
            .expose_secret()
            .trim()
            .strip_prefix("whsec_")
            .and_then(|text| BASE64_STANDARD.decode(text).ok())
            .filter(|key| (24..=64).contains(&key.len()))
            .ok_or(WebhookError::Secret)?;
        // Each message has its own connection: a receiver may close an idle one just as it is used again.
        let client = http_client::builder().pool_max_idle_per_host(0).build();
        Ok(Self {
            client: client.map_err(|_| WebhookError::Client)?,
            url,
            key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &key)),
            timeout: TIMEOUT,
        })
    }

    /// Sets the timeout of a request; 15 s by default.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sends a JSON body. `id` is the same for every attempt. A status of 200 to 299 acknowledges it.
    pub async fn send(&self, id: &str, now: DateTime<Utc>, body: Vec<u8>) -> Result<(), DeliveryError> {
        let timestamp = now.timestamp();
        let request = self
            .client
            .post(self.url.clone())
            .timeout(self.timeout)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", self.signature(id, timestamp, &body))
            .body(body);
        match request.send().await {
            // The body is not read: the status decides.
            Ok(response) => classify(response.status(), response.headers(), now),
            Err(error) if error.is_timeout() => Err(DeliveryError::later(&format!(
                "no answer within {} s",
                self.timeout.as_secs_f32()
            ))),
            Err(error) => Err(DeliveryError::later(&http_client::reason(error))),
        }
    }

    fn signature(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut signed = hmac::Context::with_key(&self.key);
        signed.update(format!("{id}.{timestamp}.").as_bytes());
        signed.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(signed.sign()))
    }
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

fn classify(status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Result<(), DeliveryError> {
    if status.is_success() {
        return Ok(());
    }
    let retry = match status {
        // The receiver never wants this message again.
        StatusCode::GONE => RetryPolicy::Never,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => headers
            .get(RETRY_AFTER)
            .and_then(|value| retry_after(value.to_str().ok()?, now))
            .map_or(RetryPolicy::Later, RetryPolicy::After),
        _ => RetryPolicy::Later,
    };
    let not_followed = if status.is_redirection() {
        ", and redirects are not followed"
    } else {
        ""
    };
    Err(DeliveryError {
        reason: format!("the receiver answered {}{not_followed}", status.as_u16()),
        retry,
    })
}

/// Seconds, or a date.
fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text.trim()).ok()?;
    (date.to_utc() - now).to_std().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(url: &str, secret: &str) -> Result<Webhook, WebhookError> {
        Webhook::new(&url.into(), &secret.into())
    }

    #[test]
    fn signature_matches_the_reference_example() {
        // The example of the reference implementations.
        let webhook = webhook("https://example.com", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(
            webhook.signature(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                br#"{"test": 2432232314}"#
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn unusable_urls_and_secrets_are_refused() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        for url in [
            "http://127.0.0.1:8080/hook?key=1",
            "https://[::1]/",
            "https://[::1]:8443/",
            "https://example.com:65535",
            "https://example.com",
        ] {
            assert!(webhook(url, secret).is_ok(), "{url}");
        }
        for url in [
            "",
            "example.com",
            "/hook",
            "ftp://example.com/",
            "https://user:hunter2@example.com/",
            "https://example.com:0/",
            "https://example.com:65536/",
            "https://[::1]:99999/",
        ] {
            assert_eq!(webhook(url, secret).unwrap_err(), WebhookError::Url, "{url}");
        }
        for secret in [
            "",
            "hunter2",
            "whsec_",
            "whsec_c2hvcnQ=",
            "whsec_no base64 at all, but long enough",
        ] {
            assert_eq!(
                webhook("https://example.com", secret).unwrap_err(),
                WebhookError::Secret
            );
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = DateTime::parse_from_rfc3339("2026-03-01T12:00:00Z")
            .unwrap()
            .to_utc();
        assert_eq!(retry_after("120", now), Some(Duration::from_mins(2)));
        assert_eq!(
            retry_after("Sun, 01 Mar 2026 12:01:00 GMT", now),
            Some(Duration::from_mins(1))
        );
        for text in ["", "soon", "-5", "Sun, 01 Mar 2026 11:59:00 GMT"] {
            assert_eq!(retry_after(text, now), None, "{text}");
        }
    }
}
