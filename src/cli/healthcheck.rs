//! `afforo healthcheck`

use std::{net::Ipv4Addr, time::Duration};

use clap::Args;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::Failure;
use crate::config::ListenSettings;

const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// What `afforo healthcheck` is told.
#[derive(Args, Debug)]
pub(super) struct Healthcheck {
    #[command(flatten)]
    listen: ListenSettings,
    /// Ask whether requests should be sent to it, rather than whether it answers
    #[arg(long)]
    ready: bool,
}

impl Healthcheck {
    pub async fn run(self) -> Result<(), Failure> {
        let mut address = self.listen.address();
        if address.ip().is_unspecified() {
            // A server that listens everywhere is asked here.
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        let path = if self.ready { "/health/ready/" } else { "/health/" };
        let asked = async {
            let mut connection = BufReader::new(TcpStream::connect(address).await?);
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            connection.write_all(request.as_bytes()).await?;
            let mut status = String::new();
            connection.read_line(&mut status).await?;
            Ok::<_, std::io::Error>(status)
        };
        match timeout(ANSWER_WITHIN, asked).await {
            Ok(Ok(status)) if status.starts_with("HTTP/1.1 200") => Ok(()),
            Ok(Ok(status)) => Err(format!("{address} answered {:?}", status.trim()).into()),
            Ok(Err(error)) => Err(format!("{address} does not answer: {error}").into()),
            Err(_) => Err(format!("{address} does not answer within {} s", ANSWER_WITHIN.as_secs()).into()),
        }
    }
}
