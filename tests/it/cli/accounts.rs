//! `afforo createsuperuser` and `afforo changepassword`

use std::process::Stdio;

use afforo::auth::Role;
use form_urlencoded::Serializer;
use tokio::{io::AsyncWriteExt, process::Command};

use super::{Running, Signal, TestApp, afforo, client, run};
use crate::{
    console::{Browser, PASSWORD, account, audit_log, count},
    support::{app::send, program::Output, servers},
};

fn on(app: &TestApp, args: &[&str]) -> Command {
    let mut command = afforo(args);
    command.env("DATABASE_URL", &app.database_url);
    command
}

/// Creates an account without prompts.
async fn create(app: &TestApp, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = on(app, &[&["createsuperuser", "--noinput"], args].concat());
    run(command.envs(variables.iter().copied())).await
}

/// Runs a program and sends it a line.
async fn run_with_input(command: &mut Command, line: &str) -> Output {
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // A program that reads no input may have ended.
    let _ = input.write_all(line.as_bytes()).await;
    drop(input);
    let output = child.wait_with_output().await.unwrap();
    Output {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test]
async fn superuser_is_created_from_django_variables() {
    let app = TestApp::start().await;
    let variables = [
        ("DJANGO_SUPERUSER_USERNAME", "ada"),
        ("DJANGO_SUPERUSER_PASSWORD", PASSWORD),
        ("DJANGO_SUPERUSER_EMAIL", "ada@shop.example"),
    ];
    let made = create(&app, &[], &variables).await;
    assert_eq!(
        (made.code, made.out.as_str()),
        (Some(0), "Superuser created successfully.\n"),
        "{}",
        made.err
    );
    assert!(
        Browser::log_in(&app, "ada")
            .await
            .page("/admin/account/")
            .await
            .contains("ada@shop.example")
    );
    let again = create(&app, &[], &variables).await;
    assert_eq!(
        (again.code, again.err.as_str()),
        (Some(1), "error: That username is already taken.\n")
    );
    // A flag takes precedence over a variable.
    let other = create(&app, &["--username", "eve", "--email", ""], &variables).await;
    assert_eq!(other.code, Some(0), "{}", other.err);
    assert_eq!(
        count(
            &app,
            "select count(*) from account where role = 'superuser' and username = 'eve' and email = ''"
        )
        .await,
        1
    );
    let log = audit_log(&app).await;
    assert!(
        log[0].starts_with(r#"system account.created account:1 {"id":1,"username":"ada","#),
        "{log:?}"
    );
    assert!(!log.concat().contains(PASSWORD) && !log.concat().contains("argon2"));
}

#[tokio::test]
async fn createsuperuser_reports_missing_and_invalid_values() {
    let app = TestApp::start().await;
    let password = ("DJANGO_SUPERUSER_PASSWORD", PASSWORD);
    for (args, variables, message) in [
        (
            &[][..],
            &[password][..],
            "You must use --username with --noinput, or set DJANGO_SUPERUSER_USERNAME.",
        ),
        (
            &["--username", "ada"],
            &[],
            "You must set DJANGO_SUPERUSER_PASSWORD with --noinput.",
        ),
        (
            &["--username", "a b"],
            &[password],
            "A username has letters, digits and @ . + - _ only.",
        ),
        (
            &["--username", "ada", "--email", "x"],
            &[password],
            "This is no email address.",
        ),
        (
            &["--username", "ada"],
            &[("DJANGO_SUPERUSER_PASSWORD", "short")],
            "This password is too short: it needs at least 10 characters.",
        ),
        (
            &["--username", "administrator"],
            &[("DJANGO_SUPERUSER_PASSWORD", "Administrator")],
            "This password is the username. This password is one of the commonest: it would be guessed first.",
        ),
    ] {
        let refused = create(&app, args, variables).await;
        assert_eq!(
            (refused.code, refused.err),
            (Some(1), format!("error: {message}\n"))
        );
    }
    let silent = run(&mut on(&app, &["createsuperuser"])).await;
    assert_eq!(silent.code, Some(1));
    assert!(
        silent
            .err
            .contains("there is no terminal to ask at: use --noinput"),
        "{}",
        silent.err
    );
    assert_eq!(count(&app, "select count(*) from account").await, 0);

    let empty = servers::empty_database().await;
    let mut command = afforo(&["createsuperuser", "--noinput"]);
    let early = run(command.env("DATABASE_URL", empty.url())).await;
    assert_eq!(early.code, Some(1));
    assert!(early.err.contains("run `afforo migrate` first"), "{}", early.err);
}

#[tokio::test]
async fn changepassword_reads_a_line_and_ends_all_sessions() {
    let app = TestApp::start().await;
    let variables = [
        ("DJANGO_SUPERUSER_USERNAME", "ada"),
        ("DJANGO_SUPERUSER_PASSWORD", PASSWORD),
    ];
    create(&app, &[], &variables).await;
    let mut ada = Browser::log_in(&app, "ada").await;
    let changed = run_with_input(
        &mut on(&app, &["changepassword", "ada"]),
        "another long password\n",
    )
    .await;
    assert_eq!(
        (changed.code, changed.out.as_str()),
        (Some(0), "Password changed successfully for user 'ada'\n"),
        "{}",
        changed.err
    );
    assert_eq!(ada.get("/admin/").await.status, 303);
    assert_eq!(ada.enter("ada", PASSWORD).await.status, 400);
    assert_eq!(ada.enter("ada", "another long password").await.status, 303);

    let weak = run_with_input(&mut on(&app, &["changepassword", "ada"]), "short\n").await;
    assert_eq!(weak.code, Some(1));
    assert!(weak.err.contains("This password is too short"), "{}", weak.err);
    let unknown = run_with_input(
        &mut on(&app, &["changepassword", "eve"]),
        "another long password\n",
    )
    .await;
    assert_eq!(
        (unknown.code, unknown.err.as_str()),
        (Some(1), "error: user 'eve' does not exist\n")
    );
    // Without a name, the command changes the account of its own user.
    let own = run_with_input(
        on(&app, &["changepassword"]).env("USER", "ada"),
        "a third long password\n",
    )
    .await;
    assert_eq!(own.code, Some(0), "{}", own.err);
    let log = audit_log(&app).await;
    assert_eq!(
        log.iter()
            .filter(|entry| *entry == "system password.changed account:1")
            .count(),
        2,
        "{log:?}"
    );
}

#[tokio::test]
async fn login_secrets_are_not_logged() {
    let app = TestApp::start().await;
    account(&app, "ada", Role::Viewer, None).await;
    let mut command = on(&app, &["serve", "127.0.0.1:0"]);
    command.env("REDIS_URL", app.redis.url()).env("RUST_LOG", "debug");
    let mut server = Running::start(&mut command);
    let address = server.address().await;
    let enter = async |password: &str| {
        let form = [("username", "ada"), ("password", password)];
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        let request = client().post(format!("http://{address}/admin/login/"));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        send(request.body(body)).await
    };
    assert_eq!(enter("my other password").await.status, 400);
    let done = enter(PASSWORD).await;
    assert_eq!(done.status, 303);
    let cookie = done
        .header("set-cookie")
        .split(['=', ';'])
        .nth(1)
        .unwrap()
        .to_owned();
    server.says("a login failed").await;
    server.signal(Signal::TERM);
    server.ends().await;
    let output = server.output();
    assert!(
        output.contains("WARN") && output.contains(r#"username="ada""#),
        "{output}"
    );
    for secret in [
        PASSWORD,
        "correct+horse",
        "my other password",
        "my+other",
        "argon2id",
        &cookie,
    ] {
        assert!(!output.contains(secret), "{secret}: {output}");
    }
}
