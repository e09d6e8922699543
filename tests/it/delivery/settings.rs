//! The settings of deliveries, read by the real program.

use super::SECRET;
use crate::support::program::{afforo, run};

#[tokio::test]
async fn invalid_delivery_settings_stop_the_start_and_show_no_secret() {
    let recipient = ("CONFIRMATION_EMAIL_TO", "orders@example.com");
    let url = ("WEBHOOK_URL", "https://example.com/hunter2");
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("CONFIRMATION_EMAIL_TO", "nobody")], "CONFIRMATION_EMAIL_TO"),
        (
            &[recipient, ("DEFAULT_FROM_EMAIL", "nobody")],
            "DEFAULT_FROM_EMAIL",
        ),
        (
            &[recipient, ("EMAIL_USE_TLS", "True"), ("EMAIL_USE_SSL", "True")],
            "exclude each other",
        ),
        (&[recipient, ("EMAIL_HOST", " ")], "EMAIL_HOST"),
        (&[recipient, ("EMAIL_HOST", "smtp.example.com:587")], "EMAIL_HOST"),
        (&[recipient, ("EMAIL_HOST", "smtp example")], "EMAIL_HOST"),
        (&[url], "WEBHOOK_SECRET"),
        (&[url, ("WEBHOOK_SECRET", "hunter2")], "WEBHOOK_SECRET"),
        (
            &[("WEBHOOK_URL", "ftp://hunter2"), ("WEBHOOK_SECRET", SECRET)],
            "WEBHOOK_URL",
        ),
        (
            &[
                ("WEBHOOK_URL", "https://example.com:70000/hunter2"),
                ("WEBHOOK_SECRET", SECRET),
            ],
            "WEBHOOK_URL",
        ),
    ];
    for (environment, message) in cases {
        for args in [&["worker"][..], &["serve", "127.0.0.1:0", "--with-worker"]] {
            let mut command = afforo(args);
            command.env("DATABASE_URL", "postgres://localhost/nowhere");
            let output = run(command.envs(environment.iter().copied())).await;
            assert_eq!(output.code, Some(1), "{environment:?}: {}", output.err);
            assert!(output.err.contains(message), "{environment:?}: {}", output.err);
            assert!(
                !output.err.contains("hunter2"),
                "a secret is shown: {}",
                output.err
            );
        }
    }
    for (name, value) in [
        ("EMAIL_PORT", "0"),
        ("EMAIL_TIMEOUT", "19"),
        ("EMAIL_USE_TLS", "maybe"),
    ] {
        assert_eq!(
            run(afforo(&["worker"]).env(name, value)).await.code,
            Some(2),
            "{name}"
        );
    }
}
