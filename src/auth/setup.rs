//! The link that creates the first account. It is signed, and valid for a day while no account exists.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use sqlx::PgExecutor;

use super::Secret;

/// Validity of a link in seconds.
const GOOD_FOR: i64 = 24 * 60 * 60;
const PURPOSE: &str = "set-up link";

/// The token of a new link; `None` if an account exists.
pub async fn token(db: impl PgExecutor<'_>, secret: &Secret) -> sqlx::Result<Option<String>> {
    let now = now_without_accounts(db).await?;
    Ok(now.map(|now| token_at(secret, now)))
}

/// Whether a token allows creating the first account.
pub async fn is_open(db: impl PgExecutor<'_>, secret: &Secret, token: &str) -> sqlx::Result<bool> {
    let now = now_without_accounts(db).await?;
    Ok(now.is_some_and(|now| is_good(secret, token, now)))
}

/// The time in seconds since 1970, while no account exists.
async fn now_without_accounts(db: impl PgExecutor<'_>) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        r#"select extract(epoch from now())::bigint as "now!" where not exists (select from account)"#
    )
    .fetch_optional(db)
    .await
}

fn token_at(secret: &Secret, now: i64) -> String {
    let until = (now + GOOD_FOR).to_string();
    let signature = hmac::sign(&secret.hmac(PURPOSE), until.as_bytes());
    format!("{until}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn is_good(secret: &Secret, token: &str, now: i64) -> bool {
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
    fn setup_token_is_valid_for_one_day_and_one_secret() {
        let secret = Secret::new("ours".into());
        let token = token_at(&secret, 1000);
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
