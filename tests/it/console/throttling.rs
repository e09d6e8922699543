//! Logins that are refused: what that costs, and what strangers leave in the audit log.

use afforo::{
    auth::{
        ClientInfo, Role,
        login::{Credentials, Login, LoginService},
    },
    config::{HttpSettings, RateSettings},
};
use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Answer, Browser, PASSWORD, TestApp, account, audit_log, execute, production, send};

/// A server that believes what a test says of a client's address.
fn behind_proxy() -> HttpSettings {
    HttpSettings {
        trusted_proxies: "127.0.0.1".parse().unwrap(),
        ..production()
    }
}

/// Sends the form of the login from an address.
async fn log_in(app: &TestApp, address: &str, username: &str, password: &str) -> Answer {
    let form = Browser::new(app).form("/admin/login/", &[("username", username), ("password", password)]);
    send(form.header("x-forwarded-for", address)).await
}

#[tokio::test]
async fn throttled_login_gets_429_without_a_database_connection() {
    let app = TestApp::start_with(behind_proxy()).await;
    account(&app, "ada", Role::Viewer, None).await;
    assert_eq!(log_in(&app, "203.0.113.7", "ada", PASSWORD).await.status, 303);
    execute(&app, "insert into login_attempt (username, address) select 'name ' || n, '192.0.2.1' from generate_series(1, 20) n").await;
    execute(&app, "insert into login_attempt (username, address) select 'eve', '192.0.2.2' from generate_series(1, 5) n").await;
    execute(&app, "insert into login_attempt (username, address) select 'ada', '198.51.100.' || n from generate_series(1, 50) n").await;
    let throttled = [("192.0.2.1", "bob"), ("192.0.2.2", "eve"), ("192.0.2.3", "ada")];
    for (address, username) in throttled {
        assert_eq!(
            log_in(&app, address, username, "a guess").await.status,
            429,
            "{address}"
        );
    }
    let connections = join_all((0..8).map(|_| app.pool.acquire())).await;
    assert!(connections.iter().all(Result::is_ok), "the server has none left");
    // The last is an address from which nobody has tried before.
    for (address, username) in throttled.into_iter().chain([("192.0.2.4", "ada")]) {
        let refused = log_in(&app, address, username, "a guess").await;
        assert_eq!(refused.status, 429, "{address}: {}", refused.text);
        let wait: i64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=900).contains(&wait), "{wait}");
        assert!(
            refused.text.contains("Too many logins have failed."),
            "{}",
            refused.text
        );
    }
    drop(connections);
    assert_eq!(log_in(&app, "192.0.2.2", "bob", "a guess").await.status, 400);
    let owner = log_in(&app, "203.0.113.7", "ada", PASSWORD).await;
    assert_eq!(owner.status, 303, "from where ada has logged in: {}", owner.text);
}

#[tokio::test]
async fn throttled_address_gets_429_before_its_form_is_received() {
    let app = TestApp::start_with(behind_proxy()).await;
    execute(&app, "insert into login_attempt (username, address) select 'name ' || n, '192.0.2.1' from generate_series(1, 20) n").await;
    assert_eq!(log_in(&app, "192.0.2.1", "ada", "a guess").await.status, 429);
    let mut connection = TcpStream::connect(app.address).await.unwrap();
    let head = "POST /admin/login/ HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: 192.0.2.1\r\n\
                content-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\n";
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    connection.read_exact(&mut status).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&status), "HTTP/1.1 429");
}

#[tokio::test]
async fn login_limit_applies_where_configured() {
    let app = TestApp::start_with(HttpSettings {
        rate_limit_enabled: true,
        rates: RateSettings {
            login_rate_limit: "1".parse().unwrap(),
            ..RateSettings::default()
        },
        ..behind_proxy()
    })
    .await;
    assert_eq!(log_in(&app, "192.0.2.1", "ada", "a guess").await.status, 400);
    // While Redis is slow, logins pass uncounted.
    let mut refused = log_in(&app, "192.0.2.1", "ada", "a guess").await;
    while refused.status == 400 {
        refused = log_in(&app, "192.0.2.1", "ada", "a guess").await;
    }
    assert_eq!(refused.status, 429, "{}", refused.text);
    assert!(refused.header("content-type").starts_with("text/html"));
    assert!(
        refused.text.contains("Too many logins. Try again in"),
        "{}",
        refused.text
    );
    assert_ne!(refused.header("retry-after"), "");
    assert_eq!(log_in(&app, "192.0.2.2", "ada", "a guess").await.status, 400);
    Browser::new(&app).page("/admin/login/").await;
}

#[tokio::test]
async fn failed_logins_add_a_bounded_number_of_audit_entries() {
    let app = TestApp::start().await;
    // In a minute, so that the hour's end does not come between.
    execute(
        &app,
        "insert into audit_log (at, action) select now() + interval '1 minute', 'login.failed' from generate_series(1, 239) n",
    )
    .await;
    let servers = [
        LoginService::new(app.pool.clone()),
        LoginService::new(app.pool.clone()),
    ];
    let fail = async |server: &LoginService, number: u8| {
        let credentials = Credentials {
            username: "nobody".to_owned(),
            password: "a guess".into(),
        };
        let visit = ClientInfo {
            address: Some([192, 0, 2, number].into()),
            request_id: None,
            user_agent: String::new(),
            token: None,
        };
        let login = server.log_in(&credentials, &visit).await.unwrap();
        assert!(matches!(login, Login::Wrong), "{login:?}");
    };
    for (number, server) in [(1, 0), (2, 0), (3, 1), (4, 0), (5, 0)] {
        fail(&servers[server], number).await;
    }
    let log = audit_log(&app).await;
    assert_eq!(log.len(), 240, "{:?}", log.last());
    for server in &servers {
        server.write_omitted().await.unwrap();
        server.write_omitted().await.unwrap();
    }
    let log = audit_log(&app).await;
    assert_eq!(
        log[240..],
        [
            r#"system login.omitted - {"entries":3}"#,
            r#"system login.omitted - {"entries":1}"#
        ]
    );
}
