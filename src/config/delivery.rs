//! Delivery of confirmations. By default they are only logged.

use std::time::Duration;

use clap::Args;
use secrecy::SecretString;

use super::{boolean, secret, unset_if_blank};
use crate::delivery::{Email, EmailConfig, EmailError, Encryption, Webhook, WebhookError};

/// E-mail and webhooks about confirmed orders.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Delivery of confirmations")]
pub struct DeliverySettings {
    /// E-mail recipients for each confirmed order, comma-separated; off unless set
    #[arg(long, env = "CONFIRMATION_EMAIL_TO", default_value = "")]
    pub confirmation_email_to: String,

    /// SMTP server
    #[arg(long, env = "EMAIL_HOST", default_value = "localhost")]
    pub email_host: String,

    /// SMTP port; usually 587 with STARTTLS, 465 with TLS from the first byte
    #[arg(long, env = "EMAIL_PORT", default_value_t = 25, value_parser = clap::value_parser!(u16).range(1..))]
    pub email_port: u16,

    /// SMTP user; no login unless set
    #[arg(long, env = "EMAIL_HOST_USER", default_value = "")]
    pub email_host_user: String,

    /// SMTP password
    #[arg(long, env = "EMAIL_HOST_PASSWORD", hide_env_values = true, value_parser = secret)]
    pub email_host_password: Option<SecretString>,

    /// Whether to use STARTTLS
    #[arg(long, env = "EMAIL_USE_TLS", default_value = "False", value_parser = boolean, action = clap::ArgAction::Set)]
    pub email_use_tls: bool,

    /// Whether to use TLS from the first byte
    #[arg(long, env = "EMAIL_USE_SSL", default_value = "False", value_parser = boolean, action = clap::ArgAction::Set)]
    pub email_use_ssl: bool,

    /// Timeout of an e-mail in seconds, at most 18: a stopping worker waits 20
    #[arg(long, env = "EMAIL_TIMEOUT", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=18))]
    pub email_timeout: u16,

    /// Sender address of e-mail
    #[arg(long, env = "DEFAULT_FROM_EMAIL", default_value = "afforo@localhost")]
    pub default_from_email: String,

    /// URL of the webhook for confirmed orders, such as `https://shop.example.com/hooks`; off unless set
    #[arg(long, env = "WEBHOOK_URL", hide_env_values = true, value_parser = secret)]
    pub webhook_url: Option<SecretString>,

    /// Secret that signs webhooks: `whsec_` and 24 to 64 random bytes in base64
    #[arg(long, env = "WEBHOOK_SECRET", hide_env_values = true, value_parser = secret)]
    pub webhook_secret: Option<SecretString>,
}

/// Invalid delivery settings.
#[derive(Debug, thiserror::Error)]
pub enum DeliverySettingsError {
    /// Invalid e-mail settings.
    #[error(transparent)]
    Email(#[from] EmailError),
    /// STARTTLS and TLS from the first byte exclude each other.
    #[error("EMAIL_USE_TLS and EMAIL_USE_SSL exclude each other: set one of them")]
    BothEncryptions,
    /// Invalid webhook settings.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
}

impl DeliverySettings {
    /// The e-mail sender; `None` without recipients.
    pub fn email(&self) -> Result<Option<Email>, DeliverySettingsError> {
        if self.confirmation_email_to.trim().is_empty() {
            return Ok(None);
        }
        let encryption = match (self.email_use_tls, self.email_use_ssl) {
            (true, true) => return Err(DeliverySettingsError::BothEncryptions),
            (true, false) => Encryption::StartTls,
            (false, true) => Encryption::Tls,
            (false, false) => Encryption::None,
        };
        let email = Email::new(&EmailConfig {
            host: self.email_host.clone(),
            port: self.email_port,
            user: self.email_host_user.clone(),
            password: self
                .email_host_password
                .clone()
                .unwrap_or_else(|| SecretString::from("")),
            encryption,
            timeout: Duration::from_secs(self.email_timeout.into()),
            from: self.default_from_email.clone(),
            to: self.confirmation_email_to.clone(),
        })?;
        Ok(Some(email))
    }

    /// The webhook receiver; `None` without a URL.
    pub fn webhook(&self) -> Result<Option<Webhook>, DeliverySettingsError> {
        let (mut url, mut secret) = (self.webhook_url.clone(), self.webhook_secret.clone());
        unset_if_blank(&mut url);
        unset_if_blank(&mut secret);
        let Some(url) = url else { return Ok(None) };
        let secret = secret.ok_or(WebhookError::Secret)?;
        Ok(Some(Webhook::new(&url, &secret)?))
    }
}
