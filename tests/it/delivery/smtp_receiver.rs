//! An SMTP server: it records every message, and behaves as scripted.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// How the server treats a connection.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    /// It answers the recipient with this reply.
    Recipient(&'static str),
    /// It answers the text with this reply.
    Text(&'static str),
    /// It answers a login with this reply.
    Login(&'static str),
    /// It sends nothing.
    Hang,
    /// It accepts the message, but does not answer `QUIT`.
    NoGoodbye,
    /// It reads the text and closes the connection without a reply.
    DropAfterText,
}

pub struct SmtpReceiver {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// Every message that was sent, accepted or not.
    letters: Vec<String>,
    commands: Vec<String>,
    script: Vec<Manner>,
}

impl SmtpReceiver {
    /// Starts a server that treats one connection after the other as scripted, and later ones normally.
    pub async fn start(mut script: Vec<Manner>) -> Self {
        script.reverse();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::new(Mutex::new(Seen {
                script,
                ..Seen::default()
            })),
        };
        let seen = receiver.seen.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let manner = seen.lock().unwrap().script.pop();
                tokio::spawn(serve(connection, manner, seen.clone()));
            }
        });
        receiver
    }

    pub fn letters(&self) -> Vec<String> {
        self.seen.lock().unwrap().letters.clone()
    }

    pub fn commands(&self) -> Vec<String> {
        self.seen.lock().unwrap().commands.clone()
    }
}

async fn serve(connection: TcpStream, manner: Option<Manner>, seen: Arc<Mutex<Seen>>) -> Option<()> {
    let mut connection = BufReader::new(connection);
    if matches!(manner, Some(Manner::Hang)) {
        let _ = connection.read(&mut [0]).await;
        return None;
    }
    say(&mut connection, "220 tests").await?;
    loop {
        let command = line(&mut connection).await?;
        seen.lock().unwrap().commands.push(command.clone());
        let verb = command.split([' ', ':']).next()?.to_ascii_uppercase();
        let answer = match (verb.as_str(), manner) {
            ("EHLO", _) => "250-tests\r\n250 AUTH PLAIN",
            ("AUTH", Some(Manner::Login(answer))) | ("RCPT", Some(Manner::Recipient(answer))) => answer,
            ("AUTH", _) => "235 welcome",
            ("DATA", _) => {
                say(&mut connection, "354 go on").await?;
                let mut text = String::new();
                loop {
                    match line(&mut connection).await?.as_str() {
                        "." => break,
                        line => text = text + line + "\n",
                    }
                }
                seen.lock().unwrap().letters.push(text);
                match manner {
                    Some(Manner::DropAfterText) => return None,
                    Some(Manner::Text(answer)) => answer,
                    _ => "250 taken",
                }
            }
            ("QUIT", Some(Manner::NoGoodbye)) => {
                let _ = connection.read(&mut [0]).await;
                return None;
            }
            ("QUIT", _) => {
                say(&mut connection, "221 bye").await?;
                return None;
            }
            _ => "250 fine",
        };
        say(&mut connection, answer).await?;
    }
}

async fn say(connection: &mut BufReader<TcpStream>, text: &str) -> Option<()> {
    connection.write_all(format!("{text}\r\n").as_bytes()).await.ok()
}

async fn line(connection: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let read = connection.read_line(&mut line).await.ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}
