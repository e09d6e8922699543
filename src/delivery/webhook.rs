//! Webhooks as <https://www.standardwebhooks.com> has them: an id, a time, and a signature over both and the body.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use http_body_util::Full;
use hyper::{
    HeaderMap, Request, StatusCode, Uri,
    body::Bytes,
    header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT},
    http::uri::Authority,
};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

use super::{Again, Undelivered, http};

/// From looking up the name to the head of the answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The one receiver of webhooks.
#[derive(Clone)]
pub struct Webhook {
    url: Uri,
    key: Arc<hmac::Key>,
    timeout: Duration,
}

/// Why a webhook cannot be set up. The values stay out of the message: both may be secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// Not an address that a webhook can go to.
    #[error(
        "WEBHOOK_URL is no URL such as https://shop.example.com/hooks, without user and password, on a port there is"
    )]
    Url,
    /// Nothing to sign with.
    #[error("WEBHOOK_SECRET is no `whsec_` with 24 to 64 bytes in base64 after it")]
    Secret,
}

impl Webhook {
    /// A receiver at a URL, which shares a secret with us: `whsec_` and base64.
    pub fn new(url: &SecretString, secret: &SecretString) -> Result<Self, WebhookError> {
        let url: Uri = url
            .expose_secret()
            .trim()
            .parse()
            .map_err(|_| WebhookError::Url)?;
        let fit = matches!(url.scheme_str(), Some("http" | "https"))
            && url.host().is_some_and(|host| !host.is_empty())
            && url
                .authority()
                .is_some_and(|authority| !authority.as_str().contains('@') && has_a_fit_port(authority));
        if !fit {
            return Err(WebhookError::Url);
        }
        let key = secret
            .expose_secret()
            .trim()
            .strip_prefix("whsec_")
            .and_then(|text| BASE64_STANDARD.decode(text).ok())
            .filter(|key| (24..=64).contains(&key.len()))
            .ok_or(WebhookError::Secret)?;
        Ok(Self {
            url,
            key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &key)),
            timeout: TIMEOUT,
        })
    }

    /// The same with another patience than 15 s.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sends a JSON body under an id that is the same with every attempt, at the time `now`. Any status of 200 to 299
    /// acknowledges it.
    pub async fn send(&self, id: &str, now: DateTime<Utc>, body: Vec<u8>) -> Result<(), Undelivered> {
        let request = self
            .request(id, now.timestamp(), body)
            .map_err(|error| Undelivered::later(&error))?;
        let answer = tokio::time::timeout(self.timeout, http::send(&self.url, request))
            .await
            .map_err(|_| Undelivered::later(&format!("no answer within {} s", self.timeout.as_secs_f32())))?
            .map_err(|error| Undelivered::later(&error))?;
        judge(answer.status, &answer.headers, now)
    }

    fn request(&self, id: &str, timestamp: i64, body: Vec<u8>) -> hyper::http::Result<Request<Full<Bytes>>> {
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let host = self.url.authority().map_or("", |authority| authority.as_str());
        Request::post(path)
            .header(HOST, host)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("afforo/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", self.signature(id, timestamp, &body))
            .body(Full::from(body))
    }

    fn signature(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut signed = hmac::Context::with_key(&self.key);
        signed.update(format!("{id}.{timestamp}.").as_bytes());
        signed.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(signed.sign()))
    }
}

/// Whether a port is either not named, or one that there is: any other text would be read as none.
fn has_a_fit_port(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    port == Some("") || authority.port_u16().is_some_and(|port| port > 0)
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

fn judge(status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Result<(), Undelivered> {
    if status.is_success() {
        return Ok(());
    }
    let again = match status {
        // The receiver wants no more of it, ever.
        StatusCode::GONE => Again::Never,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => headers
            .get(RETRY_AFTER)
            .and_then(|value| retry_after(value.to_str().ok()?, now))
            .map_or(Again::Later, Again::After),
        _ => Again::Later,
    };
    let not_followed = if status.is_redirection() {
        ", and redirects are not followed"
    } else {
        ""
    };
    Err(Undelivered {
        reason: format!("the receiver answered {}{not_followed}", status.as_u16()),
        again,
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
    fn the_signature_is_that_of_the_specification() {
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
    fn only_addresses_and_secrets_that_can_be_used_are_taken() {
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
            "https://example.com:",
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
    fn a_receiver_says_when_in_seconds_or_as_a_date() {
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
