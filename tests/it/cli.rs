//! The command line of the real program.

mod accounts;
mod apikey;
mod check;
mod clear;
mod dev;
mod schema;
mod seed;
mod serve;
mod settings;
mod signals;

use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::support::{
    app::{TestApp, client},
    program::{Running, afforo, on, run},
};

#[tokio::test]
async fn help_names_every_subcommand_and_alias() {
    let help = run(&mut afforo(&["--help"])).await;
    assert_eq!(help.code, Some(0));
    for name in [
        "serve",
        "[alias: runserver]",
        "worker",
        "migrate",
        "seed",
        "[alias: seed_data]",
        "jobs",
        "partitions",
        "apikey",
        "dev",
        "healthcheck",
        "openapi",
        "completions",
    ] {
        assert!(help.out.contains(name), "{name} is not in\n{}", help.out);
    }
    for alias in ["runserver", "seed_data"] {
        assert_eq!(run(&mut afforo(&[alias, "--help"])).await.code, Some(0));
    }
    let unknown = run(&mut afforo(&["collectstatic"])).await;
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.err.contains("collectstatic"), "{}", unknown.err);
}

#[tokio::test]
async fn openapi_prints_the_served_document() {
    let printed = run(&mut afforo(&["openapi"])).await;
    assert_eq!((printed.code, printed.err.as_str()), (Some(0), ""));
    let document: serde_json::Value = serde_json::from_str(&printed.out).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert!(document["paths"]["/api/orders/"]["post"].is_object());
}

#[tokio::test]
async fn completions_are_printed_for_bash() {
    let printed = run(&mut afforo(&["completions", "bash"])).await;
    assert_eq!(printed.code, Some(0));
    assert!(printed.out.contains("_afforo()") && printed.out.contains("healthcheck"));
    assert_eq!(
        run(&mut afforo(&["completions", "command.com"])).await.code,
        Some(2)
    );
}

#[tokio::test]
async fn closed_stdout_is_not_an_error() {
    for args in [&["completions", "bash"][..], &["openapi"]] {
        let mut command = afforo(args);
        command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().await.unwrap();
        assert_eq!(
            (
                ended.status.code(),
                String::from_utf8_lossy(&ended.stderr).as_ref()
            ),
            (Some(0), ""),
            "{args:?}"
        );
    }
}

#[tokio::test]
async fn healthcheck_succeeds_for_a_server_and_fails_without_one() {
    let app = TestApp::start().await;
    let address = app.address.to_string();
    let healthy = run(&mut afforo(&["healthcheck", &address])).await;
    assert_eq!((healthy.code, healthy.err.as_str()), (Some(0), ""));
    let by_port = run(afforo(&["healthcheck"]).env("PORT", app.address.port().to_string())).await;
    assert_eq!(by_port.code, Some(0));
    let everywhere = format!("0.0.0.0:{}", app.address.port());
    assert_eq!(
        run(&mut afforo(&["healthcheck", &everywhere])).await.code,
        Some(0)
    );

    let nothing = free_port();
    let failed = run(&mut afforo(&["healthcheck", &nothing.to_string()])).await;
    assert_eq!(failed.code, Some(1));
    assert!(
        failed
            .err
            .contains(&format!("127.0.0.1:{nothing} does not answer")),
        "{}",
        failed.err
    );

    // A server answers, but is not healthy.
    let ill = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = ill.local_addr().unwrap().to_string();
    let serving = tokio::spawn(async move {
        let (mut client, _) = ill.accept().await.unwrap();
        let _ = client.read(&mut [0; 1024]).await.unwrap();
        client
            .write_all(b"HTTP/1.1 500 Internal Server Error\r\n\r\n")
            .await
            .unwrap();
    });
    let failed = run(&mut afforo(&["healthcheck", &address])).await;
    serving.await.unwrap();
    assert_eq!(failed.code, Some(1));
    assert!(failed.err.contains("answered 500"), "{}", failed.err);
}

/// A port that was free just before.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A folder that the servers' account may enter.
fn folder() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}
