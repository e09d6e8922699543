//! Settings: their sources, and the errors about invalid ones.

use std::fs;

use super::{TestApp, client, folder, free_port, on, run};
use crate::support::{
    app::send,
    program::{Running, afforo, afforo_in},
    servers,
};

const SECRET_KEY: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn missing_database_url_is_an_error_with_advice() {
    for command in ["serve", "worker", "migrate", "seed"] {
        for blank in [false, true] {
            let mut command = afforo(&[command]);
            if blank {
                command.env("DATABASE_URL", "");
            }
            let output = run(&mut command).await;
            assert_eq!(
                (output.code, output.err.trim()),
                (
                    Some(1),
                    "error: no database: set DATABASE_URL, or run `afforo dev`, which brings its own"
                )
            );
        }
    }
}

#[tokio::test]
async fn production_without_its_own_secret_key_does_not_start() {
    for command in ["serve", "worker", "dev"] {
        let output = run(afforo(&[command]).env("DEBUG", "False")).await;
        assert_eq!(output.code, Some(1));
        assert!(output.err.contains("SECRET_KEY is not set"), "{}", output.err);
        let output = run(afforo(&[command]).env("DEBUG", "False").env("SECRET_KEY", "")).await;
        assert!(output.err.contains("SECRET_KEY is not set"), "{}", output.err);
        let output = run(afforo(&[command])
            .env("DEBUG", "False")
            .env("SECRET_KEY", "change-me"))
        .await;
        assert_eq!(output.code, Some(1));
        assert!(
            output.err.contains("SECRET_KEY is the example's"),
            "{}",
            output.err
        );
    }
    let output = run(afforo(&["serve"])
        .env("DEBUG", "False")
        .env("SECRET_KEY", SECRET_KEY))
    .await;
    assert!(
        output.err.contains("DATABASE_URL"),
        "the next thing: {}",
        output.err
    );
}

#[tokio::test]
async fn short_secret_key_is_rejected_for_a_new_installation() {
    let database = servers::database().await;
    for command in [
        &["serve", "127.0.0.1:0"][..],
        &["worker"],
        &["apikey", "create", "--name", "Till", "--scopes", "stats"],
    ] {
        let mut command = afforo(command);
        command.env("DATABASE_URL", database.url()).env("DEBUG", "False");
        let output = run(command.env("SECRET_KEY", &SECRET_KEY[1..])).await;
        assert_eq!(output.code, Some(1), "{}", output.err);
        assert!(
            output.err.contains("SECRET_KEY is shorter than 32 characters"),
            "{}",
            output.err
        );
    }
    let empty = servers::empty_database().await;
    let mut command = afforo(&["serve", "127.0.0.1:0", "--migrate"]);
    command.env("DATABASE_URL", empty.url()).env("DEBUG", "False");
    let output = run(command.env("SECRET_KEY", "x")).await;
    assert!(output.err.contains("SECRET_KEY is shorter"), "{}", output.err);
    let mut check = afforo(&["migrate", "--check"]);
    let output = run(check.env("DATABASE_URL", empty.url())).await;
    assert_eq!(output.code, Some(1), "a start that is refused has not migrated");
}

#[tokio::test]
async fn short_secret_key_in_use_is_warned_of_at_every_start() {
    let app = TestApp::start().await;
    app.store("Main Store").await;
    for (command, ready) in [
        (&["serve", "127.0.0.1:0", "--migrate"][..], "listening on"),
        (&["worker"], "worker started"),
    ] {
        let mut command = afforo(command);
        on(&mut command, &app.database_url, app.redis.url());
        let mut started = Running::start(command.env("DEBUG", "False").env("SECRET_KEY", "x"));
        let line = started.says("SECRET_KEY is shorter than 32 characters").await;
        assert!(line.contains("WARN"), "{line}");
        started.says(ready).await;
    }
}

#[tokio::test]
async fn debug_on_a_public_address_is_rejected_without_api_auth() {
    for command in ["serve", "dev"] {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.7:8000"] {
            let output = run(&mut afforo(&[command, address])).await;
            assert_eq!(output.code, Some(1));
            assert!(
                output.err.contains(address) && output.err.contains("set DEBUG=False, or set API_AUTH"),
                "{}",
                output.err
            );
        }
    }
    let next = "error: no database";
    for address in ["127.0.0.1:0", "127.9.9.9:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
        let output = run(&mut afforo(&["serve", address])).await;
        assert!(output.err.starts_with(next), "{address}: {}", output.err);
    }
    // An explicit API_AUTH is a deliberate choice, so the start is not refused.
    for auth in ["off", "write", "all"] {
        let output = run(afforo(&["serve", "0.0.0.0:0"]).env("API_AUTH", auth)).await;
        assert!(output.err.starts_with(next), "{auth}: {}", output.err);
    }
}

