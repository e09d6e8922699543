//! Settings: where they come from, and what is said of bad ones.

use std::fs;

use super::{client, folder, free_port, run};
use crate::support::{
    app::send,
    program::{Running, afforo, afforo_in},
    servers,
};

#[tokio::test]
async fn without_a_database_it_is_said_what_to_do() {
    for command in ["serve", "worker", "migrate", "seed"] {
        for blank in [false, true] {
            let mut command = afforo(&[command]);
            if blank {
                command.env("DATABASE_URL", "");
            }
            let said = run(&mut command).await;
            assert_eq!(
                (said.code, said.err.trim()),
                (
                    Some(1),
                    "error: no database: set DATABASE_URL, or run `afforo dev`, which brings its own"
                )
            );
        }
    }
}

#[tokio::test]
async fn production_does_not_start_without_a_secret_of_its_own() {
    for command in ["serve", "worker", "dev"] {
        let said = run(afforo(&[command]).env("DEBUG", "False")).await;
        assert_eq!(said.code, Some(1));
        assert!(said.err.contains("SECRET_KEY is not set"), "{}", said.err);
        let said = run(afforo(&[command]).env("DEBUG", "False").env("SECRET_KEY", "")).await;
        assert!(said.err.contains("SECRET_KEY is not set"), "{}", said.err);
        let said = run(afforo(&[command])
            .env("DEBUG", "False")
            .env("SECRET_KEY", "change-me"))
        .await;
        assert_eq!(said.code, Some(1));
        assert!(said.err.contains("SECRET_KEY is the example's"), "{}", said.err);
    }
    let said = run(afforo(&["serve"])
        .env("DEBUG", "False")
        .env("SECRET_KEY", "long and random"))
    .await;
    assert!(said.err.contains("DATABASE_URL"), "the next thing: {}", said.err);
}

#[tokio::test]
async fn a_bad_value_is_refused_by_the_name_of_its_setting() {
    let bad = [
        ("DEBUG", "maybe", "--debug"),
        ("PORT", "99999", "--port"),
        ("PORT", "http", "--port"),
        ("DATABASE_URL", "inventory_db", "DATABASE_URL"),
        (
            "DATABASE_URL",
            "mysql://root:hunter2@localhost/db",
            "DATABASE_URL",
        ),
        (
            "DATABASE_URL",
            "postgres://root:hunter2@localhost:port/db",
            "DATABASE_URL",
        ),
        ("DATABASE_POOL_SIZE", "0", "--database-pool-size"),
        ("PLACEMENT_POOL_SIZE", "-1", "--placement-pool-size"),
        ("REDIS_URL", "localhost", "REDIS_URL"),
        ("REDIS_URL", "http://:hunter2@localhost", "REDIS_URL"),
        ("REDIS_POOL_SIZE", "many", "--redis-pool-size"),
        ("RATE_LIMIT_ENABLED", "2", "--rate-limit-enabled"),
        ("TRUSTED_PROXIES", "10.0.0.0/99", "--trusted-proxies"),
        ("ALLOWED_HOSTS", "*.shop.example", "write `.shop.example`"),
        (
            "CORS_ALLOWED_ORIGINS",
            "shop.example",
            "such as https://shop.example",
        ),
        ("LOG_FORMAT", "xml", "--log-format"),
        ("METRICS_ADDR", "everywhere", "--metrics-addr"),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "no url",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
        ("RUST_LOG", "afforo=loud", "RUST_LOG"),
        ("WORKER_CONCURRENCY", "0", "--concurrency"),
    ];
    for (name, value, said_of) in bad {
        let said = run(afforo(&["serve"]).env(name, value)).await;
        assert_eq!(said.code, Some(2), "{name}={value}: {}", said.err);
        assert!(said.err.contains(said_of), "{name}={value}: {}", said.err);
        assert!(!said.err.contains("hunter2"), "a password is shown: {}", said.err);
    }
    let said = run(&mut afforo(&["serve", "everywhere"])).await;
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("0.0.0.0:8000"), "{}", said.err);
}

#[tokio::test]
async fn a_flag_counts_before_the_environment_and_that_before_the_file() {
    let (folder, database) = (folder(), servers::database().await);
    let (by_file, by_environment, by_flag) = (free_port(), free_port(), free_port());
    let file = format!(
        "DATABASE_URL={}\nPORT={by_file}\nALLOWED_HOSTS=file.example.com\n",
        database.url()
    );
    fs::write(folder.path().join(".env"), file).unwrap();
    let inner = folder.path().join("src/deep");
    fs::create_dir_all(&inner).unwrap();

    let ports = [
        (None, None, by_file),
        (Some(by_environment), None, by_environment),
        (Some(by_environment), Some(by_flag), by_flag),
    ];
    for (environment, flag, expected) in ports {
        let flag = flag.map(|port| port.to_string());
        let mut args = vec!["serve"];
        if let Some(flag) = &flag {
            args.extend(["--port", flag]);
        }
        // The file counts in the folders below it too.
        let mut command = afforo_in(&inner, &args);
        if let Some(port) = environment {
            command.env("PORT", port.to_string());
        }
        let address = Running::start(&mut command).address().await;
        assert_eq!(address.port(), expected);
    }

    let mut command = afforo_in(&inner, &["serve", "127.0.0.1:0"]);
    let mut server = Running::start(command.env("ALLOWED_HOSTS", "environment.example.com"));
    let url = format!("http://{}/api/", server.address().await);
    for (host, expected) in [("environment.example.com", 200), ("file.example.com", 400)] {
        let answer = send(client().get(&url).header("host", host)).await;
        assert_eq!(answer.status, expected, "{host}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_not_passed_over_in_silence() {
    let folder = folder();
    fs::write(folder.path().join(".env"), "DEBUG=True\nthis is no setting\n").unwrap();
    let said = run(&mut afforo_in(folder.path(), &["openapi"])).await;
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains(".env"), "{}", said.err);
}
