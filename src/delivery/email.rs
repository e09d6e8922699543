//! E-mail by SMTP, with one connection for each message.

use std::time::Duration;

use chrono::{DateTime, Utc};
use lettre::{
    Message,
    message::{Mailbox, Mailboxes, header::ContentType},
    transport::smtp::{
        Error as SmtpError,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, Tls, TlsParameters},
        extension::ClientId,
        response::{Category, Severity},
    },
};
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};

use super::DeliveryError;
use crate::error_chain;

/// How long the server may take to answer QUIT after it accepted a message.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);

/// SMTP server, sender and recipients.
#[derive(Clone, Debug)]
pub struct EmailConfig {
    /// Name or address of the SMTP server.
    pub host: String,
    /// Port of the server.
    pub port: u16,
    /// User name; no login if blank.
    pub user: String,
    /// Password of the user.
    pub password: SecretString,
    /// Encryption of the connection.
    pub encryption: Encryption,
    /// Timeout of a delivery.
    pub timeout: Duration,
    /// Sender address.
    pub from: String,
    /// Recipient addresses, comma-separated.
    pub to: String,
}

/// Encryption of a connection to an SMTP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// None.
    None,
    /// Required STARTTLS.
    StartTls,
    /// TLS from the first byte.
    Tls,
}

/// Why e-mail cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum EmailError {
    /// The sender is not an address.
    #[error("DEFAULT_FROM_EMAIL must be an address such as `Shop <shop@example.com>`")]
    From,
    /// The recipients are not addresses.
    #[error(
        "CONFIRMATION_EMAIL_TO must be a list of addresses such as `orders@example.com, Ann <ann@example.com>`"
    )]
    To,
    /// The server name is not usable.
    #[error(
        "EMAIL_HOST must be the name or address of a server such as smtp.example.com; set its port in EMAIL_PORT"
    )]
    Host,
}

/// A plain-text message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailMessage {
    /// The subject line.
    pub subject: String,
    /// The text.
    pub text: String,
    /// The `Date` header.
    pub date: DateTime<Utc>,
}

/// Sends e-mail through one SMTP server.
#[derive(Clone)]
pub struct Email {
    server: (String, u16),
    tls: Tls,
    credentials: Option<Credentials>,
    from: Mailbox,
    to: Mailboxes,
    timeout: Duration,
}

impl Email {
    /// Connects only when a message is sent.
    pub fn new(config: &EmailConfig) -> Result<Self, EmailError> {
        let from: Mailbox = config.from.trim().parse().map_err(|_| EmailError::From)?;
        let to: Mailboxes = config.to.trim().parse().map_err(|_| EmailError::To)?;
        let host = config.host.trim().to_owned();
        ServerName::try_from(host.as_str()).map_err(|_| EmailError::Host)?;
        let tls = || TlsParameters::new(host.clone()).map_err(|_| EmailError::Host);
        let tls = match config.encryption {
            Encryption::None => Tls::None,
            Encryption::StartTls => Tls::Required(tls()?),
            Encryption::Tls => Tls::Wrapper(tls()?),
        };
        let credentials = (!config.user.is_empty()).then(|| {
            let password = config.password.expose_secret().to_owned();
            Credentials::new(config.user.clone(), password)
        });
        Ok(Self {
            server: (host, config.port),
            tls,
            credentials,
            from,
            to,
            timeout: config.timeout,
        })
    }

    /// Sends a message. `id` is the same for every attempt. The server's answer to DATA acknowledges it.
    pub async fn send(&self, id: &str, message: EmailMessage) -> Result<(), DeliveryError> {
        let message = self.message(id, message);
        let message = message.map_err(|error| DeliveryError::never(&error))?;
        match tokio::time::timeout(self.timeout, self.transmit(&message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(classify(&error)),
            Err(_) => Err(DeliveryError::later(&format!(
                "the server did not take it within {} s",
                self.timeout.as_secs_f32()
            ))),
        }
    }

    /// Ends with the server's answer to DATA. The transport of lettre also waits for the answer to QUIT: if that is slow,
    /// an accepted message would be sent again.
    async fn transmit(&self, message: &Message) -> Result<(), SmtpError> {
        let us = ClientId::default();
        let wrapper = match &self.tls {
            Tls::Wrapper(tls) => Some(tls.clone()),
            _ => None,
        };
        let server = (self.server.0.as_str(), self.server.1);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, Some(self.timeout), &us, wrapper, None).await?;
        if let Tls::Required(tls) = &self.tls {
            connection.starttls(tls.clone(), &us).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        connection.send(message.envelope(), &message.formatted()).await?;
        tokio::spawn(async move {
            let _ignored = tokio::time::timeout(QUIT_TIMEOUT, connection.quit()).await;
        });
        Ok(())
    }

    fn message(&self, id: &str, email: EmailMessage) -> Result<Message, lettre::error::Error> {
        let mut message = Message::builder()
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .from(self.from.clone())
            .subject(one_line(&email.subject))
            .date(email.date.into())
            .header(ContentType::TEXT_PLAIN);
        for receiver in self.to.iter() {
            message = message.to(receiver.clone());
        }
        message.body(email.text)
    }
}

impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Email").finish_non_exhaustive()
    }
}

/// A text as one line, so that a name from a client cannot add a header or a line.
pub fn one_line(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}

fn classify(error: &SmtpError) -> DeliveryError {
    // Errors about the login, such as 535, concern the settings, which an operator may correct.
    let for_good = error.status().is_some_and(|code| {
        code.severity == Severity::PermanentNegativeCompletion && code.category != Category::Unspecified3
    });
    let reason = one_line(&error_chain::text(error));
    if for_good {
        DeliveryError::never(&reason)
    } else {
        DeliveryError::later(&reason)
    }
}