#[tokio::test]
async fn open_api_is_logged_at_every_start() {
    let app = TestApp::start().await;
    for (settings, message) in [
        (
            &[][..],
            Some("because DEBUG is on: every client that reaches 127.0.0.1:"),
        ),
        (
            &[("API_AUTH", "off")],
            Some("because API_AUTH=off: every client that reaches 127.0.0.1:"),
        ),
        (&[("API_AUTH", "all")], None),
        (&[("DEBUG", "False"), ("SECRET_KEY", SECRET_KEY)], None),
    ] {
        let mut command = afforo(&["serve", "127.0.0.1:0"]);
        on(&mut command, &app.database_url, app.redis.url());
        let mut server = Running::start(command.envs(settings.iter().copied()));
        server.address().await;
        match message {
            Some(message) => assert!(server.says(message).await.contains("WARN")),
            None => assert!(
                !server.output().contains("the API is open"),
                "{}",
                server.output()
            ),
        }
    }
}

#[tokio::test]
async fn image_defaults_to_production_and_requires_a_secret_key() {
    let dockerfile = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Dockerfile")).unwrap();
    let stage = dockerfile.rsplit("\nFROM ").next().unwrap();
    let command = stage.lines().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    let command: Vec<String> = serde_json::from_str(command).unwrap();
    let variables = stage
        .lines()
        .filter_map(|line| line.strip_prefix("ENV ")?.split_once('='));
    let variables: Vec<_> = variables.collect();
    let database = servers::database().await;
    let line: Vec<&str> = command[1..].iter().map(String::as_str).collect();
    let image = || {
        let mut command = afforo(&line);
        command.envs(variables.iter().copied());
        on(&mut command, &database.url(), "redis://127.0.0.1:1/0");
        command
    };
    let output = run(&mut image()).await;
    assert_eq!(output.code, Some(1));
    assert!(
        output.err.contains("SECRET_KEY is not set: set it to"),
        "{}",
        output.err
    );
    assert!(output.err.contains("`openssl rand -hex 32`"), "{}", output.err);
    let output = run(image().env("DEBUG", "True")).await;
    assert!(output.err.contains("DEBUG is on"), "{}", output.err);
}

#[tokio::test]
async fn invalid_value_is_rejected_naming_its_setting() {
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
        ("MIGRATE_DATABASE_URL", "inventory_db", "MIGRATE_DATABASE_URL"),
        (
            "DATABASE_URL",
            "postgres://root:hunter2@db1,db2,db3/db?port=1,2",
            "DATABASE_URL is no URL such as postgres://user:password@localhost:5432/inventory_db: it has 2 ports for 3 hosts",
        ),
        (
            "DATABASE_URL",
            "postgres://root:hunter2@db1,db2/db?target_session_attrs=standby",
            "target_session_attrs asks for a server that takes no writes",
        ),
        ("DATABASE_REPLICA_URL", "inventory_db", "DATABASE_REPLICA_URL"),
        (
            "DATABASE_REPLICA_URL",
            "postgres://root:hunter2@db1/db?target_session_attrs=primary",
            "target_session_attrs asks for a server that takes writes",
        ),
        ("REPLICA_MAX_LAG", "0", "--replica-max-lag"),
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
    for (name, value, message) in bad {
        let output = run(afforo(&["serve"]).env(name, value)).await;
        assert_eq!(output.code, Some(2), "{name}={value}: {}", output.err);
        assert!(output.err.contains(message), "{name}={value}: {}", output.err);
        assert!(
            !output.err.contains("hunter2"),
            "a password is shown: {}",
            output.err
        );
    }
    let output = run(&mut afforo(&["serve", "everywhere"])).await;
    assert_eq!(output.code, Some(2));
    assert!(output.err.contains("0.0.0.0:8000"), "{}", output.err);
}

#[tokio::test]
async fn flag_overrides_environment_which_overrides_env_file() {
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
        // The file also applies to the folders below it.
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
async fn malformed_env_file_is_an_error() {
    let folder = folder();
    fs::write(folder.path().join(".env"), "DEBUG=True\nthis is no setting\n").unwrap();
    let output = run(&mut afforo_in(folder.path(), &["openapi"])).await;
    assert_eq!(output.code, Some(2));
    assert!(output.err.contains(".env"), "{}", output.err);
}
