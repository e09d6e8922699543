//! The link by which the first account is made: it is signed, and good for a day, while there is no account.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;

use super::Secret;

/// Seconds for which a link is good.
const GOOD_FOR: i64 = 24 * 60 * 60;
const PURPOSE: &str = "set-up link";

/// The token of a link that is made at `now`, in seconds since 1970.
#[must_use]
pub fn token(secret: &Secret, now: i64) -> String {
    let until = (now + GOOD_FOR).to_string();
    let signature = hmac::sign(&secret.hmac(PURPOSE), until.as_bytes());
    format!("{until}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Whether this is the token of a link that is still good at `now`.
#[must_use]
pub fn is_good(secret: &Secret, token: &str, now: i64) -> bool {
    let Some((until, signature)) = token.split_once('.') else {
        return false;
    };
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else {
        return false;
    };
    let is_signed = hmac::verify(&secret.hmac(PURPOSE), until.as_bytes(), &signature).is_ok();
    is_signed && until.parse::<i64>().is_ok_and(|until| now < until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_good_for_a_day_and_for_nobody_elses_secret() {
        let secret = Secret::new("ours".into());
        let token = token(&secret, 1000);
        assert!(is_good(&secret, &token, 1000) && is_good(&secret, &token, 1000 + GOOD_FOR - 1));
        assert!(!is_good(&secret, &token, 1000 + GOOD_FOR));
        assert!(!is_good(&Secret::new("theirs".into()), &token, 1000));
        let (until, signature) = token.split_once('.').unwrap();
        for forged in [
            format!("9{until}.{signature}"),
            until.to_owned(),
            format!("{until}."),
            String::new(),
        ] {
            assert!(!is_good(&secret, &forged, 1000), "{forged}");
        }
    }
}
