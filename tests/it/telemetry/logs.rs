//! JSON log lines: one for each failure, with the id of its request.

use serde_json::Value;

use super::serve;
use crate::support::app::{TestApp, client, send};

#[tokio::test]
async fn failed_request_logs_one_line_with_its_id() {
    let app = TestApp::start().await;
    // Where nothing below errors is logged, the address of the server is not either.
    let mut server = serve(
        &app,
        &[("LOG_FORMAT", "json"), ("RUST_LOG", "error,afforo::cli=info")],
    );
    let listening: Value = serde_json::from_str(&server.says("listening on http://").await).unwrap();
    let (_, base) = listening["message"]
        .as_str()
        .unwrap()
        .split_once("listening on ")
        .unwrap();
    sqlx::query("alter table category rename to gone")
        .execute(&app.pool)
        .await
        .unwrap();
    for (method, id) in [("GET", "read-1"), ("POST", "write-1")] {
        let request = match method {
            "GET" => client().get(format!("{base}/api/categories/1/")),
            _ => client()
                .post(format!("{base}/api/categories/"))
                .json(&serde_json::json!({ "name": "Lamps" })),
        };
        let answer = send(request.header("x-request-id", id)).await;
        assert_eq!(answer.status, 503, "{}", answer.text);
        assert_eq!(answer.header("x-request-id"), id);
        server.says(id).await;
        let output = server.output();
        let lines: Vec<&str> = output.lines().filter(|line| line.contains(id)).collect();
        assert_eq!(lines.len(), 1, "{output}");
        let line: Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(line["level"], "ERROR", "{line}");
        assert_eq!(line["message"], "the database is unavailable", "{line}");
        assert_eq!(line["span"]["request_id"], id, "{line}");
        assert_eq!(line["span"]["method"], method, "{line}");
        assert!(line["error"].as_str().unwrap().contains("category"), "{line}");
    }
}

#[tokio::test]
async fn untrusted_proxy_is_warned_of_once_a_minute() {
    let app = TestApp::start().await;
    let mut server = serve(&app, &[]);
    let url = format!("http://{}/health/", server.address().await);
    for number in 0..5 {
        let forwarded = format!("192.0.2.{number}");
        let answer = send(client().get(&url).header("x-forwarded-for", forwarded)).await;
        assert_eq!(answer.status, 200);
    }
    let line = server.says("name it in TRUSTED_PROXIES").await;
    assert!(line.contains("WARN") && line.contains("127.0.0.1"), "{line}");
    assert_eq!(server.output().matches("name it in TRUSTED_PROXIES").count(), 1);
    let mut trusting = serve(&app, &[("TRUSTED_PROXIES", "127.0.0.1")]);
    let url = format!("http://{}/health/", trusting.address().await);
    send(client().get(&url).header("x-forwarded-for", "192.0.2.1")).await;
    assert!(
        !trusting.output().contains("TRUSTED_PROXIES"),
        "{}",
        trusting.output()
    );
}
