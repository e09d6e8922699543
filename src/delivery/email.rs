//! E-mail by SMTP, each on a connection of its own.

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

use super::{Again, Undelivered};

/// How long a server may take to say goodbye, after it has taken a letter.
const GOODBYE: Duration = Duration::from_secs(5);

/// How e-mail gets to its server, and from whom to whom it goes.
#[derive(Clone, Debug)]
pub struct EmailConfig {
    /// Name or address of the SMTP server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who we are to it; anonymous if blank.
    pub user: String,
    /// Our password there.
    pub password: SecretString,
    /// How the connection is kept secret.
    pub encryption: Encryption,
    /// How long a delivery may take.
    pub timeout: Duration,
    /// The sender.
    pub from: String,
    /// Who is told of confirmed orders: addresses, comma-separated.
    pub to: String,
}

/// How a connection to an SMTP server is kept secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Not at all.
    None,
    /// By STARTTLS, and not without.
    StartTls,
    /// By TLS from the first byte.
    Tls,
}

/// Why e-mail cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum EmailError {
    /// The sender is no address.
    #[error("DEFAULT_FROM_EMAIL is no address such as `Shop <shop@example.com>`")]
    From,
    /// The receivers are no addresses.
    #[error(
        "CONFIRMATION_EMAIL_TO is no list of addresses such as `orders@example.com, Ann <ann@example.com>`"
    )]
    To,
    /// The server has no name.
    #[error("EMAIL_HOST is no name or address of a server such as smtp.example.com; its port is EMAIL_PORT")]
    Host,
}

/// A letter, in plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// What it is about, in a line.
    pub subject: String,
    /// What it says.
    pub text: String,
    /// Its date.
    pub date: DateTime<Utc>,
}

/// The one way that e-mail goes.
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
    /// Nothing is connected before the first letter.
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

    /// Sends a letter under an id that is the same with every attempt. The server's answer to its text acknowledges it.
    pub async fn send(&self, id: &str, letter: Letter) -> Result<(), Undelivered> {
        let message = self.message(id, letter).map_err(|error| Undelivered {
            reason: error.to_string(),
            again: Again::Never,
        })?;
        match tokio::time::timeout(self.timeout, self.hand_over(&message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(judge(&error)),
            Err(_) => Err(Undelivered::later(&format!(
                "the server did not take it within {} s",
                self.timeout.as_secs_f32()
            ))),
        }
    }

    /// Ends with the server's answer to the text. The transport of lettre waits for its goodbye too: a server that is slow
    /// to say it would be sent again what it has.
    async fn hand_over(&self, message: &Message) -> Result<(), SmtpError> {
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
            let _no_matter = tokio::time::timeout(GOODBYE, connection.quit()).await;
        });
        Ok(())
    }

    fn message(&self, id: &str, letter: Letter) -> Result<Message, lettre::error::Error> {
        let mut message = Message::builder()
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .from(self.from.clone())
            .subject(one_line(&letter.subject))
            .date(letter.date.into())
            .header(ContentType::TEXT_PLAIN);
        for receiver in self.to.iter() {
            message = message.to(receiver.clone());
        }
        message.body(letter.text)
    }
}

impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Email").finish_non_exhaustive()
    }
}

/// A text as one line: what a client called a product must not become a header, or a line of a letter.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}

fn judge(error: &SmtpError) -> Undelivered {
    // What a server says about who we are (535 and its like) is about our settings, which somebody may mend.
    let for_good = error.status().is_some_and(|code| {
        code.severity == Severity::PermanentNegativeCompletion && code.category != Category::Unspecified3
    });
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let said = error.to_string();
        if !reason.contains(&said) {
            reason = format!("{reason}: {said}");
        }
        cause = error.source();
    }
    Undelivered {
        reason: one_line(&reason),
        again: if for_good { Again::Never } else { Again::Later },
    }
}
